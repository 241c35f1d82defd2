"""How a model stands what happens to pictures on their way: its figures after each of the same list of degradations.

    print(robustness("cifake", "cifake").to_table())

Imports no Keras until it runs a model.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import metrics, protocol
from fakeclf.atomic import replace_file
from fakeclf.data import degrade
from fakeclf.degraded import predict_degraded
from fakeclf.evaluate import chosen, thinned
from fakeclf.scores import RESAMPLES, evaluate_scores

if TYPE_CHECKING:
    from fakeclf.data.datasets import Example

UNTOUCHED = "untouched"
"""Name of the row of pictures as they are in their files; the first one of every table."""
ROWS = (
    "rows: each degradation alone, on the decoded pixels of both classes alike, before the model sees them; noise is "
    "drawn anew for each picture and is the same in every run"
)
PROBLEMS = 20  # lines


@dataclass(frozen=True)
class Column:
    """A figure of every row.

    Attributes:
        key: in the row's figures.
        heading: what it is called in tables.
        form: how its numbers are written, as in ``format``.
        spread: whether its interval is shown in plain text, too.
    """

    key: str
    heading: str
    form: str = ".4f"
    spread: bool = False


@dataclass(frozen=True)
class Row:
    """What was measured after one degradation.

    Attributes:
        name: of the degradation, or ``UNTOUCHED``.
        pictures: how many.
        figures: by key; None where the pictures cannot give one.
        intervals: 95 % bootstrap intervals over pictures, (low, high), of the figures that have one.
    """

    name: str
    pictures: int
    figures: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Robustness:
    """Figures of one model on one data set, untouched and after each degradation.

    Attributes:
        model, data, split: what was measured on what.
        threshold: the same for every row.
        columns: figures that tables show.
        panels: of the plot: what an axis is called, and the columns drawn along it.
        rows: the untouched pictures, then a row a degradation.
        unreadable: how many files could not be decoded.
        problems: what was left out, a line each.
        seconds: from the first file to the last figure.
        protocol: how the figures were measured, a line each.
    """

    model: str
    data: str
    split: str
    threshold: float
    columns: tuple[Column, ...]
    panels: dict[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    unreadable: int
    problems: list[str] = field(repr=False)
    seconds: float
    protocol: list[str] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; ``data`` says that it was degraded."""
        return {
            "model": self.model,
            "data": f"{self.data}, degraded",
            "split": self.split,
            "threshold": self.threshold,
            "pictures": self.rows[0].pictures,
            "unreadable": self.unreadable,
            "problems": self.problems,
            "rows": [
                {
                    "name": row.name,
                    "pictures": row.pictures,
                    **row.figures,
                    "intervals": {key: list(ends) if ends else None for key, ends in row.intervals.items()},
                }
                for row in self.rows
            ],
            "seconds": round(self.seconds, 2),
            "protocol": self.protocol,
        }

    def to_table(self) -> str:
        """Figures and protocol lines as aligned plain text."""
        header, *body = table = self._table(every_interval=False)
        widths = [max(len(cells[place]) for cells in table) for place in range(len(header))]
        lines = []
        for cells in (header, ["-" * width for width in widths], *body):
            name, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
            lines.append("  ".join([name.strip().ljust(widths[0]), *others]).rstrip())
        return "\n\n".join([self._head(), "\n".join(lines), *self._how()])

    def to_markdown(self) -> str:
        """The same with a Markdown table, every interval in its cell."""
        header, *body = self._table(every_interval=True)
        rule = ["---", *("---:" for _ in header[1:])]
        escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in (header, rule, *body)]
        lines = [f"| {' | '.join(cells)} |" for cells in escaped]
        return "\n\n".join([self._head(), "\n".join(lines), *self._how()]) + "\n"

    def save(self, folder: str | Path) -> None:
        """Write ``table.md``, ``robustness.json``, ``robustness.csv`` and ``robustness.png``, each whole or not at all.

        Raises:
            FakeclfError: if ``folder`` cannot be written to.
        """
        from fakeclf import plots

        folder = Path(folder)
        with replace_file(folder / "table.md") as beside:
            beside.write_text(self.to_markdown(), encoding="utf-8")
        with replace_file(folder / "robustness.json") as beside:
            beside.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        with replace_file(folder / "robustness.csv") as beside, beside.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self._csv_rows())
        headings = {column.key: column.heading for column in self.columns}
        drawn = {key: [(row.figures[key], row.intervals.get(key)) for row in self.rows] for key in headings}
        plots.robustness(
            [row.name for row in self.rows],
            {along: {headings[key]: drawn[key] for key in keys} for along, keys in self.panels.items()},
            folder / "robustness.png",
            f"{self.model} on {self.data} ({self.split}), threshold {self.threshold:g}",
        )

    def _table(self, every_interval: bool) -> list[list[str]]:
        table = [["", "pictures", *(column.heading for column in self.columns)]]
        for row in self.rows:
            cells = [row.name, f"{row.pictures:,}"]
            for column in self.columns:
                value, ends = row.figures[column.key], row.intervals.get(column.key)
                cell = "-" if value is None else format(value, column.form)
                if ends and (every_interval or column.spread):
                    cell += f" ({ends[0]:{column.form}} to {ends[1]:{column.form}})"
                cells.append(cell)
            table.append(cells)
        return table

    def _csv_rows(self) -> Iterator[list[Any]]:
        keys = [column.key for column in self.columns]
        yield ["name", "pictures", *(f"{key}{end}" for key in keys for end in ("", "_low", "_high"))]
        for row in self.rows:
            threes = ((row.figures[key], *(row.intervals.get(key) or (None, None))) for key in keys)
            values = ("" if value is None else f"{value:.6g}" for three in threes for value in three)
            yield [row.name, row.pictures, *values]

    def _head(self) -> str:
        left = f"{self.unreadable:,} unreadable; {self.seconds:.1f} s"
        return f"{self.model} on {self.data} ({self.split}), {self.rows[0].pictures:,} pictures; {left}"

    def _how(self) -> list[str]:
        blocks = ["\n".join(["How this was measured:", "", *(f"- {line}" for line in self.protocol)])]
        if self.problems:
            more = len(self.problems) - PROBLEMS
            shown = [*self.problems[:PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]
            blocks.append("\n".join(["Problems:", "", *(f"- {line}" for line in shown)]))
        return blocks


COLUMNS = (
    Column("accuracy", "accuracy"),
    Column("auc", "AUC"),
    Column("recall", "recall of FAKE"),
    Column("specificity", "specificity"),
    Column("change", "change of accuracy, points", "+.2f", spread=True),
)
PANELS = {"change of accuracy, points": ("change",), "share called rightly": ("recall", "specificity")}


def robustness(
    model: str | Path,
    dataset: str,
    *,
    split: str = "test",
    threshold: float | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    data_dir: str | Path | None = None,
    degradations: Sequence[str] = degrade.ROBUSTNESS,
) -> Robustness:
    """Measure how a saved classifier stands degradations; arguments and errors as for ``fakeclf.evaluate.evaluate``.

    Args:
        degradations: a row each, see ``fakeclf.data.degrade``.
    """
    from fakeclf import bundle

    card, shown, note, every = chosen(model, dataset, split, limit, batch_size, data_dir)
    return robustness_model(
        bundle.load(model),
        every,
        data=dataset,
        split=split,
        name=card.name,
        shown=shown,
        threshold=card.threshold if threshold is None else threshold,
        fixed_by="the model's card" if threshold is None else "the caller",
        notes=[f"split: {note}"] if note else [],
        batch_size=batch_size,
        limit=limit,
        degradations=degradations,
    )


def robustness_model(
    network: Any,
    examples: Sequence[Example],
    *,
    data: str,
    split: str,
    name: str | None = None,
    shown: str | None = None,
    threshold: float = 0.5,
    fixed_by: str = "default",
    notes: Sequence[str] = (),
    batch_size: int = 64,
    limit: int | None = None,
    degradations: Sequence[str] = degrade.ROBUSTNESS,
    seed: int = 0,
) -> Robustness:
    """Measure how a classifier in memory stands degradations.

    Args:
        degradations: a row each, see ``fakeclf.data.degrade``.
        seed: of the bootstrap, and of noise.

    The other arguments, and errors, as for ``fakeclf.evaluate.evaluate_model``.
    """
    start = time.perf_counter()
    steps = [degrade.parse(text) for text in degradations]
    some, of = thinned(examples, data, limit)
    places, p_real, unreadable, problems = predict_degraded(network, some, steps, batch_size, seed)
    truth = np.array([some[place].label for place in places])
    shown, name = shown or data, name or network.name
    about: dict[str, Any] = {"model": name, "data": shown, "split": split, "threshold": threshold}
    rows, before = [], np.zeros(0, bool)
    for step, p in zip((UNTOUCHED, *(step.name for step in steps)), p_real, strict=True):
        measured = evaluate_scores(truth, p, **about, unreadable=unreadable, seed=seed)
        counts = metrics.confusion(truth, p, threshold)
        right = (1 - p >= threshold) == (truth == metrics.FAKE)
        before = right if step == UNTOUCHED else before
        change, ends = paired_change(before, right, seed=seed)
        of_reals = metrics.interval(counts.resampled(RESAMPLES, seed).specificity)
        figures = {key: measured.figures[key] for key in ("accuracy", "auc", "recall")}
        intervals = {key: measured.intervals[key] for key in figures}
        figures |= {"specificity": counts.specificity if measured.reals else None, "change": change}
        intervals |= {"specificity": of_reals if measured.reals else None, "change": ends}
        rows.append(Row(step, len(truth), figures, intervals))
    left_out = f"{unreadable:,} unreadable, {len(problems) - unreadable:,} too large for a codec, left out of every row"
    lines = [
        f"pictures: {split} split of {shown}, {np.sum(truth == metrics.FAKE):,} FAKE and "
        f"{np.sum(truth == metrics.REAL):,} REAL, the same in every row; {left_out}",
        f"threshold: fixed, the same in every row, a picture is called FAKE where P(FAKE) >= {threshold:g}; given by "
        f"{fixed_by}",
        ROWS,
        "averaging: every picture counts once, pooled over all pictures",
        "class: FAKE is positive in recall; specificity is the share of REAL pictures that are left in peace",
        "AUC: on raw scores, not on thresholded ones; the score is the classifier's output, not a mask's",
        "change of accuracy: against the untouched row, in points; its interval draws each picture with both verdicts",
        f"intervals: 95 %, bootstrap over pictures (percentiles), {RESAMPLES:,} resamples, seed {seed}",
        *protocol.about_data(data),
        *([f"{len(some):,} of {len(examples):,} pictures, evenly spaced"] if len(some) < len(examples) else []),
        *protocol.size_and_codec_lines(protocol.read_headers(some, of)),
        *notes,
    ]
    return Robustness(
        **about,
        columns=COLUMNS,
        panels=PANELS,
        rows=tuple(rows),
        unreadable=unreadable,
        problems=problems,
        seconds=time.perf_counter() - start,
        protocol=lines,
    )


def paired_change(before: np.ndarray, after: np.ndarray, *, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """How many points of accuracy ``after`` lies above ``before``, and the 95 % interval of a paired bootstrap.

    Only pictures that changed sides matter, so drawing pictures together with both verdicts is one multinomial draw of
    how many were gained, lost and neither.

    Args:
        before, after: whether each picture was judged rightly, (n,), in the same order.
    """
    total, gained, lost = before.size, int(np.sum(after & ~before)), int(np.sum(before & ~after))
    shares = np.array([gained, lost, total - gained - lost]) / total
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=RESAMPLES)
    return 100 * (gained - lost) / total, metrics.interval(100 * (drawn[:, 0] - drawn[:, 1]) / total)
