"""What every source promises, and how a network is shown a picture of another size."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries import inpainters
from segmentation.forgeries.inpainters import expanded, open_source, source_names, through_window

NAMES = source_names()


def photo(height: int = 61, width: int = 75, seed: int = 0) -> np.ndarray:
    """Waves, an edge and noise: something of all that a photograph has."""
    rng = np.random.default_rng(seed)
    down, right = np.mgrid[0:height, 0:width]
    values = 120 + 50 * np.sin(down / 7) * np.cos(right / 9) + 40 * (right > width // 2)
    return np.clip(values[..., None] + [10, 0, -20] + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)


def box(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


MASKS = {
    "middle": box(61, 75, slice(20, 38), slice(25, 50)),
    "corner": box(61, 75, slice(0, 15), slice(60, 75)),
    "scattered": np.random.default_rng(1).random((61, 75)) < 0.1,
    "most of it": ~box(61, 75, slice(0, 61), slice(0, 20)),
}


def opened(name: str) -> inpainters.Source:
    if name in ("telea", "navier-stokes"):
        pytest.importorskip("cv2", reason="OpenCV is an extra")
    return open_source(name)


@pytest.fixture(scope="module", params=NAMES)
def source(request: pytest.FixtureRequest) -> inpainters.Source:
    return opened(request.param)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_fill_keeps_its_promises(source: inpainters.Source, mask: np.ndarray) -> None:
    picture, hole = photo(), mask.copy()
    filled = source.fill(picture, hole, np.random.default_rng(3))
    assert filled.dtype == np.uint8 and filled.shape == picture.shape
    np.testing.assert_array_equal(picture, photo(), err_msg="the picture was written to")
    np.testing.assert_array_equal(hole, mask, err_msg="the mask was written to")
    np.testing.assert_array_equal(filled, source.fill(picture, hole, np.random.default_rng(3)))
    assert (filled[mask] != picture[mask]).any()
    if source.whole_frame:
        other = source.fill(picture, np.zeros_like(mask), np.random.default_rng(3))
        np.testing.assert_array_equal(filled, other, err_msg="the mask changed the frame")
        assert (filled[~mask] != picture[~mask]).any()
        return
    np.testing.assert_array_equal(filled[~mask], picture[~mask])
    scrambled = np.where(mask[..., None], photo(seed=9)[::-1, ::-1], picture)
    again = source.fill(scrambled, mask, np.random.default_rng(3))
    np.testing.assert_array_equal(again, filled, err_msg="what the hole hides shows through")


def test_fill_takes_pictures_and_masks_of_any_kind_of_size(source: inpainters.Source) -> None:
    for height, width in ((9, 7), (1, 12), (33, 2)):
        picture = photo(height, width)
        mask = np.zeros((height, width), bool)
        mask[height // 2, width // 2] = True
        assert source.fill(picture, mask, np.random.default_rng(0)).shape == picture.shape
    picture, nothing = photo(), np.zeros((61, 75), bool)
    if not source.whole_frame:
        np.testing.assert_array_equal(source.fill(picture, nothing, np.random.default_rng(0)), picture)
        with pytest.raises(FakeclfError, match="covers the whole picture"):
            source.fill(picture, ~nothing, np.random.default_rng(0))


def test_fill_refuses_a_mask_of_another_size(source: inpainters.Source) -> None:
    with pytest.raises(FakeclfError, match="75 x 60 and its picture 75 x 61"):
        source.fill(photo(), np.ones((60, 75), bool), np.random.default_rng(0))
    with pytest.raises(ValueError, match="mask must be bool"):
        source.fill(photo(), np.ones((61, 75), np.uint8), np.random.default_rng(0))
    with pytest.raises(ValueError, match="picture must be uint8"):
        source.fill(photo().astype(float), np.ones((61, 75), bool), np.random.default_rng(0))


def test_a_source_says_what_it_is(source: inpainters.Source) -> None:
    assert json.loads(json.dumps(source.settings)) == source.settings and source.settings
    assert source.name and not set(source.name) & set("/\\: ")
    if not source.in_process:
        copy = pickle.loads(pickle.dumps(source))
        picture, mask = photo(), MASKS["middle"]
        expected = source.fill(picture, mask, np.random.default_rng(5))
        np.testing.assert_array_equal(copy.fill(picture, mask, np.random.default_rng(5)), expected)


def test_a_pattern_stands_for_all_the_bundles_it_fits() -> None:
    assert expanded(["copy", "onnx:*.onnx"]) == ["copy", "onnx:*.onnx"]
    assert expanded(["*-autoencoder", "small-*"]) == ["gan-autoencoder", "small-autoencoder"]
    assert expanded(["small-autoencoder", "*-autoencoder"]) == ["small-autoencoder", "gan-autoencoder"]
    assert expanded(["*"]) == [name for name in NAMES if "autoencoder" in name or "inpainter" in name]
    with pytest.raises(FakeclfError, match="no autoencoder or inpainter is called 'zoo-[*]'"):
        expanded(["zoo-*"])


def test_names_hold_the_built_in_sources_and_the_shipped_autoencoder() -> None:
    fixed = {"telea", "navier-stokes", "biharmonic", "patch", "copy", "resampled", "renoised", "random-decoder"}
    assert fixed | {"small-autoencoder"} <= set(NAMES)
    assert "cifake" not in NAMES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tela", "did you mean 'telea'"),
        ("nothing-like-it", "allowed: .*biharmonic.*onnx:FILE"),
        ("cifake", "is a classifier"),
        ("onnx:", "write onnx:FILE"),
        ("diffusers:", "write diffusers:MODEL"),
        ("missing.npz", "missing.npz"),
    ],
)
def test_open_source_explains_what_it_cannot_open(text: str, message: str) -> None:
    with pytest.raises(FakeclfError, match=message) as caught:
        open_source(text)
    assert "\n" not in str(caught.value)


def test_sources_without_a_network_are_opened_without_keras() -> None:
    code = (
        "import sys; from segmentation.forgeries.inpainters import open_source\n"
        "for name in ('biharmonic', 'patch', 'copy', 'resampled', 'renoised', 'random-decoder'): open_source(name)\n"
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def recorded(seen: list[tuple[np.ndarray, np.ndarray]]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A network that gives back what it sees, and keeps it."""

    def run(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
        seen.append((picture, hole))
        return picture

    return run


def test_a_picture_that_fits_is_shown_whole_and_mirrored_to_a_multiple() -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    picture, mask = photo(), MASKS["corner"]
    frame = through_window(picture, mask, recorded(seen), multiple=16, largest=80)
    np.testing.assert_array_equal(frame, picture)
    shown, hole = seen[0]
    assert shown.shape == (64, 80, 3) and hole.shape == (64, 80)
    np.testing.assert_array_equal(shown[:61, :75], picture)
    np.testing.assert_array_equal(shown[61:, :75], picture[:-4:-1])
    np.testing.assert_array_equal(hole[:61, :75], mask)


@pytest.mark.parametrize("size", [None, (32, 40)])
@pytest.mark.parametrize("corner", [(0, 0), (10, 53), (49, 30), (45, 60)])
def test_of_a_larger_picture_a_window_around_the_hole_is_shown(
    size: tuple[int, int] | None, corner: tuple[int, int]
) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    picture = photo()
    mask = box(61, 75, slice(corner[0], corner[0] + 12), slice(corner[1], corner[1] + 15))
    frame = through_window(picture, mask, recorded(seen), size=size, multiple=8, largest=32)
    np.testing.assert_array_equal(frame, picture, err_msg="pixels were resampled or put in another place")
    assert seen[0][0].shape[:2] == (size or (32, 32))
    assert seen[0][1].sum() == mask.sum() == 180


def test_a_hole_larger_than_the_network_is_shown_smaller() -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    down, right = np.mgrid[0:90, 0:120]
    picture = np.stack([down, right, down + right], axis=-1).astype(np.uint8)
    mask = box(90, 120, slice(10, 80), slice(20, 100))
    frame = through_window(picture, mask, recorded(seen), size=(32, 32))
    assert seen[0][0].shape == (32, 32, 3)
    assert np.abs(frame.astype(int) - picture).max() <= 8
    assert 0.3 < seen[0][1].mean() < 0.9


def test_open_source_opens_the_name_it_was_asked_for() -> None:
    for name in NAMES:
        assert opened(name).name == name
