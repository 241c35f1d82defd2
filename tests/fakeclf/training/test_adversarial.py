from __future__ import annotations

import keras
import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from fakeclf.models import discriminator
from fakeclf.training.adversarial import (
    AdversarialPair,
    discriminator_loss,
    generator_loss,
    median,
    texture_ratio,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


LOGITS = np.random.default_rng(0).normal(0, 2, (2, 3, 3, 1)).astype("float32")
OTHERS = np.random.default_rng(1).normal(0, 2, (2, 3, 3, 1)).astype("float32")


@pytest.mark.parametrize(
    ("game", "expected"),
    [
        ("log", np.mean(np.log(1 - sigmoid(LOGITS)))),
        ("non-saturating", -np.mean(np.log(sigmoid(LOGITS)))),
        ("hinge", -np.mean(LOGITS)),
    ],
)
def test_what_the_generator_lowers(game, expected):
    assert float(generator_loss(LOGITS, game)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("game", ["log", "non-saturating", "hinge"])
def test_what_the_discriminator_lowers(game):
    if game == "hinge":
        expected = np.mean(np.maximum(0, 1 - LOGITS)) + np.mean(np.maximum(0, 1 + OTHERS))
    else:
        expected = -np.mean(np.log(sigmoid(LOGITS))) - np.mean(np.log(1 - sigmoid(OTHERS)))
    assert float(discriminator_loss(LOGITS, OTHERS, game)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("game", ["log", "non-saturating", "hinge"])
def test_patches_that_do_not_count_are_left_out(game):
    counted = np.zeros(LOGITS.shape, "float32")
    counted[:, 0] = 0.3
    assert float(generator_loss(LOGITS, game, counted)) == pytest.approx(
        float(generator_loss(LOGITS[:, :1], game)), rel=1e-4
    )
    assert float(discriminator_loss(LOGITS, OTHERS, game, counted)) == pytest.approx(
        float(discriminator_loss(LOGITS[:, :1], OTHERS[:, :1], game)), rel=1e-4
    )


class Dyed(AdversarialPair):
    """A generator that owes the truth nothing."""

    def distance(self, inputs, truth, made):
        return 0.0 * keras.ops.mean(made)


def pair(game: str, faster: float) -> AdversarialPair:
    """A generator that knows one colour, black at the start."""
    keras.utils.set_random_seed(0)
    pictures = keras.Input((None, None, 3))
    colour = keras.layers.Conv2D(3, 1, kernel_initializer="zeros", name="colour")(pictures)
    made = Dyed(keras.Model(pictures, colour), discriminator.build(width=4, depth=2), game=game)
    made.compile(0.02, 40, faster=faster)
    return made


def colour_after(trained: AdversarialPair) -> np.ndarray:
    random, nothing = np.random.default_rng(2), np.zeros((4, 8, 8, 3), "float32")
    for _ in range(40):
        real = np.ones((4, 8, 8, 1)) * random.normal((0.9, 0.6, 0.1), 0.1, (4, 1, 1, 3))
        figures = trained.train_on_batch(nothing, real.astype("float32"), return_dict=True)
    assert set(figures) == {"loss", "distance", "discriminator", "told_apart"}
    return np.asarray(trained.generator.get_layer("colour").bias)


@pytest.mark.parametrize("game", ["log", "non-saturating", "hinge"])
def test_the_adversary_alone_leads_the_generator_to_the_real_colour(game):
    red, green, blue = colour_after(pair(game, faster=0.1))
    assert red > 0.5 and red > green + 0.1 and red > blue + 0.2


def test_the_papers_game_stands_still_where_the_discriminator_wins_and_the_other_does_not():
    log, other = (colour_after(pair(game, faster=2.0))[0] for game in ("log", "non-saturating"))
    assert log < 0.5 * other


def test_what_it_cannot_play():
    with pytest.raises(FakeclfError, match="log, non-saturating, hinge"):
        pair("chess", 1.0)


def test_texture_is_local_variance_where_it_counts():
    random = np.random.default_rng(3)
    picture = random.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    half = picture // 2
    assert texture_ratio(picture, picture) == 1
    assert texture_ratio(picture, half) == pytest.approx(0.25, abs=0.01)
    assert texture_ratio(picture, np.full_like(picture, 9)) == 0
    left = np.zeros((30, 40), bool)
    left[:, :20] = True
    mixed = np.where(left[..., None], half, picture)
    assert texture_ratio(picture, mixed, left) == pytest.approx(0.25, abs=0.01)
    assert texture_ratio(picture, mixed, ~left) == 1
    grey = picture.astype(float).mean(-1)
    windows = [grey[row : row + 7, column : column + 7] for row in range(24) for column in range(34)]
    noisy = np.clip(grey + random.normal(0, 40, grey.shape), 0, 255)
    others = [noisy[row : row + 7, column : column + 7] for row in range(24) for column in range(34)]
    expected = np.mean([window.var() for window in others]) / np.mean([window.var() for window in windows])
    assert texture_ratio(picture, np.repeat(noisy[..., None], 3, -1)) == pytest.approx(expected, rel=1e-4)


def test_no_texture_where_nothing_can_be_measured():
    picture = np.random.default_rng(4).integers(0, 255, (20, 20, 3))
    assert np.isnan(texture_ratio(picture, picture, np.zeros((20, 20), bool)))
    assert np.isnan(texture_ratio(picture[:5], picture[:5]))
    assert np.isnan(texture_ratio(np.zeros((9, 9, 3)), np.ones((9, 9, 3))))
    assert np.isnan(median([])) and np.isnan(median([float("nan")])) and median([1.0, float("nan"), 3.0]) == 2
