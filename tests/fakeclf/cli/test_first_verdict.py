"""What a first verdict costs, in counts that are the same on every machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle, images, runtime, voters
from fakeclf.models.layers import picture_input
from segmentation.models import frame
from tests.fakeclf.voting import calibration

pytestmark = pytest.mark.usefixtures("litert")

# fakeclf detect, then what it took: modules, model calls, and whatever heavy was imported.
CODE = """
import json, sys
from fakeclf import runtime
from fakeclf.cli.main import main
calls, once = [], runtime.Program.__call__
runtime.Program.__call__ = lambda self, values: (calls.append(1), once(self, values))[1]
code = main(["detect", *sys.argv[1:], "--json"])
heavy = {"tensorflow", "keras", "h5py", "scipy", "sklearn", "skimage", "matplotlib", "jinja2", "tensorboard", "torch"}
print(json.dumps([code, len(calls), len(sys.modules), sorted(heavy & set(sys.modules))]))
"""


def detect(*arguments: str | Path) -> tuple[list[dict[str, object]], int, int, list[str]]:
    """Verdicts, calls of models, modules and heavy modules of a detection in a process of its own."""
    root = str(Path(voters.__file__).resolve().parents[1])
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    *lines, counts = map(json.loads, done.stdout.splitlines())
    code, calls, modules, heavy = counts
    assert code == 0
    return lines, calls, modules, heavy


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
    lines, calls, modules, heavy = detect("in", "--models", models, "--quick", "--out", "quick")
    assert heavy == [] and calls == 2 * len(lines) == 4
    assert modules < 400
    lines, calls, _, heavy = detect("in", "--models", models, "--out", "whole")
    assert heavy == [] and len(lines) == 2
    assert calls == 2 * (2 + 2 * len(("jpeg:85", "resize:0.75")))  # two models, on the picture and on what it survives
    lines, calls, _, heavy = detect("in/0.png", "--models", "part", "--quick", "--reliability", "--out", "views")
    assert heavy == [] and calls == 1 + 8


@pytest.mark.parametrize("name", [*voters.DEFAULT, "cifake", "ensemble"])
def test_every_shipped_model_runs_without_keras(name: str) -> None:
    folder = bundle.SHIPPED / name
    assert runtime.can_run(folder), f"fakeclf models export {name} --format litert"
    card = bundle.read_card(folder)
    assert bundle.sha256(folder / runtime.FILE) == card.files[runtime.FILE]
    assert card.litert is not None and card.litert["difference"] <= 5e-3
    assert all(path.stat().st_size < 50e6 for path in folder.rglob("*") if path.is_file())
