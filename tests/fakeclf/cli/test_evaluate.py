"""``fakeclf evaluate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakeclf import bundle
from fakeclf.cli.main import main
from fakeclf.data.degrade import ROBUSTNESS
from fakeclf.errors import FakeclfError


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


def test_robustness_is_a_row_for_each_of_the_list_and_kept_in_the_card(
    small_bundle: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["evaluate", "small", "--dataset", str(pictures), "--split", "validation", "--add-to-card"]
    assert main(common) == 0
    capsys.readouterr()
    assert main([*common, "--robustness", "--out", "figures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in lines[4 : lines.index("", 4)]]
    assert rows == ["untouched", *ROBUSTNESS] and "- threshold: fixed" in "\n".join(lines)
    assert lines[0].startswith("small on pictures (validation), ")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"robustness.csv", "robustness.json", "robustness.png", "table.md"}
    plain, degraded = bundle.read_card("small").results
    assert (plain["data"], degraded["data"]) == ("pictures", "pictures, degraded")
    assert [row["name"] for row in degraded["rows"]] == rows and degraded["split"] == "validation"
    assert main([*common, "--robustness", "--json", "--threshold", "0.25", "--limit", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["threshold"], printed["pictures"]) == (0.25, 2)
    assert bundle.read_card("small").results == [plain, printed]  # in place of the older one
    assert main(["models", "list"]) == 0 and main(["models", "show", "small"]) == 0
    assert "pictures, degraded" in capsys.readouterr().out


def test_robustness_of_localizers_is_measured_on_masks(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from segmentation import robustness

    card = bundle.read_card("small").to_json() | {"kind": "localizer"}
    (small_bundle / "card.json").write_text(json.dumps(card))
    asked = []

    def measure(*arguments: object, **options: object) -> object:
        asked.append((arguments, options))
        raise FakeclfError("that is all")

    monkeypatch.setattr(robustness, "robustness_bundle", measure)
    assert main(["evaluate", "small", "--dataset", "pairs", "--robustness", "--limit", "3"]) == 1
    assert "that is all" in capsys.readouterr().err
    expected = {"split": "test", "threshold": None, "limit": 3, "data_dir": None}
    assert asked == [(("small", "pairs"), expected)]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["smal", "--dataset", "pictures"], "did you mean 'small'?"),
        (["small", "--dataset", "cifak"], "did you mean 'cifake'?"),
        (["small", "--dataset", "one-class"], "FAKE"),
        (["small", "--dataset", "pictures", "--out", "a-file/figures"], "cannot write"),
        (["small", "--dataset", "pictures", "--robustness", "--codec", "jpeg:90"], "leave --codec out"),
        (["small", "--dataset", "pictures", "--codec", "jpeg:90"], "--codec is for localizers"),
        (["small", "--dataset", "pictures", "--without", "history"], "--without is for localizers"),
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
