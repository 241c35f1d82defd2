"""Mask metrics against scikit-learn, against counting by hand, and against what must hold for any mask."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from segmentation import metrics
from segmentation.metrics import Histogram, PixelCounts


def mask(seed: int, side: int = 40, ties: bool = False, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((side, side + 3)) < share
    p = 1 / (1 + np.exp(-(truth * 1.5 - 2 + rng.normal(0, 1.5, truth.shape))))
    return truth, np.round(p, 1 if ties else 9).astype(np.float32)


@st.composite
def masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 40 pixels of any classes; P on a grid of 64ths, so that ties and certainties are frequent."""
    pixels = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 64)), min_size=1, max_size=40))
    truth, grid = zip(*pixels, strict=True)
    return np.array(truth)[None], (np.array(grid, np.float32) / 64)[None]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int, threshold: float, ties: bool) -> None:
    truth, p = mask(seed, ties=ties)
    ours = metrics.localization(truth, p, threshold)
    flat, scores, called = truth.ravel(), p.ravel(), p.ravel() >= threshold
    theirs = {
        "iou": oracle.jaccard_score(flat, called),
        "mean_iou": oracle.jaccard_score(flat, called, average="macro"),
        "f1": oracle.f1_score(flat, called),
        "precision": oracle.precision_score(flat, called),
        "recall": oracle.recall_score(flat, called),
        "mcc": oracle.matthews_corrcoef(flat, called),
        "accuracy": oracle.accuracy_score(flat, called),
        "auc": oracle.roc_auc_score(flat, scores),
        "ap": oracle.average_precision_score(flat, scores),
        "area": called.mean(),
        "hole": oracle.jaccard_score(flat, np.ones_like(flat)),
    }
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-10)
    (tn, fp), (fn, tp) = oracle.confusion_matrix(flat, called)
    assert ours["confusion"] == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    assert ours["undefined"] == {}
    assert ours.keys() == {*metrics.COUNTED, *metrics.RANKED, "confusion", "undefined"}


def test_by_hand() -> None:
    # Forged: two found, one missed; pristine: one wrongly called, four left in peace.
    truth = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
    p = np.array([[0.9, 0.5, 0.2, 0.7], [0.1, 0.0, 0.4, 0.3]], np.float32)
    counts = metrics.count(truth, p, 0.5)
    assert counts == PixelCounts(tp=2, fp=1, fn=1, tn=4)
    assert (counts.iou, counts.mean_iou) == pytest.approx((2 / 4, (2 / 4 + 4 / 6) / 2))
    assert (counts.f1, counts.precision, counts.recall) == pytest.approx((4 / 6, 2 / 3, 2 / 3))
    assert counts.mcc == pytest.approx((2 * 4 - 1 * 1) / math.sqrt(3 * 3 * 5 * 5))
    assert (counts.accuracy, counts.area, counts.hole) == pytest.approx((6 / 8, 3 / 8, 3 / 8))
    # 15 pairs: 0.9 wins five, 0.5 four, 0.2 two.
    assert metrics.auc(truth, p) == pytest.approx(11 / 15)
    assert metrics.average_precision(truth, p) == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def test_a_tie_with_the_threshold_is_called() -> None:
    assert metrics.count([[True, False]], np.array([[0.3, 0.3]], np.float32), 0.3) == PixelCounts(1, 1, 0, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ranks_hold_for_every_float(dtype: type) -> None:
    truth, p = mask(5)
    p = p.astype(dtype)
    p[0, :2] = 0.0, -0.0  # equal, though their bits are not
    p[1, :3] = 1.0, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
    expected = oracle.roc_auc_score(truth.ravel(), p.ravel().astype(np.float64))
    assert metrics.auc(truth, p) == pytest.approx(expected, abs=1e-12)


@given(masks())
@settings(deadline=None)
def test_auc_counts_pairs(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, p = case
    forged, pristine = p[truth], p[~truth]
    if not len(forged) or not len(pristine):
        assert math.isnan(metrics.auc(*case)) and math.isnan(metrics.average_precision(*case))
        return
    won = (forged[:, None] > pristine).sum() + (forged[:, None] == pristine).sum() / 2
    assert metrics.auc(truth, p) == pytest.approx(won / (len(forged) * len(pristine)), abs=1e-12)
    assert metrics.auc(~truth, p) == pytest.approx(1 - metrics.auc(truth, p), abs=1e-12)
    assert metrics.auc(truth, 1 - p) == pytest.approx(1 - metrics.auc(truth, p), abs=1e-12)
    # Any map that keeps the order keeps the ranks.
    assert metrics.ranks(truth, p**2) == metrics.ranks(truth, p)
    assert metrics.ranks(truth, p) == {"auc": metrics.auc(*case), "ap": metrics.average_precision(*case)}


@given(masks(), st.integers(1, 63))
@settings(deadline=None)
def test_what_holds_for_any_mask(case: tuple[np.ndarray, np.ndarray], step: int) -> None:
    truth, p = case
    found = metrics.localization(truth, p, step / 64)
    assert sum(found["confusion"].values()) == truth.size
    figures = {name: found[name] for name in (*metrics.COUNTED, *metrics.RANKED)}
    assert {name for name, value in figures.items() if value is None} == found["undefined"].keys()
    known = {name: value for name, value in figures.items() if value is not None}
    assert all(-1 <= known[name] <= 1 if name == "mcc" else 0 <= known[name] <= 1 for name in known)
    if not truth.any():
        assert known.keys() == {"accuracy", "area"}
        assert set(found["undefined"].values()) == {"no pixel is forged"}
        return
    assert known["f1"] == pytest.approx(2 * known["iou"] / (1 + known["iou"]))
    assert known["iou"] <= known["f1"] and known["iou"] <= known["recall"]
    assert ("precision" in known) == (known["area"] > 0)
    assert ("mcc" in known) == ("auc" in known) == ("mean_iou" in known) == (not truth.all())
    turned = metrics.count(truth[..., ::-1], p[..., ::-1], step / 64)
    assert turned == metrics.count(truth, p, step / 64)
    higher = metrics.count(truth, p, (step + 1) / 64)
    assert higher.area <= known["area"] and higher.recall <= known["recall"]


@pytest.mark.parametrize(
    ("truth", "p", "undefined"),
    [
        (0, 0.9, dict.fromkeys(set(metrics.COUNTED) - {"accuracy", "area"}, "no pixel is forged")),
        (1, 0.9, dict.fromkeys(("mean_iou", "mcc"), "every pixel is forged")),
        (1, 0.1, {"precision": "no pixel was called forged", "mean_iou": "every pixel is forged"}),
    ],
)
def test_what_is_undefined_says_why(truth: int, p: float, undefined: dict[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics.localization(np.full((3, 4), truth), np.full((3, 4), p, np.float32))
    assert undefined.items() <= found["undefined"].items()
    assert all(found[name] is None for name in found["undefined"])


def test_a_mask_that_finds_nothing_scores_nothing() -> None:
    truth, p = mask(1)
    found = metrics.localization(truth, np.zeros_like(p))
    assert (found["iou"], found["f1"], found["recall"], found["mcc"], found["area"]) == (0, 0, 0, 0, 0)
    assert found["undefined"] == {"precision": "no pixel was called forged"}
    everything = metrics.localization(truth, np.ones_like(p))
    assert everything["iou"] == everything["hole"] == pytest.approx(truth.mean())
    assert everything["mcc"] == 0 and everything["auc"] == 0.5


def test_counts_of_large_pictures_do_not_overflow() -> None:
    half = 50_000_000
    assert PixelCounts(half, half, half, half).mcc == 0
    assert PixelCounts(half, 0, 0, half).mcc == 1
    assert PixelCounts(half, half // 2, 0, half).mcc == pytest.approx((2 / 3) ** 0.5 * (2 / 3) ** 0.5)


def test_arrays_of_counts_are_scored_picture_by_picture() -> None:
    cases = [mask(seed, share=0.2 * seed) for seed in range(4)]
    one_by_one = [metrics.count(*case) for case in cases]
    together = PixelCounts(*(np.array([getattr(c, cell) for c in one_by_one]) for cell in ("tp", "fp", "fn", "tn")))
    for name, column in together.figures().items():
        np.testing.assert_array_equal(column, [getattr(counts, name) for counts in one_by_one])
    assert np.isnan(together.iou[0])
    pooled = metrics.count(*(np.concatenate(part) for part in zip(*cases, strict=True)))
    assert together.pooled() == pooled


@pytest.mark.parametrize(
    ("truth", "p", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "one shape"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "not empty"),
        (np.full((2, 2), 255), np.zeros((2, 2)), r"true or false.*\[255\]"),
        (np.zeros((2, 2)), np.full((2, 2), np.nan), r"\[0, 1\]"),
        (np.zeros((2, 2)), np.full((2, 2), 1.5), r"\[1.5"),
    ],
)
def test_what_is_no_mask_is_refused(truth: np.ndarray, p: np.ndarray, message: str) -> None:
    for measure in (metrics.count, metrics.auc, metrics.average_precision, Histogram().add):
        with pytest.raises(ValueError, match=message):
            measure(truth, p)


# --- pooled over a set ----------------------------------------------------------------------------------------------


def test_pooled_auc_lies_within_its_error_of_the_exact_one() -> None:
    cases = [mask(seed) for seed in range(3)]
    histogram = Histogram()
    for case in cases:
        histogram.add(*case)
    truth, p = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*cases, strict=True))
    assert abs(histogram.auc - oracle.roc_auc_score(truth, p)) <= histogram.error < 1e-3
    assert histogram.forged.sum() == truth.sum() and histogram.pristine.sum() == (~truth).sum()


@given(masks(), masks())
@settings(deadline=None)
def test_histograms_add_up(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> None:
    both, left, right = Histogram(), Histogram(), Histogram()
    for case, alone in ((one, left), (other, right)):
        alone.add(*case)
        both.add(*case)
    np.testing.assert_equal((left + right).auc, both.auc)
    truth, p = (np.concatenate(parts, axis=1) for parts in zip(one, other, strict=True))
    # 64ths never share a bin, so the pooled AUC is exact: ties count half in both.
    np.testing.assert_allclose(both.auc, metrics.auc(truth, p), atol=1e-12)


def test_histogram_tells_answers_near_zero_and_one_apart() -> None:
    histogram = Histogram()
    near = np.array([[1e-12, 2e-12, 1 - 2e-6, 1 - 1e-6]], np.float32)
    histogram.add(np.array([[False, True, False, True]]), near)
    assert (histogram.auc, histogram.error) == (0.75, 0.0)
    certain = Histogram()
    certain.add(np.array([[False, True]]), np.array([[0.0, 1.0]], np.float32))
    assert certain.auc == 1.0
    assert math.isnan(Histogram().auc) and math.isnan(Histogram().error)


@pytest.mark.parametrize(("values", "share", "expected"), [(200, 0.01, 198.5), (200, 0.1, 189.5), (10, 0.01, 9.0)])
def test_top_share(values: int, share: float, expected: float) -> None:
    p = np.random.default_rng(0).permutation(values).astype(np.float32)
    assert metrics.top_share(p.reshape(2, -1), share) == pytest.approx(expected)


# --- over pictures --------------------------------------------------------------------------------------------------


def test_means_leave_out_what_is_undefined_and_say_over_how_many() -> None:
    means, over = metrics.mean({"iou": [0.2, math.nan, 0.6], "auc": [math.nan] * 3})
    assert means["iou"] == pytest.approx(0.4) and math.isnan(means["auc"])
    assert over == {"iou": 2, "auc": 0}


def test_resampled_means_are_those_of_drawn_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"iou": [0.1, 0.5, math.nan, 0.9], "f1": [0.0, 1.0, 2.0, 3.0]}
    places = np.random.default_rng(3).integers(0, 4, (50, 4))
    expected = metrics.resampled_means(columns, 50, seed=3)
    for name, column in columns.items():
        drawn = np.array(column)[places]
        by_hand = [np.nanmean(row) if not np.isnan(row).all() else math.nan for row in drawn]
        np.testing.assert_allclose(expected[name], by_hand)
    # The same draws however many of them fit into memory.
    monkeypatch.setattr(metrics, "CHUNK", 9)
    again = metrics.resampled_means(columns, 50, seed=3)
    np.testing.assert_allclose(again["f1"], expected["f1"])
    assert not np.allclose(metrics.resampled_means(columns, 50, seed=4)["f1"], expected["f1"])


def test_resampled_counts_are_pooled_over_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(1, 50, (4, 6))
    drawn = metrics.resampled_counts(PixelCounts(*cells), 40, seed=5)
    places = np.random.default_rng(5).integers(0, 6, (40, 6))
    np.testing.assert_array_equal(drawn.tp, cells[0][places].sum(axis=1))
    np.testing.assert_allclose(drawn.iou, [PixelCounts(*cells[:, row].sum(axis=1)).iou for row in places])


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for trial in range(200):
        drawn = metrics.resampled_means({"x": rng.normal(0.5, 0.2, 60)}, 300, seed=trial)["x"]
        low, high = np.percentile(drawn, [2.5, 97.5])
        inside += low <= 0.5 <= high
    assert 0.88 <= inside / 200 <= 0.99
