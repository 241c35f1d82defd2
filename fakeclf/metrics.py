"""Scores of a real-or-fake classifier: true and false positives counted once, everything else derived from them.

Everywhere below ``truth`` is 0 for FAKE and 1 for REAL, and ``p_real`` is the probability of REAL, in [0, 1]; both have
shape (n,) or (n, 1), one entry a picture. FAKE is the positive class of precision, recall, F1 and average precision. A
picture is called FAKE where P(FAKE) = 1 - p_real reaches the threshold, so at 0.5 a tie is FAKE, as in Keras'
binary accuracy, which asks for P(REAL) > 0.5.

A figure that the pictures cannot give (an AUC where all are REAL) is NaN, and None in ``classification``; nothing
raises for it. Bad arguments raise ValueError. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FAKE, REAL = 0, 1
BINS = 15  # of the calibration error: the number used by Guo et al. 2017, "On Calibration of Modern Neural Networks"
# Keras clips probabilities so before its cross-entropy; the same here makes both losses the same number.
SMALLEST = 1e-7


@dataclass(frozen=True)
class Counts:
    """True and false positives and negatives, FAKE being positive. Each a number, or an array of one per resample."""

    tp: Any
    fp: Any
    fn: Any
    tn: Any

    @property
    def total(self) -> Any:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def accuracy(self) -> Any:
        return _ratio(self.tp + self.tn, self.total)

    @property
    def precision(self) -> Any:
        """Share of FAKE among the pictures called FAKE; NaN if none was."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Any:
        """Share of the FAKE pictures that were found; NaN if there are none."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Any:
        """Share of the REAL pictures that were left in peace; NaN if there are none."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def balanced_accuracy(self) -> Any:
        """Mean of recall and specificity; NaN unless both classes are there."""
        return (self.recall + self.specificity) / 2

    @property
    def f1(self) -> Any:
        """2 tp / (2 tp + fp + fn); 0 if FAKE pictures were all missed, NaN if there are none and none was called."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def resampled(self, n: int = 1000, seed: int = 0) -> Counts:
        """Counts of ``n`` bootstrap resamples of the pictures, as arrays of shape (n,).

        Drawing pictures with replacement and counting them again is one multinomial draw of the four counts, so this
        is the exact bootstrap of every figure above at the price of ``n`` draws, however many pictures there are.
        """
        cells = np.array([self.tp, self.fp, self.fn, self.tn])
        drawn = np.random.default_rng(seed).multinomial(self.total, cells / self.total, size=n)
        return Counts(*drawn.T)


def logit(p: ArrayLike) -> Any:
    """Log-odds of probabilities; as SciPy's, whose import takes longer than a verdict's arithmetic."""
    return np.log(p) - np.log1p(np.negative(p))


def expit(x: ArrayLike) -> Any:
    """Probabilities of log-odds, without overflow."""
    return np.exp(-np.logaddexp(0.0, np.negative(x)))


def confusion(truth: ArrayLike, p_real: ArrayLike, threshold: float = 0.5) -> Counts:
    """Count the four outcomes at a threshold on P(FAKE)."""
    fake, p = _checked(truth, p_real)
    called = 1.0 - p >= threshold
    tp, positives, calls = int(np.sum(fake & called)), int(fake.sum()), int(called.sum())
    return Counts(tp=tp, fp=calls - tp, fn=positives - tp, tn=fake.size - positives - calls + tp)


def roc_curve(truth: ArrayLike, p_real: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every point of the receiver operating characteristic.

    Returns:
        False positive rate, true positive rate (both rising from 0 to 1) and the threshold on P(FAKE) that gives each
        point (falling, from infinity), of shape (distinct scores + 1,). NaN rates where a class is missing.
    """
    tp, fp, score = _ranked(truth, p_real)
    return _ratio(fp, fp[-1]), _ratio(tp, tp[-1]), np.append(np.inf, 1.0 - score)


def auc(truth: ArrayLike, p_real: ArrayLike) -> float:
    """Area under the ROC curve: how often a FAKE picture scores above a REAL one, a tie counting half.

    NaN unless both classes are there.
    """
    tp, fp, _ = _ranked(truth, p_real)
    twice = np.sum(np.diff(fp) * (tp[1:] + tp[:-1]))
    return float(_ratio(twice / 2, tp[-1] * fp[-1]))


def average_precision(truth: ArrayLike, p_real: ArrayLike) -> float:
    """Precision averaged over the steps of recall, without interpolation; tied scores are one step.

    NaN unless both classes are there (with FAKE alone it would be 1 for any model).
    """
    tp, fp, _ = _ranked(truth, p_real)
    if tp[-1] == 0 or fp[-1] == 0:
        return math.nan
    return float(np.sum(np.diff(tp) * tp[1:] / (tp[1:] + fp[1:])) / tp[-1])


def eer(truth: ArrayLike, p_real: ArrayLike) -> float:
    """Equal error rate: the rate where as large a share of REAL is called FAKE as of FAKE is missed.

    Read from the ROC curve with straight lines between its points. NaN unless both classes are there.
    """
    fpr, tpr, _ = roc_curve(truth, p_real)
    excess = fpr - (1.0 - tpr)  # from -1 to 1, never falling
    if np.isnan(excess).any():
        return math.nan
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def log_loss(truth: ArrayLike, p_real: ArrayLike) -> float:
    """Mean binary cross-entropy in nats, probabilities clipped to [1e-7, 1 - 1e-7]."""
    fake, p = _checked(truth, p_real)
    right = np.clip(np.where(fake, 1.0 - p, p), SMALLEST, 1.0 - SMALLEST)
    return float(-np.mean(np.log(right)))


def reliability(truth: ArrayLike, p_real: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Promise against fact in 15 bins of P(FAKE) of equal width: [0, 1/15), [1/15, 2/15), ... [14/15, 1].

    Returns:
        Mean P(FAKE), share of FAKE pictures and number of pictures of each bin, each of shape (15,); NaN in empty bins.
    """
    fake, p = _checked(truth, p_real)
    p_fake = 1.0 - p
    bin_of = np.minimum((p_fake * BINS).astype(int), BINS - 1)
    number = np.bincount(bin_of, minlength=BINS)
    mean = _ratio(np.bincount(bin_of, p_fake, minlength=BINS), number)
    share = _ratio(np.bincount(bin_of, fake, minlength=BINS), number)
    return mean, share, number


def ece(truth: ArrayLike, p_real: ArrayLike) -> float:
    """Expected calibration error: |mean P(FAKE) - share of FAKE| of the bins of ``reliability``, weighted by pictures.

    It is the error of the probability that people are shown, over its whole range; the form of Guo et al. 2017
    looks at the confidence of the winning class instead.
    """
    mean, share, number = reliability(truth, p_real)
    return float(np.nansum(np.abs(mean - share) * number) / number.sum())


def bootstrap(statistic: Callable[..., float], *arrays: ArrayLike, n: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of ``statistic(*arrays)``: ``n`` resamples of the entries, with replacement.

    All arrays are resampled alike along their first axis. A resample keeps the order of the entries: rank statistics
    of arrays sorted by score beforehand need next to no sorting again. Resamples whose statistic is NaN (one class
    only) are left out; if all are, the interval is (nan, nan).
    """
    parts = [np.asarray(array) for array in arrays]
    if len({len(part) for part in parts}) != 1 or len(parts[0]) == 0:
        raise ValueError(f"arrays must have one length above 0. Received: {[len(part) for part in parts]}")
    size, rng = len(parts[0]), np.random.default_rng(seed)
    places = np.arange(size)
    values = np.empty(n)
    for k in range(n):
        drawn = np.repeat(places, np.bincount(rng.integers(0, size, size), minlength=size))
        values[k] = statistic(*(part[drawn] for part in parts))
    return interval(values)


def interval(values: ArrayLike) -> tuple[float, float]:
    """The middle 95 % of bootstrapped values, NaN left out; (nan, nan) if nothing else is there."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    if known.size == 0:
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def classification(truth: ArrayLike, p_real: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """All figures of a classifier, ready for JSON.

    Returns:
        accuracy, balanced_accuracy, precision, recall, f1 (at the threshold); auc, ap, eer (of the raw scores); loss,
        ece; each a float, or None where the pictures cannot give it. confusion: {tp, fp, fn, tn}. undefined: the
        reason for each None.
    """
    counts = confusion(truth, p_real, threshold)
    figures: dict[str, Any] = {
        "accuracy": counts.accuracy,
        "balanced_accuracy": counts.balanced_accuracy,
        "auc": auc(truth, p_real),
        "ap": average_precision(truth, p_real),
        "eer": eer(truth, p_real),
        "f1": counts.f1,
        "precision": counts.precision,
        "recall": counts.recall,
        "ece": ece(truth, p_real),
        "loss": log_loss(truth, p_real),
    }
    figures = {name: None if math.isnan(value) else float(value) for name, value in figures.items()}
    undefined = {name: _reason(name, counts) for name, value in figures.items() if value is None}
    cells = {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn}
    return {**figures, "confusion": cells, "undefined": undefined}


def _reason(name: str, counts: Counts) -> str:
    if name == "precision":
        return "no picture was called FAKE"
    if name == "f1":
        return "there is no FAKE picture and none was called FAKE"
    return "there is no FAKE picture" if counts.tp + counts.fn == 0 else "there is no REAL picture"


def _checked(truth: ArrayLike, p_real: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """``truth`` as booleans that are true for FAKE, ``p_real`` as float64; both of shape (n,)."""
    labels, p = np.asarray(truth).reshape(-1), np.asarray(p_real, np.float64).reshape(-1)
    if labels.size != p.size or p.size == 0:
        raise ValueError(f"one score for each of at least one picture. Received: {p.size} for {labels.size}")
    if not np.isin(labels, (FAKE, REAL)).all():
        raise ValueError(f"truth is 0 (FAKE) or 1 (REAL). Received: {np.unique(labels)[:5].tolist()}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_real lies in [0, 1]. Received: {p[~((p >= 0) & (p <= 1))][:5].tolist()}")
    return labels == FAKE, p


def _ranked(truth: ArrayLike, p_real: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and false positives if all pictures up to a score are called FAKE, most suspicious first.

    Returns:
        tp and fp of shape (distinct scores + 1,), both starting at 0, and the distinct p_real, rising. Ranks come from
        p_real itself: 1 - p_real would tie very small probabilities that differ.
    """
    fake, p = _checked(truth, p_real)
    order = np.argsort(p, kind="stable")
    p = p[order]
    last = np.append(np.flatnonzero(np.diff(p)), p.size - 1)  # of each run of equal scores
    tp = np.cumsum(fake[order], dtype=np.int64)[last]
    return np.append(0, tp), np.append(0, last + 1 - tp), p[last]


def _ratio(part: Any, whole: Any) -> Any:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    answer = np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)
    return answer if answer.ndim else float(answer)
