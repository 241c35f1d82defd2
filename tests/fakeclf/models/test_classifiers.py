"""Every registered classifier: the report's sizes, any picture size, frozen layers, clear refusals."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import registry
from fakeclf.errors import FakeclfError
from fakeclf.models import densenet, xception
from fakeclf.models.layers import FitToSize, Spectrum
from fakeclf.registry import ModelSpec
from fakeclf.training.batch_norm import all_layers

CLASSIFIERS = registry.models("classifier")
FRONTS = ("picture", "residual", "spectrum")


def test_parameters_as_in_the_report() -> None:
    assert densenet.build(224).count_params() == 7_398_769
    assert xception.build(224).count_params() == 20_863_529


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=lambda spec: spec.name)
def test_contract(spec: ModelSpec, tmp_path: Path) -> None:
    """At its smallest size: builds, takes odd sizes, gives a probability, comes back from a file the same."""
    model = spec.build(spec.min_size)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, spec.min_size + 9, spec.min_size + 4, 3)).astype("float32")
    scores = np.asarray(model(pictures, training=False))
    assert scores.shape == (2, 1) and ((scores >= 0) & (scores <= 1)).all()
    assert model.output.dtype == "float32"
    if spec.name in ("densenet121", "mobilenetv2"):  # the others differ in their backbone alone
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(again(pictures, training=False), scores, atol=1e-6)
    with pytest.raises(FakeclfError, match=f"at least {spec.min_size} px"):
        spec.build(spec.min_size - 1)


@pytest.mark.parametrize(("stem", "side"), [("stock", 1), ("half", 2), ("full", 4)])
def test_stems_of_a_32_px_picture(stem: str, side: int) -> None:
    model = densenet.build(32, stem=stem, growth_rate=8, head="pool")
    (network,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    assert network.output_shape[1:3] == (side, side)


def test_our_dense_network_has_keras_densenet121s_weights() -> None:
    ours = densenet.dense_network(64, "stock", 32)
    theirs = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(64, 64, 3))
    assert ours.count_params() == theirs.count_params()
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]


@pytest.mark.parametrize("name", ["densenet121", "xception", "mobilenetv2"])
def test_layers_below_fine_tune_from_are_frozen(name: str) -> None:
    model = registry.model(name).build(96, fine_tune_from=56)
    (network,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    assert not any(layer.trainable for layer in network.layers[:56])
    assert all(layer.trainable for layer in network.layers[56:])


def test_frozen_layers_stay_as_they_were() -> None:
    model = registry.model("mobilenetv2").build(32, fine_tune_from=56)
    (network,) = (layer for layer in model.layers if isinstance(layer, keras.Model))
    below = [weight for layer in network.layers[:56] for weight in layer.weights]
    above = [weight for layer in network.layers[56:] for weight in layer.weights]
    before = [np.array(weight) for weight in (*below, *above)]
    model.compile("sgd", "binary_crossentropy")
    model.train_on_batch(np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)), np.array([[0.0], [1.0]]))
    changed = [not np.array_equal(old, new) for old, new in zip(before, (*below, *above), strict=True)]
    assert not any(changed[: len(below)]) and any(changed[len(below) :])


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    first = densenet.build(32, stem="full", growth_rate=4, head="pool")
    (network,) = (layer for layer in first.layers if isinstance(layer, keras.Model))
    network.save_weights(tmp_path / "backbone.weights.h5")
    second = densenet.build(32, stem="full", growth_rate=4, head="pool", weights=str(tmp_path / "backbone.weights.h5"))
    (loaded,) = (layer for layer in second.layers if isinstance(layer, keras.Model))
    np.testing.assert_array_equal(loaded.weights[0], network.weights[0])
    with pytest.raises(FakeclfError, match="does not fit"):
        densenet.build(32, stem="full", growth_rate=8, weights=str(tmp_path / "backbone.weights.h5"))


def test_imagenet_offline_names_the_other_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A proxy that is not there: what a machine without network sees.
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path), raising=False)
    with pytest.raises(FakeclfError, match="weights=none, or weights=PATH"):
        xception.build(71, weights="imagenet")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"stem": "quarter"}, "stock, half or full"),
        ({"head": "none"}, "report or pool"),
        ({"stem": "full", "weights": "imagenet"}, "ImageNet weights fit only"),
        ({"weights": "missing.h5"}, "no weights file"),
        ({"fine_tune_from": 9999}, "outside"),
    ],
)
def test_refusals(args: dict, message: str) -> None:
    with pytest.raises(FakeclfError, match=message):
        densenet.build(32, **args)


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(FakeclfError, match="did you mean 'growth_rate'"):
        registry.model("densenet121").build(32, growth_rat=4)


def test_all_layers_reaches_nested_models() -> None:
    norms = [layer for layer in all_layers(xception.build(71)) if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 40


@pytest.mark.parametrize("view", ["resize", "crop"])
@pytest.mark.parametrize("shape", [(1, 1), (20, 90), (32, 32), (33, 200), (64, 40)])
def test_fit_to_size(view: str, shape: tuple[int, int]) -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (1, *shape, 3)).astype("float32")
    fitted = np.asarray(FitToSize(32, view)(pictures))
    assert fitted.shape == (1, 32, 32, 3)
    assert fitted.min() >= -1e-3 and fitted.max() <= 255.001
    if view == "crop" and min(shape) >= 32:
        top, left = (shape[0] - 32) // 2, (shape[1] - 32) // 2
        np.testing.assert_allclose(fitted, pictures[:, top : top + 32, left : left + 32], atol=1e-3)


def test_fit_to_size_in_a_graph_with_unknown_sizes() -> None:
    import tensorflow as tf

    layer = FitToSize(16, "crop")
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    for shape in ((1, 40, 50, 3), (2, 8, 9, 3)):
        picture = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
        np.testing.assert_allclose(graph(picture), layer(picture), atol=1e-3)


def test_spectrum_is_the_mean_power_of_scipys_dct() -> None:
    from scipy.fft import dctn

    pictures = np.random.default_rng(0).normal(size=(2, 32, 48, 3)).astype("float32")
    windows = pictures.reshape(2, 2, 16, 3, 16, 3).transpose(0, 1, 3, 2, 4, 5)
    power = (dctn(windows, axes=(3, 4), norm="ortho") ** 2).mean((1, 2))
    np.testing.assert_allclose(Spectrum(16)(pictures), (np.log(power + 1e-3) + 1.3) / 1.5, atol=1e-4)
    with pytest.raises(ValueError, match="multiples of 16"):
        Spectrum(16)(pictures[:, :30])


def test_fronts_add_no_parameters(tmp_path: Path) -> None:
    counts = {front: registry.model("mobilenetv2").build(72, front=front).count_params() for front in FRONTS}
    assert len(set(counts.values())) == 1
    model = registry.model("mobilenetv2").build(72, front="spectrum")
    model.save(tmp_path / "model.keras")
    pictures = np.random.default_rng(0).uniform(0, 255, (1, 90, 80, 3)).astype("float32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(pictures), model(pictures), atol=1e-5)
    with pytest.raises(FakeclfError, match="multiple of 72"):
        registry.model("xception").build(100, front="spectrum")
    with pytest.raises(FakeclfError, match="picture, residual or spectrum"):
        registry.model("xception").build(100, front="noise")
