"""Frames with a grid of blocks of their own."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from fakeclf import traces
from fakeclf.data import degrade
from fakeclf.errors import FakeclfError
from segmentation.forgeries.blocky import Blocky


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Half the size, which has no grid."""
    picture = degrade.parse("scale:0.5").apply(data.astronaut())
    assert traces.read(picture).jpeg_quality is None
    return picture


def blocky(**settings: object) -> Blocky:
    made = Blocky()
    made.settings |= {"decoded": 0.0, "share": [1.0, 1.0], "moved": 0.0, "noise": [0.0, 0.0]} | settings
    return made


def test_the_grid_is_that_of_a_jpeg(photograph: np.ndarray) -> None:
    for seed in range(4):
        found = traces.read(blocky().frame(photograph, np.random.default_rng(seed)))
        assert found.jpeg_quality is not None and 48 <= found.jpeg_quality <= 94 and found.jpeg_grid == (0, 0)


def test_the_grid_can_begin_anywhere(photograph: np.ndarray) -> None:
    found = {
        traces.read(blocky(moved=1.0).frame(photograph, np.random.default_rng(seed))).jpeg_grid for seed in range(6)
    }
    assert len(found) > 3


def test_a_share_of_it_lies_in_between(photograph: np.ndarray) -> None:
    whole, half = (
        blocky(share=[share, share]).frame(photograph, np.random.default_rng(0)).astype(float) for share in (1, 0.5)
    )
    np.testing.assert_allclose(half, (whole + photograph) / 2, atol=0.51)


@pytest.mark.parametrize("decoded", [0.0, 1.0])
def test_frames_are_pictures_and_the_seed_decides(photograph: np.ndarray, decoded: float) -> None:
    source = Blocky()
    source.settings["decoded"] = decoded
    picture = photograph[:93, :101]
    frames = [source.frame(picture, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert all(frame.shape == picture.shape and frame.dtype == np.uint8 for frame in frames)
    np.testing.assert_array_equal(frames[0], frames[1])
    assert (frames[0] != frames[2]).any() and (frames[0] != picture).any()


def test_too_large_for_a_decoder_is_said() -> None:
    source = Blocky()
    source.settings["decoded"] = 1.0
    with pytest.raises(FakeclfError, match="megapixels"):
        source.frame(np.zeros((2100, 2100, 3), np.uint8), np.random.default_rng(0))
