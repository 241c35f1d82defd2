"""What a first verdict costs, in counts that are the same on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from fakeclf import bundle, images, runtime, voters
from fakeclf.models.layers import picture_input
from segmentation.models import frame
from tests.fakeclf.voting import calibration

pytestmark = pytest.mark.usefixtures("litert")

# fakeclf detect, then what it took: modules, model calls, files that were opened, and whatever heavy was imported.
CODE = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, about: opened.append(os.path.relpath(os.fsdecode(about[0])))
    if event == "open" and isinstance(about[0], (str, bytes, os.PathLike)) else None)
from fakeclf import runtime
from fakeclf.cli.main import main
calls, once = [], runtime.Program.__call__
runtime.Program.__call__ = lambda self, values: (calls.append(1), once(self, values))[1]
code = main(["detect", *sys.argv[1:], "--json"])
heavy = {"tensorflow", "keras", "h5py", "scipy", "sklearn", "skimage", "matplotlib", "jinja2", "tensorboard", "torch"}
print(json.dumps([code, len(calls), len(sys.modules), sorted(heavy & set(sys.modules)), opened]))
"""


class Took(NamedTuple):
    """Of a detection in a process of its own; ``opened``: the files, by path from here, once for each time."""

    lines: list[dict[str, object]]
    calls: int
    modules: int
    heavy: list[str]
    opened: list[str]


def detect(*arguments: str | Path) -> Took:
    root = str(Path(voters.__file__).resolve().parents[1])
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    *lines, counts = map(json.loads, done.stdout.splitlines())
    code, *took = counts
    assert code == 0
    return Took(lines, *took)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A classifier and a localizer, untrained, both with a say."""
    monkeypatch.chdir(tmp_path)
    pictures, x = picture_input(16, "crop")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    network = keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid")(x))
    known = calibration().to_json()
    card = bundle.Card("whole", "classifier", "test", "fakeclf.models.layers", calibration=known)
    bundle.save(network, card, Path("saved_models") / "whole")
    pictures, x = frame.picture_input(4)
    card = bundle.Card("part", "localizer", "test", "segmentation.models.frame", calibration=known)
    bundle.save(
        frame.localizer(pictures, keras.layers.Conv2D(1, 3, padding="same")(x), "part"), card, "saved_models/part"
    )
    return "whole,part"


def test_a_verdict_imports_nothing_heavy_and_asks_each_model_once_a_look(models: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        images.save(tmp_path / "in" / f"{number}.png", pixels)
    quick = detect("in", "--models", models, "--quick", "--out", "quick")
    assert quick.heavy == [] and quick.calls == 2 * len(quick.lines) == 4
    assert quick.modules < 400
    whole = detect("in", "--models", models, "--out", "whole")
    assert whole.heavy == [] and len(whole.lines) == 2
    # Two models, on the picture and on what it survives.
    assert whole.calls == 2 * (2 + 2 * len(("jpeg:85", "resize:0.75")))
    views = detect("in/0.png", "--models", "part", "--quick", "--reliability", "--out", "views")
    assert views.heavy == [] and views.calls == 1 + 8


def test_files_are_opened_no_more_often_than_needed(models: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        images.save(tmp_path / "in" / f"{number}.png", pixels)
    alone = Counter(detect("in/0.png", "--models", models, "--out", "alone").opened)
    assert alone["in/0.png"] == 1  # for its hash, its pixels and its metadata
    several = Counter(detect("in", "--models", models, "--out", "several").opened)
    assert [several[f"in/{number}.png"] for number in range(3)] == [2, 2, 2]  # and once for its size
    # Networks: once for all cores, once for one core, and for their cards' sums; never once a picture.
    assert several["saved_models/whole/model.tflite"] <= 2 and several["saved_models/part/model.tflite"] <= 2
    written = [path for path in several.elements() if path.startswith("several/")]
    assert len(written) == 3 * 3 + 1  # mask, binary mask and overlay of each, and the log


@pytest.mark.parametrize("name", [*voters.DEFAULT, "cifake", "ensemble"])
def test_every_shipped_model_runs_without_keras(name: str) -> None:
    folder = bundle.SHIPPED / name
    assert runtime.can_run(folder), f"fakeclf models export {name} --format litert"
    card = bundle.read_card(folder)
    assert bundle.sha256(folder / runtime.FILE) == card.files[runtime.FILE]
    assert card.litert is not None and card.litert["difference"] <= 5e-3
    assert all(path.stat().st_size < 50e6 for path in folder.rglob("*") if path.is_file())
