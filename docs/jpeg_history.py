"""What a picture's JPEG history adds to the shipped localizers: prints docs/jpeg_history.md.

python docs/jpeg_history.py > docs/jpeg_history.md
"""

from __future__ import annotations

import io
import re

import numpy as np
from failures import photographs
from PIL import Image

from fakeclf.data import degrade
from segmentation import metrics
from segmentation.forgeries.inpainters import open_source
from segmentation.join_history import with_history
from segmentation.jpeg_history import missing_history
from segmentation.localize import Localizer, open_localizer

SOURCE, SHARE = "patch", 0.12
BEFORE = ("", "jpeg:75", "jpeg:85", "jpeg:95")
AFTER = ("", "jpeg:95", "jpeg:90", "jpeg:75")
CUT_OR_EDITED = (
    ("jpeg:85|cut", ""),
    ("jpeg:85|cut", "jpeg:95"),
    ("jpeg:75|cut", "jpeg:90"),
    ("jpeg:85|cut", "jpeg:90"),
    ("editor:high", ""),
    ("editor:high", "jpeg:95"),
    ("jpeg:80", "editor:maximum"),
    ("jpeg:75|cut", "editor:maximum"),
)


def main() -> None:
    print("# What a picture's JPEG history adds\n\n    python docs/jpeg_history.py > docs/jpeg_history.md\n")
    print("The eight photographs that the installed packages bring, as they are or saved as JPEG; then an ellipse")
    print(
        f"of {SHARE:.0%} of the picture filled by `{SOURCE}`, which no localizer was trained on; then the whole saved"
    )
    print("as JPEG or not. Cut: three rows and five columns less, which moves the grid of blocks. Photoshop: its own")
    print("tables, by Pillow's names for them. `localizer` looks where the whole was not saved again, else")
    print("`localizer-saved`, at their thresholds: the network alone, and together with the compression that the hole")
    print("went without. IoU / AUC, the share of the same photographs' pixels that is marked where nothing was forged,")
    print("and in how many of the eight such a compression was found, forged and not. So few photographs show what")
    print("happens, not how often.\n")
    print("| before | after | network alone | with history | marked if untouched: alone, with | found in |")
    print("| --- | --- | --- | --- | --- | --- |")
    alone = {name: open_localizer(name, jpeg_history=False) for name in ("localizer", "localizer-saved")}
    source = open_source(SOURCE)
    every = [(before, after) for after in AFTER for before in BEFORE]
    for before, after in (*every, *CUT_OR_EDITED):
        _row(before, after, alone["localizer-saved" if after else "localizer"], source.fill)


def _through(picture: np.ndarray, steps: str) -> np.ndarray:
    """``degrade``'s steps, and ``cut`` and ``editor:PRESET``, in their order."""
    for step in filter(None, steps.split("|")):
        if step == "cut":
            picture = picture[3:, 5:]
        elif step.startswith("editor:"):
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "JPEG", quality=step.removeprefix("editor:"))
            picture = np.asarray(Image.open(stream))
        else:
            picture = degrade.parse(step).apply(picture)
    return picture


def _row(before: str, after: str, network: Localizer, fill: object) -> None:
    assert callable(fill)
    figures, found = [], [0, 0]
    for _, photograph in photographs():
        original = _through(photograph, before)
        height, width = original.shape[:2]
        away = np.hypot(*(2 * np.indices((height, width)).T / (height, width) - 1).T)
        truth = away <= np.quantile(away, SHARE)
        forged = np.where(truth[..., np.newaxis], fill(original, truth, np.random.default_rng(0)), original)
        scores: list[float] = []
        for place, shown in enumerate((forged, original)):
            picture = _through(shown, after)
            mask, history = network(picture).mask, missing_history(picture)
            found[place] += history is not None
            for said in (mask, mask if history is None else with_history(mask, history)):
                if place:
                    scores.append(float((said >= network.threshold).mean()))
                else:
                    measured = metrics.localization(truth, said, network.threshold)
                    scores += [float(measured["iou"]), float(measured["auc"])]
        figures.append(scores)
    iou, auc, iou_with, auc_with, marked, marked_with = np.mean(figures, axis=0)
    words = {"jpeg:": "JPEG ", "editor:": "Photoshop ", "|": ", "}
    said = [re.sub(r"jpeg:|editor:|\|", lambda found: words[found[0]], one) or "as it is" for one in (before, after)]
    print(f"| {said[0]} | {said[1]} | {iou:.2f} / {auc:.2f} | {iou_with:.2f} / {auc_with:.2f} |", end="")
    print(f" {marked:.1%}, {marked_with:.1%} | {found[0]}, {found[1]} |", flush=True)


if __name__ == "__main__":
    main()
