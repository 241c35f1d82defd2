"""Second differences of a picture's channels, in which regular patterns show, and how much of one windows have.

NumPy alone. ``segmentation.periodic_history`` and ``segmentation.own_pattern`` look for patterns in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

CHANNELS = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))
"""Luma and both chroma: colour is sampled and rounded more coarsely, so its pattern is the stronger."""
NEIGHBOURS, ROUNDING, LOUDEST = 9, 0.3, 2.0
"""Side of the square that a difference is relative to, pixels; what is added to its mean, so that rounding is no
texture; and the most that counts."""
LARGE = 4_000_000
"""Pixels of a picture that is looked at, at most: these take seconds, and more of them minutes."""
WINDOW = 24
"""Side of the windows that are told apart, pixels: three blocks of 8, one around each."""
SEEN, FLAT = 0.3, 0.1
"""Share of a window's pixels that must not be clipped, and mean second difference of luma below which it is flat."""
TEXTURED = 0.75
"""Share of the windows that must be neither, for a picture to be looked at: photographs have nine tenths, drawings and
screens, whose lines can repeat, fewer."""
LOUDNESSES = 5
"""Classes of windows by how large differences are: there is more of a pattern in some than in others."""
AROUND = 31
"""Side of the square whose mean is taken off, pixels."""


@dataclass(frozen=True)
class Residual:
    """One kind of second differences of one channel, and the axis along which its pattern is looked for.

    Attributes:
        strips: their sizes, relative to their neighbours' and less their mean there, summed over strips of 8 pixels
            across the axis, (strips, length along the axis).
        usable: of how many pixels, the others being clipped.
        loudness: class of each window by how large differences are, (rows, columns).
        axis: 0 to look along columns, 1 along rows.
    """

    strips: np.ndarray
    usable: np.ndarray
    loudness: np.ndarray
    axis: int


Residuals = tuple[list[Residual], np.ndarray]
"""All of a picture's, and which windows have texture and enough pixels that are not clipped."""


def residuals(pixels: np.ndarray) -> Residuals:
    """Of a picture, uint8 RGB (height, width, 3)."""
    usable = np.zeros(pixels.shape[:2], np.float32)
    inner = slice(2, -2)
    usable[inner, inner] = np.all((pixels > 2) & (pixels < 253), axis=2)[inner, inner]
    share = np.maximum(_mean(usable, AROUND), 1e-3)
    count = in_windows(_strips(usable, 1), 1)
    seen = count > SEEN * WINDOW**2
    every: list[Residual] = []
    for weights in CHANNELS:
        channel = pixels @ np.array(weights, np.float32)
        rows, columns = _second(channel, 1), _second(channel, 0)
        for difference, axes in ((rows, (1,)), (columns, (0,)), (_second(rows, 0), (0, 1))):
            size = np.abs(difference)
            mean = _mean(size, NEIGHBOURS, border="symmetric")
            values = np.minimum(size / (mean + ROUNDING), LOUDEST)
            values = (values - _mean(values * usable, AROUND) / share) * usable
            loud = in_windows(_strips(mean * usable, 1), 1) / np.maximum(count, 1)
            if not every:  # differences of luma
                seen &= loud > FLAT
            classes = np.searchsorted(np.quantile(loud, np.arange(1, LOUDNESSES) / LOUDNESSES), loud)
            every += [Residual(_strips(values, axis), _strips(usable, axis), classes, axis) for axis in axes]
    return every, seen


def in_windows(strips: np.ndarray, axis: int) -> np.ndarray:
    """Sums over windows, (rows, columns), of what was summed over strips along an axis.

    To know how much of a pattern windows have, multiply a residual's strips with its waves before.
    """
    blocks = strips[:, : strips.shape[1] // 8 * 8].reshape(len(strips), -1, 8).sum(2)
    return around(blocks if axis else blocks.T)


def around(blocks: np.ndarray) -> np.ndarray:
    """Sums over the 3x3 blocks around each, (..., rows, columns); there are none beyond the border."""
    padded = np.pad(blocks, [(0, 0)] * (blocks.ndim - 2) + [(1, 1), (1, 1)])
    rows = padded[..., 2:, :] + padded[..., 1:-1, :] + padded[..., :-2, :]
    sums: np.ndarray = rows[..., 2:] + rows[..., 1:-1] + rows[..., :-2]
    return sums


def _second(values: np.ndarray, axis: int) -> np.ndarray:
    """Second differences, as many as there are values."""
    values = np.pad(values, [(int(at == axis),) * 2 for at in (0, 1)], mode="symmetric")
    if axis == 0:
        return values[2:] + values[:-2] - 2 * values[1:-1]
    return values[:, 2:] + values[:, :-2] - 2 * values[:, 1:-1]


def _mean(values: np.ndarray, side: int, border: Literal["constant", "symmetric"] = "constant") -> np.ndarray:
    """Of the square of an odd ``side`` around each pixel."""
    for axis in (0, 1):
        width = [(side // 2 + 1, side // 2) if at == axis else (0, 0) for at in (0, 1)]
        sums = np.cumsum(np.pad(values, width, mode=border), axis, dtype=np.float32)
        above, below = (slice(side, None), slice(None)), (slice(-side), slice(None))
        values = sums[above if axis == 0 else above[::-1]]
        values -= sums[below if axis == 0 else below[::-1]]
        values /= side
    return values


def _strips(values: np.ndarray, axis: int) -> np.ndarray:
    """Sums over strips of 8 pixels that run along an axis, (strips, length)."""
    values = values if axis else values.T
    strips: np.ndarray = values[: values.shape[0] // 8 * 8].reshape(-1, 8, values.shape[1]).sum(1)
    return strips
