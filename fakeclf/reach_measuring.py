"""Find out which pictures a model can judge: it is shown validation pictures, untouched and ever more degraded.

A picture that was compressed twice is not told from one that was compressed once; the last quality counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fakeclf import bundle, images, metrics, protocol, traces
from fakeclf.data import degrade
from fakeclf.data.progress import Progress
from fakeclf.errors import FakeclfError
from fakeclf.reach import Reach
from fakeclf.registry import resolve
from fakeclf.voters import Voter, open_voters

if TYPE_CHECKING:
    from fakeclf.data.datasets import Example

QUALITIES = (95, 90, 85, 75, 65, 50)
SMOOTHING = ("resize:0.9", "resize:0.75", "blur:0.7", "resize:0.5", "blur:1", "blur:2")

LEAST_AUC = 0.75
MOST_FALSE_POSITIVES = 0.05
LIMIT = 200


def measure_reach(
    model: str | Path,
    dataset: str,
    *,
    split: str = "validation",
    limit: int = LIMIT,
    data_dir: str | Path | None = None,
) -> Reach:
    """Measure a calibrated bundle's reach, and keep it in its card.

    Args:
        model: name or folder of a classifier, an ensemble or a localizer.
        dataset: as for ``fakeclf.calibration.calibrate``.
        split: ``validation`` or ``train``.
        limit: at most about so many pictures, evenly spaced over both classes.
        data_dir: where data sets lie.

    Raises:
        FakeclfError: unknown names, a bundle without calibration, or a class that is missing.
    """
    (voter,) = open_voters(model)
    if voter.calibration is None:
        raise FakeclfError(f"{voter.name} is not calibrated, so nothing tells what it says; calibrate it first")
    examples = _examples(voter, dataset, split, data_dir)
    chosen = [examples[place] for place in _evenly([example.label for example in examples], limit)]
    reach = reach_of(voter, chosen, f"{split} split of {dataset}", _sizes(voter))
    bundle.set_reach(model, reach.to_json())
    return reach


def reach_of(
    voter: Voter, examples: Sequence[Example], shown: str, sizes: tuple[int, int | None] | None = None
) -> Reach:
    """The reach of a voter, from pictures of both classes.

    Args:
        voter: with a calibration.
        examples: the pictures.
        shown: what they are, for the protocol.
        sizes: the limits of picture sizes; default: from the smallest of ``examples`` on, with no upper limit.
    """
    again = voter.card.for_saved_again
    # A model for pictures that were saved again is shown none that was not.
    untouched = degrade.SAVED_AGAIN if again else ""
    smoothing = [f"{change}|{untouched}" if again else change for change in SMOOTHING]
    changes = list(dict.fromkeys([untouched, *(f"jpeg:{quality}" for quality in QUALITIES), *smoothing]))
    raw = np.zeros((len(changes), len(examples)))
    width = np.full((len(changes), len(examples)), np.nan)
    sides = []
    with Progress("reach", raw.size, "looks") as progress:
        for place, example in enumerate(examples):
            pixels = images.read(example.path)
            sides.append(min(pixels.shape[:2]))
            for row, change in enumerate(changes):
                seen = degrade.parse(change).apply(pixels, place) if change else pixels
                raw[row, place] = voter.look(seen).raw
                left = traces.read(seen).bandwidth
                width[row, place] = np.nan if left is None else left
                progress.to(place * len(changes) + row + 1)
    truth = np.array([example.label for example in examples])
    judged = {change: _judges(voter, truth, raw[row]) for row, change in enumerate(changes)}
    smooth = sorted(
        [(untouched, width[0]), *((change, width[changes.index(change)]) for change in smoothing)],
        key=lambda item: -np.nanmedian(item[1]) if np.isfinite(item[1]).any() else 0.0,
    )
    quality = 1 + max(QUALITIES)
    for tried in QUALITIES:
        if not judged[f"jpeg:{tried}"]:
            break
        quality = tried
    bandwidth = None
    for change, left in smooth:
        if not judged[change] or not np.isfinite(left).any():
            break
        bandwidth = float(np.nanpercentile(left, 5))
    smallest, largest = (min(sides), None) if sizes is None else sizes
    return Reach(
        smallest=smallest,
        largest=largest,
        jpeg_quality=quality,
        highest_jpeg_quality=max(QUALITIES) if again else None,
        bandwidth=None if bandwidth is None else round(bandwidth, 3),
        protocol=(
            f"pictures: {shown}, {np.sum(truth == metrics.FAKE):,} FAKE and {np.sum(truth == metrics.REAL):,} REAL, "
            + ("saved again" if again else "untouched")
            + " and after each change",
            f"judged: where the AUC is at least {LEAST_AUC:g} and at most {MOST_FALSE_POSITIVES:.0%} of REAL pictures "
            "are called fake at the calibrated threshold",
            f"judged after: {', '.join(change or 'nothing' for change in changes if judged[change]) or 'none'}; "
            f"not after: {', '.join(change or 'nothing' for change in changes if not judged[change]) or 'none'}",
            "JPEG quality: the lowest of those tried down to which all are judged; bandwidth: what 95 % of "
            "the pictures have after the strongest smoothing down to which all are judged",
        ),
    )


def _judges(voter: Voter, truth: np.ndarray, raw: np.ndarray) -> bool:
    assert voter.calibration is not None
    called = voter.calibration.apply(raw) >= voter.calibration.threshold
    wrong = float(np.mean(called[truth == metrics.REAL]))
    return metrics.auc(truth, 1.0 - raw) >= LEAST_AUC and wrong <= MOST_FALSE_POSITIVES


def _examples(voter: Voter, dataset: str, split: str, data_dir: str | Path | None) -> Sequence[Example]:
    if voter.localizes:
        found = resolve("segmentation.calibration:pictures")(voter.folder, dataset, split=split, data_dir=data_dir)
    else:
        from fakeclf.data import datasets
        from fakeclf.evaluate import split_of_training

        found = getattr(datasets.load(dataset, data_dir=data_dir, **split_of_training(voter.card)), split)
    if len({example.label for example in found}) < 2:
        raise FakeclfError(f"the {split} split of {dataset} has not both FAKE and REAL pictures; choose another")
    return found


def _sizes(voter: Voter) -> tuple[int, int | None] | None:
    """What a card tells of sizes: a classifier that cuts its part out takes any picture that holds it; one that
    squashes takes what it was trained on."""
    size, sizes = voter.card.input.get("size"), voter.card.input.get("sizes")
    if voter.card.input.get("view") == "crop" and isinstance(size, int):
        return size, None
    return (int(sizes["smallest"]), int(sizes["largest"])) if sizes else None


def _evenly(labels: Sequence[int], limit: int) -> list[int]:
    chosen: list[int] = []
    for label in (metrics.FAKE, metrics.REAL):
        places = [place for place, other in enumerate(labels) if other == label]
        chosen += [places[k] for k in protocol.spaced(len(places), min(len(places), max(1, limit // 2)))]
    return sorted(chosen)
