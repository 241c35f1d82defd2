from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.errors import FakeclfError
from fakeclf.training.autoencoder_training import train_autoencoder

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


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(photos, tmp_path):
    whole = train_autoencoder(photos, tmp_path / "whole", steps=4, measure=(), **TINY)
    stopped = train_autoencoder(photos, tmp_path / "parts", steps=4, measure=(), minutes=0, **TINY)
    assert stopped.steps == 1
    resumed = train_autoencoder(photos, tmp_path / "parts", steps=4, measure=(), **TINY)
    assert resumed.steps == 4
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    with pytest.raises(FakeclfError, match="other settings"):
        train_autoencoder(photos, tmp_path / "parts", steps=5, measure=(), **TINY)


def test_photographs_that_are_all_too_small_are_an_error(tmp_path):
    for index in range(3):
        images.save(tmp_path / "photos" / f"{index}.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(FakeclfError, match="16x16"):
        train_autoencoder(tmp_path / "photos", tmp_path / "run", steps=1, **TINY)
