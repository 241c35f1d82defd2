"""Generators that nobody trained."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries import random_decoder
from segmentation.forgeries.inpainters import resized
from segmentation.forgeries.random_decoder import UPSAMPLERS, RandomDecoder
from segmentation.forgeries.resampled import noise_level


def scene(height: int = 96, width: int = 112) -> np.ndarray:
    """Waves of many lengths, with a camera's noise."""
    random = np.random.default_rng(0)
    down, right = np.mgrid[:height, :width]
    waves = sum(
        20 * np.sin(random.normal() * down / length + random.normal() * right / length + colour)[..., None]
        for length in (3, 6, 12, 25)
        for colour in (0, 2)
    )
    grain = random.normal(0, 3, (height, width, 3))
    return np.clip(np.rint(waves * np.array([1, 0.8, 0.5]) + 120 + grain), 0, 255).astype(np.uint8)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_convolutions_are_those_of_keras():
    values, kernel = drawn(11, 14, 5), drawn(3, 3, 5, 7)
    expected = np.asarray(keras.ops.conv(values[None], kernel, padding="valid"))[0]
    np.testing.assert_allclose(random_decoder._convolved(values, kernel)[1:-1, 1:-1], expected, atol=1e-4)
    flat = np.ones((4, 6, 5), np.float32)
    np.testing.assert_allclose(
        random_decoder._convolved(flat, kernel), flat[..., :1] * kernel.sum((0, 1, 2)), atol=1e-4
    )


def test_enlarging_is_bilinear():
    values = drawn(9, 6, 3)
    np.testing.assert_allclose(random_decoder._enlarged(values), resized(values, 18, 12, "bilinear"), atol=1e-5)


def test_a_transposed_convolution_is_that_of_keras():
    values = drawn(8, 9, 4)
    # The answers to one pixel of each channel are the kernel.
    shown = [np.zeros((7, 7, 4), np.float32) for _ in range(4)]
    for channel, picture in enumerate(shown):
        picture[3, 3, channel] = 1
    answers = [UPSAMPLERS["transposed"](picture, 6, 0.5, np.random.default_rng(3)) for picture in shown]
    kernel = np.stack([answer[5:9, 5:9] for answer in answers], axis=-1)
    for answer in answers:
        answer[5:9, 5:9] = 0
        assert not answer.any()
    layer = keras.layers.Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False)
    layer.build((None, 8, 9, 4))
    layer.set_weights([kernel])
    got = UPSAMPLERS["transposed"](values, 6, 0.5, np.random.default_rng(3))
    np.testing.assert_allclose(got[2:-2, 2:-2], np.asarray(layer(values[None]))[0, 2:-2, 2:-2], atol=1e-4)


def test_shuffling_is_a_convolution_and_depth_to_space():
    values = drawn(6, 7, 4)
    random = np.random.default_rng(3)
    kernels = [random_decoder._kernel(3, 4, 5, 0.5, random) for _ in range(4)]
    wide = random_decoder._convolved(values, np.concatenate(kernels, axis=-1))
    expected = np.asarray(keras.ops.depth_to_space(wide[None], 2, data_format="channels_last"))[0]
    np.testing.assert_allclose(UPSAMPLERS["shuffled"](values, 5, 0.5, np.random.default_rng(3)), expected, atol=1e-5)


def test_the_last_convolution_is_fitted():
    features, kernel = drawn(40, 50, 6), drawn(3, 3, 6, 3)
    truth = random_decoder._convolved(features, kernel) + np.float32([1, 2, 3])
    found, bias = random_decoder._fitted(features, truth, 3, np.random.default_rng(0))
    np.testing.assert_allclose(found, kernel, atol=0.01)
    np.testing.assert_allclose(bias, [1, 2, 3], atol=0.01)


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
def test_a_frame_shows_the_picture_with_noise_of_its_own(upsampler: str):
    source, picture = RandomDecoder(), scene()
    source.settings |= {"upsamplers": [upsampler], "shrinking": [2], "noise": [1.0, 1.0]}
    frame = source.frame(picture, np.random.default_rng(0))
    assert frame.shape == picture.shape and frame.dtype == np.uint8
    assert 22 < psnr(frame, picture) < 45
    assert (frame != picture).mean() > 0.5
    level, wanted = (np.median(noise_level(one.astype(np.float32))) for one in (frame, picture))
    assert 0.5 * wanted < level < 2 * wanted
    source.settings |= {"noise": [0.0, 0.0]}
    quiet = source.frame(picture, np.random.default_rng(0))
    assert np.median(noise_level(quiet.astype(np.float32))) <= level


def test_frames_repeat_with_their_seed_and_differ_without():
    source, picture = RandomDecoder(), scene(48, 64)
    one, again, other = (source.frame(picture, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.3


def test_what_shows_little_of_the_picture_is_drawn_again():
    source, picture = RandomDecoder(), scene()
    source.settings |= {"shrinking": [4], "channels": [4], "kernels": [1], "least": 0.0}
    random = np.random.default_rng(0)
    one_by_one = [psnr(source.frame(picture, random), picture) for _ in range(4)]
    source.settings |= {"least": 90.0}
    assert psnr(source.frame(picture, np.random.default_rng(0)), picture) == pytest.approx(max(one_by_one))
    least = sorted(one_by_one)[1] - 0.01
    source.settings |= {"least": least}
    first_good = next(one for one in one_by_one if one >= least)
    assert psnr(source.frame(picture, np.random.default_rng(0)), picture) == pytest.approx(first_good)


def test_a_picture_that_memory_may_not_hold_is_refused():
    with pytest.raises(FakeclfError, match=r"at most 4 megapixels, not 2001 x 2000; cut them with --size 2000"):
        RandomDecoder().frame(np.zeros((2000, 2001, 3), np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3)])
def test_the_smallest_pictures_pass(size: tuple[int, int]):
    picture = np.full((*size, 3), 77, np.uint8)
    frame = RandomDecoder().frame(picture, np.random.default_rng(0))
    assert frame.shape == picture.shape and np.abs(frame.astype(int) - 77).max() < 40
