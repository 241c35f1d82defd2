from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fakeclf import bundle, registry
from fakeclf.errors import FakeclfError
from fakeclf.models import drawn_autoencoder as drawn
from fakeclf.models.autoencoder import open_autoencoder
from fakeclf.models.layers import EnlargeBilinear

TINY = {"width": 8, "depth": 1, "kernel": 3, "latent_channels": 4}


def test_draws_are_fixed_and_cover_the_space() -> None:
    draws = [drawn.draw(seed) for seed in range(16)]
    assert draws == [drawn.draw(seed) for seed in range(16)]
    assert len({(one["upsampler"], one["loss"]) for one in draws}) == 16
    assert {one["stride"] for one in draws} == {4, 8, 16}
    assert {one["upsampler"] for one in draws[:4]} == set(drawn.UPSAMPLERS)
    for choice, allowed in (
        ("kernel", drawn.KERNELS),
        ("normalisation", drawn.NORMALISATIONS),
        ("depth", drawn.DEPTHS),
    ):
        assert {one[choice] for one in draws} == set(allowed), choice
    # Nothing hangs together with the upsampler but what takes turns with it.
    later = [drawn.draw(seed) for seed in range(0, 400, 4)]
    assert {one["kernel"] for one in later} == set(drawn.KERNELS)
    assert drawn.draw(0) == {
        "upsampler": "nearest",
        "stride": 8,
        "latent_channels": 24,
        "kernel": 5,
        "width": 32,
        "depth": 1,
        "normalisation": "none",
        "activation": "relu",
        "loss": "l1",
    }


@pytest.mark.parametrize("seed", [5, 7])
def test_members_are_small(seed: int) -> None:
    assert 50_000 < drawn.build(seed=seed).count_params() < 500_000


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("upsampler", drawn.UPSAMPLERS)
def test_a_bundle_gives_the_same_round_trip(upsampler: str, stride: int, tmp_path) -> None:
    keras.utils.set_random_seed(0)
    normalisation = {4: "none", 8: "batch", 16: "group"}[stride]
    model = registry.model("drawn-autoencoder").build(
        upsampler=upsampler, stride=stride, normalisation=normalisation, **TINY
    )
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 21, 34, 3)).astype("float32")
    trip = model.predict_on_batch(pictures)
    assert trip.shape == pictures.shape and trip.dtype == np.float32 and 0 <= trip.min() < trip.max() <= 255
    assert model.get_layer("encoder")(np.zeros((1, 32, 48, 3), "float32")).shape == (1, 32 // stride, 48 // stride, 4)
    card = bundle.Card("tiny", "autoencoder", "drawn-autoencoder", "fakeclf.models.autoencoder")
    bundle.save(model, card, tmp_path / "tiny", float16=False)
    np.testing.assert_allclose(open_autoencoder(tmp_path / "tiny").model.predict_on_batch(pictures), trip, atol=1e-3)


def test_the_upsampler_is_what_it_is_called() -> None:
    def layers(upsampler: str) -> set[str]:
        decoder = drawn.build(upsampler=upsampler, stride=4, **TINY).get_layer("decoder")
        return {type(layer).__name__ for layer in decoder.layers}

    signs = {
        "nearest": "UpSampling2D",
        "bilinear": "EnlargeBilinear",
        "transposed": "Conv2DTranspose",
        "shuffle": "PixelShuffle",
    }
    for upsampler, sign in signs.items():
        assert layers(upsampler) & set(signs.values()) == {sign}


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"upsampler": "cubic"}, "upsampler must be one of nearest, bilinear, transposed, shuffle"),
        ({"stride": 2}, "stride must be one of"),
        ({"normalisation": "layer"}, "normalisation must be one of"),
        ({"width": 12}, "width must be a multiple of 8"),
        ({"hight": 12}, "takes no 'hight'"),
    ],
)
def test_a_choice_outside_the_space_is_named(choice: dict, says: str) -> None:
    with pytest.raises(FakeclfError, match=says):
        registry.model("drawn-autoencoder").build(**choice)


def test_bilinear_enlargement_is_tensorflows_with_a_gradient_and_unknown_sizes() -> None:
    x = np.random.default_rng(0).uniform(size=(2, 5, 4, 3)).astype("float32")
    expected = tf.image.resize(x, (15, 12), "bilinear")
    layer = EnlargeBilinear(3)
    np.testing.assert_allclose(tf.function(layer, input_signature=[tf.TensorSpec([None] * 3 + [3])])(x), expected)
    assert layer.compute_output_shape((None, None, 4, 3)) == (None, None, 12, 3)
    assert EnlargeBilinear.from_config(layer.get_config()).factor == 3
    with tf.GradientTape() as tape:
        given = tf.constant(x)
        tape.watch(given)
        total = tf.reduce_sum(layer(given))
    np.testing.assert_allclose(tape.gradient(total, given), np.full(x.shape, 9.0), rtol=1e-5)
