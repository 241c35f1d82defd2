"""What a photograph went through before it is forged: smaller, softer, or a whole life on the web.

A photograph from a collection is a JPEG that nobody touched since. The pictures that people ask about are not: they
were denoised by a telephone, turned, resized, sharpened and saved again by other programs, all of it before anyone
forged them. A localizer that
never saw such pictures untouched takes the traces of it for a forger's.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from fakeclf import images
from fakeclf.data.regenerated import SMALLEST

GRAIN = 2.5
"""The most grain that a softened photograph gets: standard deviation of Gaussian noise, in steps of 0-255."""

TURN = 20.0
"""The most that a reworked photograph is turned by, degrees."""
SCALE = (0.25, 2.0)
"""Drawn by its logarithm. Cameras take 4,000 pixels where the web shows 1,000: most pictures were made much smaller,
but what is cut out of one, such as a face, is often enlarged."""
SMOOTHING = (0.02, 0.08)
"""Weight of total variation in denoising, where the picture is 0-1: more leaves less grain."""
SHARPENING = (20, 120)
"""Per cent of what a Gaussian blur of 0.6 to 1.5 pixels takes away."""
QUALITIES = {"webp": (60, 96), "jpeg": (75, 98)}
SHORTEST = 224
"""Pixels; a side that is shorter is mirrored at its ends, so that there is enough for a crop to train on."""

_TURNING = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
_RESIZING = (*_TURNING, Image.Resampling.LANCZOS, Image.Resampling.BOX)


def smaller(picture: np.ndarray, factor: float, kernel: Image.Resampling = Image.Resampling.LANCZOS) -> np.ndarray:
    """The picture, (h, w, 3) uint8, at ``factor`` times its size, its shorter side no less than ``SMALLEST``."""
    height, width = (max(SMALLEST, round(side * factor)) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), kernel))


def softer(picture: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """The picture at ``factor`` times its size, brought back to its size (a drawn kernel), with fine grain."""
    size = (picture.shape[1], picture.shape[0])
    kernels = (*_TURNING, Image.Resampling.LANCZOS)
    enlarged = Image.fromarray(smaller(picture, factor)).resize(size, kernels[random.integers(len(kernels))])
    grain = random.normal(0.0, random.uniform(0.0, GRAIN), picture.shape)
    return np.clip(np.rint(np.asarray(enlarged) + grain), 0, 255).astype(np.uint8)


def reworked(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The picture after a life that is drawn anew for each: turned, resized, sharpened, saved again, cut.

    Three in ten are denoised, half turned, three in four resized, mostly to less, one in four sharpened; half are
    saved, most as lossy WebP, and of these half are cut so that blocks no longer begin at the corner. What kept its
    size so far is saved.

    Args:
        picture: (h, w, 3) uint8.
        random: what everything is drawn from.

    Returns:
        uint8 RGB, (h, w, 3), mostly of another size.
    """
    size = picture.shape
    denoises, turns, resizes, sharpens = random.random(4) < (0.3, 0.5, 0.75, 0.25)
    if denoises:
        picture = _denoised(picture, random)
    if turns:
        picture = _turned(picture, random.uniform(-TURN, TURN), _TURNING[random.integers(len(_TURNING))])
    if resizes:
        picture = smaller(picture, math.exp(random.uniform(*np.log(SCALE))), _RESIZING[random.integers(len(_RESIZING))])
    if sharpens:
        kernel = ImageFilter.UnsharpMask(random.uniform(0.6, 1.5), int(random.integers(*SHARPENING)), 0)
        picture = np.asarray(Image.fromarray(picture).filter(kernel))
    picture = _mirrored(picture)
    if random.random() < 0.5 or picture.shape == size:
        picture = _saved(picture, "webp" if random.random() < 0.7 else "jpeg", random)
        if random.random() < 0.5:
            top, left = random.integers(1, 16, 2)
            picture = picture[top:, left:]
    return picture


def _denoised(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Without much of its grain: a median of 3 x 3, or total variation (Chambolle 2004)."""
    if random.random() < 0.5:
        return np.asarray(Image.fromarray(picture).filter(ImageFilter.MedianFilter(3)))
    from skimage.restoration import denoise_tv_chambolle

    weight = random.uniform(*SMOOTHING)
    smooth = denoise_tv_chambolle(np.float32(picture) / 255, weight, max_num_iter=20, channel_axis=-1)
    return np.clip(np.rint(smooth * 255), 0, 255).astype(np.uint8)


def _turned(picture: np.ndarray, degrees: float, kernel: Image.Resampling) -> np.ndarray:
    """Turned about its centre and cut to the largest share of both sides that shows no corner."""
    height, width = picture.shape[:2]
    sine, cosine = abs(math.sin(math.radians(degrees))), math.cos(math.radians(degrees))
    share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    across, down = int(share * width) - 2, int(share * height) - 2
    if 2 * min(across, down) < min(height, width):  # a strip, of which nothing would be left
        return picture
    left, top = (width - across) // 2, (height - down) // 2
    return np.asarray(Image.fromarray(picture).rotate(degrees, kernel))[top : top + down, left : left + across]


def _mirrored(picture: np.ndarray) -> np.ndarray:
    """Sides that are shorter than ``SHORTEST`` grow to it by reflection."""
    before = [max(0, SHORTEST - side) // 2 for side in picture.shape[:2]]
    after = [max(0, SHORTEST - side) - first for side, first in zip(picture.shape[:2], before, strict=True)]
    return np.pad(picture, (*zip(before, after, strict=True), (0, 0)), mode="symmetric")


def _saved(picture: np.ndarray, codec: str, random: np.random.Generator) -> np.ndarray:
    quality = int(random.integers(*QUALITIES[codec], endpoint=True))
    return images.read((images.encode_webp if codec == "webp" else images.encode_jpeg)(picture, quality))
