"""What blocks' coefficients would be with a compression, and the noise that one leaves on another grid."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import fft
from sklearn.datasets import load_sample_image

from fakeclf.data.codec import libjpeg_luminance
from segmentation.block_coefficients import FREQUENCIES, TRIED, densities_of, noise_elsewhere, with_steps

GRAY = np.asarray(Image.fromarray(load_sample_image("china.jpg")).convert("L").resize((320, 208)))


def coefficients(luma: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """By SciPy, (rows, columns, frequencies)."""
    luma = luma[grid[0] :, grid[1] :]
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    blocks = luma[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
    waves = fft.dctn(blocks, axes=(2, 3), norm="ortho")
    return np.stack([waves[:, :, row, column] for row, column in FREQUENCIES], axis=-1)


@pytest.mark.parametrize("quality", [75, 90, 96])
@pytest.mark.parametrize("grid", [(5, 3), (1, 7), (4, 4)])
def test_the_noise_of_a_compression_on_another_grid(quality: int, grid: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.fromarray(GRAY).save(stream, "JPEG", quality=quality)
    before, after = (np.asarray(one, float) - 128 for one in (GRAY, Image.open(stream)))
    lost = coefficients(after, grid) - coefficients(before, grid)
    said = noise_elsewhere(after.astype(np.float32), grid, (0, 0), libjpeg_luminance(quality))
    assert said.shape == lost.shape
    ratio = lost.std((0, 1)) / np.sqrt(np.square(said).mean((0, 1)))
    assert (ratio > 0.7).all() and (ratio < 1.4).all()
    per_block, said_per_block = np.square(lost).mean(-1).ravel(), np.square(said).mean(-1).ravel()
    assert np.corrcoef(per_block, said_per_block)[0, 1] > 0.3  # detailed blocks have more


def test_with_steps_puts_everything_near_the_multiples() -> None:
    sizes = np.abs(np.random.default_rng(0).laplace(0, 12, (5000, 1)))
    density = densities_of(sizes)
    made = with_steps(density)
    assert made.shape == (1, len(TRIED), density.shape[1])
    np.testing.assert_allclose(made.sum(-1), 1, atol=0.02)  # multiples beyond the largest bin are gone
    place = TRIED.index((8, 0.33))
    middle = 0.25 * (np.arange(density.shape[1]) + 0.5)
    off = np.abs(middle - 8 * np.rint(middle / 8))
    assert made[0, place, off < 1].sum() > 0.99
    rounded = np.bincount(np.rint(sizes[sizes < 60] / 8).astype(int)) / (sizes < 64).sum()
    near = [made[0, place, np.rint(middle / 8) == multiple].sum() for multiple in range(len(rounded))]
    np.testing.assert_allclose(near, rounded, atol=0.03)
