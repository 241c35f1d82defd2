"""Values of a picture's blocks, of 8x8 pixels unless said: from pixels to blocks, smoothed, and back; NumPy alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

Grid = tuple[int, int]
"""Row and column, 0 to 7, at which blocks begin."""
STRIP = 256
"""Rows of pixels that are worked on at a time."""


def block_means(values: np.ndarray, grid: Grid, side: int = 8) -> np.ndarray:
    """Of the whole blocks, (height, width) to (rows, columns)."""
    values = values[grid[0] :, grid[1] :]
    rows, columns = values.shape[0] // side, values.shape[1] // side
    means: np.ndarray = values[: side * rows, : side * columns].reshape(rows, side, columns, side).mean((1, 3))
    return means


def smoothed(values: np.ndarray, deviation: float, axis: int, border: Literal["symmetric", "edge"]) -> np.ndarray:
    """By a Gaussian of that standard deviation along an axis."""
    reach, length = round(4 * deviation), values.shape[axis]
    weights = np.exp(-(np.arange(reach + 1) ** 2) / (2 * deviation**2))
    weights /= weights[0] + 2 * weights[1:].sum()
    padded = np.pad(values, [(reach, reach) if at == axis else (0, 0) for at in range(values.ndim)], mode=border)

    def moved(by: int) -> np.ndarray:
        part: np.ndarray = padded[(slice(None),) * axis + (slice(reach + by, reach + by + length),)]
        return part

    # A sum of moved arrays takes a fifth of the time of a product with windows.
    found = float(weights[0]) * moved(0)
    for by in range(1, reach + 1):
        found += float(weights[by]) * (moved(-by) + moved(by))
    return found


def to_pixels(blocks: np.ndarray, grid: Grid, shape: tuple[int, ...], side: int = 8) -> np.ndarray:
    """Of the whole blocks, to a picture of ``shape``, float32: linear between their middles, beyond them constant."""
    tall = _enlarged(blocks, side, 0)
    tall = np.pad(tall, ((grid[0], shape[0] - grid[0] - len(tall)), (0, 0)), mode="edge")
    beyond = (0, 0), (grid[1], shape[1] - grid[1] - side * blocks.shape[1])
    found = np.empty(shape, np.float32)
    for start in range(0, shape[0], STRIP):  # a large picture enlarged at once would take gigabytes
        found[start : start + STRIP] = np.pad(_enlarged(tall[start : start + STRIP], side, 1), beyond, mode="edge")
    return found


def _enlarged(values: np.ndarray, times: int, axis: int) -> np.ndarray:
    """As many times as many along an axis, linear between the middles of blocks."""
    count = values.shape[axis]
    at = np.clip((np.arange(times * count) + 0.5) / times - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    share = np.expand_dims(at - low, 1 - axis)
    high = np.minimum(low + 1, count - 1)
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share
