"""Rows of a table: our figures, by seed, beside the printed ones. Imports no Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakeclf.reproduce.experiments import AXES, Experiment
from fakeclf.reproduce.grid import Cell

BASELINES = {"all-positive": "hole", "control AUC": "control_auc"}
"""Beside every figure of masks: the IoU of marking everything, and the untouched original's mask against the truth."""
NO_PERCENT = ("loss", "val_loss", "learning_rate")


@dataclass(frozen=True)
class Figure:
    """One figure of a row: as printed, and ours by seed, with the 95 % interval of each."""

    printed: float | None = None
    ours: dict[int, float] = field(default_factory=dict)
    intervals: dict[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """Ours, over the seeds."""
        return sum(self.ours.values()) / len(self.ours) if self.ours else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """From the lowest to the highest end over the seeds."""
        if not self.intervals:
            return None
        return min(low for low, _ in self.intervals.values()), max(high for _, high in self.intervals.values())


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        labels: axis -> the report's name; ``epoch`` among them where the table goes by epochs.
        own: axis -> our name; {} for a row that the scale leaves open.
        state: ``done``, ``part`` (of the seeds), ``failed``, ``not run`` or ``left open``.
        reason: why it failed.
        figures: by column.
        pictures: that each seed was measured on.
        train_seconds: of the training, mean over seeds.
        seconds_a_picture: of the measurement, likewise.
    """

    labels: dict[str, str]
    own: dict[str, str]
    state: str
    figures: dict[str, Figure]
    reason: str = ""
    pictures: int | None = None
    train_seconds: float | None = None
    seconds_a_picture: float | None = None


class Printed:
    """The printed figure of a row and column."""

    def __init__(self, experiment: Experiment, about: Mapping[str, Any]) -> None:
        of_column = experiment.columns
        self.figures: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
        self.axes: list[str] = []
        for values in about.get("rows", ()):
            row: dict[str, Any] = (
                values if isinstance(values, dict) else dict(zip(about["columns"], values, strict=True))
            )
            named: dict[str, Any] = {of_column.get(name, name): value for name, value in row.items()}
            self.axes = [axis for axis in (*AXES, "epoch") if axis in named]
            self.figures[self._key(named)] = named

    def of(self, labels: Mapping[str, str], name: str) -> float | None:
        return self.figures.get(self._key(labels), {}).get(name)

    def epochs(self, labels: Mapping[str, str]) -> int:
        """How many epochs of a row are printed."""
        number = 0
        while self._key({**labels, "epoch": str(number + 1)}) in self.figures:
            number += 1
        return number

    def _key(self, labels: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        return tuple((axis, str(labels.get(axis, ""))) for axis in self.axes)


def rows_of(
    experiment: Experiment,
    printed: Printed,
    labels: dict[str, str],
    cells: Sequence[Cell],
    found: Mapping[int, Mapping[str, Any] | None],
    percent: bool,
) -> list[Row]:
    """The row of one combination of axes, or its rows by epoch.

    Args:
        labels: axis -> the report's name.
        cells: of that combination, a seed each; none where the scale leaves it open.
        found: by seed, what is known of them.
        percent: whether the report prints percent.
    """
    done = {seed: values for seed, values in found.items() if values and values["state"] == "done"}
    state, reason = _state(cells, found)
    own = dict(cells[0].own) if cells else {}
    common: dict[str, Any] = {"state": state, "reason": reason, **_costs(done)}
    if experiment.measure == "history":
        return _epochs(experiment, printed, labels, own, done, common)
    localizer = any("hole" in values["evaluation"] for values in done.values())
    figures = {
        name: _figure(done, path, 100 if percent and name not in NO_PERCENT else 1, printed.of(labels, name))
        for name, path in {**experiment.metrics, **(BASELINES if localizer else {})}.items()
    }
    return [Row(labels=labels, own=own, figures=figures, **common)]


def _figure(done: Mapping[int, Mapping[str, Any]], path: str, factor: float, printed: float | None) -> Figure:
    ours, intervals = {}, {}
    *groups, name = path.split(".")
    for seed, values in done.items():
        group = values["evaluation"]
        for key in groups:
            group = group[key]
        if group.get(name) is not None:
            ours[seed] = factor * group[name]
            ends = group["intervals"].get(name)
            if ends:
                intervals[seed] = (factor * ends[0], factor * ends[1])
    return Figure(printed, ours, intervals)


def _epochs(
    experiment: Experiment,
    printed: Printed,
    labels: dict[str, str],
    own: Mapping[str, str],
    done: Mapping[int, Mapping[str, Any]],
    common: Mapping[str, Any],
) -> list[Row]:
    histories = {seed: values["history"] for seed, values in done.items()}
    longest = max((len(column) for history in histories.values() for column in history.values()), default=0)
    rows = []
    for epoch in range(max(longest, printed.epochs(labels))):
        where = {"epoch": str(epoch + 1)}
        figures = {}
        for name, path in experiment.metrics.items():
            ours = {seed: history.get(path, [])[epoch : epoch + 1] for seed, history in histories.items()}
            known = {seed: values[0] for seed, values in ours.items() if values}
            figures[name] = Figure(printed.of({**labels, **where}, name), known)
        rows.append(Row(labels={**labels, **where}, own={**own, **where} if own else {}, figures=figures, **common))
    return rows


def _state(cells: Sequence[Cell], found: Mapping[int, Mapping[str, Any] | None]) -> tuple[str, str]:
    if not cells:
        return "left open", ""
    states = [values["state"] if values else "not run" for values in found.values()]
    reason = next((str(values["reason"]) for values in found.values() if values and values["state"] == "failed"), "")
    if all(state == "done" for state in states):
        return "done", ""
    if "done" in states:
        return "part", reason
    return ("failed" if reason else "not run"), reason


def _costs(done: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    if not done:
        return {}
    trained = [values["train_seconds"] for values in done.values()]
    costs: dict[str, Any] = {"train_seconds": sum(trained) / len(trained)}
    measured = [values["evaluation"] for values in done.values() if "evaluation" in values]
    if measured:
        costs["pictures"] = measured[0]["pictures"]
        each = [one.get("seconds_a_picture", one.get("seconds", 0) / max(1, one["pictures"])) for one in measured]
        costs["seconds_a_picture"] = round(sum(each) / len(each), 4)
    return costs
