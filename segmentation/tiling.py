"""Large pictures in overlapping tiles, joined again without seams.

Tiles begin at multiples of the network's stride and of 8, so that a tile has the picture's pooling grid and JPEG grid.
Where two tiles overlap, the outer quarter of each counts nothing, for there the network sees the tile's edge instead of
the picture; over the middle half one fades into the other by a raised cosine. So a network that looks no further than a
quarter of the overlap gives the same mask in tiles as in one piece.

A window is the product of one weight for the row and one for the column, each summing to 1 over the tiles: no map of
weights is needed, and beyond one tile's work only the picture and its mask are held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fakeclf.errors import FakeclfError

GRID = 8
"""Side of a JPEG block, pixels."""


@dataclass(frozen=True)
class Spans:
    """Where the tiles of one axis lie, and what each of their pixels counts.

    Attributes:
        bounds: first pixel and the one behind the last of each tile, rising.
        weights: of each tile, float32 of its length; over all tiles they sum to 1 at every pixel.
    """

    bounds: tuple[tuple[int, int], ...]
    weights: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Tile:
    """One tile of a picture: ``pixels[tile.rows, tile.columns]``.

    Attributes:
        rows, columns: the part of the picture.
        down: weight of each row, float32 (height,).
        right: weight of each column, float32 (width,).
    """

    rows: slice
    columns: slice
    down: np.ndarray
    right: np.ndarray


def spans(length: int, tile: int, overlap: int, stride: int = 1) -> Spans:
    """Cut ``length`` pixels into tiles of at most ``tile``, neighbours sharing at least ``overlap``.

    Args:
        length: side of the picture, pixels, at least 1.
        tile: side of a tile; brought down to a multiple of ``stride`` and 8, and at least one.
        overlap: pixels that neighbours share at least; brought up to such a multiple.
        stride: the network's; tiles begin at multiples of it and of 8.

    Raises:
        FakeclfError: ``tile`` is too small for that overlap.
    """
    step = math.lcm(GRID, stride)
    tile, overlap = max(tile // step, 1) * step, -(-overlap // step) * step
    if tile - overlap < step:
        raise FakeclfError(
            f"tiles of {tile} pixels that overlap by {overlap} do not get ahead; "
            f"take tiles of at least {overlap + step} pixels, or an overlap of at most {tile - step}"
        )
    if length <= tile:
        return Spans(((0, length),), (np.ones(length, np.float32),))
    # The last tile begins where it just reaches the end; the others are spread evenly before it.
    last = -(-(length - tile) // step) * step
    count = -(-last // (tile - overlap)) + 1
    starts = [last * number // (count - 1) // step * step for number in range(count)]
    bounds = tuple((start, min(start + tile, length)) for start in starts)
    windows = [_window(stop - start, overlap, start > 0, stop < length) for start, stop in bounds]
    total = np.zeros(length)
    for (start, stop), window in zip(bounds, windows, strict=True):
        total[start:stop] += window
    weights = tuple(
        (window / total[start:stop]).astype(np.float32) for (start, stop), window in zip(bounds, windows, strict=True)
    )
    return Spans(bounds, weights)


def tiles(height: int, width: int, tile: int, overlap: int, stride: int = 1) -> Iterator[Tile]:
    """The tiles of a picture, row by row; see :func:`spans` for the arguments."""
    down, right = spans(height, tile, overlap, stride), spans(width, tile, overlap, stride)
    for (top, bottom), rows in zip(down.bounds, down.weights, strict=True):
        for (left, end), columns in zip(right.bounds, right.weights, strict=True):
            yield Tile(slice(top, bottom), slice(left, end), rows, columns)


def count(height: int, width: int, tile: int, overlap: int, stride: int = 1) -> int:
    """How many tiles :func:`tiles` gives."""
    return len(spans(height, tile, overlap, stride).bounds) * len(spans(width, tile, overlap, stride).bounds)


def join(
    height: int,
    width: int,
    mask_of: Callable[[Tile], np.ndarray],
    *,
    tile: int,
    overlap: int,
    stride: int = 1,
) -> np.ndarray:
    """The mask of a picture from the masks of its tiles, float32 (height, width).

    Args:
        height, width: of the picture, pixels.
        mask_of: gives the mask of a tile, (tile's height, tile's width).
        tile, overlap, stride: see :func:`spans`.
    """
    joined = np.zeros((height, width), np.float32)
    for part in tiles(height, width, tile, overlap, stride):
        weighted = mask_of(part) * part.right
        weighted *= part.down[:, np.newaxis]
        joined[part.rows, part.columns] += weighted
    return joined


def _window(length: int, overlap: int, fades_in: bool, fades_out: bool) -> np.ndarray:
    """1 in the middle, 0 in the outer quarter of an overlap, a raised cosine between."""
    place = np.arange(length) + 0.5
    window = np.ones(length)
    for fades, distance in ((fades_in, place), (fades_out, length - place)):
        if fades and overlap:
            window *= 0.5 - 0.5 * np.cos(np.pi * np.clip((distance - overlap / 4) / (overlap / 2), 0, 1))
    return window
