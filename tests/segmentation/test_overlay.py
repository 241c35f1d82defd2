"""The overlay: what is marked, how it can be seen, what stays."""

from __future__ import annotations

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.overlay import overlay

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def square(value: float = 0.9) -> np.ndarray:
    mask = np.full((60, 80), 0.1, np.float32)
    mask[20:40, 30:60] = value
    return mask


def test_nothing_marked_is_the_picture() -> None:
    drawn = overlay(PICTURE, square(0.4))
    np.testing.assert_array_equal(drawn, PICTURE)
    assert drawn is not PICTURE


def test_a_marked_part_is_tinted_between_a_black_and_a_white_line() -> None:
    before = PICTURE.copy()
    drawn = overlay(PICTURE, square())
    np.testing.assert_array_equal(PICTURE, before)
    assert (drawn[20, 30:60] == 0).all() and (drawn[20:40, 59] == 0).all()
    assert (drawn[19, 29:61] == 255).all() and (drawn[19:41, 60] == 255).all()
    away = np.ones((60, 80), bool)
    away[19:41, 29:61] = False
    np.testing.assert_array_equal(drawn[away], PICTURE[away])
    inner = drawn[21:39, 31:59].astype(int) - PICTURE[21:39, 31:59]
    # Towards orange: red up, blue down.
    assert inner[..., 0].mean() > 20 and inner[..., 2].mean() < -20


def test_the_tint_grows_with_certainty_and_the_threshold_is_kept() -> None:
    def change(value: float, threshold: float = 0.5) -> float:
        drawn = overlay(PICTURE, square(value), threshold)[22:38, 32:58]
        return float(np.abs(drawn.astype(int) - PICTURE[22:38, 32:58]).mean())

    assert change(1.0) > change(0.6) > 0
    assert change(0.6, 0.7) == 0 and change(0.3, 0.3) > 0


def test_the_whole_picture_has_no_outline() -> None:
    drawn = overlay(PICTURE, np.ones((60, 80), np.float32))
    assert not (drawn == 255).all(-1).any() and (drawn != PICTURE).mean() > 0.9


def test_lines_of_large_pictures_are_wider() -> None:
    mask = np.zeros((40, 2400), np.float32)
    mask[:, 1000:1500] = 1
    drawn = overlay(np.full((40, 2400, 3), 128, np.uint8), mask)
    assert (drawn[20, 997:1000] == 255).all() and (drawn[20, 1000:1003] == 0).all()
    assert (drawn[20, 996] == 128).all() and (drawn[20, 1003] != 0).any()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(FakeclfError, match="same height and width"):
        overlay(PICTURE, np.zeros((80, 60), np.float32))
