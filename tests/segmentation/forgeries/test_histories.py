from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.forgeries import histories


def scene(height: int, width: int) -> np.ndarray:
    """Blobs of every size with grain: neither flat nor noise."""
    random = np.random.default_rng(3)
    coarse = random.uniform(0, 255, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.clip(coarse + random.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


def detail(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())


def test_smaller_keeps_the_shape_and_the_smallest_side():
    assert histories.smaller(scene(400, 300), 0.5).shape == (200, 150, 3)
    assert histories.smaller(scene(400, 40), 0.5).shape == (200, 32, 3)


def test_softer_keeps_the_size_and_loses_detail():
    picture = scene(120, 160)
    softer = histories.softer(picture, 0.4, np.random.default_rng(0))
    assert softer.shape == picture.shape and softer.dtype == np.uint8 and detail(softer) < 0.6 * detail(picture)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(100, 420), width=st.integers(100, 420))
def test_reworked_pictures_are_pictures_large_enough_for_a_crop(seed: int, height: int, width: int):
    picture = scene(height, width)
    reworked = histories.reworked(picture, np.random.default_rng(seed))
    assert reworked.dtype == np.uint8 and reworked.ndim == 3 and reworked.shape[2] == 3
    assert min(reworked.shape[:2]) >= histories.SHORTEST - 15
    assert reworked.shape != picture.shape or not np.array_equal(reworked, picture)
    # Nothing but the picture: no black corners, no other brightness.
    assert np.allclose(reworked.mean((0, 1)), picture.mean((0, 1)), atol=25)


@pytest.mark.parametrize("seed", range(6))
def test_denoising_takes_grain_and_leaves_edges(seed: int):
    """Six draws: medians and total variation, as the generator has it."""
    left, right = np.full((64, 64, 3), 60.0), np.full((64, 64, 3), 180.0)
    grainy = np.concatenate([left, right], 1) + np.random.default_rng(0).normal(0, 4, (64, 128, 3))
    clean = histories._denoised(np.rint(grainy).astype(np.uint8), np.random.default_rng(seed)).astype(float)
    assert clean[8:-8, 8:48].std() < 0.7 * grainy[8:-8, 8:48].std()
    assert (clean[8:-8, 68:72].mean() - clean[8:-8, 56:60].mean()) > 100


def test_a_small_picture_is_mirrored_to_the_size_of_a_crop():
    mirrored = histories._mirrored(scene(64, 300))
    assert mirrored.shape == (histories.SHORTEST, 300, 3)
    assert np.array_equal(mirrored[80:144], scene(64, 300)) and np.array_equal(mirrored[144:208], mirrored[143:79:-1])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_strip_survives_being_reworked(seed: int):
    assert min(histories.reworked(scene(32, 900), np.random.default_rng(seed)).shape[:2]) >= histories.SHORTEST - 15


def test_the_same_draw_gives_the_same_picture_and_another_one_another():
    picture = scene(260, 300)
    first, again, other = (histories.reworked(picture, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("degrees", [-20.0, -3.0, 12.5])
def test_a_turned_picture_shows_no_corner(degrees: float):
    white = np.full((400, 500, 3), 255, np.uint8)
    turned = histories._turned(white, degrees, histories._TURNING[1])
    assert turned.shape != white.shape and turned.min() == 255
