"""A pattern that only part of a picture has: found in that part, and in no picture that is of one piece."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from segmentation import metrics
from segmentation.own_pattern import OwnPattern, own_pattern
from segmentation.residual_patterns import LARGE
from tests.segmentation.pasts import disc, resized, saved


@pytest.fixture(scope="module", params=["china.jpg", "flower.jpg"])
def picture(request: pytest.FixtureRequest) -> np.ndarray:
    """A photograph that was made smaller, and so has no blocks."""
    return resized(np.clip(load_sample_image(request.param), 4, 251), 0.66)


def auc(mask: np.ndarray, found: OwnPattern) -> float:
    return metrics.auc(mask, 1 / (1 + np.exp(-found.evidence.astype(float))))


@pytest.mark.parametrize("moved", [(0, 0), (3, 5)])
@pytest.mark.parametrize("quality", [40, 60])
def test_what_has_blocks_of_its_own(picture: np.ndarray, quality: int, moved: tuple[int, int]) -> None:
    mask = disc(picture.shape, 0.22)
    blocks = np.roll(saved(np.roll(picture, moved, (0, 1)), quality), tuple(-by for by in moved), (0, 1))
    found = own_pattern(np.where(mask[..., None], blocks, picture))
    assert found is not None and auc(mask, found) > 0.95
    assert found.evidence.shape == mask.shape and found.evidence.dtype == np.float32
    assert found.evidence.min() >= -2 and found.evidence.max() <= 8
    assert 0.5 * mask.mean() < found.share < 2 * mask.mean()
    assert "pattern of 8 pixels" in found.describe()


def test_larger_pictures_have_larger_windows(picture: np.ndarray) -> None:
    large = np.clip(np.tile(picture, (4, 4, 1)) + np.random.default_rng(0).normal(0, 2, (1, 1, 3)), 4, 251)
    large = large.astype(np.uint8)[:1004, :1500]
    mask = disc(large.shape, 0.22)
    found = own_pattern(np.where(mask[..., None], saved(large, 60), large))
    assert found is not None and found.evidence.shape == mask.shape and auc(mask, found) > 0.95


def test_where_most_of_a_picture_has_it_the_rest_is_not_blamed(picture: np.ndarray) -> None:
    mask = disc(picture.shape, 0.48)
    found = own_pattern(np.where(mask[..., None], saved(picture, 60), picture))
    assert found is None or (found.evidence[~mask] > 0).mean() < 0.05


def test_pictures_of_one_piece_have_no_parts(picture: np.ndarray) -> None:
    for whole in (picture, resized(picture, 0.9), resized(picture, 1.5), saved(picture, 60), saved(picture, 90)):
        assert own_pattern(whole) is None


def test_what_cannot_be_told() -> None:
    assert own_pattern(np.zeros((159, 400, 3), np.uint8)) is None
    assert own_pattern(np.full((200, 200, 3), 128, np.uint8)) is None
    assert own_pattern(np.full((200, 200, 3), 255, np.uint8)) is None
    assert own_pattern(np.random.default_rng(0).integers(0, 256, (200, 240, 3), np.uint8)) is None
    assert own_pattern(np.zeros((LARGE // 160 + 1, 160, 3), np.uint8)) is None
