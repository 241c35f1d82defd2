from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from fakeclf import bundle, images
from fakeclf.data.regenerated import photo_splits
from fakeclf.errors import FakeclfError
from fakeclf.models import small_autoencoder
from fakeclf.training.autoencoder_training import LOSSES, seconds_a_step, train_autoencoder
from fakeclf.training.stepwise import random_crops

TINY = {"seed": 3, "batch_size": 4, "crop": 16, "width": 32, "precision": "float32", "say": lambda line: None}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Six smooth coloured pictures, one too small to crop and one broken file."""
    folder = tmp_path_factory.mktemp("photos")
    rows, columns = np.mgrid[0:24, 0:32]
    for index in range(6):
        waves = [np.sin((rows * (1 + index) + columns * (1 + channel)) / 9) for channel in range(3)]
        images.save(folder / "train" / f"{index}.png", (127 + 100 * np.stack(waves, -1)).astype(np.uint8))
    images.save(folder / "val" / "held.png", np.full((20, 20, 3), 90, np.uint8))
    images.save(folder / "train" / "small.png", np.zeros((9, 40, 3), np.uint8))
    (folder / "train" / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_it_learns_and_leaves_a_model(photos, tmp_path):
    run = train_autoencoder(photos, tmp_path / "run", steps=80, learning_rate=0.003, measure=("train",), **TINY)
    assert run.psnr["train"] > 14  # 11 dB at the start
    assert run.steps == 80 and run.pictures["val"] == 1
    assert (tmp_path / "run" / "model.keras").is_file()


@pytest.mark.parametrize("adversary", [0.0, 1.0])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(photos, tmp_path, adversary):
    settings = {**TINY, "adversary": adversary, "steps": 4, "measure": ()}
    whole = train_autoencoder(photos, tmp_path / "whole", **settings)
    stopped = train_autoencoder(photos, tmp_path / "parts", **settings, minutes=0)
    assert stopped.steps == 1
    resumed = train_autoencoder(photos, tmp_path / "parts", **settings)
    assert resumed.steps == 4
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    with pytest.raises(FakeclfError, match="other settings"):
        train_autoencoder(photos, tmp_path / "parts", **{**settings, "steps": 5})


def test_the_gan_loss_is_the_papers(photos, tmp_path):
    """Over one step with a rate of nothing: 0.1 times the Euclidean distance, plus log(1 - D) of a fresh D, log 1/2."""
    still = {**TINY, "learning_rate": 0.0, "steps": 1, "measure": ()}
    run = train_autoencoder(photos, tmp_path / "run", adversary=1.0, **still)
    (point,) = run.history
    random = np.random.default_rng([TINY["seed"], 0])
    batch = random_crops(photo_splits(photos)["train"], random, TINY["batch_size"], TINY["crop"]).astype("float32")
    error = (np.asarray(run.model.predict_on_batch(batch)) - batch) / 255
    distance = np.mean(np.sqrt(np.sum(error**2, axis=(1, 2, 3))))
    assert point["distance"] == pytest.approx(0.1 * distance, rel=0.05)  # but for the clip of the finished model
    assert point["loss"] - point["distance"] == pytest.approx(np.log(0.5), abs=0.2)
    assert point["discriminator"] == pytest.approx(-2 * np.log(0.5), abs=0.3)


def test_it_goes_on_from_a_bundle_and_the_game_matters(photos, tmp_path):
    first = small_autoencoder.build(width=32)
    card = bundle.Card("first", "autoencoder", "small-autoencoder", "fakeclf.models.autoencoder")
    bundle.save(first, card, tmp_path / "bundle", float16=False)
    settings = {**TINY, "start": tmp_path / "bundle", "adversary": 1.0, "measure": ()}
    still = train_autoencoder(photos, tmp_path / "still", steps=1, learning_rate=0.0, **settings)
    for one, other in zip(first.get_weights(), still.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    moved = train_autoencoder(photos, tmp_path / "log", steps=1, learning_rate=0.01, game="non-saturating", **settings)
    assert still.history[0]["distance"] == pytest.approx(moved.history[0]["distance"], rel=1e-3)  # the same batch
    assert moved.history[0]["loss"] - still.history[0]["loss"] == pytest.approx(-2 * np.log(0.5), abs=0.3)
    assert np.abs(moved.model.get_weights()[0] - first.get_weights()[0]).max() > 1e-4
    with pytest.raises(FakeclfError, match="no small autoencoder of width 16"):
        train_autoencoder(photos, tmp_path / "other", steps=1, **{**settings, "width": 16})


@pytest.mark.parametrize("loss", ["l1", "l2", "ssim"])
def test_every_loss_teaches_a_drawn_autoencoder(photos, tmp_path, loss):
    settings = {**TINY, "model": "drawn-autoencoder", "loss": loss, "measure": ("train",), "measure_at_most": 2}
    run = train_autoencoder(photos, tmp_path / "run", steps=60, learning_rate=0.003, stride=4, **settings)
    assert run.psnr["train"] > 15 and run.measured == {"train": 2}
    assert run.model.name == "drawn_autoencoder"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"loss": "l3"}, "no loss 'l3'"),
        ({"stepz": 3}, "takes no 'stepz'"),
        ({"crop": 20}, "crops of a multiple of 8 px; got 20"),
    ],
)
def test_what_does_not_fit_is_named(photos, tmp_path, more, says):
    with pytest.raises(FakeclfError, match=says):
        train_autoencoder(photos, tmp_path / "run", steps=1, **{**TINY, **more})


def test_losses_are_what_they_say():
    truth, made = np.random.default_rng(0).uniform(0.2, 0.8, (2, 2, 30, 32, 3)).astype("float32")
    for name, loss in LOSSES.items():
        assert float(loss(truth, truth)) == pytest.approx(0, abs=1e-4), name
    error = made - truth
    down, right = np.diff(error, axis=1), np.diff(error, axis=2)
    l1, l2 = (sum(np.mean(way(part)) for part in (error, down, right)) for way in (np.abs, np.square))
    assert float(LOSSES["l1"](truth, made)) == pytest.approx(l1, rel=1e-4)
    assert float(LOSSES["l2"](truth, made)) == pytest.approx(10 * l2 - 9 * np.mean(error**2), rel=1e-4)
    likeness = np.mean(
        [
            structural_similarity(one, other, win_size=7, data_range=1.0, channel_axis=-1, use_sample_covariance=False)
            for one, other in zip(truth, made, strict=True)
        ]
    )
    expected = 0.84 * (1 - likeness) + 0.16 * np.mean(np.abs(error))
    assert float(LOSSES["ssim"](truth, made)) == pytest.approx(expected, rel=1e-3)


def test_the_pace_is_that_of_the_training(photos):
    assert (
        0 < seconds_a_step(photos, seed=3, batch_size=4, crop=16, precision="float32", model="small-autoencoder") < 60
    )


def test_photographs_that_are_all_too_small_are_an_error(tmp_path):
    for index in range(3):
        images.save(tmp_path / "photos" / f"{index}.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(FakeclfError, match="16x16"):
        train_autoencoder(tmp_path / "photos", tmp_path / "run", steps=1, **TINY)
