"""How a localizer stands what happens to pictures on their way: its masks after each of the same list of degradations.

    print(robustness_bundle("localizer", "forged").to_table())

``robustness`` does the same for anything that gives a mask for a picture. Each row is an evaluation of its own, with
all that belongs to it: masks go along where pixels move, and originals go through the same as their forgeries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakeclf.data import degrade
from fakeclf.data.progress import Progress
from fakeclf.robustness import ROWS, UNTOUCHED, Column, Robustness, Row
from segmentation.evaluate import evaluate, evaluate_bundle

if TYPE_CHECKING:
    from segmentation.datasets import Pair
    from segmentation.scores import MaskEvaluation
    from segmentation.visits import Locate

COLUMNS = (
    Column("iou", "IoU", ".3f", spread=True),
    Column("f1", "F1", ".3f"),
    Column("auc", "pixel AUC", ".3f"),
    Column("area", "area on pristine", ".3f"),
    Column("hole", "IoU of all-positive", ".3f"),
)
PANELS = {"IoU": ("iou", "hole"), "positive area on pristine pictures": ("area",)}


def robustness_bundle(
    bundle: str | Path,
    dataset: str,
    *,
    split: str = "test",
    threshold: float | None = None,
    limit: int | None = None,
    data_dir: str | Path | None = None,
    degradations: Sequence[str] = degrade.ROBUSTNESS,
) -> Robustness:
    """Measure how a saved localizer stands degradations.

    Args:
        degradations: a row each, see ``fakeclf.data.degrade``.

    The other arguments, and errors, as for ``segmentation.evaluate.evaluate_bundle``.
    """
    about: dict[str, Any] = {"split": split, "threshold": threshold, "limit": limit, "data_dir": data_dir}
    return _swept(lambda step: evaluate_bundle(bundle, dataset, codec=step, **about), degradations)


def robustness(
    locate: Locate, pairs: Sequence[Pair], *, degradations: Sequence[str] = degrade.ROBUSTNESS, **options: Any
) -> Robustness:
    """Measure how anything that gives a mask for a picture stands degradations.

    Args:
        locate, pairs: see ``segmentation.evaluate.evaluate``, which also takes the ``options``.
        degradations: a row each, see ``fakeclf.data.degrade``.
    """
    return _swept(lambda step: evaluate(locate, pairs, codec=step, samples=0, **options), degradations)


def _swept(measure: Callable[[degrade.Degradation | None], MaskEvaluation], degradations: Sequence[str]) -> Robustness:
    start = time.perf_counter()
    steps = [degrade.parse(text) for text in degradations]
    measured = []
    with Progress("robustness", 1 + len(steps), unit="rows") as progress:
        for step in (None, *steps):
            measured.append(measure(step))
            progress.to(len(measured))
    untouched = measured[0]
    names = (UNTOUCHED, *(step.name for step in steps))
    return Robustness(
        model=untouched.model,
        data=untouched.data,
        split=untouched.split,
        threshold=untouched.threshold,
        columns=COLUMNS,
        panels=PANELS,
        rows=tuple(_row(name, one) for name, one in zip(names, measured, strict=True)),
        unreadable=untouched.unreadable,
        problems=list(dict.fromkeys(line for one in measured for line in one.problems)),
        seconds=time.perf_counter() - start,
        protocol=[
            *(line for line in untouched.protocol if not line.startswith("codec: ")),
            ROWS,
            "crop: the mask goes along, and what is left of it is scored",
            *(["figures of a row: means over generators"] if untouched.mean_of_generators else []),
        ],
    )


def _row(name: str, measured: MaskEvaluation) -> Row:
    """Per picture, then mean, then the mean of generators where there are several."""
    forged, pristine = measured.mean_of_generators or measured.all, measured.pristine
    keys = [column.key for column in COLUMNS if column.key != "area"]
    return Row(
        name,
        forged.pictures or pristine["pictures"],
        {key: forged.figures[key] for key in keys} | {"area": pristine["area"]},
        {key: forged.intervals[key] for key in keys} | {"area": pristine["interval"]},
    )
