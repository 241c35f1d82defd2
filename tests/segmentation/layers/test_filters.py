from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from segmentation.layers.filters import (
    SRM_THREE,
    BayarConv2D,
    FixedConv2D,
    bayar_constraint,
    pad_symmetric,
    srm_bank,
)

SCIPY_MODES = {"same": {"mode": "constant"}, "symmetric": {"mode": "reflect"}, "valid": {"mode": "constant"}}


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


def filtered(x: np.ndarray, kernel: np.ndarray, padding: str) -> np.ndarray:
    """Every filter by SciPy: the sum over the input channels of their correlations."""
    columns = [
        sum(correlate(x[..., i], kernel[:, :, i, o], **SCIPY_MODES[padding]) for i in range(x.shape[-1]))
        for o in range(kernel.shape[3])
    ]
    out = np.stack(columns, axis=-1)
    top, left = (side // 2 for side in kernel.shape[:2])
    return out[top : out.shape[0] - top, left : out.shape[1] - left] if padding == "valid" else out


def again(layer: keras.layers.Layer) -> keras.layers.Layer:
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))


def test_srm_filters_predict_a_pixel_from_its_neighbours():
    for kernel in SRM_THREE:
        assert kernel.shape == (5, 5) and kernel.dtype == np.float32 and abs(kernel.sum()) < 1e-6
        assert abs(kernel[2, 2]) == 1
    # A plane has no second differences, so none of them sees it.
    rows, columns = np.mgrid[:9, :9].astype("float32")
    plane = (2 * rows - 3 * columns + 1)[None, :, :, None]
    np.testing.assert_allclose(FixedConv2D(srm_bank(1), "valid")(plane), 0, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_the_srm_bank_is_each_filter_on_each_colour(padding):
    x = picture(1, 11, 14, 3)
    made = np.asarray(FixedConv2D(srm_bank(), padding)(x))[0]
    mode = SCIPY_MODES[padding]
    colours = [correlate(x[0, ..., colour], kernel, **mode) for colour in range(3) for kernel in SRM_THREE]
    expected = np.stack(colours, axis=-1)
    np.testing.assert_allclose(made, expected[2:-2, 2:-2] if padding == "valid" else expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_fixed_filters_are_scipys_and_travel_in_the_configuration(padding):
    kernel = np.random.default_rng(1).normal(size=(3, 5, 2, 4)).astype("float32")
    layer = FixedConv2D(kernel, padding)
    x = picture(2, 9, 10, 2)
    made = np.asarray(layer(x))
    np.testing.assert_allclose(made, [filtered(one, kernel, padding) for one in x], atol=1e-5)
    assert layer.weights == [] and layer.compute_output_shape(x.shape) == made.shape
    copy = again(layer)
    np.testing.assert_array_equal(copy.kernel, kernel)
    np.testing.assert_array_equal(copy(x), made)


@pytest.mark.parametrize("layer", [FixedConv2D, lambda *args: BayarConv2D(2, 3, *args[1:])])
def test_an_unknown_padding_is_refused(layer):
    with pytest.raises(ValueError, match="same, valid or symmetric"):
        layer(np.zeros((3, 3, 1, 1)), "reflect")
    with pytest.raises(ValueError, match="channels in"):
        FixedConv2D(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="odd"):
        BayarConv2D(2, 4)


@given(side=st.sampled_from([3, 5, 7]), inputs=st.integers(1, 4), filters=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_constraint_makes_centres_minus_one_and_the_rest_sum_to_one(side, inputs, filters, seed):
    kernel = np.random.default_rng(seed).uniform(0.1, 2, (side, side, inputs, filters)).astype("float32")
    made = np.asarray(bayar_constraint(kernel))
    middle = side // 2
    np.testing.assert_array_equal(made[middle, middle], -1)
    np.testing.assert_allclose(made.sum(axis=(0, 1)), 0, atol=1e-5)
    # The values keep their proportions, and the stored centre counts for nothing.
    np.testing.assert_allclose(made[0, 0] / made[0, 1], kernel[0, 0] / kernel[0, 1], rtol=1e-4)
    other = kernel.copy()
    other[middle, middle] = 77
    np.testing.assert_array_equal(bayar_constraint(other), made)


def test_a_kernel_that_sums_to_nothing_is_left_unscaled():
    kernel = np.zeros((3, 3, 1, 2), "float32")
    kernel[0, 0, 0, 0], kernel[0, 1, 0, 0] = 1, -1
    made = np.asarray(bayar_constraint(kernel))
    assert np.isfinite(made).all() and made[0, 0, 0, 0] == 1 and np.all(made[1, 1] == -1)


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
@pytest.mark.parametrize("stored_centre", [True, False])
def test_the_constraint_is_computed_and_never_stored(padding, stored_centre):
    layer = BayarConv2D(3, 5, padding, stored_centre)
    x = picture(2, 12, 13, 2)
    layer.build(x.shape)
    before = layer.kernel.numpy().copy()
    made = np.asarray(layer(x))
    np.testing.assert_array_equal(layer.kernel.numpy(), before)
    assert before.shape == ((5, 5, 2, 3) if stored_centre else (24, 2, 3))
    full = before if stored_centre else np.insert(before, 12, 5.0, axis=0).reshape(5, 5, 2, 3)
    effective = np.asarray(bayar_constraint(full))
    np.testing.assert_allclose(made, [filtered(one, effective, padding) for one in x], atol=1e-5)
    assert layer.compute_output_shape(x.shape) == made.shape
    assert again(layer).get_config() == layer.get_config()


def test_after_training_steps_the_effective_kernel_still_meets_the_constraint():
    x = keras.Input((None, None, 3))
    model = keras.Model(x, BayarConv2D(3, 5, "valid", name="bayar")(x))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    before = model.get_layer("bayar").kernel.numpy().copy()
    for _ in range(3):
        model.train_on_batch(picture(2, 9, 9, 3), picture(2, 5, 5, 3))
    after = model.get_layer("bayar").kernel.numpy().copy()
    assert np.abs(after - before).max() > 1e-4
    # Whatever was learnt, the rest minus the centre is nothing: a constant picture leaves no response.
    np.testing.assert_allclose(model(np.full((1, 9, 9, 3), 0.7, "float32")), 0, atol=1e-5)


@given(height=st.integers(3, 9), width=st.integers(3, 9), top=st.integers(0, 3), left=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_symmetric_padding_is_numpys(height, width, top, left):
    x = picture(2, height, width, 2)
    expected = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), "symmetric")
    np.testing.assert_array_equal(pad_symmetric(x, top, left), expected)


def test_symmetric_padding_is_numpys_on_pytorch(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    code = """
import numpy as np
from segmentation.layers.filters import pad_symmetric
x = np.random.default_rng(0).random((2, 5, 6, 3), np.float32)
for down, right in ((2, 3), (0, 2), (1, 0), (0, 0)):
    wanted = np.pad(x, ((0, 0), (down, down), (right, right), (0, 0)), "symmetric")
    np.testing.assert_array_equal(np.asarray(pad_symmetric(x, down, right)), wanted)
"""
    environment = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_unknown_sizes_and_half_precision(padding):
    x = keras.Input((None, None, 3))
    layers = [FixedConv2D(srm_bank(), padding, dtype="float32"), BayarConv2D(4, 5, padding, dtype="mixed_bfloat16")]
    model = keras.Model(x, [layer(x) for layer in layers])
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    for shape in ((1, 9, 7, 3), (2, 6, 12, 3)):
        shown = picture(*shape)
        fixed, bayar = run(shown)
        np.testing.assert_allclose(fixed, layers[0](shown), atol=1e-6)
        assert bayar.dtype == tf.bfloat16 and bayar.shape[-1] == 4 and layers[1].kernel.dtype == "float32"
