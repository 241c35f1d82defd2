from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle, images
from fakeclf.cli.main import main
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.training import autoencoder_training, zoo, zoo_autoencoders
from fakeclf.training.job import Plan
from fakeclf.training.zoo_autoencoders import Autoencoders
from segmentation.forgeries.inpainters import open_source

TINY = {"latent_channels": 4, "kernel": 3, "width": 8, "depth": 1, "normalisation": "none", "activation": "relu"}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five coloured pictures; the draws are made tiny, and a "minute" is some ten steps."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[0:24, 0:32]
    for index in range(5):
        waves = [np.sin((rows * (1 + index) + columns * (1 + channel)) / 9) for channel in range(3)]
        part = "train" if index < 3 else "val"
        images.save(tmp_path / "photos" / part / f"{index}.png", (127 + 100 * np.stack(waves, -1)).astype(np.uint8))
    whole = Autoencoders.draw
    monkeypatch.setattr(Autoencoders, "draw", lambda self, number: whole(self, number) | TINY)
    monkeypatch.setattr(Autoencoders, "seconds_a_step", lambda *args: 6.0)
    monkeypatch.setattr(Autoencoders, "texture", (0.0, 100.0))
    monkeypatch.setattr(zoo_autoencoders, "CROP", 16)
    return tmp_path / "photos"


def quietly(photos: Path, **more) -> list[zoo.Member]:
    return zoo.train_zoo(photos, **({"count": 2, "minutes": 1, "least": 0, "say": lambda line: None} | more))


def untrained(figures: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts bundles with these figures, PSNR and texture, in the place of training."""
    pictures = keras.Input((None, None, 3))
    model, left = keras.Model(pictures, keras.layers.Rescaling(1.0)(pictures)), iter(figures)

    def train(recipe: Recipe, plan: Plan) -> None:
        psnr, texture = next(left)
        result = {"data": "photos", "split": "val", "psnr_db": psnr, "texture": texture}
        card = bundle.Card(plan.name, "autoencoder", recipe.model, "fakeclf.models.autoencoder", results=[result])
        bundle.save(model, card, plan.folder)

    monkeypatch.setattr(Autoencoders, "train", lambda self, recipe, plan: train(recipe, plan))


def test_members_are_bundles_that_the_forge_takes(photos: Path) -> None:
    (member,) = quietly(photos, count=1, seed=3)
    card = bundle.read_card("zoo-03")
    args = card.trained_on["recipe"]["model_args"]
    assert (card.kind, card.model, args["upsampler"], args["adversary"]) == (
        "autoencoder",
        "drawn-autoencoder",
        "shuffle",
        zoo_autoencoders.ADVERSARIAL["adversary"],
    )
    (result,) = card.results
    assert (result["split"], result["pictures"], result["psnr_db"]) == ("val", 2, member.decibels)
    assert card.trained_on["steps"] == 10
    source = open_source("zoo-03")
    picture = np.full((20, 20, 3), 90, np.uint8)
    assert source.whole_frame
    assert source.fill(picture, np.ones((20, 20), bool), np.random.default_rng(0)).shape == picture.shape


def test_every_draw_is_trained_with_its_loss(photos: Path) -> None:
    for number, expected in enumerate(["l1", "l2", "ssim", None]):
        recipe = Autoencoders().recipe(Autoencoders().draw(number), photos, steps=30)
        assert recipe.model_args.get("loss") == expected
        assert (recipe.model_args.get("adversary", 0) > 0) == (expected is None)
        assert recipe.model_args["steps"] == 30


def test_it_goes_on_where_it_was_stopped(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = autoencoder_training.run_steps

    def stopped(*args, **kwargs):
        whole(*args, **(kwargs | {"minutes": 0}))
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(autoencoder_training, "run_steps", stopped)
        with pytest.raises(KeyboardInterrupt):
            quietly(photos, count=1)
    assert not Path("saved_models/zoo-00").exists()
    assert json.loads(Path("runs/zoo-00/history.json").read_text())[-1]["step"] == 1
    # Another speed now must not change the number of steps of what was begun.
    monkeypatch.setattr(Autoencoders, "seconds_a_step", lambda *args: 3.0)
    quietly(photos, count=1)
    history = json.loads(Path("runs/zoo-00/history.json").read_text())
    assert [point["step"] for point in history] == [1, 10]
    monkeypatch.setattr(Autoencoders, "train", None)
    before = bundle.sha256(Path("saved_models/zoo-00/model.keras"))
    quietly(photos, count=1)
    assert bundle.sha256(Path("saved_models/zoo-00/model.keras")) == before


def test_what_fails_the_gate_is_marked_and_the_next_takes_its_place(photos: Path, monkeypatch) -> None:
    untrained([(21.9, 1.0), (25.0, 0.05), (float("nan"), 1.0), (25.0, 1.0)], monkeypatch)
    monkeypatch.setattr(Autoencoders, "texture", (0.3, 1.5))
    said: list[str] = []
    with pytest.raises(FakeclfError, match=r"only 1 of 4 members passed; zoo-00: PSNR, dB 21.90, below 22"):
        quietly(photos, count=2, least=22.0, say=said.append)
    assert [path.name for path in Path("saved_models").iterdir()] == ["zoo-03"]
    assert "zoo-01: not kept, texture 0.05 times that of the photographs, not 0.3 to 1.5" in said
    assert any("failed the zoo's gate" in limit for limit in bundle.read_card("runs/zoo-01/bundle").limits)
    # What is there is judged again, not trained again.
    monkeypatch.setattr(Autoencoders, "train", None)
    kept = [member.name for member in quietly(photos, count=2, least=20.0) if not member.problem]
    assert kept == ["zoo-00", "zoo-03"]
    assert len(bundle.read_card("zoo-00").limits) == len(bundle.read_card("zoo-03").limits) + 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "a/b"}, "one word"),
        ({"count": 1}, "no photographs to judge"),
        ({"of": "inpainter"}, "a zoo holds no 'inpainter'; did you mean 'inpainters'"),
    ],
)
def test_what_cannot_work_is_said_beforehand(photos: Path, options: dict, says: str) -> None:
    for path in (photos / "val").iterdir():
        path.unlink()
    with pytest.raises(FakeclfError, match=says):
        quietly(photos, **options)


def test_the_command_prints_a_table(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained([(25.0, 1.0)], monkeypatch)
    options = ["--count", "1", "--seed", "4", "--minutes", "0.5", "--name", "few", "--out", "models"]
    assert main(["zoo", str(photos), *options]) == 0
    printed = capsys.readouterr()
    assert "few-04" in printed.out and "nearest 3x3" in printed.out and "few-04: kept, 25.00 dB" in printed.err
    assert Path("models/few-04/card.json").is_file()
    assert main(["zoo", str(photos), "--minutes", "0"]) == 2
