"""Calibration: against scikit-learn, what must hold for any scores, and of a saved model from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from fakeclf import calibration, images, metrics, plots
from fakeclf.calibration import Calibration
from fakeclf.errors import FakeclfError

OF = {"data": "d", "split": "validation"}


def drawn(
    size: int, temperature: float = 1.0, bias: float = 0.0, spread: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and raw P(REAL) of a model that this temperature and bias put right."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, spread, size)
    fake = random.random(size) < expit(logits / temperature + bias)
    return (~fake).astype(int), expit(-logits)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 40 pictures of both classes; scores with many ties, some of them 0 and 1."""
    truth = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=38))]
    grid = draw(st.lists(st.integers(0, 32), min_size=len(truth), max_size=len(truth)))
    return np.array(truth), np.array(grid) / 32


@pytest.fixture(scope="module")
def made() -> Calibration:
    return calibration.fit(*drawn(2000, 2.5, 0.7), **OF, notes=["a note"])


# --- temperature and bias -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.5, 0.7), (0.4, -1.0)])
def test_many_pictures_give_what_scikit_learn_gives(temperature: float, bias: float) -> None:
    truth, p_real = drawn(20_000, temperature, bias)
    # C = inf: no penalty, so the maximum likelihood.
    theirs = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    theirs.fit(logit(1 - p_real)[:, None], truth == 0)
    ours = calibration.fit(truth, p_real, **OF)
    assert ours.temperature == pytest.approx(1 / theirs.coef_[0, 0], rel=1e-3)
    assert ours.bias == pytest.approx(theirs.intercept_[0], abs=1e-3)
    assert ours.temperature == pytest.approx(temperature, rel=0.05)
    assert ours.bias == pytest.approx(bias, abs=0.1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(1.0, 4.0))
def test_calibrated_scores_stay(seed: int, spread: float) -> None:
    made = calibration.fit(*drawn(5000, spread=spread, seed=seed), **OF)
    assert made.temperature == pytest.approx(1, abs=0.2) and made.bias == pytest.approx(0, abs=0.2)


def test_overconfident_scores_are_mended() -> None:
    made = calibration.fit(*drawn(4000, 3.0, 0.5, spread=6), **OF)
    assert made.ece_before > 0.08 and made.ece_after < 0.03
    assert made.loss_after < made.loss_before - 0.1
    truth, p_real = drawn(20_000, 3.0, 0.5, spread=6, seed=1)  # others of the same model
    assert metrics.ece(truth, 1 - made.apply(1 - p_real)) < 0.02 < 0.08 < metrics.ece(truth, p_real)


def test_separated_classes_give_no_certainty() -> None:
    truth = np.repeat([0, 1], 10)
    made = calibration.fit(truth, np.where(truth == 0, 0.3, 0.7), **OF)
    assert 0.1 < made.temperature < 1 and made.bias == pytest.approx(0, abs=1e-6)
    assert 0.9 < made.apply(0.7) < 0.9999
    assert made.threshold == pytest.approx(0.5) and made.real_below == made.threshold
    assert (made.recall, made.false_positives_reached, made.band) == (1, 0, 0)


@pytest.mark.parametrize(("step", "bound"), [(1.0, 20.0), (-1e-4, 0.05)])
def test_the_temperature_stays_within_its_bounds(step: float, bound: float) -> None:
    """Scores that rank the classes the wrong way round, and scores that separate them by a hair."""
    truth = np.repeat([0, 1], 5000)
    made = calibration.fit(truth, expit(np.where(truth == 0, 1, -1) * step), **OF)
    assert made.temperature == bound
    assert any(line.startswith(f"the temperature is at its bound, {bound:g}") for line in made.protocol)


def test_equal_scores_say_nothing_but_the_share() -> None:
    made = calibration.fit([0] * 20 + [1] * 60, [0.9] * 80, **OF)
    assert made.temperature == pytest.approx(1) and made.apply(0.1) == pytest.approx(0.25)
    assert made.apply(0.1) < made.threshold < made.apply(0.11)  # nothing was called fake, anything above is


def test_apply_takes_numbers_and_arrays(made: Calibration) -> None:
    expected = expit(logit(0.8) / made.temperature + made.bias)
    assert made.apply(0.8) == pytest.approx(expected) and isinstance(made.apply(0.8), float)
    several = made.apply(np.array([[0.8, 0.2]], np.float32))
    assert several.shape == (1, 2) and several.dtype == np.float64
    assert several[0] == pytest.approx([expected, made.apply(0.2)], rel=1e-6)
    assert 0 < made.apply(0.0) == made.apply(1e-8) < made.apply(1e-6) < made.apply(1.0) < 1


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 20), st.floats(-8, 8))
def test_apply_keeps_the_order(one: float, other: float, temperature: float, bias: float) -> None:
    values = dict.fromkeys((item for item in Calibration.__dataclass_fields__), 0.0)
    made = Calibration(**{**values, "temperature": temperature, "bias": bias})  # type: ignore[arg-type]
    low, high = sorted((one, other))
    assert 0 < made.apply(low) <= made.apply(high) + 1e-12 < 1 + 1e-12


# --- threshold and band ---------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(scored(), st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.29, 0.9]), st.sampled_from([0.0, 0.05, 0.2, 0.5]))
def test_rates_are_kept_and_no_more_could_be_called(
    pictures: tuple[np.ndarray, np.ndarray], rate: float, error: float
) -> None:
    truth, p_real = pictures
    made = calibration.fit(truth, p_real, false_positives=rate, error=error, **OF)
    p_fake, fake = made.apply(1 - p_real), truth == 0
    called = p_fake >= made.threshold
    assert made.false_positives_reached == called[~fake].mean() <= rate
    assert made.recall == called[fake].mean()
    spared = np.unique(p_fake[~called])
    assert (p_fake[~fake] >= spared[-1]).mean() > rate  # the next lower threshold breaks it

    below = p_fake < made.real_below
    assert 0 <= made.real_below <= made.threshold <= 1
    assert not below.any() or fake[below].mean() <= error
    for limit in [*p_fake[(p_fake > made.real_below) & (p_fake <= made.threshold)], made.threshold]:
        more = p_fake < limit
        assert limit <= made.real_below or not more.any() or fake[more].mean() > error
    assert made.band == (~below & ~called).mean()


def test_the_threshold_lies_in_the_middle_of_a_gap() -> None:
    truth = np.repeat([0, 1], 100)
    p_fake = np.concatenate([np.linspace(0.6, 0.9, 100), np.linspace(0.1, 0.3, 99), [0.8]])
    made = calibration.fit(truth, 1 - p_fake, **OF)  # one of a hundred REAL pictures may be called
    low, high = made.apply(0.3), made.apply(0.6)
    assert logit(made.threshold) == pytest.approx((logit(low) + logit(high)) / 2)
    stricter = calibration.fit(truth, 1 - p_fake, false_positives=0.0, **OF)
    assert stricter.threshold > made.apply(0.8) > made.threshold


def test_few_real_pictures_cannot_tell_a_low_rate() -> None:
    def said(reals: int, rate: float = 0.01) -> list[str]:
        truth = np.array([0] * 30 + [1] * reals)
        lines = calibration.fit(truth, np.where(truth == 0, 0.3, 0.7), false_positives=rate, **OF).protocol
        return [line for line in lines if "cannot be told" in line]

    assert said(99) == ["a rate of 0.01 cannot be told from 99 REAL pictures; it takes 100"]
    assert said(100) == said(20, 0.05) == said(20, 0.0) == []
    assert said(19, 0.05) == ["a rate of 0.05 cannot be told from 19 REAL pictures; it takes 20"]


def test_nothing_is_called_real_where_nothing_can_be() -> None:
    truth = np.repeat([0, 1], 50)
    made = calibration.fit(truth, np.where(truth == 0, 0.7, 0.3), **OF)
    assert made.real_below == 0 and any("no picture is called real" in line for line in made.protocol)


@pytest.mark.parametrize(("fakes", "words"), [(1, "of the pictures it was fitted on"), (2, "2 folds"), (10, "5 folds")])
def test_what_is_measured_after_was_not_fitted_on(fakes: int, words: str) -> None:
    random = np.random.default_rng(0)
    truth = np.array([0] * fakes + [1] * 30)
    p_real = expit(random.normal(np.where(truth == 0, -1, 1), 2))
    made = calibration.fit(truth, p_real, **OF)
    assert any(line.startswith("ECE and loss after: ") and words in line for line in made.protocol)
    within = metrics.log_loss(truth, 1 - made.apply(1 - p_real))
    assert made.loss_after == pytest.approx(within) if fakes == 1 else made.loss_after > within + 1e-4
    assert made == calibration.fit(truth, p_real, **OF)


@pytest.mark.parametrize(
    ("truth", "options", "message"),
    [
        ([1, 1], {}, "needs FAKE and REAL pictures; the validation split of d has 0 FAKE and 2 REAL"),
        ([0, 0], {}, "has 2 FAKE and 0 REAL"),
        ([0, 1], {"error": 1.0}, "error is a share .* received 1.0"),
        ([0, 1], {"false_positives": -0.1}, "false_positives is a share .* received -0.1"),
    ],
)
def test_what_cannot_be_fitted_is_named(truth: list[int], options: dict, message: str) -> None:
    with pytest.raises(FakeclfError, match=message):
        calibration.fit(truth, [0.2, 0.7], **OF, **options)
    assert (calibration.for_card(truth, [0.2, 0.7], data="d") is None) == (len(set(truth)) == 1)


# --- in a card ------------------------------------------------------------------------------------------------------


def test_a_card_keeps_it(made: Calibration) -> None:
    values = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert Calibration.from_json(values) == made == Calibration.from_json({**values, "later": 1})
    assert (made.pictures, made.fakes + made.reals, made.protocol[-1]) == (2000, 2000, "a note")
    table = made.to_table()
    assert "calibrated on d (validation), 2,000 pictures" in table and "- a note" in table


def test_a_broken_card_is_named(made: Calibration) -> None:
    values = made.to_json()
    for name in values:
        with pytest.raises(FakeclfError, match=f"the calibration of mine lacks '{name}'"):
            Calibration.from_json({key: value for key, value in values.items() if key != name}, "mine")
    for broken in ({"bias": "much"}, {"threshold": float("nan")}, {"temperature": 0.0}, {"temperature": None}):
        with pytest.raises(FakeclfError, match=next(iter(broken))):
            Calibration.from_json({**values, **broken})
    with pytest.raises(FakeclfError, match="not a dictionary"):
        Calibration.from_json([1.0])


# --- of a saved model -----------------------------------------------------------------------------------------------

GLOW = 100.0  # how strongly the model below takes light for real: too strongly


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Light REAL and dark FAKE pictures that overlap, and the bundle of a model that is too sure of the difference."""
    import keras

    from fakeclf import bundle

    folder = tmp_path_factory.mktemp("calibration")
    random = np.random.default_rng(0)
    for part, number in (("val", 60), ("test", 60)):
        for label, light in (("FAKE", 120), ("REAL", 136)):
            for k in range(number):
                pixels = random.normal(light + random.normal(0, 10), 5, (8, 8, 3))
                images.save(folder / "night" / part / label / f"{part}{k}.png", pixels.clip(0, 255).astype(np.uint8))
    pictures = keras.Input((None, None, 3))
    out = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(pictures, out(keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))))
    out.set_weights([np.full((3, 1), GLOW / 3, np.float32), np.array([-GLOW / 2], np.float32)])
    for name, kind in (("light", "classifier"), ("coder", "autoencoder")):
        bundle.save(model, bundle.Card(name, kind, "light", "fakeclf.models.layers"), folder / name)
    return folder


def test_a_bundle_is_calibrated_and_evaluated_after_it(place: Path, tmp_path: Path) -> None:
    from fakeclf import bundle
    from fakeclf.evaluate import evaluate

    at = {"data_dir": tmp_path}
    before = (place / "light" / "model.keras").read_bytes()
    found = calibration.calibrate(place / "light", str(place / "night"), out=tmp_path / "drawn", **at)
    held = evaluate(place / "light", str(place / "night"), split="validation", **at)
    assert found == calibration.fit(held.truth, held.p_real, data="night", split="validation")
    assert (found.fakes, found.reals) == (60, 60) and found.temperature > 1.5
    assert bundle.read_card(place / "light").calibration == found.to_json()
    assert bundle.verify(place / "light") == [] and (place / "light" / "model.keras").read_bytes() == before
    plots.calibration(held.truth, held.p_real, 1 - found.apply(1 - held.p_real), tmp_path / "expected.png")
    drawn = tmp_path / "drawn" / "reliability.png"
    assert drawn.read_bytes() == (tmp_path / "expected.png").read_bytes()

    test = evaluate(place / "light", str(place / "night"), **at)
    assert test.calibrated["loss"] < test.figures["loss"] and test.threshold == 0.5
    assert "calibrated ECE" in test.to_table()
    plain = evaluate(place / "light", str(place / "night"), calibrated=False, **at)
    assert plain.calibrated is None and plain.figures == test.figures


def test_a_broken_calibration_can_be_replaced(place: Path, tmp_path: Path) -> None:
    from fakeclf import bundle
    from fakeclf.evaluate import evaluate

    bundle.set_calibration(place / "light", {"temperature": 1.0})
    with pytest.raises(FakeclfError, match="the calibration of light lacks 'bias'"):
        evaluate(place / "light", str(place / "night"), data_dir=tmp_path)
    some = calibration.calibrate(place / "light", str(place / "night"), limit=30, data_dir=tmp_path)
    assert some.pictures == 30 and "at most about 30 pictures" in some.protocol[-1]
    assert evaluate(place / "light", str(place / "night"), data_dir=tmp_path).calibration == some


def test_the_split_is_that_of_the_training(place: Path, tmp_path: Path, make_pictures) -> None:
    from fakeclf import bundle
    from fakeclf.data import datasets

    pictures = make_pictures("whole", count=40, size=8)
    card = bundle.read_card(place / "light")
    card.trained_on = {"recipe": {"seed": 3, "validation": 0.5}}
    bundle.save(bundle.load(place / "light"), card, tmp_path / "other")
    found = calibration.calibrate(tmp_path / "other", str(pictures), data_dir=tmp_path)
    own = datasets.load(pictures, validation=0.5, seed=3, data_dir=tmp_path).validation
    assert found.pictures == len(own) != len(datasets.load(pictures, data_dir=tmp_path).validation)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("light", "test", "takes the split validation or train"),
        ("light", "train", "has no train pictures"),
        ("coder", "validation", "kind 'autoencoder'"),
        ("nosuch", "validation", "no saved model"),
    ],
)
def test_mistakes_are_answered_in_one_line(place: Path, tmp_path: Path, name: str, split: str, message: str) -> None:
    with pytest.raises(FakeclfError, match=message) as caught:
        calibration.calibrate(place / name, str(place / "night"), split=split, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_command(place: Path, tmp_path: Path) -> None:
    from fakeclf import bundle
    from fakeclf.cli.calibrate import ERROR, FALSE_POSITIVES, calibrate

    assert (ERROR, FALSE_POSITIVES) == (calibration.ERROR, calibration.FALSE_POSITIVES)
    arguments = [str(place / "light"), "--dataset", str(place / "night"), "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(calibrate, [*arguments, "--false-positives", "0.1", "--out", str(tmp_path / "drawn")])
    assert done.exit_code == 0, done.output
    assert "calibrated on night (validation), 120 pictures: 60 FAKE, 60 REAL" in done.output
    card = bundle.read_card(place / "light")
    assert card.calibration is not None and card.calibration["false_positives"] == 0.1
    assert card.reach is not None and card.reach["smallest"] == 8 and "judges: pictures of at least 8" in done.output
    with Image.open(tmp_path / "drawn" / "reliability.png") as picture:
        assert picture.format == "PNG"
    done = CliRunner().invoke(calibrate, [*arguments, "--error", "0.2", "--reach", "0", "--json"])
    assert json.loads(done.stdout) == bundle.read_card(place / "light").calibration
    assert json.loads(done.stdout)["error"] == 0.2 and bundle.read_card(place / "light").reach == card.reach
    assert CliRunner().invoke(calibrate, [*arguments, "--error", "1"]).exit_code == 2
