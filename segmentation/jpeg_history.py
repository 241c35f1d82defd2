"""Where a picture lacks the JPEG compression that the rest of it went through; nothing is trained.

A photograph from a camera or the web was a JPEG file before it was forged, so its DCT coefficients lie at multiples of
that file's steps; what was painted into it never was, and its do not. That shows as long as the picture is kept without
loss, and often after it was saved as JPEG once more: coefficients that were rounded twice leave gaps and heaps, if the
second steps are finer than the first. It is no trace of the generator, so no generator is a stranger to it.

    found = missing_history(pixels)
    if found is not None:
        found.evidence  # log odds of each pixel that the compression is missing there

A first compression on another grid than the second's, as of a picture that was cut in between, is not looked for.
NumPy alone: a first verdict waits for no SciPy.

References: Fan & de Queiroz 2003, "Identification of bitmap compression history", doi:10.1109/TIP.2002.807361; Bianchi,
De Rosa & Piva 2011, "Improved DCT coefficient analysis for forgery localization in JPEG images",
doi:10.1109/ICASSP.2011.5946978, whose way to know what coefficients would be without the compression this takes: those
of a shifted grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fakeclf import traces
from fakeclf.data.codec import libjpeg_luminance
from segmentation.block_coefficients import (
    BLURS,
    FREQUENCIES,
    STEPS,
    TRIED,
    WIDTH,
    ZERO,
    Grid,
    Seen,
    bins_of,
    densities_of,
    look,
    rounded,
    sample,
    shifted,
    smoothed,
    with_steps,
)

COARSE, COARSE_STEPS = 6, 19
"""How many of these, and of ``STEPS``, the grid is found with."""
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
"""Of the blocks that went through the compression, as tried for each frequency."""
STRAYS = 0.03
"""Share of the coefficients of a block that lie elsewhere though it went through the compression."""
LEAST = 128
"""Shorter side of a picture that is looked at, pixels: statistics of fewer blocks are none."""
GAIN, GAIN_BEFORE = 0.05, 1.5
"""Log-likelihood a block, over that of no compression, from which on a compression, and one before it, is believed.
Photographs that were never compressed have 0.007 at most, and those that were once have 0.9 for one before it."""
LEAST_GAIN = 50.0
"""Of all blocks together: few are soon explained."""
MISSING = (0.02, 0.95)
"""Share of blocks that went without it, between which this is so of a part of the picture."""
ALIKE = 0.6
"""Correlation of an earlier compression's steps with libjpeg's, as logs, below which they are chance and no table."""
WITH_IT = 64
"""Blocks that went through it, at least: a few resemble anything."""
SMOOTHING = 1.0
"""Standard deviation, in blocks, of the weights that neighbours' evidence is added with; a block's own weight is 1."""
MOST = 8.0
"""Log odds, either way."""


@dataclass(frozen=True)
class History:
    """A compression that a part of a picture went through.

    Attributes:
        evidence: log odds that a pixel went without it, float32 (height, width), -8 to 8; 0 where nothing can be told,
            as in clipped parts.
        grid: row and column, 0 to 7, at which its blocks begin.
        steps: of luma at ``FREQUENCIES``; 1 where none can be told.
        again: whether the whole picture was saved as JPEG once more since.
        missing: share of blocks that went without it, of those that tell anything.
    """

    evidence: np.ndarray
    grid: Grid
    steps: tuple[int, ...]
    again: bool
    missing: float

    def describe(self) -> str:
        """A sentence for people."""
        then = " before it was saved as it is now" if self.again else ""
        return (
            f"A part of the picture went without the JPEG compression that the rest went through{then}, as what is "
            "painted or pasted into a photograph does."
        )


def missing_history(pixels: np.ndarray) -> History | None:
    """A compression that part of a picture, uint8 RGB (height, width, 3), went without; None where none is found."""
    if min(pixels.shape[:2]) < LEAST:
        return None
    luma = np.rint(pixels @ traces.LUMA) - 128
    whole = np.all((pixels > 0) & (pixels < 255), axis=2)
    last = traces.read(pixels)
    grid = last.jpeg_grid or _grid(luma, whole)
    seen = look(luma, whole, grid)
    if not seen.usable.any():
        return None
    again, table = False, None if last.jpeg_quality is None else _table(last.jpeg_quality)
    found = _told(seen, _fits(seen, table), GAIN)
    if table is not None and (found is None or found.missing < MISSING[0]):  # all of it was: and before?
        seen = rounded(seen, table)
        again, found = True, _told(seen, _fits(seen), GAIN_BEFORE)
        if found is not None and not _like_a_table(found.steps):
            return None
    if found is None or not MISSING[0] <= found.missing <= MISSING[1]:
        return None
    return History(_evidence(found.ratios, grid, luma.shape), grid, found.steps, again, found.missing)


def with_history(mask: np.ndarray, history: History) -> np.ndarray:
    """P(inpainted) of each pixel by a network and by the picture's history together, float32 (height, width).

    Their log odds are added, as of two witnesses who know nothing of each other; the network's count no more than
    the history's can.
    """
    clipped = np.clip(mask.astype(np.float64), 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(clipped / (1 - clipped)), -MOST, MOST) + history.evidence
    together: np.ndarray = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return together


@dataclass(frozen=True)
class _Fit:
    """How the bins of one frequency tell a compression: log ratios of with it over without; all 0 for step 1."""

    gain: float
    step: int
    ratios: np.ndarray


@dataclass(frozen=True)
class _Told:
    """Of each block, the log odds that it has the compression; the share of those that do not; the steps."""

    ratios: np.ndarray
    missing: float
    steps: tuple[int, ...]


def _grid(luma: np.ndarray, whole: np.ndarray) -> Grid:
    """The likeliest of 64."""
    grids = [(row, column) for row in range(8) for column in range(8)]
    seen = {grid: sample(luma, whole, grid, COARSE) for grid in grids}
    densities = np.stack([densities_of(seen[shifted(grid)]) for grid in grids])
    tried = with_steps(densities.reshape(len(grids) * COARSE, -1), COARSE_STEPS)  # all at once, which is fast
    tried = tried.reshape(len(grids), COARSE, COARSE_STEPS, -1)

    def gain(place: int) -> float:
        each = zip(bins_of(seen[grids[place]]).T, densities[place], tried[place], strict=True)
        few, flat = (0.3, 0.9), round(ZERO / WIDTH)
        return sum(
            _fit(_counts(bins, len(one)), one, with_it, flat, STEPS[:COARSE_STEPS], few).gain
            for bins, one, with_it in each
        )

    return grids[max(range(len(grids)), key=gain)]


def _counts(bins: np.ndarray, length: int) -> np.ndarray:
    """How many there are of each bin, without what is too large."""
    return np.bincount(bins, minlength=length + 1)[:length].astype(float)


def _table(quality: int) -> tuple[int, ...]:
    table = libjpeg_luminance(quality).reshape(8, 8)
    return tuple(int(table[place]) for place in FREQUENCIES)


def _like_a_table(steps: tuple[int, ...]) -> bool:
    """Whether steps grow with the frequency as those of JPEG tables do."""
    known = [(step, usual) for step, usual in zip(steps, _table(50), strict=True) if step > 1]
    if len({step for step, _ in known}) < 2:
        return False
    return float(np.corrcoef(np.log(known).T)[0, 1]) >= ALIKE


def _fits(seen: Seen, table: tuple[int, ...] | None = None) -> list[_Fit]:
    """Of every frequency, with the steps of ``table``, else with the likeliest that are coarser than the last."""
    fits = []
    for place, (without, tried) in enumerate(zip(seen.without, seen.tried, strict=True)):
        counts = _counts(seen.bins[seen.usable, place], len(without))
        if table is None:
            few = [at for at, (step, _) in enumerate(TRIED) if step > seen.last[place]]
        else:
            few = [at for at, one in enumerate(TRIED) if one == (table[place], BLURS[0])]
        fits.append(_fit(counts, without, tried[few], seen.flat, [TRIED[at][0] for at in few]))
    return fits


def _fit(
    counts: np.ndarray,
    without: np.ndarray,
    tried: np.ndarray,
    flat: int,
    steps: Sequence[int],
    shares: Sequence[float] = SHARES,
) -> _Fit:
    """Of the ``steps`` the one that explains ``counts`` best, if any does better than no compression."""
    if not len(steps):
        return _Fit(0.0, 1, np.zeros(len(counts) + 1))
    without = without / without[flat:].sum()
    tried = tried / (tried[:, flat:].sum(1, keepdims=True) + 1e-9)
    ratios = (1 - STRAYS) * tried / np.maximum(without, 1e-7) + STRAYS
    ratios[:, :flat] = 1.0
    filled = counts > 0
    share = np.array(shares)[:, None, None]
    gains = np.log(share * ratios[:, filled] + 1 - share) @ counts[filled]
    _, place = np.unravel_index(np.argmax(gains), gains.shape)
    gain = float(gains.max()) - float(np.log(gains.size))
    if gain <= 0:
        return _Fit(0.0, 1, np.zeros(len(counts) + 1))
    return _Fit(gain, steps[int(place)], np.append(np.log(ratios[place]), 0.0))


def _told(seen: Seen, fits: list[_Fit], least: float) -> _Told | None:
    """What the frequencies tell together; None if it is not worth believing."""
    if sum(fit.gain for fit in fits) < max(LEAST_GAIN, least * seen.usable.sum()):
        return None
    ratios = sum(fit.ratios[seen.bins[:, :, place]] for place, fit in enumerate(fits)) * seen.usable
    having = ratios[ratios > 0]
    if having.size < WITH_IT:
        return None
    # Where steps are large and blocks that have them are sure of it, one that only doubts it is nearly flat.
    telling = np.clip(ratios[np.abs(ratios) > max(1.0, np.median(having) / 4)], -30, 30)
    missing = 0.5
    for _ in range(30):  # expectation and maximisation
        missing = float(np.mean(missing / (missing + (1 - missing) * np.exp(telling))))
    return _Told(ratios, missing, tuple(fit.step for fit in fits))


def _evidence(ratios: np.ndarray, grid: Grid, shape: tuple[int, ...]) -> np.ndarray:
    """Blocks' log odds of having it, to pixels' of going without; neighbours are heard, too."""
    heard = -np.clip(ratios, -MOST, MOST) * 2 * np.pi * SMOOTHING**2
    for axis in (0, 1):
        heard = smoothed(heard, SMOOTHING, axis, border="edge")
    large = np.clip(heard, -MOST, MOST)
    for axis in (0, 1):
        large = _eight_times(large, axis)
    after = [length - start - size for length, start, size in zip(shape, grid, large.shape, strict=True)]
    return np.pad(large, ((grid[0], after[0]), (grid[1], after[1])), mode="edge").astype(np.float32)


def _eight_times(values: np.ndarray, axis: int) -> np.ndarray:
    """As many along an axis, linear between the middles of blocks."""
    count = values.shape[axis]
    at = np.clip((np.arange(8 * count) + 0.5) / 8 - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    share = np.expand_dims(at - low, 1 - axis)
    high = np.minimum(low + 1, count - 1)
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share
