"""The log of verdicts: whole lines, one writer, what is done is found again."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from fakeclf.errors import FakeclfError
from fakeclf.verdict import Verdict, Vote
from fakeclf.verdict_log import NAME, VerdictLog


def verdict(path: str = "a.png", sha256: str = "12", **others: object) -> Verdict:
    return Verdict(path, sha256=sha256, size=(4, 3), verdict="real", votes=[Vote("m", "classifier")], **others)


def test_what_is_written_is_read_and_found_again(tmp_path: Path) -> None:
    with VerdictLog(tmp_path / "out", "run") as log:
        places = [log.add(verdict(name)) for name in ("a.png", "b.png")]
        assert [log.read(place).path for place in reversed(places)] == ["b.png", "a.png"]
    with VerdictLog(tmp_path / "out", "run") as log:
        assert log.find("b.png", "12") == places[1] and log.read(places[1]) == verdict("b.png")
        assert log.find("b.png", "13") is None and log.find("c.png", "12") is None
    with VerdictLog(tmp_path / "out", "other settings") as log:
        assert log.find("a.png", "12") is None


def test_failures_and_lost_masks_are_done_again(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_text("")
    with VerdictLog(tmp_path, "run") as log:
        log.add(verdict("good.png", mask_path=str(mask)))
        log.add(verdict("bad.png"))
        log.add(verdict("bad.png", error="it broke later"))
    with VerdictLog(tmp_path, "run") as log:
        assert log.find("good.png", "12") is not None and log.find("bad.png", "12") is None
        mask.unlink()
        assert log.find("good.png", "12") is None


def test_a_line_that_was_cut_short_is_cut_off(tmp_path: Path) -> None:
    with VerdictLog(tmp_path, "run") as log:
        log.add(verdict("a.png"))
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + whole[:-20])
    with VerdictLog(tmp_path, "run") as log:
        assert log.find("a.png", "12") == 0
        log.add(verdict("b.png"))
    assert [json.loads(line)["path"] for line in (tmp_path / NAME).read_text().splitlines()] == ["a.png", "b.png"]


def _open(folder: Path, answer: multiprocessing.Queue) -> None:
    try:
        VerdictLog(folder, "run")
    except FakeclfError as error:
        answer.put(str(error))
    else:
        answer.put("opened")


def in_another_process(folder: Path) -> str:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    other = context.Process(target=_open, args=(folder, answer))
    other.start()
    said = answer.get(timeout=120)
    other.join()
    return said


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with VerdictLog(tmp_path, "run"):
        said = in_another_process(tmp_path)
    assert "another process is writing to" in said and "\n" not in said
    assert in_another_process(tmp_path) == "opened"


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FakeclfError, match="cannot write to .*file/out"):
        VerdictLog(tmp_path / "file" / "out", "run")
    (tmp_path / NAME).write_text("not json\n")
    with pytest.raises(FakeclfError, match="no verdict; choose another folder"):
        VerdictLog(tmp_path, "run")
