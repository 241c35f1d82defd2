"""What a picture's own history adds to the shipped localizers: prints docs/history.md.

python docs/history.py > docs/history.md
"""

from __future__ import annotations

import io
import re
from functools import reduce
from itertools import product

import numpy as np
from failures import photographs
from PIL import Image

from fakeclf.data import degrade
from segmentation import metrics
from segmentation.forgeries.inpainters import open_source
from segmentation.join_history import histories, with_history
from segmentation.localize import Localizer, open_localizer

SOURCE, SHARE = "patch", 0.12
WITH_BLOCKS, WITHOUT_BLOCKS = ("jpeg:85", "jpeg:70"), ("resized:0.75", "jpeg:80|resized:0.9")
BEFORE = ("", "jpeg:75", "jpeg:85", "jpeg:95")
AFTER = ("", "jpeg:95", "jpeg:90", "jpeg:75")
CUT_EDITED_OR_RESIZED = (
    ("jpeg:85|cut", ""),
    ("jpeg:85|cut", "jpeg:95"),
    ("jpeg:75|cut", "jpeg:90"),
    ("jpeg:85|cut", "jpeg:90"),
    ("editor:high", ""),
    ("editor:high", "jpeg:95"),
    ("jpeg:80", "editor:maximum"),
    ("jpeg:75|cut", "editor:maximum"),
    ("resized:0.75", ""),
    ("jpeg:85|resized:0.8", ""),
    ("jpeg:75|resized:1.3", ""),
    ("jpeg:85|resized:0.5", ""),
    ("jpeg:75|resized:1.3", "jpeg:95"),
    ("jpeg:75|resized:1.3", "jpeg:90"),
    ("jpeg:85|resized:0.8", "jpeg:95"),
)

ABOUT = (
    "The eight photographs that the installed packages bring, as they are or saved as JPEG; then an ellipse of",
    f"{SHARE:.0%} of the picture filled by `{SOURCE}`, which no localizer was trained on, or by the picture itself as",
    "JPEG; then the whole saved as JPEG or not. Cut: three rows and five columns less, which moves the grid of blocks.",
    "Photoshop: its own tables, by Pillow's names for them. Times: resized by that factor. `localizer` looks where the",
    "whole was not saved again, else `localizer-saved`, at their thresholds: the network alone, and together with what",
    "the hole went without or has for itself. IoU / AUC, the share of the same photographs' pixels marked where",
    "nothing was forged, and in how many of the eight such a thing was found, forged and not. So few photographs show",
    "what happens, not how often.\n",
)


def main() -> None:
    print("# What a picture's own history adds\n\n    python docs/history.py > docs/history.md\n")
    for line in ABOUT:
        print(line)
    print("| before | filled by | after | network alone | with history | marked if untouched: alone, with | found in |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    alone = {name: open_localizer(name, history=False) for name in ("localizer", "localizer-saved")}
    every = [(before, after) for after in AFTER for before in BEFORE]
    for before, after in (*every, *CUT_EDITED_OR_RESIZED):
        _row(before, after, alone["localizer-saved" if after else "localizer"], SOURCE)
    for before, pasted in product(WITHOUT_BLOCKS, WITH_BLOCKS):
        _row(before, "", alone["localizer"], pasted)


def _through(picture: np.ndarray, steps: str) -> np.ndarray:
    """``degrade``'s steps, and ``cut``, ``editor:PRESET`` and ``resized:SCALE``, in their order."""
    for step in filter(None, steps.split("|")):
        if step == "cut":
            picture = picture[3:, 5:]
        elif step.startswith("editor:"):
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "JPEG", quality=step.removeprefix("editor:"))
            picture = np.asarray(Image.open(stream))
        elif step.startswith("resized:"):
            scale = float(step.removeprefix("resized:"))
            height, width = (round(scale * side) for side in picture.shape[:2])
            picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
        else:
            picture = degrade.parse(step).apply(picture)
    return picture


def _row(before: str, after: str, network: Localizer, filled_by: str) -> None:
    pasted = filled_by in WITH_BLOCKS
    fill = (lambda original, *_: _through(original, filled_by)) if pasted else open_source(filled_by).fill
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
            mask = network(picture).mask
            past = histories(picture, mask)
            found[place] += bool(past)
            for said in (mask, reduce(with_history, past, mask)):
                if place:
                    scores.append(float((said >= network.threshold).mean()))
                else:
                    measured = metrics.localization(truth, said, network.threshold)
                    scores += [float(measured["iou"]), float(measured["auc"])]
        figures.append(scores)
    iou, auc, iou_with, auc_with, marked, marked_with = np.mean(figures, axis=0)
    words = {"jpeg:": "JPEG ", "editor:": "Photoshop ", "resized:": "times ", "|": ", "}
    before, by, after = (
        re.sub(r"jpeg:|editor:|resized:|\|", lambda found: words[found[0]], one) or "as it is"
        for one in (before, f"itself as {filled_by}" if pasted else f"`{filled_by}`", after)
    )
    print(f"| {before} | {by} | {after} | {iou:.2f} / {auc:.2f} | {iou_with:.2f} / {auc_with:.2f} |", end="")
    print(f" {marked:.1%}, {marked_with:.1%} | {found[0]}, {found[1]} |", flush=True)


if __name__ == "__main__":
    main()
