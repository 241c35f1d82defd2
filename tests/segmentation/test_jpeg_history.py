"""A missing compression: found where it is missing, with its steps and grid, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from fakeclf.data.codec import libjpeg_luminance
from segmentation import metrics
from segmentation.block_coefficients import FREQUENCIES
from segmentation.jpeg_history import JpegHistory, missing_history
from tests.segmentation.pasts import saved


@pytest.fixture(scope="module", params=["china.jpg", "flower.jpg"])
def raw(request: pytest.FixtureRequest) -> np.ndarray:
    """A photograph without a history: made smaller, which leaves nothing of its own."""
    picture = Image.fromarray(load_sample_image(request.param))
    small = np.asarray(picture.resize((picture.width * 5 // 8, picture.height * 5 // 8), Image.Resampling.LANCZOS))
    noise = np.random.default_rng(0).normal(0, 2, small.shape)
    return np.clip(np.rint(small + noise), 1, 254).astype(np.uint8)


def hole(shape: tuple[int, ...], share: float = 0.4) -> np.ndarray:
    mask = np.zeros(shape[:2], bool)
    height, width = shape[:2]
    mask[height // 4 : height // 4 + int(share * height), width // 3 : width // 3 + int(share * width)] = True
    return mask


def forged(raw: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray]:
    """A saved photograph into which pixels were painted that never were, and where."""
    mask = hole(raw.shape)
    return np.where(mask[..., None], np.roll(raw, (3, 5), (0, 1)), saved(raw, quality)), mask


def auc(mask: np.ndarray, found: JpegHistory) -> float:
    return metrics.auc(mask, 1 / (1 + np.exp(-found.evidence.astype(float))))


@pytest.mark.parametrize("quality", [60, 80, 92, 95])
def test_what_was_painted_into_a_saved_picture(raw: np.ndarray, quality: int) -> None:
    picture, mask = forged(raw, quality)
    found = missing_history(picture)
    assert found is not None and not found.again and found.grid == (0, 0)
    assert auc(mask, found) > 0.95
    assert found.evidence.shape == mask.shape and found.evidence.dtype == np.float32
    assert 0.05 < found.missing < 0.7  # of blocks that tell anything: the flower's background is blurred
    table = libjpeg_luminance(quality).reshape(8, 8)
    wanted = [table[place] for place in FREQUENCIES[:9]]
    assert np.mean([step in (1, right) for step, right in zip(found.steps, wanted, strict=False)]) > 0.7


@pytest.mark.parametrize(("first", "last"), [(75, 90), (75, 95), (85, 95)])
def test_what_was_painted_before_the_picture_was_saved_again(raw: np.ndarray, first: int, last: int) -> None:
    picture, mask = forged(raw, first)
    found = missing_history(saved(picture, last))
    assert found is not None and found.again
    assert auc(mask, found) > 0.9


@pytest.mark.parametrize(("first", "last"), [("high", 95), ("high", "maximum"), ("medium", 90), (70, "maximum")])
def test_editors_bring_their_own_tables(raw: np.ndarray, first: int | str, last: int | str) -> None:
    mask = hole(raw.shape)
    picture = np.where(mask[..., None], np.roll(raw, (3, 5), (0, 1)), saved(raw, first))
    found = missing_history(saved(picture, last))
    assert found is not None
    assert auc(mask, found) > 0.9


@pytest.mark.parametrize(("first", "last"), [(70, 90), (80, 95), (60, 85)])
def test_cut_before_it_was_saved_again(raw: np.ndarray, first: int, last: int) -> None:
    once = saved(raw, first)[3:, 5:]
    mask = hole(once.shape)
    picture = np.where(mask[..., None], np.roll(raw, (3, 5), (0, 1))[3:, 5:], once)
    found = missing_history(saved(picture, last))
    assert found is not None and found.again and found.grid == (5, 3)
    assert auc(mask, found) > 0.9
    table = libjpeg_luminance(first).reshape(8, 8)
    wanted = [table[place] for place in FREQUENCIES[:9]]
    assert np.mean([step in (1, right) for step, right in zip(found.steps, wanted, strict=False)]) > 0.7
    assert missing_history(saved(once, last)) is None


def test_the_grid_moves_with_the_picture(raw: np.ndarray) -> None:
    picture, mask = forged(raw, 80)
    found = missing_history(picture[3:, 5:])
    assert found is not None and found.grid == (5, 3)
    assert auc(mask[3:, 5:], found) > 0.95


def test_untouched_pictures_have_none(raw: np.ndarray) -> None:
    assert missing_history(raw) is None
    for first, last in ((80, None), (75, 92), (92, 75), (96, 90), ("high", None), ("high", 92), (80, "maximum")):
        once = saved(raw, first)
        assert missing_history(once if last is None else saved(once, last)) is None, (first, last)


def test_clipped_and_flat_parts_tell_nothing(raw: np.ndarray) -> None:
    picture = saved(raw, 80).copy()
    picture[40:120, 40:200] = 255
    picture[150:220, 40:200] = 90
    found = missing_history(picture)
    assert found is None or found.evidence[60:100, 64:176].max() <= 0


def test_small_and_blank_pictures_have_none() -> None:
    assert missing_history(np.zeros((127, 400, 3), np.uint8)) is None
    assert missing_history(np.full((200, 200, 3), 128, np.uint8)) is None
    assert missing_history(np.full((200, 200, 3), 255, np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 256, (160, 144, 3), np.uint8)
    assert missing_history(noise) is None
