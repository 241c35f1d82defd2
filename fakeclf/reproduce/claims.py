"""What reports conclude from their tables, and what we expect of ours, against our cells; ``claims.yaml`` lists it.

A comparison takes two sets of cells on the same photographs. Its difference is the mean over photographs of the mean
over cells and seeds; the interval is a bootstrap over photographs, which does not know how much another training would
differ, so the sign must also be the same for every seed before a comparison is called decided. Imports no Keras.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fakeclf import metrics
from fakeclf.atomic import replace_file
from fakeclf.config import from_mapping
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from fakeclf.reproduce import grid
from fakeclf.reproduce.experiments import AXES, Experiment, Scale, printed_table, read
from fakeclf.reproduce.grid import Cell
from fakeclf.reproduce.rows import Printed
from fakeclf.reproduce.runner import Store

FIGURES = {"iou": "hole", "auc": "control_auc"}
"""What is compared, and what can be had of it without finding anything."""
NAMES = {"iou": "IoU", "auc": "AUC"}
NOTHING_FOUND = {"iou": "every pixel marked", "auc": "the mask of the untouched original"}
VERDICTS = ("agrees", "disagrees", "undecided", "not run")
RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """``more`` is said to score higher than ``than``. Each is axis -> names, and maybe another ``table``; {}: the
    baseline of the other side's cells."""

    table: str
    more: dict[str, Any] = field(default_factory=dict)
    than: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One entry of ``claims.yaml``."""

    claim: str
    report: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Finding:
    """A comparison in one figure.

    Attributes:
        tables: that both sides stand in.
        more, than: what stands against what, in our names.
        figure: ``iou`` or ``auc``, both of the pixels of each picture, then mean.
        printed: what the report has for both, as a fraction; None where it has none.
        ours: the same of ours, over cells and seeds; None where cells are missing.
        by_seed: differences, of the seeds that all of its cells were run with.
        interval: of the difference, 95 %, over photographs.
        pictures: photographs behind it.
    """

    tables: str
    more: str
    than: str
    figure: str
    printed: tuple[float, float] | None
    ours: tuple[float, float] | None = None
    by_seed: dict[int, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    pictures: int = 0

    @property
    def verdict(self) -> str:
        """One of ``VERDICTS``: decided where the interval leaves out 0 and all seeds point the same way."""
        if self.interval is None:
            return "not run"
        low, high = self.interval
        if low > 0 and all(value > 0 for value in self.by_seed.values()):
            return "agrees"
        if high < 0 and all(value < 0 for value in self.by_seed.values()):
            return "disagrees"
        return "undecided"


def read_claims() -> list[Claim]:
    """All of ``claims.yaml``."""
    text = (resources.files("fakeclf.reproduce") / "claims.yaml").read_text(encoding="utf-8")
    return [from_mapping(Claim, entry, "claims.yaml") for entry in yaml.safe_load(text)]


def tables(claims: Sequence[Claim]) -> list[str]:
    """The experiments that claims hang on."""
    sides = [side for claim in claims for comparison in claim.comparisons for side in _sides(comparison)]
    return sorted({side["table"] for side in sides})


def measure(claims: Sequence[Claim], scale: Scale, seeds: Sequence[int], store: Store) -> list[list[Finding]]:
    """Each claim's findings, one for each comparison and figure.

    Raises:
        FakeclfError: a side names no cell, or other numbers of cells stand against each other.
    """
    known = {name: _Cells(read(name), scale, seeds, store) for name in tables(claims)}
    return [[found for comparison in claim.comparisons for found in _compared(comparison, known)] for claim in claims]


def to_markdown(claims: Sequence[Claim], found: Sequence[Sequence[Finding]], scale: Scale, seeds: Sequence[int]) -> str:
    """A section a claim."""
    lines = [
        f"Scale **{scale.name}**, seeds {', '.join(map(str, seeds))}.",
        "A difference is the first less the second, mean over cells, seeds and photographs, with its 95 % interval",
        "over photographs. A comparison agrees or disagrees with the report where that interval leaves out 0 and all",
        "seeds have the same sign.",
    ]
    for claim, findings in zip(claims, found, strict=True):
        lines += ["", f"## {claim.claim}", "", f"{claim.report}.", ""]
        if not findings:
            lines.append("This scale leaves it open.")
            continue
        body = [
            [
                one.tables,
                one.more,
                one.than,
                NAMES[one.figure],
                _pair(one.printed),
                _pair(one.ours),
                "-"
                if one.interval is None
                else f"{_mean(one):+.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})",
                " ".join(f"{value:+.3f}" for value in one.by_seed.values()) or "-",
                one.verdict + (f", seed {', '.join(map(str, one.by_seed))} alone" if _short(one, seeds) else ""),
            ]
            for one in findings
        ]
        head = ["table", "first", "second", "figure", "printed", "ours", "difference", "by seed", "verdict"]
        lines += ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
        for figure, name in NAMES.items():
            verdicts = [one.verdict for one in findings if one.figure == figure]
            counted = [f"{verdicts.count(word)} {word}" for word in VERDICTS if word in verdicts]
            lines += ["", f"By {name}: {', '.join(counted)}."]
    return "\n".join(lines) + "\n"


def to_json(claims: Sequence[Claim], found: Sequence[Sequence[Finding]]) -> list[dict[str, Any]]:
    """The same as plain JSON values."""
    return [
        {
            "claim": claim.claim,
            "report": claim.report,
            "findings": [
                {
                    **vars(one),
                    "by_seed": {str(seed): value for seed, value in one.by_seed.items()},
                    "verdict": one.verdict,
                }
                for one in findings
            ],
        }
        for claim, findings in zip(claims, found, strict=True)
    ]


def save(folder: Path, markdown: str, values: Sequence[Mapping[str, Any]]) -> None:
    """Write ``claims.md`` and ``claims.json``, each whole."""
    with replace_file(folder / "claims.md") as beside:
        beside.write_text(markdown, encoding="utf-8")
    with replace_file(folder / "claims.json") as beside:
        beside.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


class _Cells:
    """The cells of one table, what is known of them and what was printed."""

    def __init__(self, experiment: Experiment, scale: Scale, seeds: Sequence[int], store: Store) -> None:
        self.experiment, self.store, self.seeds = experiment, store, seeds
        self.cells = grid.expand(experiment, scale, seeds)
        about = printed_table(experiment)
        self.printed = Printed(experiment, about)
        self.factor = 0.01 if about.get("unit") == "percent" else 1.0

    def chosen(self, wanted: Mapping[str, Any]) -> list[Cell]:
        """Cells of the first seed whose axes have the wanted names; none if the scale leaves one of them open."""
        names = {axis: [value] if isinstance(value, str) else list(value) for axis, value in wanted.items()}
        for axis, values in names.items():
            if axis not in AXES:
                raise FakeclfError(f"claims.yaml: unknown axis {axis!r}; {closest(axis, AXES)}")
            here = {labels[axis] for labels in grid.rows(self.experiment)}
            for value in values:
                if value not in here:
                    where = f"claims.yaml: {self.experiment.name} has no {axis} {value!r}"
                    raise FakeclfError(f"{where}; {closest(value, here)}")
        first = [cell for cell in self.cells if cell.seed == self.seeds[0] and _has(cell.labels, names)]
        rows = [labels for labels in grid.rows(self.experiment) if _has(labels, names)]
        return first if len(first) == len(rows) else []

    def of_seed(self, cell: Cell, seed: int) -> Cell:
        return next(other for other in self.cells if other.seed == seed and other.labels == cell.labels)

    def values(self, cell: Cell, figure: str) -> dict[str, float] | None:
        """By photograph; None where the cell is not done. A figure that a picture cannot give is left out."""
        found = self.store.read(cell)
        if found is None or found["state"] != "done" or "each" not in found:
            return None
        each = found["each"]
        return {photo: value for photo, value in zip(each["photo"], each[figure], strict=True) if value is not None}


def _has(labels: Mapping[str, str], names: Mapping[str, Sequence[str]]) -> bool:
    return all(labels[axis] in values for axis, values in names.items())


def _sides(comparison: Comparison) -> list[dict[str, Any]]:
    """Both sides with their table; a baseline is that of the other side's cells."""
    more, than = comparison.more, comparison.than
    if not (more or than):
        raise FakeclfError("claims.yaml: a comparison has neither more nor than; name cells on one side at least")
    return [{"table": comparison.table, **side} for side in (more or than, than or more)]


def _compared(comparison: Comparison, known: Mapping[str, _Cells]) -> Iterator[Finding]:
    sides = _sides(comparison)
    baseline = [not comparison.more, not comparison.than]
    homes = [known[side["table"]] for side in sides]
    chosen = [
        home.chosen({axis: value for axis, value in side.items() if axis != "table"})
        for home, side in zip(homes, sides, strict=True)
    ]
    if not all(chosen):
        return
    most = max(map(len, chosen))
    if any(len(cells) not in (1, most) for cells in chosen):
        counts = " and ".join(f"{len(cells)}" for cells in chosen)
        raise FakeclfError(f"claims.yaml: {comparison} compares {counts} cells; name as many on both sides, or one")
    named = ", ".join(dict.fromkeys(side["table"] for side in sides))
    for figure, without in FIGURES.items():
        columns = [without if alone else figure for alone in baseline]
        printed = None
        if figure == "iou" and not any(baseline):
            first, second = (_printed(home, cells) for home, cells in zip(homes, chosen, strict=True))
            printed = None if first is None or second is None else (first, second)
        more, than = (
            NOTHING_FOUND[figure] if alone else _words(cells) for alone, cells in zip(baseline, chosen, strict=True)
        )
        seeds = homes[0].seeds
        values = [
            [[home.values(home.of_seed(cell, seed), column) for cell in cells] * (most // len(cells)) for seed in seeds]
            for home, cells, column in zip(homes, chosen, columns, strict=True)
        ]
        yield finding(Finding(named, more, than, figure, printed), seeds, values)


def finding(
    empty: Finding, seeds: Sequence[int], values: Sequence[Sequence[Sequence[dict[str, float] | None]]]
) -> Finding:
    """``empty`` with our figures; ``values``: side, seed, cell -> by photograph."""
    pairs = [
        (seed, first, second)
        for seed, firsts, seconds in zip(seeds, *values, strict=True)
        for first, second in zip(firsts, seconds, strict=True)
    ]
    lacking = {seed for seed, *sides in pairs if None in sides}
    pairs = [pair for pair in pairs if pair[0] not in lacking]
    if not pairs:
        return empty
    # Photographs that every cell has a value of, so that all means are over the same ones.
    photos = sorted(set.intersection(*(set(first) & set(second) for _, first, second in pairs)))
    if not photos:
        return empty
    table = np.array([[[side[photo] for photo in photos] for side in (first, second)] for _, first, second in pairs])
    differences = table[:, 0] - table[:, 1]
    by_photo = differences.mean(0)
    low, high = metrics.bootstrap(np.mean, by_photo, n=RESAMPLES)
    of_seed = np.array([seed for seed, _, _ in pairs])
    return replace(
        empty,
        ours=(float(table[:, 0].mean()), float(table[:, 1].mean())),
        by_seed={seed: float(differences[of_seed == seed].mean()) for seed in dict.fromkeys(of_seed.tolist())},
        interval=(low, high),
        pictures=len(photos),
    )


def _printed(home: _Cells, cells: Sequence[Cell]) -> float | None:
    name = next(iter(home.experiment.metrics))
    values = [home.printed.of(cell.labels, name) for cell in cells]
    known = [value for value in values if value is not None]
    return home.factor * sum(known) / len(known) if len(known) == len(values) else None


def _words(cells: Sequence[Cell]) -> str:
    def joined(axis: str) -> str:
        return " and ".join(dict.fromkeys(cell.own[axis] for cell in cells))

    trained = "" if joined("train") == "-" else f" on {joined('train')}"
    return f"{joined('model')}{trained}, tested on {joined('test')}"


def _short(found: Finding, seeds: Sequence[int]) -> bool:
    return 0 < len(found.by_seed) < len(seeds)


def _mean(found: Finding) -> float:
    assert found.ours is not None
    return found.ours[0] - found.ours[1]


def _pair(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:.3f}, {values[1]:.3f}"
