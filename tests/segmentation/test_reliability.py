"""Reliability: stub localizers whose answers under flips and shifts are known, and a real one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.localize import Localizer
from segmentation.models import trace_net
from segmentation.reliability import CUT, Reliability, reliability


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Stub:
    """A localizer that answers with ``mask_of(pixels)`` and notes the sizes it was asked for."""

    def __init__(self, mask_of: Callable[[np.ndarray], np.ndarray], threshold: float = 0.5) -> None:
        self.mask_of, self.threshold = mask_of, threshold
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, pixels: np.ndarray) -> SimpleNamespace:
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
        self.sizes.append(pixels.shape[:2])
        return SimpleNamespace(mask=self.mask_of(pixels).astype(np.float32))


def brightness(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] / 255


def part(rows: slice, columns: slice) -> Callable[[np.ndarray], np.ndarray]:
    """Marks a part of the frame, whatever the picture shows."""

    def mask_of(pixels: np.ndarray) -> np.ndarray:
        mask = np.zeros(pixels.shape[:2])
        height, width = mask.shape
        mask[slice(*(int(height * end) for end in (rows.start, rows.stop)))][
            :, slice(*(int(width * end) for end in (columns.start, columns.stop)))
        ] = 1
        return mask

    return mask_of


ALL = slice(0, 1)


def test_what_only_follows_the_picture_is_relied_on_everywhere() -> None:
    stub, pixels = Stub(brightness), picture(30, 41)
    found = reliability(stub, pixels)
    assert isinstance(found, Reliability) and found.seconds > 0
    assert found.map.shape == found.mean_mask.shape == (30, 41)
    assert found.map.dtype == found.mean_mask.dtype == np.float32
    assert (found.map == 1).all() and found.agreement == 1
    np.testing.assert_allclose(found.mean_mask, brightness(pixels), atol=1e-6)
    assert stub.sizes == [(30, 41)] * 4 + [(30 - CUT[0], 41 - CUT[1])] * 4


@pytest.mark.parametrize(("rows", "columns"), [(ALL, slice(0, 0.5)), (slice(0.5, 1), ALL)])
def test_an_answer_that_is_mirrored_with_the_frame_is_not_relied_on(rows: slice, columns: slice) -> None:
    found = reliability(Stub(part(rows, columns)), picture(60, 80))
    away = np.ones((60, 80), bool)
    away[28:34], away[:, 38:44] = False, False  # the middle of the cut picture lies elsewhere
    assert not found.map[away].any() and found.agreement < 0.1
    np.testing.assert_allclose(found.mean_mask[away], 0.5)


def test_an_answer_that_hangs_on_the_grid_is_not_relied_on() -> None:
    """The whole picture is marked, the cut one is not; pixels that are cut off were only seen in the whole."""
    found = reliability(
        Stub(lambda pixels: np.full(pixels.shape[:2], float(pixels.shape[0] % 8 == 0))), picture(32, 40)
    )
    assert not found.map[CUT[0] :, CUT[1] :].any()
    assert (found.map[: CUT[0]] == 1).all() and (found.map[:, : CUT[1]] == 1).all()
    cut_off = 1 - (32 - CUT[0]) * (40 - CUT[1]) / (32 * 40)
    assert found.agreement == pytest.approx(cut_off)
    assert (found.mean_mask[: CUT[0]] == 1).all() and (found.mean_mask[CUT[0] :, CUT[1] :] == 0.5).all()


def test_one_dissenting_view_in_four_halves_the_reliability() -> None:
    """A quarter of the frame is marked: each pixel lies in it in one of four flips."""
    found = reliability(Stub(part(slice(0, 0.5), slice(0, 0.5))), picture(64, 64))
    assert (found.map[5:28, 8:28] == 0.5).all() and (found.map[40:, 40:] == 0.5).all()
    np.testing.assert_allclose(found.mean_mask[40:, 40:], 0.25)


def test_agreement_counts_marked_pixels_alone() -> None:
    nothing = reliability(Stub(lambda pixels: np.full(pixels.shape[:2], 0.4)), picture(20, 20))
    assert nothing.agreement == 1 and (nothing.map == 1).all()
    np.testing.assert_allclose(nothing.mean_mask, 0.4, atol=1e-6)
    # A sure square and, mirrored with the frame, a strip at the left: each weighs what it covers.
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[20:40, 25:35] = 255
    strip = part(ALL, slice(0, 0.1))
    found = reliability(Stub(lambda shown: np.maximum(brightness(shown), strip(shown))), pixels)
    assert (found.map[20:40, 25:35] == 1).all() and (found.map[:, 15:20] == 1).all()
    marked = found.mean_mask > 0
    assert found.agreement == pytest.approx(found.map[marked].mean(), abs=1e-6) and 0.1 < found.agreement < 0.5


def test_the_threshold_is_the_localizers_unless_given() -> None:
    half = part(ALL, slice(0, 0.5))
    stub = Stub(lambda pixels: 0.3 + 0.4 * half(pixels), threshold=0.8)
    pixels = picture(40, 40)
    assert reliability(stub, pixels).agreement == 1
    assert reliability(stub, pixels, threshold=0.5).agreement < 0.2
    assert (reliability(stub, pixels, threshold=0).map == 1).all()
    assert not reliability(stub, pixels, threshold=0.7).map[:, 25:].any()  # what reaches it is marked
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(FakeclfError, match="between 0 and 1; received"):
            reliability(stub, pixels, threshold=wrong)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 5), (4, 6)])
def test_the_smallest_pictures(size: tuple[int, int]) -> None:
    stub = Stub(brightness)
    found = reliability(stub, picture(*size))
    assert (found.map == 1).all() and found.map.shape == size
    assert len(stub.sizes) == (8 if size == (4, 6) else 4)


def test_memory_does_not_grow_with_the_views() -> None:
    pixels = np.zeros((1000, 1000, 3), np.uint8)
    stub = Stub(lambda shown: np.zeros(shown.shape[:2], np.float32))
    tracemalloc.start()
    try:
        reliability(stub, pixels)
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert highest < 24 * 1000 * 1000  # bytes a pixel; eight masks alone would be 32


def test_trace_net() -> None:
    keras.utils.set_random_seed(1)
    localizer = Localizer(trace_net.build(width=0.05), threshold=0.5)
    pixels = (picture(53, 70) // 8 + 100).astype(np.uint8)
    middle = float(np.median(localizer(pixels).mask))  # an untrained network needs a threshold among its answers
    found = reliability(localizer, pixels, threshold=middle)
    masks = []
    for flip in ((), (0,), (1,), (0, 1)):
        masks.append(np.flip(localizer(np.flip(pixels, flip)).mask, flip))
        inner = np.full((53, 70), np.nan, np.float32)
        inner[3:, 5:] = np.flip(localizer(np.flip(pixels[3:, 5:], flip)).mask, flip)
        masks.append(inner)
    np.testing.assert_allclose(found.mean_mask, np.nanmean(masks, axis=0), atol=1e-6)
    views = np.sum(~np.isnan(masks), axis=0)
    share = np.sum(np.array(masks) >= middle, axis=0) / views
    np.testing.assert_allclose(found.map, 2 * np.maximum(share, 1 - share) - 1, atol=1e-6)
    assert 0 < found.agreement < 1 and found.map.min() < 0.5 < found.map.max()
