"""A model's reach, found by degrading pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.data import degrade
from fakeclf.data.datasets import Example
from fakeclf.reach_measuring import reach_of
from tests.fakeclf.voting import bright, classifier, localizer


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    """REAL is smooth, FAKE has fine noise; both as PNG."""
    random = np.random.default_rng(0)
    made = []
    for number in range(6):
        for label, strength in ((0, 24), (1, 2)):
            pixels = 128 + random.normal(0, strength, (48 + number, 64, 3))
            path = tmp_path / f"{number}-{label}.png"
            images.save(path, np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
            made.append(Example(str(path), label, str(number)))
    return made


def roughness(pixels: np.ndarray) -> float:
    return float(np.clip(np.abs(np.diff(pixels.astype(int), axis=1)).mean() / 20, 0, 1))


def test_a_model_of_fine_noise_does_not_reach_smoothed_pictures(examples: list[Example]) -> None:
    def blind_below(pixels: np.ndarray) -> float:
        rough = roughness(pixels)
        return rough if rough > 0.5 else 0.1

    reach = reach_of(classifier(blind_below), examples, "noise")
    assert reach.smallest == 48 and reach.largest is None and reach.jpeg_quality == 50
    assert reach.bandwidth is not None and reach.bandwidth > 0.5
    assert "not after: " in reach.protocol[2] and "blur:2" in reach.protocol[2].split("not after: ")[1]
    assert degrade.parse("blur:2")  # written as the list of changes is


def test_a_model_that_sees_nothing_reaches_nothing(examples: list[Example]) -> None:
    reach = reach_of(localizer(lambda pixels: 0 * bright(pixels)), examples, "noise", (1, 100))
    assert (reach.smallest, reach.largest, reach.jpeg_quality, reach.bandwidth) == (1, 100, 96, None)
    assert "judged after: none" in reach.protocol[2]


def test_a_model_for_saved_pictures_is_shown_none_that_was_not(examples: list[Example]) -> None:
    seen = set()

    def look(pixels: np.ndarray) -> np.ndarray:
        seen.add(pixels.tobytes())
        return np.full(pixels.shape[:2], roughness(pixels), np.float32)

    voter = localizer(look)
    voter.card.trained_on = {"recipe": {"localizing": {"degrade_as": "saved again"}}}
    reach = reach_of(voter, examples, "noise")
    assert seen and not seen & {images.read(example.path).tobytes() for example in examples}
    assert (reach.jpeg_quality, reach.highest_jpeg_quality) == (50, 95)
    assert "saved again and after each change" in reach.protocol[0] and "blur:2|jpeg:90" in "".join(reach.protocol)
