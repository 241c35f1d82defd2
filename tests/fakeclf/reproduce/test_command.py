"""``fakeclf reproduce``: the list imports no Keras; a table at smoke scale from the command to the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakeclf.cli.main import main

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("tensorflow", "keras", "numpy", "PIL", "sklearn", "skimage", "matplotlib")


@pytest.mark.parametrize("scale", ["smoke", "small", "full"])
def test_the_list_imports_nothing_heavy(scale: str) -> None:
    code = (
        f"import fakeclf.cli.main as m, sys; m.main(['reproduce', '--list', '--scale', {scale!r}]);"
        f"sys.exit(', '.join(h for h in {HEAVY!r} if h in sys.modules) or 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0 and done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()[2:]]
    assert len(lines) == 20 and ["nix_table1", "Li"] in [line[:2] for line in lines]
    needed = {line[0]: " ".join(line) for line in lines}
    if scale == "full":
        assert "--data celeba-gl=FOLDER" in needed["nix_table1"] and "cifake, deepfakeart" in needed["classifier_test"]
    else:
        assert ("--photos FOLDER" in needed["nix_table1"]) == (scale == "small")


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        ([], 2, "name an experiment"),
        (["mpdl_table33"], 1, "did you mean 'mpdl_table3'?"),
        (["mpdl_table3", "--seeds", "a"], 2, "whole numbers joined by commas"),
        (["mpdl_table3", "--data", "dataset1"], 2, "NAME=FOLDER"),
        (["mpdl_table3", "--scale", "smal"], 2, "small"),
        (["mpdl_table3"], 1, "needs --photos FOLDER"),
        (["mpdl_table3", "--photos", "."], 1, "holds 0 photographs"),
        (["--claims"], 1, "reproduced holds no cells of scale small; run tables with"),
        (["--claims", "mpdl_table3"], 2, "leave mpdl_table3 out"),
    ],
)
def test_bad_input_is_answered(
    arguments: list[str],
    code: int,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *arguments]) == code
    assert hint in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_table_from_the_command_to_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["reproduce", "mpdl_table3", "--scale", "smoke", "--out", "made"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "2 of 2 cells to do, from 1 trainings" in printed.err
    assert "scale **smoke**" in printed.out and "its figures mean nothing" in printed.out
    assert "FCN, width 0.0625" in printed.out and "0.944" in printed.out
    home = tmp_path / "made" / "smoke"
    made = json.loads((home / "mpdl_table3" / "table.json").read_text())
    rows = [row for row in made["rows"] if row["state"] == "done"]
    assert [row["ours"]["test"] for row in rows] == ["our realfake", "our fakefake"]
    assert all(0 <= row["figures"]["IoU"]["ours"] <= 1 and row["pictures"] >= 2 for row in rows)
    assert (home / "mpdl_table3" / "sheet-1.png").is_file() and (home / "mpdl_table3" / "plot.png").is_file()
    assert len(list((home / "models").iterdir())) == 1
    # Again: nothing is done twice. And what another table shares with this one is there.
    before = {
        path: path.stat().st_mtime_ns for folder in ("cells", "models", "data") for path in (home / folder).rglob("*")
    }
    assert main(command) == 0
    assert "0 of 2 cells to do, from 0 trainings" in capsys.readouterr().err
    assert main(["reproduce", "mpdl_mask_handling", "--scale", "smoke", "--out", "made", "--only", "== 255"]) == 0
    assert "0 of 1 cells to do" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in before}
