"""Inpainting by partial differential equations: Telea, Navier-Stokes (OpenCV) and biharmonic (scikit-image)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from scipy import ndimage

from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import HoleSource, resized, to_bytes

LARGEST_SOLVED = 30_000
"""Pixels of a hole that the biharmonic equation is solved for at full scale: about two seconds."""

_MARGIN = 8


class OpenCvInpaint(HoleSource):
    """One of OpenCV's two methods.

    References: Telea 2004, doi:10.1080/10867651.2004.10487596; Bertalmio, Bertozzi & Sapiro 2001 (Navier-Stokes),
    doi:10.1109/CVPR.2001.990497.

    Args:
        name: ``telea`` or ``navier-stokes``.
        radius: how far around a pixel the method looks, pixels.

    Raises:
        FakeclfError: OpenCV is not installed.
    """

    def __init__(self, name: str, radius: int = 3) -> None:
        self.name = name
        self.settings: dict[str, Any] = {"radius": radius, "opencv": _opencv(name).__version__}

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The picture with its hole filled; nothing is drawn."""
        cv2 = _opencv(self.name)
        flag = cv2.INPAINT_TELEA if self.name == "telea" else cv2.INPAINT_NS
        # OpenCV takes the outermost pixels for known, hole or not: they get something that may be known.
        nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
        wide = np.pad(picture[tuple(nearest)], ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="symmetric")
        hole = np.pad(mask, _MARGIN, mode="symmetric").astype(np.uint8)
        filled = cv2.inpaint(wide, hole, self.settings["radius"], flag)
        return filled[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


class Biharmonic(HoleSource):
    """The smoothest surface through the pixels around the hole.

    Time grows faster than the hole, so a hole of more than ``LARGEST_SOLVED`` pixels is solved at a reduced scale,
    enlarged, and fitted to the pixels around it: their differences to the enlarged surface are spread into the hole by
    Gaussians of the width of a reduced pixel and of a third of it.

    Reference: Hoang & Damelin 2017, "On surface completion and image inpainting by biharmonic functions: numerical
    aspects", arXiv:1707.06567.
    """

    name = "biharmonic"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"largest_solved": LARGEST_SOLVED, "scikit-image": version("scikit-image")}

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The picture with its hole filled; nothing is drawn."""
        factor = int(np.ceil(np.sqrt(mask.sum() / self.settings["largest_solved"])))
        window = _around(mask, 8 * factor)
        values, hole = picture[window].astype(np.float32), mask[window]
        filled = _solved(values, hole) if factor == 1 else _solved_small(values, hole, factor)
        frame = picture.copy()
        frame[window] = to_bytes(filled)
        return frame


def telea() -> OpenCvInpaint:
    """OpenCV's fast marching method."""
    return OpenCvInpaint("telea")


def navier_stokes() -> OpenCvInpaint:
    """OpenCV's method after fluid dynamics."""
    return OpenCvInpaint("navier-stokes")


def _opencv(name: str) -> Any:
    try:
        import cv2
    except ImportError:
        raise FakeclfError(f"the source {name} needs OpenCV; install it with: pip install 'fakeclf[opencv]'") from None
    return cv2


def _solved(values: np.ndarray, hole: np.ndarray) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    if not hole.any():
        return values
    return inpaint_biharmonic(values, hole, channel_axis=-1)


def _solved_small(values: np.ndarray, hole: np.ndarray, factor: int) -> np.ndarray:
    height, width = hole.shape
    edges = ((0, -height % factor), (0, -width % factor))
    known = np.pad(~hole, edges)[..., None].astype(np.float32)
    padded = np.pad(values, (*edges, (0, 0))) * known
    rows, columns = known.shape[0] // factor, known.shape[1] // factor

    def block_sum(x: np.ndarray) -> np.ndarray:
        return x.reshape(rows, factor, columns, factor, -1).sum(axis=(1, 3))

    share = block_sum(known)
    small = _solved(block_sum(padded) / np.maximum(share, 1), share[..., 0] == 0)
    large = resized(small, rows * factor, columns * factor, "bicubic")

    for width_of_fit in (factor, factor / 3):
        large = large + _correction((padded - large) * known, known, width_of_fit)
    return large[:height, :width]


def _correction(missed: np.ndarray, known: np.ndarray, deviation: float) -> np.ndarray:
    """What a surface missed at known pixels, spread into the hole by a Gaussian."""

    def spread(x: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(x, (deviation, deviation, 0), mode="constant", truncate=3)

    near = spread(known)
    # At a straight edge of the hole half of the Gaussian lies on known pixels: there the surface is fitted in full.
    return spread(missed) / np.maximum(near, 1e-6) * np.minimum(2 * near, 1)


def _around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The box around the hole, widened by ``margin`` pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )
