"""A mask drawn over its picture, for people to look at, whatever colours they can tell apart."""

from __future__ import annotations

import numpy as np

from fakeclf.errors import FakeclfError

ORANGE = (230, 159, 0)
"""Orange of the palette of Okabe & Ito (2008), which stays apart from others under every kind of colour blindness."""

_BAND = 256  # rows that are tinted at a time, to hold little


def overlay(pixels: np.ndarray, mask: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The picture with what reaches the threshold tinted orange, between a black line inside and a white one outside.

    The two lines differ from each other and from any background in brightness alone, so the outline can be seen
    without telling colours apart, and in a grey print. The tint is stronger where the mask is surer.

    Args:
        pixels: uint8 RGB (height, width, 3).
        mask: P(inpainted) of each pixel, (height, width), in [0, 1].
        threshold: what ``mask`` has to reach.

    Returns:
        uint8 RGB of the same size, a new array.

    Raises:
        FakeclfError: the mask has another size than the picture.
    """
    if mask.shape != pixels.shape[:2]:
        raise FakeclfError(
            f"the mask is of shape {mask.shape}, its picture {pixels.shape}; both must have the same height and width"
        )
    inside = mask >= threshold
    drawn = pixels.copy()
    if not inside.any():
        return drawn
    for top in range(0, len(drawn), _BAND):
        band = slice(top, top + _BAND)
        here = inside[band]
        share = (0.25 + 0.25 * mask[band][here])[:, np.newaxis].astype(np.float32)
        drawn[band][here] = np.rint(drawn[band][here] * (1 - share) + np.array(ORANGE, np.float32) * share)
    width = max(1, round(max(inside.shape) / 800))
    drawn[_near(inside, width) & ~inside] = 255
    drawn[_near(~inside, width) & inside] = 0
    return drawn


def _near(marked: np.ndarray, reach: int) -> np.ndarray:
    """Which pixels have a marked one at most ``reach`` rows and columns away."""
    for axis in (0, 1):
        sides = [(0, 0), (0, 0)]
        sides[axis] = (reach, reach)
        marked = np.moveaxis(np.pad(marked, sides), axis, 0)
        span = 1  # rows that each row stands for so far
        while span < 2 * reach + 1:
            step = min(span, 2 * reach + 1 - span)
            marked = marked[:-step] | marked[step:]
            span += step
        marked = np.moveaxis(marked, 0, axis)
    return marked
