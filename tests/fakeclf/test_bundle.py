"""Bundles: saved whole, loaded the same, refused when changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.models.layers import picture_input


def tiny(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    pictures, x = picture_input(8, "resize")
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid")(x))


def card(name: str = "tiny") -> Card:
    return Card(name=name, kind="classifier", model="densenet121", module="fakeclf.models.densenet")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return bundle.save(tiny(), card(), tmp_path / "saved_models" / "tiny")


PICTURES = np.random.default_rng(0).uniform(0, 255, (3, 20, 13, 3)).astype("float32")


def test_loads_as_it_was_saved(saved: Path) -> None:
    expected = tiny().predict(PICTURES, verbose=0)
    for name in ("tiny", saved):
        # float16 on disk: three decimal digits of each weight.
        np.testing.assert_allclose(bundle.load(name).predict(PICTURES, verbose=0), expected, atol=1e-3)
    assert {weight.dtype for weight in bundle.load("tiny").weights} == {"float32"}
    read = bundle.read_card("tiny")
    assert read.parameters == tiny().count_params() and read.keras == keras.__version__
    assert bundle.verify("tiny") == []
    assert ("tiny", Path("saved_models/tiny")) in bundle.names()


def test_half_the_size_and_exact_in_float32(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(2000)])
    half = bundle.save(model, card(), tmp_path / "half")
    full = bundle.save(model, card(), tmp_path / "full", float16=False)
    assert (half / "model.keras").stat().st_size < 0.6 * (full / "model.keras").stat().st_size
    np.testing.assert_array_equal(bundle.load(full).get_weights()[0], model.get_weights()[0])
    np.testing.assert_array_equal(
        bundle.load(half).get_weights()[0], model.get_weights()[0].astype("float16").astype("float32")
    )


def test_nothing_is_overwritten_without_force(saved: Path) -> None:
    before = (saved / "model.keras").read_bytes()
    with pytest.raises(FakeclfError, match="exists already.*--force"):
        bundle.save(tiny(1), card(), saved)
    assert (saved / "model.keras").read_bytes() == before
    bundle.save(tiny(1), card(), saved, force=True)
    assert (saved / "model.keras").read_bytes() != before
    assert [path.name for path in saved.parent.iterdir()] == ["tiny"]


def test_a_changed_byte_is_noticed(saved: Path) -> None:
    content = bytearray((saved / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (saved / "model.keras").write_bytes(content)
    assert "has changed" in bundle.verify("tiny")[0]
    with pytest.raises(FakeclfError, match="model.keras has changed.*again"):
        bundle.load("tiny")
    (saved / "model.keras").unlink()
    with pytest.raises(FakeclfError, match="missing"):
        bundle.load("tiny")


def test_a_lambda_layer_is_refused(saved: Path, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2)])
    bundle.save(model, card("evil"), tmp_path / "saved_models" / "evil", float16=False)
    with pytest.raises(FakeclfError, match="Lambda"):
        bundle.load("evil")


def test_a_file_that_is_no_model(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FakeclfError, match="cannot be loaded"):
        bundle.load_keras(tmp_path / "x.keras")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": "os"}, "wants to import 'os'"),
        ({"module": "fakeclf.models.nothing"}, "not installed"),
        ({"schema": 99}, "schema"),
    ],
)
def test_cards_are_checked(saved: Path, change: dict, message: str) -> None:
    values = json.loads((saved / "card.json").read_text())
    (saved / "card.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(FakeclfError, match=message):
        bundle.load("tiny")


def test_a_card_that_is_no_json(saved: Path) -> None:
    (saved / "card.json").write_text("{")
    with pytest.raises(FakeclfError, match="cannot read"):
        bundle.read_card("tiny")


def test_unknown_names(saved: Path) -> None:
    with pytest.raises(FakeclfError, match="did you mean 'tiny'"):
        bundle.find("tinny")


def test_results_of_one_split_replace_older_ones(saved: Path) -> None:
    for accuracy in (0.5, 0.6):
        bundle.add_result("tiny", {"data": "cifake", "split": "test", "accuracy": accuracy})
    bundle.add_result("tiny", {"data": "cifake", "split": "validation", "accuracy": 0.7})
    assert [result["accuracy"] for result in bundle.read_card("tiny").results] == [0.6, 0.7]
    assert bundle.verify("tiny") == []


def test_a_plot_is_put_beside_the_others(saved: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "failures.png"
    for content in (b"first", b"second"):
        drawn.write_bytes(content)
        bundle.add_plot("tiny", drawn)
    assert (saved / "plots" / "failures.png").read_bytes() == b"second" and bundle.verify("tiny") == []
    (saved / "plots" / "failures.png").write_bytes(b"other")
    assert ["failures.png" in problem for problem in bundle.verify("tiny")] == [True]


def test_where_bundles_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKECLF_MODELS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    bundle.save(tiny(), card("there"), tmp_path / "two" / "there")
    assert bundle.find("there") == tmp_path / "two" / "there"
    bundle.save(tiny(), card("there"), tmp_path / "saved_models" / "there")
    assert bundle.find("there") == Path("saved_models/there")


def test_listing_imports_no_keras(saved: Path) -> None:
    code = "import sys; from fakeclf import bundle; bundle.read_card('tiny'); bundle.names(); "
    code += "assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=saved.parent.parent)
