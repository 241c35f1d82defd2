"""Robustness of a classifier whose answers are known: it takes a picture for REAL where neighbouring pixels differ."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakeclf import degraded, images, metrics, plots
from fakeclf.data.datasets import Example
from fakeclf.data.degrade import parse
from fakeclf.degraded import predict_degraded
from fakeclf.errors import FakeclfError
from fakeclf.evaluate import evaluate
from fakeclf.robustness import COLUMNS, Robustness, Row, paired_change, robustness, robustness_model

STEPS = ("gamma:0.8", "jpeg:95", "blur:2", "noise:0.3", "crop:0.8")
SIZES = ((20, 30), (24, 24), (20, 30), (16, 20))


def texture(rng: np.random.Generator, height: int, width: int, strength: float) -> np.ndarray:
    """Columns that are lighter and darker by turns, by about ``strength``, the same in every channel."""
    waves = np.where(np.arange(width) % 2, strength, -strength)[None, :] + rng.normal(0, 1, (height, width))
    return np.clip(128 + waves, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def expected(picture: np.ndarray) -> float:
    """P(REAL): the sigmoid of a fifth of what the mean step from column to column exceeds 20 by."""
    grey = picture.astype(float).mean(axis=2)
    return float(1 / (1 + np.exp(-(np.abs(np.diff(grey, axis=1)).mean() - 20) / 5)))


@pytest.fixture(scope="module")
def network() -> Any:
    import keras

    pictures = keras.Input((None, None, 3))
    step = keras.layers.Conv2D(1, (1, 2), use_bias=False, activation=lambda x: keras.ops.abs(x))
    pooled = keras.layers.GlobalAveragePooling2D()(step(pictures))
    answer = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(pictures, answer(pooled), name="steps")
    step.set_weights([np.array([-1 / 3, 1 / 3], np.float32).reshape(1, 2, 1, 1).repeat(3, axis=2)])
    answer.set_weights([np.array([[0.2]], np.float32), np.array([-4.0], np.float32)])
    return model


def make(folder: Path, each: int = 8) -> list[Example]:
    """Smooth FAKE and textured REAL pictures of several sizes; one of each class looks like the other."""
    rng = np.random.default_rng(0)
    made = []
    for label, word in enumerate(("FAKE", "REAL")):
        for k in range(each):
            strength = 40 if (word == "REAL") != (k == 3) else 0
            path = folder / "test" / word / f"{k}.png"
            images.save(path, texture(rng, *SIZES[k % 4], strength))
            made.append(Example(str(path), label, path.stem))
    return made


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return make(tmp_path_factory.mktemp("robustness") / "night")


@pytest.fixture(scope="module")
def result(network: Any, examples: list[Example]) -> Robustness:
    return robustness_model(network, examples, data="night", split="test", notes=["a note"], degradations=STEPS)


def by_name(result: Robustness) -> dict[str, Row]:
    return {row.name: row for row in result.rows}


# --- what the network is shown --------------------------------------------------------------------------------------


def test_scores_are_those_of_each_degraded_picture(network: Any, examples: list[Example]) -> None:
    steps = [parse(text) for text in STEPS if not text.startswith("noise")]
    found = predict_degraded(network, examples, steps, batch_size=3)
    assert found.places.tolist() == list(range(16)) and (found.unreadable, found.problems) == (0, [])
    pictures = [images.read(example.path) for example in examples]
    np.testing.assert_allclose(found.p_real[0], [expected(picture) for picture in pictures], atol=1e-4)
    for row, step in zip(found.p_real[1:], steps, strict=True):
        np.testing.assert_allclose(row, [expected(step.apply(picture)) for picture in pictures], atol=1e-4)


def test_noise_is_another_for_each_picture_and_the_same_wherever_the_data_lie(
    network: Any, examples: list[Example], tmp_path: Path
) -> None:
    flat = [Example(str(tmp_path / "here" / f"{k}.png"), k % 2, str(k // 2)) for k in range(6)]
    for example in flat:
        images.save(example.path, np.full((16, 16, 3), 128, np.uint8))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    moved = [Example(example.path.replace("here", "there"), example.label, example.source) for example in flat]
    steps = [parse("noise:0.05")]
    here, there = (predict_degraded(network, some, steps).p_real for some in (flat, moved))
    np.testing.assert_array_equal(here, there)
    assert len(np.unique(here[0])) == 1 and len(np.unique(here[1])) == 6
    assert (predict_degraded(network, flat, steps, seed=1).p_real[1] != here[1]).all()


def test_each_file_is_decoded_once_whatever_the_number_of_rows(
    network: Any, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    read = images.read

    def counted(source: str | bytes, *limit: int) -> np.ndarray:
        decoded.extend([source] if isinstance(source, str) else [])
        return read(source, *limit)

    monkeypatch.setattr(images, "read", counted)
    predict_degraded(network, examples, [parse(text) for text in STEPS])
    # The first of each class also before anything else, to tell of a class that cannot be read at all.
    assert sorted(decoded) == sorted([example.path for example in examples] + [examples[0].path, examples[8].path])


def test_batches_are_of_one_size_and_small_where_pictures_are_large(
    network: Any, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = list(degraded._batches(examples, 3))
    assert sorted(place for batch in batches for place in batch) == list(range(16))
    sizes = [{images.read(examples[place].path).shape for place in batch} for batch in batches]
    assert all(len(some) == 1 for some in sizes) and max(map(len, batches)) == 3
    monkeypatch.setattr(degraded, "BATCH_BYTES", 2 * 20 * 30 * 12)
    # Eight of 20 x 30 and four of 24 x 24 in twos, of the four of 16 x 20 three together.
    assert sorted(len(batch) for batch in degraded._batches(examples, 64)) == [1, 2, 2, 2, 2, 2, 2, 3]


def test_no_more_than_one_batch_is_made_ahead() -> None:
    asked = []

    def items() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    for number in degraded._one_ahead(items()):
        assert asked == list(range(min(number + 2, 5)))
    assert list(degraded._one_ahead([])) == []


def test_pictures_that_exif_turns_are_batched_as_they_are_shown(
    network: Any, examples: list[Example], tmp_path: Path
) -> None:
    turned = Image.fromarray(np.rot90(images.read(examples[8].path)).copy())
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    upright = Image.fromarray(np.rot90(images.read(examples[8].path)).copy())
    upright.save(tmp_path / "upright.png")
    some = [Example(str(tmp_path / name), 1, name) for name in ("turned.png", "upright.png")]
    assert len(list(degraded._batches(some, 8))) == 1
    found = predict_degraded(network, some, [parse("jpeg:95")]).p_real
    pictures = [images.read(example.path) for example in some]
    assert pictures[0].shape == (20, 30, 3) and pictures[1].shape == (30, 20, 3)
    np.testing.assert_allclose(found[0], [expected(picture) for picture in pictures], atol=1e-4)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_rows_are_what_the_model_must_give(examples: list[Example], result: Robustness) -> None:
    rows = by_name(result)
    assert list(rows) == ["untouched", *STEPS]
    # One of eight of each class looks like the other.
    for name in ("untouched", "gamma:0.8", "jpeg:95", "crop:0.8"):
        assert {rows[name].figures[key] for key in ("accuracy", "recall", "specificity")} == {0.875}
        assert rows[name].figures["change"] == 0.0 and rows[name].intervals["change"] == (0.0, 0.0)
    p_real = [expected(images.read(example.path)) for example in examples]
    auc = metrics.auc([example.label for example in examples], p_real)
    assert rows["untouched"].figures["auc"] == pytest.approx(auc, abs=0.02) and auc < 0.95
    # Blur leaves no steps, strong noise makes them everywhere.
    assert [rows["blur:2"].figures[key] for key in ("accuracy", "recall", "specificity")] == [0.5, 1.0, 0.0]
    assert [rows["noise:0.3"].figures[key] for key in ("accuracy", "recall", "specificity")] == [0.5, 0.0, 1.0]
    for name in ("blur:2", "noise:0.3"):
        low, high = rows[name].intervals["change"]
        assert rows[name].figures["change"] == -37.5 and low < -37.5 < high
    assert all(row.pictures == 16 for row in result.rows)


def test_untouched_row_is_the_evaluation_of_the_same_pictures(network: Any, tmp_path: Path) -> None:
    import keras

    from fakeclf import bundle

    make(tmp_path / "night", each=6)
    pictures = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid")(pooled), name="light")
    card = bundle.Card("light", "classifier", "light", "fakeclf.models.layers", threshold=0.47)
    bundle.save(model, card, tmp_path / "light")
    for limit in (None, 6):
        options: dict[str, Any] = {"limit": limit, "data_dir": tmp_path / "home"}
        plain = evaluate(tmp_path / "light", str(tmp_path / "night"), **options)
        found = robustness(tmp_path / "light", str(tmp_path / "night"), degradations=["blur:1"], **options)
        row = found.rows[0]
        assert found.threshold == plain.threshold == 0.47 and found.split == plain.split
        assert row.pictures == len(plain.truth) == (limit or 12)
        for key in ("accuracy", "auc", "recall"):
            assert row.figures[key] == plain.figures[key] and row.intervals[key] == plain.intervals[key]
        cells = plain.figures["confusion"]
        assert row.figures["specificity"] == cells["tn"] / (cells["tn"] + cells["fp"])
        assert any("given by the model's card" in line for line in found.protocol)
        same = [line for line in plain.protocol if line.startswith(("size and codec", "split:"))]
        assert same and set(same) <= set(found.protocol)
    other = robustness(tmp_path / "light", str(tmp_path / "night"), threshold=0.0, degradations=[], **options)
    assert other.rows[0].figures["recall"] == 1 and any("given by the caller" in line for line in other.protocol)


def test_paired_change_is_the_bootstrap_of_pictures_with_both_verdicts() -> None:
    rng = np.random.default_rng(0)
    before = rng.random(400) < 0.9
    after = np.where(rng.random(400) < 0.1, ~before, before)
    change, (low, high) = paired_change(before, after)
    assert change == pytest.approx(100 * (after.mean() - before.mean())) and low < change < high
    drawn = rng.integers(0, 400, (4000, 400))
    slow = np.percentile(100 * (after[drawn].mean(axis=1) - before[drawn].mean(axis=1)), [2.5, 97.5])
    np.testing.assert_allclose((low, high), slow, atol=0.6)
    # Half as wide as that of two independent samples would be.
    alone = [metrics.interval(100 * side[drawn].mean(axis=1)) for side in (before, after)]
    assert high - low < 0.8 * np.hypot(*(ends[1] - ends[0] for ends in alone))
    assert paired_change(before, before) == (0.0, (0.0, 0.0))
    assert paired_change(np.ones(5, bool), np.zeros(5, bool)) == (-100.0, (-100.0, -100.0))


def test_one_class_alone_has_no_auc_and_no_specificity(network: Any, examples: list[Example]) -> None:
    found = robustness_model(network, examples[:8], data="night", split="test", degradations=["blur:2"])
    for row in found.rows:
        assert row.figures["auc"] is row.figures["specificity"] is row.intervals["specificity"] is None
    assert [row.figures["recall"] for row in found.rows] == [0.875, 1.0]
    json.dumps(found.to_json(), allow_nan=False)
    assert "-" in found.to_table().splitlines()[4].split()


# --- what cannot be used --------------------------------------------------------------------------------------------


def test_unreadable_files_are_counted_named_and_left_out(
    network: Any, examples: list[Example], result: Robustness, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(Path(examples[0].path).read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("no picture")
    bad = [Example(str(tmp_path / name), 0, name) for name in ("broken.png", "text.jpg", "gone.png")]
    found = robustness_model(network, [bad[0], *examples, *bad[1:]], data="night", split="test", degradations=STEPS)
    assert found.rows == result.rows
    assert found.unreadable == 3 and len(found.problems) == 3
    assert "3 unreadable" in found.protocol[0] and "3 unreadable" in found.to_table().splitlines()[0]
    for name in ("broken.png", "text.jpg", "gone.png"):
        assert sum(name in line for line in found.problems) == sum(name in r.getMessage() for r in caplog.records) == 1
        assert name in found.to_table()
    with pytest.raises(FakeclfError, match="class FAKE can be read"):
        robustness_model(network, [*bad, *examples[8:]], data="night", split="test", degradations=STEPS)


def test_a_picture_that_a_codec_cannot_hold_is_in_no_row(
    network: Any, examples: list[Example], result: Robustness, tmp_path: Path
) -> None:
    images.save(tmp_path / "long.png", np.zeros((2, 16_400, 3), np.uint8))
    some = [*examples, Example(str(tmp_path / "long.png"), 1, "long")]
    found = robustness_model(network, some, data="night", split="test", degradations=["webp:80", "blur:2"])
    assert {row.pictures for row in found.rows} == {16} and found.rows[0] == result.rows[0]
    assert found.unreadable == 0 and "WebP holds at most" in found.problems[0] and "long.png" in found.problems[0]
    assert "0 unreadable, 1 too large for a codec" in found.protocol[0]


def test_a_network_that_gives_no_probabilities_is_named(examples: list[Example]) -> None:
    import keras

    pictures = keras.Input((None, None, 3))
    light = keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(pictures)[:, :1], name="light")
    with pytest.raises(FakeclfError, match="gave no probability for 16 of 16"):
        robustness_model(light, examples, data="night", split="test", degradations=[])
    three = keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(pictures), name="three")
    with pytest.raises(FakeclfError, match="three gives .* no classifier does"):
        robustness_model(three, examples, data="night", split="test", degradations=[])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tests"}, "did you mean 'test'"),
        ({"limit": 0}, "at least 1"),
        ({"model": "nosuch"}, "no saved model"),
        ({"model": "coder"}, "kind 'autoencoder'"),
        ({"degradations": ["jpg:90"]}, "did you mean 'jpeg'"),
        ({"split": "train"}, "has no train pictures"),
    ],
)
def test_mistakes_are_answered_in_one_line(network: Any, tmp_path: Path, arguments: dict, message: str) -> None:
    from fakeclf import bundle

    make(tmp_path / "night", each=4)
    import keras

    pictures = keras.Input((None, None, 3))
    model = keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(pictures), name="light")
    bundle.save(model, bundle.Card("light", "classifier", "light", "fakeclf.models.layers"), tmp_path / "light")
    bundle.save(model, bundle.Card("coder", "autoencoder", "light", "fakeclf.models.layers"), tmp_path / "coder")
    given = {"dataset": str(tmp_path / "night"), "data_dir": tmp_path / "home", **arguments}
    with pytest.raises(FakeclfError, match=message) as caught:
        robustness(tmp_path / given.pop("model", "light"), **given)
    assert "\n" not in str(caught.value)


# --- reports --------------------------------------------------------------------------------------------------------


def test_table_and_markdown_hold_every_figure_and_line(result: Robustness) -> None:
    head, table, how = result.to_table().split("\n\n", 2)
    assert head.startswith("steps on night (test), 16 pictures; 0 unreadable; ")
    header, rule, *body = table.splitlines()
    assert set(rule) == {"-", " "} and all(len(line) <= len(rule) for line in (header, *body))
    assert [line.split()[0] for line in body] == ["untouched", *STEPS]
    blurred = body[3]
    assert blurred.split()[1:4] == ["16", "0.5000", f"{by_name(result)['blur:2'].figures['auc']:.4f}"]
    low, high = by_name(result)["blur:2"].intervals["change"]
    assert blurred.endswith(f"-37.50 ({low:+.2f} to {high:+.2f})")
    assert all(f"- {line}" in how for line in result.protocol)
    markdown = result.to_markdown()
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 8 and all(row.count("|") == len(COLUMNS) + 3 for row in rows)
    low, high = by_name(result)["blur:2"].intervals["accuracy"]
    assert f"0.5000 ({low:.4f} to {high:.4f})" in rows[5]


def test_protocol_says_what_belongs_to_every_figure(result: Robustness) -> None:
    text = "\n".join(result.protocol)
    for part in (
        "test split of night, 8 FAKE and 8 REAL",
        "fixed, the same in every row, a picture is called FAKE where P(FAKE) >= 0.5; given by default",
        "both classes alike",
        "every picture counts once",
        "FAKE is positive",
        "raw scores",
        "against the untouched row",
        "95 %, bootstrap over pictures (percentiles), 1,000 resamples, seed 0",
        "size and codec, night:",
        "a note",
    ):
        assert part in text


def test_files_hold_the_same_figures(result: Robustness, tmp_path: Path) -> None:
    result.save(tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["robustness.csv", "robustness.json", "robustness.png", "table.md"]
    values = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert values == result.to_json() == json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert (values["data"], values["split"], values["pictures"]) == ("night, degraded", "test", 16)
    with (tmp_path / "out" / "robustness.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    for line, row, one in zip(table, result.rows, values["rows"], strict=True):
        assert line["name"] == row.name == one["name"]
        for column in COLUMNS:
            assert float(line[column.key]) == pytest.approx(row.figures[column.key], rel=1e-5)
            ends = [float(line[f"{column.key}_{end}"]) for end in ("low", "high")]
            assert ends == pytest.approx(row.intervals[column.key], rel=1e-5)
            assert tuple(one["intervals"][column.key]) == row.intervals[column.key]
    assert (tmp_path / "out" / "table.md").read_text() == result.to_markdown()


def test_plot_follows_the_figures(result: Robustness, tmp_path: Path) -> None:
    result.save(tmp_path / "one")
    result.save(tmp_path / "two")
    first = (tmp_path / "one" / "robustness.png").read_bytes()
    assert first == (tmp_path / "two" / "robustness.png").read_bytes()
    with Image.open(tmp_path / "one" / "robustness.png") as picture:
        assert picture.format == "PNG" and 600 <= picture.width <= 2000 and 300 <= picture.height <= 1500
        colours = {tuple(colour) for colour in np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours
    thin: dict[str, Any] = {"IoU": {"localizer": [(None, None), (0.4, None)]}}
    plots.robustness(["untouched", "jpeg:50"], thin, tmp_path / "thin.png")
    assert (tmp_path / "thin.png").stat().st_size > 1000


def test_importing_it_imports_neither_keras_nor_matplotlib() -> None:
    code = "import sys, fakeclf.robustness; print({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
