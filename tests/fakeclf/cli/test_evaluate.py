"""``fakeclf evaluate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakeclf.cli.main import main


@pytest.fixture
def pictures(make_pictures: Callable[..., Path]) -> Path:
    return make_pictures("pictures", count=20, size=16)


def test_a_table_and_the_protocol(small_bundle: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "small", "--dataset", str(pictures)]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out and "threshold: fixed" in out


def test_json_with_a_limit_a_threshold_and_files(
    small_bundle: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--limit", "4", "--threshold", "0", "--split", "validation", "--out", "figures", "--json"]
    assert main(["evaluate", "small", "--dataset", str(pictures), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] <= 4 and found["threshold"] == 0 and found["recall"] == 1
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {"evaluation.json", "roc.png"}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["smal", "--dataset", "pictures"], "did you mean 'small'?"),
        (["small", "--dataset", "cifak"], "did you mean 'cifake'?"),
        (["small", "--dataset", "one-class"], "FAKE"),
        (["small", "--dataset", "pictures", "--out", "a-file/figures"], "cannot write"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    hint: str,
    small_bundle: Path,
    pictures: Path,
    make_pictures: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_pictures("one-class", classes=("REAL",))
    (tmp_path / "a-file").write_text("")
    assert main(["evaluate", *arguments]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and hint in err
