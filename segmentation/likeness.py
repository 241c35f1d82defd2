"""What looks alike is judged alike: a network's answer, made consistent with the picture's own statistics.

    mask = judged_alike(pixels, mask)

A network decides window by window, by what it learnt from other pictures. What was inpainted into one picture has the
same texture and the same noise throughout, in the colours too, and so has the rest of it. So the network's log odds
are explained, in each picture anew, by how strong the waves of 8x8 pixels are in luminance and in two differences of
colour, and what these explain is added to them. What the network took for inpainted here and there, and nowhere else
among what looks the same, is withdrawn; what it missed of a part that it knows is found.

What is inpainted differs from a rest that is real. So log odds are then set against those of the pixels that are the
surest to be real: where a network is sure of these, less is needed to find others inpainted, and where it is sure of
nothing, as in a picture of a kind that it does not know, more.

Nothing is kept from picture to picture. NumPy alone. From no paper; that a picture's own windows teach which of its
parts belong together is Cozzolino, Poggi & Verdoliva 2015's, "Splicebuster: a new blind image splicing detector".
"""

from __future__ import annotations

import numpy as np

from segmentation.block_maps import block_means, smoothed, to_pixels

LEAST = 64
"""Shorter side of a picture that is looked at, pixels."""
STEP = 4
"""Pixels from window to window, both ways; windows have 8."""
MANY = 40_000
"""Places that the explanation is fitted to, about, at most: in larger pictures several windows share one."""
REACH = 2.0
"""Standard deviation, in windows, of the weights that strengths are smoothed with."""
WAVES = (
    *((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2), (0, 3), (3, 0), (3, 3)),
    *((0, 5), (5, 0), (4, 4), (5, 5), (0, 7), (7, 0), (7, 7), (1, 6), (6, 1)),
)
"""Coefficients of the cosine transform: along, across and diagonal, from slow to fast."""
FAINT = 0.3
"""Added to a coefficient before its logarithm: what rounding to bytes leaves, about."""
MOST = 4.0
"""Log odds, either way, that are explained at most: beyond them a network is sure, and would count too much."""
PULL = 0.3
"""Of each coefficient to zero, per window (ridge regression)."""
SCARCE = 0.1
"""Share of a picture from which on inpainted and real windows count as much as each other, taken together."""
WEIGHT = 0.8
"""Of the network's log odds and of what explains them, which are half the same: two like ones give 1.6 of one."""
SUREST = 0.02
"""Share of the pixels that are the surest to be real."""
LOWEST, USUAL, RAISED = -12.0, -4.9, 0.28
"""Log odds of the surest, at the least; those that change nothing; and by how much of the difference all are raised. By
logistic regression over 98 validation pictures, untouched and forged by two sources that the shipped ``localizer`` was
not trained on, with small and with large holes."""


def judged_alike(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """P(inpainted) of each pixel by a network and by what else looks the same, float32 (height, width).

    Args:
        pixels: uint8 RGB (height, width, 3). With a side under ``LEAST`` the mask comes back as it is.
        mask: P(inpainted) of each pixel by the network, (height, width).
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST:
        return mask
    shared = int(np.ceil(np.sqrt((height // STEP) * (width // STEP) / MANY)))
    shared = min(shared, min(height, width) // STEP)  # a picture may be very much longer than wide
    odds = np.clip(mask, 1e-30, 1 - 1e-7).astype(np.float32, copy=False)  # as far as float32 tells numbers apart
    odds = np.log(odds / (1 - odds))
    known = block_means(np.clip(odds, -MOST, MOST), (0, 0), STEP * shared)
    fitted = _explained(known.astype(np.float64), _strengths(pixels, shared))
    odds += to_pixels(fitted, (0, 0), (height, width), STEP * shared)
    odds *= WEIGHT
    surest = max(float(np.quantile(odds[::shared, ::shared], SUREST)), LOWEST)
    odds += RAISED * (USUAL - surest)
    inpainted: np.ndarray = 1 / (1 + np.exp(-odds))
    return inpainted


def _strengths(pixels: np.ndarray, shared: int) -> np.ndarray:
    """Logarithms of how strong waves are around each place, (rows, columns, waves of the three planes).

    A place is ``shared`` x ``shared`` windows.
    """
    rows, columns = (length // (STEP * shared) for length in pixels.shape[:2])
    transform = _transform()
    found = np.empty((rows, columns, 3 * len(WAVES)), np.float32)
    beyond = (8 - STEP) // 2  # so that a window has its STEP x STEP pixels in its middle
    down, across = (_mirrored(STEP * shared * count, beyond) for count in (rows, columns))
    for row in range(rows):  # a row of places at a time: all windows of a large picture would take gigabytes
        here = down[STEP * shared * row : STEP * shared * (row + 1) + 2 * beyond]
        strip = pixels[here][:, across].astype(np.float32)
        luminance = strip @ np.array([0.299, 0.587, 0.114], np.float32)
        for plane, values in enumerate((luminance, strip[..., 2] - luminance, strip[..., 0] - luminance)):
            windows = np.lib.stride_tricks.sliding_window_view(values, (8, 8))[::STEP, ::STEP]
            strength = np.log(np.abs(windows.reshape(shared, columns, shared, 64) @ transform) + FAINT)
            found[row, :, plane * len(WAVES) : (plane + 1) * len(WAVES)] = strength.mean((0, 2))
    for axis in (0, 1):
        found = smoothed(found, REACH / shared, axis, border="symmetric").astype(np.float32)
    return found


def _mirrored(length: int, beyond: int) -> np.ndarray:
    """Indices from ``beyond`` before 0 to ``beyond`` after ``length``, mirrored there."""
    return np.pad(np.arange(length), beyond, "symmetric")


def _transform() -> np.ndarray:
    """The two-dimensional cosine transform (orthonormal, type II) of 8x8 pixels, (64, waves)."""
    at, wave = np.arange(8), np.arange(8)[:, np.newaxis]
    cosines = np.cos(np.pi * (at + 0.5) * wave / 8) * np.where(wave == 0, np.sqrt(1 / 8), np.sqrt(2 / 8))
    return np.stack([np.outer(cosines[down], cosines[across]).ravel() for down, across in WAVES], 1).astype(np.float32)


def _explained(odds: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """The part of log odds (rows, columns) that strengths explain, by ridge regression, (rows, columns).

    However few windows a network takes for inpainted, down to ``SCARCE``, they weigh as much as the others: else small
    parts would be explained away.
    """
    wanted = odds.ravel()
    known = strengths.reshape(wanted.size, -1).astype(np.float64)
    known = (known - known.mean(0)) / (known.std(0) + 1e-3)
    inpainted = 1 / (1 + np.exp(-wanted))
    weights = sum(share / max(share.mean(), SCARCE) for share in (inpainted, 1 - inpainted))
    weights /= weights.mean()
    known -= np.average(known, axis=0, weights=weights)
    usual = np.average(wanted, weights=weights)
    weighted = known * weights[:, np.newaxis]
    pull = PULL * wanted.size * np.eye(known.shape[1])
    fitted: np.ndarray = known @ np.linalg.solve(weighted.T @ known + pull, weighted.T @ (wanted - usual)) + usual
    return fitted.reshape(odds.shape)
