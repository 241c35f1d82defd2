from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import correlate

from fakeclf.models.layers import PixelShuffle
from segmentation.layers.blocks import SobelGate, SqueezeExcitation, SymmetricConv2D


def features(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def filled(layer: keras.layers.Layer, shape: tuple[int, ...]) -> keras.layers.Layer:
    """Built, with weights that show; variances positive, what is fixed left alone."""
    layer.build(shape)
    random = np.random.default_rng(1)
    for weight in layer.weights:
        if "kernel_" not in weight.path:
            value = random.normal(0, 0.5, weight.shape)
            weight.assign(np.abs(value) + 0.5 if "variance" in weight.path else value)
    return layer


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


LAYERS = {
    "se": (lambda **args: SqueezeExcitation(4, **args), (2, 5, 6, 8)),
    "shuffle": (lambda **args: PixelShuffle(2, **args), (2, 5, 6, 8)),
    "symmetric": (lambda **args: SymmetricConv2D(3, (3, 5), activation="relu", **args), (2, 5, 6, 4)),
    "sobel": (lambda **args: SobelGate(0.8, 1e-3, **args), (2, 5, 6, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_layer_is_the_same_layer_at_any_size(name, tmp_path):
    make, shape = LAYERS[name]
    x = keras.Input((None, None, shape[-1]))
    model = keras.Model(x, filled(make(name="it"), shape)(x))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    run = tf.function(copy, input_signature=[tf.TensorSpec((None, None, None, shape[-1]), tf.float32)])
    for size in ((2, 5, 6), (1, 9, 3)):
        shown = features(*size, shape[-1])
        made = model(shown)
        np.testing.assert_allclose(run(shown), made, atol=1e-6)
        assert model.get_layer("it").compute_output_shape(shown.shape) == made.shape
    assert copy.get_layer("it").get_config() == model.get_layer("it").get_config()


@pytest.mark.parametrize("name", LAYERS)
def test_half_precision_trains_every_weight(name):
    make, shape = LAYERS[name]
    layer = filled(make(dtype="mixed_bfloat16"), shape)
    with tf.GradientTape() as tape:
        made = layer(features(*shape), training=True)
        loss = tf.reduce_sum(tf.cast(made, "float32") ** 2)
    assert made.dtype == tf.bfloat16
    for weight, gradient in zip(
        layer.trainable_weights, tape.gradient(loss, [w.value for w in layer.trainable_weights]), strict=True
    ):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.path


def test_squeeze_excitation_is_two_dense_layers_on_the_means():
    layer = filled(SqueezeExcitation(4), (2, 5, 7, 8))
    x = features(2, 5, 7, 8)
    first, first_bias, second, second_bias = (weight.numpy() for weight in layer.weights)
    assert first.shape == (8, 2) and second.shape == (2, 8)
    share = sigmoid(np.maximum(x.mean(axis=(1, 2)) @ first + first_bias, 0) @ second + second_bias)
    np.testing.assert_allclose(layer(x), x * share[:, None, None, :], atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_the_shuffle_takes_row_then_column_then_channel(factor):
    x = features(2, 3, 4, 5 * factor**2)
    made = np.asarray(PixelShuffle(factor)(x))
    assert made.shape == (2, 3 * factor, 4 * factor, 5)
    for row in range(factor):
        for column in range(factor):
            first = (row * factor + column) * 5
            np.testing.assert_array_equal(made[:, row::factor, column::factor], x[..., first : first + 5])


def test_channels_that_make_no_block_are_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        PixelShuffle(2)(features(1, 2, 2, 6))


@pytest.mark.parametrize("size", [1, 3, 5, (5, 3)])
def test_a_symmetric_convolution_mirrors_the_border(size):
    layer = filled(SymmetricConv2D(4, size), (None, None, None, 2))
    x = features(2, 6, 7, 2)
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    for one, made in zip(x, np.asarray(layer(x)), strict=True):
        for o in range(4):
            expected = sum(correlate(one[..., i], kernel[:, :, i, o], mode="reflect") for i in range(2)) + bias[o]
            np.testing.assert_allclose(made[..., o], expected, atol=1e-5)


def test_what_a_symmetric_convolution_cannot_do_is_refused():
    with pytest.raises(ValueError, match="odd"):
        SymmetricConv2D(2, 4)
    with pytest.raises(ValueError, match="strides cannot be chosen"):
        SymmetricConv2D(2, 3, strides=2)


def test_the_gate_opens_with_the_strength_of_edges():
    layer = filled(SobelGate(), (None, None, None, 3))
    x = features(2, 8, 9, 3)
    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    total = x.sum(axis=-1)
    strength = 0
    for norm, kernel in ((layer.norm_x, sobel), (layer.norm_y, sobel.T)):
        edges = np.stack([correlate(one, kernel, mode="constant") for one in total])[..., None]
        gamma, beta, mean, variance = (weight.numpy() for weight in norm.weights)
        strength = strength + ((edges - mean) / np.sqrt(variance + 1e-5) * gamma + beta) ** 2
    np.testing.assert_allclose(layer(x), sigmoid(np.sqrt(strength)) * x, atol=1e-4)


def test_the_sobel_filters_stay_what_they_are_and_flat_pictures_have_a_slope():
    layer = SobelGate()
    x = tf.Variable(np.zeros((1, 4, 4, 2), "float32"))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x))
    # Exactly no edge: the square root of 0 has no slope of its own, the gate lets half through.
    np.testing.assert_allclose(tape.gradient(total, x), 0.5, atol=1e-5)
    assert {weight.name for weight in layer.trainable_weights} == {"gamma", "beta"}
    assert sum(int(np.prod(w.shape)) for w in layer.non_trainable_weights if "kernel" in w.name) == 2 * 9 * 2
