"""Which pictures a model can judge."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from fakeclf.errors import FakeclfError
from fakeclf.reach import Reach


def traces(jpeg_quality: int | None = None, bandwidth: float | None = 0.9) -> Any:
    return SimpleNamespace(jpeg_quality=jpeg_quality, bandwidth=bandwidth)


@pytest.mark.parametrize(
    ("reach", "size", "seen", "words"),
    [
        (Reach(), (1, 100_000), traces(5, 0.01), ""),
        (Reach(32, 32), (32, 32), traces(), ""),
        (Reach(32, 32), (33, 32), traces(), "32 x 32 pixels alone, not 33 x 32"),
        (Reach(216), (5000, 215), traces(), "at least 216 and any number of pixels a side, not 5000 x 215"),
        (Reach(8, 4000), (4001, 10), traces(), "at most 4,000"),
        (Reach(jpeg_quality=85), (9, 9), traces(85), ""),
        (Reach(jpeg_quality=85), (9, 9), traces(None), ""),
        (Reach(jpeg_quality=85), (9, 9), traces(84), "JPEG quality 84; below 85"),
        (Reach(jpeg_quality=80, highest_jpeg_quality=95), (9, 9), traces(95), ""),
        (Reach(jpeg_quality=80, highest_jpeg_quality=95), (9, 9), traces(79), "JPEG quality 79; below 80"),
        (
            Reach(jpeg_quality=80, highest_jpeg_quality=95),
            (9, 9),
            traces(96),
            "quality 95 or less, and this one",
        ),
        (
            Reach(jpeg_quality=80, highest_jpeg_quality=95),
            (9, 9),
            traces(None),
            "quality 95 or less, and this one",
        ),
        (Reach(bandwidth=0.5), (9, 9), traces(bandwidth=0.4), "finer than 40%"),
        (Reach(bandwidth=0.5), (9, 9), traces(bandwidth=None), ""),
    ],
)
def test_why_not(reach: Reach, size: tuple[int, int], seen: Any, words: str) -> None:
    said = reach.why_not(size, seen)
    assert words in said and bool(said) == bool(words) and "\n" not in said


def test_cards_carry_it() -> None:
    reach = Reach(8, 4000, 85, 95, 0.5, ("how",))
    assert Reach.from_json(json.loads(json.dumps(reach.to_json()))) == reach
    assert Reach.from_json(None, {"smallest": 32, "largest": 64}) == Reach(32, 64)
    assert Reach.from_json(None) == Reach()
    with pytest.raises(FakeclfError, match="damaged"):
        Reach.from_json({"colour": "red"})


@pytest.mark.parametrize(
    ("reach", "words"),
    [
        (Reach(), "pictures of at least 1 pixels a side"),
        (Reach(32, 32), "pictures of 32 x 32 pixels"),
        (
            Reach(216, 900, 90, bandwidth=0.75),
            "at least 216 and at most 900 pixels a side, JPEG quality 90 or better, 75% of the",
        ),
        (Reach(jpeg_quality=80, highest_jpeg_quality=95), "a side, JPEG quality 80 to 95"),
        (Reach(highest_jpeg_quality=95), "a side, saved as JPEG of quality 95 or less"),
    ],
)
def test_limits_in_words(reach: Reach, words: str) -> None:
    assert words in reach.describe()
