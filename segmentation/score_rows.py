"""Rows of an evaluation of masks: the mean over pictures of every figure, its interval, and all pixels together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fakeclf import metrics as image_metrics
from segmentation import metrics
from segmentation.metrics import Histogram, PixelCounts
from segmentation.score_table import INVERTED

CONTROL = "control_auc"
FIGURES = (*metrics.COUNTED, *metrics.RANKED, CONTROL)
"""``hole`` is the all-positive baseline, ``control_auc`` the same-mask control; the others are those of ``metrics``."""


@dataclass(frozen=True)
class Forged:
    """What the mask of one forged picture scored.

    Attributes:
        image, generator: of the pair.
        counts: its pixels, at the threshold.
        auc, ap: exact, over its pixels; NaN where undefined.
        control_auc: AUC of its original's mask against its truth; NaN where there is no original.
        score: P(FAKE) of the picture as the localizer gives it; None if it gives none.
        top: mean of the highest 1 % of its mask.
        seconds: that the localizer took.
        changed: mean absolute difference from the original, 0-255, where nothing was inpainted; NaN if unknown.
    """

    image: str
    generator: str
    counts: PixelCounts
    auc: float
    ap: float
    control_auc: float
    score: float | None
    top: float
    seconds: float
    changed: float = math.nan


@dataclass(frozen=True)
class Pristine:
    """What the mask of one pristine picture says; ``area``: share of its pixels called inpainted."""

    image: str
    area: float
    score: float | None
    top: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """Figures of some forged pictures.

    Attributes:
        pictures: how many.
        figures: ``FIGURES``, per picture, then mean; None where no picture gives one.
        over: how many pictures (generators, in a mean over these) each figure is the mean of.
        intervals: 95 % bootstrap intervals over pictures, (low, high), of the figures.
        pooled: ``COUNTED`` figures and ``auc`` of all their pixels together, ``auc_error``: the most the pooled AUC is
            off; {} for a mean over generators.
        pooled_intervals: as ``intervals``, of the counted figures.
        image: ``auc``, ``ap``, ``eer`` of the picture scores against those of the pristine pictures, and
            ``auc_interval``; {} where there is no pristine picture, or for a mean over generators.
        undefined: of figures that not every picture gives: how many do not, and why.
    """

    pictures: int
    figures: dict[str, float | None]
    over: dict[str, int]
    intervals: dict[str, tuple[float, float] | None]
    pooled: dict[str, float | None] = field(default_factory=dict)
    pooled_intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    image: dict[str, Any] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    @property
    def inverted(self) -> bool:
        """Whether the mask points away from what was inpainted: a mean pixel AUC under 0.5."""
        auc = self.figures["auc"]
        return auc is not None and auc < 0.5

    def to_json(self) -> dict[str, Any]:
        values = {
            "pictures": self.pictures,
            **self.figures,
            "over": self.over,
            "intervals": plain(self.intervals),
            "pooled": {**self.pooled, "intervals": plain(self.pooled_intervals)} if self.pooled else {},
            "image": plain(self.image),
            "undefined": self.undefined,
        }
        return {**values, "warning": INVERTED} if self.inverted else values


def row_of(
    some: Sequence[Forged],
    histogram: Histogram,
    scores: np.ndarray,
    quiet: np.ndarray,
    resamples: int,
    seed: int,
) -> tuple[Row, dict[str, np.ndarray]]:
    """The row of these pictures, and the resampled means of its figures."""
    if not some:
        return Row(0, dict.fromkeys(FIGURES), dict.fromkeys(FIGURES, 0), dict.fromkeys(FIGURES)), {}
    counts = PixelCounts(*(np.array([getattr(one.counts, cell) for one in some]) for cell in ("tp", "fp", "fn", "tn")))
    ranks = {name: np.array([getattr(one, name) for one in some]) for name in (*metrics.RANKED, CONTROL)}
    columns = {**counts.figures(), **ranks}
    means, over = metrics.mean(columns)
    drawn = metrics.resampled_means(columns, resamples, seed)
    pooled = {**counts.pooled().figures(), "auc": histogram.auc, "auc_error": histogram.error}
    pooled_drawn = metrics.resampled_counts(counts, resamples, seed).figures()
    row = Row(
        pictures=len(some),
        figures={name: _known(value) for name, value in means.items()},
        over=over,
        intervals={name: _ends(values) for name, values in drawn.items()},
        pooled={name: _known(value) for name, value in pooled.items()},
        pooled_intervals={name: _ends(values) for name, values in pooled_drawn.items()},
        image=_image_level(scores, quiet, resamples, seed),
        undefined={name: _why(name, some, columns[name]) for name in FIGURES if over[name] < len(some)},
    )
    return row, drawn


def mean_of(rows: Sequence[Row], drawn: Sequence[dict[str, np.ndarray]]) -> Row:
    """Every generator counts once, in each resample too."""
    means, over = metrics.mean({name: [_number(row.figures[name]) for row in rows] for name in FIGURES})
    resampled = {name: np.stack([means[name] for means in drawn], axis=1) for name in FIGURES}
    return Row(
        pictures=sum(row.pictures for row in rows),
        figures={name: _known(value) for name, value in means.items()},
        over=over,
        intervals={
            name: _ends([np.mean(row[~np.isnan(row)]) for row in table if not np.isnan(row).all()])
            for name, table in resampled.items()
        },
    )


def _image_level(scores: np.ndarray, quiet: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    if not len(quiet):
        return {}
    truth = np.repeat([image_metrics.FAKE, image_metrics.REAL], [len(scores), len(quiet)])
    p_real = 1.0 - np.concatenate([scores, quiet])
    order = np.argsort(p_real)
    truth, p_real = truth[order], p_real[order]
    ends = image_metrics.bootstrap(image_metrics.auc, truth, p_real, n=resamples, seed=seed)
    return {
        "auc": image_metrics.auc(truth, p_real),
        "auc_interval": None if math.isnan(ends[0]) else ends,
        "ap": image_metrics.average_precision(truth, p_real),
        "eer": image_metrics.eer(truth, p_real),
        "mean_forged": float(scores.mean()),
        "mean_pristine": float(quiet.mean()),
    }


def areas_of(areas: Sequence[float], resamples: int, seed: int) -> dict[str, Any]:
    if not areas:
        return {"pictures": 0, "area": None, "interval": None, "largest": None}
    drawn = metrics.resampled_means({"area": areas}, resamples, seed)["area"]
    return {
        "pictures": len(areas),
        "area": float(np.mean(areas)),
        "interval": _ends(drawn),
        "largest": max(areas),
    }


def _why(name: str, some: Sequence[Forged], column: np.ndarray) -> str:
    """How many of the pictures do not give a figure, and for what reasons."""
    lacking = [one for one, value in zip(some, column, strict=True) if math.isnan(value)]
    reasons = Counter(
        "no original, or it could not be used"
        if name == CONTROL and not math.isnan(one.auc)
        else metrics.reason(name, one.counts)
        for one in lacking
    )
    return ", ".join(f"{number:,} of {len(some):,} pictures: {words}" for words, number in reasons.most_common())


def _ends(drawn: Any) -> tuple[float, float] | None:
    low, high = image_metrics.interval(drawn)
    return None if math.isnan(low) else (low, high)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals as lists, which is what they are in JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
