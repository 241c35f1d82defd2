"""The table: ours beside the printed figure of the same row, in every form it is written in."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakeclf.errors import FakeclfError
from fakeclf.reproduce import table
from fakeclf.reproduce.experiments import read, read_scale
from fakeclf.reproduce.grid import Cell, expand
from fakeclf.reproduce.runner import Store
from segmentation.sheets import Sample

LINES = ["threshold: fixed", "truth: inpainted where the mask is 255"]


def measured(iou: float, **more: Any) -> dict[str, Any]:
    evaluation = {
        "iou": iou,
        "mean_iou": iou / 2,
        "f1": iou / 3,
        "auc": 0.9,
        "hole": 0.15,
        "control_auc": 0.5,
        "intervals": {"iou": [iou - 0.1, iou + 0.2], "auc": None},
        "pooled": {name: iou / 4 for name in ("mean_iou", "f1", "precision", "recall")} | {"intervals": {}},
        "pictures": 100,
        "seconds_a_picture": 0.25,
        "protocol": [f"pictures: {iou}", *LINES],
    }
    return {"train_seconds": 60, "evaluation": evaluation, **more}


def build(name: str, store: Store, scale: str = "small", seeds: tuple[int, ...] = (0,)) -> table.Table:
    experiment, size = read(name), read_scale(scale)
    return table.build(experiment, size, expand(experiment, size, seeds), store)


def cells(name: str, seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return expand(read(name), read_scale("small"), seeds)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Of table 3: a done cell of two seeds, one of one seed, a failed one; the fourth was never run."""
    kept = Store(tmp_path / "cells")
    found = cells("mpdl_table3", (0, 1))
    kept.keep(found[0], measured(0.4))
    kept.keep(found[1], measured(0.6))
    kept.keep(found[2], measured(0.3))
    kept.keep(found[4], {"state": "failed", "reason": "out of memory"})
    return kept


def test_ours_stands_beside_the_printed_figure_of_its_row(store: Store) -> None:
    made = build("mpdl_table3", store, seeds=(0, 1))
    assert [row.state for row in made.rows] == ["done", "part", "failed", "not run"]
    assert [row.figures["IoU"].printed for row in made.rows] == [0.944, 0.934, 0.783, 0.95]
    first = made.rows[0]
    assert first.figures["IoU"].ours == {0: 0.4, 1: 0.6} and first.figures["IoU"].mean == pytest.approx(0.5)
    assert first.figures["IoU"].interval == pytest.approx((0.3, 0.8))
    assert (first.pictures, first.train_seconds, first.seconds_a_picture) == (100, 60, 0.25)
    assert first.own["model"] == "FCN, width 0.25" and first.own["train"] == "our realfake"
    assert first.figures["all-positive"].mean == 0.15 and first.figures["AUC"].printed is None
    assert made.protocol[:2] == LINES and not any(line.startswith("pictures: 0.") for line in made.protocol)
    assert made.counts == {"done": 1, "part": 1, "failed": 1, "not run": 1}


def test_the_text_says_scale_stand_ins_and_failures(store: Store) -> None:
    text = build("mpdl_table3", store, seeds=(0, 1)).to_markdown()
    row = next(line for line in text.splitlines() if "dataset1, FCN, realfake, realfake" in line)
    parts = [cell.strip() for cell in row.strip("|").split("|")]
    assert parts[:5] == ["FCN, width 0.25", "our realfake", "our realfake", "0.5 (0.3 to 0.8)", "0.944"]
    assert "scale **small**" in text and "- our fakefake : fakefake" in text
    assert "- dataset1, FCN, fakefake, realfake: out of memory" in text
    assert "- truth: inpainted where the mask is 255" in text and "- several seeds: the mean" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_percent_is_printed_as_percent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = cells("irl_table1")
    store.keep(found[0], measured(0.8))
    made = build("irl_table1", store)
    row = made.rows[0]
    assert (row.labels["model"], row.labels["test"]) == ("LDICN", "GC")
    assert row.figures["mIoU"].mean == pytest.approx(20) and row.figures["mIoU"].printed == 85.87
    assert row.figures["IoU"].mean == pytest.approx(80) and row.figures["IoU"].printed is None
    assert row.figures["IoU"].interval == pytest.approx((70, 100)) and row.figures["F1 a picture"].mean > 26
    retrained = next(row for row in made.rows if row.labels["model"] == "MVSS-Net")
    assert retrained.labels["train"] == "-" and retrained.figures["recall"].printed == 0.82
    assert retrained.own["model"] == "our localizer, not retrained"


def test_what_a_scale_leaves_open_keeps_its_printed_figures(tmp_path: Path) -> None:
    made = build("nix_table1", Store(tmp_path))
    assert made.counts == {"not run": 45, "left open": 45}
    celeba = next(row for row in made.rows if list(row.labels.values()) == ["celeba", "NIX-Net", "UT", "GC"])
    assert celeba.figures["mIoU"].printed == 88.2 and celeba.own == {}
    assert "45 printed rows are left open" in made.to_markdown() and "celeba" not in made.to_markdown()


def test_a_training_is_shown_epoch_by_epoch(tmp_path: Path) -> None:
    store = Store(tmp_path)
    history = {"loss": [0.9, 0.8], "val_accuracy": [0.5, 0.6], "learning_rate": [0.01, 0.001]}
    store.keep(cells("classifier_training")[0], {"train_seconds": 9, "history": history})
    made = build("classifier_training", store)
    assert len(made.rows) == 30
    second = made.rows[1]
    assert second.labels["epoch"] == "2" and second.figures["loss"].mean == 0.8
    assert second.figures["loss"].printed == 0.2 and second.figures["accuracy"].ours == {}
    assert made.rows[2].figures["loss"].ours == {} and made.rows[2].figures["val_loss"].printed == 0.1965
    text = made.to_markdown()
    assert "Xception on power spectra" in text and "epoch by epoch; no test picture was looked at" in text
    third = next(line for line in text.splitlines() if "cifake, epoch 3" in line)
    assert third.split("|")[4].strip() == "3" and third.split("|")[5].strip() == "-" and "0.1785" in third


def test_classifiers_have_their_printed_figures(tmp_path: Path) -> None:
    store = Store(tmp_path)
    evaluation = {"accuracy": 0.9, "loss": 0.3, "auc": 0.95, "intervals": {"accuracy": [0.8, 0.92]}, "pictures": 50}
    store.keep(
        cells("classifier_test")[2], {"train_seconds": 9, "evaluation": {**evaluation, "seconds": 5, "protocol": ["a"]}}
    )
    made = build("classifier_test", store)
    assert [row.figures["accuracy"].printed for row in made.rows] == [0.9639, 0.811, 0.9497]
    assert made.rows[2].figures["accuracy"].interval == (0.8, 0.92) and made.rows[2].seconds_a_picture == 0.1
    assert "all-positive" not in made.to_markdown()


def test_files_hold_the_same(store: Store, tmp_path: Path) -> None:
    found = cells("mpdl_table3", (0, 1))
    truth = np.zeros((30, 40), bool)
    truth[5:9, 5:9] = True
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    for cell in (found[0], found[4]):
        store.keep_samples(cell, [Sample(picture, truth, truth * 0.7)])
    made = build("mpdl_table3", store, seeds=(0, 1))
    made.save(tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"table.md", "table.csv", "table.json", "plot.png", "sheet-1.png"}
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    assert content["scale"] == "small" and content["rows"][0]["figures"]["IoU"]["seeds"] == {"0": 0.4, "1": 0.6}
    assert content["rows"][2]["reason"] == "out of memory" and content["protocol"][:2] == LINES
    with (tmp_path / "out" / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    iou = [row for row in rows if row["figure"] == "IoU"]
    assert [row["ours"] for row in iou] == ["0.4", "0.6", "0.3", "", ""]
    assert {row["printed"] for row in iou if row["printed train"] == "fakefake"} == {"0.783", "0.95"}
    with Image.open(tmp_path / "out" / "sheet-1.png") as sheet, Image.open(tmp_path / "out" / "plot.png") as plot:
        # Picture, truth and two models.
        assert sheet.size[0] == 4 * 252 + 12 and min(plot.size) > 100


def test_a_sheet_shows_only_pictures_that_all_models_saw(store: Store, tmp_path: Path) -> None:
    found, truth = cells("mpdl_table3", (0, 1)), np.ones((16, 16), bool)
    for cell, grey in ((found[0], 10), (found[4], 20)):
        store.keep_samples(cell, [Sample(np.full((16, 16, 3), grey, np.uint8), truth, truth * 0.5)])
    build("mpdl_table3", store, seeds=(0, 1)).save(tmp_path / "out")
    assert not (tmp_path / "out" / "sheet-1.png").exists()


def test_the_curve_counts_what_was_learnt_and_leaves_it_out_of_the_test(tmp_path: Path) -> None:
    store, made_of = Store(tmp_path / "cells"), {}
    for cell in cells("variety", (0, 1)):
        learnt = cell.labels["train"].split("+")
        seen = cell.labels["test"] in learnt
        made_of.setdefault(len(learnt), set()).add(cell.labels["test"])
        store.keep(cell, measured(0.9 if seen else 0.1 * len(learnt) + 0.01 * cell.seed))
    made = build("variety", store, seeds=(0, 1))
    assert [point.sources for point in made.points] == [1, 2, 3, 5]
    assert [point.trainings for point in made.points] == [6, 3, 2, 6]
    assert [set(point.by_test) for point in made.points] == [made_of[count] for count in (1, 2, 3, 5)]
    for point in made.points:
        assert point.values("IoU") == pytest.approx([0.1 * point.sources + 0.005] * 6)
        assert (point.mean("all-positive"), point.mean("control AUC")) == pytest.approx((0.15, 0.5))
    text = made.to_markdown()
    assert "0.505 (0.505 to 0.505)" in text and "printed" not in text
    made.save(tmp_path / "table")
    assert Image.open(tmp_path / "table" / "curve.png").width > 500
    assert json.loads((tmp_path / "table" / "table.json").read_text())["curve"][3]["sources"] == 5
    assert build("mpdl_table3", store).points == []


def test_a_printed_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    experiment = replace(read("mpdl_table3"), printed="mpdl_tabel3")
    with pytest.raises(FakeclfError, match="did you mean 'mpdl_table3'"):
        table.build(experiment, read_scale("small"), cells("mpdl_table3"), Store(tmp_path))
