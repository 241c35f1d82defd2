"""``fakeclf models import``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fakeclf import bundle
from fakeclf.cli.main import main
from fakeclf.models import taesd


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An autoencoder's weights of TAESD's names and shapes; the test runs beside them."""
    monkeypatch.chdir(tmp_path)
    arrays = {}
    for part in ("encoder", "decoder"):
        for layer in taesd.build(variant="taesd").get_layer(part).layers:
            for variable in layer.weights:
                value = np.asarray(variable)
                kernel = value.ndim == 4
                name = f"{part}.{layer.name}.{'weight' if kernel else 'bias'}"
                arrays[name] = value.transpose(3, 2, 0, 1) if kernel else value
    np.savez(tmp_path / "taesd.npz", **arrays)
    return tmp_path / "taesd.npz"


def test_import_makes_a_bundle_that_the_other_commands_know(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", "taesd", "taesd.npz"]) == 0
    assert "saved_models/taesd" in capsys.readouterr().out
    assert main(["models", "show", "taesd", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["kind"] == "autoencoder" and card["trained_on"]["imported"] == "taesd.npz"
    assert card["trained_on"]["sha256"] == bundle.sha256(weights)
    assert main(["models", "verify", "taesd"]) == 0
    capsys.readouterr()
    before = (Path("saved_models") / "taesd" / "card.json").stat().st_mtime_ns
    assert main(["models", "import", "taesd", "taesd.npz"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (Path("saved_models") / "taesd" / "card.json").stat().st_mtime_ns == before
    assert main(["models", "import", "taesd", "taesd.npz", "--name", "mine", "--out", "elsewhere"]) == 0
    assert main(["models", "import", "taesd", "taesd.npz", "--name", "mine", "--out", "elsewhere", "--force"]) == 0
    assert bundle.read_card("elsewhere/mine").name == "mine"


def test_settings_reach_the_model(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", "nix-net", "taesd.npz", "--set", "width=0.03", "--set", "size=60M"]) == 1
    error = capsys.readouterr().err
    assert "of the arrays of nix-net with --set size=60M" in error
    assert "the file looks like weights of taesd or taesdxl" in error


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["taesdd", "taesd.npz"], "did you mean"),
        (["xception", "taesd.npz"], "no published weights of 'xception'"),
        (["taesd", "nothing.pth"], "there is no file nothing.pth"),
        (["taesd", "nothing.pth,taesd.npz"], "there is no file nothing.pth"),
        (["taesd", "taesd.npz", "--set", "size"], "--set takes key=value"),
        (["taesd", "taesd.npz", "--set", "size=[1"], "is not a YAML value"),
        (["taesd", "taesd.npz", "--set", "size=1"], "taesd takes no 'size'"),
        (["nix-net", "taesd.npz", "--set", "width=0.03", "--set", "sise=1"], "did you mean 'size'"),
        (["taesd", "taesd.npz", "--name", "a/b"], "one word"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    weights: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert main(["models", "import", *arguments]) == 1
    error = capsys.readouterr().err
    assert problem in error and error.count("\n") == 1
    assert not Path("saved_models").exists()


def test_help_needs_no_keras() -> None:
    code = "import sys; from fakeclf.cli.main import main; main(['models', 'import', '--help']); "
    code += "sys.exit('keras' in sys.modules)"
    path = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=path)
    assert done.returncode == 0 and "mantra-net" in done.stdout
