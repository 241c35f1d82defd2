from __future__ import annotations

import keras
import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.models import inpainter
from segmentation.models.inpainter import HoledInput, Paste, PullPush


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """With a last convolution that does something: fresh it is zero."""
    keras.utils.set_random_seed(0)
    model = inpainter.build(width=0.25)
    colours = model.get_layer("network").get_layer("colours")
    colours.kernel.assign(np.random.default_rng(0).normal(0, 0.3, colours.kernel.shape))
    return model


def inputs(height: int, width: int, count: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(height)
    holes = np.zeros((count, height, width, 1), "float32")
    holes[:, height // 4 : height // 2 + 1, : width // 2 + 1] = 1
    return {"pictures": random.uniform(0, 255, (count, height, width, 3)).astype("float32"), "holes": holes}


@pytest.mark.parametrize("size", [(32, 32), (1, 1), (13, 22), (5, 40)])
def test_size_range_and_what_surrounds_the_hole_are_kept(model, size):
    given = inputs(*size)
    filled = np.asarray(model.predict_on_batch(given))
    assert filled.shape == given["pictures"].shape and filled.dtype == np.float32
    assert filled.min() >= 0 and filled.max() <= 255 and np.isfinite(filled).all()
    kept = given["holes"][..., 0] == 0
    np.testing.assert_array_equal(filled[kept], given["pictures"][kept])


def test_what_the_hole_hides_is_not_looked_at(model):
    given = inputs(24, 24)
    other = {**given, "pictures": np.where(given["holes"] > 0, 77, given["pictures"]).astype("float32")}
    filled = np.asarray(model.predict_on_batch(given))
    np.testing.assert_array_equal(filled, np.asarray(model.predict_on_batch(other)))
    brighter = {**given, "pictures": np.minimum(given["pictures"] + 60, 255)}
    assert np.abs(np.asarray(model.predict_on_batch(brighter)) - filled)[given["holes"][..., 0] > 0].mean() > 1


def test_equal_inputs_give_equal_fills_and_flat_surroundings_give_some_texture(model):
    given = inputs(24, 24) | {"pictures": np.full((2, 24, 24, 3), 120, "float32")}
    filled = np.asarray(model.predict_on_batch(given))
    np.testing.assert_array_equal(filled, np.asarray(model.predict_on_batch(given)))
    assert filled[given["holes"][..., 0] > 0].std() > 1


def test_fresh_it_gives_the_smooth_fill():
    given = inputs(16, 20)
    filled = np.asarray(inpainter.build(width=0.25).predict_on_batch(given))
    smooth = np.asarray(PullPush()([given["pictures"], given["holes"]]))
    np.testing.assert_allclose(filled, smooth, atol=1e-3)


def test_pull_push_keeps_what_is_known_and_stays_between_it():
    given = inputs(21, 34)
    smooth = np.asarray(PullPush()([given["pictures"], given["holes"]]))
    known = given["holes"][..., 0] == 0
    np.testing.assert_allclose(smooth[known], given["pictures"][known], atol=1e-3)
    for before, after, where in zip(given["pictures"], smooth, known, strict=True):
        assert (after <= before[where].max(0) + 1e-3).all() and (after >= before[where].min(0) - 1e-3).all()
    flat = np.full((1, 9, 50, 3), 31, "float32")
    hole = np.ones((1, 9, 50, 1), "float32")
    hole[:, 8, 49] = 0  # a single known pixel, far away
    np.testing.assert_allclose(np.asarray(PullPush()([flat, hole])), flat, atol=1e-3)


@pytest.mark.parametrize("upsampler", inpainter.UPSAMPLERS)
@pytest.mark.parametrize("stride", inpainter.STRIDES)
def test_every_architecture_fills_any_size_and_comes_back(upsampler: str, stride: int, tmp_path):
    plain = stride == 8
    keras.utils.set_random_seed(1)
    model = inpainter.build(
        width=0.25,
        upsampler=upsampler,
        stride=stride,
        kernel=5 if plain else 3,
        blocks=1,
        gated=not plain,
        normalisation="group" if plain else "none",
        colours="every" if plain else "last",
        noise="layers" if plain else "hole",
    )
    assert ("colours_at_half_below" in _names(model), "up_full_noise" in _names(model)) == (plain, plain)
    colours = model.get_layer("network").get_layer("colours")
    colours.kernel.assign(np.random.default_rng(0).normal(0, 0.3, colours.kernel.shape))
    gates = [layer for layer in model.get_layer("network").layers if isinstance(layer, inpainter.Gate)]
    assert bool(gates) != plain
    given = inputs(13, 22)
    filled = np.asarray(model.predict_on_batch(given))
    kept = given["holes"][..., 0] == 0
    np.testing.assert_array_equal(filled[kept], given["pictures"][kept])
    assert np.abs(filled - np.asarray(PullPush()([given["pictures"], given["holes"]])))[~kept].mean() > 1
    model.save(tmp_path / "inpainter.keras")
    again = keras.saving.load_model(tmp_path / "inpainter.keras", safe_mode=True)
    np.testing.assert_allclose(again.predict_on_batch(given), filled, atol=1e-3)


def _names(model: keras.Model) -> set[str]:
    return {layer.name for layer in model.get_layer("network").layers}


def test_colours_of_every_size_add_up():
    """A constant that each size paints, in a picture of one colour, is there once for each."""
    given = {name: np.zeros_like(array) for name, array in inputs(16, 24).items()}
    given["holes"][:, 4:12, 4:20] = 1
    model = inpainter.build(width=0.25, stride=8, blocks=1, colours="every")
    names = ("colours_at_quarter", "colours_at_half", "colours")
    for value, name in zip((1, 2, 4), names, strict=True):
        model.get_layer("network").get_layer(name).bias.assign([value / 255] * 3)
    filled = np.asarray(model(given))
    np.testing.assert_allclose(filled, 7 * np.broadcast_to(given["holes"], filled.shape), atol=1e-3)


def test_noise_is_as_strong_as_learnt_and_the_same_at_every_call():
    layer = inpainter.AddNoise()
    x = np.full((2, 40, 50, 3), 5, "float32")
    np.testing.assert_array_equal(layer(x), x)
    layer.strength.assign([0.0, 1.0, 3.0])
    first = np.asarray(layer(x))
    np.testing.assert_array_equal(layer(x), first)
    np.testing.assert_allclose((first - x).std((0, 1, 2)), [0, 1, 3], rtol=0.1)
    np.testing.assert_allclose(first[..., 2] - 5, 3 * (first[..., 1] - 5), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upsampler", "cubic"),
        ("stride", 3),
        ("kernel", 4),
        ("normalisation", "batch"),
        ("colours", "first"),
        ("noise", "some"),
    ],
)
def test_an_unknown_architecture_is_named(name: str, value: object):
    with pytest.raises(FakeclfError, match=f"{name} must be one of .*; received {value!r}"):
        inpainter.build(**{name: value})


def test_noise_only_in_the_hole():
    given = inputs(12, 12)
    holed = np.asarray(HoledInput()([given["pictures"] / 255, given["holes"]]))
    assert holed.shape == (2, 12, 12, 6)
    inside = given["holes"][..., 0] > 0
    assert (holed[..., 4:][~inside] == 0).all() and 0.7 < holed[..., 4:][inside].std() < 1.3
    assert not np.array_equal(holed, np.asarray(HoledInput(seed=1)([given["pictures"] / 255, given["holes"]])))


def test_paste_mixes_along_the_mask():
    made = Paste()([np.zeros((1, 1, 3, 1)), np.ones((1, 1, 3, 1)), np.array([0, 0.25, 1]).reshape(1, 1, 3, 1)])
    np.testing.assert_allclose(np.asarray(made).ravel(), [0, 0.25, 1])


def test_it_comes_back_from_a_file_and_has_half_a_million_parameters(model, tmp_path):
    model.save(tmp_path / "inpainter.keras")
    again = keras.saving.load_model(tmp_path / "inpainter.keras", safe_mode=True)
    given = inputs(17, 19)
    np.testing.assert_allclose(again.predict_on_batch(given), model.predict_on_batch(given), atol=1e-3)
    assert 450_000 < inpainter.build().count_params() < 600_000


def test_the_network_trains_in_mixed_precision():
    network = inpainter.build(width=0.25, precision="mixed_bfloat16").get_layer("network")
    network.compile(keras.optimizers.Adam(1e-2), "mae", jit_compile=False)
    stripes = np.tile(np.repeat([0.2, 0.8], 4), 2)  # which the smooth fill blurs
    truth = np.tile(stripes[None, None, :, None], (2, 16, 1, 3)).astype("float32")
    holes = np.zeros((2, 16, 16, 1), "float32")
    holes[:, 3:13, 3:13] = 1
    losses = [float(network.train_on_batch([truth, holes], truth)) for _ in range(25)]
    assert losses[-1] < 0.75 * losses[0]
