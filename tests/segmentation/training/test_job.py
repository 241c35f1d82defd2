"""From a recipe to a bundle that can be opened, measured and used."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pytest

from fakeclf import bundle, config, images
from fakeclf.cli.main import main
from fakeclf.errors import FakeclfError
from fakeclf.training import job
from segmentation.localize import open_localizer
from segmentation.training.feed import CropReader

SETTINGS = ["input_size=32", "batch_size=4", "epochs=2", "model_args.width=0.25", "precision=float32", "keep=last"]


def recipe(name: str, data: Path | str, *settings: str) -> config.Recipe:
    return config.with_settings(config.read_recipe(name), [*SETTINGS, f"dataset={data}", *settings])


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise pasted into smooth shading, in all three parts."""
    root = tmp_path_factory.mktemp("forged")
    for part, count in (("train", 12), ("val", 4), ("test", 4)):
        for number in range(count):
            random = np.random.default_rng([number, count])
            shading = np.linspace(60, 180, 64)[:, None, None] + random.normal(0, 1, (64, 64, 3))
            mask = np.zeros((64, 64), np.uint8)
            top, left = random.integers(4, 36, 2)
            mask[top : top + 24, left : left + 24] = 255
            noisy = np.where(mask[..., None] > 0, shading + random.normal(0, 25, shading.shape), shading)
            at = root / part / "noise"
            images.save(at / f"{number}.original.png", shading.clip(0, 255).astype(np.uint8))
            images.save(at / f"{number}.mask.png", mask)
            images.save(at / f"{number}.realfake.png", noisy.clip(0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def made(forged: Path, tmp_path_factory: pytest.TempPathFactory) -> job.Job:
    at = tmp_path_factory.mktemp("made")
    settings = ("epochs=6", "localizing.epoch_pictures=24", "optimizer.learning_rate=0.01")
    chosen = recipe("localizer", forged, "optimizer.ema=0.0", "localizing.degrade=0.0", *settings)
    return job.train_bundle(chosen, name="finder", runs=at / "runs", models=at / "models")


def test_a_localizer_learns_and_its_card_says_how(made: job.Job) -> None:
    card = bundle.read_card(made.bundle)
    assert (card.kind, card.model, card.module) == ("localizer", "trace-net", "segmentation.models.trace_net")
    assert card.trained_on["generators"] == ["noise"] and 0 < card.threshold < 1
    (result,) = card.results
    assert result["split"] == "validation" and any("best F1" in line for line in result["protocol"])
    assert card.calibration and (card.calibration["fakes"], card.calibration["reals"]) == (4, 4)
    assert any("highest 1 %" in line for line in card.calibration["protocol"])
    assert "noise" in made.table and (made.plots / "learning_curves.png").is_file()
    assert not bundle.verify(made.bundle)


def readers() -> list[CropReader]:
    gc.collect()
    return [found for found in gc.get_objects() if isinstance(found, CropReader)]


def test_no_picture_stays_in_memory_when_a_training_is_over(forged: Path, tmp_path: Path) -> None:
    before = readers()
    chosen = recipe("localizer", forged, "epochs=1", "localizing.epoch_pictures=4", "localizing.degrade=0.0")
    job.train_bundle(chosen, name="brief", runs=tmp_path / "runs", models=tmp_path / "models")
    # TensorFlow may hold on to the reader itself.
    assert not [reader for reader in readers() if reader not in before and reader._kept]


def test_what_learns_from_saved_pictures_is_validated_on_such(forged: Path, tmp_path: Path) -> None:
    chosen = recipe("localizer", forged, "epochs=1", "localizing.epoch_pictures=4", "localizing.degrade_as=saved again")
    card = job.train_bundle(chosen, name="saved", runs=tmp_path / "runs", models=tmp_path / "models").card
    assert card.for_saved_again
    assert card.results[0]["data"] == f"{forged} after jpeg:90"
    assert card.calibration is not None and card.calibration["data"] == f"{forged} after jpeg:90"


def test_the_bundle_finds_what_it_was_trained_on(made: job.Job, forged: Path) -> None:
    locate = open_localizer(made.bundle)
    assert locate.tile == 1024 and locate.overlap == 128
    found = locate(images.read(forged / "test" / "noise" / "0.realfake.png")).mask
    truth = images.read(forged / "test" / "noise" / "0.mask.png")[..., 0] > 0
    assert found[truth].mean() > found[~truth].mean() + 0.2


def test_evaluate_and_detect_take_it(
    made: job.Job, forged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = ["evaluate", str(made.bundle), "--dataset", str(forged), "--json"]
    assert main([*measure, "--codec", "jpeg:90"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert "jpeg:90" in measured["data"]
    shown = forged / "test" / "noise" / "1.realfake.png"
    assert main(["detect", str(shown), "--models", str(made.bundle), "--out", str(tmp_path), "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert images.read(line["mask_path"]).shape == (64, 64, 3) and line["error"] is None


def test_a_run_goes_on_only_with_its_own_settings(made: job.Job, forged: Path) -> None:
    with pytest.raises(FakeclfError, match="begun with another"):
        runs = made.bundle.parent.parent / "runs"
        job.train_bundle(recipe("localizer", forged), name="finder", runs=runs, models=made.bundle.parent, force=True)


def test_another_training_can_start_from_it(made: job.Job, forged: Path, tmp_path: Path) -> None:
    frozen = ("optimizer.learning_rate=0.0", "optimizer.weight_decay=0.0", "optimizer.ema=0.0", "epochs=1")
    chosen = recipe("localizer", forged, f"start_from={made.bundle}", "localizing.epoch_pictures=8", *frozen)
    again = job.train_bundle(chosen, name="again", runs=tmp_path / "runs", models=tmp_path / "models")
    one, other = bundle.load(made.bundle), bundle.load(again.bundle)
    np.testing.assert_array_equal(one.get_layer("bayar").kernel, other.get_layer("bayar").kernel)
    with pytest.raises(FakeclfError, match="another shape"):
        chosen = recipe("localizer", forged, f"start_from={made.bundle}", "model_args.width=0.5")
        job.train_bundle(chosen, name="wide", runs=tmp_path / "runs", models=tmp_path / "models")


def test_a_classifier_takes_no_codec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "cifake", "--dataset", "sample", "--codec", "jpeg:90"]) == 1
    assert "--codec is for localizers" in capsys.readouterr().err


def test_an_inpainter_becomes_a_bundle(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 2)):
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3)).astype(np.uint8)
            images.save(tmp_path / "photos" / part / f"{number}.png", pixels)
    chosen = recipe("inpainter", tmp_path / "photos", "model_args={width: 0.25, steps: 2}")
    made = job.train_bundle(chosen, name="filler", runs=tmp_path / "runs", models=tmp_path / "models")
    card = bundle.read_card(made.bundle)
    assert card.kind == "inpainter" and card.trained_on["steps"] == 2
    assert {"psnr", "blurred_psnr", "texture"} <= set(card.results[0])
    with pytest.raises(FakeclfError, match="no folder"):
        job.train_bundle(recipe("inpainter", "nowhere"), name="x", runs=tmp_path / "runs", models=tmp_path / "models")
