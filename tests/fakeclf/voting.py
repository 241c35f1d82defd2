"""Voters made of plain functions, so that what they say of a picture is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fakeclf.bundle import Card
from fakeclf.calibration import Calibration
from fakeclf.reach import Reach
from fakeclf.voters import Looked, Voter

Score = Callable[[np.ndarray], float]
Mask = Callable[[np.ndarray], np.ndarray]


def calibration(threshold: float = 0.8, real_below: float = 0.3, temperature: float = 1.0) -> Calibration:
    """One that leaves probabilities as they are, unless ``temperature`` says otherwise."""
    return Calibration(
        temperature=temperature,
        bias=0.0,
        threshold=threshold,
        false_positives=0.01,
        false_positives_reached=0.01,
        recall=0.5,
        real_below=real_below,
        error=0.05,
        band=0.1,
        ece_before=0.1,
        ece_after=0.01,
        loss_before=1.0,
        loss_after=0.1,
        pictures=200,
        fakes=100,
        reals=100,
        data="made up",
        split="validation",
        protocol=("made up",),
    )


def classifier(score: Score, name: str = "classifier", reach: Reach | None = None, **numbers: float) -> Voter:
    """A classifier with the P(FAKE) that ``score`` gives."""
    card = Card(name, "classifier", "test", "fakeclf.models.layers", files={"model.keras": f"{name}-version"})
    return Voter(name, Path(name), card, reach or Reach(), calibration(**numbers), lambda pixels: Looked(score(pixels)))


def localizer(
    mask: Mask, name: str = "localizer", reach: Reach | None = None, calibrated: bool = True, **numbers: float
) -> Voter:
    """A localizer with the mask that ``mask`` gives, and its highest value as the score; pixel threshold 0.5."""
    card = Card(name, "localizer", "test", "fakeclf.models.layers", files={"model.keras": f"{name}-version"})

    def look(pixels: np.ndarray) -> Looked:
        found = mask(pixels).astype(np.float32)
        return Looked(float(found.max()), found)

    known = calibration(**numbers) if calibrated else None
    return Voter(name, Path(name), card, reach or Reach(), known, look)


def brightness(pixels: np.ndarray) -> float:
    """Mean of all values, in [0, 1]."""
    return float(pixels.mean() / 255)


def bright(pixels: np.ndarray) -> np.ndarray:
    """Brightness of each pixel, (h, w)."""
    return pixels.mean(-1) / 255
