"""Inpainting by differential equations."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries.classic import Biharmonic, OpenCvInpaint
from segmentation.forgeries.inpainters import open_source


def ramp(height: int = 60, width: int = 80) -> np.ndarray:
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([40 + 2 * down, 30 + 2 * right, 20 + down + right], axis=-1).astype(np.uint8)


def hole(rows: slice, columns: slice, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def filled(source: Biharmonic | OpenCvInpaint, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return source.fill(picture, mask, np.random.default_rng(0)).astype(int)


@pytest.mark.parametrize("name", ["telea", "navier-stokes"])
@pytest.mark.parametrize("mask", [hole(slice(20, 30), slice(30, 40)), hole(slice(0, 8), slice(70, 80))])
def test_opencv_continues_what_is_around(name: str, mask: np.ndarray) -> None:
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    picture = ramp()
    error = np.abs(filled(open_source(name), picture, mask) - picture)[mask]
    # A black corner, as OpenCV leaves it when the hole touches the border, would be a hundred off.
    assert error.max() <= 20 and error.mean() < 10


def test_opencv_methods_differ() -> None:
    pytest.importorskip("cv2", reason="OpenCV is an extra")
    mask = hole(slice(20, 40), slice(20, 50))
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    one, other = (filled(open_source(name), picture, mask) for name in ("telea", "navier-stokes"))
    assert (one != other).any()


@pytest.mark.parametrize("name", ["telea", "navier-stokes"])
def test_without_opencv_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FakeclfError, match=r"pip install 'fakeclf\[opencv\]'"):
        open_source(name)


def test_biharmonic_continues_a_plane_exactly() -> None:
    picture, mask = ramp(), hole(slice(15, 40), slice(20, 55))
    assert np.abs(filled(Biharmonic(), picture, mask) - picture).max() <= 1


def test_biharmonic_solves_large_holes_at_a_reduced_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    import skimage.restoration

    solved: list[int] = []
    real = skimage.restoration.inpaint_biharmonic

    def counted(values: np.ndarray, mask: np.ndarray, **options: object) -> np.ndarray:
        solved.append(int(mask.sum()))
        return real(values, mask, **options)

    monkeypatch.setattr(skimage.restoration, "inpaint_biharmonic", counted)
    down, right = np.mgrid[0:120, 0:160]
    picture = np.stack([120 + 60 * np.sin((down + k * right) / 40) for k in (0.3, 1, 2)], axis=-1).astype(np.uint8)
    mask = hole(slice(30, 90), slice(40, 120), (120, 160))
    small, whole = Biharmonic(), Biharmonic()
    small.settings["largest_solved"] = 400
    reduced, exact = filled(small, picture, mask), filled(whole, picture, mask)
    assert 0 < solved[0] <= 400 and solved[1] == 60 * 80
    assert np.abs(reduced - exact).mean() < 3
    # No seam: steps across the hole's edge are as small as in the picture.
    for after in (reduced[30, 45:115] - reduced[29, 45:115], reduced[35:85, 119] - reduced[35:85, 120]):
        assert np.abs(after).max() <= 8


def test_biharmonic_fills_strokes_that_vanish_at_the_reduced_scale() -> None:
    picture = ramp()
    mask = np.zeros((60, 80), bool)
    mask[::3] = True
    source = Biharmonic()
    source.settings["largest_solved"] = 100
    assert np.abs(filled(source, picture, mask) - picture)[mask].mean() < 4


def test_a_surface_of_reduced_scale_is_fitted_to_finer_things_around_the_hole() -> None:
    picture = np.tile((120 + 60 * np.sin(np.arange(160) / 2.5))[None, :, None], (120, 1, 3)).astype(np.uint8)
    mask = hole(slice(30, 90), slice(40, 120), (120, 160))
    source = Biharmonic()
    source.settings["largest_solved"] = 400
    result = filled(source, picture, mask)
    # Without the fit the step across the edge is 7.5: these waves are nearly lost at a quarter of the scale.
    assert np.abs(result[30, 45:115] - result[29, 45:115]).mean() < 5.5
