from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from fakeclf import bundle
from fakeclf.errors import FakeclfError
from fakeclf.models import small_autoencoder
from fakeclf.models.autoencoder import open_autoencoder
from fakeclf.models.layers import CropLike, PadToMultiple


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return small_autoencoder.build(width=8)


@given(height=st.integers(1, 19), width=st.integers(1, 19))
@settings(max_examples=20, deadline=None)
def test_padding_reflects_and_cropping_takes_it_back(height, width):
    picture = np.random.default_rng(0).random((2, height, width, 3)).astype("float32")
    padded = np.asarray(PadToMultiple(8)(picture))
    mode = [("reflect" if side > 1 else "edge") for side in (height, width)]
    expected = np.pad(picture, ((0, 0), (0, -height % 8), (0, 0), (0, 0)), mode=mode[0])
    expected = np.pad(expected, ((0, 0), (0, 0), (0, -width % 8), (0, 0)), mode=mode[1])
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(np.asarray(CropLike()(padded, picture)), picture)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (13, 21)])
def test_the_round_trip_keeps_size_and_range(model, size):
    picture = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")
    trip = np.asarray(model.predict_on_batch(picture))
    assert trip.shape == picture.shape and trip.dtype == np.float32
    assert trip.min() >= 0 and trip.max() <= 255


def test_latents_are_an_eighth_with_32_channels(model):
    assert model.get_layer("encoder")(np.zeros((1, 16, 24, 3), "float32")).shape == (1, 2, 3, 32)
    assert small_autoencoder.build().count_params() < 500_000


def test_a_bundle_gives_the_same_round_trip(model, tmp_path):
    card = bundle.Card("tiny", "autoencoder", "small-autoencoder", "fakeclf.models.autoencoder")
    bundle.save(model, card, tmp_path / "tiny", float16=False)
    opened = open_autoencoder(tmp_path / "tiny")
    assert opened.name == "tiny" and opened.sha256 == bundle.read_card(tmp_path / "tiny").files["model.keras"]
    picture = np.random.default_rng(1).uniform(0, 255, (1, 20, 9, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(opened.model(picture)), np.asarray(model(picture)), atol=1e-3)


def test_the_shipped_one_keeps_what_a_photograph_shows():
    opened = open_autoencoder("small-autoencoder")
    photograph = load_sample_image("flower.jpg")[100:300, 200:450]
    error = np.asarray(opened.model(photograph[None].astype("float32")))[0] - photograph
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 26


def test_only_autoencoders_are_opened(tmp_path):
    pictures = keras.Input((None, None, 3))
    other = keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(pictures))
    bundle.save(other, bundle.Card("other", "classifier", "x", "fakeclf.models.layers"), tmp_path / "other")
    with pytest.raises(FakeclfError, match="is a classifier"):
        open_autoencoder(tmp_path / "other")
    with pytest.raises(FakeclfError, match="taef2"):
        open_autoencoder("no-such-thing")
