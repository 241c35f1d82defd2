"""``fakeclf forge``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.cli.main import main


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index in range(4):
        images.save(tmp_path / "photos" / f"p{index}.png", random.integers(0, 256, (40, 48, 3), np.uint8))
    return tmp_path / "photos"


def test_pairs_and_a_table(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--source", "copy", "--source", "renoised", "--masks", "blobs", "--masks", "strokes"]
    more = ["--area", "0.1", "0.2", "--variants", "mask,realfake", "--per-photo", "2", "--workers", "1"]
    assert main(["forge", str(photos), "--out", "out", *options, *more]) == 0
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["copy", "8"], ["renoised", "8"]]
    assert all(0.1 <= float(line.split()[2]) <= 0.2 for line in out.splitlines()[2:4]) and "skipped" not in out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {pair["mask"] for pair in manifest["pairs"]} == {"blobs", "strokes"}
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 * 16


def test_skipped_photographs_are_named_and_counted(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images.save(photos / "small.png", np.zeros((16, 16, 3), np.uint8))
    assert main(["forge", str(photos), "--out", "out", "--source", "copy", "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "1 photographs skipped" in printed.out and "small.png: smaller than 32 pixels" in printed.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["photos", "--source", "teleo"], "did you mean 'telea'"),
        (["photos", "--source", "copy", "--masks", "stroke"], "did you mean 'strokes'"),
        (["photos", "--source", "copy", "--variants", "mask,real"], "there is no variant 'real'"),
        (["photos", "--source", "copy", "--area", "0.4", "0.1"], "area must be"),
        (["photos", "--source", "copy", "--format", "bmp"], "png, webp or jpeg:QUALITY"),
        (["nowhere", "--source", "copy"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], hint: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forge", *arguments, "--out", "out"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and hint in err and not Path("out").exists()


@pytest.mark.parametrize("arguments", [[], ["photos"], ["photos", "--out", "out"]])
def test_what_is_missing_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forge", *arguments]) == 2
    assert "Usage: fakeclf forge" in capsys.readouterr().err
