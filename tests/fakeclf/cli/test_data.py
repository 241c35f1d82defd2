"""``fakeclf data``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakeclf import registry
from fakeclf.cli.main import main


def test_list(data_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data_home / "cifake").mkdir(parents=True)
    assert main(["data", "list"]) == 0
    assert str(data_home) in capsys.readouterr().out
    assert main(["data", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["datasets"]
    assert [row["name"] for row in rows] == [spec.name for spec in registry.datasets()]
    assert [row["name"] for row in rows if row["there"]] == ["cifake"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["fetch", "cifak"], "did you mean 'cifake'?"),
        (["fetch", "deepfakeart"], "data import deepfakeart"),
        (["import", "cifak", "."], "did you mean 'cifake'?"),
        (["import", "cifake", "absent.zip"], "absent.zip"),
        (["import", "cifake", "pictures"], "CIFAKE"),
        (["audit", "cifak"], "did you mean 'cifake'?"),
        (["make", "regenerated", "absent"], "absent"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    arguments: list[str],
    hint: str,
    data_home: Path,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_pictures("pictures", count=2)
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == 1
    # Lines of progress may stand above it.
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ") and hint in last
    assert not data_home.exists() or not list(data_home.iterdir())


def test_import_takes_part_of_cifake_when_told_so(
    data_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for part in ("train", "test"):
        for label in ("FAKE", "REAL"):
            (tmp_path / "some" / part / label).mkdir(parents=True)
            for index in range(2):
                Image.new("RGB", (32, 32), (index, 0, 0)).save(tmp_path / "some" / part / label / f"{index}.jpg")
    assert main(["data", "import", "cifake", str(tmp_path / "some")]) == 1
    assert "--partial" in capsys.readouterr().err
    assert main(["data", "import", "cifake", str(tmp_path / "some"), "--partial"]) == 0
    assert str(data_home / "cifake") in capsys.readouterr().out
    assert len(list(data_home.rglob("*.jpg"))) == 8


def test_audit_of_a_folder(make_pictures: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    pictures = make_pictures("pictures", count=10)
    assert main(["data", "audit", str(pictures)]) == 0
    assert "FAKE" in capsys.readouterr().out
    assert main(["data", "audit", str(pictures), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
