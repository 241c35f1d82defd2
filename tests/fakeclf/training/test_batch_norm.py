"""The fused kernel trains as Keras' own batch norm does."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fakeclf.training.batch_norm import FusedBatchNormalization, all_layers, fused_batch_norm


def small_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.BatchNormalization()], name="inner")
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("relu")(inner(x))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(x)))


def trained(fused: bool, data: tuple[np.ndarray, np.ndarray]) -> keras.Model:
    model = small_model()

    def fit() -> None:
        model.compile(keras.optimizers.SGD(0.05), "binary_crossentropy")
        model.fit(*data, batch_size=16, epochs=3, shuffle=False, verbose=0)

    if fused:
        with fused_batch_norm(model):
            assert sum(isinstance(layer, FusedBatchNormalization) for layer in all_layers(model)) == 2
            fit()
    else:
        fit()
    return model


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(3, 2, (48, 8, 8, 3)).astype("float32"), random.integers(0, 2, (48, 1)).astype("float32")


def test_same_weights_and_statistics_as_keras(data: tuple[np.ndarray, np.ndarray]) -> None:
    fused, plain = trained(True, data), trained(False, data)
    for ours, theirs in zip(fused.weights, plain.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=theirs.path)
    np.testing.assert_allclose(fused.predict(data[0], verbose=0), plain.predict(data[0], verbose=0), atol=1e-5)


def test_the_saved_model_holds_plain_layers(data: tuple[np.ndarray, np.ndarray], tmp_path) -> None:
    model = trained(True, data)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert {type(layer) for layer in all_layers(again)} & {FusedBatchNormalization} == set()
    np.testing.assert_allclose(again.predict(data[0], verbose=0), model.predict(data[0], verbose=0), atol=1e-6)


def test_frozen_and_unfusable_layers_keep_kerass_own_path() -> None:
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization(scale=False)])
    with fused_batch_norm(model):
        assert type(model.layers[0]) is keras.layers.BatchNormalization
    frozen = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization()])
    frozen.layers[0].trainable = False
    frozen.compile("sgd", "mse")
    with fused_batch_norm(frozen):
        frozen.compile("sgd", "mse")
        frozen.train_on_batch(np.ones((4, 4, 4, 2)), np.zeros((4, 4, 4, 2)))
    np.testing.assert_array_equal(frozen.layers[0].moving_mean, np.zeros(2))
