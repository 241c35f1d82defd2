"""From scores to a report: figures, intervals, published figures beside them, and how it all was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fakeclf import metrics, protocol
from fakeclf.atomic import replace_file
from fakeclf.errors import FakeclfError

if TYPE_CHECKING:
    from fakeclf.calibration import Calibration

FIGURES = ("accuracy", "balanced_accuracy", "auc", "ap", "eer", "f1", "precision", "recall", "ece", "loss")
COUNTED = ("accuracy", "balanced_accuracy", "f1", "precision", "recall")  # those that follow from the four counts
RESAMPLES = 1000


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one data set.

    Attributes:
        model, data, split: what was measured on what.
        threshold: a picture is called FAKE where P(FAKE) reaches it.
        figures: all of ``metrics.classification``; None where the pictures cannot give one.
        intervals: 95 % bootstrap intervals over pictures, (low, high), of the counted figures and the AUC.
        parts: of data "a+b": the name of each to its own evaluation (``unreadable`` is counted for the whole alone).
        unreadable: how many pictures were left out because they cannot be decoded.
        seconds: time of reading and predicting; 0 for scores that were there already.
        protocol: how the figures were measured, a line each.
        truth, p_real: what they were computed from, (n,): 0 = FAKE, 1 = REAL, and P(REAL).
        calibration: of the model, where it has one; the figures above are those of its raw scores all the same.
    """

    model: str
    data: str
    split: str
    threshold: float
    figures: dict[str, Any]
    intervals: dict[str, tuple[float, float] | None]
    protocol: list[str]
    truth: np.ndarray = field(repr=False)
    p_real: np.ndarray = field(repr=False)
    parts: dict[str, Evaluation] = field(default_factory=dict)
    unreadable: int = 0
    seconds: float = 0.0
    calibration: Calibration | None = field(default=None, repr=False)

    @property
    def calibrated(self) -> dict[str, float] | None:
        """``ece`` and ``loss`` after the model's calibration; None without one."""
        if self.calibration is None:
            return None
        after = self._calibrated_p_real()
        return {"ece": metrics.ece(self.truth, after), "loss": metrics.log_loss(self.truth, after)}

    @property
    def fakes(self) -> int:
        return int(np.sum(self.truth == metrics.FAKE))

    @property
    def reals(self) -> int:
        return int(np.sum(self.truth == metrics.REAL))

    def to_json(self) -> dict[str, Any]:
        """Everything but the scores, as plain JSON values; ``accuracy``, ``auc`` ... at the top level."""
        values: dict[str, Any] = {
            "model": self.model,
            "data": self.data,
            "split": self.split,
            "pictures": len(self.truth),
            "fake": self.fakes,
            "real": self.reals,
            "unreadable": self.unreadable,
            "threshold": self.threshold,
            **self.figures,
            "calibrated": self.calibrated,
            "intervals": {name: list(ends) if ends else None for name, ends in self.intervals.items()},
            "seconds": round(self.seconds, 2),
            "protocol": self.protocol,
        }
        if self.parts:
            dropped = ("model", "split", "threshold", "seconds", "protocol", "unreadable", "published")
            values["parts"] = {
                name: {key: value for key, value in part.to_json().items() if key not in dropped}
                for name, part in self.parts.items()
            }
        values["published"] = published(self.data) if self.split == "test" else []
        return values

    def to_table(self) -> str:
        """Figures, confusion matrix, published figures and protocol lines as aligned plain text."""
        count = f"{len(self.truth):,} pictures: {self.fakes:,} FAKE, {self.reals:,} REAL"
        blocks = [
            f"{self.model} on {self.data} ({self.split}), {count}; {self.unreadable:,} unreadable"
            + (f"; {self.seconds:.1f} s" if self.seconds else ""),
            self._figure_table(),
            _aligned(
                ["", "called FAKE", "called REAL"],
                [
                    ["FAKE", *(f"{self.figures['confusion'][cell]:,}" for cell in ("tp", "fn"))],
                    ["REAL", *(f"{self.figures['confusion'][cell]:,}" for cell in ("fp", "tn"))],
                ],
            ),
        ]
        rows = published(self.data) if self.split == "test" else []
        if rows:
            blocks.append(self._beside(rows))
        blocks.append("\n".join(["How this was measured:", *(f"- {line}" for line in self.protocol)]))
        return "\n\n".join(blocks)

    def save(self, folder: str | Path) -> None:
        """Write ``evaluation.json``, ``confusion.png`` and ``roc.png`` into ``folder``, each whole or not at all.

        With a calibration also ``reliability.png``, before and after it.

        Raises:
            FakeclfError: if ``folder`` cannot be written to.
        """
        from fakeclf import plots

        folder = Path(folder)
        with replace_file(folder / "evaluation.json") as beside:
            beside.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        plots.confusion_matrix(self.figures["confusion"], folder / "confusion.png")
        plots.roc(self.truth, self.p_real, folder / "roc.png")
        if self.calibration is not None:
            plots.calibration(self.truth, self.p_real, self._calibrated_p_real(), folder / "reliability.png")

    def _calibrated_p_real(self) -> np.ndarray:
        assert self.calibration is not None
        return 1.0 - self.calibration.apply(1.0 - self.p_real)

    def _figure_table(self) -> str:
        rows = [["pictures", f"{len(self.truth):,}", "", *(f"{len(part.truth):,}" for part in self.parts.values())]]
        for name in FIGURES:
            ends = self.intervals.get(name)
            interval = f"{ends[0]:.4f} - {ends[1]:.4f}" if ends else ""
            rows.append([name, _four(self.figures[name]), interval])
            rows[-1] += [_four(part.figures[name]) for part in self.parts.values()]
        lines = [_aligned(["figure", "all" if self.parts else "value", "95 % interval", *self.parts], rows)]
        lines += [f"no {name}: {reason}" for name, reason in self.figures["undefined"].items()]
        if self.calibrated is not None:
            after, before = self.calibrated, self.figures
            lines.append(f"calibrated ECE {after['ece']:.4f} ({before['ece']:.4f} before)")
            lines[-1] += f", loss {after['loss']:.4f} ({before['loss']:.4f} before)"
        return "\n".join(lines)

    def _beside(self, rows: Sequence[dict[str, Any]]) -> str:
        measured = {self.data: self, **self.parts}
        table = []
        for name, own in measured.items():
            theirs = [row for row in rows if _same(row["data"], name)]
            if theirs:
                ours = [_four(own.figures["accuracy"]), _four(own.figures["loss"])]
                table.append([name, self.model, "measured here", f"{len(own.truth):,}", *ours])
            for row in theirs:
                figures = [_four(row["accuracy"]), _four(row["loss"])]
                table.append([name, row["model"], row["source"], f"{row['pictures']:,}", *figures])
        header = ["data", "model", "source", "pictures", "accuracy", "loss"]
        return "Beside published figures:\n" + _aligned(header, table, words=3)


def evaluate_scores(
    truth: ArrayLike,
    p_real: ArrayLike,
    *,
    model: str = "scores",
    data: str = "data",
    split: str = "test",
    threshold: float = 0.5,
    parts: Sequence[str] | None = None,
    unreadable: int = 0,
    seconds: float = 0.0,
    notes: Sequence[str] = (),
    fixed_by: str = "the caller",
    calibration: Calibration | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Measure scores.

    Args:
        truth: 0 = FAKE, 1 = REAL, (n,).
        p_real: P(REAL) in [0, 1], (n,).
        model, data, split: names, for the report.
        threshold: on P(FAKE), in [0, 1].
        parts: the data set each picture comes from, (n,); more than one name gives each an evaluation of its own.
        unreadable: pictures left out.
        seconds: how long the predictions took.
        notes: protocol lines about the pictures (how many were drawn, size and codec).
        fixed_by: who chose the threshold.
        calibration: of the model, for the figures of ``Evaluation.calibrated``.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        FakeclfError: if there are no scores, or some are no probabilities, or the threshold is none.
    """
    truth, p_real = np.asarray(truth).reshape(-1).astype(int), np.asarray(p_real, np.float64).reshape(-1)
    if not 0 <= threshold <= 1:
        raise FakeclfError(f"the threshold is on P(FAKE) and lies between 0 and 1; received {threshold}")
    if not len(truth):
        raise FakeclfError(f"no picture of {data} ({split}) could be measured; {unreadable:,} are unreadable")
    outside = int(np.sum(~((p_real >= 0) & (p_real <= 1))))
    if outside:
        raise FakeclfError(
            f"{model} gave no probability for {outside:,} of {len(p_real):,} pictures (NaN or outside 0 to 1); "
            "its weights are broken: fetch or train it again"
        )
    common: dict[str, Any] = {"model": model, "split": split, "threshold": threshold, "calibration": calibration}
    how: dict[str, Any] = {"notes": notes, "fixed_by": fixed_by, "resamples": resamples, "seed": seed}
    names = [] if parts is None else sorted(set(parts))
    inner = {}
    if len(names) > 1:
        of = np.asarray(parts)
        for name in names:
            inner[name] = evaluate_scores(truth[of == name], p_real[of == name], data=name, **common, **how)
    lines = protocol.classification_lines(
        data=data,
        split=split,
        fakes=int(np.sum(truth == metrics.FAKE)),
        reals=int(np.sum(truth == metrics.REAL)),
        unreadable=unreadable,
        threshold=threshold,
        fixed_by=fixed_by,
        resamples=resamples,
        seed=seed,
    )
    if calibration is not None:
        lines.append(f"calibrated ECE and loss: fitted on the {calibration.split} split of {calibration.data}")
    return Evaluation(
        **common,
        data=data,
        figures=metrics.classification(truth, p_real, threshold),
        intervals=_intervals(truth, p_real, threshold, resamples, seed),
        protocol=[*lines, *notes],
        truth=truth,
        p_real=p_real,
        parts=inner,
        unreadable=unreadable,
        seconds=seconds,
    )


def published(data: str) -> list[dict[str, Any]]:
    """Published test figures of a data set, and of the parts of "a+b".

    Returns:
        Rows with data, model, source, pictures, accuracy and loss (None where not published): the 2023 report's, and
        the best one of the literature where it is known.
    """
    tables = json.loads((resources.files("fakeclf.reproduce") / "published.json").read_text(encoding="utf-8"))
    rows = [{"source": tables["classifier_test"]["source"], **row} for row in tables["classifier_test"]["rows"]]
    best = max(tables["cifake_state_of_the_art"]["rows"], key=lambda row: row["accuracy"])
    rows.append({"source": "best published", "loss": None, **best})
    names = {data, *data.split("+")}
    keys = ("model", "source", "pictures", "accuracy", "loss")
    return [
        {"data": row["dataset"], **{key: row[key] for key in keys}}
        for row in rows
        if any(_same(row["dataset"], name) for name in names)
    ]


def _intervals(
    truth: np.ndarray, p_real: np.ndarray, threshold: float, resamples: int, seed: int
) -> dict[str, tuple[float, float] | None]:
    counts = metrics.confusion(truth, p_real, threshold).resampled(resamples, seed)
    ends = {name: metrics.interval(getattr(counts, name)) for name in COUNTED}
    order = np.argsort(p_real)
    ends["auc"] = metrics.bootstrap(metrics.auc, truth[order], p_real[order], n=resamples, seed=seed)
    return {name: None if np.isnan(pair).any() else pair for name, pair in ends.items()}


def _same(one: str, other: str) -> bool:
    return set(one.split("+")) == set(other.split("+"))


def _four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Columns of equal width: the first ``words`` to the left, numbers to the right."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )
