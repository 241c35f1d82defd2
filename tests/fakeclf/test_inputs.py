"""Files, folders and globs as pictures, each once, and never the program's own output."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakeclf.inputs import Input, named

LOG = "log.jsonl"


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")


def found(*inputs: str | Path, out: str = "out") -> list[Input]:
    return list(named(inputs, Path(out), (".mask.png",), LOG))


def test_files_folders_and_globs_each_picture_once() -> None:
    put("photos/a.png", "photos/b.jpg", "photos/in/c.png", "other/d.png", "loose.webp", "[e].png", "photos/notes.txt")
    inputs = found("photos", "photos/a.png", Path("photos/b.jpg"), "oth*/*", "loose.webp", "[e].png", "**/c.png")
    assert [given.path for given in inputs] == [
        "photos/a.png",
        "photos/b.jpg",
        "photos/in/c.png",
        "other/d.png",
        "loose.webp",
        "[e].png",
    ]
    assert [str(given.place) for given in inputs] == [
        "photos/a.png",
        "photos/b.jpg",
        "photos/in/c.png",
        "d.png",
        "loose.webp",
        "[e].png",
    ]


def test_the_same_name_twice_keeps_both() -> None:
    put("x/a.png", "y/a.png", "y/a.jpg", "z/x/a.png")
    inputs = found("x/a.png", "y/a.png", "y/a.jpg", "x", "z/x")
    assert len(inputs) == 4 and len({given.place for given in inputs}) == 4


def test_what_holds_no_picture_is_told_in_its_place() -> None:
    put("a.png", "empty/notes.txt", "z.png")
    inputs = found("a.png", "empty", "no*.png", "absent.png", "z.png")
    assert [given.error is None for given in inputs] == [True, False, False, True, True]
    assert "empty: holds no pictures; known are .bmp" in str(inputs[1].error)


def test_output_is_not_fed_back() -> None:
    put(
        "a.png", "kept.mask.png", "out/a.png.mask.png", "out/deep/b.png.mask.png", "old/log.jsonl", "old/a.png.mask.png"
    )
    for inputs in (found("."), found("*.png", "**/*.png")):
        assert {Path(given.path).name for given in inputs} == {"a.png", "kept.mask.png"}  # the latter is the user's own
        assert len(inputs) == 2
    # Another run's output is known by its log, and the folder of the pictures may hold the output, too.
    put("out/log.jsonl")
    assert len(found(".", out="new")) == 2
    assert [given.path for given in found(".", out=".")] == ["a.png"]
