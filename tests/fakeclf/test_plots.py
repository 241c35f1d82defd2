"""Plots: real PNG files of a sensible size, the same bytes for the same data and others for other data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakeclf import metrics, plots
from fakeclf.errors import FakeclfError

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, 300)
P_REAL = np.clip(TRUTH * 0.4 + RNG.random(300) * 0.6, 0, 1)
HISTORY = {
    "loss": [0.6, 0.4, 0.3],
    "val_loss": [0.7, 0.5, 0.55],
    "accuracy": [0.7, 0.8, 0.9],
    "learning_rate": [1e-3] * 3,
}
TRIALS: list[dict[str, Any]] = [
    {"number": 0, "loss": 0.5, "status": "ok", "params": {"dropout": 0.31234, "units": 64}},
    {"number": 1, "loss": None, "status": "failed", "params": {"dropout": 0.7, "units": 64}},
    {"number": 2, "loss": 0.3, "status": "ok", "params": {"dropout": 0.1, "units": 128}},
]
ROWS = ["FCN, realfake", "FCN, fakefake", "NIX-Net, realfake"]
VALUES = [(0.5, (0.4, 0.6), 0.9), (0.2, None, 0.7), (None, None, 0.8)]
DRAWINGS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "learning_curves": (
        lambda path: plots.learning_curves(HISTORY, path),
        lambda path: plots.learning_curves({**HISTORY, "loss": [0.6, 0.4, 0.2]}, path),
    ),
    "confusion_matrix": (
        lambda path: plots.confusion_matrix(metrics.confusion(TRUTH, P_REAL, 0.5), path),
        lambda path: plots.confusion_matrix({"tp": 3, "fp": 0, "fn": 1, "tn": 4}, path),
    ),
    "roc": (lambda path: plots.roc(TRUTH, P_REAL, path), lambda path: plots.roc(TRUTH, P_REAL[::-1], path)),
    "reliability": (
        lambda path: plots.reliability(TRUTH, P_REAL, path),
        lambda path: plots.reliability(TRUTH, P_REAL**2, path),
    ),
    "calibration": (
        lambda path: plots.calibration(TRUTH, P_REAL, P_REAL**2, path),
        lambda path: plots.calibration(TRUTH, P_REAL, P_REAL**3, path),
    ),
    "trials": (lambda path: plots.trials(TRIALS, path), lambda path: plots.trials(TRIALS[:2], path)),
    "beside_printed": (
        lambda path: plots.beside_printed(ROWS, {"IoU": VALUES, "AUC": [(0.9, None, None)] * 3}, path, "fraction"),
        lambda path: plots.beside_printed(
            ROWS, {"IoU": VALUES[::-1], "AUC": [(0.9, None, None)] * 3}, path, "fraction"
        ),
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_draws_a_png_that_follows_the_data(name: str, tmp_path: Path) -> None:
    draw, draw_other = DRAWINGS[name]
    draw(tmp_path / "a.png")
    draw(tmp_path / "again.png")
    draw_other(tmp_path / "other.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert 300 <= picture.width <= 2000 and 300 <= picture.height <= 1500
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels == 255).all(axis=2).mean() > 0.2  # white paper
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # with something on it
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "again.png").read_bytes()
    assert first != (tmp_path / "other.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3  # nothing half-written is left beside them


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.roc([1, 1], [0.2, 0.8], path),
        lambda path: plots.reliability([1], [0.2], path),
        lambda path: plots.calibration([1], [0.2], [0.4], path),
        lambda path: plots.confusion_matrix({"tp": 0, "fp": 0, "fn": 0, "tn": 5}, path),
        lambda path: plots.learning_curves({"loss": [0.5], "val_loss": [], "learning_rate": [0.0]}, path),
        lambda path: plots.learning_curves({"val_accuracy": [0.5, float("nan")]}, path),
        lambda path: plots.trials(TRIALS[1:2], path),
        lambda path: plots.trials([{"number": 4, "loss": float("nan"), "params": {}}], path),
    ],
)
def test_thin_data_still_draw(draw: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path / "new folder" / "a.png")
    with Image.open(tmp_path / "new folder" / "a.png") as picture:
        picture.load()


def test_nothing_to_draw_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        plots.learning_curves({"loss": []}, tmp_path / "a.png")
    with pytest.raises(ValueError, match="no trials"):
        plots.trials([], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FakeclfError, match="cannot write"):
        plots.roc(TRUTH, P_REAL, tmp_path / "file" / "a.png")


def test_touches_no_global_state_of_matplotlib(tmp_path: Path) -> None:
    before = sys.modules.get("matplotlib.pyplot")
    plots.roc(TRUTH, P_REAL, tmp_path / "a.png")
    assert sys.modules.get("matplotlib.pyplot") is before
