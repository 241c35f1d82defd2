from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from segmentation.layers.dual_attention import ChannelAttention, PositionAttention


def features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def position(share: float = 0.7, **args) -> PositionAttention:
    """On 16 channels, with weights that show and the attention let in."""
    layer = PositionAttention(**args)
    layer.build((None, None, None, 16), (None, None, None, 12))
    for seed, weight in enumerate(layer.weights):
        weight.assign(features(*weight.shape, seed=seed) * 0.4)
    layer.alpha.assign([share])
    return layer


def oracle(layer: PositionAttention, x: np.ndarray, query: np.ndarray) -> np.ndarray:
    parts = []
    for part, source in ((layer.query, query), (layer.key, x), (layer.value, x)):
        flat = source.reshape(len(source), -1, source.shape[-1]).astype(float)
        parts.append(flat @ part.kernel.numpy()[0, 0] + part.bias.numpy())
    scores = parts[0] @ parts[1].transpose(0, 2, 1)
    weights = softmax(scores, axis=-1 if layer.softmax == "rows" else (1, 2))
    return x + layer.alpha.numpy() * (weights @ parts[2]).reshape(x.shape)


@pytest.mark.parametrize("softmax_over", ["rows", "joint"])
@pytest.mark.parametrize("chunk", [1024, 7])
def test_positions_mix_as_the_formula_says(softmax_over, chunk):
    layer = position(100.0 if softmax_over == "joint" else 0.7, softmax=softmax_over, chunk=chunk)
    x, query = features(2, 5, 6, 16), features(2, 5, 6, 12, seed=9)
    made = np.asarray(layer(x, query))
    np.testing.assert_allclose(made, oracle(layer, x, query), atol=1e-4)
    assert np.abs(made - x).max() > 0.1
    assert layer.compute_output_shape(x.shape, query.shape) == x.shape
    assert [part.filters for part in (layer.query, layer.key, layer.value)] == [2, 2, 16]


def test_channels_mix_with_those_unlike_them():
    layer = ChannelAttention()
    x = features(2, 5, 6, 4) * 0.3
    np.testing.assert_array_equal(layer(x), x)
    layer.beta.assign([0.7])
    flat = x.reshape(2, 30, 4).astype(float)
    likeness = flat.transpose(0, 2, 1) @ flat
    weights = softmax(likeness.max(axis=-1, keepdims=True) - likeness, axis=-1)
    expected = x + 0.7 * (flat @ weights.transpose(0, 2, 1)).reshape(x.shape)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert np.abs(expected - x).max() > 0.1


def test_the_shares_start_at_nothing_and_train():
    x = keras.Input((None, None, 16))
    y = PositionAttention(name="position")(x, x)
    model = keras.Model(x, ChannelAttention(name="channel")(y))
    shown = features(1, 5, 4, 16)
    np.testing.assert_array_equal(model(shown), shown)
    shares = [model.get_layer("position").alpha, model.get_layer("channel").beta]
    assert all(any(share is weight for weight in model.trainable_weights) for share in shares)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    for _ in range(3):
        model.train_on_batch(shown, features(1, 5, 4, 16, seed=5))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        # The bias of the key adds the same to all scores of a query: a softmax does not see it.
        assert np.any(weight.numpy() != old) or weight.path.endswith("key/bias"), weight.path


@pytest.mark.parametrize("policy, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 0.1)])
def test_a_saved_layer_is_the_same_layer_at_any_size(policy, tolerance, tmp_path):
    x, query = keras.Input((None, None, 16)), keras.Input((None, None, 16))
    y = PositionAttention("joint", 5, name="position", dtype=policy)(x, query)
    model = keras.Model([x, query], ChannelAttention(name="channel", dtype=policy)(y))
    model.get_layer("position").alpha.assign([20.0])
    model.get_layer("channel").beta.assign([0.3])
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert copy.get_layer("position").get_config() == model.get_layer("position").get_config()
    run = tf.function(copy, input_signature=[[tf.TensorSpec((None, None, None, 16), tf.float32)] * 2])
    for size in ((2, 4, 4), (1, 7, 3)):
        shown = [features(*size, 16), features(*size, 16, seed=3)]
        made = run(shown)
        assert made.dtype == ("float32" if policy == "float32" else "bfloat16")
        np.testing.assert_allclose(tf.cast(made, "float32"), tf.cast(model(shown), "float32"), atol=tolerance)


def test_an_unknown_softmax_is_refused():
    with pytest.raises(ValueError, match="rows or joint"):
        PositionAttention("columns")
