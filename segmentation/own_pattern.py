"""Where a part of a picture has a pattern of 8 pixels that the rest has not; nothing is trained.

What was pasted from a JPEG file repeats itself every 8 pixels, and so can what a network painted that learnt from JPEG
files. In a picture that has no such pattern, as one that was made smaller, it gives that part away. Where the rest has
one too, ``segmentation.jpeg_history`` tells the parts apart.

    found = own_pattern(pixels)
    if found is not None:
        found.evidence  # log odds of each pixel that it belongs to that part

No pattern is known before: it is the one that stands out most, in the residuals of ``segmentation.residual_patterns``,
of what they have at frequencies nearby. A part has it along rows and along columns alike, as texture seldom does.
NumPy alone: a first verdict waits for no SciPy. From no paper; that parts whose block grid is at odds with the rest are
forged is Li, Yuan & Yu 2009's, "Passive detection of doctored JPEG image via block artifact grid extraction",
doi:10.1016/j.sigpro.2009.03.025.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fakeclf import traces
from segmentation.block_maps import Grid, smoothed, to_pixels
from segmentation.residual_patterns import LARGE, LOUDNESSES, TEXTURED, Residual, Residuals, around, residuals

LEAST = 160
"""Shorter side of a picture that is looked at, pixels."""
MANY = 6000
"""Windows that are told apart, about, at most: in larger pictures they are larger."""
PERIOD = 8
NEARBY = (-0.034, -0.021, 0.021, 0.034)
"""Cycles a pixel by which frequencies are moved to know what chance does: far enough from whole parts of the period."""
MOST_SEEN = 3.0
"""Standard deviations of one residual that count in one window, at most: what is louder is texture."""
REACH = 2.0
"""Standard deviation, in blocks, of the weights that windows are smoothed with: over so many, other periods cancel."""
CANDIDATES = 3
"""How many patterns are looked at, the most outstanding first."""
PART = 0.03
"""Share of the windows, those that have most of the pattern, that decide whether there is one."""
CLEAR = 9.0
"""Standard deviations of chance that these must have, on average, along rows and along columns. Of untouched pictures
without a pattern they seldom have more than 6.5, and hardly ever more than 8.5."""
ELSEWHERE = 0.2
"""Share of that which half of the picture has, at most: else all of it has the pattern."""
LARGEST, AT_BORDER = 0.4, 0.05
"""Share of all windows and of those at the picture's border that have the pattern, at most: else it can be what a large
hole left of a photograph."""
ALIKE = 0.5
"""Share of the windows that are as loud along rows and along columns as those that have it, and have it too, at most:
else it is of that kind of content, as where a blur left blocks in flat parts alone."""
MOST, LEAST_ODDS = 8.0, -2.0
"""Log odds: a part that lacks the pattern is not by that the photograph's own."""


@dataclass(frozen=True)
class OwnPattern:
    """A pattern that a part of a picture has for itself.

    Attributes:
        evidence: log odds that a pixel belongs to that part, float32 (height, width), -2 to 8.
        grid: row and column at which the blocks begin that evidence is of.
        share: of the picture that has it.
    """

    evidence: np.ndarray
    grid: Grid
    share: float

    def describe(self) -> str:
        """A sentence for people."""
        return (
            f"A part of the picture has a pattern of {PERIOD} pixels that the rest has not, as what is pasted from a "
            "JPEG file or painted by a network has."
        )


def own_pattern(pixels: np.ndarray, made: Callable[[], Residuals] | None = None) -> OwnPattern | None:
    """The pattern that only part of a picture, uint8 RGB (height, width, 3), has; None where none is found.

    ``made`` gives the picture's ``residuals``; default: they are made here.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST or height * width > LARGE:
        return None
    if traces.read(pixels).jpeg_grid is not None:
        return None
    every, seen = residuals(pixels) if made is None else made()
    if seen.mean() < TEXTURED:
        return None
    size = int(np.ceil(np.sqrt(seen.size / MANY)))
    seen = _pooled(seen, size) >= 0.5 * size**2
    kinds = every[0].loudness * LOUDNESSES + every[1].loudness
    kinds = kinds[size // 2 :: size, size // 2 :: size][: seen.shape[0], : seen.shape[1]]
    candidates = _candidates(_of_windows(every, size), [one.axis for one in every], seen)
    found = max((_part(having, seen, kinds) for having in candidates), key=lambda part: part.clear)
    if not found.clear >= CLEAR:
        return None
    usual = float(found.along[found.has].mean())
    odds = np.clip(usual * (found.along - usual / 2), LEAST_ODDS, MOST) * seen
    odds = odds.repeat(size, 0).repeat(size, 1)
    return OwnPattern(to_pixels(odds, (0, 0), pixels.shape[:2]), (0, 0), float(found.has[seen].mean()))


@dataclass(frozen=True)
class _Part:
    """How much of a pattern windows have along both axes, which have it, and how clear it is; 0 if that is no part."""

    along: np.ndarray
    has: np.ndarray
    clear: float


def _part(having: np.ndarray, seen: np.ndarray, kinds: np.ndarray) -> _Part:
    along = having.min(0)
    ordered = np.sort(along[seen])
    clear = float(ordered[-max(4, round(PART * len(ordered))) :].mean())
    has = (along > clear / 2) & seen
    everywhere = np.median(having.mean(0)[seen]) > ELSEWHERE * clear or has[seen].mean() > LARGEST
    border = np.concatenate([has[:2].ravel(), has[-2:].ravel(), has[:, :2].ravel(), has[:, -2:].ravel()]).mean()
    of_a_part = not everywhere and has.any() and border <= AT_BORDER and _of_those_alike(has, seen, kinds) <= ALIKE
    return _Part(along, has, clear if of_a_part else 0.0)


def _of_those_alike(has: np.ndarray, seen: np.ndarray, kinds: np.ndarray) -> float:
    """How many of the windows of the same kinds as those that have the pattern have it, on average over these."""
    having, every = np.bincount(kinds[has]), np.bincount(kinds[seen])[: kinds[has].max() + 1]
    return float((having * having / np.maximum(every, 1)).sum() / having.sum())


def _candidates(windows: np.ndarray, axes_of: list[int], seen: np.ndarray) -> list[np.ndarray]:
    """How much windows have of outstanding patterns, in standard deviations of chance.

    Each (2, rows, columns): along columns and along rows.
    """
    here, *nearby = windows
    chance = np.concatenate([values[:, seen] for values in nearby], axis=1)
    sizes, axes = np.linalg.eigh(chance @ chance.T / chance.shape[1])
    even = axes / np.sqrt(sizes + 0.05) @ axes.T  # by it, chance is the same in every direction
    values = even @ here[:, seen]
    _, outstanding = np.linalg.eigh(values @ values.T / values.shape[1])
    along = np.repeat(axes_of, len(here) // len(axes_of))
    found = []
    for pattern in (even @ outstanding[:, -CANDIDATES:]).T:
        parts = [pattern * (along == axis) for axis in (0, 1)]
        having = np.stack([np.tensordot(part, here, 1) / np.std(part @ chance) for part in parts])
        found += [having, -having]
    return found


def _of_windows(every: list[Residual], size: int) -> np.ndarray:
    """How much windows have of waves of the period and its parts, and of waves of frequencies nearby.

    (these five, waves of all residuals, rows, columns), in standard deviations of those nearby. Windows are of 3x3
    parts of ``size`` x ``size`` blocks, one around each part.
    """
    frequencies = np.array([[times / PERIOD + by for times in range(1, PERIOD // 2 + 1)] for by in (0.0, *NEARBY)])
    inside = np.exp(2j * np.pi * frequencies[..., None] * np.arange(PERIOD)).astype(np.complex64)
    found = []
    for one in every:
        parts = one.strips[:, : one.strips.shape[1] // PERIOD * PERIOD].reshape(len(one.strips), -1, PERIOD)
        starts = np.exp(2j * np.pi * frequencies[..., None, None] * PERIOD * np.arange(parts.shape[1]))
        waves = np.einsum("sbp,fkp->fksb", parts, inside, optimize=True) * starts.astype(np.complex64)
        waves = _pooled(waves if one.axis else waves.swapaxes(2, 3), size)
        values = np.concatenate([waves.real, waves.imag[:, :-1]], axis=1)  # sin(pi x) is nothing
        values = around(values)
        values /= np.sqrt(np.mean(values[1:] ** 2)) + 1e-6
        found.append(np.clip(values, -MOST_SEEN, MOST_SEEN))
    values = np.concatenate(found, axis=1)
    for axis in (2, 3):
        values = smoothed(values, REACH, axis, border="edge").astype(np.float32)
    return values / (np.sqrt(np.mean(values[1:] ** 2)) + 1e-6)


def _pooled(blocks: np.ndarray, size: int) -> np.ndarray:
    """Sums of as many blocks as ``size``, both ways, (..., rows, columns)."""
    rows, columns = (length // size for length in blocks.shape[-2:])
    parts = blocks[..., : rows * size, : columns * size].reshape(*blocks.shape[:-2], rows, size, columns, size)
    return parts.sum((-3, -1))
