from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import correlate

from segmentation.layers.attention import SMOOTHING, LocalSmoothing, RankedAttention, attend

GOLDEN = Path(__file__).parents[1] / "golden" / "iid_net_attention.npz"


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def scores_normalised(query, key, softmax: str, scale: float, library=np):
    """The whole N x M matrix, from (b, n, c) and (b, m, c)."""
    weights = library.exp(library.einsum("bnc,bmc->bnm", query, key) * scale)
    axes = (2,) if softmax == "rows" else (1, 2)
    return weights / (weights.sum(axes, keepdims=True) if library is np else tf.reduce_sum(weights, axes, True))


@pytest.fixture(scope="module")
def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query, key and value of different sizes; 35 queries, so that no chunk of 8 fills the last."""
    return normal(2, 5, 7, 4), normal(2, 6, 3, 4, seed=1), normal(2, 6, 3, 5, seed=2)


@pytest.mark.parametrize("softmax", ["rows", "joint"])
@pytest.mark.parametrize("chunk", [8, 35, 1024])
def test_attend_weighs_values_by_the_softmax_of_the_scores(maps, softmax, chunk):
    query, key, value = maps
    flat = [part.reshape(2, -1, part.shape[-1]).astype("float64") for part in maps]
    expected = scores_normalised(flat[0], flat[1], softmax, 0.5) @ flat[2]
    ours = attend(query, key, value, softmax=softmax, scale=0.5, chunk=chunk)
    np.testing.assert_allclose(ours, expected.reshape(2, 5, 7, 5), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("softmax", ["rows", "joint"])
def test_attend_has_the_gradient_of_the_whole_matrix_at_sizes_unknown(maps, softmax):
    signature = [tf.TensorSpec((None, None, None, part.shape[-1])) for part in maps]

    @tf.function(input_signature=signature)
    def ours(*parts):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            loss = tf.reduce_sum(attend(*parts, softmax=softmax, scale=0.5, chunk=8) ** 2)
        return tape.gradient(loss, parts)

    with tf.GradientTape() as tape:
        parts = [tf.constant(part.reshape(2, -1, part.shape[-1])) for part in maps]
        tape.watch(parts)
        loss = tf.reduce_sum((scores_normalised(parts[0], parts[1], softmax, 0.5, tf) @ parts[2]) ** 2)
    for gradient, expected in zip(ours(*maps), tape.gradient(loss, parts), strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(gradient.numpy().ravel(), expected.numpy().ravel(), rtol=1e-3, atol=1e-6)


def test_attend_survives_large_scores_and_keeps_the_dtype():
    # Each position is nearest to itself, by far, so rows give the values back.
    query = normal(1, 4, 4, 8)
    query = tf.cast(60 * query / np.linalg.norm(query, axis=-1, keepdims=True), tf.bfloat16)
    value = tf.cast(normal(1, 4, 4, 3), tf.bfloat16)
    for softmax in ("rows", "joint"):
        mixed = attend(query, query, value, softmax=softmax, chunk=4)
        assert mixed.dtype == tf.bfloat16 and np.isfinite(tf.cast(mixed, tf.float32).numpy()).all()
    np.testing.assert_allclose(attend(query, query, value, chunk=4).numpy(), value.numpy())
    with pytest.raises(ValueError, match="softmax"):
        attend(query, query, value, softmax="columns")


def ranked(features: np.ndarray, ranks: int = 15, threshold: float = 0.5) -> tuple[np.ndarray, int]:
    """Global attention of one picture, (N, c), with all N x N similarities in front of it."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, 2.0)
    order = np.argsort(-similar, axis=1)[:, :ranks]
    means = np.take_along_axis(similar, order, 1).mean(0)
    taken = min(max(int(np.flatnonzero(means >= threshold)[-1]), 2), len(features))
    return features[order[:, :taken]].mean(1), taken


def clustered(*shape: int, spread: float, seed: int = 0) -> np.ndarray:
    """Features around four directions: the smaller the spread, the more positions are alike."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, shape[-1]))
    return (centres[rng.integers(0, 4, shape[:-1])] + spread * rng.normal(size=shape)).astype("float32")


@pytest.mark.parametrize("chunk", [7, 1024])
@pytest.mark.parametrize("spread", [0.1, 1.0, 2.0])
def test_ranked_attention_is_the_mean_of_the_most_alike(spread, chunk):
    x = clustered(2, 6, 9, 8, spread=spread)
    layer = RankedAttention(chunk=chunk)
    ours = np.asarray(layer(x)).reshape(2, 54, 8)
    _, taken = layer.choose(x.reshape(2, 54, 8))
    for index, features in enumerate(x.reshape(2, 54, 8).astype("float64")):
        expected, count = ranked(features)
        assert int(taken[index]) == count
        np.testing.assert_allclose(ours[index], expected, atol=1e-5)


def test_the_number_of_ranks_goes_from_two_to_fourteen():
    layer = RankedAttention()
    alike, unlike = clustered(1, 20, 4, spread=0.0), np.eye(20, dtype="float32")[None]
    assert int(layer.choose(np.ones((1, 20, 4), "float32"))[1][0]) == 14
    assert 2 <= int(layer.choose(alike)[1][0]) <= 14
    assert int(layer.choose(unlike)[1][0]) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 3), (2, 7)])
def test_maps_of_fewer_positions_than_ranks(size):
    x = clustered(2, *size, 4, spread=0.3)
    count = size[0] * size[1]
    ours = np.asarray(RankedAttention()(x)).reshape(2, count, 4)
    for made, features in zip(ours, x.reshape(2, count, 4).astype("float64"), strict=True):
        np.testing.assert_allclose(made, ranked(features)[0], atol=1e-6)


def test_a_picture_does_not_depend_on_its_batch():
    layer = RankedAttention(chunk=16)
    loose, tight = clustered(1, 6, 6, 8, spread=2.0), clustered(1, 6, 6, 8, spread=0.05, seed=1)
    both = np.concatenate([loose, tight])
    assert len(set(np.asarray(layer.choose(both.reshape(2, 36, 8))[1]))) == 2
    np.testing.assert_allclose(layer(both), np.concatenate([layer(loose), layer(tight)]), atol=1e-6)


def test_equal_positions_rank_themselves_first():
    x = np.repeat(np.array([[1.0, 2.0], [10.0, 20.0]], "float32"), 3, axis=0)[None, :, None]
    x = x * np.arange(1, 7, dtype="float32")[:, None, None]
    partners, _ = RankedAttention(ranks=4).choose(x.reshape(1, 6, 2))
    assert not np.any(np.asarray(partners)[0] == np.arange(6)[:, None])


def test_ranked_attention_passes_the_gradient_to_what_it_averaged():
    x = tf.constant(clustered(1, 3, 3, 4, spread=0.5))
    layer = RankedAttention(chunk=4)
    call = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 4))])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(call(x))
    partners, taken = (np.asarray(part) for part in layer.choose(tf.reshape(x, (1, 9, 4))))
    used = np.concatenate([np.arange(9), partners[0, :, : int(taken[0]) - 1].ravel()])
    expected = np.bincount(used, minlength=9) / taken[0]
    np.testing.assert_allclose(
        tf.reshape(tape.gradient(total, x), (9, 4)), np.repeat(expected[:, None], 4, 1), atol=1e-6
    )


def test_both_attentions_reproduce_the_authors_values():
    with np.load(GOLDEN) as file:
        for case in "012":
            x, layer = file[f"{case}/input"], RankedAttention(chunk=24)
            assert int(layer.choose(x.reshape(1, 64, 256))[1][0]) == file[f"{case}/T"]
            for ours, name in ((layer(x), "global"), (LocalSmoothing()(x), "local")):
                expected = file[f"{case}/{name}"]
                assert np.abs(np.asarray(ours)[..., ::4] - expected).max() < 1e-5 * np.ptp(expected)


def test_smoothing_is_a_correlation_with_zeros_outside():
    x = normal(1, 6, 9, 3)
    ours = np.asarray(LocalSmoothing()(x))
    for channel in range(3):
        expected = correlate(x[0, ..., channel], SMOOTHING, mode="constant")
        np.testing.assert_allclose(ours[0, ..., channel], expected, atol=1e-5)
    assert SMOOTHING.sum() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(
    "layer", [RankedAttention(ranks=5, threshold=0.2, least=3, chunk=6), LocalSmoothing([[0.5, 0.25, 0.25]])]
)
def test_layers_come_back_from_their_configuration(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    x = clustered(1, 4, 4, 6, spread=0.8)
    np.testing.assert_array_equal(again(x), layer(x))
    assert layer.compute_output_shape((None, None, 7, 6)) == (None, None, 7, 6)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="least"):
        RankedAttention(ranks=2, least=2)
    with pytest.raises(ValueError, match="kernel"):
        LocalSmoothing([1.0, 2.0])
