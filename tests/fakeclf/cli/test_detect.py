"""``fakeclf detect``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from fakeclf import bundle
from fakeclf.cli.detect import detect
from fakeclf.cli.main import main
from tests.fakeclf.voting import calibration


@pytest.fixture(autouse=True)
def small_localizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained localizer of four weights, as ``saved_models/small``; the test runs beside it."""
    import keras

    from segmentation.models.frame import localizer, picture_input

    monkeypatch.chdir(tmp_path)
    pictures, x = picture_input()
    network = localizer(pictures, keras.layers.Conv2D(1, 1)(x), "small")
    known = calibration().to_json()
    card = bundle.Card("small", "localizer", "test", "segmentation.models.frame", calibration=known)
    bundle.save(network, card, Path("saved_models") / "small")


def test_a_line_of_text_a_picture_and_files_beside(
    make_pictures: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures("pictures", count=2, size=16)
    options = ["--models", "small", "--csv", "table.csv", "--report", "report.html", "--why"]
    assert main(["detect", "pictures", *options]) == 0
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    assert "verdict" in header and len([line for line in lines if "pictures/" in line and "%" in line]) == 4
    assert "small gives P(FAKE)" in out and "4 of 4 pictures" in err and "pictures a second" in err
    assert len(list((tmp_path / "detected").rglob("*.png"))) == 12
    assert (
        len(list(csv.DictReader(io.StringIO(Path("table.csv").read_text())))) == 4
        and Path("report.html").stat().st_size > 1000
    )
    assert main(["detect", "pictures", "--models", "small", "--quick"]) == 0
    capsys.readouterr()
    assert main(["detect", "pictures", "--models", "small", "--quick"]) == 0
    assert "4 of 4 were there already" in capsys.readouterr().err


def test_json_goes_on_past_a_failure_and_ends_with_1(
    make_pictures: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures("pictures", count=1, size=16)
    (tmp_path / "pictures" / "FAKE" / "a.png").write_text("no picture")
    options = ["--models", "small", "--out", "found", "--threshold", "0", "--json"]
    assert main(["detect", "pictures/*/*.png", "absent.jpg", *options]) == 1
    out, err = capsys.readouterr()
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["error"] is None for record in records] == [True, False, True, False]
    assert records[0]["area"] == 1 and records[0]["pixel_threshold"] == 0
    assert Path(records[0]["overlay_path"]).is_file() and err.splitlines()[-1] == "2 of 4 failed"


def test_a_list_on_standard_input(
    make_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_pictures("pictures", count=1, size=16)
    names = [str(path) for path in sorted(folder.rglob("*.png"))]
    stdin = io.TextIOWrapper(io.BytesIO("\n\n".join(names).encode() + b"\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["detect", "-", "--models", "small", "--json", "--quick"]) == 0
    assert [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()] == names


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        ([], 2, "PATH"),
        (["x.png", "--threshold", "2"], 2, "0<=x<=1"),
        (["x.png", "--models", "smal"], 1, "did you mean 'small'?"),
        (["x.png", "--models", "small", "--out", "a-file/out"], 1, "cannot write to a-file/out"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], code: int, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").write_text("")
    assert main(["detect", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and hint in err.splitlines()[-1]


def test_help_says_what_is_written() -> None:
    text = detect.get_help(click.Context(detect))
    assert "cannot tell" in text and "--threshold" in text
