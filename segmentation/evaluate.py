"""Measure a localizer on pairs of picture and mask: every figure with the lines that say how it was measured.

    print(evaluate_bundle("localizer", "forged").to_table())

``evaluate`` does the same for anything that gives a mask for a picture. Imports no Keras until it opens a bundle.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import protocol as image_protocol
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from segmentation import metrics, protocol, scores, sheets
from segmentation.score_rows import Forged, Pristine
from segmentation.scores import MaskEvaluation
from segmentation.visits import Codec, Locate, Visit, Visits

if TYPE_CHECKING:
    from fakeclf.bundle import Card
    from segmentation.datasets import Pair

SPLITS = ("train", "validation", "test")
SHEETS = 8
STEPS = 200
"""Thresholds are chosen among the multiples of 1 / STEPS."""
AREA = 0.02
BESIDE = ("likeness", "history")
"""What a localizer can look at beside its network."""


def evaluate_bundle(
    bundle: str | Path,
    dataset: str,
    *,
    split: str = "test",
    threshold: float | None = None,
    limit: int | None = None,
    data_dir: str | Path | None = None,
    codec: Codec | None = None,
    variant: str = "auto",
    without: Collection[str] = (),
) -> MaskEvaluation:
    """Measure a saved localizer.

    Args:
        bundle: its name or folder.
        dataset: pairs, as ``segmentation.datasets.load`` takes them.
        split: ``test``, ``validation`` or ``train``.
        threshold: on P(inpainted) of a pixel; default: the one of the card.
        limit: at most about so many pairs, evenly spaced over each generator.
        data_dir: where data sets lie.
        codec: what every picture goes through first, see ``evaluate``.
        variant: which picture of a record is looked at, see ``segmentation.datasets.load``.
        without: ``likeness`` or ``history`` or both, to be left out whatever the card says.

    Raises:
        FakeclfError: for an unknown bundle, data set or split, a bundle that is no localizer, or an empty split.
    """
    if split not in SPLITS:
        raise FakeclfError(f"there is no split {split!r}; {closest(split, SPLITS)}")
    from segmentation import datasets
    from segmentation.localize import open_localizer

    asked = {what: False if what in without else None for what in BESIDE}
    locate = open_localizer(bundle, threshold=threshold, **asked)
    recipe = _recipe(locate.card)
    same_split = {name: recipe[name] for name in ("seed", "validation") if name in recipe}
    loaded = datasets.load(dataset, data_dir=data_dir, variant=variant, **same_split)
    every: Sequence[Pair] = getattr(loaded, split)
    if not every:
        raise FakeclfError(f"{loaded.name} has no {split} pairs; choose another split or data set")
    notes = [f"split: {loaded.note}"] if loaded.note else []
    beside = [name for name in BESIDE if getattr(locate, name)]
    if beside:
        notes.append(f"mask: the network with the picture's own {' and '.join(beside)}")
    return evaluate(
        locate,
        every,
        threshold=locate.threshold,
        fixed_by="the model's card" if threshold is None else "the caller",
        edges=recipe.get("localizing", {}).get("edges", "full"),
        data=loaded.name if variant == "auto" else f"{loaded.name} ({variant})",
        split=split,
        name=locate.name,
        notes=[*notes, *_seen(locate.card, every)],
        limit=limit,
        codec=codec,
    )


def evaluate(
    locate: Locate,
    pairs: Sequence[Pair],
    *,
    threshold: float = 0.5,
    fixed_by: str = "the caller",
    edges: str = "full",
    data: str = "pairs",
    split: str = "test",
    name: str = "localizer",
    notes: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    codec: Codec | None = None,
    samples: int = SHEETS,
) -> MaskEvaluation:
    """Measure a localizer on forged and pristine pictures; originals of forged ones are looked at, too, each once.

    Args:
        locate: the localizer.
        pairs: the pictures; whole frames whose masks are drawn anew at each visit are left out.
        threshold: on P(inpainted) of a pixel.
        fixed_by: who chose the threshold.
        edges: how the grey edge of a mask is read, see ``segmentation.forgeries.compose.binary``; kept grey, a pixel
            counts as inpainted from 0.5 on.
        data, split, name: of the pairs and the localizer, for the report.
        notes: further protocol lines.
        limit: at most about so many pairs, evenly spaced over each generator and the pristine ones.
        seed: of the bootstrap, and of noise in ``codec``.
        codec: what every picture goes through before the localizer sees it: a ``fakeclf.data.degrade.Degradation``,
            which takes masks along where it moves pixels, or a function from picture to picture of the same size.
        samples: about how many pictures go onto the sheets.

    Raises:
        FakeclfError: nothing can be measured, an argument is out of range, or the localizer gives no probabilities.
    """
    if not 0 <= threshold <= 1:
        raise FakeclfError(f"the threshold is on P(inpainted) and lies between 0 and 1; received {threshold}")
    chosen, lines = _chosen(pairs, limit, data)
    run = Visits(locate, edges, codec, seed)
    shown = _to_show(chosen, samples)
    forged: dict[int, Forged] = {}
    pristine: list[Pristine] = []
    histograms: dict[str, metrics.Histogram] = {}
    drawn: dict[int, sheets.Sample] = {}
    for visit in run.of(chosen):
        if visit.truth is None:
            area = float(np.mean(visit.mask >= threshold))
            pristine.append(Pristine(visit.image, area, visit.score, metrics.top_share(visit.mask), visit.seconds))
            if visit.place in shown:
                drawn[visit.place] = _sample(visit, f"pristine, positive area {area:.3f}")
            continue
        generator = visit.generator or "unnamed"
        ranks = metrics.ranks(visit.truth, visit.mask)
        one = Forged(
            image=visit.image,
            generator=generator,
            counts=metrics.count(visit.truth, visit.mask, threshold),
            auc=ranks["auc"],
            ap=ranks["ap"],
            control_auc=math.nan if visit.control is None else metrics.auc(visit.truth, visit.control),
            score=visit.score,
            top=metrics.top_share(visit.mask),
            seconds=visit.seconds,
            changed=visit.changed,
        )
        forged[visit.place] = one
        histograms.setdefault(generator, metrics.Histogram()).add(visit.truth, visit.mask)
        if visit.place in shown:
            drawn[visit.place] = _sample(
                visit, f"{generator}, IoU {one.counts.iou:.3f}, F1 {one.counts.f1:.3f}, AUC {one.auc:.3f}"
            )
    lines += [
        protocol.edges_line(edges),
        protocol.paste_line([one.changed for one in forged.values()]),
        *_sizes_and_codecs(chosen, data),
        protocol.codec_line(run.codec_name),
    ]
    return scores.evaluate_masks(
        [forged[place] for place in sorted(forged)],
        pristine,
        histograms,
        model=name,
        data=f"{data} after {run.codec_name}" if run.codec_name else data,
        split=split,
        threshold=threshold,
        fixed_by=fixed_by,
        notes=[*lines, *notes],
        problems=run.problems,
        unreadable=run.unreadable,
        failed=run.failed,
        samples=[drawn[place] for place in shown if place in drawn],
        seed=seed,
    )


def choose_threshold(
    locate: Locate,
    pairs: Sequence[Pair],
    *,
    edges: str = "full",
    area: float = AREA,
    limit: int | None = None,
    seed: int = 0,
    codec: Codec | None = None,
) -> float:
    """The threshold with the best F1, per forged picture, then mean, that leaves pristine pictures alone.

    Args:
        locate, pairs, edges, limit, seed, codec: see ``evaluate``; the pairs are of the validation part.
        area: at most this share of the pixels of pristine pictures, on average, may be called inpainted; where no
            threshold achieves that, the highest is taken. Without pristine pictures F1 decides alone.

    Returns:
        A multiple of 1 / STEPS, above 0 and below 1; the lowest of equally good ones.

    Raises:
        FakeclfError: no forged pair can be measured, or the localizer gives no probabilities.
    """
    chosen, _ = _chosen(pairs, limit, "the validation part")
    run = Visits(locate, edges, codec, seed)
    f1, areas = [], []
    for visit in run.of(chosen):
        step = np.minimum((visit.mask * STEPS).astype(int), STEPS)
        truth = np.zeros(visit.mask.shape, bool) if visit.truth is None else visit.truth
        forged, other = (_called(step[pixels]) for pixels in (truth, ~truth))
        if visit.truth is None:
            areas.append(other / truth.size)
        elif truth.any():
            f1.append(2 * forged / (forged + other + truth.sum()))
    if not f1:
        why = f"; the first problem: {run.problems[0]}" if run.problems else ""
        raise FakeclfError(f"no forged validation pair could be measured, so no threshold can be chosen{why}")
    quality = np.mean(f1, axis=0)
    if areas:
        quality[np.mean(areas, axis=0) > area] = -1.0
    best = int(np.argmax(quality)) if quality.max() >= 0 else len(quality) - 1
    return (best + 1) / STEPS


def _called(steps: np.ndarray) -> np.ndarray:
    """How many pixels each threshold 1 / STEPS, 2 / STEPS ... calls inpainted, (STEPS - 1,)."""
    return np.cumsum(np.bincount(steps, minlength=STEPS + 1)[::-1])[::-1][1:STEPS]


def _sample(visit: Visit, caption: str) -> sheets.Sample:
    truth = np.zeros(visit.mask.shape, bool) if visit.truth is None else visit.truth
    return sheets.Sample(visit.picture, truth, visit.mask, f"{caption}: {Path(visit.image).name}").small()


def _chosen(pairs: Sequence[Pair], limit: int | None, data: str) -> tuple[list[Pair], list[str]]:
    """The pairs that are measured, and protocol lines about the others."""
    if limit is not None and limit < 1:
        raise FakeclfError(f"limit must be at least 1; received {limit}")
    fixed = [pair for pair in pairs if not pair.drawn]
    if not fixed:
        raise FakeclfError(
            f"{data} has no pair with a mask of its own, so nothing can be measured; name pairs of picture and mask"
        )
    lines = []
    if len(fixed) < len(pairs):
        lines.append(f"{len(pairs) - len(fixed):,} whole frames without a mask of their own left out")
    chosen = [fixed[place] for place in _evenly(fixed, limit)]
    if len(chosen) < len(fixed):
        lines.append(
            f"{len(chosen):,} of {len(fixed):,} pairs, evenly spaced over each generator and the pristine ones"
        )
    return chosen, lines


def _evenly(pairs: Sequence[Pair], limit: int | None) -> list[int]:
    if limit is None or limit >= len(pairs):
        return list(range(len(pairs)))
    groups: dict[str | None, list[int]] = {}
    for place, pair in enumerate(pairs):
        groups.setdefault(pair.generator if pair.mask else None, []).append(place)
    numbers = {key: max(1, round(limit * len(group) / len(pairs))) for key, group in groups.items()}
    return sorted(group[k] for key, group in groups.items() for k in image_protocol.spaced(len(group), numbers[key]))


def _to_show(pairs: Sequence[Pair], samples: int) -> list[int]:
    """Places of about so many pairs for the sheets: every generator evenly, then pristine ones, a quarter of all."""
    forged = [place for place, pair in enumerate(pairs) if pair.mask]
    pristine = [place for place, pair in enumerate(pairs) if not pair.mask]
    quarter = min(len(pristine), samples // 4 if forged else samples)
    shown = []
    for places, number in ((forged, samples - quarter), (pristine, quarter)):
        if number > 0:
            shown += [places[k] for k in _evenly([pairs[place] for place in places], number)]
    return shown


def _sizes_and_codecs(pairs: Sequence[Pair], data: str) -> list[str]:
    from fakeclf.data.datasets import Example

    files = {pair.image: pair.label for pair in pairs} | {pair.original: 1 for pair in pairs if pair.original}
    examples = [Example(path, label, "") for path, label in files.items()]
    return image_protocol.size_and_codec_lines(image_protocol.read_headers(examples, [data] * len(examples)))


def _recipe(card: Card | None) -> dict[str, Any]:
    """Of a card's training: its seed and share of validation give the split whose validation part it did not see."""
    recipe = card.trained_on.get("recipe") if card else None
    return recipe if isinstance(recipe, dict) else {}


def _seen(card: Card | None, pairs: Sequence[Pair]) -> list[str]:
    """Which of the generators the model learned from, as far as its card tells."""
    learned = card.trained_on.get("generators") if card else None
    if not learned:
        return []
    here = sorted({pair.generator for pair in pairs if pair.mask and pair.generator})
    groups = {"seen in training": [g for g in here if g in learned], "not": [g for g in here if g not in learned]}
    return ["generators: " + "; ".join(f"{words}: {', '.join(names) or 'none'}" for words, names in groups.items())]
