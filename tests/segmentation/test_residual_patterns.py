"""What residuals are made with, against SciPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segmentation.residual_patterns import WINDOW, _mean, _second, _strips, in_windows


@settings(max_examples=20, deadline=None)
@given(st.integers(24, 60), st.integers(24, 60), st.integers(0, 2**32 - 1))
def test_means_differences_and_sums_as_scipy_makes_them(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    expected = ndimage.uniform_filter(values.astype(float), 9, mode="reflect")
    np.testing.assert_allclose(_mean(values, 9, "symmetric"), expected, atol=1e-5)
    expected = ndimage.uniform_filter(values.astype(float), 31, mode="constant")
    np.testing.assert_allclose(_mean(values, 31), expected, atol=1e-5)
    for axis in (0, 1):
        expected = ndimage.convolve1d(values, [1, -2, 1], axis, mode="reflect")
        np.testing.assert_allclose(_second(values, axis), expected, atol=1e-5)
    values = values[: height // 8 * 8, : width // 8 * 8]  # sums are of whole blocks
    for axis in (0, 1):
        sums = in_windows(_strips(values, axis), axis)
        assert sums.shape == (height // 8, width // 8)
        for row, column in np.ndindex(sums.shape):
            window = (slice(max(8 * at + 4 - WINDOW // 2, 0), 8 * at + 4 + WINDOW // 2) for at in (row, column))
            np.testing.assert_allclose(sums[row, column], values[tuple(window)].sum(), atol=1e-4)
