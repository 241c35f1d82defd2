from __future__ import annotations

import keras
import numpy as np
import pytest

from fakeclf.models import discriminator
from fakeclf.models.discriminator import SpectralConv2D


@pytest.mark.parametrize("size", [(16, 16), (17, 29)])
def test_one_logit_a_patch_at_any_size(size):
    model = discriminator.build(4, width=4, depth=3, precision="mixed_bfloat16")
    logits = model(np.random.default_rng(0).random((2, *size, 4)).astype("float32"))
    assert (
        logits.shape == (2, *(-(-side // 8) for side in size), 1)
        and keras.backend.standardize_dtype(logits.dtype) == "float32"
    )


def test_the_largest_singular_value_becomes_one():
    layer = SpectralConv2D(6, 3, padding="same", use_bias=False)
    picture = np.random.default_rng(0).normal(size=(1, 9, 9, 5)).astype("float32")
    layer.build(picture.shape)
    stored = np.asarray(layer.kernel)
    for _ in range(60):
        made = np.asarray(layer(picture, training=True))
    largest = np.linalg.svd(stored.reshape(-1, 6), compute_uv=False)[0]
    assert abs(largest - 1) > 0.1  # else there was nothing to do
    plain = np.asarray(keras.ops.conv(picture, stored / largest, padding="same"))
    np.testing.assert_allclose(made, plain, atol=1e-3 * np.abs(plain).max())
    np.testing.assert_array_equal(np.asarray(layer.kernel), stored)


def test_only_training_moves_the_power_iteration():
    layer = SpectralConv2D(3, 3)
    layer.build((None, None, None, 2))
    before = np.asarray(layer.direction)
    picture = np.ones((1, 5, 5, 2), "float32")
    layer(picture)
    np.testing.assert_array_equal(np.asarray(layer.direction), before)
    layer(picture, training=True)
    assert not np.array_equal(np.asarray(layer.direction), before)


def test_it_tells_sharp_from_blurred_after_a_few_steps():
    random = np.random.default_rng(1)
    keras.utils.set_random_seed(1)
    model = discriminator.build(width=8, depth=2)
    sharp = random.uniform(0, 1, (16, 16, 16, 3)).astype("float32")
    blurred = (sharp + np.roll(sharp, 1, 1) + np.roll(sharp, 1, 2) + np.roll(sharp, (1, 1), (1, 2))) / 4
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    labels = np.repeat([1.0, 0.0], 16)[:, None, None, None] * np.ones((1, 4, 4, 1))
    both = np.concatenate([sharp, blurred])
    for _ in range(30):
        model.train_on_batch(both, labels)
    assert ((np.asarray(model(both)) > 0) == (labels > 0.5)).mean() > 0.9


def test_it_comes_back_from_a_file(tmp_path):
    model = discriminator.build(width=4, depth=2)
    model(np.ones((1, 8, 8, 3), "float32"), training=True)  # moves the power iteration
    model.save(tmp_path / "d.keras")
    again = keras.saving.load_model(tmp_path / "d.keras")
    picture = np.random.default_rng(2).random((1, 12, 15, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(again(picture)), np.asarray(model(picture)), atol=1e-6)
