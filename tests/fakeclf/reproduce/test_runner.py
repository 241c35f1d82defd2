"""The runner: what is done stays done, after a kill too; what fails is marked, and the rest goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.errors import FakeclfError
from fakeclf.reproduce import runner
from fakeclf.reproduce.experiments import Source, read, read_scale
from fakeclf.reproduce.grid import Cell, expand
from fakeclf.reproduce.pictures import Pictures, remember
from fakeclf.reproduce.runner import Asked, Store, Work, needs, reproduce, run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def cells() -> list[Cell]:
    return expand(read("mpdl_table3"), read_scale("small"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, number in (("train", 7), ("val", 3), ("test", 3)):
        for place in range(number):
            picture = rng.integers(0, 256, (48, 56, 3), np.uint8)
            images.save(tmp_path / "photos" / part / "deep" / f"{part}{place}.png", picture)
    return tmp_path / "photos"


def pictures(folder: Path, photos: Path, **take: int) -> Pictures:
    return Pictures(folder / "made", take, {"photos": str(photos)}, None, print)


def test_a_cell_that_fails_is_marked_and_the_rest_goes_on(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, tried = Store(tmp_path), []

    def measure(cell: Cell) -> dict[str, int]:
        tried.append(cell.id)
        if cell is cells[1]:
            raise FakeclfError("no pictures here;\ngive some")
        if cell is cells[2]:
            raise ValueError("shapes (3,) and (4,)")
        return {"figure": 1}

    assert run(cells, store, measure, print) == 2
    found = [store.read(cell) for cell in cells]
    assert [one["state"] for one in found] == ["done", "failed", "failed", "done"]
    assert (
        found[1]["reason"] == "no pictures here; give some" and found[2]["reason"] == "ValueError: shapes (3,) and (4,)"
    )
    assert found[0]["figure"] == 1 and found[0]["name"] == cells[0].name and found[0]["cell_seconds"] >= 0
    assert capsys.readouterr().out.count("failed: ") == 2
    assert run(cells, store, lambda cell: {"figure": 2}, print) == 0
    assert [store.read(cell)["figure"] for cell in cells] == [1, 2, 2, 1] and tried == [cell.id for cell in cells]


def test_ctrl_c_ends_the_run_and_leaves_no_mark(cells: list[Cell], tmp_path: Path) -> None:
    def measure(cell: Cell) -> dict[str, int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cells, Store(tmp_path), measure, print)
    assert Store(tmp_path).read(cells[0]) is None


def test_it_goes_on_after_a_kill_without_repeating_a_cell(cells: list[Cell], tmp_path: Path) -> None:
    log, store = tmp_path / "log", Store(tmp_path / "cells")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).parent / "killed.py"), "mpdl_table3", str(store.folder), str(log)]
    process = subprocess.Popen([*command, "1.0"], env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (store.done(cells[1]) and log.read_text().count("begun") == 3):
            assert process.poll() is None and time.monotonic() < deadline, "it should be at its third cell"
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert [store.done(cell) for cell in cells] == [True, True, False, False]
    again = subprocess.run([*command, "0"], env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "failed 0" in again.stdout
    begun = [line.split()[1] for line in log.read_text().splitlines()]
    first, second, third, fourth = (cell.id for cell in cells)
    assert begun == [first, second, third, third, fourth]
    assert all(
        (store.folder / name).stat().st_mtime_ns == when for name, when in kept.items() if name.endswith(".json")
    )


def test_a_cell_file_that_is_no_json_is_measured_again(cells: list[Cell], tmp_path: Path) -> None:
    (tmp_path / f"{cells[0].id}.json").write_text('{"state": "do')
    assert Store(tmp_path).read(cells[0]) is None and not Store(tmp_path).done(cells[0])


def test_a_training_that_fails_is_tried_once_for_all_its_cells(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def train(self: Work, training: object, folder: Path) -> None:
        tried.append(folder.name)
        raise FakeclfError("the training diverged")

    monkeypatch.setattr(Work, "_train", train)
    store = Store(tmp_path / "cells")
    work = Work(tmp_path, read_scale("small"), Asked(out=tmp_path), store, print)
    assert run(cells, store, work, print) == 4
    assert tried == [f"fcn-resnet50-{cells[0].training.id}", f"fcn-resnet50-{cells[2].training.id}"]
    assert {store.read(cell)["reason"] for cell in cells} == {"the training diverged"}


def test_what_another_command_trained_meanwhile_is_taken(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(self: Work, training: object, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "card.json").write_text("{}")
        raise FakeclfError(f"{folder} exists already")

    monkeypatch.setattr(Work, "_train", train)
    work = Work(tmp_path, read_scale("small"), Asked(out=tmp_path), Store(tmp_path / "cells"), print)
    assert work.trained(cells[0].training) == tmp_path / "models" / f"fcn-resnet50-{cells[0].training.id}"


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("mpdl_table3", Asked("small"), "mpdl_table3 at scale small needs --photos FOLDER; name them"),
        (
            "mpdl_table7",
            Asked("full", only="fakefake sd"),
            "needs --data dataset2=FOLDER, --data fcn-coco=FOLDER, --data sd21=FOLDER",
        ),
        (
            "mpdl_table3",
            Asked("full", data={"dataset-1": "."}),
            "--data dataset-1: nothing .* did you mean 'dataset1'?",
        ),
        ("mpdl_table3", Asked("small", photos=Path("nowhere")), "photos: there is no folder or bundle nowhere"),
        ("mpdl_table3", Asked("small", only="GC"), "--only 'GC' names no cell of 4"),
        ("mpdl_table3", Asked("tiny"), "there is no scale 'tiny'"),
        ("mpdl_tables3", Asked("small"), "there is no experiment 'mpdl_tables3'; did you mean"),
    ],
)
def test_what_is_missing_is_said_before_the_work(
    name: str, asked: Asked, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FakeclfError, match=message) as raised:
        reproduce(name, asked)
    assert "\n" not in str(raised.value) and list(tmp_path.iterdir()) == []


def test_folders_are_known_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = Asked("full", photos=Path("here"), data={"dataset1": "mpdl:here", "mvss-net": "localizer", "sd21": "here"})
    here = str(tmp_path / "here")
    assert asked.given() == {"photos": here, "dataset1": "mpdl:here", "mvss-net": "localizer", "sd21": here}


def test_smoke_brings_its_own_photographs() -> None:
    assert needs(expand(read("mpdl_table3"), read_scale("smoke")), read_scale("smoke")) == []


def test_work_of_other_folders_is_not_taken_for_this_one(tmp_path: Path) -> None:
    remember(tmp_path, {"photos": "/a"})
    remember(tmp_path, {"photos": "/a", "dataset1": "mpdl:/b"})
    with pytest.raises(FakeclfError, match="begun with dataset1 at mpdl:/b; give the same, or choose another --out"):
        remember(tmp_path, {"dataset1": "mpdl:/c"})
    assert json.loads((tmp_path / "given.json").read_text()) == {"photos": "/a", "dataset1": "mpdl:/b"}


def test_as_many_photographs_as_are_taken_keep_their_parts(photos: Path, tmp_path: Path) -> None:
    made = pictures(tmp_path, photos, train=4, val=1, test=2)
    source = Source(forge={"sources": ["copy"], "masks": "blobs", "variants": ["original", "mask", "realfake"]})
    folder = Path(made.place(source))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"]
    assert [pair["photo"] for pair in manifest["pairs"] if pair["split"] == "train"] == [
        f"train/deep/train{place}.png" for place in (0, 2, 4, 6)
    ]
    assert sum(pair["split"] == "test" for pair in manifest["pairs"]) == 2
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert made.place(replace(source, called="other", variant="realfake")) == str(folder)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    fewer = Path(made.place(replace(source, take={"train": 2, "test": 1})))
    assert fewer != folder and not (fewer / "val").exists()


def test_mixtures_show_all_alike_often_and_universal_training_keeps_some_masks(tmp_path: Path, photos: Path) -> None:
    datasets = pytest.importorskip("segmentation.datasets")
    made = pictures(tmp_path, photos)
    one = Source(forge={"sources": ["copy"], "masks": "blobs"})
    frames = Source(forge={"sources": ["resampled"], "masks": "blobs"}, drawn=True)
    assert made.mixture([Source(dataset="cifake"), Source(dataset="sample")]) == "cifake+sample"
    assert made.mixture([one]) == made.place(one)
    loaded = datasets.load(made.mixture([one, frames]))
    weight = {key: 0.0 for key in ("copy", "drawn", "fixed")}
    for pair, share in zip(loaded.train, loaded.weights, strict=True):
        weight["drawn" if pair.drawn else "fixed" if pair.generator == "resampled" else "copy"] += share
    # Pristine originals come with the fixed pairs of both.
    assert weight["drawn"] == pytest.approx(19) and sum(weight.values()) == pytest.approx(40)
    assert any(not pair.drawn and pair.generator == "resampled" for pair in loaded.validation)


def test_a_thinned_data_set_has_every_so_manieth_picture_of_each_class(
    tmp_path: Path, make_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        make_pictures(f"data/cifake/{part}", count=9)
    (tmp_path / "data" / "cifake").mkdir(exist_ok=True)
    made = Pictures(tmp_path / "made", {}, {}, tmp_path / "data", print)
    folder = Path(made.place(Source(dataset="cifake", every=4)))
    assert len(list(folder.rglob("*.png"))) == 4 * 3 and {path.name for path in folder.iterdir()} == {"train", "test"}
    first = tmp_path / "data" / "cifake" / "test" / "REAL" / "004.png"
    assert (folder / "test" / "REAL" / "REAL-000001.png").read_bytes() == first.read_bytes()


def test_a_folder_that_cannot_be_named_in_a_mixture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match="choose another"):
        Pictures(tmp_path / "a+b", {}, {}, None, print)


def test_brought_models_take_the_place_of_their_names() -> None:
    assert runner._brought("data:fcn-coco", {"fcn-coco": "/weights"}) == "/weights"
    assert runner._brought("localizer", {}) == "localizer"
