"""Our table beside the printed one: as Markdown, CSV, JSON, a plot and sheets of pictures. Imports no Keras."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakeclf.atomic import replace_file
from fakeclf.reproduce import curve, grid
from fakeclf.reproduce.experiments import AXES, Experiment, Scale, printed_table
from fakeclf.reproduce.grid import Cell
from fakeclf.reproduce.rows import BASELINES, NO_PERCENT, Figure, Printed, Row, rows_of
from fakeclf.reproduce.runner import Store


@dataclass(frozen=True)
class Table:
    """A reproduced table, see ``build``; ``sheets`` holds what ``sheets.sheet`` takes, by test set."""

    experiment: Experiment
    scale: Scale
    unit: str
    source: str
    printed_protocol: str
    rows: list[Row]
    protocol: list[str]
    stands_for: list[str]
    sheets: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows by state."""
        states = [row.state for row in self.rows]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    @property
    def points(self) -> list[curve.Point]:
        """Of an experiment that asks for a curve."""
        return curve.points(self.rows, self.experiment.metrics) if self.experiment.curve else []

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "experiment": self.experiment.name,
            "title": self.experiment.title,
            "report": self.experiment.report,
            "scale": self.scale.name,
            "about": [*self.scale.about, *self.experiment.notes],
            "stands_for": self.stands_for,
            "unit": self.unit,
            "printed_source": self.source,
            "printed_protocol": self.printed_protocol,
            "rows": [_row_json(row) for row in self.rows],
            "curve": [dataclasses.asdict(point) for point in self.points],
            "protocol": self.protocol,
        }

    def to_markdown(self) -> str:
        """The table, what stood for what and how it was measured."""
        columns = list(self.experiment.metrics)
        beside = [name for name in columns if any(row.figures[name].printed is not None for row in self.rows)]
        if any("control AUC" in row.figures for row in self.rows):
            columns += list(BASELINES)
        shown = [row for row in self.rows if row.state != "left open"]
        axes = [axis for axis in ("model", "train", "test", "epoch") if any(row.own.get(axis) for row in shown)]
        header = [{"train": "trained on", "test": "tested on"}.get(axis, axis) for axis in axes]
        for name in columns:
            header += [name, f"{name}, printed"] if name in beside else [name]
        header += ["pictures", "training, s", "a picture, s", *(["printed row"] if self.experiment.printed else [])]
        body = []
        for row in shown:
            cells = [row.own[axis] for axis in axes]
            for name in columns:
                figure = row.figures.get(name, Figure())
                cells.append(self._ours(name, figure) or ("-" if row.state == "done" else row.state))
                if name in beside:
                    cells.append(self._text(name, figure.printed))
            counted = "-" if row.pictures is None else f"{row.pictures:,}"
            cells += [counted, _seconds(row.train_seconds, 0), _seconds(row.seconds_a_picture, 3)]
            cells += [_label(row.labels)] if self.experiment.printed else []
            body.append(cells)
        open_rows = self.counts.get("left open", 0)
        blocks = [
            f"# {self.experiment.title}",
            f"{self.experiment.report}; scale **{self.scale.name}**",
            _markdown(header, body),
        ]
        if self.points:
            blocks += [
                "On test sets that were not learnt from: means over them, lowest and highest test set",
                _markdown(*curve.text(self.points, self.experiment.metrics)),
            ]
        if open_rows and self.experiment.printed:
            blocks.append(f"{open_rows} printed rows are left open at this scale; table.csv has their figures.")
        failed = [f"- {_label(row.labels)}: {row.reason}" for row in self.rows if row.reason]
        if failed:
            blocks.append("\n".join(["Failed:", "", *failed]))
        lines = [f"- {line}" for line in (*self.scale.about, *self.experiment.notes)]
        if self.experiment.printed:
            lines.append(f"- printed: {self.source}. {self.printed_protocol}")
        blocks.append("\n".join(["What to know:", "", *lines]))
        if self.stands_for and self.experiment.printed:
            blocks.append("\n".join(["Stand-ins, as ours : printed:", "", *(f"- {line}" for line in self.stands_for)]))
        blocks.append("\n".join(["How ours was measured:", "", *(f"- {line}" for line in self.protocol)]))
        return "\n\n".join(blocks) + "\n"

    def save(self, folder: Path) -> None:
        """Write the table as .md, .csv and .json, ``plot.png``, ``curve.png`` and a sheet a test set, each whole.

        Raises:
            FakeclfError: if ``folder`` cannot be written to.
        """
        from fakeclf import plots

        with replace_file(folder / "table.md") as beside:
            beside.write_text(self.to_markdown(), encoding="utf-8")
        with replace_file(folder / "table.json") as beside:
            beside.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        with replace_file(folder / "table.csv") as beside, beside.open("w", newline="", encoding="utf-8") as stream:
            rows = list(self._csv_rows())
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        drawn = [row for row in self.rows if any(row.figures[name].ours for name in self.experiment.metrics)]
        if drawn:
            panels = {
                name: [(f.mean, f.interval, f.printed) for f in (row.figures[name] for row in drawn)]
                for name in self.experiment.metrics
            }
            plots.beside_printed([_plot_name(row) for row in drawn], panels, folder / "plot.png", self.unit)
        if self.points:
            shown = {
                name: [(point.sources, point.values(name)) for point in self.points]
                for name in (*self.experiment.metrics, *BASELINES)
            }
            plots.by_number("sources trained on", shown, folder / "curve.png")
        for number, (test, parts) in enumerate(self.sheets.items(), start=1):
            _sheet(test, parts, folder / f"sheet-{number}.png", [f"{self.experiment.report}; {self.scale.about[0]}"])

    def _ours(self, name: str, figure: Figure) -> str:
        text = self._text(name, figure.mean) if figure.ours else ""
        if figure.interval and text:
            low, high = (self._text(name, end) for end in figure.interval)
            text += f" ({low} to {high})"
        return text

    def _text(self, name: str, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" if self.unit == "percent" and name not in NO_PERCENT else f"{value:.4g}"

    def _csv_rows(self) -> Iterable[dict[str, Any]]:
        for row in self.rows:
            for name, figure in row.figures.items():
                seeds: list[int | None] = [*figure.ours] or [None]
                for seed in seeds:
                    yield self._csv_row(row, name, figure, seed)

    def _csv_row(self, row: Row, name: str, figure: Figure, seed: int | None) -> dict[str, Any]:
        ours = None if seed is None else figure.ours[seed]
        low, high = (None, None) if seed is None else figure.intervals.get(seed, (None, None))
        values = {
            "experiment": self.experiment.name,
            "scale": self.scale.name,
            **{f"printed {axis}": row.labels.get(axis) for axis in (*AXES, "epoch")},
            **{f"our {axis}": row.own.get(axis) for axis in ("model", "train", "test")},
            "state": row.state,
            "seed": seed,
            "figure": name,
            "printed": figure.printed,
            "ours": ours,
            "low": low,
            "high": high,
            "pictures": row.pictures,
            "training seconds": row.train_seconds,
            "seconds a picture": row.seconds_a_picture,
        }
        return {key: "" if value is None else value for key, value in values.items()}


def build(experiment: Experiment, scale: Scale, cells: Sequence[Cell], store: Store) -> Table:
    """Put together what is known of the cells, and what the report printed."""
    about = printed_table(experiment)
    percent = about.get("unit") == "percent"
    printed = Printed(experiment, about)
    by_row: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        by_row.setdefault(tuple(cell.labels.values()), []).append(cell)
    rows: list[Row] = []
    lines: list[list[str]] = []
    stands: dict[str, None] = {}
    sheets: dict[str, list[tuple[str, Path]]] = {}
    for labels in grid.rows(experiment):
        some = by_row.get(tuple(labels.values()), [])
        found = {cell.seed: store.read(cell) for cell in some}
        rows += rows_of(experiment, printed, labels, some, found, percent)
        lines += [values["evaluation"]["protocol"] for values in found.values() if values and "evaluation" in values]
        for cell in some[:1]:
            pairs = [(cell.own[axis], labels[axis]) for axis in ("model", "train", "test")]
            stands.update(dict.fromkeys(f"{ours} : {theirs}" for ours, theirs in pairs if ours != theirs))
            if store.samples(cell).is_file():
                head = f"{cell.own['model']}, {cell.own['train']}"
                sheets.setdefault(cell.own["test"], []).append((head, store.samples(cell)))
    shared = [line for line in (lines[0] if lines else []) if all(line in other for other in lines)]
    if lines and len(shared) < len(lines[0]):
        shared.append(
            "lines that differ from cell to cell, as of pictures and thresholds, stand in the files of cells/"
        )
    if experiment.measure == "history":
        shared.append("what each training recorded, epoch by epoch; no test picture was looked at")
    if any(len(figure.ours) > 1 for row in rows for figure in row.figures.values()):
        shared.append(
            "several seeds: the mean, and from the lowest to the highest end of their intervals over pictures"
        )
    return Table(
        experiment,
        scale,
        "percent" if percent else "fraction",
        about.get("source", ""),
        about.get("protocol", ""),
        rows,
        shared,
        list(stands),
        sheets,
    )


def _sheet(test: str, parts: Sequence[tuple[str, Path]], path: Path, lines: Sequence[str]) -> None:
    """Picture | truth | each model, for the pictures that all models were shown."""
    import numpy as np

    from fakeclf.registry import resolve

    loaded = [np.load(file, allow_pickle=False) for _, file in parts]
    sample, samples = resolve("segmentation.sheets:Sample"), []
    for number in range(min(len(arrays.files) // 3 for arrays in loaded)):
        picture = f"picture{number}"
        if all(np.array_equal(arrays[picture], loaded[0][picture]) for arrays in loaded):
            first, *others = (arrays[f"mask{number}"].astype(np.float32) / 255 for arrays in loaded)
            shown = loaded[0][picture], loaded[0][f"truth{number}"]
            samples.append(sample(*shown, first, test, tuple(others)))
    if samples:
        heads = ["picture", "truth: white = inpainted", *(name for name, _ in parts)]
        resolve("segmentation.sheets:sheet")(samples, path, lines, heads)


def _row_json(row: Row) -> dict[str, Any]:
    figures = {
        name: {
            "printed": figure.printed,
            "ours": figure.mean,
            "interval": figure.interval,
            "seeds": {str(seed): value for seed, value in figure.ours.items()},
        }
        for name, figure in row.figures.items()
    }
    costs = {name: getattr(row, name) for name in ("pictures", "train_seconds", "seconds_a_picture")}
    return {
        "printed": row.labels,
        "ours": row.own,
        "state": row.state,
        "reason": row.reason,
        **costs,
        "figures": figures,
    }


def _label(labels: Mapping[str, str]) -> str:
    words = [labels[axis] for axis in AXES if labels[axis] not in ("", "-")]
    return ", ".join([*words, *([f"epoch {labels['epoch']}"] if "epoch" in labels else [])])


def _plot_name(row: Row) -> str:
    words = [row.own["model"], *([] if row.own["train"] == "-" else [row.own["train"]])]
    if "epoch" in row.own:
        return f"{words[0]}, epoch {row.own['epoch']}"
    return ", ".join([*words, f"on {row.own['test']}"])


def _seconds(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(header))]
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    )
