"""What a network says of a picture and what the picture's own past says, joined; NumPy alone."""

from __future__ import annotations

from functools import cache

import numpy as np

from segmentation.block_maps import block_means, smoothed
from segmentation.jpeg_history import JpegHistory, missing_history
from segmentation.own_pattern import OwnPattern, own_pattern
from segmentation.periodic_history import PeriodicHistory, missing_pattern
from segmentation.residual_patterns import residuals

History = JpegHistory | PeriodicHistory | OwnPattern
"""What a part of a picture went without, or through alone, as the rest of it shows."""

MOST = 8.0
"""Log odds, either way, that a network counts with: as many as a history's can be."""
REST = 0.1
"""Share of all but a part that a network must take for inpainted for that part to be the photograph."""
SURE, NEAR = 2.0, 3.0
"""Log odds from which on a network is sure of what is inside an outline, and the standard deviation, in blocks, of the
weights that blocks inside count with."""


def histories(pixels: np.ndarray, mask: np.ndarray) -> tuple[History, ...]:
    """What sets parts of a picture, uint8 RGB (height, width, 3), apart by its past: of each kind one or none.

    ``mask``, a network's P(inpainted), decides where blocks of 8 pixels can be those of a pasted part or what a large
    hole left of a photograph.
    """
    made = cache(lambda: residuals(pixels))  # at most once for both
    own, jpeg = own_pattern(pixels, made), missing_history(pixels)
    if own is not None and _is_what_was_left(own, mask):
        own = None
    if own is not None and jpeg is not None and jpeg.missing > 0.5:  # the blocks that it takes for the photograph's
        jpeg = None
    return tuple(history for history in (jpeg, missing_pattern(pixels, made), own) if history is not None)


def _is_what_was_left(own: OwnPattern, mask: np.ndarray) -> bool:
    """Whether the network takes the rest for inpainted rather than the part with a pattern of its own."""
    part, marked = own.evidence > 0, mask > 0.5
    return bool(marked[~part].mean() > max(REST, marked[part].mean() if part.any() else 0.0))


def with_history(mask: np.ndarray, history: History) -> np.ndarray:
    """P(inpainted) of each pixel by a network and by a history of the picture together, float32 (height, width).

    Their log odds are added, as of two witnesses who know nothing of each other; the network's count no more than
    the history's can. Where a block lies across an outline and the network is sure of what is inside, the outline is
    the network's: a block says no more than that some of it went without.
    """
    clipped = np.clip(mask.astype(np.float64), 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(clipped / (1 - clipped)), -MOST, MOST)
    across = _across(odds, history)
    together: np.ndarray = (
        1 / (1 + np.exp(-odds - np.where(across, np.minimum(history.evidence, 0), history.evidence)))
    ).astype(np.float32)
    return together


def _across(odds: np.ndarray, history: History) -> np.ndarray:
    """Pixels of blocks at the edge of what went without, where the network is sure of the blocks inside."""
    evidence, known = (block_means(values, history.grid) for values in (history.evidence, odds))
    across = np.zeros(odds.shape, bool)
    if not evidence.size:
        return across
    around = np.pad(evidence, 1, mode="edge")
    lowest = np.lib.stride_tricks.sliding_window_view(around, (3, 3)).min((2, 3))
    edge = (evidence > 0) & (lowest < -1)
    inside = (evidence > 0) & ~edge
    near, weight = known * inside, inside.astype(float)
    for axis in (0, 1):
        near, weight = (smoothed(values, NEAR, axis, border="edge") for values in (near, weight))
    blocks = (edge & (weight > 1e-3) & (near > SURE * weight)).repeat(8, 0).repeat(8, 1)
    row, column = history.grid
    across[row : row + blocks.shape[0], column : column + blocks.shape[1]] = blocks
    return across
