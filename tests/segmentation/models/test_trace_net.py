from __future__ import annotations

import keras
import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.models import trace_net


def shown(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(40, 200, (1, 64, 64, 3)).astype("float32")


def test_it_does_not_see_brightness() -> None:
    model = trace_net.build(width=0.25)
    first, second = (np.asarray(model(shown() + lift)["mask"]) for lift in (0.0, 30.0))
    np.testing.assert_allclose(first, second, atol=2e-3)
    seeing = trace_net.build(width=0.25, front="both")
    assert np.abs(np.asarray(seeing(shown())["mask"]) - np.asarray(seeing(shown() + 30)["mask"])).max() > 2e-3


@pytest.mark.parametrize("settings", [{"front": "picture"}, {"grid": False}, {"contrast": False}, {"finest": 8}])
def test_parts_can_be_left_out(settings: dict) -> None:
    assert trace_net.build(width=0.25, **settings)(shown())["mask"].shape == (1, 64, 64, 1)


def test_contrast_is_the_distance_from_the_mean_in_deviations() -> None:
    x = np.random.default_rng(0).normal(3, 2, (2, 6, 6, 4)).astype("float32")
    made = np.asarray(trace_net.Contrast()(x))
    np.testing.assert_array_equal(made[..., :4], x)
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-3)
    np.testing.assert_allclose(made[..., 4:], expected, atol=1e-4)


def test_hidden_pictures_are_hidden_in_training_alone() -> None:
    pictures = np.ones((400, 1, 1, 3), "float32")
    layer = trace_net.Hidden(0.5)
    np.testing.assert_array_equal(np.asarray(layer(pictures)), pictures)
    kept = np.asarray(layer(pictures, training=True))[:, 0, 0]
    assert {tuple(colours) for colours in kept.tolist()} == {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)}
    assert 140 < kept[:, 0].sum() < 260
    assert keras.layers.deserialize(keras.layers.serialize(layer)).share == 0.5
    assert "hidden" in [layer.name for layer in trace_net.build(width=0.25, front="both", hidden=0.5).layers]


@pytest.mark.parametrize("settings", [{"hidden": 0.5}, {"front": "both", "hidden": 1.0}])
def test_what_cannot_be_hidden_is_refused(settings: dict) -> None:
    with pytest.raises(FakeclfError, match="hidden goes with front=both"):
        trace_net.build(**settings)


def test_an_unknown_front_is_refused() -> None:
    with pytest.raises(FakeclfError, match="noise, both, picture"):
        trace_net.build(front="nose")


def test_decisions_of_another_size_are_refused() -> None:
    with pytest.raises(FakeclfError, match="4 or 8"):
        trace_net.build(finest=16)


def test_decisions_of_8_pixels_go_without_what_lies_finer() -> None:
    fine, coarse = (trace_net.build(width=0.25, finest=size) for size in (4, 8))
    assert coarse.count_params() < fine.count_params()
    names = {layer.name for layer in fine.layers} - {layer.name for layer in coarse.layers}
    assert {"up_quarter", "join_quarter", "decode_quarter_conv"} <= names
