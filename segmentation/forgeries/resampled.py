"""Whole frames that went through an imitation of a generator's last layers, or of a denoiser; nothing is trained.

``resampled``: a picture is shrunk and enlarged again the ways decoders enlarge, which leaves a lattice of the period of
the enlargement; ``renoised``: a picture is denoised and gets fresh Gaussian noise, which leaves no lattice at all but
another noise than the camera's.

References: Zhang, Karaman & Chang 2019, "Detecting and simulating artifacts in GAN fake images", arXiv:1907.06515;
Odena, Dumoulin & Olah 2016, "Deconvolution and checkerboard artifacts", doi:10.23915/distill.00003; Shi et al. 2016
(pixel shuffle), arXiv:1609.05158.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from scipy import ndimage

from segmentation.forgeries.inpainters import FrameSource, resized, to_bytes

_SHRINKERS = ("box", "bilinear", "bicubic", "lanczos")
_BLOCK = 16


class Resampled(FrameSource):
    """Shrink by 2, 3 or 4, enlarge by a drawn upsampler, perhaps sharpen, and give the noise back that was lost.

    Everything is drawn anew for each picture; a factor of 2 half of the time. An enlargement by 4 is two by
    2, as in decoders. A share of the lost fine detail is added back: decoders blur less than interpolation does, and a
    detector should not learn to see blur.

    Attributes:
        settings: ranges that are drawn from. ``unevenness`` is the relative deviation of kernel weights, ``ripple``
            that of the brightness of the phases of the lattice, ``noise`` the level of the noise given back relative to
            the picture's own.
    """

    name = "resampled"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {
            "factors": [2, 2, 3, 4],
            "shrinkers": list(_SHRINKERS),
            "upsamplers": list(UPSAMPLERS),
            "unevenness": [0.02, 0.2],
            "ripple": [0.001, 0.01],
            "detail": [0.0, 0.8],
            "sharpened": 0.5,
            "sharpening": [0.2, 0.8],
            "noise": [0.7, 1.1],
        }

    def frame(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One passage of the frame; see the class."""
        factor = int(random.choice(self.settings["factors"]))
        upsample = UPSAMPLERS[str(random.choice(self.settings["upsamplers"]))]
        shrinker = str(random.choice(self.settings["shrinkers"]))
        unevenness = float(np.exp(random.uniform(*np.log(self.settings["unevenness"]))))
        ripple = float(np.exp(random.uniform(*np.log(self.settings["ripple"]))))

        height, width = picture.shape[:2]
        # Whole cells of the lattice; the border repeats its last pixel.
        edges = ((0, -height % factor), (0, -width % factor), (0, 0))
        padded = np.pad(picture, edges, mode="edge").astype(np.float32)
        small = resized(padded, padded.shape[0] // factor, padded.shape[1] // factor, shrinker)
        large = small
        for step in (2, 2) if factor == 4 else (factor,):
            large = upsample(large, step, random, unevenness, ripple)
        detail = padded - resized(small, padded.shape[0], padded.shape[1], "bicubic")
        large = (large + random.uniform(*self.settings["detail"]) * detail)[:height, :width]

        if random.random() < self.settings["sharpened"]:
            radius = random.uniform(0.7, 1.2)
            softened = ndimage.gaussian_filter(large, (radius, radius, 0), mode="nearest")
            large = large + random.uniform(*self.settings["sharpening"]) * (large - softened)
        wanted = noise_level(picture.astype(np.float32)) * random.uniform(*self.settings["noise"])
        missing = np.sqrt(np.maximum(wanted**2 - noise_level(large) ** 2, 0))
        return to_bytes(large + missing * random.standard_normal(large.shape, dtype=np.float32))


class Renoised(FrameSource):
    """Denoise by a drawn method and add Gaussian noise of a drawn level.

    Attributes:
        settings: the methods, the range of the added noise relative to the picture's own, and the ``levels`` that the
            latter is held between.
    """

    name = "renoised"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {
            "denoisers": list(DENOISERS),
            "noise": [0.5, 1.5],
            "levels": [0.5, 8.0],
            "scikit-image": version("scikit-image"),
        }

    def frame(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The frame without its noise and with new; see the class."""
        values = picture.astype(np.float32)
        level = float(np.clip(np.median(noise_level(values)), *self.settings["levels"]))
        denoise = DENOISERS[str(random.choice(self.settings["denoisers"]))]
        # Some denoisers drop a side of one pixel.
        clean = denoise(values, level, random).reshape(values.shape)
        noise = level * random.uniform(*self.settings["noise"])
        return to_bytes(clean + noise * random.standard_normal(clean.shape, dtype=np.float32))


def noise_level(values: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise around each pixel, (h, w, c) float32, of ``values`` (h, w, c) float, 0-255.

    The median over blocks of 16 px of a filter's answer that planes and straight edges leave at zero. Texture is no
    noise, so values are held below twice the picture's lower quartile plus one.

    Reference: Immerkaer 1996, "Fast noise variance estimation", doi:10.1006/cviu.1996.0060 (there with the mean).
    """
    second = np.array([1.0, -2.0, 1.0], np.float32)
    answer = ndimage.correlate1d(values, second, axis=0, mode="mirror")
    answer = np.abs(ndimage.correlate1d(answer, second, axis=1, mode="mirror"))
    height, width, channels = answer.shape
    answer = np.pad(answer, ((0, -height % _BLOCK), (0, -width % _BLOCK), (0, 0)), mode="symmetric")
    blocks = answer.reshape(answer.shape[0] // _BLOCK, _BLOCK, answer.shape[1] // _BLOCK, _BLOCK, channels)
    # The filter multiplies the deviation of white noise by 6; 0.6745 turns a median of |x| into a deviation.
    levels = np.median(blocks, axis=(1, 3)) / (6 * 0.6745)
    levels = np.minimum(levels, 2 * np.quantile(levels, 0.25, axis=(0, 1)) + 1).astype(np.float32)
    return resized(levels, answer.shape[0], answer.shape[1], "bilinear")[:height, :width]


def _nearest(
    small: np.ndarray, factor: int, random: np.random.Generator, unevenness: float, ripple: float
) -> np.ndarray:
    """Pixels repeated, then a 3x3 kernel, as decoders do that avoid transposed convolutions."""
    kernel = _uneven(np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]), unevenness, random)
    large = small.repeat(factor, axis=0).repeat(factor, axis=1)
    return ndimage.correlate(large, (kernel / kernel.sum())[..., None], mode="nearest")


def _bilinear(
    small: np.ndarray, factor: int, random: np.random.Generator, unevenness: float, ripple: float
) -> np.ndarray:
    return resized(small, factor * small.shape[0], factor * small.shape[1], "bilinear")


def _bicubic(
    small: np.ndarray, factor: int, random: np.random.Generator, unevenness: float, ripple: float
) -> np.ndarray:
    return resized(small, factor * small.shape[0], factor * small.shape[1], "bicubic")


def _transposed(
    small: np.ndarray, factor: int, random: np.random.Generator, unevenness: float, ripple: float
) -> np.ndarray:
    """Zeros put between pixels, then one kernel: a transposed convolution of stride ``factor``."""
    # Sides of the factor's parity: others move the picture by half a pixel. A side of the factor would make squares.
    side = factor + 2 * int(random.integers(1, 3))
    line = np.convolve(np.ones(factor), np.ones(side - factor + 1)) / (side - factor + 1)
    kernel = _uneven(np.outer(line, line), unevenness, random)
    for row in range(factor):
        for column in range(factor):
            # The taps that one phase of the output sees; they need not sum to one, which makes the checkerboard.
            taps = kernel[row::factor, column::factor]
            taps *= (1 + ripple * random.standard_normal()) / taps.sum()
    margin = 2
    spread = np.pad(small, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    zeros = np.zeros((factor * spread.shape[0], factor * spread.shape[1], small.shape[2]), np.float32)
    zeros[::factor, ::factor] = spread
    large = ndimage.convolve(zeros, kernel[..., None], mode="constant", origin=(*_centred(side, factor), 0))
    return large[margin * factor : -margin * factor, margin * factor : -margin * factor]


def _shuffled(
    small: np.ndarray, factor: int, random: np.random.Generator, unevenness: float, ripple: float
) -> np.ndarray:
    """Every phase of the output by a 3x3 kernel of its own: a convolution followed by a pixel shuffle."""
    height, width, channels = small.shape
    large = np.empty((height, factor, width, factor, channels), np.float32)
    place = (np.arange(factor) + 0.5) / factor - 0.5
    # Bilinear weights of the pixels before, at and after, for each phase.
    lines = np.stack([np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0)], axis=1)
    for row in range(factor):
        for column in range(factor):
            # Uneven by a part of the mean weight: phases of an odd factor have weights of zero.
            kernel = np.outer(lines[row], lines[column]) + unevenness / 9 * random.standard_normal((3, 3))
            kernel *= (1 + ripple * random.standard_normal()) / kernel.sum()
            large[:, row, :, column] = ndimage.correlate(small, kernel[..., None], mode="nearest")
    return large.reshape(height * factor, width * factor, channels)


def _uneven(kernel: np.ndarray, unevenness: float, random: np.random.Generator) -> np.ndarray:
    return kernel * (1 + unevenness * random.standard_normal(kernel.shape))


def _centred(side: int, factor: int) -> tuple[int, int]:
    """Origin that puts the middle of the kernel on the middle of the ``factor`` output pixels of an input pixel."""
    shift = (side - factor + 1) // 2 - side // 2
    return shift, shift


def _median(values: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    return ndimage.median_filter(values, size=(3, 3, 1), mode="nearest")


def _total_variation(values: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    weight = level * random.uniform(1.0, 2.5)
    return denoise_tv_chambolle(values, weight=weight, max_num_iter=60, channel_axis=-1).astype(np.float32)


def _bilateral(values: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    from skimage.restoration import denoise_bilateral

    spread = level * random.uniform(2.0, 4.0) / 255
    clean = denoise_bilateral(values / 255, win_size=5, sigma_color=spread, sigma_spatial=1.5, channel_axis=-1)
    return (255 * clean).astype(np.float32)


def _non_local(values: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    strength = level * random.uniform(0.6, 1.2)
    return denoise_nl_means(values, patch_size=5, patch_distance=5, h=strength, sigma=level, channel_axis=-1)


UPSAMPLERS: dict[str, Callable[..., np.ndarray]] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "transposed": _transposed,
    "shuffled": _shuffled,
}
"""Each called as (small (h, w, c) float32, factor, random, unevenness, ripple); gives (factor h, factor w, c)."""

DENOISERS: dict[str, Callable[..., np.ndarray]] = {
    "median": _median,
    "total-variation": _total_variation,
    "bilateral": _bilateral,
    "non-local": _non_local,
}
"""Each called as (values (h, w, 3) float32 0-255, noise level, random); gives the same shape."""
