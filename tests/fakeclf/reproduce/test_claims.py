"""Claims against cells: verdicts follow from the figures, and every entry of the list names cells that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeclf.cli.main import main
from fakeclf.errors import FakeclfError
from fakeclf.reproduce import claims
from fakeclf.reproduce.claims import Claim, Comparison, Finding
from fakeclf.reproduce.experiments import SCALES, read, read_scale
from fakeclf.reproduce.grid import expand
from fakeclf.reproduce.runner import Store

PHOTOS = [f"photo{number}-0" for number in range(40)]
CROSS = Comparison(
    "mpdl_table3", more={"train": "realfake", "test": "fakefake"}, than={"train": "fakefake", "test": "realfake"}
)
ALONE = Comparison("mpdl_table3", more={"train": "fakefake", "test": "realfake"})


def keep(store: Store, train: str, test: str, seed: int, **columns: Any) -> None:
    (cell,) = [
        cell
        for cell in expand(read("mpdl_table3"), read_scale("small"), (seed,))
        if (cell.labels["train"], cell.labels["test"]) == (train, test)
    ]
    each = {"photo": PHOTOS, "iou": [0.1] * 40, "auc": [0.9] * 40, "hole": [0.2] * 40, "control_auc": [0.5] * 40}
    store.keep(cell, {"each": {**each, **columns}})


def one(store: Store, comparison: Comparison, seeds: tuple[int, ...] = (0,)) -> dict[str, Finding]:
    ((*found,),) = claims.measure([Claim("?", "?", (comparison,))], read_scale("small"), seeds, store)
    return {finding.figure: finding for finding in found}


@pytest.mark.parametrize("scale", SCALES)
def test_every_claim_names_cells_that_there_are(scale: str, tmp_path: Path) -> None:
    listed = claims.read_claims()
    found = claims.measure(listed, read_scale(scale), (0, 1), Store(tmp_path))
    assert {finding.verdict for findings in found for finding in findings} == {"not run"}
    if scale != "smoke":
        assert [len(findings) for findings in found] == [2 * len(claim.comparisons) for claim in listed]
    printed = [one.printed for findings in found for one in findings if one.printed]
    assert all(0 <= value <= 1 for pair in printed for value in pair)
    if scale == "small":
        # What the 2023 report has in its table 3 for the one direction and for the other.
        assert next(one for one in found[1] if one.figure == "iou").printed == (0.934, 0.783)
        universal = next(findings for claim, findings in zip(listed, found, strict=True) if "Universal" in claim.claim)
        assert universal[0].printed == pytest.approx(((0.8079 + 0.7829) / 2, (0.667 + 0.5624) / 2))
        assert not any(name in finding.more for findings in found for finding in findings for name in ("GL", "CA, "))


def test_two_cells_are_compared_on_the_same_photographs(tmp_path: Path) -> None:
    store, random = Store(tmp_path), np.random.default_rng(0)
    hard = random.random(40)  # photographs differ far more than the two cells do
    keep(store, "realfake", "fakefake", 0, iou=list(hard + 0.02 + random.normal(0, 0.01, 40)))
    order = random.permutation(40)
    mixed = [PHOTOS[place] for place in order]
    keep(store, "fakefake", "realfake", 0, iou=list(hard[order]), photo=mixed, auc=[None] * 40)
    found = one(store, CROSS)
    low, high = found["iou"].interval or (0, 0)
    assert found["iou"].verdict == "agrees" and 0.01 < low < 0.02 < high < 0.03 and found["iou"].pictures == 40
    assert found["iou"].more == "FCN, width 0.25 on our realfake, tested on our fakefake"
    assert found["auc"].verdict == "not run"  # no photograph gives both an AUC


def test_seeds_must_point_the_same_way(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed, more in ((0, 0.5), (1, 0.09)):
        keep(store, "realfake", "fakefake", seed, iou=[more] * 40)
        keep(store, "fakefake", "realfake", seed)
    both = one(store, CROSS, (0, 1))["iou"]
    assert both.by_seed == pytest.approx({0: 0.4, 1: -0.01}) and both.interval == pytest.approx((0.195, 0.195))
    assert both.verdict == "undecided" and one(store, CROSS, (0,))["iou"].verdict == "agrees"
    assert one(store, CROSS, (1,))["iou"].verdict == "disagrees"
    alone = one(store, CROSS, (0, 2))["iou"]  # of seed 2 there is nothing
    assert alone.by_seed == pytest.approx({0: 0.4}) and one(store, CROSS, (2,))["iou"].verdict == "not run"
    text = claims.to_markdown([Claim("?", "?", (CROSS,))], [[alone]], read_scale("small"), (0, 2))
    assert "| agrees, seed 0 alone |" in text


def test_a_side_left_out_is_what_can_be_had_without_finding_anything(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(store, "fakefake", "realfake", 0)
    found = one(store, ALONE)
    assert found["iou"].ours == pytest.approx((0.1, 0.2)) and found["iou"].verdict == "disagrees"
    assert found["auc"].ours == pytest.approx((0.9, 0.5)) and found["auc"].verdict == "agrees"
    assert found["iou"].than == "every pixel marked" and found["iou"].printed is None


def test_one_cell_stands_against_the_mean_of_several(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for train, test, iou in (
        ("realfake", "fakefake", 0.5),
        ("fakefake", "realfake", 0.2),
        ("fakefake", "fakefake", 0.4),
    ):
        keep(store, train, test, 0, iou=[iou] * 40)
    several = Comparison("mpdl_table3", more={"train": "realfake", "test": "fakefake"}, than={"train": "fakefake"})
    found = one(store, several)["iou"]
    assert found.ours == pytest.approx((0.5, 0.3)) and found.interval == pytest.approx((0.2, 0.2))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30))
def test_a_verdict_turns_with_the_sides(differences: list[float]) -> None:
    turned = {"agrees": "disagrees", "disagrees": "agrees", "undecided": "undecided"}
    photos = [str(number) for number in range(len(differences))]
    first = dict(zip(photos, differences, strict=True))
    second = dict.fromkeys(photos, 0.0)
    empty = Finding("t", "a", "b", "iou", None)
    there = claims.finding(empty, (0,), ([[first]], [[second]]))
    back = claims.finding(empty, (0,), ([[second]], [[first]]))
    assert back.verdict == turned[there.verdict]
    assert there.ours is not None and there.ours[0] - there.ours[1] == pytest.approx(np.mean(differences), abs=1e-9)


@pytest.mark.parametrize(
    ("comparison", "hint"),
    [
        (Comparison("mpdl_table3"), "name cells on one side"),
        (Comparison("mpdl_table3", more={"modle": "FCN"}), "unknown axis 'modle'"),
        (Comparison("mpdl_table3", more={"train": "realfaek"}), "did you mean 'realfake'?"),
        (
            Comparison("mpdl_table3", more={"train": "realfake"}, than={"train": ["realfake", "fakefake"]}),
            "2 and 4",
        ),
    ],
)
def test_a_wrong_entry_is_answered(comparison: Comparison, hint: str, tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match=hint):
        one(Store(tmp_path), comparison)


def test_the_command_prints_and_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "small" / "cells")
    keep(store, "fakefake", "realfake", 0)
    assert main(["reproduce", "--claims", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert (
        "| mpdl_table3 | FCN, width 0.25 on our fakefake, tested on our realfake | every pixel marked |" in printed.out
    )
    assert "-0.100 (-0.100 to -0.100) | -0.100 | disagrees |" in printed.out and "not run yet" in printed.err
    assert (tmp_path / "small" / "claims" / "claims.md").read_text() == printed.out.removesuffix("\n")
    kept = json.loads((tmp_path / "small" / "claims" / "claims.json").read_text())
    assert kept[0]["findings"][0]["verdict"] == "disagrees" and len(kept) == len(claims.read_claims())
