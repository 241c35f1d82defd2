"""Values of blocks: smoothed and enlarged as SciPy does, and back the means they were."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segmentation.block_maps import block_means, smoothed, to_pixels

SIDES = st.integers(1, 20)


@settings(max_examples=20, deadline=None)
@given(SIDES, st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_smoothing_and_enlarging_as_scipy_does(rows: int, columns: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    smooth = values
    for axis in (0, 1):
        smooth = smoothed(smooth, 1.0, axis, "edge")
    large = to_pixels(values, (0, 0), (8 * rows, 8 * columns))
    np.testing.assert_allclose(smooth, ndimage.gaussian_filter(values, 1.0, mode="nearest"), atol=1e-9)
    expected = ndimage.zoom(values, 8, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(large, expected, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES, st.tuples(st.integers(0, 7), st.integers(0, 7)), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_pixels_beyond_whole_blocks_count_in_none_and_get_their_neighbours_value(
    rows: int, columns: int, grid: tuple[int, int], more: int, seed: int
) -> None:
    blocks = np.random.default_rng(seed).normal(size=(rows, columns))
    shape = grid[0] + 8 * rows + more, grid[1] + 8 * columns + more
    pixels = np.full(shape, np.nan)
    pixels[grid[0] : grid[0] + 8 * rows, grid[1] : grid[1] + 8 * columns] = blocks.repeat(8, 0).repeat(8, 1)
    np.testing.assert_allclose(block_means(pixels, grid), blocks, atol=1e-12)
    large = to_pixels(blocks, grid, shape)
    assert large.shape == shape and large.dtype == np.float32
    np.testing.assert_allclose(large[0, 0], blocks[0, 0], rtol=1e-6)
    np.testing.assert_allclose(large[-1, -1], blocks[-1, -1], rtol=1e-6)
