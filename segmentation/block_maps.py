"""Values of a picture's blocks, of 8x8 pixels unless said: from pixels to blocks, smoothed, and back; NumPy alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

Grid = tuple[int, int]
"""Row and column, 0 to 7, at which blocks begin."""


def block_means(values: np.ndarray, grid: Grid, side: int = 8) -> np.ndarray:
    """Of the whole blocks, (height, width) to (rows, columns)."""
    values = values[grid[0] :, grid[1] :]
    rows, columns = values.shape[0] // side, values.shape[1] // side
    means: np.ndarray = values[: side * rows, : side * columns].reshape(rows, side, columns, side).mean((1, 3))
    return means


def smoothed(values: np.ndarray, deviation: float, axis: int, border: Literal["symmetric", "edge"]) -> np.ndarray:
    """By a Gaussian of that standard deviation along an axis."""
    reach = round(4 * deviation)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    width = [(reach, reach) if at == axis else (0, 0) for at in range(values.ndim)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, width, mode=border), len(weights), axis)
    values = windows @ (weights / weights.sum())
    return values


def to_pixels(blocks: np.ndarray, grid: Grid, shape: tuple[int, ...], side: int = 8) -> np.ndarray:
    """Of the whole blocks, to a picture of ``shape``, float32: linear between their middles, beyond them constant."""
    for axis in (0, 1):
        blocks = _enlarged(blocks, side, axis)
    after = [length - start - size for length, start, size in zip(shape, grid, blocks.shape, strict=True)]
    return np.pad(blocks, ((grid[0], after[0]), (grid[1], after[1])), mode="edge").astype(np.float32)


def _enlarged(values: np.ndarray, times: int, axis: int) -> np.ndarray:
    """As many times as many along an axis, linear between the middles of blocks."""
    count = values.shape[axis]
    at = np.clip((np.arange(times * count) + 0.5) / times - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    share = np.expand_dims(at - low, 1 - axis)
    high = np.minimum(low + 1, count - 1)
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share
