"""What a localizer says of whole pictures, for ``fakeclf.calibration``: truth and score of forged and pristine ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fakeclf import bundle as bundles
from fakeclf import metrics
from fakeclf.data import degrade
from fakeclf.data.datasets import Example
from segmentation import datasets
from segmentation.evaluate import evaluate_bundle
from segmentation.score_rows import Forged, Pristine
from segmentation.scores import MaskEvaluation


def picture_scores(found: MaskEvaluation, leave_out: str = "") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The pictures of an evaluation of masks, as a classifier's.

    A picture's score is the network's own where it has one, else the mean of the highest 1 % of its mask; it is taken
    for P(FAKE). Forged pictures are FAKE, pristine ones and originals REAL, each once.

    Args:
        found: the evaluation.
        leave_out: names of generators, separated by commas, whose pictures are not counted.

    Returns:
        0 = FAKE and 1 = REAL, (n,); P(REAL), (n,); protocol lines.
    """
    left_out = {name.strip() for name in leave_out.split(",") if name.strip()}
    forged = [one for one in found.forged if one.generator not in left_out]
    every: list[Forged | Pristine] = [*forged, *found.pristines]
    head = all(one.score is not None for one in every)
    scores = np.array([one.score if head else one.top for one in every], np.float64)
    truth = np.repeat([metrics.FAKE, metrics.REAL], [len(forged), len(found.pristines)])
    notes = [f"score of a picture: {found.score_from}; forged pictures are FAKE, pristine ones and originals REAL"]
    if left_out:
        notes.append(f"generators left out, as in its training: {', '.join(sorted(left_out))}")
    return truth, 1.0 - scores, notes


def pictures(
    bundle: str | Path, dataset: str, *, split: str = "validation", data_dir: str | Path | None = None
) -> list[Example]:
    """Forged pictures of a data set as FAKE, pristine ones and originals as REAL, each once.

    Args:
        bundle, dataset, split, data_dir: see ``segmentation.evaluate.evaluate_bundle``; the split is that of the
            bundle's training.
    """
    recipe = bundles.read_card(bundle).trained_on.get("recipe") or {}
    same = {name: recipe[name] for name in ("seed", "validation") if name in recipe}
    found: dict[str, int] = {}
    for pair in getattr(datasets.load(dataset, data_dir=data_dir, **same), split):
        if pair.drawn:
            continue
        found[pair.image] = metrics.FAKE if pair.mask else metrics.REAL
        if pair.original:
            found[pair.original] = metrics.REAL
    return [Example(path, label, path) for path, label in found.items()]


def measure(
    bundle: str | Path,
    dataset: str,
    *,
    split: str = "validation",
    limit: int | None = None,
    data_dir: str | Path | None = None,
) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    """Show a saved localizer the pictures of a data set.

    Generators that its training left out are left out here too: they are there to be tested on. A localizer for
    pictures that were saved again is shown them as ``fakeclf.data.degrade.SAVED_AGAIN`` leaves them.

    Args:
        bundle, dataset, split, limit, data_dir: see ``segmentation.evaluate.evaluate_bundle``.

    Returns:
        As ``picture_scores``, with the data set's name before the protocol lines.

    Raises:
        FakeclfError: as ``evaluate_bundle``.
    """
    card = bundles.read_card(bundle)
    codec = degrade.parse(degrade.SAVED_AGAIN) if card.for_saved_again else None
    found = evaluate_bundle(bundle, dataset, split=split, limit=limit, data_dir=data_dir, codec=codec)
    recipe = card.trained_on.get("recipe") or {}
    truth, p_real, notes = picture_scores(found, recipe.get("localizing", {}).get("leave_out", ""))
    return truth, p_real, found.data, notes
