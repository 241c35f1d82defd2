"""What the pixels of a picture tell of its past: compression, fine detail that is left, noise.

From pixels alone, so that a JPEG file, its lossless copy and the array tell the same. NumPy only.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fakeclf.data.codec import libjpeg_luminance

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
BLOCKS = 2048  # of 8x8 that are looked at, at most
WINDOW, WINDOWS = 64, 256  # of the spectrum
ROUNDING = 0.29  # standard deviation of what rounding pixels adds to a DCT coefficient
STRAYS = 0.01  # share of coefficients that fit no step: clipped, or changed after decoding
TOP, BINS = 256, 8  # largest coefficient, and bins to one unit
SURE = 0.05  # log-likelihood a coefficient, over that of no compression, from which on one is reported
FOREIGN = 3.0  # times as likely, in logs, as with a table of libjpeg's; twice so are pictures that were saved twice
FLOOR = 1.0  # power of a frequency in squared grey values, well above what rounding leaves
LEAST = 8


@dataclass(frozen=True)
class Traces:
    """What was found; None where a picture is too small to tell.

    Attributes:
        jpeg_quality: libjpeg's quality (1 to 100) of the last JPEG compression, and of cameras' and editors' own tables
            that of the nearest one of libjpeg's; None where there is no sign of a compression.
        jpeg_tables: ``libjpeg`` or ``other``: whose the steps of that compression are.
        jpeg_grid: row and column, 0 to 7, at which its blocks begin; (0, 0) unless it was cropped since.
        bandwidth: share of the Nyquist frequency up to which rows and columns hold a power of 1 (squared grey values),
            the smaller of the two, in (0, 1]: strongly enlarged, blurred and smooth pictures have little.
        noise: standard deviation of the noise, in grey values (Immerkaer 1996).
    """

    jpeg_quality: int | None = None
    jpeg_tables: str | None = None
    jpeg_grid: tuple[int, int] | None = None
    bandwidth: float | None = None
    noise: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = dataclasses.asdict(self)
        return values | {"jpeg_grid": list(self.jpeg_grid) if self.jpeg_grid else None}


def read(pixels: np.ndarray) -> Traces:
    """Traces of a picture, uint8 RGB (height, width, 3)."""
    if min(pixels.shape[:2]) < LEAST:
        return Traces()
    return Traces(*_compression(pixels), _bandwidth(pixels), _noise(pixels))


def _compression(pixels: np.ndarray) -> tuple[int | None, str | None, tuple[int, int] | None]:
    """Quality, tables and grid of the likeliest steps, by how coefficients gather at their multiples.

    Those of a table of libjpeg's, or what each frequency says, where that explains more by far.

    Reference: Fan & de Queiroz 2003, "Identification of bitmap compression history: JPEG detection and quantizer
    estimation", IEEE Transactions on Image Processing 12.
    """
    best: tuple[float, int | None, str | None, tuple[int, int] | None] = (SURE, None, None, None)
    for grid in _grids(pixels):
        counts = _histograms(_coefficients(pixels, *grid))
        used = counts.sum()
        if not used:
            continue
        # (63, bins) against (bins, steps): how well each step explains each coefficient's histogram.
        filled = counts.any(0)
        explained = counts[:, filled] @ _log_ratios()[filled]
        gains = np.take_along_axis(explained.T, _tables(), axis=0).sum(1) / used
        quality, gain, tables = int(np.argmax(gains)) + 1, float(gains.max()), "libjpeg"
        each = explained.max(1) - np.log(explained.shape[1])  # a step is chosen from so many
        known = each > 0
        if each[known].sum() / used > max(FOREIGN * gain, SURE):
            away = np.abs(np.log(_tables()[:, known] / explained[known].argmax(1)))
            quality, gain, tables = int(np.argmin(away.mean(1))) + 1, float(each[known].sum() / used), "other"
        if gain > best[0]:
            best = (gain, quality, tables, grid)
    return best[1:]


def _grids(pixels: np.ndarray) -> list[tuple[int, int]]:
    """Where blocks may begin: as saved, and where the steps between neighbouring pixels are largest."""
    luma = pixels[: 8 * 128, : 8 * 128] @ LUMA
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(luma, axis=axis))
        if steps.shape[axis] > 8:  # what stands out from its neighbours, as edges of what is shown seldom do
            steps = np.moveaxis(steps, axis, 0)
            rises = np.pad(np.sign(steps[1:-1] - np.maximum(steps[:-2], steps[2:])).mean(1), 1)
            found.append((int(np.argmax([rises[k::8].mean() for k in range(8)])) + 1) % 8)
        else:
            found.append(0)
    return list(dict.fromkeys([(0, 0), (found[0], found[1])]))


def _coefficients(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    """Luma's DCT, (blocks, 64), of evenly spread blocks without clipped pixels."""
    rows, columns = (pixels.shape[0] - row) // 8, (pixels.shape[1] - column) // 8
    if not rows or not columns:
        return np.zeros((0, 64))
    every = np.unique(np.linspace(0, rows * columns - 1, min(BLOCKS, rows * columns)).astype(int))
    tops, lefts = row + 8 * (every // columns), column + 8 * (every % columns)
    inner = np.arange(8)
    blocks = pixels[tops[:, None, None] + inner[:, None], lefts[:, None, None] + inner]
    whole = ((blocks > 0) & (blocks < 255)).all((1, 2, 3))
    basis = _dct_basis()
    return (basis @ np.rint(blocks[whole] @ LUMA).astype(np.float64) @ basis.T).reshape(-1, 64)


@cache
def _dct_basis() -> np.ndarray:
    """Rows of the orthonormal DCT-II of 8 values, (frequency, position)."""
    basis = np.cos(np.pi * (2 * np.arange(8) + 1) * np.arange(8)[:, None] / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis


def _histograms(coefficients: np.ndarray) -> np.ndarray:
    """Of the absolute values of all but the mean, (63, TOP * BINS), without what is close to zero: it fits any step."""
    size = np.abs(coefficients[:, 1:])
    counted = (size >= 1.5) & (size < TOP)
    bins = (size * BINS).astype(int) + TOP * BINS * np.arange(63)
    return np.bincount(bins[counted], minlength=63 * TOP * BINS).reshape(63, TOP * BINS).astype(float)


@cache
def _log_ratios() -> np.ndarray:
    """How much likelier a coefficient is with a step than without one, in logs, (TOP * BINS, 256 steps)."""
    value = (np.arange(TOP * BINS)[:, None] + 0.5) / BINS
    step = np.arange(256)[None]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = value - step * np.rint(value / step)
        peak = sum(np.exp(-((off + k * step) ** 2) / (2 * ROUNDING**2)) for k in (-1, 0, 1))
        ratio = np.log((1 - STRAYS) * peak * step / (ROUNDING * np.sqrt(2 * np.pi)) + STRAYS)
    ratio[:, 0] = 0.0
    return ratio


@cache
def _tables() -> np.ndarray:
    """Step of every coefficient but the mean at each quality, (100, 63)."""
    return np.stack([libjpeg_luminance(quality)[1:] for quality in range(1, 101)])


def _bandwidth(pixels: np.ndarray) -> float:
    side = min(WINDOW, *pixels.shape[:2])
    tops, lefts = (
        np.unique(np.linspace(0, length - side, min(16, max(1, 2 * (length // side) - 1))).astype(int))
        for length in pixels.shape[:2]
    )
    fade = np.hanning(side + 2)[1:-1]
    fade = np.outer(fade, fade)
    windows = np.stack([pixels[top : top + side, left : left + side] for top in tops for left in lefts]) @ LUMA
    waves = np.fft.rfft2((windows - windows.mean((1, 2), keepdims=True)) * fade)
    power = (waves.real**2 + waves.imag**2).sum(0) / (len(windows) * np.sum(fade**2))
    half = side // 2
    rows, columns = np.arange(1, half + 1), np.r_[0:3, -2:0]  # the lowest five frequencies across
    # Of real values, the power at (row, -column) is that at (-row, column), which is all that rfft2 leaves out.
    down = power[rows][:, :3].sum(1) + power[-rows][:, 1:3].sum(1)
    profiles = (power[columns].mean(0)[1:], down / 5)
    return min(float(np.flatnonzero(np.append(True, profile > FLOOR))[-1] or 1) / half for profile in profiles)


def _noise(pixels: np.ndarray) -> float:
    part = pixels[:1024, :1024] @ LUMA
    curved = np.diff(np.diff(part, 2, axis=0), 2, axis=1)  # [1, -2, 1] down and across
    return float(np.sqrt(np.pi / 2) * np.abs(curved).mean() / 6)
