"""Whether variety pays: scores on sources never trained on, by the number of those that were. Imports no Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fakeclf.reproduce.rows import BASELINES, Row


@dataclass(frozen=True)
class Point:
    """The mean of some rows' figures.

    Attributes:
        sources: that each training learnt from.
        trainings: how many, each run with every seed.
        by_test: test set -> figure -> mean over the trainings and seeds.
    """

    sources: int
    trainings: int
    by_test: dict[str, dict[str, float]]

    def mean(self, figure: str) -> float:
        """Over test sets, all alike."""
        values = self.values(figure)
        return sum(values) / len(values)

    def values(self, figure: str) -> list[float]:
        """By test set."""
        return [figures[figure] for figures in self.by_test.values()]


def points(rows: Sequence[Row], metrics: Mapping[str, str]) -> list[Point]:
    """Means by the number of sources, of those rows whose test set was not among them.

    Args:
        rows: of a table; those without figures are left out.
        metrics: its columns.
    """
    names = [*metrics, *BASELINES]
    found: dict[int, list[Row]] = {}
    for row in rows:
        learnt = row.labels["train"].split("+")
        # "patch at JPEG 90" is no other source than "patch".
        unseen = all(name.partition(" at ")[0] not in learnt for name in row.labels["test"].split("+"))
        if unseen and all(name in row.figures and row.figures[name].ours for name in names):
            found.setdefault(len(learnt), []).append(row)
    made = []
    for count, some in sorted(found.items()):
        by_test: dict[str, dict[str, float]] = {}
        for test in dict.fromkeys(row.labels["test"] for row in some):
            here = [row for row in some if row.labels["test"] == test]
            by_test[test] = {name: sum(row.figures[name].mean or 0.0 for row in here) / len(here) for name in names}
        made.append(Point(count, len({row.labels["train"] for row in some}), by_test))
    return made


def text(made: Sequence[Point], metrics: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: each mean, and of what was scored the lowest and highest test set."""
    header, rows = ["sources trained on", "trainings", "test sets", *metrics, *BASELINES], []
    for point in made:
        figures = [
            f"{point.mean(name):.3f} ({min(point.values(name)):.3f} to {max(point.values(name)):.3f})"
            for name in metrics
        ]
        baselines = [f"{point.mean(name):.3f}" for name in BASELINES]
        rows.append([str(point.sources), str(point.trainings), str(len(point.by_test)), *figures, *baselines])
    return header, rows
