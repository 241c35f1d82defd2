from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from segmentation.layers.resize import ResizeBy, ResizeLike, resize_aligned, resize_bilinear, resize_nearest

SIDES = st.integers(1, 9)


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


def sampled(x: np.ndarray, height: int, width: int, aligned: bool) -> np.ndarray:
    """Linear interpolation by SciPy at the places that the two conventions mean."""

    def places(new: int, old: int) -> np.ndarray:
        if aligned:
            return np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
        return np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)

    grid = np.meshgrid(places(height, x.shape[1]), places(width, x.shape[2]), indexing="ij")
    maps = [[map_coordinates(one[..., c], grid, order=1) for c in range(x.shape[3])] for one in x]
    return np.moveaxis(np.array(maps), 1, -1)


@given(height=SIDES, width=SIDES, new_height=SIDES, new_width=SIDES)
@settings(max_examples=40, deadline=None)
def test_all_three_ways_are_what_they_say(height, width, new_height, new_width):
    x = picture(2, height, width, 3)
    half_pixel, aligned = (sampled(x, new_height, new_width, way) for way in (False, True))
    np.testing.assert_allclose(resize_bilinear(x, new_height, new_width), half_pixel, atol=1e-5)
    np.testing.assert_allclose(resize_aligned(x, new_height, new_width), aligned, atol=1e-5)
    rows = [index * height // new_height for index in range(new_height)]
    columns = [index * width // new_width for index in range(new_width)]
    np.testing.assert_array_equal(resize_nearest(x, new_height, new_width), x[:, rows][:, :, columns])


@pytest.mark.parametrize("factor", [1, 2, 3, 16])
@pytest.mark.parametrize("align_corners", [False, True])
def test_enlarging_by_a_factor(factor, align_corners):
    layer = ResizeBy(factor, align_corners)
    x = picture(2, 5, 4, 3)
    made = np.asarray(layer(x))
    np.testing.assert_allclose(made, sampled(x, 5 * factor, 4 * factor, align_corners), atol=1e-5)
    assert layer.compute_output_shape(x.shape) == made.shape
    assert layer.compute_output_shape((None, None, 4, 3)) == (None, None, 4 * factor, 3)
    if align_corners:
        np.testing.assert_allclose(made[:, [0, 0, -1, -1], [0, -1, 0, -1]], x[:, [0, 0, -1, -1], [0, -1, 0, -1]])


def test_aligned_interpolation_is_exact_on_a_long_side():
    x = np.linspace(0, 1, 257, dtype="float32")[None, :, None, None]
    made = np.asarray(resize_aligned(x, 4096, 1))[0, :, 0, 0]
    np.testing.assert_allclose(made, np.linspace(0, 1, 4096), atol=1e-5)


@pytest.mark.parametrize("layer", [ResizeBy(3), ResizeBy(2, align_corners=True), ResizeLike("aligned"), ResizeLike()])
def test_the_configuration_makes_the_same_layer(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer) and copy.get_config() == layer.get_config()


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="bilinear, aligned or nearest"):
        ResizeLike("cubic")


def both(method: str, learnt: bool) -> keras.Model:
    """A picture, through 1x1 weights or not, enlarged twice by 2 and brought to the size of the second input."""
    small, like = keras.Input((None, None, 2)), keras.Input((None, None, 1))
    x = keras.layers.Conv2D(2, 1, name="weights")(small) if learnt else small
    x = ResizeBy(2)(x)
    x = ResizeBy(2, align_corners=True)(x)
    return keras.Model([small, like], ResizeLike(method)(x, like))


@pytest.mark.parametrize("method", ["bilinear", "aligned", "nearest"])
def test_it_trains_in_one_graph_of_unknown_sizes(method):
    model = both(method, learnt=True)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, depth), tf.float32) for depth in (2, 1)])
    def step(small, like):
        with tf.GradientTape() as tape:
            made = model([small, like])
            loss = tf.reduce_sum(made)
        return made, tape.gradient(loss, model.get_layer("weights").kernel)

    for shape, like in (((1, 3, 5, 2), (1, 11, 21, 1)), ((2, 4, 2, 2), (2, 17, 7, 1))):
        shown = [picture(*shape), picture(*like)]
        made, gradient = step(*shown)
        assert made.shape == (*like[:3], 2)
        np.testing.assert_allclose(made, model(shown), atol=1e-5)
        assert np.abs(gradient).min() > 0


def test_the_gradient_sums_what_each_input_gave():
    # Nearest: each input pixel is copied; its gradient is the number of copies.
    x = tf.Variable(picture(1, 3, 2, 1))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(resize_nearest(x, 7, 5))
    copies = np.outer(np.bincount(np.arange(7) * 3 // 7), np.bincount(np.arange(5) * 2 // 5))
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(total, x))[0, :, :, 0], copies)


@pytest.mark.parametrize("method", ["bilinear", "aligned", "nearest"])
def test_half_precision_stays(method):
    x = tf.cast(picture(1, 4, 5, 2), tf.bfloat16)
    made = ResizeLike(method, dtype="bfloat16")(x, tf.zeros((1, 9, 9, 1), tf.bfloat16))
    assert made.dtype == tf.bfloat16 and np.all((made >= 0) & (made <= 1))


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("method", ["bilinear", "aligned", "nearest"])
def test_it_exports_to_tflite_with_unknown_sizes(method):
    model = both(method, learnt=False)
    signature = [tf.TensorSpec((1, None, None, depth), tf.float32) for depth in (2, 1)]
    function = tf.function(lambda small, like: model([small, like], training=False), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], model)
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    places = {int(place["shape"][-1]): place["index"] for place in interpreter.get_input_details()}
    for shape, like in (((1, 3, 5, 2), (1, 11, 21, 1)), ((1, 4, 2, 2), (1, 17, 7, 1))):
        shown = [picture(*shape), picture(*like)]
        for value in shown:
            interpreter.resize_tensor_input(places[value.shape[-1]], value.shape)
        interpreter.allocate_tensors()
        for value in shown:
            interpreter.set_tensor(places[value.shape[-1]], value)
        interpreter.invoke()
        made = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose(made, model(shown), atol=1e-5)
