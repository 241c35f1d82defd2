"""Metrics against scikit-learn, against counting by hand, and against what must hold for any scores."""

from __future__ import annotations

import ast
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from fakeclf import metrics

UNDEFINED_WITHOUT_FAKE = {"balanced_accuracy", "auc", "ap", "eer", "recall"}
UNDEFINED_WITHOUT_REAL = {"balanced_accuracy", "auc", "ap", "eer"}


def pictures(size: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, size)
    truth[:2] = 0, 1
    p_real = 1 / (1 + np.exp(-(truth * 2.0 - 1 + rng.normal(0, 1.5, size))))
    return truth, np.round(p_real, 1) if ties else p_real


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 40 pictures of both classes; scores on a grid of 64ths, so that ties are frequent and sums exact."""
    truth = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=38))]
    grid = draw(st.lists(st.integers(0, 64), min_size=len(truth), max_size=len(truth)))
    return np.array(truth), np.array(grid) / 64


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.31])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_scikit_learn(seed: int, threshold: float, ties: bool) -> None:
    truth, p_real = pictures(503, seed, ties)
    fake, p_fake = truth == 0, 1 - p_real
    called = p_fake >= threshold
    ours = metrics.classification(truth, p_real, threshold)
    theirs = {
        "accuracy": oracle.accuracy_score(fake, called),
        "balanced_accuracy": oracle.balanced_accuracy_score(fake, called),
        "precision": oracle.precision_score(fake, called),
        "recall": oracle.recall_score(fake, called),
        "f1": oracle.f1_score(fake, called),
        "auc": oracle.roc_auc_score(fake, -p_real),
        "ap": oracle.average_precision_score(fake, -p_real),
        "loss": oracle.log_loss(truth, np.clip(p_real, 1e-7, 1 - 1e-7)),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-10), name
    (tn, fp), (fn, tp) = oracle.confusion_matrix(fake, called)
    assert ours["confusion"] == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    assert ours["undefined"] == {}


@pytest.mark.parametrize("ties", [False, True])
def test_roc_curve_agrees_with_scikit_learn(ties: bool) -> None:
    truth, p_real = pictures(400, 5, ties)
    fpr, tpr, thresholds = metrics.roc_curve(truth, p_real)
    expected = oracle.roc_curve(truth == 0, 1 - p_real, drop_intermediate=False)
    np.testing.assert_allclose((fpr, tpr, thresholds), expected, rtol=0, atol=1e-12)
    for k in (1, len(fpr) // 2, len(fpr) - 1):
        counts = metrics.confusion(truth, p_real, thresholds[k])
        assert (counts.recall, 1 - counts.specificity) == pytest.approx((tpr[k], fpr[k]))


def test_f1_and_precision_by_hand() -> None:
    # FAKE: 0.1 found, 0.6 missed; REAL: 0.2 wrongly called, 0.9 and 0.8 left in peace.
    counts = metrics.confusion([0, 0, 1, 1, 1], [0.1, 0.6, 0.2, 0.9, 0.8], 0.5)
    assert counts == metrics.Counts(tp=1, fp=1, fn=1, tn=2)
    assert (counts.accuracy, counts.precision, counts.recall, counts.f1) == (0.6, 0.5, 0.5, 0.5)
    assert counts.balanced_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_tie_with_the_threshold_is_fake() -> None:
    assert metrics.confusion([0, 1], [0.5, 0.5], 0.5) == metrics.Counts(tp=1, fp=1, fn=0, tn=0)


def test_auc_counts_pairs() -> None:
    truth, p_real = pictures(80, 3, ties=True)
    fakes, reals = p_real[truth == 0], p_real[truth == 1]
    won = (fakes[:, None] < reals).sum() + (fakes[:, None] == reals).sum() / 2
    assert metrics.auc(truth, p_real) == pytest.approx(won / (len(fakes) * len(reals)), abs=1e-15)


def test_ranks_tell_tiny_probabilities_apart() -> None:
    # 1 - p is 1.0 for both in floating point; the ranks must not come from it.
    assert metrics.auc([0, 1], [1e-30, 1e-20]) == 1.0


@pytest.mark.parametrize(
    ("p_real", "rate"),
    [([0.1, 0.2, 0.8, 0.9], 0.0), ([0.9, 0.8, 0.2, 0.1], 1.0), ([0.5] * 4, 0.5), ([0.1, 0.6, 0.4, 0.9], 0.5)],
)
def test_equal_error_rate_of_simple_cases(p_real: list[float], rate: float) -> None:
    assert metrics.eer([0, 0, 1, 1], p_real) == pytest.approx(rate)


def test_equal_error_rate_lies_where_both_errors_meet() -> None:
    truth, p_real = pictures(4001, 8)
    fpr, tpr, _ = metrics.roc_curve(truth, p_real)
    rate = metrics.eer(truth, p_real)
    assert np.interp(rate, fpr, tpr) == pytest.approx(1 - rate, abs=1e-3)


def test_calibration_error_by_hand() -> None:
    # Bin 1 (P(FAKE) 1/15 to 2/15): mean 0.1, a quarter FAKE. Bin 14: P(FAKE) 1.0, all FAKE.
    truth, p_real = [0, 1, 1, 1, 0, 0], [0.9, 0.9, 0.9, 0.9, 0.0, 0.0]
    assert metrics.ece(truth, p_real) == pytest.approx(4 / 6 * abs(0.1 - 0.25))
    mean, share, number = metrics.reliability(truth, p_real)
    assert number.tolist() == [0, 4, *[0] * 12, 2]
    assert (mean[1], share[1], mean[14], share[14]) == pytest.approx((0.1, 0.25, 1.0, 1.0))
    assert np.isnan(mean[0])


def test_calibrated_scores_have_next_to_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p_real = rng.random(100_000)
    assert metrics.ece(rng.random(100_000) < p_real, p_real) < 0.01
    assert metrics.ece(rng.random(100_000) < 0.5, p_real) > 0.2


def test_loss_is_keras_binary_cross_entropy_without_keras() -> None:
    # -log(1e-7): Keras' clipping of a certain and wrong answer.
    assert metrics.log_loss([0], [1.0]) == pytest.approx(-math.log(1e-7))
    assert metrics.log_loss([0, 1], [0.25, 0.5]) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


@given(scored())
def test_ranges_and_types(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, p_real = case
    figures = metrics.classification(truth, p_real)
    json.dumps(figures, allow_nan=False)
    assert sum(figures["confusion"].values()) == len(truth)
    for name in set(figures) - {"confusion", "undefined", "loss"}:
        assert figures[name] is None or 0 <= figures[name] <= 1, name
    assert set(figures["undefined"]) <= {"precision"}
    assert figures["loss"] >= 0


@given(scored(), st.sampled_from([np.sqrt, lambda p: p**3, lambda p: p / 2 + 0.25]))
def test_rank_statistics_do_not_change_under_rising_maps(case: tuple[np.ndarray, np.ndarray], rising) -> None:
    truth, p_real = case
    for statistic in (metrics.auc, metrics.average_precision, metrics.eer):
        assert statistic(truth, rising(p_real)) == pytest.approx(statistic(truth, p_real), abs=1e-12)


@given(scored())
def test_swapping_the_classes_mirrors(case: tuple[np.ndarray, np.ndarray]) -> None:
    """With truth and scores both turned round nothing moves but the names; with scores alone the order is reversed."""
    truth, p_real = case
    for statistic in (metrics.auc, metrics.eer, metrics.log_loss):
        assert statistic(1 - truth, 1 - p_real) == pytest.approx(statistic(truth, p_real), abs=1e-12)
    assert metrics.auc(truth, 1 - p_real) == pytest.approx(1 - metrics.auc(truth, p_real), abs=1e-12)
    assert metrics.auc(1 - truth, p_real) == pytest.approx(1 - metrics.auc(truth, p_real), abs=1e-12)
    # A threshold between the grid's steps, so that no score ties with it.
    there, back = metrics.confusion(truth, p_real, 0.505), metrics.confusion(1 - truth, 1 - p_real, 0.495)
    assert (there.tp, there.fp, there.fn, there.tn) == (back.tn, back.fn, back.fp, back.tp)


@given(scored(), st.randoms(use_true_random=False))
def test_order_of_pictures_does_not_matter(case: tuple[np.ndarray, np.ndarray], random) -> None:
    truth, p_real = case
    order = list(range(len(truth)))
    random.shuffle(order)
    before, after = metrics.classification(truth, p_real), metrics.classification(truth[order], p_real[order])
    for name, value in before.items():
        assert after[name] == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("truth", "without"), [([1, 1, 1], UNDEFINED_WITHOUT_FAKE), ([0, 0, 0], UNDEFINED_WITHOUT_REAL)]
)
def test_one_class_alone_gives_reasons_not_errors(truth: list[int], without: set[str]) -> None:
    figures = metrics.classification(truth, [0.1, 0.6, 0.7])
    assert {name for name, value in figures.items() if value is None} == without
    absent = "FAKE" if truth[0] else "REAL"
    assert set(figures["undefined"].values()) == {f"there is no {absent} picture"}
    assert figures["accuracy"] == pytest.approx(2 / 3 if truth[0] else 1 / 3)
    json.dumps(figures, allow_nan=False)


def test_no_picture_called_fake_leaves_precision_open() -> None:
    figures = metrics.classification([0, 1], [0.9, 0.9])
    assert figures["undefined"] == {"precision": "no picture was called FAKE"}
    assert figures["f1"] == 0
    alone = metrics.classification([1], [0.9])["undefined"]
    assert alone["f1"] == "there is no FAKE picture and none was called FAKE"


def test_columns_and_float32_are_taken() -> None:
    truth, p_real = pictures(50, 1)
    column = metrics.classification(truth.astype(np.float32)[:, None], p_real[:, None])
    assert column == metrics.classification(truth, p_real)


@pytest.mark.parametrize(
    ("truth", "p_real", "message"),
    [
        ([], [], "at least one"),
        ([0, 1], [0.5], "1 for 2"),
        ([0, 2], [0.5, 0.5], "truth is 0"),
        ([0, 1], [0.5, math.nan], "in \\[0, 1\\]"),
        ([0, 1], [0.5, 1.5], "1.5"),
    ],
)
def test_bad_arguments_are_named(truth: list[int], p_real: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.classification(truth, p_real)


def test_bootstrap_is_the_percentile_interval_over_pictures() -> None:
    right = np.random.default_rng(1).random(400) < 0.9
    low, high = metrics.bootstrap(np.mean, right, n=2000)
    spread = 1.96 * math.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert (low, high) == pytest.approx((right.mean() - spread, right.mean() + spread), abs=0.006)
    assert metrics.bootstrap(np.mean, right, n=50) == metrics.bootstrap(np.mean, right, n=50)
    assert metrics.bootstrap(np.mean, right, n=50, seed=1) != metrics.bootstrap(np.mean, right, n=50)


def test_bootstrap_resamples_all_arrays_alike() -> None:
    values = np.arange(20)
    assert metrics.bootstrap(lambda a, b: float(np.abs(a - b).max()), values, values, n=20) == (0.0, 0.0)


def test_bootstrap_leaves_out_what_is_undefined() -> None:
    low, high = metrics.bootstrap(metrics.auc, [0, 1], [0.2, 0.7], n=30)
    assert (low, high) == (1.0, 1.0)
    assert all(math.isnan(end) for end in metrics.bootstrap(metrics.auc, [1, 1], [0.2, 0.7], n=5))
    with pytest.raises(ValueError, match="one length"):
        metrics.bootstrap(np.mean, [1, 2], [1])


def test_resampled_counts_are_the_bootstrap_of_any_counted_figure() -> None:
    truth, p_real = pictures(600, 2)
    drawn = metrics.confusion(truth, p_real).resampled(n=4000)
    assert (drawn.total == 600).all()
    for figure in ("accuracy", "balanced_accuracy", "precision", "recall", "f1"):
        one_by_one = metrics.bootstrap(
            lambda t, p, figure=figure: getattr(metrics.confusion(t, p), figure), truth, p_real, n=2000
        )
        assert metrics.interval(getattr(drawn, figure)) == pytest.approx(one_by_one, abs=0.006), figure


def test_bootstraps_of_twenty_thousand_pictures_take_seconds() -> None:
    truth, p_real = pictures(20_000, 0)
    start = time.process_time()
    order = np.argsort(p_real)
    low, high = metrics.bootstrap(metrics.auc, truth[order], p_real[order])
    accuracy = metrics.interval(metrics.confusion(truth, p_real).resampled().accuracy)
    assert time.process_time() - start < 20  # measured: 1.5 s
    assert low < metrics.auc(truth, p_real) < high
    assert accuracy[0] < metrics.confusion(truth, p_real).accuracy < accuracy[1]


@settings(max_examples=20)
@given(scored())
def test_sorting_beforehand_changes_no_statistic(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, p_real = case
    order = np.argsort(p_real)
    for statistic in (metrics.auc, metrics.average_precision, metrics.eer):
        assert statistic(truth, p_real) == statistic(truth[order], p_real[order])


def test_stands_on_numpy_alone() -> None:
    tree = ast.parse(Path(metrics.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= {"__future__", "math", "collections.abc", "dataclasses", "typing", "numpy", "numpy.typing"}
