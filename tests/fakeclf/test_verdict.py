"""Records of verdicts, and the rule that makes one of several votes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeclf.errors import FakeclfError
from fakeclf.verdict import ARRAYS, VERDICTS, Verdict, Vote, decide


def vote(p_fake: float, *, threshold: float = 0.8, real_below: float = 0.3, kind: str = "classifier") -> Vote:
    says = "fake" if p_fake >= threshold else "real" if p_fake < real_below else "unsure"
    return Vote(kind, kind, p_fake=p_fake, raw=p_fake, says=says, threshold=threshold, real_below=real_below)


SILENT = Vote("silent", "classifier", p_fake=0.99, threshold=0.5, real_below=0.5, no_vote="out of reach")


@pytest.mark.parametrize(
    ("votes", "area", "expected"),
    [
        ([], None, ("cannot tell", None, None)),
        ([SILENT], None, ("cannot tell", None, None)),
        ([vote(0.1), SILENT], None, ("real", "none", 0)),
        ([vote(0.1), vote(0.5)], None, ("unsure", None, 1)),
        ([vote(0.5), vote(0.9), vote(0.1)], None, ("fake", "whole", 1)),
        ([vote(0.9, kind="localizer"), vote(0.1)], 0.2, ("fake", "local", 0)),
        ([vote(0.9, kind="localizer"), vote(0.1)], 0.95, ("fake", "whole", 0)),
        ([vote(0.9), vote(0.1, kind="localizer")], 0.2, ("fake", "whole", 0)),
        # Each is compared with its own threshold: 0.6 is far beyond 0.2, 0.9 is close to 0.89.
        ([vote(0.9, threshold=0.89), vote(0.6, threshold=0.2, real_below=0.1)], None, ("fake", "whole", 1)),
    ],
)
def test_who_decides(votes: list[Vote], area: float | None, expected: tuple[str, str | None, int | None]) -> None:
    verdict, extent, place = expected
    assert decide(votes, area) == (verdict, extent, None if place is None else votes[place])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_one_model_that_says_fake_is_enough_and_real_needs_all(probabilities: list[float]) -> None:
    votes = [vote(p) for p in probabilities]
    words = {each.says for each in votes}
    verdict, _, decisive = decide(votes, None)
    assert verdict in VERDICTS and decisive in votes
    assert (verdict == "fake") == ("fake" in words)
    assert (verdict == "real") == (words == {"real"})


def test_a_record_survives_json_without_its_arrays() -> None:
    verdict = Verdict("a.png", size=(40, 30), verdict="fake", p_fake=0.9, votes=[vote(0.9), SILENT], why=["So."])
    verdict.mask = np.zeros((30, 40), np.float32)
    values = json.loads(json.dumps(verdict.to_json()))
    assert not set(ARRAYS) & set(values) and values["size"] == [40, 30] and values["votes"][1]["says"] is None
    assert Verdict.from_json(values) == verdict  # arrays are not compared


def test_pixels_are_called_at_the_threshold() -> None:
    verdict = Verdict(None, mask=np.array([[0.2, 0.5]], np.float32), pixel_threshold=0.5)
    np.testing.assert_array_equal(verdict.binary, [[False, True]])
    with pytest.raises(FakeclfError, match="there is no mask"):
        _ = Verdict(None).binary
    with pytest.raises(FakeclfError, match="broken"):
        _ = Verdict(None, error="broken").binary
