"""Tiles: they cover the picture, their weights sum to 1, they lie on the grid, and ignore what sees a tile's edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fakeclf.errors import FakeclfError
from segmentation import tiling

sides = st.integers(1, 300)
strides = st.sampled_from([1, 2, 4, 8, 16, 12])


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[int, int, int]:
    """Tile, overlap and stride that go together."""
    stride = draw(strides)
    step = int(np.lcm(8, stride))
    overlap = draw(st.integers(0, 60))
    return draw(st.integers(-(-overlap // step) * step + step, 200)), overlap, stride


@given(length=sides, cutting=cuttings())
@settings(max_examples=200, deadline=None)
def test_tiles_of_a_side_cover_it_on_the_grid_and_weigh_one(length: int, cutting: tuple[int, int, int]) -> None:
    tile, overlap, stride = cutting
    found = tiling.spans(length, tile, overlap, stride)
    assert found.bounds[0][0] == 0 and found.bounds[-1][1] == length
    total = np.zeros(length)
    for (start, stop), weights in zip(found.bounds, found.weights, strict=True):
        assert start % 8 == 0 and start % stride == 0 and 0 < stop - start <= max(tile, 8 * stride)
        assert weights.min() >= 0
        total[start:stop] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)
    for (_, stop), (start, _) in zip(found.bounds, found.bounds[1:], strict=False):
        assert stop - start >= overlap


@given(height=sides, width=sides, cutting=cuttings())
@settings(max_examples=60, deadline=None)
def test_joining_what_was_cut_gives_it_back(height: int, width: int, cutting: tuple[int, int, int]) -> None:
    tile, overlap, stride = cutting
    picture = np.random.default_rng(0).random((height, width), np.float32)
    seen = []

    def identity(part: tiling.Tile) -> np.ndarray:
        seen.append(part)
        return picture[part.rows, part.columns]

    joined = tiling.join(height, width, identity, tile=tile, overlap=overlap, stride=stride)
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, picture, atol=1e-6)
    assert len(seen) == tiling.count(height, width, tile, overlap, stride)


@given(height=sides, width=sides, radius=st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_what_looks_no_further_than_a_quarter_of_the_overlap_is_exact(height: int, width: int, radius: int) -> None:
    picture = np.random.default_rng(0).random((height, width), np.float32)

    def blurred(pixels: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(pixels, 2 * radius + 1, mode="constant")

    joined = tiling.join(height, width, lambda part: blurred(picture[part.rows, part.columns]), tile=64, overlap=32)
    np.testing.assert_allclose(joined, blurred(picture), atol=2e-6)


def test_a_wider_look_than_that_shows() -> None:
    """The quarter is no more than it has to be: at twice that radius tiles and the whole differ."""
    picture = np.random.default_rng(0).random((200, 200), np.float32)

    def blurred(pixels: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(pixels, 33, mode="constant")

    joined = tiling.join(200, 200, lambda part: blurred(picture[part.rows, part.columns]), tile=64, overlap=32)
    assert np.abs(joined - blurred(picture)).max() > 1e-3


def test_weights_change_smoothly() -> None:
    """Tiles that disagree leave no seam: from one pixel to the next the mix changes by a few percent."""
    part = iter(range(100))
    joined = tiling.join(
        500,
        64,
        lambda tile: np.full((tile.down.size, tile.right.size), next(part) % 2, np.float32),
        tile=128,
        overlap=64,
    )
    assert joined.min() == 0 and joined.max() == 1
    assert np.abs(np.diff(joined, axis=0)).max() < 0.06


def test_smaller_pictures_are_one_tile() -> None:
    assert tiling.count(100, 30, 128, 32, 16) == 1
    (part,) = tiling.tiles(100, 30, 128, 32, 16)
    assert (part.rows, part.columns) == (slice(0, 100), slice(0, 30))
    assert part.down.min() == part.right.min() == 1


def test_an_overlap_as_large_as_the_tile_is_refused() -> None:
    with pytest.raises(FakeclfError, match="at least 72 pixels, or an overlap of at most 56"):
        tiling.spans(1000, 64, 64)
