"""A pattern that is missing: found where it is missing, in pictures that were resized, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_sample_image

from segmentation import metrics
from segmentation.periodic_history import PeriodicHistory, missing_pattern
from tests.segmentation.pasts import disc, resized, saved


def plain(shape: tuple[int, ...]) -> np.ndarray:
    """Another photograph, without any pattern: softened, and with noise of its own."""
    picture = resized(load_sample_image("china.jpg"), 1.7)[: shape[0], : shape[1]].astype(float)
    noise = np.random.default_rng(0).normal(0, 4, shape)
    return np.clip(ndimage.gaussian_filter(picture, (2, 2, 0)) + noise, 3, 252).astype(np.uint8)


@pytest.fixture(scope="module", params=[0.8, 1.3])
def picture(request: pytest.FixtureRequest) -> np.ndarray:
    """A photograph that was a JPEG file and resized since."""
    return resized(saved(np.clip(load_sample_image("flower.jpg"), 4, 251), 80), request.param)


def auc(mask: np.ndarray, found: PeriodicHistory) -> float:
    return metrics.auc(mask, 1 / (1 + np.exp(-found.evidence.astype(float))))


def test_what_was_painted_into_a_resized_picture(picture: np.ndarray) -> None:
    mask = disc(picture.shape)
    found = missing_pattern(np.where(mask[..., None], plain(picture.shape), picture))
    assert found is not None and auc(mask, found) > 0.95
    assert found.evidence.shape == mask.shape and found.evidence.dtype == np.float32
    assert np.abs(found.evidence).max() <= 8 and 0.3 * mask.mean() < found.missing < 1.2 * mask.mean()
    assert "lacks the regular pattern" in found.describe()
    scale = picture.shape[1] / 640  # of JPEG's 16 pixels, and of the pixels themselves
    frequencies = [*(times / (16 * scale) for times in range(1, 9)), abs(1 / scale - round(1 / scale))]
    assert min(abs(1 / found.period - frequency) for frequency in frequencies) < 0.003


def test_what_was_moved_within_it_is_out_of_step() -> None:
    picture = resized(saved(np.clip(load_sample_image("china.jpg"), 4, 251), 80), 0.7)
    mask = disc(picture.shape)
    found = missing_pattern(np.where(mask[..., None], np.roll(picture, (35, 51), (0, 1)), picture))
    assert found is not None and auc(mask, found) > 0.9


def test_untouched_pictures_lack_nothing(picture: np.ndarray) -> None:
    for untouched in (picture, saved(picture, 95), saved(picture, 75), resized(picture, 0.9)):
        assert missing_pattern(untouched) is None


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_nor_do_those_that_were_never_resized(name: str) -> None:
    for untouched in (load_sample_image(name), load_sample_image(name)[3:, 5:], saved(load_sample_image(name), 70)):
        assert missing_pattern(untouched) is None


def test_a_generators_own_pattern_is_not_taken_for_the_photographs() -> None:
    photograph = plain((320, 400, 3))
    enlarged = plain((160, 200, 3)).repeat(2, 0).repeat(2, 1)  # by twos, as decoders do
    painted = np.zeros((320, 400), bool)
    painted[30:300, 40:330] = True
    assert missing_pattern(np.where(painted[..., None], enlarged, photograph)) is None


def test_rows_and_columns_are_alike() -> None:
    picture = resized(saved(np.clip(load_sample_image("flower.jpg"), 4, 251), 80), 0.7)
    forged = np.where(disc(picture.shape)[..., None], plain(picture.shape), picture)
    forged = forged[: forged.shape[0] // 8 * 8, : forged.shape[1] // 8 * 8]
    found, turned = missing_pattern(forged), missing_pattern(forged.transpose(1, 0, 2))
    assert found is not None and turned is not None
    np.testing.assert_allclose(turned.evidence.T, found.evidence, atol=0.05)


def test_small_and_blank_pictures_lack_nothing() -> None:
    assert missing_pattern(np.zeros((127, 400, 3), np.uint8)) is None
    assert missing_pattern(np.full((200, 200, 3), 128, np.uint8)) is None
    assert missing_pattern(np.full((200, 200, 3), 255, np.uint8)) is None
    assert missing_pattern(np.random.default_rng(0).integers(0, 256, (160, 144, 3), np.uint8)) is None
