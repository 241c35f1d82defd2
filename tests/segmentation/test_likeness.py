"""What looks alike is judged alike: by scikit-learn's ridge, finding what was missed and making nothing up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from sklearn.linear_model import Ridge

from segmentation import metrics
from segmentation.likeness import (
    FAINT,
    LEAST,
    LOWEST,
    MANY,
    PULL,
    RAISED,
    SCARCE,
    STEP,
    SUREST,
    USUAL,
    WAVES,
    WEIGHT,
    _explained,
    _strengths,
    judged_alike,
)
from tests.segmentation.pasts import disc


def sigmoid(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def logit(mask: np.ndarray) -> np.ndarray:
    return np.log(mask.astype(float) / (1 - mask.astype(float)))


def two_noises(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A disc of faint noise within loud noise, uint8 RGB, and where it is."""
    random = np.random.default_rng(seed)
    hole = disc((height, width), 0.25)
    loud = np.where(hole, 4.0, 6.0)[..., np.newaxis]
    pixels = 128 + loud * random.standard_normal((height, width, 3))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), hole


def test_strengths_are_those_of_scipys_cosine_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.likeness.REACH", 1e-9)  # each place by itself
    pixels = np.random.default_rng(0).integers(0, 256, (72, 96, 3), dtype=np.uint8)
    luminance = pixels @ np.array([0.299, 0.587, 0.114])
    found = _strengths(pixels, 1)
    assert found.shape == (72 // STEP, 96 // STEP, 3 * len(WAVES))
    row, column = 5, 9  # a window reaches two pixels beyond the STEP x STEP pixels that it stands for
    part = np.s_[STEP * row - 2 : STEP * row + 6, STEP * column - 2 : STEP * column + 6]
    planes = luminance, pixels[..., 2] - luminance, pixels[..., 0] - luminance
    waves = [dctn(plane[part], norm="ortho")[down, across] for plane in planes for down, across in WAVES]
    np.testing.assert_allclose(found[row, column], np.log(np.abs(waves) + FAINT), atol=1e-3)


def test_places_of_several_windows_have_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.likeness.REACH", 1e-9)
    pixels = np.random.default_rng(1).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    windows = _strengths(pixels, 1)
    means = windows.reshape(12, 2, 8, 2, -1).mean((1, 3))
    np.testing.assert_allclose(_strengths(pixels, 2), means, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-4, 3))
def test_the_explanation_is_a_weighted_ridge_regression(seed: int, usual: float) -> None:
    random = np.random.default_rng(seed)
    strengths = random.normal(size=(12, 15, 6)).astype(np.float32)
    odds = np.clip(usual + strengths @ random.normal(size=6) + random.normal(size=(12, 15)), -4, 4)
    known = strengths.reshape(180, 6).astype(float)
    known = (known - known.mean(0)) / (known.std(0) + 1e-3)
    inpainted = sigmoid(odds.ravel())
    weights = inpainted / max(inpainted.mean(), SCARCE) + (1 - inpainted) / max((1 - inpainted).mean(), SCARCE)
    ridge = Ridge(PULL * 180).fit(known, odds.ravel(), 180 * weights / weights.sum())
    np.testing.assert_allclose(_explained(odds, strengths).ravel(), ridge.predict(known), atol=1e-6)


@pytest.mark.parametrize("size", [(200, 264), (1004, 1207)])
def test_half_of_a_part_that_a_network_knows_finds_the_other_half(size: tuple[int, int]) -> None:
    """In a picture whose places are windows, and in one whose places are several."""
    assert (size[0] // STEP * size[1] // STEP > MANY) == (size[0] > 1000)
    pixels, hole = two_noises(*size)
    missed = hole & (np.arange(size[1]) > 0.55 * size[1])
    odds = np.where(hole & ~missed, 2.0, -2.0) + np.random.default_rng(1).normal(0, 1, size)
    together = judged_alike(pixels, sigmoid(odds).astype(np.float32))
    assert together.shape == size and together.dtype == np.float32
    assert metrics.auc(hole, together) > 0.9 > metrics.auc(hole, sigmoid(odds))
    assert np.median(together[missed]) > 2 * np.median(together[~hole])


def test_what_is_found_among_what_looks_the_same_is_withdrawn() -> None:
    pixels = np.random.default_rng(2).integers(100, 156, (520, 640, 3)).astype(np.uint8)
    stray = disc((520, 640), 0.08)
    together = judged_alike(pixels, np.where(stray, 0.7, 0.02).astype(np.float32))
    assert (together[stray] < 0.5).mean() > 0.9


def test_a_small_part_that_the_network_is_sure_of_stays() -> None:
    pixels, _ = two_noises(200, 264)
    hole = disc((200, 264), 0.06)
    pixels[hole] = pixels[hole] // 8 * 8
    together = judged_alike(pixels, np.where(hole, 0.95, 0.02).astype(np.float32))
    assert (together[hole] > 0.5).all() and (together[~hole] < 0.5).all()


@pytest.mark.parametrize("level", [0.05, 0.3, 0.9])
def test_where_the_network_tells_nothing_apart_neither_does_the_picture(level: float) -> None:
    pixels, _ = two_noises(120, 160)
    together = judged_alike(pixels, np.full((120, 160), level, np.float32))
    surest = 2 * WEIGHT * logit(np.float32(level))
    np.testing.assert_allclose(logit(together), surest + RAISED * (USUAL - surest), atol=1e-3)


def test_the_surer_a_network_is_of_the_rest_the_less_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The surest pixels alone count, and being surer than ``LOWEST`` adds nothing."""
    monkeypatch.setattr("segmentation.likeness._explained", lambda odds, strengths: 0 * odds)
    pixels, hole = two_noises(120, 160)
    few = np.zeros(hole.shape, bool)
    few[: int(2 * SUREST * 120)] = True

    def in_the_hole(rest: float) -> float:
        odds = np.where(hole, 0.0, np.where(few, rest / WEIGHT, 0.0))
        return float(logit(judged_alike(pixels, sigmoid(odds)))[hole].mean())

    assert in_the_hole(USUAL) == pytest.approx(0, abs=1e-4)
    assert in_the_hole(-9.0) == pytest.approx(RAISED * (USUAL + 9), abs=1e-4)
    assert in_the_hole(0.0) == pytest.approx(RAISED * USUAL, abs=1e-4)
    assert in_the_hole(-15.0) == pytest.approx(RAISED * (USUAL - LOWEST), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(LEAST, 150), st.integers(LEAST, 150), st.integers(0, 2**32 - 1), st.booleans())
def test_any_picture_gets_probabilities_that_follow_the_networks(
    height: int, width: int, seed: int, flat: bool
) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (1, 1, 3) if flat else (height, width, 3), dtype=np.uint8)
    pixels = np.broadcast_to(pixels, (height, width, 3))
    mask = random.choice(np.float32([0, 1e-20, 1e-6, 0.4, 1 - 1e-6, 1]), (height, width))
    together = judged_alike(pixels, mask)
    assert together.shape == mask.shape and np.isfinite(together).all()
    assert (together >= 0).all() and (together <= 1).all()
    assert together[mask == 0].max(initial=0) < 0.01 and together[mask == 1].min(initial=1) > 0.99


def test_however_sure_a_network_is_its_order_stays() -> None:
    pixels, _ = two_noises(80, 96)
    mask = np.linspace(-25, -0.5, 80 * 96).reshape(80, 96)
    together = judged_alike(pixels, (10**mask).astype(np.float32))
    assert np.corrcoef(np.argsort(np.argsort(together.ravel())), np.arange(80 * 96))[0, 1] > 0.99


def test_a_picture_very_much_longer_than_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.likeness.MANY", 40)
    pixels, hole = two_noises(LEAST, 40 * LEAST)
    together = judged_alike(pixels, np.where(hole, 0.6, 0.1).astype(np.float32))
    assert together.shape == hole.shape and metrics.auc(hole, together) > 0.9


def test_small_pictures_are_left_as_they_are() -> None:
    mask = np.random.default_rng(0).uniform(size=(LEAST - 1, 200)).astype(np.float32)
    pixels = np.zeros((LEAST - 1, 200, 3), np.uint8)
    assert judged_alike(pixels, mask) is mask
