"""Heat maps: found in every classifier, in the right place, whatever its size, view and end; overlays and residuals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from fakeclf import explain, registry
from fakeclf.errors import FakeclfError
from fakeclf.explain import grad_cam, heat_overlay, residual
from fakeclf.models import ensemble, residual_cnn
from fakeclf.models.layers import picture_input
from fakeclf.registry import ModelSpec

ROOT = Path(__file__).resolve().parents[2]
# Of the same blocks as densenet121, resnet50 and efficientnetb0, only more of them.
DEEPER = ("densenet169", "densenet201", "resnet101", "efficientnetv2b0")
CLASSIFIERS = [spec for spec in registry.models("classifier") if spec.name not in DEEPER]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def light(x: Any, bias: float = 0.0, end: str = "dense") -> Any:
    """P(REAL) by hand: light places speak for FAKE, dark ones for REAL; in maps of half the side."""
    maps = layers.Conv2D(2, 2, strides=2, activation="relu", name="maps")
    x = maps(x)
    maps.set_weights([np.stack([np.full((2, 2, 3), 1 / 12), np.full((2, 2, 3), -1 / 12)], -1), np.array([-0.5, 0.5])])
    x = layers.GlobalAveragePooling2D()(x)
    last = layers.Dense(1, activation="sigmoid" if end in ("dense", "more") else None)
    real = last(x)
    last.set_weights([np.array([[-20.0], [20.0]]), np.array([bias])])
    if end == "activation":
        real = layers.Activation("sigmoid")(real)
    return layers.Reshape((1,))(real) if end == "more" else real


def by_light(size: int | None = None, view: str = "resize", **args: Any) -> keras.Model:
    if size is None:
        pictures = keras.Input((None, None, 3))
        return keras.Model(pictures, light(layers.Rescaling(1 / 255)(pictures), **args), name="by_light")
    pictures, x = picture_input(size, view)
    return keras.Model(pictures, light(x, **args), name="by_light")


def spectral() -> keras.Model:
    pictures, x = picture_input(72, "crop", "spectrum")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))
    return keras.Model(pictures, layers.Dense(1, activation="sigmoid")(x), name="spectral")


@pytest.mark.parametrize("spec", CLASSIFIERS, ids=lambda spec: spec.name)
def test_feature_maps_of_every_classifier(spec: ModelSpec) -> None:
    """At the smallest size, where most backbones end in a single place, so that it has to be looked for inside them."""
    network = spec.build(spec.min_size)
    pictures = ops.convert_to_tensor(picture(spec.min_size + 9, spec.min_size + 4)[np.newaxis].astype("float32"))
    steps = explain._run(network, pictures)
    maps = steps[explain._last_maps(network.name, steps)].output
    assert len(maps.shape) == 4 and maps.shape[1] > 1 and maps.shape[2] > 1 and maps.shape[3] >= 32
    # Layer by layer, the network says the same as in one piece.
    np.testing.assert_allclose(steps[-1].output, network(pictures, training=False), atol=1e-6)
    if spec.name in ("densenet121", "residual-cnn", "mobilenetv2"):
        heat = grad_cam(network, picture(spec.min_size + 9, spec.min_size + 4))
        assert heat.shape == (spec.min_size + 9, spec.min_size + 4) and heat.dtype == np.float32
        assert heat.min() >= 0 and heat.max() in (0, 1)


@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 38), (26, 0), (26, 38)])
def test_heat_lies_where_the_evidence_is(size: int | None, top: int, left: int) -> None:
    pixels = picture(37, 53) // 4 + 20
    corner = np.zeros((37, 53), bool)
    corner[top : top + 11, left : left + 15] = True
    pixels[corner] = 250
    network = by_light(size)
    heat = grad_cam(network, pixels)
    assert heat.shape == (37, 53) and heat.max() == 1 and heat.min() == 0
    assert heat[corner].sum() > 0.85 * heat.sum() and heat[corner].mean() > 0.8
    against = grad_cam(network, pixels, target="REAL")
    assert against[corner].mean() < 0.2 and against[~corner].mean() > 0.6


def test_without_evidence_there_is_no_heat() -> None:
    dark = np.full((20, 21, 3), 30, np.uint8)
    assert not grad_cam(by_light(), dark).any()
    assert (grad_cam(by_light(), dark, target="REAL") > 0.99).all()


def test_it_is_class_activation_mapping_under_global_pooling() -> None:
    """There Grad-CAM is the maps weighed by the last layer's weights (Zhou et al. 2016, arXiv:1512.04150)."""
    keras.utils.set_random_seed(3)
    network = residual_cnn.build(40, width=8, dropout=0.5)
    pixels = picture(40, 40)
    maps = keras.Model(network.input, network.get_layer("conv_4").output)(pixels[np.newaxis].astype("float32"))
    weights = network.get_layer("p_real").get_weights()[0][:, 0]
    expected = np.maximum(-(np.array(maps)[0] @ weights), 0)
    expected = np.array(ops.image.resize(expected[..., np.newaxis], (40, 40), "bilinear", antialias=True))[..., 0]
    assert expected.max() > 0
    np.testing.assert_allclose(grad_cam(network, pixels), expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize("end", ["dense", "activation", "more"])
def test_a_sure_network_has_the_same_heat(end: str) -> None:
    """P(REAL) is 1 to the last bit; its own gradient is 0. Where no logit can be found, a sure network has no heat."""
    pixels = picture(20, 30)
    calm, sure = by_light(end=end), by_light(bias=90.0, end=end)
    assert float(sure(pixels[np.newaxis].astype("float32"))[0, 0]) == 1
    expected = grad_cam(by_light(), pixels)
    np.testing.assert_allclose(grad_cam(calm, pixels), expected, atol=1e-5)
    np.testing.assert_allclose(grad_cam(sure, pixels), np.zeros((20, 30)) if end == "more" else expected, atol=1e-5)


@pytest.mark.parametrize("size", [(41, 60), (60, 41), (16, 33), (9, 12)])
def test_what_a_crop_leaves_out_stays_cold(size: tuple[int, int]) -> None:
    white = np.full((*size, 3), 250, np.uint8)
    side = min(*size, 16)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    seen = np.zeros(size, bool)
    seen[top : top + side, left : left + side] = True
    heat = grad_cam(by_light(16, "crop"), white)
    assert (heat[seen] > 0.99).all() and not heat[~seen].any()
    assert (grad_cam(by_light(16, "resize"), white) > 0.99).all()


def test_maps_are_sought_where_paths_meet() -> None:
    """Not in one of several branches, not in padding, and inside inner models of any kind."""
    pictures = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=4)(pictures)
    x = layers.Add(name="joined")([layers.Conv2D(4, 3, padding="same")(x), layers.Conv2D(4, 1)(x)])
    inner = keras.Sequential([layers.Input((None, None, 4)), layers.ZeroPadding2D(1), layers.Conv2D(4, 4, strides=9)])
    x = inner(x)
    x = layers.Add()([x, layers.Conv2D(4, 1)(layers.Activation("relu")(x))])
    real = layers.Dense(1, activation="sigmoid")(layers.Flatten()(layers.GlobalAveragePooling2D()(x)))
    network = keras.Model(pictures, real)
    for side, found in ((19, "joined"), (70, "add")):
        steps = explain._run(network, ops.convert_to_tensor(picture(side, side)[np.newaxis].astype("float32")))
        step = steps[explain._last_maps("network", steps)]
        assert step.layer.name.startswith(found) and min(step.output.shape[1:3]) > 1
    assert grad_cam(network, picture(19, 23)).shape == (19, 23)


def test_sequential_networks() -> None:
    network = keras.Sequential([keras.Input((None, None, 3)), layers.Rescaling(1 / 255)])
    for layer in by_light().layers[2:]:
        network.add(layer)
    np.testing.assert_array_equal(grad_cam(network, picture(15, 22)), grad_cam(by_light(), picture(15, 22)))


def test_dropout_and_batch_norm_rest() -> None:
    pictures, x = picture_input(24, "resize")
    x = layers.BatchNormalization()(layers.Conv2D(6, 3)(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(layers.SpatialDropout2D(0.5)(x)))
    network = keras.Model(pictures, layers.Dense(1, activation="sigmoid")(x))
    before = network.get_weights()
    first, again = grad_cam(network, picture(30, 20)), grad_cam(network, picture(30, 20))
    np.testing.assert_array_equal(first, again)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_half_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = by_light(32)
    finally:
        keras.config.set_dtype_policy("float32")
    heat = grad_cam(network, picture(40, 40))
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, grad_cam(by_light(32), picture(40, 40)), atol=0.05)


@pytest.mark.parametrize("frozen", [True, False])
def test_an_ensemble_has_the_mean_heat_of_members_that_have_one(frozen: bool) -> None:
    pixels = picture(80, 90)
    members = [by_light(32), spectral(), residual_cnn.build(32, width=4)]
    together = ensemble.assemble(members, ensemble.build_head(3, inputs="logit"), frozen=frozen)
    expected = (grad_cam(members[0], pixels) + grad_cam(members[2], pixels)) / 2
    assert expected.max() > 0
    np.testing.assert_allclose(grad_cam(together, pixels), expected, atol=1e-6)
    alone = ensemble.assemble(members[:1], ensemble.build_head(1), frozen=frozen)
    np.testing.assert_allclose(grad_cam(alone, pixels), grad_cam(members[0], pixels), atol=1e-6)
    with pytest.raises(FakeclfError, match="spectral.* looks at a picture's spectrum"):
        grad_cam(ensemble.assemble([spectral()], ensemble.build_head(1), frozen=frozen), pixels)


def test_refusals_are_one_line() -> None:
    pictures, x = picture_input(16, "resize")
    plain = keras.Model(pictures, layers.Dense(1, activation="sigmoid")(layers.Flatten()(x)), name="plain")
    cases = [
        (spectral(), {}, "its features are frequencies, not places"),
        (plain, {}, "plain has no feature maps"),
        (keras.Model(pictures, layers.Conv2D(1, 1)(x), name="maker"), {}, "maker is no classifier"),
        (by_light(), {"target": "fake"}, "target must be FAKE or REAL; received 'fake'"),
    ]
    for network, args, message in cases:
        with pytest.raises(FakeclfError, match=message) as caught:
            grad_cam(network, picture(80, 80), **args)
        assert "\n" not in str(caught.value)
    for wrong in (picture(9, 9).astype("float32"), picture(9, 9)[..., 0], picture(9, 9)[:0]):
        for call in (lambda x: grad_cam(by_light(), x), residual, lambda x: heat_overlay(x, np.zeros((9, 9)))):
            with pytest.raises(ValueError, match="uint8"):
                call(wrong)


def test_other_backends_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(FakeclfError, match="Keras runs on jax; set KERAS_BACKEND=tensorflow") as caught:
        grad_cam(by_light(), picture(9, 9))
    assert "\n" not in str(caught.value)


def test_overlay_and_residual_import_no_keras() -> None:
    code = """
import sys, numpy as np
from fakeclf.explain import heat_overlay, residual
heat_overlay(residual(np.zeros((9, 9, 3), np.uint8)), np.zeros((9, 9)))
print(sorted({"keras", "tensorflow", "torch", "jax"} & set(sys.modules)))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_overlay_shows_heat_in_colour_and_lightness_over_a_readable_picture() -> None:
    heat = np.tile(np.linspace(0, 1, 300, dtype=np.float32), (300, 1))
    grey = np.full((300, 300, 3), 120, np.uint8)
    drawn = heat_overlay(grey, heat)
    assert drawn.dtype == np.uint8 and drawn.shape == grey.shape and (grey == 120).all()
    # More heat is lighter, so a grey print and any colour vision can follow it; and it turns from blue to yellow.
    lightness = drawn[0] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(lightness) > -1).all() and lightness[-1] - lightness[0] > 60
    assert drawn[0, 0, 2] > drawn[0, 0, 0] + 10 and drawn[0, -1, 0] > drawn[0, -1, 2] + 60
    # Rows are coloured in parts, all alike.
    assert (drawn == drawn[0]).all()
    # Black and white are still far apart, wherever it is hot.
    stripes = grey.copy()
    stripes[::2], stripes[1::2] = 0, 255
    apart = np.abs(np.diff(heat_overlay(stripes, heat).astype(int), axis=0)).min()
    assert 95 < apart < 255


def test_overlay_takes_colour_from_the_heat_alone() -> None:
    heat = np.zeros((4, 4), np.float32)
    red, grey = np.zeros((2, 4, 4, 3), np.uint8)
    red[..., 0], grey[...] = 200, 60  # of about the same luma
    apart = np.abs(heat_overlay(red, heat).astype(int) - heat_overlay(grey, heat))
    assert apart.max() <= 1
    with pytest.raises(FakeclfError, match="same height and width"):
        heat_overlay(red, heat[:3])


def test_residual_is_what_trace_net_sees() -> None:
    filters = pytest.importorskip("segmentation.layers.filters")
    pixels = (picture(30, 41) // 8 + 90).astype(np.uint8)
    srm = filters.FixedConv2D(filters.srm_bank() * 255, padding="symmetric")(pixels[np.newaxis].astype("float32") / 255)
    expected = np.array(srm)[0, ..., 1::3]  # the second of each colour's three filters
    gain = 127 / (4 * 1.4826 * np.median(np.abs(expected)))
    assert 1 < gain < 127
    np.testing.assert_allclose(residual(pixels), np.clip(128 + gain * expected, 0, 255), atol=0.51)


def test_residual_takes_shapes_away_and_keeps_noise() -> None:
    down, right = np.mgrid[:60, :60]
    slope = np.repeat((20 + 2 * down + right)[..., np.newaxis], 3, axis=2).astype(np.uint8)
    assert (residual(slope)[2:-2, 2:-2] == 128).all()  # the border mirrors, which breaks a slope
    assert (residual(np.full((3, 4, 3), 77, np.uint8)) == 128).all() and residual(picture(1, 1)).shape == (1, 1, 3)
    for spread in (2, 6):  # scaled by its own size, whatever it is
        noise = np.random.default_rng(0).normal(120, spread, (60, 60, 3)).round().astype(np.uint8)
        assert residual(noise).std() == pytest.approx(127 / 4, rel=0.1)
    noise[20:40, 20:40] = 120
    assert (residual(noise)[22:38, 22:38] == 128).all()


def test_the_least_noise_is_not_blown_up_without_limit() -> None:
    pixels = np.full((40, 40, 3), 100, np.uint8)
    pixels[20, 20] += 1  # by one, which the filter makes -1 at that place
    shown = residual(pixels)
    assert (shown[20, 20] == 1).all() and (shown[:18] == 128).all()
