"""DCT coefficients of a picture's 8x8 blocks in bins, and how a JPEG compression would fill them; NumPy alone.

What they would be without the compression is known from the same picture's blocks half a block away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from segmentation.block_maps import Grid, smoothed

FREQUENCIES = tuple((row, diagonal - row) for diagonal in range(1, 6) for row in range(diagonal + 1))
"""The lowest twenty, less the mean."""
TOP, WIDTH = 64, 0.25
"""Largest coefficient that is looked at, and width of a bin."""
STEPS = tuple(range(2, 41))
"""Of a compression, that are told apart."""
BLURS = (0.33, 0.7)
"""Standard deviations of what comes to a coefficient later: from rounding to pixels, and from a finer compression."""
TRIED = tuple((step, blur) for blur in BLURS for step in STEPS)
NOISES = (0.33, 0.45, 0.6, 0.8, 1.1, 1.5, 2.0, 3.0, 4.5)
"""The same from a compression on another grid, of which each block has its own."""
LOUDER = 1.2
"""How much more noise is assumed than there is on average: detailed blocks have more of what was rounded to zero."""
ZERO = 1.0
"""Coefficients below it tell nothing: in flat parts they are small, whatever happened."""
FLAT = round(ZERO / WIDTH)
"""Bins of these."""
PLAIN, FEW = 3.0, 4
"""Standard deviation of luma, and number of coefficients that tell, below which a block is plain: what rounding to
pixels does to it is no noise."""
SAMPLE = 1024
"""Blocks that the grid is found from, at most; sixteen times as many for statistics without the compression."""


@dataclass(frozen=True)
class Seen:
    """The coefficients of a picture's blocks, as bins of their absolute values.

    Attributes:
        bins: (rows, columns, frequencies).
        usable: which blocks are neither clipped anywhere nor plain, (rows, columns).
        sizes: the absolute values.
        without: how the bins would be filled without a compression, a row of shares for each frequency.
        tried: the same with compressions, (tried, bins) for each frequency.
        steps: of these compressions.
        flat: how many bins from zero on tell nothing.
        kinds: of blocks, each of which has bins of its own.
        last: steps of a last compression that all blocks went through, by which ``bins`` are; 1 = none, 0 = unknown.
    """

    bins: np.ndarray
    usable: np.ndarray
    sizes: np.ndarray
    without: Sequence[np.ndarray]
    tried: Sequence[np.ndarray]
    steps: Sequence[int]
    flat: int = 0
    kinds: int = 1
    last: tuple[int, ...] = len(FREQUENCIES) * (1,)


def shifted(grid: Grid, but: Grid | None = None) -> Grid:
    """Half a block away, or nearly so if that is ``but``: what coefficients are there knows nothing of the grid."""
    away = (grid[0] + 4) % 8, (grid[1] + 4) % 8
    return away if away != but else ((grid[0] + 3) % 8, (grid[1] + 5) % 8)


def look(luma: np.ndarray, whole: np.ndarray, grid: Grid, but: Grid | None = None) -> Seen:
    """A picture's luma less 128; which pixels are not clipped; where blocks begin, and those of another grid."""
    blocks = _blocks(luma, grid)
    sizes = np.abs(blocks @ _basis())
    usable = _blocks(whole, grid).all(2) & ~_plain(blocks, sizes)
    without = densities_of(sample(luma, whole, shifted(grid, but), len(FREQUENCIES), 16 * SAMPLE))
    steps = [step for step, _ in TRIED]
    return Seen(bins_of(sizes), usable, sizes, list(without), list(with_steps(without)), steps, FLAT)


def rounded(seen: Seen, steps: tuple[int, ...]) -> Seen:
    """The same in bins of the last compression's steps, which hold all that it left."""
    middle = WIDTH * (np.arange(round(TOP / WIDTH)) + 0.5)
    wide = np.maximum(steps, 1)
    to = [np.rint(middle / step).astype(int)[:, None] == np.arange(TOP // step + 1) for step in wide]
    bins = np.minimum(np.rint(seen.sizes / wide), TOP // wide + 1).astype(int)
    without = [density @ into for density, into in zip(seen.without, to, strict=True)]
    tried = [one @ into for one, into in zip(seen.tried, to, strict=True)]
    return Seen(bins, seen.usable, seen.sizes, without, tried, seen.steps, last=steps)


def look_elsewhere(luma: np.ndarray, whole: np.ndarray, grid: Grid, last: Grid, table: np.ndarray) -> Seen:
    """As ``look``, on another grid than that of the last compression, whose 64 steps are known: it left noise.

    Bins are those of ``look`` once for each of ``NOISES``.
    """
    seen = look(luma, whole, grid, last)
    length = round(TOP / WIDTH)
    between = np.sqrt(np.multiply(NOISES[1:], NOISES[:-1]))
    kinds = np.searchsorted(between, LOUDER * noise_elsewhere(luma, grid, last, table))
    bins = np.where(seen.bins < length, kinds * length + seen.bins, len(NOISES) * length)
    tried = [(step, noise) for step in STEPS for noise in NOISES]
    with_it = with_steps(np.stack(seen.without), tried).reshape(len(FREQUENCIES), len(STEPS), -1)
    without = [np.tile(one, len(NOISES)) for one in seen.without]
    return Seen(bins, seen.usable, seen.sizes, without, list(with_it), STEPS, FLAT, len(NOISES))


def noise_elsewhere(luma: np.ndarray, grid: Grid, last: Grid, table: np.ndarray) -> np.ndarray:
    """Standard deviation of the rounding on grid ``last`` in coefficients of ``grid``, (rows, columns, frequencies)."""
    every = tuple((row, column) for row in range(8) for column in range(8))
    # Extended by mirroring, so that each block of ``grid`` lies in four whole ones of ``last``.
    before = [(8 - start) % 8 + 8 for start in last]
    after = [16 - (length - start) % 8 for length, start in zip(luma.shape, last, strict=True)]
    blocks = _blocks(np.pad(luma, list(zip(before, after, strict=True)), mode="symmetric"), (0, 0))
    levels = np.rint(blocks @ _basis(every) / table.astype(np.float32))
    zeros = np.clip((levels == 0).mean((0, 1)), 0.01, 0.99)
    # What was rounded to zero is Laplacian, of the width that gives as many zeros.
    half = -np.log(1 - zeros)
    lost = (2 - np.exp(-half) * (half**2 + 2 * half + 2)) / (1 - np.exp(-half)) * (table / (2 * half)) ** 2
    power = np.where(levels == 0, np.minimum(lost, table**2 / 12), table**2 / 12).astype(np.float32)
    first = [side + start for side, start in zip(before, grid, strict=True)]
    (top, down), (left, right) = (divmod(start, 8) for start in first)
    waves = _basis(every).T.reshape(64, 8, 8)
    found = np.full((1, 1, len(FREQUENCIES)), 1 / 12, np.float32)
    rows, columns = ((length - start) // 8 for length, start in zip(luma.shape, grid, strict=True))
    for below in (0, 1):
        for beside in (0, 1):
            placed = np.zeros((64, 24, 24), np.float32)
            placed[:, 8 * below : 8 * below + 8, 8 * beside : 8 * beside + 8] = waves
            share = np.square(placed[:, down : down + 8, right : right + 8].reshape(64, 64) @ _basis())
            part = power[top + below : top + below + rows, left + beside : left + beside + columns]
            found = found + part @ share
    return np.sqrt(found)


def _blocks(values: np.ndarray, grid: Grid) -> np.ndarray:
    """(height, width) to (rows, columns, 64), of whole blocks."""
    values = values[grid[0] :, grid[1] :]
    rows, columns = values.shape[0] // 8, values.shape[1] // 8
    values = values[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8)
    return values.transpose(0, 2, 1, 3).reshape(rows, columns, 64)


def sample(luma: np.ndarray, whole: np.ndarray, grid: Grid, frequencies: int, most: int = SAMPLE) -> np.ndarray:
    """Absolute coefficients, (blocks, frequencies), of usable ones among blocks that are spread evenly."""
    rows, columns = ((side - start) // 8 for side, start in zip(luma.shape, grid, strict=True))
    places = np.linspace(0, rows * columns - 1, min(most, rows * columns)).astype(int)
    inner = np.arange(8)
    down = (grid[0] + 8 * (places // columns))[:, None, None] + inner[:, None]
    across = (grid[1] + 8 * (places % columns))[:, None, None] + inner
    blocks = luma[down, across].reshape(-1, 64)
    sizes = np.abs(blocks @ _basis())
    usable = ~_plain(blocks, sizes)
    if not whole.all():
        usable &= whole[down, across].all((1, 2))
    return sizes[usable, :frequencies]


def _plain(blocks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    away = blocks - blocks.mean(-1, keepdims=True)
    variance = np.einsum("...i,...i->...", away, away) / blocks.shape[-1]  # a third of the time of ``var``
    plain: np.ndarray = (variance < PLAIN**2) | (np.count_nonzero(sizes >= 2 * ZERO, axis=-1) < FEW)
    return plain


@cache
def _basis(frequencies: Sequence[tuple[int, int]] = FREQUENCIES) -> np.ndarray:
    """What each frequency takes from each pixel of a block, (64, frequencies), orthonormal."""
    waves = np.cos(np.pi * (2 * np.arange(8) + 1) * np.arange(8)[:, None] / 16) / 2
    waves[0] /= np.sqrt(2)
    basis = np.stack([np.outer(waves[row], waves[column]).ravel() for row, column in frequencies], axis=1)
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


def with_steps(densities: np.ndarray, tried: Sequence[tuple[int, float]] = TRIED) -> np.ndarray:
    """What each density becomes with each step and blur, (densities, tried, bins)."""
    made = np.empty((len(densities), len(tried), densities.shape[1]), np.float32)
    for place, (step, blur) in enumerate(tried):
        starts, peaks = _comb(step, blur)
        made[:, place] = np.add.reduceat(densities, starts, axis=1) @ peaks
    return made


@cache
def _comb(step: int, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """The first bin that is rounded to each multiple of a step, and where that comes to lie, (multiples, bins)."""
    middle = WIDTH * (np.arange(round(TOP / WIDTH)) + 0.5)
    multiples, starts = np.unique(np.rint(middle / step), return_index=True)
    at = step * multiples[:, None]
    near = sum(np.exp(-((middle - side * at) ** 2) / (2 * blur**2)) for side in (1, -1))
    return starts, (near / (near.sum(1, keepdims=True) + 1e-12)).astype(np.float32)
