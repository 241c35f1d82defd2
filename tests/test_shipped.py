"""The models that come with the project: whole, small enough to clone, and as good as their cards say."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from fakeclf import bundle

MEGABYTE = 1_000_000
SHIPPED = {
    "cifake": 8.0,
    "cifake-robust": 8.0,
    "ensemble": 0.3,
    "gan-autoencoder": 1.0,
    "inpainter": 1.2,
    "localizer": 10.0,
    "localizer-saved": 10.0,
    "regenerated": 81.0,
    "small-autoencoder": 1.0,
}
"""Megabytes that each bundle may have, all files together: what everybody who clones waits for."""
NAMES = sorted(SHIPPED)  # what was trained in a checkout since, as the README says, lies beside them


def test_there_are_some_and_all_are_pinned() -> None:
    pins = json.loads((resources.files("fakeclf") / "shipped.json").read_text(encoding="utf-8"))
    assert sorted(pins) == NAMES


def test_they_are_small_enough_to_clone() -> None:
    for name, most in SHIPPED.items():
        sizes = [path.stat().st_size for path in (bundle.SHIPPED / name).rglob("*") if path.is_file()]
        assert max(sizes) < 50 * MEGABYTE and sum(sizes) < most * MEGABYTE, name


@pytest.mark.parametrize("name", NAMES)
def test_whole_and_loadable(name: str) -> None:
    folder = bundle.SHIPPED / name
    assert bundle.verify(folder) == []
    card = bundle.read_card(folder)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 45, 61, 3)).astype("float32")
    shown = {"pictures": pictures, "holes": pictures[..., :1] > 200} if card.kind == "inpainter" else pictures
    answer = bundle.load(folder)(shown, training=False)
    answer = np.asarray(answer["mask"] if card.kind == "localizer" else answer)
    if card.kind in ("autoencoder", "inpainter"):
        assert answer.shape == pictures.shape
    else:
        assert answer.shape == ((2, 45, 61, 1) if card.kind == "localizer" else (2, 1))
        assert ((answer >= 0) & (answer <= 1)).all()
    assert any(result["split"] == "test" and result["protocol"] for result in card.results)
    assert card.limits


@pytest.mark.skipif("FAKECLF_TEST_DATA" not in os.environ, reason="FAKECLF_TEST_DATA names no home of full data sets")
def test_cifake_is_as_good_as_its_card_says() -> None:
    from fakeclf.evaluate import evaluate

    (said,) = (result for result in bundle.read_card("cifake").results if result["split"] == "test")
    home = Path(os.environ["FAKECLF_TEST_DATA"])
    measured = evaluate(bundle.SHIPPED / "cifake", "cifake", limit=2000, data_dir=home)
    assert measured.figures["accuracy"] == pytest.approx(said["accuracy"], abs=0.01)
