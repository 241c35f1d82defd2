"""From scored pictures to a report: the rows, their intervals and controls, what is said of them, and what is saved."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as oracle

from fakeclf import metrics as image_metrics
from fakeclf.errors import FakeclfError
from segmentation import metrics, protocol, score_table
from segmentation.metrics import Histogram
from segmentation.score_rows import FIGURES, Forged, Pristine
from segmentation.scores import MaskEvaluation, evaluate_masks
from segmentation.sheets import Sample

SKILL = {"telea": 2.0, "migan": 0.8, "lama": -1.5}  # lama is found where it is not
NAMES = [name for name, count in (("telea", 12), ("migan", 9), ("lama", 5)) for _ in range(count)]


def scored(head: bool = True) -> tuple[list[Forged], list[Pristine], dict[str, Histogram], list[tuple]]:
    rng = np.random.default_rng(0)
    forged, pixels, histograms = [], [], {name: Histogram() for name in SKILL}
    for place, name in enumerate(NAMES):
        truth = rng.random((20, 24)) < rng.uniform(0.1, 0.4)
        logit = SKILL[name] * (truth - 0.5) + rng.normal(0, 1, truth.shape)
        p = (1 / (1 + np.exp(-logit))).astype(np.float32)
        control = metrics.auc(truth, rng.random(truth.shape)) if name != "migan" else math.nan
        forged.append(
            Forged(
                image=f"{name}/{place}.png",
                generator=name,
                counts=metrics.count(truth, p),
                **metrics.ranks(truth, p),
                control_auc=control,
                score=float(np.clip(0.5 + SKILL[name] / 8 + rng.normal(0, 0.1), 0, 1)) if head else None,
                top=metrics.top_share(p),
                seconds=0.1 + place / 100,
            )
        )
        histograms[name].add(truth, p)
        pixels.append((truth, p))
    pristine = [
        Pristine(f"p{k}.png", area, float(rng.uniform(0.3, 0.6)) if head else None, 0.7, 0.2)
        for k, area in enumerate([0.0, 0.01, 0.05, 0.02])
    ]
    return forged, pristine, histograms, pixels


def measured(**more: object) -> MaskEvaluation:
    forged, pristine, histograms, _ = scored()
    return evaluate_masks(forged, pristine, histograms, model="net", data="d", **{"resamples": 200, **more})


def test_a_row_a_generator_a_mean_of_them_and_all_pictures() -> None:
    forged, _, _, _ = scored()
    result = measured()
    assert {name: row.pictures for name, row in result.rows.items()} == {"lama": 5, "migan": 9, "telea": 12}
    for name, row in {**result.rows, "": result.all}.items():
        some = [one for one in forged if name in ("", one.generator)]
        assert row.figures["iou"] == pytest.approx(np.mean([one.counts.iou for one in some]))
        assert row.figures["auc"] == pytest.approx(np.mean([one.auc for one in some]))
        assert row.figures["hole"] == pytest.approx(np.mean([one.counts.hole for one in some]))
        for key in ("iou", "f1", "mcc", "auc"):
            low, high = row.intervals[key]
            assert low < row.figures[key] < high
    for key in ("iou", "auc"):
        of_rows = [row.figures[key] for row in result.rows.values()]
        assert result.mean_of_generators.figures[key] == pytest.approx(np.mean(of_rows))
        assert result.mean_of_generators.figures[key] != pytest.approx(result.all.figures[key], abs=1e-3)
    assert result.mean_of_generators.over["iou"] == 3


def test_pooled_figures_are_those_of_all_pixels() -> None:
    *_, pixels = scored()
    truth, p = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*pixels, strict=True))
    pooled = measured().all.pooled
    assert pooled["iou"] == pytest.approx(oracle.jaccard_score(truth, p >= 0.5))
    assert pooled["mcc"] == pytest.approx(oracle.matthews_corrcoef(truth, p >= 0.5))
    assert pooled["auc"] == pytest.approx(oracle.roc_auc_score(truth, p), abs=pooled["auc_error"] + 1e-12)
    assert pooled["auc_error"] < 1e-3
    low, high = measured().all.pooled_intervals["iou"]
    assert low < pooled["iou"] < high


def test_interval_of_the_mean_of_generators_resamples_within_each() -> None:
    forged, _, _, _ = scored()
    result = measured(resamples=150, seed=4)
    drawn = []
    for place, name in enumerate(sorted(SKILL)):
        of_one = [one.counts.iou for one in forged if one.generator == name]
        drawn.append(metrics.resampled_means({"iou": of_one}, 150, 4 + place)["iou"])
        assert result.rows[name].intervals["iou"] == pytest.approx(image_metrics.interval(drawn[-1]))
    assert result.mean_of_generators.intervals["iou"] == pytest.approx(image_metrics.interval(np.mean(drawn, axis=0)))


def test_inverted_scores_are_marked_where_they_are() -> None:
    result = measured()
    assert {name: row.inverted for name, row in result.rows.items()} == {"lama": True, "migan": False, "telea": False}
    for text in (result.to_table(), result.to_markdown()):
        first = text.split("All pixels together")[0]
        marked = [line for line in first.splitlines() if "scores inverted on this source" in line]
        assert len(marked) == 1 and "lama" in marked[0]
    values = result.to_json()["generators"]
    assert values["lama"]["warning"] == "scores inverted on this source" and "warning" not in values["telea"]


def test_what_is_undefined_is_left_out_of_means_and_named() -> None:
    forged, pristine, histograms, _ = scored()
    silent = metrics.count(np.eye(8), np.zeros((8, 8), np.float32))
    empty = metrics.count(np.zeros((8, 8)), np.ones((8, 8), np.float32))
    for counts in (silent, empty, empty):
        forged.append(Forged("x", "telea", counts, math.nan, math.nan, math.nan, 0.5, 0.5, 0.1))
    result = evaluate_masks(forged, pristine, histograms, resamples=20)
    row = result.rows["telea"]
    assert (row.pictures, row.over["iou"], row.over["precision"], row.over["area"]) == (15, 13, 12, 15)
    assert (
        row.undefined["precision"]
        == "2 of 15 pictures: no pixel is forged, 1 of 15 pictures: no pixel was called forged"
    )
    assert row.undefined["iou"] == "2 of 15 pictures: no pixel is forged"
    assert "telea, IoU: 2 of 15 pictures: no pixel is forged" in result.to_table()
    migan = result.rows["migan"]
    assert migan.figures["control_auc"] is None and migan.intervals["control_auc"] is None
    assert migan.undefined == {"control_auc": "9 of 9 pictures: no original, or it could not be used"}
    assert result.mean_of_generators.over["control_auc"] == 2
    assert result.mean_of_generators.figures["control_auc"] == pytest.approx(
        np.mean([result.rows[name].figures["control_auc"] for name in ("lama", "telea")])
    )


def test_pristine_pictures_give_the_area_and_the_picture_auc() -> None:
    forged, pristine, _, _ = scored()
    result = measured()
    assert result.pristine["pictures"] == 4
    assert (result.pristine["area"], result.pristine["largest"]) == pytest.approx((0.02, 0.05))
    low, high = result.pristine["interval"]
    assert 0 <= low < 0.02 < high <= 0.05
    truth = [1] * len(forged) + [0] * 4
    scores = [one.score for one in (*forged, *pristine)]
    assert result.all.image["auc"] == pytest.approx(oracle.roc_auc_score(truth, scores))
    assert result.all.image["ap"] == pytest.approx(oracle.average_precision_score(truth, scores))
    assert result.all.image["eer"] == image_metrics.eer(1 - np.array(truth), 1 - np.array(scores)) > 0
    low, high = result.all.image["auc_interval"]
    assert low < result.all.image["auc"] < high
    assert result.rows["telea"].image["auc"] > result.rows["lama"].image["auc"]
    assert "the localizer's own score" in result.score_from


def test_without_a_head_the_picture_score_is_the_top_of_the_mask() -> None:
    forged, pristine, histograms, _ = scored(head=False)
    result = evaluate_masks(forged, pristine, histograms, resamples=20)
    truth, tops = [1] * len(forged) + [0] * 4, [one.top for one in (*forged, *pristine)]
    assert result.all.image["auc"] == pytest.approx(oracle.roc_auc_score(truth, tops))
    assert "highest 1 %" in result.score_from and any("highest 1 %" in line for line in result.protocol)


def test_one_kind_of_picture_alone() -> None:
    forged, pristine, histograms, _ = scored()
    alone = evaluate_masks(forged[:12], [], histograms, resamples=20)
    assert alone.mean_of_generators is None and alone.all.image == {} and alone.pristine["area"] is None
    assert "Picture scores" not in alone.to_table() and "mean of" not in alone.to_table().split("How this")[0]
    quiet = evaluate_masks([], pristine, {}, resamples=20)
    assert quiet.rows == {} and quiet.all.pictures == 0 and set(quiet.all.figures.values()) == {None}
    assert "Mean positive area on pristine pictures: 0.0200" in quiet.to_table()
    for result in (alone, quiet):
        json.dumps(result.to_json(), allow_nan=False)
    with pytest.raises(FakeclfError, match="no picture of data .test. could be measured; the first: a.png: broken"):
        evaluate_masks([], [], {}, problems=["a.png: broken"])


def test_json_is_plain_and_complete() -> None:
    values = measured(unreadable=2, failed=1, problems=["x.png: cut short"]).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert {*FIGURES, "pictures", "intervals", "pooled", "image", "generators", "protocol", "split"} <= values.keys()
    assert (values["pictures"], values["unreadable"], values["failed"]) == (26, 2, 1)
    assert values["pristine"]["pictures"] == 4 and values["seconds_a_picture"] > 0.1


def test_every_point_of_the_protocol_has_its_line() -> None:
    notes = [
        protocol.edges_line("full"),
        protocol.paste_line([0.0, 0.0, 0.3, 4.0, math.nan]),
        protocol.codec_line("jpeg:90"),
        "size and codec, d: both classes PNG",
    ]
    result = measured(threshold=0.4, fixed_by="the model's card", unreadable=2, notes=notes)
    text = "\n".join(result.protocol)
    for part in (
        "test split of d, 26 forged (lama 5, migan 9, telea 12) and 4 pristine, each once; 2 unreadable",
        "pristine ones give the mean positive area",
        "fixed, a pixel is called inpainted where P(inpainted) >= 0.4; given by the model's card",
        "per picture, then mean",
        "both IoU is the mean of both classes",
        "none inverted, no border",
        "picture score: the localizer's own score",
        "on raw scores",
        "2 of 4 pictures equal their originals, 1 differ by less than 0.5 of 255 on average, 1 by more",
        "jpeg:90, applied to every picture, forged and pristine alike",
        "size and codec, d",
        "share of the hole",
        "above 0.5 is content, not forgery",
        "95 %, bootstrap over pictures (percentiles), 200 resamples, seed 0",
        "inpainted where the mask is 255",
        "off by at most",
    ):
        assert part in text
    for shown in (result.to_table(), result.to_markdown()):
        assert all(f"- {line}" in shown for line in result.protocol)
    assert "unknown" in protocol.paste_line([math.nan])
    assert "nothing applied" in protocol.codec_line("")


def test_table_is_aligned_with_intervals_below_the_figures() -> None:
    result = measured()
    lines = result.to_table().splitlines()
    start = lines.index("Per picture, then mean:") + 2
    block = lines[start : lines.index("", start)]
    assert set(block[1]) == {"-", " "} and all(len(line) <= len(block[1]) for line in block)
    assert len(block) == 2 + 2 * 5
    row, below = block[6], block[7]
    assert row.startswith("telea") and f"{result.rows['telea'].figures['iou']:.3f}" in row
    low, high = result.rows["telea"].intervals["iou"]
    end = block[0].index("IoU") + 3
    assert below[:end].strip() == f"{low:.2f}-{high:.2f}"
    assert "mean of 3 generators" in block[8] and "all pictures" in block[10]


def test_markdown_rows_have_one_number_of_cells() -> None:
    text = measured().to_markdown()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert table[1].startswith("| --- | ---: |")
    assert score_table._markdown(["", "a"], [["x|y", "1"]]).splitlines()[2] == r"| x\|y | 1 |"


def test_long_lists_of_problems_are_cut_in_the_table_alone() -> None:
    result = measured(problems=[f"{k}.png: cut short" for k in range(50)])
    assert "- 19.png: cut short\n- and 30 more" in result.to_table()
    assert len(result.to_json()["problems"]) == 50


def test_save_writes_figures_a_row_a_picture_and_sheets(tmp_path: Path) -> None:
    truth = np.eye(16, dtype=bool)
    one = Sample(np.zeros((16, 16, 3), np.uint8), truth, truth.astype(np.float32), "telea")
    result = measured(samples=[one] * 9)
    result.save(tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["evaluation.json", "pictures.csv", "sheet-1.png", "sheet-2.png"]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == result.to_json()
    with (tmp_path / "out" / "pictures.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == ["forged"] * 26 + ["pristine"] * 4
    assert float(rows[3]["iou"]) == pytest.approx(result.forged[3].counts.iou, rel=1e-5)
    assert rows[12]["control_auc"] == "" and rows[-1]["area"] == "0.02" and rows[-1]["iou"] == ""
    with Image.open(tmp_path / "out" / "sheet-1.png") as first, Image.open(tmp_path / "out" / "sheet-2.png") as second:
        assert first.height > second.height


def test_many_pictures_take_little_time() -> None:
    forged, pristine, histograms, _ = scored()
    import time

    start = time.process_time()
    result = evaluate_masks(forged * 100, pristine * 100, histograms)
    assert time.process_time() - start < 30
    assert result.all.pictures == 2600
    low, high = result.all.intervals["iou"]
    assert high - low < 0.02
