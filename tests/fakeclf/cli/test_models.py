"""``fakeclf models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakeclf import bundle, registry
from fakeclf.cli.main import main


def test_list_shows_what_is_trained_and_what_can_be(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "  small " in out
    for spec in registry.models():
        assert spec.name in out


def test_list_shows_the_first_test_result(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle.add_result(small_bundle, {"data": "own", "split": "validation", "pictures": 7, "accuracy": 0.1, "auc": 0.1})
    bundle.add_result(small_bundle, {"data": "own", "split": "test", "pictures": 1234, "accuracy": 0.75, "auc": None})
    assert main(["models", "list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  small ")]
    assert "own test" in line and "1,234" in line and "0.7500" in line and line.endswith("  -")


def test_list_goes_on_past_a_card_that_cannot_be_read(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = small_bundle.parent / "broken"
    broken.mkdir()
    (broken / "card.json").write_text("{")
    assert main(["models", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    names = [card["name"] for card in json.loads(out)["trained"]]
    assert "small" in names and "broken" not in names
    assert "broken" in err and err.count("\n") == 1


def test_show(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "small"]) == 0
    text = capsys.readouterr().out
    assert "kind: classifier" in text and "- knows nothing" in text
    assert main(["models", "show", str(small_bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 4


def test_verify_finds_a_changed_file(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "small"]) == 0
    assert "small: whole" in capsys.readouterr().out
    with open(small_bundle / "model.keras", "ab") as file:
        file.write(b"x")
    assert main(["models", "verify", "small"]) == 1
    assert "model.keras has changed" in capsys.readouterr().out
    assert main(["models", "verify", "small", "--json"]) == 1
    (problems,) = json.loads(capsys.readouterr().out).values()
    assert len(problems) == 1
