from __future__ import annotations

from itertools import product
from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import images
from fakeclf.errors import FakeclfError
from segmentation.models import inpainter
from segmentation.training import inpainter_training
from segmentation.training.inpainter_training import LOSSES, blurred_fill, fill_figures, seconds_a_step, train_inpainter

TINY = {"seed": 3, "batch_size": 4, "crop": 16, "width": 0.25, "precision": "float32", "say": lambda line: None}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Striped pictures, which a network can continue into a hole and a blur cannot."""
    folder = tmp_path_factory.mktemp("photos")
    columns = np.arange(32)
    for index in range(6):
        stripes = 128 + 100 * np.sign(np.sin((columns + index) * np.pi / 4))
        picture = np.tile(stripes[None, :, None], (32, 1, 3)).astype(np.uint8)
        images.save(folder / ("val" if index == 5 else "train") / f"{index}.png", picture)
    (folder / "train" / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_it_learns_and_leaves_a_model(photos, tmp_path):
    run = train_inpainter(photos, tmp_path / "run", steps=60, learning_rate=4e-3, adversary=0.01, **TINY)
    assert run.steps == 60 and run.pictures == {"train": 6, "val": 1}
    figures = run.figures["val"]
    before = fill_figures(inpainter.build(width=0.25), [photos / "val" / "5.png"])
    assert figures["l1"] < 0.8 * before["l1"] and figures["pictures"] == 1
    kept = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert fill_figures(kept, [photos / "val" / "5.png"])["l1"] == pytest.approx(figures["l1"], abs=1e-3)


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(photos, tmp_path):
    whole = train_inpainter(photos, tmp_path / "whole", steps=4, measure=(), **TINY)
    stopped = train_inpainter(photos, tmp_path / "parts", steps=4, measure=(), minutes=0, **TINY)
    assert stopped.steps == 1 and stopped.history[0]["step"] == 1
    resumed = train_inpainter(photos, tmp_path / "parts", steps=4, measure=(), **TINY)
    assert resumed.steps == 4
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    with pytest.raises(FakeclfError, match="other settings"):
        train_inpainter(photos, tmp_path / "parts", steps=4, adversary=0.7, measure=(), **TINY)


def test_with_jpeg_it_sees_whole_blocks_of_photographs_saved_at_that_quality(photos, tmp_path, monkeypatch):
    seen, crops = [], inpainter_training.random_crops

    def noted(*arguments, **how):
        seen.append(crops(*arguments, **how))
        return seen[-1]

    monkeypatch.setattr(inpainter_training, "random_crops", noted)
    train_inpainter(photos, tmp_path / "run", steps=2, jpeg=20, measure=(), **TINY)
    expected = set()
    for path in sorted(photos.glob("*/[0-9].png")):
        saved = images.read(images.encode_jpeg(images.read(path), 20))
        for top, left in product((0, 8, 16), repeat=2):
            part = saved[top : top + 16, left : left + 16]
            expected |= {part.tobytes(), part[:, ::-1].tobytes()}
    assert len(seen) >= 2 and all(crop.tobytes() in expected for batch in seen for crop in batch)


def test_wrong_wishes_are_found_before_the_training(photos, tmp_path):
    with pytest.raises(FakeclfError, match="no masks 'circles'"):
        train_inpainter(photos, tmp_path / "run", steps=1, masks="circles", **TINY)
    with pytest.raises(FakeclfError, match="100x100"):
        train_inpainter(photos, tmp_path / "run", steps=1, **{**TINY, "crop": 100})
    with pytest.raises(FakeclfError, match="multiple of 8 px; got 12"):
        train_inpainter(photos, tmp_path / "run", steps=1, stride=8, **{**TINY, "crop": 12})
    with pytest.raises(FakeclfError, match="no loss 'l3'; allowed: l1, l2"):
        train_inpainter(photos, tmp_path / "run", steps=1, loss="l3", **TINY)
    with pytest.raises(FakeclfError, match="jpeg"):
        train_inpainter(photos, tmp_path / "run", steps=1, jpeg=0, **TINY)
    with pytest.raises(FakeclfError, match="inpainter takes no 'widht'; did you mean"):
        train_inpainter(photos, tmp_path / "run", steps=1, **TINY, widht=1)


def test_squares_count_ten_times_and_every_error_alone():
    error = np.array([-0.5, 0.1], np.float32)
    np.testing.assert_allclose(LOSSES["l1"](error), [0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(LOSSES["l2"](error), [2.5, 0.1], rtol=1e-6)


def test_the_time_of_a_step_is_measured(photos):
    given = {name: value for name, value in TINY.items() if name != "say"}
    taken = seconds_a_step(photos, **given, adversary=0.1, game="hinge", loss="l2")
    assert 0 < taken < 60


def test_a_blurred_fill_is_a_mean_of_what_surrounds_it():
    random = np.random.default_rng(0)
    picture = random.integers(100, 140, (40, 40, 3)).astype(np.uint8)
    hole = np.zeros((40, 40, 1))
    hole[10:30, 10:30] = 1
    filled = blurred_fill(picture, hole)
    np.testing.assert_array_equal(filled[hole[..., 0] == 0], picture[hole[..., 0] == 0])
    inside = filled[hole[..., 0] == 1]
    assert abs(inside.mean() - 120) < 3 and inside.std() < 3
    hidden = np.where(hole == 1, 255, picture).astype(np.uint8)
    np.testing.assert_allclose(blurred_fill(hidden, hole), filled)
