"""Scores of a mask: pixels counted once, everything else derived from the counts and from the ranks.

Everywhere below ``truth`` is true where a pixel was inpainted ("forged") and ``p`` is P(inpainted), in [0, 1], of the
same shape (h, w). Forged is the positive class. A pixel is called forged where p reaches the threshold.

All figures about the forged class (IoU, F1, precision, recall, AUC ...) belong to pictures that have forged pixels; of
pristine pictures there is the positive area. A figure that a picture cannot give is NaN, and None with its reason in
``localization``; nothing raises for it. Bad arguments raise ValueError. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

COUNTED = ("iou", "mean_iou", "f1", "precision", "recall", "mcc", "accuracy", "area", "hole")
"""Figures that follow from the four counts."""
RANKED = ("auc", "ap")
"""Figures that follow from the ranks of the pixels."""
BINS = 1 << 16
STEEPEST = 90.0  # the logit of the smallest normal float32 is -87.3, that of the largest below 1 is 16.6
CHUNK = 1 << 21  # entries of a block of bootstrap draws


@dataclass(frozen=True)
class PixelCounts:
    """True and false positives and negatives of pixels; each a number, or an array with one entry a picture."""

    tp: Any
    fp: Any
    fn: Any
    tn: Any

    @property
    def total(self) -> Any:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def hole(self) -> Any:
        """Share of forged pixels, which is also the IoU of calling every pixel forged; NaN without any, as that is."""
        return self._forged(_ratio(self.tp + self.fn, self.total))

    @property
    def area(self) -> Any:
        """Positive area: share of pixels called forged."""
        return _ratio(self.tp + self.fp, self.total)

    @property
    def accuracy(self) -> Any:
        return _ratio(self.tp + self.tn, self.total)

    @property
    def iou(self) -> Any:
        """Intersection over union of the forged class; NaN without a forged pixel."""
        return self._forged(_ratio(self.tp, self.tp + self.fp + self.fn))

    @property
    def mean_iou(self) -> Any:
        """Mean of the IoU of both classes; NaN unless both are there."""
        pristine = _ratio(self.tn, self.tn + self.fp + self.fn)
        return self._both((_ratio(self.tp, self.tp + self.fp + self.fn) + pristine) / 2)

    @property
    def f1(self) -> Any:
        """2 tp / (2 tp + fp + fn), also known as Dice; NaN without a forged pixel."""
        return self._forged(_ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn))

    @property
    def precision(self) -> Any:
        """Share of forged pixels among those called so; NaN without a forged pixel or if none was called."""
        return self._forged(_ratio(self.tp, self.tp + self.fp))

    @property
    def recall(self) -> Any:
        """Share of the forged pixels that were found; NaN without any."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def mcc(self) -> Any:
        """Matthews correlation; 0 where the mask is of one class, NaN where the truth is.

        Reference: Chicco & Jurman 2020, "The advantages of the Matthews correlation coefficient (MCC) over F1 score
        and accuracy in binary classification evaluation"; 0 is the limit they derive for a mask of one class.
        """
        tp, fp, fn, tn = (np.asarray(cell, float) for cell in (self.tp, self.fp, self.fn, self.tn))
        # Roots first: the product of four pixel counts overflows integers.
        scale = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
        ratio = np.divide(tp * tn - fp * fn, scale, out=np.zeros(scale.shape), where=scale != 0)
        return self._both(np.clip(ratio, -1.0, 1.0))  # rounding may leave the range by its last digit

    def pooled(self) -> PixelCounts:
        """The counts of all pictures together."""
        return PixelCounts(*(int(np.sum(cell)) for cell in (self.tp, self.fp, self.fn, self.tn)))

    def figures(self) -> dict[str, Any]:
        """All of ``COUNTED``, NaN where undefined."""
        return {name: getattr(self, name) for name in COUNTED}

    def _forged(self, value: Any) -> Any:
        return _where(self.tp + self.fn, value)

    def _both(self, value: Any) -> Any:
        return _where((self.tp + self.fn) * 1.0 * (self.tn + self.fp), value)


def count(truth: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> PixelCounts:
    """Count the four outcomes of the pixels of one picture at a threshold on p."""
    forged, p = _checked(truth, p)
    called = p >= threshold
    tp, positives, calls = (int(np.count_nonzero(pixels)) for pixels in (forged & called, forged, called))
    return PixelCounts(tp=tp, fp=calls - tp, fn=positives - tp, tn=forged.size - positives - calls + tp)


def auc(truth: ArrayLike, p: ArrayLike) -> float:
    """How often a forged pixel scores above a pristine one, a tie counting half: exact, by ranking all pixels.

    NaN unless both classes are there.
    """
    return _auc(*_ranked(truth, p))


def average_precision(truth: ArrayLike, p: ArrayLike) -> float:
    """Precision averaged over the steps of recall, without interpolation; exact, tied pixels are one step.

    NaN unless both classes are there.
    """
    return _ap(*_ranked(truth, p))


def ranks(truth: ArrayLike, p: ArrayLike) -> dict[str, float]:
    """All of ``RANKED``, with the pixels sorted once."""
    curve = _ranked(truth, p)
    return {"auc": _auc(*curve), "ap": _ap(*curve)}


@dataclass
class Histogram:
    """Forged and pristine pixels of any number of pictures in 2^16 bins of the logit of p, for a pooled AUC.

    Bins of the logit, not of p: networks crowd their answers near 0 and 1.
    """

    forged: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    pristine: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, truth: ArrayLike, p: ArrayLike) -> None:
        """Count the pixels of one picture."""
        forged, p = _checked(truth, p)
        exact = p.astype(np.float64)
        with np.errstate(divide="ignore"):
            logit = np.log(exact) - np.log1p(-exact)
        place = (np.clip(logit, -STEEPEST, STEEPEST) + STEEPEST) * ((BINS - 1) / (2 * STEEPEST))
        place = place.astype(np.int64)
        self.forged += np.bincount(place[forged], minlength=BINS)
        self.pristine += np.bincount(place[~forged], minlength=BINS)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.forged + other.forged, self.pristine + other.pristine)

    @property
    def auc(self) -> float:
        """AUC of all pixels, those of one bin taken as tied; the exact one lies within ``error`` of it."""
        return _auc(*(np.append(0, np.cumsum(pixels[::-1])) for pixels in (self.forged, self.pristine)))

    @property
    def error(self) -> float:
        """The most by which ``auc`` can be wrong: half the share of pairs that fell into one bin."""
        pairs = float(self.forged.sum()) * float(self.pristine.sum())
        together = float(np.sum(self.forged.astype(float) * self.pristine))
        return float(_ratio(together / 2, pairs))


def top_share(p: ArrayLike, share: float = 0.01) -> float:
    """Mean of the highest ``share`` of the pixels, at least one: a picture's score where a model gives none."""
    values = np.asarray(p).reshape(-1)
    number = max(1, round(values.size * share))
    return float(np.mean(np.partition(values, values.size - number)[-number:], dtype=np.float64))


def localization(truth: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """All figures of one mask, ready for JSON.

    Returns:
        ``COUNTED`` (at the threshold) and ``RANKED`` (exact), each a float, or None where the picture cannot give it.
        confusion: {tp, fp, fn, tn} in pixels. undefined: the reason for each None.
    """
    counts = count(truth, p, threshold)
    values = {**counts.figures(), **ranks(truth, p)}
    figures = {name: None if math.isnan(value) else float(value) for name, value in values.items()}
    cells = {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn, "tn": counts.tn}
    undefined = {name: reason(name, counts) for name, value in figures.items() if value is None}
    return {**figures, "confusion": cells, "undefined": undefined}


def reason(name: str, counts: PixelCounts) -> str:
    """Why a picture of these counts has no figure ``name``."""
    if counts.tp + counts.fn == 0:
        return "no pixel is forged"
    return "no pixel was called forged" if name == "precision" else "every pixel is forged"


def mean(values: Mapping[str, ArrayLike]) -> tuple[dict[str, float], dict[str, int]]:
    """Mean of each figure over the pictures that have it, and over how many that is; NaN over none."""
    columns = {name: np.asarray(column, float) for name, column in values.items()}
    known = {name: int(np.sum(~np.isnan(column))) for name, column in columns.items()}
    return {name: _ratio(np.nansum(column), known[name]) for name, column in columns.items()}, known


def resampled_means(values: Mapping[str, ArrayLike], n: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    """``mean`` of ``n`` bootstrap resamples of the pictures, each figure an array (n,); all figures share the draws."""
    table = np.stack([np.asarray(column, float) for column in values.values()], axis=1)
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    rows = [_ratio(draws @ filled, draws @ known) for draws in _draws(len(table), n, seed)]
    return dict(zip(values, np.concatenate(rows).T, strict=True))


def resampled_counts(counts: PixelCounts, n: int = 1000, seed: int = 0) -> PixelCounts:
    """Pooled counts of ``n`` bootstrap resamples of the pictures, arrays (n,); draws as in ``resampled_means``."""
    table = np.stack([np.asarray(cell, float) for cell in (counts.tp, counts.fp, counts.fn, counts.tn)], axis=1)
    return PixelCounts(*np.concatenate([draws @ table for draws in _draws(len(table), n, seed)]).T)


def _draws(pictures: int, n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture is drawn: float (some, pictures) until ``n`` rows are through."""
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // pictures)
    for start in range(0, n, step):
        rows = min(step, n - start)
        drawn = rng.integers(0, pictures, (rows, pictures)) + np.arange(rows)[:, None] * pictures
        yield np.bincount(drawn.reshape(-1), minlength=rows * pictures).reshape(rows, pictures).astype(float)


def _checked(truth: ArrayLike, p: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """``truth`` as flat booleans, ``p`` flat, float32 or float64."""
    forged, p = np.asarray(truth), np.asarray(p)
    if forged.shape != p.shape or p.size == 0:
        raise ValueError(f"truth and p are of one shape, not empty. Received: {forged.shape} and {p.shape}")
    if forged.dtype != bool and not np.isin(forged, (0, 1)).all():
        raise ValueError(f"truth is true or false for each pixel. Received: {np.unique(forged)[:5].tolist()}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p lies in [0, 1]. Received: {p[~((p >= 0) & (p <= 1))][:5].tolist()}")
    precise = p if p.dtype in (np.float32, np.float64) else p.astype(np.float32)
    return forged.reshape(-1).astype(bool), precise.reshape(-1)


def _ranked(truth: ArrayLike, p: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives if all pixels down to a score are called, highest first, both starting at 0."""
    forged, p = _checked(truth, p)
    # The bits of floats that are not negative are ordered as the floats. One integer sort with the truth as the lowest
    # bit takes a tenth of the time of sorting places. Adding 0 turns -0.0 into 0.0.
    bits = (p + p.dtype.type(0)).view(np.uint32 if p.dtype == np.float32 else np.uint64)
    keys = np.sort((bits << 1) | forged)[::-1]
    score = keys >> 1
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), keys.size - 1)  # of each run of equal scores
    tp = np.cumsum(keys & 1, dtype=np.int64)[last]
    return np.append(0, tp), np.append(0, last + 1 - tp)


def _auc(tp: np.ndarray, fp: np.ndarray) -> float:
    twice = np.sum(np.diff(fp).astype(float) * (tp[1:] + tp[:-1]))
    return float(_ratio(twice / 2, float(tp[-1]) * float(fp[-1])))


def _ap(tp: np.ndarray, fp: np.ndarray) -> float:
    if tp[-1] == 0 or fp[-1] == 0:
        return math.nan
    return float(np.sum(np.diff(tp) * (tp[1:] / (tp[1:] + fp[1:]))) / tp[-1])


def _ratio(part: Any, whole: Any) -> Any:
    """part / whole, NaN where whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    answer = np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)
    return answer if answer.ndim else float(answer)


def _where(condition: Any, value: Any) -> Any:
    answer = np.where(np.asarray(condition) != 0, value, np.nan)
    return answer if answer.ndim else float(answer)
