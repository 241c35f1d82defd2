"""Many pictures in one run: every one with its line, done once, whatever happens."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakeclf import detection_run, images
from fakeclf.detection import Settings
from fakeclf.detection_run import COLUMNS, DetectionRun
from fakeclf.errors import FakeclfError
from fakeclf.verdict import Verdict
from fakeclf.voters import Voter
from tests.fakeclf.voting import bright, brightness, classifier, localizer

QUICK = Settings(stability=False)


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, level: int = 40, size: tuple[int, int] = (30, 40), **options: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size, 3), level, np.uint8)
    pixels[5:15, 10:20] = 250
    images.save(path, pixels, **options)
    return path


def run(*inputs: str | Path, voters: list[Voter] | None = None, **options: Any) -> tuple[DetectionRun, list[Verdict]]:
    options = {"settings": QUICK, **options}
    with DetectionRun(inputs, models=voters or [localizer(bright)], **options) as started:
        found = list(started)
    assert len(found) == started.total
    return started, found


def lines(out: str = "detected") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "verdicts.jsonl").read_text().splitlines()]


def test_every_picture_has_its_line_and_its_files() -> None:
    put("photos/deep/a.png")
    _, (found,) = run("photos")
    stem = "detected/photos/deep/a.png"
    assert [found.mask_path, found.binary_path, found.overlay_path] == [
        f"{stem}.{name}.png" for name in ("mask", "binary", "overlay")
    ]
    assert found.mask is None and found.pixels is None and found.verdict == "fake"
    (line,) = lines()
    assert line.pop("run") and line == found.to_json()


def test_a_mixed_folder_goes_through_in_one_run() -> None:
    for number in range(20):
        put(f"mix/good{number}.png", level=10 * number)
    (
        put("mix/one.webp"),
        put("mix/two.jpg", quality=60),
        put("mix/tiny.png", size=(1, 1)),
        put("mix/thin.png", size=(2, 90)),
    )
    put("mix/turned.png")
    Image.new("CMYK", (40, 30), (0, 90, 90, 0)).save("mix/cmyk.jpg")
    frames = [Image.new("P", (20, 20), colour) for colour in (1, 2, 3)]
    frames[0].save("mix/moving.gif", save_all=True, append_images=frames[1:])
    Image.new("I;16", (20, 20), 30000).save("mix/deep.png")
    Image.new("RGBA", (20, 20), (9, 9, 9, 0)).save("mix/clear.png")
    Path("mix/empty.jpg").write_bytes(b"")
    Path("mix/text.png").write_text("no picture")
    Path("mix/cut.png").write_bytes(Path("mix/good0.png").read_bytes()[:80])
    Image.fromarray(np.zeros((4, 4), np.float32)).save("mix/float.tif")
    started, found = run("mix", voters=[classifier(brightness), localizer(bright)], settings=Settings())
    failed = {Path(each.path).name for each in found if each.error}
    assert failed == {"empty.jpg", "text.png", "cut.png", "float.tif"} and started.failed == 4
    for each in found:
        assert (each.verdict is None) == (each.error is not None)
        assert each.error is None or each.path in each.error and "\n" not in each.error
    assert [line["path"] for line in lines()] == [each.path for each in found]


def test_a_second_run_does_only_what_is_missing() -> None:
    asked = []

    def counted(pixels: np.ndarray) -> float:
        asked.append(brightness(pixels))
        return asked[-1]

    put("p/a.png", 10), put("p/b.png", 20)
    Path("p/bad.png").write_text("no picture")
    voters = [classifier(counted)]
    _, first = run("p", voters=voters)
    put("p/c.png", 30)
    put("p/bad.png", 40)
    put("p/b.png", 50)  # another picture of that name
    again, second = run("p", voters=voters)
    assert again.reused == 1 and len(asked) == 2 + 3
    assert second[0] == first[0] and [each.error for each in second] == [None] * 4
    _, third = run("p", voters=voters, settings=Settings())  # other settings ask anew
    assert len(asked) > 5 and third[0].stable == "stable"
    other, _ = run("p", voters=[classifier(brightness, "another")])
    assert other.reused == 0


def test_a_lost_mask_is_made_again() -> None:
    put("a.png")
    _, (first,) = run("a.png")
    Path(first.mask_path).unlink()
    again, (second,) = run("a.png")
    assert again.reused == 0 and Path(second.mask_path).is_file()


def test_stopped_in_the_middle_whole_lines_stay_and_the_rest_is_done_later() -> None:
    for number in range(5):
        put(f"p/{number}.png", 20 * number)

    def stopping(pixels: np.ndarray) -> float:
        if len(lines()) == 3:
            raise KeyboardInterrupt
        return brightness(pixels)

    with pytest.raises(KeyboardInterrupt):
        run("p", voters=[classifier(stopping)])
    assert [Path(line["path"]).name for line in lines()] == ["0.png", "1.png", "2.png"]
    again, found = run("p", voters=[classifier(brightness)])
    assert again.reused == 3 and len(found) == 5 and len(lines()) == 5


def test_pictures_go_side_by_side_and_come_in_order() -> None:
    for number in range(8):
        put(f"p/{number}.png", 20 * number)
    both = threading.Barrier(2, timeout=20)

    def together(pixels: np.ndarray) -> float:
        both.wait()  # breaks unless two are looked at at the same time
        time.sleep(0.05 * (pixels.mean() < 60))  # the first ones take longer
        return brightness(pixels)

    _, side_by_side = run("p", voters=[classifier(together)], workers=2)
    _, one_by_one = run("p", voters=[classifier(brightness)], out="other", workers=1)
    assert [each.path for each in side_by_side] == [f"p/{number}.png" for number in range(8)]
    assert [(each.p_fake, each.verdict) for each in side_by_side] == [(e.p_fake, e.verdict) for e in one_by_one]
    assert [line["path"] for line in lines()] == [each.path for each in side_by_side]


def test_large_pictures_go_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        put(f"p/{number}.png", size=(60, 60) if number in (3, 4, 8) else (30, 40))
    monkeypatch.setattr(detection_run, "LARGE", 2000)
    now: list[int] = []
    seen: list[tuple[int, int]] = []

    def counting(pixels: np.ndarray) -> float:
        now.append(1)
        time.sleep(0.03)
        seen.append((len(now), pixels.shape[0]))
        now.pop()
        return 0.0

    _, found = run("p", voters=[classifier(counting)], workers=2)
    assert {at_once for at_once, side in seen if side == 60} == {1} and (2, 30) in seen
    assert [each.path for each in found] == [f"p/{number}.png" for number in range(9)]


def test_a_run_that_is_left_early_leaves_nothing_running() -> None:
    for number in range(30):
        put(f"p/{number:02d}.png", 8 * number)
    before = threading.active_count()
    with DetectionRun(["p"], models=[classifier(brightness)], settings=QUICK, workers=3) as started:
        verdicts = iter(started)
        first = [next(verdicts) for _ in range(4)]
        verdicts.close()
        assert threading.active_count() == before
    assert [line["path"] for line in lines()] == [each.path for each in first]
    again, found = run("p", voters=[classifier(brightness)], workers=3)
    assert again.reused == 4 and len(found) == 30 == len(lines())


def test_a_defect_in_a_worker_is_not_swallowed() -> None:
    put("p/a.png"), put("p/b.png")

    def broken(pixels: np.ndarray) -> float:
        raise AssertionError("a defect of ours")

    with pytest.raises(AssertionError, match="a defect of ours"):
        run("p", voters=[classifier(broken)], workers=2)


def test_a_picture_that_vanishes_while_running_fails_alone() -> None:
    put("p/a.png"), put("p/b.png"), put("p/c.png")
    with DetectionRun(["p"], models=[localizer(bright)], settings=QUICK) as started:
        verdicts: Iterator[Verdict] = iter(started)
        first = next(verdicts)
        Path("p/b.png").unlink()
        rest = list(verdicts)
    assert first.error is None and "p/b.png: there is no such file" in rest[0].error and rest[1].error is None


def test_output_inside_the_input_is_not_looked_at() -> None:
    put("p/a.png")
    for _ in range(2):
        _, found = run("p", out="p/out")
        assert [each.path for each in found] == ["p/a.png"]
        _, found = run("p", out="p")
        assert [each.path for each in found] == ["p/a.png"]


def test_a_picture_whose_output_cannot_be_written_fails_alone() -> None:
    put("p/a.png"), put("p/b.png")
    Path("detected/p/a.png.mask.png").mkdir(parents=True)
    _, (first, second) = run("p")
    assert "cannot write" in first.error and first.mask_path is None and second.error is None


def test_two_runs_do_not_share_a_folder() -> None:
    put("a.png")
    with DetectionRun(["a.png"], models=[localizer(bright)]), pytest.raises(FakeclfError, match="another process"):
        DetectionRun(["a.png"], models=[localizer(bright)])
    Path("file").write_text("")
    with pytest.raises(FakeclfError, match="cannot write to file/out"):
        DetectionRun(["a.png"], models=[localizer(bright)], out="file/out")


def test_the_table_has_a_row_each_and_no_formulas() -> None:
    put("p/=1+1.png"), put("p/b.png")
    Path("bad.png").write_text("")
    with DetectionRun(["p", "=none.png", "bad.png"], models=[localizer(bright)], settings=QUICK) as started:
        found = list(started)
        started.write_csv("table.csv")
        assert list(started.verdicts()) == found
    with open("table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 4
    assert rows[0]["verdict"] == "fake" and float(rows[0]["p_fake"]) == pytest.approx(found[0].p_fake)
    assert (rows[0]["width"], rows[0]["height"]) == ("40", "30") and "marked as repainted" in rows[0]["why"]
    assert rows[2]["path"] == "'=none.png" and rows[2]["error"] and rows[3]["verdict"] == ""


def test_the_report_has_every_picture() -> None:
    put("p/a.png"), put("p/b.png")
    with DetectionRun(["p", "absent.png"], models=[localizer(bright)], settings=QUICK) as started:
        list(started)
        started.write_report("report.html", title="Two pictures")
    text = Path("report.html").read_text()
    assert all(name in text for name in ("p/a.png", "p/b.png", "absent.png", "Two pictures", "data:image"))
