"""Whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakeclf.atomic import replace_file, replace_folder
from fakeclf.errors import FakeclfError


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replace_file(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replace_file(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_folders_are_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    with replace_folder(folder) as new:
        (new / "a").write_text("1")
    with pytest.raises(FakeclfError, match="exists already"), replace_folder(folder):
        pass
    with pytest.raises(RuntimeError), replace_folder(folder, force=True) as new:
        raise RuntimeError
    assert (folder / "a").read_text() == "1"
    with replace_folder(folder, force=True) as new:
        (new / "b").write_text("2")
    assert [path.name for path in folder.iterdir()] == ["b"] and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("place", ["file/x.txt", "/proc/nothing/x.txt"])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / place
    for write in (replace_file, replace_folder):
        with pytest.raises(FakeclfError, match="cannot write .*choose another folder"), write(path):
            pass


def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match="No space left"), replace_file(tmp_path / "x") as beside:
        beside.symlink_to("/dev/full")
        beside.write_bytes(b"x" * 100_000)
    assert not (tmp_path / "x").exists()
