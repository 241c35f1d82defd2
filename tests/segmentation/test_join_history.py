"""A network and a picture's history, joined: both are heard, and the outline is the network's where it is sure."""

from __future__ import annotations

import io
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from segmentation import metrics
from segmentation.join_history import histories, with_history
from segmentation.jpeg_history import JpegHistory
from segmentation.own_pattern import OwnPattern


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-8, 8))
def test_two_witnesses(seed: int, odds: float) -> None:
    mask = np.random.default_rng(seed).uniform(0, 1, (5, 7)).astype(np.float32)
    history = JpegHistory(np.full((5, 7), odds, np.float32), (0, 0), (), False, 0.5)
    together = with_history(mask, history)
    assert together.dtype == np.float32 and (together >= 0).all() and (together <= 1).all()
    assert ((together >= mask - 1e-3) if odds >= 0 else (together <= mask + 1e-3)).all()
    assert (np.argsort(together, axis=None, kind="stable") == np.argsort(mask, axis=None, kind="stable")).mean() > 0.9
    unsure = with_history(np.full((5, 7), 0.5, np.float32), history)
    np.testing.assert_allclose(unsure, 1 / (1 + np.exp(-odds)), rtol=1e-4)


def disc_in_blocks() -> tuple[np.ndarray, JpegHistory]:
    """A disc, and the evidence of blocks of 8 pixels that some of it lies in."""
    truth = np.hypot(*(np.indices((160, 160)) - 80)) < 50
    touched = truth.reshape(20, 8, 20, 8).any((1, 3))
    evidence = np.where(touched, 6.0, -6.0).repeat(8, 0).repeat(8, 1).astype(np.float32)
    return truth, JpegHistory(evidence, (0, 0), (), False, 0.2)


def test_the_outline_is_the_networks_where_it_is_sure_of_what_is_inside() -> None:
    truth, history = disc_in_blocks()
    outlined = np.where(truth, 0.99, 0.01).astype(np.float32)
    np.testing.assert_array_equal(with_history(outlined, history) > 0.5, truth)


def test_blocks_are_marked_whole_where_the_network_knows_nothing() -> None:
    _, history = disc_in_blocks()
    for nothing in (0.5, 0.02):
        marked = with_history(np.full((160, 160), nothing, np.float32), history) > 0.5
        np.testing.assert_array_equal(marked, history.evidence > 0)


@pytest.fixture(scope="module")
def pasted() -> tuple[np.ndarray, np.ndarray]:
    """A photograph without blocks, into which a part of it as JPEG was pasted, and where."""
    photograph = Image.fromarray(np.clip(load_sample_image("china.jpg"), 4, 251)).resize((422, 282), Image.LANCZOS)
    stream = io.BytesIO()
    photograph.save(stream, "JPEG", quality=60)
    part = np.hypot(*(np.indices((282, 422)).T / (282, 422) - 0.5).T) < 0.2
    return np.where(part[..., None], np.asarray(Image.open(stream)), np.asarray(photograph)), part


def test_blocks_are_a_pasted_parts_unless_a_network_takes_the_rest_for_inpainted(
    pasted: tuple[np.ndarray, np.ndarray],
) -> None:
    pixels, part = pasted
    for mask in (np.zeros(part.shape, np.float32), part.astype(np.float32)):
        kinds = [type(history) for history in histories(pixels, mask)]
        assert OwnPattern in kinds and JpegHistory not in kinds  # else the part's blocks were the photograph's
    assert OwnPattern not in [type(history) for history in histories(pixels, 1 - part.astype(np.float32))]


def test_each_kind_of_history_speaks_once(pasted: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, part = pasted
    found = histories(pixels, np.zeros(part.shape, np.float32))
    assert len({type(history) for history in found}) == len(found) <= 3
    joined = reduce(with_history, found, np.full(part.shape, 0.1, np.float32))
    assert metrics.auc(part, joined) > 0.9 and len({history.describe() for history in found}) == len(found)
