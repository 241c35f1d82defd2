from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fakeclf
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.training.space import Space, with_values
from fakeclf.training.tuning import RANDOM_TRIALS, format_table, training_objective, tune

SEARCH = {
    "optimizer.learning_rate": {"loguniform": ["1e-4", 1e-1]},
    "batch_size": {"quniform": [16, 64, 16]},
    "model_args.members": {"choice": [["a", "b"], ["a", "b", "c"], None]},
    "augmentation.zoom": {"uniform": [0, 0.5]},
}


def bowl(recipe: Recipe, folder: Path) -> float:
    """Smallest near a learning rate of 0.01 and no zoom."""
    return (np.log10(recipe.optimizer.learning_rate) + 2) ** 2 + recipe.augmentation.zoom


def quiet_tune(recipe: Recipe, objective, run: Path, **arguments):
    return tune(recipe, objective, run, say=lambda line: None, **arguments)


def without_times(trials: list[dict]) -> list[dict]:
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in trials]


def test_finds_the_bowls_floor_and_gives_plain_values(tmp_path):
    said: list[str] = []
    search = tune(Recipe(search=SEARCH), bowl, tmp_path, trials=25, seed=1, say=said.append)
    losses = [trial["loss"] for trial in search.trials]
    best = search.trials[int(np.argmin(losses))]
    assert search.best == best["params"] and min(losses) < 0.1
    assert min(losses[RANDOM_TRIALS:]) < min(losses[:RANDOM_TRIALS])
    assert search.recipe == with_values(Recipe(search=SEARCH), search.best)
    assert [trial["number"] for trial in search.trials] == list(range(1, 26))
    assert json.loads(json.dumps(search.trials)) == search.trials
    assert {type(trial["params"]["batch_size"]) for trial in search.trials} == {int}
    assert all(
        trial["params"]["model_args.members"] in SEARCH["model_args.members"]["choice"] for trial in search.trials
    )
    assert search.table.splitlines()[1].split()[0] == str(best["number"])
    assert (tmp_path / "trials.txt").read_text().strip() == search.table.strip()
    assert (tmp_path / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert len(said) == 25 and said[0].startswith("trial 1/25: loss")


def test_failing_trials_are_recorded_and_not_fatal(tmp_path):
    def objective(recipe: Recipe, folder: Path) -> float:
        if recipe.batch_size == 32:
            raise RuntimeError("out of\n  memory")
        return float("nan") if recipe.batch_size == 48 else 1.0

    search = quiet_tune(Recipe(search=SEARCH), objective, tmp_path, trials=15, seed=0)
    reasons = {trial["params"]["batch_size"]: trial["reason"] for trial in search.trials}
    assert reasons[32] == "RuntimeError: out of memory" and reasons[48] == "the loss is nan"
    assert {trial["status"] for trial in search.trials if trial["reason"]} == {"fail"}
    assert search.best["batch_size"] in (16, 64)
    assert "failed: RuntimeError: out of memory" in search.table
    again = quiet_tune(Recipe(search=SEARCH), objective, tmp_path, trials=15, seed=0)
    assert again.trials == search.trials


def test_all_trials_failing_is_an_error_with_the_reason(tmp_path):
    def objective(recipe: Recipe, folder: Path) -> float:
        raise ValueError("no such layer")

    with pytest.raises(FakeclfError, match="all 3 trials failed.*no such layer"):
        quiet_tune(Recipe(search=SEARCH), objective, tmp_path, trials=3)
    assert "no such layer" in (tmp_path / "trials.txt").read_text()


KILLED = """
import sys, time
from pathlib import Path
from fakeclf.config import Recipe
from fakeclf.training.tuning import tune
sys.path.insert(0, {tests!r})
from test_tuning import SEARCH, bowl

def slow(recipe, folder):
    (folder / "begun").touch()
    time.sleep(0.2)
    return bowl(recipe, folder)

tune(Recipe(search=SEARCH), slow, Path({run!r}), trials=40, seed=5)
"""


def test_a_killed_search_goes_on_with_the_points_of_one_that_ran_through(tmp_path):
    run, recipe = tmp_path / "killed", Recipe(search=SEARCH)
    script = KILLED.format(tests=str(Path(__file__).parent), run=str(run))
    root = str(Path(fakeclf.__file__).parent.parent)
    journal = run / "trials.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": root}
    )
    try:
        deadline = time.monotonic() + 300
        # Past the random trials, so that what is proposed next depends on what was read back.
        while not journal.is_file() or len(journal.read_text().splitlines()) < RANDOM_TRIALS + 4:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = journal.read_text().splitlines()[1:]
    assert RANDOM_TRIALS < len(done) < 40
    total = len(done) + 5
    resumed = quiet_tune(recipe, bowl, run, trials=total, seed=5)
    assert journal.read_text().splitlines()[1 : len(done) + 1] == done
    through = quiet_tune(recipe, bowl, tmp_path / "through", trials=total, seed=5)
    assert without_times(resumed.trials) == without_times(through.trials)


def test_an_interrupt_keeps_what_is_done(tmp_path):
    def objective(recipe: Recipe, folder: Path) -> float:
        if folder.name == "0004":
            raise KeyboardInterrupt
        return bowl(recipe, folder)

    with pytest.raises(KeyboardInterrupt):
        quiet_tune(Recipe(search=SEARCH), objective, tmp_path, trials=6)
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 1 + 3
    assert len((tmp_path / "trials.txt").read_text().splitlines()) == 1 + 3
    assert len(quiet_tune(Recipe(search=SEARCH), bowl, tmp_path, trials=6).trials) == 6


def test_another_search_in_the_folder_is_refused(tmp_path):
    recipe = Recipe(search=SEARCH)
    quiet_tune(recipe, bowl, tmp_path, trials=2, about={"data": "x"})
    assert len(quiet_tune(recipe, bowl, tmp_path, trials=1, about={"data": "x"}).trials) == 2
    with pytest.raises(FakeclfError, match="another data"):
        quiet_tune(recipe, bowl, tmp_path, trials=3, about={"data": "y"})
    with pytest.raises(FakeclfError, match="another epochs"):
        quiet_tune(with_values(recipe, {"epochs": 3}), bowl, tmp_path, trials=3, about={"data": "x"})
    with pytest.raises(FakeclfError, match="another search_seed"):
        quiet_tune(recipe, bowl, tmp_path, trials=3, seed=1, about={"data": "x"})
    journal = tmp_path / "trials.jsonl"
    journal.write_text(journal.read_text().replace('"number": 1', '"number": 7'))
    with pytest.raises(FakeclfError, match="lacks trials"):
        quiet_tune(recipe, bowl, tmp_path, trials=3, about={"data": "x"})
    journal.write_text("{not json")
    with pytest.raises(FakeclfError, match="no list of trials"):
        quiet_tune(recipe, bowl, tmp_path, trials=3, about={"data": "x"})


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({}, "no search space"),
        ({"optimizer.learning_rat": {"uniform": [0, 1]}}, "optimizer.learning_rat.*did you mean 'learning_rate'"),
        ({"optimiser.learning_rate": {"uniform": [0, 1]}}, "optimiser.learning_rate.*did you mean 'optimizer'"),
        ({"epochs.now": {"uniform": [0, 1]}}, "unknown key 'epochs.now'"),
        ({"batch_size": {"uniform": [1, 9]}}, "batch_size must be a whole number"),
        ({"precision": {"choice": ["float32", "float64"]}}, "precision must be"),
        ({"seed": {"choise": [1]}}, "seed has an unknown rule 'choise'; did you mean 'choice'"),
        ({"seed": {"choice": []}}, "seed: choice takes a list"),
        ({"seed": {"choice": 3}}, "seed: choice takes a list"),
        ({"seed": [1, 2]}, "seed takes one rule"),
        ({"seed": {"choice": [1], "uniform": [0, 1]}}, "seed takes one rule"),
        ({"optimizer.ema": {"uniform": [1, 0]}}, "optimizer.ema: uniform takes"),
        ({"optimizer.ema": {"uniform": [0, "x"]}}, "optimizer.ema: uniform takes"),
        ({"optimizer.ema": {"uniform": [0, True]}}, "optimizer.ema: uniform takes"),
        ({"optimizer.ema": {"uniform": [0, float("inf")]}}, "optimizer.ema: uniform takes"),
        ({"optimizer.ema": {"loguniform": [0, 1]}}, "optimizer.ema: loguniform takes"),
        ({"batch_size": {"quniform": [16, 64]}}, "batch_size: quniform takes"),
        ({"batch_size": {"quniform": [5, 64, 16]}}, "both multiples of the step"),
        ({"dataset": {"choice": ["a", "b"]}}, "dataset cannot vary"),
    ],
)
def test_wrong_spaces_name_the_key(tmp_path, search, message):
    with pytest.raises(FakeclfError, match=message):
        quiet_tune(Recipe(search=search), bowl, tmp_path, trials=1)
    assert not list(tmp_path.iterdir())


def test_no_trials_is_refused(tmp_path):
    with pytest.raises(FakeclfError, match="at least one trial"):
        quiet_tune(Recipe(search=SEARCH), bowl, tmp_path, trials=0)


@settings(max_examples=50, deadline=None)
@given(
    low=st.floats(1e-6, 1e3),
    factor=st.floats(1.001, 1e3),
    share=st.floats(0, 1),
    kind=st.sampled_from([float, np.float64, np.float32]),
)
def test_drawn_points_become_plain_numbers_in_their_bounds(low, factor, share, kind):
    high = low * factor
    space = Space(Recipe(search={"optimizer.learning_rate": {"loguniform": [low, high]}}))
    (value,) = space.settings({"optimizer.learning_rate": kind(low + share * (high - low))}).values()
    assert type(value) is float and low <= value <= high


def test_table_puts_failures_last():
    trials = [
        {"number": 1, "status": "fail", "loss": None, "params": {"k": [1, 2]}, "seconds": 1.0, "reason": "why"},
        {"number": 2, "status": "ok", "loss": 0.0, "params": {"k": 0.123456}, "seconds": 1.0, "reason": None},
        {"number": 3, "status": "ok", "loss": -1.0, "params": {"k": "x"}, "seconds": 1.0, "reason": None},
    ]
    lines = format_table(trials).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["3", "2", "1"]
    assert lines[2].endswith("0.1235") and lines[3].endswith("1+2") and lines[4] == "trial 1 failed: why"


def test_training_objective_gives_the_best_epochs_loss_and_leaves_no_weights(tmp_path, make_pictures):
    import keras

    from fakeclf.data import datasets
    from fakeclf.models.layers import picture_input

    def build(recipe: Recipe):
        def model() -> keras.Model:
            pictures, x = picture_input(16, "resize")
            x = keras.layers.Conv2D(4, 3, activation=recipe.model_args["activation"])(x)
            x = keras.layers.GlobalAveragePooling2D()(x)
            return keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid")(x))

        return model

    recipe = Recipe(
        input_size=16,
        epochs=2,
        batch_size=8,
        precision="float32",
        augmentation=None,
        search={"model_args.activation": {"choice": ["relu", "no such thing"]}},
    )
    data = datasets.load(make_pictures(count=20, size=16))
    search = quiet_tune(recipe, training_objective(data, strategy="none", build=build), tmp_path / "run", trials=4)
    assert search.best == {"model_args.activation": "relu"}
    assert {trial["params"]["model_args.activation"]: trial["status"] for trial in search.trials} == {
        "relu": "ok",
        "no such thing": "fail",
    }
    good = [trial["number"] for trial in search.trials if trial["status"] == "ok"]
    assert not list((tmp_path / "run").rglob("*.weights.h5"))
    history = (tmp_path / "run/trials" / f"{good[0]:04d}" / "history.csv").read_text().splitlines()
    losses = [float(line.split(",")[history[0].split(",").index("val_loss")]) for line in history[1:]]
    assert len(losses) == 2 and search.trials[good[0] - 1]["loss"] == pytest.approx(min(losses), rel=1e-5)
