"""Which recipe a command line asks for, and a training from the command line to the bundle."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fakeclf import bundle, config
from fakeclf.cli.main import main
from fakeclf.cli.train import choose_recipe
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError


def test_a_folder_takes_the_defaults() -> None:
    assert choose_recipe(dataset="somewhere/pictures") == dataclasses.replace(Recipe(), dataset="somewhere/pictures")


def test_a_data_set_takes_the_recipe_of_its_name() -> None:
    assert choose_recipe(dataset="cifake") == config.read_recipe("cifake")


def test_nothing_said_is_the_sample() -> None:
    assert choose_recipe().dataset == "sample"


def test_a_recipe_keeps_its_data_set_unless_another_is_named() -> None:
    assert choose_recipe(recipe="cifake").dataset == "cifake"
    assert choose_recipe(recipe="cifake", dataset="elsewhere").dataset == "elsewhere"


def test_another_model_takes_its_own_size_and_arguments() -> None:
    own = config.read_recipe("cifake")
    assert own.model_args or own.input_size, "the test needs a recipe that sets them"
    other = choose_recipe(dataset="cifake", model="mobilenetv2")
    assert (other.model, other.model_args, other.input_size, other.fine_tune_from) == ("mobilenetv2", {}, None, None)
    assert other.optimizer == own.optimizer
    assert choose_recipe(dataset="cifake", model=own.model) == own


def test_settings_come_last() -> None:
    chosen = choose_recipe(dataset="cifake", model="mobilenetv2", epochs=3, settings=["input_size=96", "epochs=2"])
    assert (chosen.input_size, chosen.epochs) == (96, 2)


def test_an_unknown_model_is_told_before_anything_heavy_is_loaded() -> None:
    with pytest.raises(FakeclfError, match="did you mean 'xception'"):
        choose_recipe(settings=["model=xceptin"])


def test_a_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: xception\noptimizer: {learning_rate: 1e-4}\n")
    chosen = choose_recipe(recipe=str(tmp_path / "mine.yaml"), dataset="pictures")
    assert (chosen.model, chosen.optimizer.learning_rate, chosen.dataset) == ("xception", 1e-4, "pictures")


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "../above"])
def test_a_name_is_one_word(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--name", name]) == 2
    assert "--name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--dataset", "cifak"], "did you mean 'cifake'?"),
        (["--dataset", "one-class"], "FAKE"),
        (["--dataset", "empty"], "FAKE"),
        (["--dataset", "a-file"], "is a file"),
        (["--dataset", "pictures", "--out", "a-file/models"], "cannot write"),
        (["--dataset", "pictures", "--runs", "a-file/runs"], "cannot write"),
        (["--dataset", "pictures", "--out", "/proc/models"], "cannot write"),
        (["--dataset", "cifake", "--model", "small-autoencoder"], "folder of photographs"),
        (["--dataset", "pictures", "--set", "input_size=8"], "at least 32 px"),
        (["--dataset", "pictures", "--set", "model_args.frobnicate=1"], "frobnicate"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    arguments: list[str],
    hint: str,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_pictures("pictures")
    make_pictures("one-class", classes=("REAL",))
    (tmp_path / "empty").mkdir()
    (tmp_path / "a-file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and hint in err
    assert not (tmp_path / "saved_models" / "pictures").exists()


# Few layers, so that building it takes no time.
TINY = ["--model", "vgg16", "--epochs", "1", "--set", "input_size=32", "--set", "batch_size=8"]


def test_from_the_command_line_to_a_bundle_that_is_measured(
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = str(make_pictures("pictures", count=20))
    assert main(["train", "--dataset", pictures, "--name", "tiny", *TINY]) == 0, capsys.readouterr().err
    assert "saved_models/tiny" in capsys.readouterr().out
    card = bundle.read_card("tiny")
    assert card.calibration and card.calibration["split"] == "validation"
    assert card.calibration["pictures"] == card.trained_on["pictures"]["validation"] == card.results[0]["pictures"]
    assert main(["train", "--dataset", pictures, "--name", "tiny", *TINY]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["evaluate", "tiny", "--dataset", pictures, "--add-to-card"]) == 0
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  tiny ")]
    assert "pictures test" in line


def test_tune_leaves_a_recipe_to_train(
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = str(make_pictures("pictures", count=10))
    space = ["--set", "search={optimizer.learning_rate: {loguniform: [0.001, 0.01]}}"]
    arguments = ["tune", "--dataset", pictures, "--name", "search", "--trials", "1", *TINY, *space]
    assert main(arguments) == 0, capsys.readouterr().err
    best = tmp_path / "runs" / "search" / "best.yaml"
    assert str(best.relative_to(tmp_path)) in capsys.readouterr().out
    assert 0.001 <= config.read_recipe(best).optimizer.learning_rate <= 0.01


def test_ensemble_of_two(
    small_bundle: Path, make_pictures: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(small_bundle, small_bundle.parent / "other")
    pictures = str(make_pictures("pictures", count=30))
    assert main(["ensemble", "small", "absent", "--dataset", pictures]) == 1
    assert "no saved model 'absent'" in capsys.readouterr().err
    assert main(["ensemble", "small", "other", "--dataset", pictures, "--epochs", "2"]) == 0, capsys.readouterr().err
    assert "saved_models/ensemble" in capsys.readouterr().out
    assert main(["models", "verify", "ensemble"]) == 0
