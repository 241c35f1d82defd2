"""DCT coefficients of a picture's 8x8 blocks in bins, and how a JPEG compression would fill them; NumPy alone.

What they would be without the compression is known from the same picture's blocks half a block away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

FREQUENCIES = tuple((row, diagonal - row) for diagonal in range(1, 6) for row in range(diagonal + 1))
"""The lowest twenty, less the mean."""
TOP, WIDTH = 64, 0.25
"""Largest coefficient that is looked at, and width of a bin."""
STEPS = tuple(range(2, 41))
"""Of a compression, that are told apart."""
BLURS = (0.33, 0.7)
"""Standard deviations of what comes to a coefficient later: from rounding to pixels, and from a finer compression."""
TRIED = tuple((step, blur) for blur in BLURS for step in STEPS)
"""The first ones of rounding alone."""
ZERO = 1.0
"""Coefficients below it tell nothing: in flat parts they are small, whatever happened."""
PLAIN, FEW = 3.0, 4
"""Standard deviation of luma, and number of coefficients that tell, below which a block is plain: what rounding to
pixels does to it is no noise."""
SAMPLE = 1024
"""Blocks that the grid is found from, at most; sixteen times as many for statistics without the compression."""

Grid = tuple[int, int]
"""Row and column, 0 to 7, at which blocks begin."""


@dataclass(frozen=True)
class Seen:
    """The coefficients of a picture's blocks, as bins of their absolute values.

    Attributes:
        bins: (rows, columns, frequencies).
        usable: which blocks are neither clipped anywhere nor plain, (rows, columns).
        sizes: the absolute values.
        without: how the bins would be filled without a compression, a row of shares for each frequency.
        tried: the same with each of ``TRIED``, (tried, bins) for each frequency.
        flat: how many bins from zero on tell nothing.
        last: steps of a last compression that all blocks went through, by which ``bins`` are; 1 = none.
    """

    bins: np.ndarray
    usable: np.ndarray
    sizes: np.ndarray
    without: Sequence[np.ndarray]
    tried: Sequence[np.ndarray]
    flat: int = 0
    last: tuple[int, ...] = len(FREQUENCIES) * (1,)


def shifted(grid: Grid) -> Grid:
    """Half a block away: what coefficients are there knows nothing of the grid."""
    return (grid[0] + 4) % 8, (grid[1] + 4) % 8


def look(luma: np.ndarray, whole: np.ndarray, grid: Grid) -> Seen:
    blocks = _blocks(luma, grid)
    sizes = np.abs(blocks @ _basis())
    usable = _blocks(whole, grid).all(2) & ~_plain(blocks, sizes)
    without = densities_of(sample(luma, whole, shifted(grid), len(FREQUENCIES), 16 * SAMPLE))
    return Seen(bins_of(sizes), usable, sizes, list(without), list(with_steps(without)), round(ZERO / WIDTH))


def rounded(seen: Seen, steps: tuple[int, ...]) -> Seen:
    """The same in bins of the last compression's steps, which hold all that it left."""
    middle = WIDTH * (np.arange(round(TOP / WIDTH)) + 0.5)
    to = [np.rint(middle / step).astype(int)[:, None] == np.arange(TOP // step + 1) for step in steps]
    bins = np.minimum(np.rint(seen.sizes / steps), TOP // np.array(steps) + 1).astype(int)
    without = [density @ into for density, into in zip(seen.without, to, strict=True)]
    tried = [one @ into for one, into in zip(seen.tried, to, strict=True)]
    return Seen(bins, seen.usable, seen.sizes, without, tried, last=steps)


def _blocks(values: np.ndarray, grid: Grid) -> np.ndarray:
    """(height, width) to (rows, columns, 64), of whole blocks."""
    values = values[grid[0] :, grid[1] :]
    rows, columns = values.shape[0] // 8, values.shape[1] // 8
    values = values[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8)
    return values.transpose(0, 2, 1, 3).reshape(rows, columns, 64)


def sample(luma: np.ndarray, whole: np.ndarray, grid: Grid, frequencies: int, most: int = SAMPLE) -> np.ndarray:
    """Absolute coefficients, (blocks, frequencies), of usable ones among blocks that are spread evenly."""
    rows, columns = ((side - start) // 8 for side, start in zip(luma.shape, grid, strict=True))
    places = np.unique(np.linspace(0, rows * columns - 1, min(most, rows * columns)).astype(int))
    inner = np.arange(8)
    down = (grid[0] + 8 * (places // columns))[:, None, None] + inner[:, None]
    across = (grid[1] + 8 * (places % columns))[:, None, None] + inner
    blocks = luma[down, across].reshape(-1, 64)
    sizes = np.abs(blocks @ _basis())
    return sizes[whole[down, across].all((1, 2)) & ~_plain(blocks, sizes), :frequencies]


def _plain(blocks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    plain: np.ndarray = (blocks.std(-1) < PLAIN) | ((sizes >= 2 * ZERO).sum(-1) < FEW)
    return plain


@cache
def _basis() -> np.ndarray:
    """What each of ``FREQUENCIES`` takes from each pixel of a block, (64, frequencies), orthonormal."""
    waves = np.cos(np.pi * (2 * np.arange(8) + 1) * np.arange(8)[:, None] / 16) / 2
    waves[0] /= np.sqrt(2)
    basis = np.stack([np.outer(waves[row], waves[column]).ravel() for row, column in FREQUENCIES], axis=1)
    return basis.astype(np.float32)


def bins_of(sizes: np.ndarray) -> np.ndarray:
    """Of ``WIDTH``; the last is for all that is too large."""
    return np.minimum(sizes / WIDTH, TOP / WIDTH).astype(int)


def densities_of(sizes: np.ndarray) -> np.ndarray:
    """Of absolute coefficients (blocks, frequencies), in bins of ``WIDTH``; smoothed the more, the larger they are."""
    fine = 0.05
    length = int(np.arcsinh(TOP) / fine) + 1
    counts = [np.bincount((np.arcsinh(one[one < TOP]) / fine).astype(int), minlength=length) for one in sizes.T]
    smooth = smoothed(np.stack(counts)[:, :length] + 0.01, 3.0, axis=1, border="symmetric")
    middle = WIDTH * (np.arange(round(TOP / WIDTH)) + 0.5)
    at = np.arcsinh(middle) / fine
    densities = np.stack([np.interp(at, np.arange(length) + 0.5, one) for one in smooth]) / np.sqrt(1 + middle**2)
    return densities / densities.sum(1, keepdims=True)


def with_steps(densities: np.ndarray, most: int = len(TRIED)) -> np.ndarray:
    """What each density becomes with each, or the first, of ``TRIED``, (densities, tried, bins)."""
    made: np.ndarray = np.tensordot(densities.astype(np.float32), _combs(most), axes=(1, 0))
    return made


@cache
def _combs(most: int) -> np.ndarray:
    """Where a coefficient of each bin comes to lie with the first of ``TRIED``, (bins before, tried, bins after)."""
    middle = WIDTH * (np.arange(round(TOP / WIDTH)) + 0.5)
    combs = np.empty((len(middle), most, len(middle)), np.float32)
    for place, (step, blur) in enumerate(TRIED[:most]):
        peaks = step * np.rint(middle / step)[:, None]
        near = sum(np.exp(-((middle - side * peaks) ** 2) / (2 * blur**2)) for side in (1, -1))
        combs[:, place] = near / (near.sum(1, keepdims=True) + 1e-12)
    return combs


def smoothed(values: np.ndarray, deviation: float, axis: int, border: Literal["symmetric", "edge"]) -> np.ndarray:
    """By a Gaussian of that standard deviation along an axis."""
    reach = round(4 * deviation)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    width = [(reach, reach) if at == axis else (0, 0) for at in range(values.ndim)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, width, mode=border), len(weights), axis)
    values = windows @ (weights / weights.sum())
    return values
