"""Robustness of localizers: of one that sees red, and of a saved one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.data.degrade import parse
from fakeclf.errors import FakeclfError
from fakeclf.robustness import Robustness
from segmentation.datasets import Pair
from segmentation.evaluate import evaluate
from segmentation.forgeries.compose import paste
from segmentation.robustness import robustness, robustness_bundle

STEPS = ("jpeg:95", "gamma:10", "crop:0.5")


@dataclass
class Found:
    mask: np.ndarray
    score: float | None = None


def red(picture: np.ndarray) -> Found:
    """Takes for inpainted what is red."""
    return Found((picture[..., 0] > 190).astype(np.float32))


def make(folder: Path, generators: dict[str, int]) -> list[Pair]:
    """Grey pictures of 32 x 48 with a red hole of 16 x 16 in the middle; ``generators``: name to red of the filling."""
    pairs = []
    for k, grey in enumerate((90, 120)):
        original = np.full((32, 48, 3), grey, np.uint8)
        images.save(folder / f"{k}.original.png", original)
        for name, strength in generators.items():
            mask = np.zeros((32, 48), np.uint8)
            mask[8:24, 16:32] = 255
            filled = original.copy()
            filled[..., 0] = strength
            images.save(folder / f"{k}.{name}.realfake.png", paste(original, filled, mask))
            images.save(folder / f"{k}.{name}.mask.png", mask)
            parts = [str(folder / f"{k}.{part}.png") for part in (f"{name}.realfake", f"{name}.mask", "original")]
            pairs.append(Pair(*parts, str(k), name))
    return pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return make(tmp_path_factory.mktemp("pairs"), {"strong": 255, "weak": 200})


@pytest.fixture(scope="module")
def result(pairs: list[Pair]) -> Robustness:
    return robustness(red, pairs, degradations=STEPS, data="forged", name="red", notes=["a note"])


def test_rows_are_what_the_localizer_must_give(result: Robustness) -> None:
    untouched, compressed, dark, cut = result.rows
    assert [row.name for row in result.rows] == ["untouched", *STEPS]
    assert (untouched.figures["iou"], untouched.figures["f1"], untouched.figures["auc"]) == (1.0, 1.0, 1.0)
    assert untouched.figures["hole"] == pytest.approx(16 * 16 / (32 * 48))
    assert untouched.intervals["iou"] == (1.0, 1.0)
    assert 0.8 < compressed.figures["iou"] <= 1.0
    # 200 of 255 to the power of ten is black, 255 stays as it is: one of the two generators is lost.
    assert (dark.figures["iou"], dark.figures["auc"]) == (0.5, 0.75)
    # The middle half of both sides: the hole goes along.
    assert cut.figures["iou"] == 1.0 and cut.figures["hole"] == pytest.approx(16 * 16 / (16 * 24))
    assert all(row.figures["area"] == 0.0 and row.intervals["area"] == (0.0, 0.0) for row in result.rows)
    assert all(row.pictures == 4 for row in result.rows)


def test_rows_are_evaluations_and_generators_count_once(pairs: list[Pair]) -> None:
    more = [*pairs, *[Pair(pair.image, pair.mask, pair.original, pair.source, "weak") for pair in pairs[1::2]] * 2]
    found = robustness(red, more, degradations=["gamma:10", "noise:0.3"], seed=3)
    for row, step in zip(found.rows, (None, parse("gamma:10"), parse("noise:0.3")), strict=True):
        plain = evaluate(red, more, codec=step, seed=3)
        mean = plain.mean_of_generators
        for key in ("iou", "f1", "auc", "hole"):
            assert row.figures[key] == mean.figures[key] and row.intervals[key] == mean.intervals[key]
        assert row.figures["area"] == plain.pristine["area"]
    assert found.rows[1].figures["iou"] == 0.5 and found.rows[2].figures["area"] > 0.1
    one = robustness(red, pairs[1::2], degradations=["gamma:10"])
    assert one.rows[1].figures["iou"] == 0.0 and not any("means over generators" in line for line in one.protocol)


def test_reports_name_data_and_protocol(result: Robustness, tmp_path: Path) -> None:
    values = result.to_json()
    assert (values["model"], values["data"], values["split"]) == ("red", "forged, degraded", "test")
    text = "\n".join(result.protocol)
    for part in (
        "test split of forged, 4 forged (strong 2, weak 2) and 2 pristine",
        "threshold: fixed, a pixel is called inpainted where P(inpainted) >= 0.5",
        "per picture, then mean",
        "each degradation alone",
        "the mask goes along",
        "means over generators",
        "a note",
    ):
        assert part in text
    assert "codec: " not in text.replace("size and codec", "")
    header = result.to_table().split("\n\n")[1].splitlines()[0]
    for heading in ("IoU", "F1", "pixel AUC", "area on pristine", "IoU of all-positive"):
        assert heading in header
    result.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "robustness.csv",
        "robustness.json",
        "robustness.png",
        "table.md",
    }


def test_pristine_pictures_alone_still_give_their_area(pairs: list[Pair]) -> None:
    found = robustness(red, [Pair(pair.original, None) for pair in pairs], degradations=["gamma:0.1"])
    assert [row.figures["area"] for row in found.rows] == [0.0, 1.0]
    assert found.rows[0].figures["iou"] is None and found.rows[0].pictures == 2
    assert "-" in found.to_table().split("\n\n")[1].splitlines()[2].split()


def test_bad_files_are_counted_once(pairs: list[Pair], result: Robustness, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    bad = Pair(str(tmp_path / "broken.png"), pairs[0].mask, pairs[0].original, "0", "weak")
    found = robustness(red, [*pairs, bad], degradations=STEPS, data="forged", name="red")
    assert found.rows == result.rows
    assert found.unreadable == 1 and len(found.problems) == 1 and "broken.png" in found.problems[0]


def test_a_saved_localizer_is_measured_at_the_threshold_of_its_card(tmp_path: Path) -> None:
    import keras

    from fakeclf import bundle
    from segmentation.models.frame import localizer, picture_input

    make(tmp_path / "data" / "test" / "strong", {"strong": 255})
    pictures, x = picture_input()
    layer = keras.layers.Conv2D(1, 1, name="red")
    network = localizer(pictures, layer(x), "red")
    layer.set_weights([np.array([8.0, 0, 0], np.float32).reshape(1, 1, 3, 1), np.array([-4.0], np.float32)])
    card = bundle.Card("red", "localizer", model="red", module="segmentation.models.frame", threshold=0.9)
    bundle.save(network, card, tmp_path / "red")
    options = {"degradations": ["gamma:10", "gamma:0.1"], "data_dir": tmp_path / "home"}
    found = robustness_bundle(tmp_path / "red", f"mpdl:{tmp_path / 'data'}", **options)
    assert found.threshold == 0.9 and found.model == "red"
    assert [row.figures["iou"] for row in found.rows] == [1.0, 1.0, pytest.approx(1 / 6)]
    assert [row.figures["area"] for row in found.rows] == [0.0, 0.0, 1.0]
    with pytest.raises(FakeclfError, match="did you mean 'gamma'"):
        robustness_bundle(tmp_path / "red", f"mpdl:{tmp_path / 'data'}", degradations=["gama:1"])
