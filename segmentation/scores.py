"""From what the masks of pictures scored to figures: a row a generator, intervals, controls, how it was measured."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf.atomic import replace_file
from fakeclf.errors import FakeclfError
from segmentation import metrics, protocol, score_table, sheets
from segmentation.metrics import Histogram
from segmentation.score_rows import CONTROL, FIGURES, Forged, Pristine, Row, areas_of, mean_of, plain, row_of

RESAMPLES = 1000
A_SHEET = 8  # samples


@dataclass(frozen=True)
class MaskEvaluation:
    """Figures of one localizer on one data set.

    Attributes:
        model, data, split: what was measured on what; ``data`` names the codec, if one was applied.
        threshold: a pixel is called inpainted where P(inpainted) reaches it.
        rows: a row a generator, by name.
        mean_of_generators: every generator counts once; None with fewer than two.
        all: every forged picture counts once.
        pristine: ``pictures``, mean positive ``area`` (None without any), its 95 % ``interval``, ``largest``.
        score_from: where the picture scores come from.
        seconds: median time of the localizer a picture.
        problems: what was left out, a line each.
        unreadable, failed: how many files could not be decoded, and how many pairs were left out for other reasons.
        protocol: how the figures were measured, a line each.
        forged, pristines: what they were computed from, one entry a picture.
        samples: for the sheets.
    """

    model: str
    data: str
    split: str
    threshold: float
    rows: dict[str, Row]
    mean_of_generators: Row | None
    all: Row
    pristine: dict[str, Any]
    score_from: str
    seconds: float
    problems: list[str]
    unreadable: int
    failed: int
    protocol: list[str]
    forged: tuple[Forged, ...] = field(repr=False)
    pristines: tuple[Pristine, ...] = field(repr=False)
    samples: tuple[sheets.Sample, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as plain JSON values; the figures over all pictures at the top level."""
        mean = self.mean_of_generators
        return {
            "model": self.model,
            "data": self.data,
            "split": self.split,
            "threshold": self.threshold,
            **self.all.to_json(),
            "generators": {name: row.to_json() for name, row in self.rows.items()},
            "mean_of_generators": mean.to_json() if mean else None,
            "pristine": plain(self.pristine),
            "score_from": self.score_from,
            "seconds_a_picture": round(self.seconds, 4),
            "unreadable": self.unreadable,
            "failed": self.failed,
            "problems": self.problems,
            "protocol": self.protocol,
        }

    def to_table(self) -> str:
        """Figures and protocol lines as aligned plain text."""
        return score_table.report(self)

    def to_markdown(self) -> str:
        """The same, with Markdown tables."""
        return score_table.report(self, markdown=True)

    def save(self, folder: str | Path) -> None:
        """Write ``evaluation.json``, ``pictures.csv`` (a row a picture), ``sheet-1.png`` ..., each whole or not at all.

        Raises:
            FakeclfError: if ``folder`` cannot be written to.
        """
        folder = Path(folder)
        with replace_file(folder / "evaluation.json") as beside:
            beside.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        with replace_file(folder / "pictures.csv") as beside, beside.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["image", "kind", "generator", *FIGURES, "score", "top", "seconds"])
            writer.writeheader()
            writer.writerows(self._csv_rows())
        for number, start in enumerate(range(0, len(self.samples), A_SHEET), start=1):
            some = self.samples[start : start + A_SHEET]
            sheets.sheet(some, folder / f"sheet-{number}.png", [f"{self.model} on {self.data}", *self.protocol])

    def by_picture(self) -> list[dict[str, Any]]:
        """``image`` and ``FIGURES`` of every forged picture; None where a figure is undefined."""
        rows = []
        for one in self.forged:
            figures = {**one.counts.figures(), **{name: getattr(one, name) for name in (*metrics.RANKED, CONTROL)}}
            known = {name: None if math.isnan(value) else float(value) for name, value in figures.items()}
            rows.append({"image": one.image, **known})
        return rows

    def _csv_rows(self) -> Iterable[dict[str, Any]]:
        for one, figures in zip(self.forged, self.by_picture(), strict=True):
            known = {name: "" if figures[name] is None else f"{figures[name]:.6g}" for name in FIGURES}
            yield {"kind": "forged", "generator": one.generator, **known, **_of_both(one)}
        for pristine in self.pristines:
            yield {"kind": "pristine", "area": f"{pristine.area:.6g}", **_of_both(pristine)}


def evaluate_masks(
    forged: Sequence[Forged],
    pristine: Sequence[Pristine],
    histograms: Mapping[str, Histogram],
    *,
    model: str = "masks",
    data: str = "data",
    split: str = "test",
    threshold: float = 0.5,
    fixed_by: str = "the caller",
    notes: Sequence[str] = (),
    problems: Sequence[str] = (),
    unreadable: int = 0,
    failed: int = 0,
    samples: Sequence[sheets.Sample] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MaskEvaluation:
    """Put together what the masks of pictures scored.

    Args:
        forged: the forged pictures.
        pristine: the pristine ones, each once.
        histograms: all pixels of the forged pictures, by generator, for the pooled AUC.
        model, data, split: names, for the report.
        threshold: on P(inpainted), that the counts were taken at.
        fixed_by: who chose the threshold.
        notes: protocol lines about the pictures and masks.
        problems, unreadable, failed, samples: see ``MaskEvaluation``.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        FakeclfError: if there is no picture.
    """
    if not forged and not pristine:
        why = f"; the first: {problems[0]}" if problems else ""
        raise FakeclfError(
            f"no picture of {data} ({split}) could be measured{why}; replace them or choose another split"
        )
    every: list[Forged | Pristine] = [*forged, *pristine]
    head = all(one.score is not None for one in every)
    score_from = "the localizer's own score" if head else "the mean of the highest 1 % of the mask's pixels"

    def scores(some: Sequence[Forged | Pristine]) -> np.ndarray:
        return np.array([one.score if head else one.top for one in some], float)

    quiet, rows, drawn = scores(pristine), {}, []
    for place, name in enumerate(sorted({one.generator for one in forged})):
        some = [one for one in forged if one.generator == name]
        # Seeds of their own: generators are resampled independently of each other.
        rows[name], means = row_of(some, histograms[name], scores(some), quiet, resamples, seed + place)
        drawn.append(means)
    together = sum((histograms[name] for name in rows), Histogram())
    whole, _ = row_of(forged, together, scores(forged), quiet, resamples, seed)
    lines = protocol.mask_lines(
        data=data,
        split=split,
        generators={name: row.pictures for name, row in rows.items()},
        pristine=len(pristine),
        unreadable=unreadable,
        failed=failed,
        threshold=threshold,
        fixed_by=fixed_by,
        score_from=score_from,
        pooled_error=together.error,
        resamples=resamples,
        seed=seed,
    )
    return MaskEvaluation(
        model=model,
        data=data,
        split=split,
        threshold=threshold,
        rows=rows,
        mean_of_generators=mean_of(list(rows.values()), drawn) if len(rows) > 1 else None,
        all=whole,
        pristine=areas_of([one.area for one in pristine], resamples, seed),
        score_from=score_from,
        seconds=float(np.median([one.seconds for one in every])),
        problems=list(problems),
        unreadable=unreadable,
        failed=failed,
        protocol=[*lines, *notes],
        forged=tuple(forged),
        pristines=tuple(pristine),
        samples=tuple(samples),
    )


def _of_both(one: Forged | Pristine) -> dict[str, Any]:
    score = "" if one.score is None else f"{one.score:.6g}"
    return {"image": one.image, "score": score, "top": f"{one.top:.6g}", "seconds": f"{one.seconds:.4f}"}
