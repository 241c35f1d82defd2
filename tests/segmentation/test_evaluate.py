"""Evaluation of localizers on real files: what is looked at, compared and left out, and what the report says of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.data.degrade import parse
from fakeclf.errors import FakeclfError
from segmentation import metrics
from segmentation.datasets import Pair
from segmentation.evaluate import choose_threshold, evaluate, evaluate_bundle
from segmentation.forgeries.compose import paste
from segmentation.scores import MaskEvaluation

GREY = 100  # of the wash below


@dataclass
class Found:
    mask: np.ndarray
    score: float | None = None


class Red:
    """A localizer that takes red for inpainted; remembers what it was shown."""

    def __init__(self, head: bool = False) -> None:
        self.head, self.shown = head, []

    def __call__(self, picture: np.ndarray) -> Found:
        self.shown.append(picture)
        mask = picture[..., 0].astype(np.float32) / 255
        return Found(mask, float(mask.max()) if self.head else None)


def expected(picture: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> dict:
    return metrics.localization(truth, picture[..., 0].astype(np.float32) / 255, threshold)


def make_pairs(folder: Path, generators: dict[str, int], each: int = 4) -> list[Pair]:
    """Pictures of 24 x 32 with a hole; ``generators``: name to how much redder than the rest its pixels are."""
    rng = np.random.default_rng(0)
    pairs = []
    for k in range(each):
        original = rng.integers(60, 160, (24, 32, 3)).astype(np.uint8)
        images.save(folder / f"{k}.original.png", original)
        pairs.append(Pair(str(folder / f"{k}.original.png"), None, None, str(k)))
        for name, redder in generators.items():
            mask = np.zeros((24, 32), np.uint8)
            top, left = rng.integers(0, 12, 2)
            mask[top : top + 10, left : left + 12] = 255
            mask[top + 10, left : left + 12] = GREY
            filled = np.clip(original + np.array([redder, 0, 0]), 0, 255).astype(np.uint8)
            images.save(folder / f"{k}.{name}.png", paste(original, filled, mask))
            images.save(folder / f"{k}.{name}.mask.png", mask)
            parts = [str(folder / f"{k}.{part}.png") for part in (name, f"{name}.mask", "original")]
            pairs.append(Pair(*parts, str(k), name))
    return pairs


def truth_of(pair: Pair, least: int = 255) -> np.ndarray:
    return images.read(pair.mask)[..., 0] >= least


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return make_pairs(tmp_path_factory.mktemp("pairs"), {"telea": 60, "migan": 25, "lama": -60})


@pytest.fixture(scope="module")
def result(pairs: list[Pair]) -> MaskEvaluation:
    return evaluate(Red(), pairs, threshold=0.55, data="forged", name="red", notes=["a note"])


def test_figures_are_those_of_the_metrics_on_each_picture(pairs: list[Pair], result: MaskEvaluation) -> None:
    of_pairs = [pair for pair in pairs if pair.mask]
    assert [one.image for one in result.forged] == [pair.image for pair in of_pairs]
    for one, pair in zip(result.forged, of_pairs, strict=True):
        found = expected(images.read(pair.image), truth_of(pair), 0.55)
        assert (one.counts.iou, one.counts.f1, one.auc, one.ap) == pytest.approx(
            tuple(found[name] for name in ("iou", "f1", "auc", "ap"))
        )
        assert one.generator == pair.generator and one.score is None and one.seconds > 0
    telea = [one.counts.iou for one in result.forged if one.generator == "telea"]
    assert result.rows["telea"].figures["iou"] == pytest.approx(np.mean(telea))
    assert {name: row.inverted for name, row in result.rows.items()} == {"lama": True, "migan": False, "telea": False}
    assert result.rows["telea"].figures["auc"] > result.rows["migan"].figures["auc"] > 0.6


def test_originals_are_seen_once_and_are_control_and_pristine_at_once(pairs: list[Pair]) -> None:
    red = Red()
    result = evaluate(red, pairs, threshold=0.55)
    assert len(red.shown) == 4 + 12
    originals = sorted({pair.original for pair in pairs if pair.original})
    assert [one.image for one in result.pristines] == originals
    areas = [(images.read(path)[..., 0].astype(np.float32) / 255 >= 0.55).mean() for path in originals]
    assert [one.area for one in result.pristines] == pytest.approx(areas)
    for one, pair in zip(result.forged, [pair for pair in pairs if pair.mask], strict=True):
        control = expected(images.read(pair.original), truth_of(pair))["auc"]
        assert one.control_auc == pytest.approx(control)
    # The same whether the originals are pairs of their own or only named by the forgeries.
    again = evaluate(Red(), [pair for pair in pairs if pair.mask], threshold=0.55)
    assert again.all.figures == result.all.figures
    assert [one.area for one in again.pristines] == [one.area for one in result.pristines]


@pytest.mark.parametrize(("edges", "least"), [("full", 255), ("any", 1), ("grey", 128)])
def test_grey_edges_are_read_as_told(pairs: list[Pair], edges: str, least: int) -> None:
    result = evaluate(Red(), pairs, edges=edges)
    pair = next(pair for pair in pairs if pair.mask)
    assert result.forged[0].counts.hole == truth_of(pair, least).mean()
    assert (result.forged[0].counts.hole == truth_of(pair, 255).mean()) == (edges != "any")
    words = {"full": "is 255", "any": "above 0", "grey": ">= 128"}[edges]
    assert any(line.startswith("truth: ") and words in line for line in result.protocol)


def test_report_says_how_pictures_were_made_and_kept(pairs: list[Pair], result: MaskEvaluation) -> None:
    text = result.to_table()
    assert "red on forged (test), 12 forged and 4 pristine pictures; 0 files unreadable, 0 other failures" in text
    assert "12 of 12 pictures equal their originals" in text
    assert "size and codec, forged: both classes 32x24, PNG (of 16 files looked at)" in text
    assert "codec: pictures as they are" in text and "- a note" in text
    assert all(one.changed == 0 for one in result.forged)


def test_whole_frames_are_found_out(pairs: list[Pair], tmp_path: Path) -> None:
    pair = next(pair for pair in pairs if pair.generator == "telea")
    frame = images.read(pair.image)
    frame[..., 1] += 3
    images.save(tmp_path / "frame.png", frame)
    result = evaluate(Red(), [Pair(str(tmp_path / "frame.png"), pair.mask, pair.original, "0", "frame")])
    assert result.forged[0].changed == pytest.approx(1)
    assert any("1 by more (the whole frame" in line for line in result.protocol)


def test_picture_score_is_the_head_or_the_top_of_the_mask(pairs: list[Pair]) -> None:
    with_head = evaluate(Red(head=True), pairs)
    assert with_head.score_from == "the localizer's own score"
    assert with_head.forged[0].score == images.read(with_head.forged[0].image)[..., 0].max() / np.float32(255)
    without = evaluate(Red(), pairs)
    assert "highest 1 %" in without.score_from
    assert without.all.image["auc"] is not None and without.rows["telea"].image["auc"] == 1.0


def test_a_codec_is_applied_to_every_picture_alike_and_named(pairs: list[Pair]) -> None:
    red = Red()
    result = evaluate(red, pairs, codec=parse("jpeg:90"), data="forged")
    plain = Red()
    evaluate(plain, pairs)
    for seen, original in zip(red.shown, plain.shown, strict=True):
        np.testing.assert_array_equal(seen, images.read(images.encode_jpeg(original, 90)))
    assert result.data == "forged after jpeg:90" and result.to_json()["data"] == "forged after jpeg:90"
    assert any(line.startswith("codec: jpeg:90, applied to every picture") for line in result.protocol)
    assert all(one.changed == 0 for one in result.forged)  # of the files, before the codec

    def inverted(picture: np.ndarray) -> np.ndarray:
        return 255 - picture

    other = evaluate(Red(), pairs, codec=inverted)
    assert other.data == "pairs after inverted"
    base = evaluate(Red(), pairs)
    assert other.all.figures["auc"] == pytest.approx(1 - base.all.figures["auc"])
    assert other.all.figures["control_auc"] == pytest.approx(1 - base.all.figures["control_auc"])


def test_masks_go_along_where_a_codec_moves_pixels(pairs: list[Pair]) -> None:
    result = evaluate(Red(), pairs, codec=parse("crop:0.5"))
    pair = next(pair for pair in pairs if pair.mask)
    picture, mask = parse("crop:0.5").apply(images.read(pair.image), mask=images.read(pair.mask)[..., 0])
    found = expected(picture, mask == 255)
    assert picture.shape[:2] == (12, 16)
    assert result.forged[0].auc == pytest.approx(found["auc"])
    assert result.forged[0].counts.total == 12 * 16

    def cut(picture: np.ndarray) -> np.ndarray:
        return picture[:8]

    with pytest.raises(FakeclfError, match="cut must keep the picture's size"):
        evaluate(Red(), pairs, codec=cut)


def test_noise_is_the_same_at_each_run_and_another_for_each_picture(pairs: list[Pair]) -> None:
    first, again, other = Red(), Red(), Red()
    evaluate(first, pairs[:2], codec=parse("noise:0.05"))
    evaluate(again, pairs[:2], codec=parse("noise:0.05"))
    evaluate(other, pairs[:2], codec=parse("noise:0.05"), seed=1)
    np.testing.assert_array_equal(first.shown, again.shown)
    assert (first.shown[0] != other.shown[0]).any()
    clean = [images.read(pair.image).astype(int) for pair in pairs[:2]]
    noise = [seen - picture for seen, picture in zip(first.shown, clean, strict=True)]
    assert (noise[0] != noise[1]).mean() > 0.5


# --- what cannot be used --------------------------------------------------------------------------------------------


def test_bad_files_are_counted_named_once_and_skipped(
    pairs: list[Pair], result: MaskEvaluation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = next(pair for pair in pairs if pair.generator == "telea")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    images.save(tmp_path / "small.png", np.full((12, 16, 3), 255, np.uint8))
    images.save(tmp_path / "black.png", np.zeros((24, 32, 3), np.uint8))
    broken, small, black = (str(tmp_path / name) for name in ("broken.png", "small.png", "black.png"))
    bad = [
        Pair(broken, good.mask, good.original, "0", "telea"),
        Pair(good.image, broken, None, "0", "telea"),
        Pair(good.image, good.mask, str(tmp_path / "missing.png"), "0", "kept"),
        Pair(good.image, good.mask, str(tmp_path / "missing.png"), "0", "kept"),
        Pair(good.image, small, good.original, "0", "telea"),
        Pair(good.image, black, good.original, "0", "telea"),
        Pair(good.image, good.mask, small, "0", "kept"),
    ]
    found = evaluate(Red(), [*pairs, *bad], threshold=0.55)
    assert (found.unreadable, found.failed) == (3, 2)
    assert found.rows["telea"].figures == result.rows["telea"].figures
    # Without its original a forgery is still measured, but for the control.
    assert found.rows["kept"].pictures == 3 and found.rows["kept"].figures["control_auc"] is None
    assert found.rows["kept"].figures["iou"] == pytest.approx(result.forged[0].counts.iou)
    for words in ("broken.png: cannot be decoded", "missing.png: there is no such file", "16 x 12", "black"):
        assert sum(words in line for line in found.problems) >= 1
    assert sum("missing.png" in line for line in found.problems) == 1
    assert sum("not of the size of" in line for line in found.problems) == 1
    assert all(line in caplog.text and line in found.to_table() for line in found.problems)
    assert "3 unreadable files and 2 other failures" in found.protocol[0]


def test_a_localizer_that_refuses_a_picture_does_not_end_the_run(pairs: list[Pair]) -> None:
    red = Red()

    def choosy(picture: np.ndarray) -> Found:
        if len(red.shown) == 1:
            red.shown.append(picture)
            raise FakeclfError("net runs out of memory at 32 x 24 pixels; set a smaller tile")
        return red(picture)

    found = evaluate(choosy, pairs)
    assert (found.failed, found.all.pictures) == (1, 11)
    assert found.problems[0].endswith("runs out of memory at 32 x 24 pixels; set a smaller tile")


@pytest.mark.parametrize(
    ("mask", "score", "message"),
    [
        (lambda p: np.full(p.shape[:2], np.nan), None, "weights are broken"),
        (lambda p: np.full(p.shape[:2], 1.01), None, "weights are broken"),
        (lambda p: np.zeros(p.shape[:2]), float("nan"), "weights are broken"),
        (lambda p: np.zeros((8, 8)), None, r"mask of \(8, 8\) for a picture of \(24, 32\)"),
    ],
)
def test_a_localizer_that_gives_no_probabilities_ends_it(
    pairs: list[Pair], mask: object, score: float | None, message: str
) -> None:
    with pytest.raises(FakeclfError, match=message) as caught:
        evaluate(lambda picture: Found(mask(picture), score), pairs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 50}, "between 0 and 1; received 50"),
        ({"limit": 0}, "at least 1"),
        ({"edges": "soft"}, "grey, any, full; received 'soft'"),
    ],
)
def test_mistakes_are_answered_in_one_line(pairs: list[Pair], arguments: dict, message: str) -> None:
    with pytest.raises(FakeclfError, match=message) as caught:
        evaluate(Red(), pairs, **arguments)
    assert "\n" not in str(caught.value)


def test_whole_frames_without_masks_are_left_out(pairs: list[Pair]) -> None:
    drawn = Pair(pairs[1].image, None, pairs[0].image, "0", "frames", drawn=True)
    found = evaluate(Red(), [*pairs, drawn])
    assert "frames" not in found.rows and len(found.pristines) == 4
    assert any(line.startswith("1 whole frames without a mask of their own") for line in found.protocol)
    with pytest.raises(FakeclfError, match="no pair with a mask of its own"):
        evaluate(Red(), [drawn])
    with pytest.raises(FakeclfError, match="could be measured; the first: nosuch.png"):
        evaluate(Red(), [Pair("nosuch.png", None)])


# --- limits and sheets ----------------------------------------------------------------------------------------------


def test_limit_takes_evenly_from_every_generator(pairs: list[Pair]) -> None:
    found = evaluate(Red(), pairs, limit=8)
    assert {name: row.pictures for name, row in found.rows.items()} == {"lama": 2, "migan": 2, "telea": 2}
    assert any("8 of 16 pairs, evenly spaced" in line for line in found.protocol)
    assert evaluate(Red(), pairs, limit=16).all.pictures == 12


def test_sheets_show_each_generator_and_pristine_pictures(pairs: list[Pair], tmp_path: Path) -> None:
    found = evaluate(Red(), pairs, samples=8)
    captions = [sample.caption for sample in found.samples]
    assert len(captions) == 8
    for name in ("telea, IoU", "migan, IoU", "lama, IoU", "pristine, positive area"):
        assert sum(caption.startswith(name) for caption in captions) == 2
    assert all(caption.startswith("pristine") for caption in captions[6:])
    first = next(sample for sample in found.samples if sample.caption.startswith("telea"))
    np.testing.assert_array_equal(first.picture, images.read(next(p.image for p in pairs if p.generator == "telea")))
    np.testing.assert_array_equal(first.mask, first.picture[..., 0].astype(np.float32) / 255)
    found.save(tmp_path / "out")
    assert (tmp_path / "out" / "sheet-1.png").is_file() and not (tmp_path / "out" / "sheet-2.png").exists()
    assert evaluate(Red(), pairs, samples=0).samples == ()


# --- choosing a threshold -------------------------------------------------------------------------------------------


def test_threshold_is_the_best_that_leaves_pristine_pictures_alone(tmp_path: Path) -> None:
    some = make_pairs(tmp_path, {"migan": 12})
    originals = [images.read(pair.image)[..., 0].astype(np.float32) / 255 for pair in some if not pair.mask]
    forged = [(truth_of(pair), images.read(pair.image)) for pair in some if pair.mask]

    def f1(threshold: float) -> float:
        return float(np.mean([expected(picture, truth, threshold)["f1"] for truth, picture in forged]))

    def area(threshold: float) -> float:
        return float(np.mean([(p >= threshold).mean() for p in originals]))

    steps = [k / 200 for k in range(1, 200)]
    for most in (0.02, 0.2, 1.0):
        chosen = choose_threshold(Red(), some, area=most)
        assert area(chosen) <= most
        assert f1(chosen) == pytest.approx(max(f1(step) for step in steps if area(step) <= most))
    alone = [Pair(pair.image, pair.mask, None, pair.source, "migan") for pair in some if pair.mask]
    assert f1(choose_threshold(Red(), alone)) == pytest.approx(max(map(f1, steps)))
    assert area(choose_threshold(Red(), some, area=0.02)) < area(choose_threshold(Red(), alone))


def test_threshold_is_the_highest_where_none_leaves_pristine_pictures_alone(pairs: list[Pair]) -> None:
    def certain(picture: np.ndarray) -> Found:
        return Found(np.ones(picture.shape[:2], np.float32))

    assert choose_threshold(certain, pairs) == 0.995
    with pytest.raises(FakeclfError, match="no forged validation pair"):
        choose_threshold(Red(), [pair for pair in pairs if not pair.mask])


# --- saved models ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs under the names of 2023 in a test part and a train part, and the bundle of a network that sees red."""
    import keras

    from fakeclf import bundle
    from segmentation.models.frame import localizer, picture_input

    folder = tmp_path_factory.mktemp("bundle")
    rng = np.random.default_rng(0)
    for k in range(6):
        where = folder / "data" / ("test" if k < 4 else "train") / ("telea" if k % 2 else "lama")
        original = rng.integers(60, 160, (16 + k, 24, 3)).astype(np.uint8)
        mask = np.zeros(original.shape[:2], np.uint8)
        mask[4:10, 3:12] = 255
        filled = np.clip(original + np.array([60, 0, 0]), 0, 255).astype(np.uint8)
        kinds = {"original": original, "mask": mask, "realfake": paste(original, filled, mask), "fakefake": original}
        for kind, pixels in kinds.items():
            images.save(where / f"{k}.{kind}.png", pixels)

    pictures, x = picture_input()
    red = keras.layers.Conv2D(1, 1, name="red")
    network = localizer(pictures, red(x), "red")
    red.set_weights([np.array([8.0, 0, 0], np.float32).reshape(1, 1, 3, 1), np.array([-4.0], np.float32)])
    recipe = {"seed": 3, "validation": 0.5, "localizing": {"edges": "any"}}
    about = {"model": "red", "module": "segmentation.models.frame", "threshold": 0.6}
    trained = {"recipe": recipe, "generators": ["telea"]}
    bundle.save(network, bundle.Card("red", "localizer", trained_on=trained, **about), folder / "red")
    asking = {"likeness": True, "history": True}
    bundle.save(network, bundle.Card("asking", "localizer", input=asking, **about), folder / "asking")
    bundle.save(network, bundle.Card("other", "classifier", **about), folder / "other")
    return folder


def test_a_bundle_is_measured_at_the_threshold_of_its_card(place: Path) -> None:
    found = evaluate_bundle(place / "red", str(place / "data"))
    assert (found.model, found.data, found.split, found.threshold) == ("red", "data", "test", 0.6)
    assert {name: row.pictures for name, row in found.rows.items()} == {"lama": 2, "telea": 2}
    assert len(found.pristines) == 4
    for one in found.forged:
        logit = images.read(one.image)[..., 0] / 255 * 8.0 - 4
        truth = images.read(one.image.replace("realfake", "mask"))[..., 0] > 0
        counted = metrics.count(truth, (1 / (1 + np.exp(-logit))).astype(np.float32), 0.6)
        assert abs(one.counts.tp - counted.tp) <= 1 and abs(one.counts.fp - counted.fp) <= 2
    text = "\n".join(found.protocol)
    assert ">= 0.6; given by the model's card" in text
    assert "generators: seen in training: telea; not: lama" in text
    assert "truth: inpainted where the mask is above 0" in text and "split: " in text
    other = evaluate_bundle(place / "red", str(place / "data"), threshold=0.99, limit=3, codec=parse("jpeg:90"))
    assert other.threshold == 0.99 and other.data == "data after jpeg:90"
    assert any("given by the caller" in line for line in other.protocol)


def test_what_is_looked_at_beside_the_network_is_named_and_left_out_where_asked(place: Path) -> None:
    data = str(place / "data")
    for without, named in (
        ((), ["mask: the network with the picture's own likeness and history"]),
        (("history",), ["mask: the network with the picture's own likeness"]),
        (("likeness", "history"), []),
    ):
        found = evaluate_bundle(place / "asking", data, without=without)
        assert [line for line in found.protocol if line.startswith("mask: ")] == named
    assert not any(line.startswith("mask: ") for line in evaluate_bundle(place / "red", data).protocol)


def test_the_variant_that_is_asked_for_is_looked_at(place: Path) -> None:
    found = evaluate_bundle(place / "red", str(place / "data"), variant="fakefake")
    assert found.data == "data (fakefake)" and {one.image.split(".")[-2] for one in found.forged} == {"fakefake"}
    known = evaluate_bundle(place / "red", str(place / "data"))
    assert found.all.figures["recall"] < known.all.figures["recall"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tests"}, "did you mean 'test'"),
        ({"bundle": "nosuch"}, "no saved model"),
        ({"bundle": "other"}, "not a localizer"),
        ({"dataset": "nosuch"}, "nosuch"),
    ],
)
def test_mistakes_with_bundles_are_answered_in_one_line(place: Path, arguments: dict, message: str) -> None:
    given = {"bundle": "red", "dataset": str(place / "data"), **arguments}
    bundle = place / given.pop("bundle")
    with pytest.raises(FakeclfError, match=message) as caught:
        evaluate_bundle(bundle, **given)
    assert "\n" not in str(caught.value)


def test_importing_it_imports_neither_keras_nor_matplotlib() -> None:
    code = "import sys, segmentation.evaluate; print({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
