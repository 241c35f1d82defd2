"""Exports give what Keras gives, and one that does not is not kept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from keras import ops

from fakeclf import bundle, export, parity, registry, runtime
from fakeclf.bundle import Card
from fakeclf.cli.export import export as command
from fakeclf.errors import FakeclfError
from fakeclf.models.ensemble import assemble, build_head
from fakeclf.models.layers import picture_input

pytest.importorskip("ai_edge_litert")


def classifier(size: int = 16, view: str = "resize", front: str = "picture", spread: float = 1.0) -> keras.Model:
    pictures, x = picture_input(size, view, front)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(24, 3, activation="relu")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    real = keras.layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(0, spread))(x)
    return keras.Model(pictures, real, name="tiny")


@keras.saving.register_keras_serializable("tests")
class Erf(keras.layers.Layer):
    """An operation that LiteRT does not have."""

    def call(self, x):
        return tf.math.betainc(ops.ones_like(x), ops.ones_like(x), ops.sigmoid(x))


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    card = Card(name="tiny", kind="classifier", model="densenet121", module="fakeclf.models.densenet")
    return bundle.save(classifier(), card, tmp_path / "saved_models" / "tiny")


@pytest.mark.parametrize(("weights", "limit"), [("float32", 1e-4), ("float16", 5e-3), ("int8", 3e-2)])
def test_litert_with_all_kinds_of_weights(tmp_path: Path, weights: str, limit: float) -> None:
    made = export.to_litert(classifier(view="crop"), tmp_path / "tiny.tflite", weights=weights)
    assert made.difference < limit and made.input == {"size": 16, "view": "crop"}
    assert made.size == made.path.stat().st_size


def test_smaller_weights_make_smaller_files(tmp_path: Path) -> None:
    pictures, x = picture_input(16, "resize")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(256, 9)(x))
    x = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(256, activation="relu")(x))
    model = keras.Model(pictures, x, name="wide")
    full, half, quarter = (
        export.to_litert(model, tmp_path / f"{weights}.tflite", weights=weights).size for weights in parity.LIMITS
    )
    assert half < 0.55 * full and quarter < 0.3 * full


def test_the_spectrum_is_inside(tmp_path: Path) -> None:
    made = export.to_litert(classifier(72, "crop", "spectrum"), tmp_path / "s.tflite", weights="float32")
    assert made.difference < 1e-4


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(b"the one before")
    fit = runtime.fit
    monkeypatch.setattr(runtime, "fit", lambda pixels, size, view: fit(pixels[::-1, 1:], size, view) + 8)
    with pytest.raises(FakeclfError, match=r"differs from Keras by .* not kept"):
        export.to_litert(classifier(spread=9.0), path)
    assert path.read_bytes() == b"the one before" and list(tmp_path.iterdir()) == [path]


def test_what_litert_lacks_is_named(tmp_path: Path) -> None:
    pictures, x = picture_input(16, "resize")
    x = Erf()(keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(FakeclfError, match="LiteRT cannot express odd: it has no Betainc"):
        export.to_litert(keras.Model(pictures, x, name="odd"), tmp_path / "odd.tflite")
    assert not list(tmp_path.iterdir())


def test_a_network_without_a_fixed_size_or_mask_is_refused(tmp_path: Path) -> None:
    pictures = keras.Input((None, None, 3))
    model = keras.Model(pictures, keras.layers.Conv2D(3, 3)(pictures), name="filter")
    with pytest.raises(FakeclfError, match="no classifier"):
        export.to_litert(model, tmp_path / "x.tflite")
    nix = registry.model("nix-net").build(32, width=0.1)
    with pytest.raises(FakeclfError, match="two parts"):
        export.to_litert(nix, tmp_path / "x.tflite")


def test_a_saved_model_stands_alone(saved: Path, tmp_path: Path) -> None:
    made = export.export("tiny", "saved-model", tmp_path / "out")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 30, 21, 3)).astype(np.float32)
    code = "import sys, numpy as np, tensorflow as tf; x = np.load(sys.argv[2])\n"
    code += "model = tf.saved_model.load(sys.argv[1]); print(*model.serve(x).numpy().ravel(), 'fakeclf' in sys.modules)"
    np.save(tmp_path / "x.npy", pixels)
    arguments = [sys.executable, "-c", code, str(made.path), str(tmp_path / "x.npy")]
    *values, ours_there = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    assert ours_there == "False"
    expected = bundle.load("tiny")(pixels, training=False).numpy().ravel()
    np.testing.assert_allclose(np.array(values, float), expected, atol=1e-5)


def test_a_saved_model_holds_its_weights_once(tmp_path: Path) -> None:
    pictures, x = picture_input(16, "resize")
    x = keras.layers.Dense(4096, activation="relu")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid")(x), name="wide")
    made = export.to_saved_model(model, tmp_path / "wide")
    (values,) = made.path.glob("variables/*.data-*")
    assert 4 * model.count_params() <= values.stat().st_size < 6 * model.count_params()
    assert made.size == sum(file.stat().st_size for file in made.path.rglob("*") if file.is_file())


@pytest.mark.parametrize("view", ["resize", "crop"])
def test_onnx_takes_pictures_of_any_size(tmp_path: Path, view: str) -> None:
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = classifier(view=view)
    made = export.to_onnx(model, tmp_path / "tiny.onnx")
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    for sides in ((16, 16), (45, 20), (3, 5)):
        pixels = np.random.default_rng(0).integers(0, 256, (2, *sides, 3)).astype(np.float32)
        (found,) = session.run(["p_real"], {"pictures": pixels})
        np.testing.assert_allclose(found, model(pixels, training=False), atol=1e-5)


def test_onnx_of_an_ensemble(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    members = [classifier(16, "resize"), classifier(24, "crop")]
    assert export.to_onnx(assemble(members, build_head(2, inputs="logit")), tmp_path / "e.onnx").difference < 1e-4


def test_the_command_line_says_what_was_written(saved: Path) -> None:
    ran = CliRunner().invoke(
        command, [str(saved), "--format", "litert", "--weights", "int8", "--out", "tiny.tflite"], catch_exceptions=False
    )
    assert ran.exit_code == 0 and Path("tiny.tflite").is_file()
    assert (
        re.match(r"tiny\.tflite  \(0\.0 MB, int8 weights, at most \S+ from Keras", ran.output)
        and "16 x 16 px" in ran.output
    )
    with pytest.raises(FakeclfError, match="exists already"):
        export.export(saved, "litert", "tiny.tflite")
    assert export.export(saved, "litert", "tiny.tflite", force=True).path == Path("tiny.tflite")


def test_what_cannot_be_exported_is_told_before_work_begins(tmp_path: Path) -> None:
    card = Card(name="a", kind="ensemble", model="e", module="fakeclf.models.ensemble", members=[{"name": "one"}])
    saved = bundle.save(build_head(1), card, tmp_path / "a")
    with pytest.raises(FakeclfError, match="export one"):
        export.export(saved, "litert", tmp_path / "x")
    with pytest.raises(FakeclfError, match="did you mean 'onnx'"):
        export.export(saved, "onx", tmp_path / "x")
    with pytest.raises(FakeclfError, match="litert alone"):
        export.export(saved, "onnx", tmp_path / "x", weights="int8")
    with pytest.raises(FakeclfError, match="did you mean 'float16'"):
        export.to_litert(build_head(1), tmp_path / "x", weights="float61")
