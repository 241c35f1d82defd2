"""Evaluation: of scores against the metrics, and of a real saved model on real files from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakeclf import calibration, images, metrics, protocol
from fakeclf.data.codec import header
from fakeclf.data.datasets import Example
from fakeclf.errors import FakeclfError
from fakeclf.evaluate import Evaluation, evaluate, evaluate_model, evaluate_scores, published

FIGURES = {"accuracy", "balanced_accuracy", "auc", "ap", "eer", "f1", "precision", "recall", "ece", "loss"}
GLOW = 8.0  # how strongly the model below takes light for real


def scores(size: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, size)
    return truth, np.clip(truth * 0.3 + rng.random(size) * 0.7, 0, 1)


# --- scores ---------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_the_metrics() -> None:
    truth, p_real = scores()
    result = evaluate_scores(truth, p_real, threshold=0.4)
    assert result.figures == metrics.classification(truth, p_real, 0.4)
    for name in ("accuracy", "auc"):
        low, high = result.intervals[name]
        assert low < result.figures[name] < high
    assert (result.fakes, result.reals) == ((truth == 0).sum(), (truth == 1).sum())


def test_auc_interval_is_the_bootstrap_of_the_auc() -> None:
    truth, p_real = scores(150)
    order = np.argsort(p_real)
    expected = metrics.bootstrap(metrics.auc, truth[order], p_real[order], n=200, seed=3)
    assert evaluate_scores(truth, p_real, resamples=200, seed=3).intervals["auc"] == expected


def test_json_is_plain_and_complete() -> None:
    truth, p_real = scores()
    values = evaluate_scores(truth, p_real, model="m", data="d", unreadable=3).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert FIGURES | {"confusion", "intervals", "protocol", "pictures", "unreadable", "split"} <= values.keys()
    assert (values["pictures"], values["unreadable"], values["fake"] + values["real"]) == (400, 3, 400)
    assert values["published"] == []


def test_every_protocol_line_that_applies_is_there() -> None:
    truth, p_real = scores()
    result = evaluate_scores(truth, p_real, data="d", threshold=0.25, unreadable=3, notes=["size and codec, d: PNG"])
    text = "\n".join(result.protocol)
    for part in (
        "test split of d",
        f"{result.fakes} FAKE and {result.reals} REAL",
        "3 unreadable",
        "fixed",
        "P(FAKE) >= 0.25",
        "every picture counts once",
        "FAKE is positive",
        "raw scores",
        "1,000 resamples, seed 0",
        "95 %, bootstrap over pictures",
        "size and codec, d: PNG",
    ):
        assert part in text
    assert all(line in result.to_table() for line in result.protocol)


def test_joined_data_sets_get_a_row_each() -> None:
    truth, p_real = scores()
    of = np.where(np.arange(400) < 150, "cifake", "deepfakeart")
    result = evaluate_scores(truth, p_real, data="cifake+deepfakeart", parts=of)
    assert list(result.parts) == ["cifake", "deepfakeart"]
    assert result.parts["cifake"].figures == metrics.classification(truth[:150], p_real[:150])
    assert result.to_json()["parts"]["deepfakeart"]["pictures"] == 250
    header_line = result.to_table().splitlines()[2]
    assert header_line.split() == ["figure", "all", "95", "%", "interval", "cifake", "deepfakeart"]
    assert evaluate_scores(truth, p_real, parts=["one"] * 400).parts == {}


def test_table_is_aligned_and_sets_published_figures_beside() -> None:
    truth, p_real = scores()
    result = evaluate_scores(truth, p_real, model="mine", data="cifake")
    blocks = result.to_table().split("\n\n")
    for block in blocks[1:3]:
        rule = block.splitlines()[1]
        assert set(rule) == {"-", " "}
        assert all(len(line) <= len(rule) for line in block.splitlines())
    (beside,) = [block for block in blocks if block.startswith("Beside")]
    for figure in ("0.9639", "0.1013", "0.9858", "20,000", f"{result.figures['accuracy']:.4f}"):
        assert figure in beside
    assert "Beside" not in evaluate_scores(truth, p_real, data="cifake", split="validation").to_table()


def test_one_class_alone_is_reported_with_the_reason() -> None:
    result = evaluate_scores([1, 1, 1], [0.9, 0.4, 0.8])
    assert result.figures["auc"] is None and result.intervals["auc"] is None
    assert "no auc: there is no FAKE picture" in result.to_table()
    json.dumps(result.to_json(), allow_nan=False)


def test_save_writes_figures_and_plots(tmp_path: Path) -> None:
    result = evaluate_scores(*scores())
    result.save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["confusion.png", "evaluation.json", "roc.png"]
    assert json.loads((tmp_path / "new" / "evaluation.json").read_text()) == result.to_json()
    for name in ("confusion.png", "roc.png"):
        with Image.open(tmp_path / "new" / name) as picture:
            assert picture.format == "PNG"


def test_a_calibration_adds_what_it_mends_and_changes_nothing_else(tmp_path: Path) -> None:
    truth, p_real = scores()
    made = calibration.fit(*scores(seed=1), data="c", split="validation")
    plain, result = evaluate_scores(truth, p_real), evaluate_scores(truth, p_real, calibration=made)
    after = 1 - made.apply(1 - p_real)
    assert result.figures == plain.figures and plain.calibrated is None and plain.to_json()["calibrated"] is None
    assert result.calibrated == {"ece": metrics.ece(truth, after), "loss": metrics.log_loss(truth, after)}
    assert result.to_json()["calibrated"] == result.calibrated
    line = f"calibrated ECE {result.calibrated['ece']:.4f} ({plain.figures['ece']:.4f} before), loss "
    assert line in result.to_table() and "calibrated" not in plain.to_table()
    assert "calibrated ECE and loss: fitted on the validation split of c" in result.protocol
    result.save(tmp_path)
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.format == "PNG"
    parts = evaluate_scores(truth, p_real, parts=["a", "b"] * 200, calibration=made).parts
    assert parts["a"].calibrated == {
        "ece": metrics.ece(truth[::2], after[::2]),
        "loss": metrics.log_loss(truth[::2], after[::2]),
    }


@pytest.mark.parametrize(
    ("truth", "p_real", "threshold", "message"),
    [
        ([], [], 0.5, "no picture"),
        ([0, 1], [0.5, float("nan")], 0.5, "no probability for 1 of 2"),
        ([0, 1], [0.5, 1.2], 0.5, "no probability for 1 of 2"),
        ([0, 1], [0.5, 0.5], 50, "between 0 and 1; received 50"),
    ],
)
def test_what_cannot_be_measured_is_named(truth: list, p_real: list, threshold: float, message: str) -> None:
    with pytest.raises(FakeclfError, match=message):
        evaluate_scores(truth, p_real, threshold=threshold)


def test_importing_it_imports_neither_keras_nor_matplotlib() -> None:
    code = "import sys, fakeclf.evaluate; print({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


# --- published figures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "pictures", "accuracy", "loss"),
    [
        ("cifake", 20_000, 0.9639, 0.1013),
        ("deepfakeart", 2_026, 0.8110, 0.5316),
        ("cifake+deepfakeart", 22_026, 0.9497, 0.1373),
        ("deepfakeart+cifake", 22_026, 0.9497, 0.1373),
    ],
)
def test_published_figures_of_the_report(data: str, pictures: int, accuracy: float, loss: float) -> None:
    report = [row for row in published(data) if row["pictures"] == pictures and row["loss"]]
    assert [(row["accuracy"], row["loss"]) for row in report] == [(accuracy, loss)]


def test_published_has_the_best_and_nothing_for_other_data() -> None:
    assert [row["accuracy"] for row in published("cifake") if row["source"] == "best published"] == [0.9858]
    assert len(published("cifake+deepfakeart")) == 4
    assert published("sample") == []


# --- from files -----------------------------------------------------------------------------------------------------


def picture(rng: np.random.Generator, light: float, height: int, width: int) -> np.ndarray:
    return np.clip(rng.normal(light, 20, (height, width, 3)), 0, 255).astype(np.uint8)


def make_data(folder: Path, seed: int, number: int = 12) -> None:
    """A test split of light REAL and dark FAKE pictures of two sizes, close enough for a few errors."""
    rng = np.random.default_rng(seed)
    for label, light in (("FAKE", 115), ("REAL", 140)):
        for k in range(number):
            height, width = ((20, 30), (24, 24))[k % 2]
            pixels = picture(rng, light + rng.normal(0, 12), height, width)
            images.save(folder / "test" / label / f"{label.lower()}{k:02}.png", pixels)


def expected_p_real(path: Path) -> float:
    return float(1 / (1 + np.exp(-GLOW * (images.read(path).mean() / 255 - 0.5))))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, ``night`` with a broken file, and the bundle of a model that takes light for real."""
    import keras

    from fakeclf import bundle

    folder = tmp_path_factory.mktemp("evaluate")
    make_data(folder / "night", 1)
    make_data(folder / "dusk", 2, number=8)
    (folder / "night" / "test" / "FAKE" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")

    pictures = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(pictures)
    x = keras.layers.GlobalAveragePooling2D()(x)
    out = keras.layers.Dense(1, activation="sigmoid", name="p_real")
    model = keras.Model(pictures, out(x), name="light")
    out.set_weights([np.full((3, 1), GLOW / 3, np.float32), np.array([-GLOW / 2], np.float32)])
    card = bundle.Card(name="light", kind="classifier", model="light", module="fakeclf.models.layers", threshold=0.45)
    bundle.save(model, card, folder / "light")
    bundle.save(model, bundle.Card("coder", "autoencoder", "light", "fakeclf.models.layers"), folder / "coder")
    return folder


@pytest.fixture(scope="module")
def result(place: Path) -> Evaluation:
    return evaluate(place / "light", str(place / "night"), batch_size=5, data_dir=place / "home")


def test_scores_are_those_of_the_model_on_each_picture(place: Path, result: Evaluation) -> None:
    # The order is that of the data set: FAKE, then REAL, by name.
    found = [path for path in images.find(place / "night" / "test") if path.stem != "broken"]
    assert result.truth.tolist() == [path.parent.name == "REAL" for path in found]
    # The weights are kept as float16.
    np.testing.assert_allclose(result.p_real, [expected_p_real(path) for path in found], atol=1e-3)
    assert len(result.truth) == 24 and result.unreadable == 1


def test_threshold_is_the_cards_unless_given(place: Path, result: Evaluation) -> None:
    assert result.threshold == 0.45
    assert any("P(FAKE) >= 0.45; given by the model's card" in line for line in result.protocol)
    assert result.figures == metrics.classification(result.truth, result.p_real, 0.45)
    other = evaluate(place / "light", str(place / "night"), threshold=0.99, data_dir=place / "home")
    assert other.figures["recall"] == 0
    np.testing.assert_allclose(other.p_real, result.p_real, rtol=1e-6)  # whatever the batches
    assert other.figures["auc"] == pytest.approx(result.figures["auc"])


def test_report_names_sizes_codecs_and_what_was_left_out(place: Path, result: Evaluation) -> None:
    text = result.to_table()
    assert "light on night (test), 24 pictures: 12 FAKE, 12 REAL; 1 unreadable" in text
    assert "both classes 24x24 or 30x20, PNG (of 24 files looked at)" in text
    assert result.seconds > 0
    assert result.to_json()["data"] == "night"


def test_joined_folders_are_told_apart(place: Path, result: Evaluation) -> None:
    night, dusk = str(place / "night"), str(place / "dusk")
    both = evaluate(place / "light", f"{night}+{dusk}", data_dir=place / "home")
    assert {name: len(part.truth) for name, part in both.parts.items()} == {night: 24, dusk: 16}
    assert both.parts[night].figures["auc"] == result.figures["auc"]
    assert both.data == "night+dusk" and len(both.truth) == 40


def test_limit_takes_evenly_from_both_classes(place: Path) -> None:
    some = evaluate(place / "light", str(place / "dusk"), limit=6, data_dir=place / "home")
    assert (some.fakes, some.reals) == (3, 3)
    assert any("6 of 16 pictures" in line for line in some.protocol)


def test_a_model_in_memory_is_measured_alike(place: Path, result: Evaluation) -> None:
    from fakeclf import bundle
    from fakeclf.data import datasets

    data = datasets.load(place / "night", data_dir=place / "home")
    own = evaluate_model(bundle.load(place / "light"), data.test, data="night", split="validation", threshold=0.45)
    assert own.figures == result.figures
    assert (own.model, own.split, own.unreadable) == ("light", "validation", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tests"}, "did you mean 'test'"),
        ({"split": "train"}, "has no train pictures"),
        ({"limit": 0}, "at least 1"),
        ({"dataset": "cifak"}, "cifake"),
        ({"model": "nosuch"}, "no saved model"),
        ({"model": "coder"}, "kind 'autoencoder'"),
    ],
)
def test_mistakes_are_answered_in_one_line(place: Path, arguments: dict, message: str) -> None:
    given = {"dataset": str(place / "night"), "data_dir": place / "home", **arguments}
    with pytest.raises(FakeclfError, match=message) as caught:
        evaluate(place / given.pop("model", "light"), **given)
    assert "\n" not in str(caught.value)


# --- size and codec -------------------------------------------------------------------------------------------------


def test_differing_codecs_are_said_aloud(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    examples = []
    for k, (label, quality) in enumerate([(0, 75), (0, 75), (1, 95), (1, 90)]):
        path = tmp_path / f"{k}.jpg"
        images.save(path, picture(rng, 128, 16, 24), quality=quality)
        examples.append(Example(str(path), label, str(k)))
    examples.append(Example(str(tmp_path / "missing.jpg"), 0, "missing"))
    headers = protocol.read_headers(examples, ["d"] * 5)
    assert headers[("d", "FAKE")] == [header(tmp_path / "0.jpg"), header(tmp_path / "1.jpg")]
    (line,) = protocol.size_and_codec_lines(headers)
    assert line.startswith("size and codec, d: FAKE 24x16, JPEG quality 75; REAL 24x16, JPEG quality 90-95 (of 4 files")
    assert "THE CLASSES DIFFER" in line


def test_many_sizes_are_given_as_a_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(5):
        images.save(tmp_path / f"{k}.png", picture(rng, 128, 16 + k, 40 - k))
    headers = {("d", "FAKE"): [header(tmp_path / f"{k}.png") for k in range(5)], ("d", "REAL"): []}
    assert protocol.size_and_codec_lines(headers) == [
        "size and codec, d: FAKE 36-40 x 16-20, PNG (of 5 files looked at)"
    ]


def test_spaced_places_are_even_and_within() -> None:
    assert protocol.spaced(10, 4).tolist() == [0, 3, 6, 9]
    assert protocol.spaced(3, 200).tolist() == [0, 1, 2]
    assert protocol.spaced(5, 1).tolist() == [0]
