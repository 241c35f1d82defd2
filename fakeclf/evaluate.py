"""Measure a saved classifier on a data set: every figure with the lines that say how it was measured.

    print(evaluate("cifake-densenet121", "cifake").to_table())

``evaluate_scores`` does the same for scores that are there already. Imports no Keras until it runs a model.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import protocol
from fakeclf.any_size import any_size
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from fakeclf.scores import Evaluation, evaluate_scores, published

if TYPE_CHECKING:
    from fakeclf.bundle import Card
    from fakeclf.calibration import Calibration
    from fakeclf.data.datasets import Example

__all__ = ["Evaluation", "evaluate", "evaluate_model", "evaluate_scores", "predict", "published", "scorer"]

SPLITS = ("train", "validation", "test")
BATCH_BYTES = 256 << 20  # a batch of large pictures, as float32, stays below this


def evaluate(
    model: str | Path,
    dataset: str,
    *,
    split: str = "test",
    threshold: float | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    data_dir: str | Path | None = None,
    calibrated: bool = True,
) -> Evaluation:
    """Measure a saved classifier.

    Args:
        model: a bundle's name or folder.
        dataset: a registered data set, a folder with FAKE/ and REAL/, or several joined by ``+``.
        split: ``test``, ``validation`` or ``train``.
        threshold: on P(FAKE); default: the one of the model's card.
        batch_size: pictures at a time; fewer where they are large.
        limit: at most about so many pictures, evenly spaced over each class of each data set.
        data_dir: where data sets lie; default: see ``fakeclf.data.datasets.data_home``.
        calibrated: also give ECE and loss after the calibration of the model's card, where it has one.

    Raises:
        FakeclfError: for an unknown model, data set or split, a model that is no classifier, or an empty split.
    """
    from fakeclf import bundle
    from fakeclf.calibration import Calibration

    card, shown, note, every = chosen(model, dataset, split, limit, batch_size, data_dir)
    return evaluate_model(
        bundle.load(model),
        every,
        data=dataset,
        split=split,
        name=card.name,
        shown=shown,
        threshold=card.threshold if threshold is None else threshold,
        fixed_by="the model's card" if threshold is None else "the caller",
        notes=[f"split: {note}"] if note else [],
        calibration=Calibration.from_json(card.calibration, card.name) if calibrated and card.calibration else None,
        batch_size=batch_size,
        limit=limit,
    )


def chosen(
    model: str | Path, dataset: str, split: str, limit: int | None, batch_size: int, data_dir: str | Path | None
) -> tuple[Card, str, str, Sequence[Example]]:
    """The card of a classifier, name and note of a data set, and the pictures of its split, for what measures them.

    Raises:
        FakeclfError: see ``evaluate``.
    """
    if split not in SPLITS:
        raise FakeclfError(f"there is no split {split!r}; {closest(split, SPLITS)}")
    if limit is not None and limit < 1 or batch_size < 1:
        raise FakeclfError(f"limit and batch_size must be at least 1; received {limit} and {batch_size}")
    from fakeclf import bundle
    from fakeclf.data import datasets

    card = bundle.read_card(model)
    if card.kind not in ("classifier", "ensemble"):
        raise FakeclfError(f"{card.name} is of kind {card.kind!r}; this measures classifiers and ensembles of them")
    loaded = datasets.load(dataset, data_dir=data_dir, **split_of_training(card))
    every: Sequence[Example] = getattr(loaded, split)
    if not every:
        raise FakeclfError(f"{loaded.name} has no {split} pictures; choose another split or data set")
    return card, loaded.name, loaded.note, every


def evaluate_model(
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
    calibration: Calibration | None = None,
    batch_size: int = 64,
    limit: int | None = None,
) -> Evaluation:
    """Measure a classifier in memory on labelled pictures.

    Args:
        network: takes RGB pictures (b, h, w, 3) of any size, 0-255; gives P(REAL), (b, 1).
        examples: the pictures.
        data: the name ``datasets.load`` was given; its parts tell the examples of "a+b" apart.
        split: of the data set.
        name: of the model, for the report; default: the network's.
        shown: name of the data set, for the report; default: ``data``.
        threshold: on P(FAKE).
        fixed_by: who chose the threshold.
        notes: further protocol lines.
        calibration: of the network, see ``evaluate_scores``.
        batch_size, limit: see ``evaluate``.

    Raises:
        FakeclfError: if no picture of a class can be read, or the network gives no probabilities.
    """
    lines = [*protocol.about_data(data), *notes]
    every = len(examples)
    examples, of = thinned(examples, data, limit)
    if len(examples) < every:
        lines.append(f"{len(examples):,} of {every:,} pictures, evenly spaced over each class of each data set")
    headers = protocol.read_headers(examples, of)
    lines += protocol.size_and_codec_lines(headers)
    largest = max((header.width * header.height for group in headers.values() for header in group), default=1)

    start = time.perf_counter()
    places, p_real, unreadable = predict(network, examples, max(1, min(batch_size, BATCH_BYTES // (largest * 3 * 4))))
    return evaluate_scores(
        np.array([examples[place].label for place in places]),
        p_real,
        model=name or network.name,
        data=shown or data,
        split=split,
        threshold=threshold,
        parts=[of[place] for place in places],
        unreadable=unreadable,
        seconds=time.perf_counter() - start,
        notes=lines,
        fixed_by=fixed_by,
        calibration=calibration,
    )


def predict(network: Any, examples: Sequence[Example], batch_size: int = 64) -> tuple[np.ndarray, np.ndarray, int]:
    """P(REAL) of pictures at their own size, in batches of equal size.

    Returns:
        Positions in ``examples`` of the pictures that could be read, rising; their P(REAL); how many could not.

    Raises:
        FakeclfError: if no picture of a class can be read, or the network gives anything but one number a picture.
    """
    from fakeclf.data.pipeline import Pictures, batches

    pictures = Pictures(examples, None, cache=False)
    score = scorer(network)
    places: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    with _Progress(len(examples)) as progress:
        for batch, _, index in batches(pictures, size=None, batch_size=batch_size, with_index=True):
            places.append(np.asarray(index))
            scores.append(score(batch))
            progress.add(len(index))
    place, p_real = np.concatenate(places), np.concatenate(scores)
    order = np.argsort(place)
    return place[order], p_real[order], len(examples) - len(place)


class _Progress:
    """A bar with the time left on a terminal; elsewhere a plain line of log now and then."""

    def __init__(self, total: int, every: float = 30.0) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit=" pictures", desc="predict", disable=not sys.stderr.isatty(), leave=False)
        self.done, self.total, self.every = 0, total, every
        self.start = self.last = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def add(self, number: int) -> None:
        self.done += number
        self.bar.update(number)
        now = time.monotonic()
        if self.bar.disable and now - self.last >= self.every:
            self.last = now
            left = (now - self.start) / self.done * (self.total - self.done)
            print(f"predicted {self.done:,} of {self.total:,} pictures, about {left:.0f} s left", file=sys.stderr)


def scorer(network: Any) -> Callable[[Any], np.ndarray]:
    """``network`` as a function from RGB pictures, float32 (b, h, w, 3), 0-255, to P(REAL), float64 (b,).

    It raises FakeclfError where the network gives anything but one number a picture.
    """
    call = any_size(network)

    def score(batch: Any) -> np.ndarray:
        scored = np.asarray(call(batch), np.float64)
        if scored.size != len(batch):
            raise FakeclfError(f"{network.name} gives {scored.shape} for {len(batch)} pictures; no classifier does")
        return scored.reshape(-1)

    return score


def split_of_training(card: Card) -> dict[str, Any]:
    """Seed and share of the validation split the model was trained with, so that ``validation`` is what it did not see.

    The test split depends on neither.
    """
    recipe = card.trained_on.get("recipe")
    known = recipe if isinstance(recipe, dict) else {}
    return {name: known[name] for name in ("seed", "validation") if name in known}


def thinned(examples: Sequence[Example], data: str, limit: int | None) -> tuple[list[Example], list[str]]:
    """At most about ``limit`` examples, evenly spaced over each class of each data set.

    Args:
        data: the name they were loaded by; the sources of the examples begin with its parts, as in "a+b".
        limit: None takes all.

    Returns:
        The examples in their order, and the data set that each comes from.
    """
    parts = data.split("+")
    of = [next((name for name in parts if example.source.startswith(f"{name}/")), data) for example in examples]
    if limit is None or limit >= len(examples):
        return list(examples), of
    groups: dict[tuple[str, int], list[int]] = {}
    for place, (example, part) in enumerate(zip(examples, of, strict=True)):
        groups.setdefault((part, example.label), []).append(place)
    chosen = []
    for group in groups.values():
        number = max(1, round(limit * len(group) / len(examples)))
        chosen += [group[place] for place in protocol.spaced(len(group), number)]
    return [examples[place] for place in sorted(chosen)], [of[place] for place in sorted(chosen)]
