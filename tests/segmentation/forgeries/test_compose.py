"""Pasting, edges, and masks that cannot be right."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeclf import images
from fakeclf.errors import FakeclfError
from segmentation.forgeries import compose


def hole(size: int = 16) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[4:9, 4:12] = 255
    return mask


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_pasting_is_the_weighted_mean_rounded(old: int, new: int, opacity: int) -> None:
    pixels = [np.full((1, 2, 3), value, np.uint8) for value in (old, new)]
    pasted = compose.paste(*pixels, np.full((1, 2), opacity, np.uint8))
    exact = (old * (255 - opacity) + new * opacity) / 255
    assert pasted.dtype == np.uint8 and np.all(np.abs(pasted - exact) <= 0.5)


def test_pasting_leaves_black_alone_and_takes_over_white() -> None:
    random = np.random.default_rng(0)
    original, filled = random.integers(0, 256, (2, 16, 16, 3), np.uint8)
    pasted = compose.paste(original, filled, hole())
    inside = hole() == 255
    assert np.array_equal(pasted[inside], filled[inside]) and np.array_equal(pasted[~inside], original[~inside])
    with pytest.raises(FakeclfError, match="16 x 16.*8 x 8"):
        compose.paste(original, filled, hole()[:8, :8])


def test_three_ways_to_read_grey_edges() -> None:
    mask = np.array([[0, 1, 128, 254, 255]], np.uint8)
    assert compose.binary(mask, "any").tolist() == [[0, 1, 1, 1, 1]]
    assert compose.binary(mask, "full").tolist() == [[0, 0, 0, 0, 1]]
    assert np.array_equal(compose.binary(mask, "grey"), mask.astype(np.float32) / 255)
    assert all(compose.binary(mask, way).dtype == np.float32 for way in compose.EDGES)
    with pytest.raises(FakeclfError, match="grey, any, full.*'soft'"):
        compose.binary(mask, "soft")


def test_a_good_mask_comes_back_in_grey() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    assert np.array_equal(compose.check_mask(hole(), picture), hole())
    # Channels a few values apart, as JPEG leaves them, are still grey.
    nearly = np.repeat(hole()[..., None], 3, axis=2)
    nearly[0, 0] = (3, 0, 5)
    assert np.array_equal(compose.check_mask(nearly, (16, 16)), hole())


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (hole(24), "24 x 24.*16 x 16"),
        (np.zeros((16, 16), np.uint8), "all black"),
        (hole() // 255, "nearly black.*1 of 255"),
        (np.stack([hole(), hole(), np.zeros((16, 16), np.uint8)], axis=2), "colour"),
    ],
)
def test_what_is_no_mask_is_refused(mask: np.ndarray, says: str) -> None:
    with pytest.raises(FakeclfError, match=says) as caught:
        compose.check_mask(mask, np.zeros((16, 16, 3), np.uint8))
    assert "\n" not in str(caught.value)


def test_an_inverted_looking_mask_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        compose.check_mask(hole(), name="good.png")
        assert not caplog.records
        # A hole of nine tenths with an untouched border is large, not inverted.
        large = np.zeros((40, 40), np.uint8)
        large[1:-1, 1:-1] = 255
        compose.check_mask(large, name="large.png")
        assert not caplog.records
        assert compose.check_mask(255 - hole(), name="odd.png", sure=True).any()
        assert not caplog.records
        assert compose.check_mask(255 - hole(), name="odd.png").any()
    assert "odd.png looks inverted" in caplog.text


def test_a_mask_file_is_read_and_checked(tmp_path: Path) -> None:
    images.save(tmp_path / "mask.png", hole())
    assert np.array_equal(compose.read_mask(tmp_path / "mask.png", (16, 16)), hole())
    assert np.array_equal(compose.read_mask(tmp_path / "mask.png"), hole())
    with pytest.raises(FakeclfError, match=r"mask\.png is 16 x 16 and its picture 20 x 10"):
        compose.read_mask(tmp_path / "mask.png", (10, 20))
