"""Imitations of a generator's last layers."""

from __future__ import annotations

import numpy as np
import pytest

from segmentation.forgeries.inpainters import resized
from segmentation.forgeries.resampled import DENOISERS, UPSAMPLERS, Renoised, Resampled, noise_level

NOTHING = np.zeros((96, 120), bool)


def noisy(deviation: float, seed: int = 0, slope: float = 0.5) -> np.ndarray:
    down, right = np.mgrid[0:96, 0:120]
    values = 80 + slope * (down + right)[..., None] + np.random.default_rng(seed).normal(0, deviation, (96, 120, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", UPSAMPLERS)
def test_even_upsamplers_neither_move_nor_brighten_a_picture(name: str, factor: int) -> None:
    down, right = np.mgrid[0:30, 0:40].astype(np.float32)
    small = np.stack([3 * down, 2 * right, down + right], axis=-1)
    for seed in range(4):
        large = UPSAMPLERS[name](small, factor, np.random.default_rng(seed), 0.0, 0.0)
        assert large.shape == (30 * factor, 40 * factor, 3) and large.dtype == np.float32
        # Against a plane on pixel centres: what repeats pixels makes stairs, but none that lean to one side.
        error = large - resized(small, 30 * factor, 40 * factor, "bilinear")
        assert np.abs(error[8:-8, 8:-8].mean(axis=(0, 1))).max() < 0.02
        assert np.abs(error[8:-8, 8:-8]).max() <= 1.6


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("name", ["transposed", "shuffled"])
def test_uneven_upsamplers_leave_a_lattice_of_their_period(name: str, factor: int) -> None:
    flat = np.full((24, 24, 3), 100, np.float32)
    large = UPSAMPLERS[name](flat, factor, np.random.default_rng(0), 0.1, 0.01)[2 * factor : -2 * factor]
    large = large[:, 2 * factor : -2 * factor]
    assert 0.1 < np.ptp(large) < 10
    np.testing.assert_allclose(large[factor:], large[:-factor], atol=1e-3)
    assert np.abs(large[1:] - large[:-1]).max() > 0.1
    even = UPSAMPLERS[name](flat, factor, np.random.default_rng(0), 0.1, 0.0)
    np.testing.assert_allclose(even[4:-4, 4:-4], 100, atol=1e-2)


def test_transposed_is_a_transposed_convolution() -> None:
    import keras

    small = np.random.default_rng(0).normal(100, 20, (9, 11, 3)).astype(np.float32)
    impulse = np.zeros((9, 11, 1), np.float32)
    impulse[4, 5] = 1
    for seed in range(3):
        kernel = UPSAMPLERS["transposed"](impulse, 2, np.random.default_rng(seed), 0.1, 0.01)[5:13, 7:15, 0]
        # The answer to one pixel at (4, 5) is the kernel, centred on output pixels 8-9 and 10-11: an 8x8 window of it.
        layer = keras.layers.Conv2DTranspose(1, 8, strides=2, padding="same", use_bias=False)
        layer.build((None, 9, 11, 1))
        layer.set_weights([kernel[..., None, None]])
        expected = np.stack([np.asarray(layer(small[None, ..., c : c + 1]))[0, ..., 0] for c in range(3)], axis=-1)
        got = UPSAMPLERS["transposed"](small, 2, np.random.default_rng(seed), 0.1, 0.01)
        np.testing.assert_allclose(got[4:-4, 4:-4], expected[4:-4, 4:-4], rtol=1e-4)


@pytest.mark.parametrize("deviation", [2.0, 6.0])
def test_noise_level_measures_white_noise(deviation: float) -> None:
    level = noise_level(noisy(deviation).astype(np.float32))
    assert level.shape == (96, 120, 3)
    assert np.median(level) == pytest.approx(deviation, rel=0.15)


def test_noise_level_is_local_and_blind_to_planes_and_edges() -> None:
    picture = noisy(0, slope=1.0).astype(np.float32)
    picture[:, 60:] += 60
    assert noise_level(picture).max() < 1
    picture[:48] += np.random.default_rng(0).normal(0, 1.5, (48, 120, 3))
    level = noise_level(picture)
    assert level[:24].mean() > 5 * level[-24:].mean()


def test_resampled_gives_the_noise_back() -> None:
    picture = noisy(5)
    for seed in range(8):
        level = np.median(
            noise_level(Resampled().fill(picture, NOTHING, np.random.default_rng(seed)).astype(np.float32))
        )
        assert 3 < level < 8


def test_resampled_without_noise_loses_what_lies_above_the_small_grid() -> None:
    source = Resampled()
    source.settings |= {"factors": [4], "detail": [0.0, 0.0], "noise": [0.0, 0.0], "sharpened": 0.0}
    picture = noisy(8)
    plain = source.fill(picture, NOTHING, np.random.default_rng(0)).astype(np.float32)
    assert np.median(noise_level(plain)) < 2
    source.settings |= {"detail": [0.6, 0.6]}
    kept = source.fill(picture, NOTHING, np.random.default_rng(0)).astype(np.float32)
    assert np.abs(kept - picture).mean() < 0.6 * np.abs(plain - picture).mean()


@pytest.mark.parametrize("upsampler", ["bilinear", "transposed", "shuffled"])
def test_resampled_shows_the_period_of_its_enlargement(upsampler: str) -> None:
    """How well neighbours foretell a pixel depends on its phase (Gallagher 2005); in photographs it does not."""
    source = Resampled()
    source.settings |= {"factors": [3], "upsamplers": [upsampler], "detail": [0.0, 0.0], "noise": [0.0, 0.0]}
    picture = noisy(20)

    def spread(values: np.ndarray) -> float:
        second = np.abs(np.diff(values.astype(float), 2, axis=1)).mean(axis=(0, 2))
        phases = [second[phase::3].mean() for phase in range(3)]
        return (max(phases) - min(phases)) / float(np.mean(phases))

    assert spread(picture) < 0.05
    assert spread(source.fill(picture, NOTHING, np.random.default_rng(0))) > 0.1


def test_resampled_and_renoised_draw_anew_each_time() -> None:
    picture = noisy(5)
    for source in (Resampled(), Renoised()):
        random = np.random.default_rng(0)
        one, other = (source.fill(picture, NOTHING, random).astype(int) for _ in range(2))
        assert (one != other).mean() > 0.3
        assert np.abs(one - picture).mean() < 15


@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers_bring_a_noisy_picture_nearer_to_the_clean_one(name: str) -> None:
    clean = noisy(0).astype(np.float32)
    values = noisy(6).astype(np.float32)
    after = DENOISERS[name](values, 6.0, np.random.default_rng(0))
    assert after.shape == values.shape and after.dtype == np.float32
    assert np.abs(after - clean).mean() < 0.7 * np.abs(values - clean).mean()


def test_renoised_has_noise_of_the_drawn_level() -> None:
    source = Renoised()
    source.settings |= {"noise": [1.0, 1.0], "denoisers": ["non-local"]}
    level = np.median(noise_level(source.fill(noisy(5), NOTHING, np.random.default_rng(0)).astype(np.float32)))
    assert level == pytest.approx(5, rel=0.2)
