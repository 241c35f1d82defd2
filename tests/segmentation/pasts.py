"""Pictures with a past, for the tests of what looks for it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def saved(pixels: np.ndarray, quality: int | str) -> np.ndarray:
    """As JPEG at a quality of libjpeg's, or with Photoshop's tables, by Pillow's names for them."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(pixels: np.ndarray, scale: float) -> np.ndarray:
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((round(scale * picture.width), round(scale * picture.height)), Image.LANCZOS))


def disc(shape: tuple[int, ...], radius: float = 0.2) -> np.ndarray:
    """A hole near the middle; its radius as a share of the sides."""
    rows, columns = (np.arange(length)[:, None] / length for length in shape[:2])
    return (rows - 0.45) ** 2 + (columns.T - 0.55) ** 2 < radius**2
