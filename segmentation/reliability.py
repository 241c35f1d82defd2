"""How far a localizer's answer can be relied on: whether it stays when the picture is mirrored or its grid moves.

Nothing about inpainting changes when a picture is mirrored or loses a few rows. An answer that does change follows the
network's grid of pixels, the tiles or its training, not the picture.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fakeclf.errors import FakeclfError

CUT = (3, 5)
"""Rows and columns that are cut off above and to the left. They are no multiple of a JPEG block nor of any stride, so
tiles, pooling grids and block grids lie elsewhere."""


class _Found(Protocol):
    @property
    def mask(self) -> np.ndarray: ...


class Localizing(Protocol):
    """What :func:`reliability` asks of a localizer, such as ``segmentation.localize.Localizer``."""

    @property
    def threshold(self) -> float: ...

    def __call__(self, pixels: np.ndarray) -> _Found: ...


@dataclass(frozen=True)
class Reliability:
    """How far the views of a picture agree.

    Attributes:
        map: of each pixel, float32 (height, width): 1 where all views say the same, 0 where half say the other.
        mean_mask: P(inpainted) of each pixel, the mean of the views, float32 (height, width).
        agreement: mean of ``map`` over the pixels that any view marks; 1 where none does.
        seconds: of all views together.
    """

    map: np.ndarray
    mean_mask: np.ndarray
    agreement: float
    seconds: float


def reliability(localizer: Localizing, pixels: np.ndarray, *, threshold: float | None = None) -> Reliability:
    """Ask a localizer eight times: for the four flips of the picture, and for those of the picture less ``CUT``.

    The views run one after the other into running sums, so this holds little more than one call does, and takes eight
    times as long. Pixels that are cut off have four views; a picture that has no more than ``CUT`` is not cut.

    Args:
        localizer: from pixels to an object with ``mask``, P(inpainted) of each pixel, (height, width).
        pixels: uint8 RGB (height, width, 3).
        threshold: on P(inpainted), from which on a pixel is called inpainted; default: the localizer's own.

    Raises:
        FakeclfError: for a threshold outside 0 to 1, and as the localizer does.
    """
    start = time.perf_counter()
    limit = localizer.threshold if threshold is None else threshold
    if not 0 <= limit <= 1:
        raise FakeclfError(f"the threshold is on P(inpainted) and lies between 0 and 1; received {limit}")
    height, width = pixels.shape[:2]
    marked = np.zeros((height, width), np.uint8)
    views = np.zeros((height, width), np.uint8)
    total = np.zeros((height, width), np.float32)
    cuts = [(0, 0), CUT] if height > CUT[0] and width > CUT[1] else [(0, 0)]
    for (top, left), down, right in itertools.product(cuts, (1, -1), (1, -1)):
        view = np.ascontiguousarray(pixels[top:, left:][::down, ::right])
        mask = localizer(view).mask[::down, ::right]
        marked[top:, left:] += mask >= limit
        views[top:, left:] += 1
        total[top:, left:] += mask
    # k of n views say so: |2 k - n| / n is twice the majority's share, less one.
    agreed = np.abs(2 * marked.astype(np.float32) - views) / views
    any_marked = marked > 0
    agreement = float(agreed[any_marked].mean(dtype=np.float64)) if any_marked.any() else 1.0
    return Reliability(agreed, total / views, agreement, time.perf_counter() - start)
