"""What a picture itself adds to the shipped localizers, by likeness and history: prints docs/history.md.

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
from segmentation.likeness import judged_alike
from segmentation.localize import Localizer, open_localizer

SOURCE, SHARE = "patch", 0.12
SAID = ("network alone", "with likeness", "with history too")
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
    "whole was not saved again, else `localizer-saved`, at their thresholds: the network alone, together with what",
    "looks alike, and with what the hole went without or has for itself. IoU / AUC, the share of the same photographs'",
    "pixels marked where nothing was forged, and in how many of the eight a history was found, forged and not. So few",
    "photographs show what happens, not how often.\n",
)


def main() -> None:
    print("# What a picture's likeness and history add\n\n    python docs/history.py > docs/history.md\n")
    for line in ABOUT:
        print(line)
    columns = ("before", "filled by", "after", *SAID, "marked if untouched, by these three", "history found in")
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    alone = {name: open_localizer(name, likeness=False, history=False) for name in ("localizer", "localizer-saved")}
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
            alike = judged_alike(picture, mask)
            past = histories(picture, alike)
            found[place] += bool(past)
            for said in (mask, alike, reduce(with_history, past, alike)):
                if place:
                    scores.append(float((said >= network.threshold).mean()))
                else:
                    measured = metrics.localization(truth, said, network.threshold)
                    scores += [float(measured["iou"]), float(measured["auc"])]
        figures.append(scores)
    means = np.mean(figures, axis=0)
    located = [f"{iou:.2f} / {auc:.2f}" for iou, auc in means[: 2 * len(SAID)].reshape(-1, 2)]
    marked = ", ".join(f"{share:.1%}" for share in means[2 * len(SAID) :])
    words = {"jpeg:": "JPEG ", "editor:": "Photoshop ", "resized:": "times ", "|": ", "}
    before, by, after = (
        re.sub(r"jpeg:|editor:|resized:|\|", lambda found: words[found[0]], one) or "as it is"
        for one in (before, f"itself as {filled_by}" if pasted else f"`{filled_by}`", after)
    )
    print(f"| {' | '.join((before, by, after, *located, marked, f'{found[0]}, {found[1]}'))} |", flush=True)


if __name__ == "__main__":
    main()
