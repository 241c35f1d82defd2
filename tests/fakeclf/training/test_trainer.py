"""Training: it learns, repeats itself, survives a kill, and does the same on two devices and two workers."""

from __future__ import annotations

import csv
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import config, images
from fakeclf.data import folders
from fakeclf.errors import FakeclfError
from fakeclf.training import trainer
from fakeclf.training.feed import ClassifierFeed

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # noqa: E402


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[trainer.Result, Path]:
    run = tmp_path_factory.mktemp("whole")
    return tiny.train(pictures, run, []), run


def started(pictures: Path, run: Path, *settings: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, tiny.__file__, str(pictures), str(run), *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def result_of(process: subprocess.Popen[str]) -> dict:
    output, _ = process.communicate(timeout=300)
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    assert process.returncode == 0 and lines, output[-3000:]
    return json.loads(lines[0][len("RESULT ") :])


def test_it_learns_and_keeps_the_best_epoch(whole: tuple[trainer.Result, Path], pictures: Path) -> None:
    result, run = whole
    assert len(result.history["loss"]) == 4
    assert result.history["accuracy"][-1] > 0.8
    assert result.best_epoch == int(np.argmin(result.history["val_loss"]))
    kept = tiny.build()
    kept.load_weights(run / "kept.weights.h5")
    for ours, stored in zip(result.model.trainable_weights, kept.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, stored)
    rows = list(csv.DictReader((run / "history.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[2]["val_loss"]) == pytest.approx(result.history["val_loss"][2])
    assert list((run / "tensorboard").rglob("events*"))
    assert len(result.devices) == 1 and result.precision == "float32" and not result.unreadable


def test_batch_norms_of_the_finished_model_have_the_statistics_of_the_training_pictures(pictures: Path) -> None:
    model = tiny.build()
    (norm,) = (layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    dataset = folders.load(pictures, validation=0.25, seed=0, data_dir=pictures.parent / "home")
    recipe = config.with_settings(tiny.RECIPE, ["augmentation=null", "batch_size=48"])
    trainer.settle_norms(model, ClassifierFeed(recipe, dataset), recipe.epochs)
    assert norm.momentum == 0.8
    shown = np.stack([images.read(example.path) for example in dataset.train]).astype("float32")
    before = keras.Model(model.input, norm.input).predict(shown, verbose=0)
    np.testing.assert_allclose(norm.moving_mean, before.mean((0, 1, 2)), atol=5e-3)
    np.testing.assert_allclose(norm.moving_variance, before.var((0, 1, 2)), rtol=0.1)


def test_decoded_pictures_are_let_go_when_a_training_is_over(pictures: Path) -> None:
    dataset = folders.load(pictures, validation=0.25, seed=0, data_dir=pictures.parent / "home")
    feed = ClassifierFeed(tiny.RECIPE, dataset)
    assert len(list(feed.training(range(1), ["real"]).take(2))) == 2
    cache = weakref.ref(feed.learning.source)
    gc.collect()
    assert cache() is not None
    feed.close()
    gc.collect()
    assert cache() is None
    assert len(list(feed.training(range(1), ["real"]).take(2))) == 2  # from the files


def test_same_seed_same_weights(whole: tuple[trainer.Result, Path], pictures: Path, tmp_path: Path) -> None:
    assert tiny.weights_sum(tiny.train(pictures, tmp_path / "a", []).model) == tiny.weights_sum(whole[0].model)
    other = tiny.train(pictures, tmp_path / "b", ["seed=1", "epochs=1"])
    assert tiny.weights_sum(other.model) != tiny.weights_sum(whole[0].model)


def test_a_killed_run_resumes_as_if_nothing_had_been(
    whole: tuple[trainer.Result, Path], pictures: Path, tmp_path: Path
) -> None:
    process = started(pictures, tmp_path, "slow=60")
    deadline = time.monotonic() + 200
    while not (tmp_path / "resume.json").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / "resume.json").read_text())["epoch"] == 1
    resumed = tiny.train(pictures, tmp_path, [])
    np.testing.assert_allclose(resumed.history["loss"], whole[0].history["loss"], rtol=1e-5)
    np.testing.assert_allclose(tiny.weights_sum(resumed.model), tiny.weights_sum(whole[0].model), rtol=1e-4)


def test_a_finished_run_is_not_trained_again(pictures: Path, tmp_path: Path) -> None:
    first = tiny.train(pictures, tmp_path, ["epochs=1"])
    again = tiny.train(pictures, tmp_path, ["epochs=1"])
    assert again.history == first.history
    assert tiny.weights_sum(again.model) == tiny.weights_sum(first.model)
    fresh = tiny.train(pictures, tmp_path, ["epochs=1", "seed=5"], resume=False)
    assert tiny.weights_sum(fresh.model) != tiny.weights_sum(first.model)


def test_averaged_weights_are_validated_and_kept(pictures: Path, tmp_path: Path) -> None:
    plain = tiny.train(pictures, tmp_path / "plain", ["epochs=2", "keep=last"])
    mean = tiny.train(pictures, tmp_path / "ema", ["epochs=2", "keep=last", "optimizer.ema=0.9"])
    assert mean.history["loss"] == pytest.approx(plain.history["loss"])
    assert mean.history["val_loss"] != pytest.approx(plain.history["val_loss"], rel=1e-3)
    dataset = folders.load(pictures, validation=0.25, seed=0, data_dir=pictures.parent / "home")
    shown = np.stack([images.read(example.path) for example in dataset.validation]).astype("float32")
    labels = np.array([[example.label] for example in dataset.validation], "float32")
    kept = tiny.build()
    kept.load_weights(tmp_path / "ema" / "kept.weights.h5")
    loss = keras.losses.BinaryCrossentropy()(labels, kept.predict(shown, verbose=0))
    assert float(loss) == pytest.approx(mean.history["val_loss"][-1], rel=1e-3)


def test_the_reports_rules_stop_and_lower_the_rate(pictures: Path, tmp_path: Path) -> None:
    settings = ["epochs=6", "optimizer.learning_rate=1e-12", "stopping.patience=3", "stopping.reduce_patience=2"]
    settings += ["stopping.min_learning_rate=1e-14", "augmentation=null"]
    result = tiny.train(pictures, tmp_path, settings)
    assert len(result.history["loss"]) < 6
    assert result.history["learning_rate"][-1] == pytest.approx(1e-13)


def test_cosine_with_warm_up() -> None:
    recipe = config.with_settings(
        tiny.RECIPE, ["optimizer.schedule=cosine", "optimizer.warmup=0.25", "optimizer.name=sgd", "epochs=10"]
    )
    model = tiny.build()
    trainer.compile_model(model, recipe, steps=8, loss="binary_crossentropy")
    rate = model.optimizer._learning_rate
    assert float(rate(0)) == 0
    assert float(rate(20)) == pytest.approx(recipe.optimizer.learning_rate)
    assert float(rate(50)) == pytest.approx(recipe.optimizer.learning_rate / 2)
    assert float(rate(80)) == pytest.approx(0, abs=1e-8)


def test_bfloat16_trains_and_returns_float32(pictures: Path, tmp_path: Path) -> None:
    result = tiny.train(pictures, tmp_path, ["precision=bfloat16", "epochs=2"])
    assert result.precision == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in result.model.layers} == {"float32"}
    assert np.isfinite(result.history["loss"]).all()


def test_two_mirrored_devices_train(pictures: Path, tmp_path: Path) -> None:
    # In a process of its own: TensorFlow keeps the shapes of a process's first mirrored reductions for good.
    result = result_of(started(pictures, tmp_path, "strategy=mirrored"))
    assert len(result["devices"]) == 2
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()))
    assert float(rows[-1]["accuracy"]) > 0.8
    # The kept weights are those that were validated.
    kept = json.loads((tmp_path / "kept.json").read_text())["value"]
    assert min(float(row["val_loss"]) for row in rows) == pytest.approx(kept)


def test_two_workers_end_with_equal_weights(pictures: Path, tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    # One folder: the second worker writes nothing, and reads the chief's kept weights at the end.
    workers = [
        started(
            pictures,
            tmp_path,
            "strategy=multiworker",
            "epochs=2",
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]
    first, second = (result_of(worker) for worker in workers)
    assert first["weights"] == second["weights"]
    assert len(first["devices"]) == 2 or first["devices"] != second["devices"]


def test_a_cluster_has_to_be_described(monkeypatch: pytest.MonkeyPatch, pictures: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {}}')
    with pytest.raises(FakeclfError, match="TF_CONFIG"):
        tiny.train(pictures, tmp_path, [], strategy="multiworker")


@pytest.mark.parametrize(
    ("option", "message"), [({"strategy": "mirorred"}, "mirrored"), ({"memory_fraction": 2.0}, "0 and 1")]
)
def test_wrong_placements(option: dict, message: str, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match=message):
        tiny.train(pictures, tmp_path, [], **option)
