"""What a picture's JPEG history adds to the shipped localizers: prints docs/jpeg_history.md.

python docs/jpeg_history.py > docs/jpeg_history.md
"""

from __future__ import annotations

import numpy as np
from failures import photographs

from fakeclf.data import degrade
from segmentation import metrics
from segmentation.forgeries.inpainters import open_source
from segmentation.jpeg_history import missing_history, with_history
from segmentation.localize import Localizer, open_localizer

SOURCE, SHARE = "patch", 0.12
BEFORE = ("", "jpeg:75", "jpeg:85", "jpeg:95")
AFTER = ("", "jpeg:95", "jpeg:90", "jpeg:75")


def main() -> None:
    print("# What a picture's JPEG history adds\n\n    python docs/jpeg_history.py > docs/jpeg_history.md\n")
    print("The eight photographs that the installed packages bring, as they are or saved as JPEG; then an ellipse")
    print(
        f"of {SHARE:.0%} of the picture filled by `{SOURCE}`, which no localizer was trained on; then the whole saved"
    )
    print("as JPEG or not. `localizer` looks where it was not, else `localizer-saved`, at their thresholds: the")
    print("network alone, and together with the compression that the hole went without. IoU / AUC, the share of the")
    print("same photographs' pixels that is marked where nothing was forged, and in how many of the eight such a")
    print("compression was found, forged and not. So few photographs show what happens, not how often.\n")
    print("| before | after | network alone | with history | marked if untouched: alone, with | found in |")
    print("| --- | --- | --- | --- | --- | --- |")
    alone = {name: open_localizer(name, jpeg_history=False) for name in ("localizer", "localizer-saved")}
    source = open_source(SOURCE)
    for after in AFTER:
        for before in BEFORE:
            _row(before, after, alone["localizer-saved" if after else "localizer"], source.fill)


def _row(before: str, after: str, network: Localizer, fill: object) -> None:
    assert callable(fill)
    figures, found = [], [0, 0]
    for _, photograph in photographs():
        original = degrade.parse(before).apply(photograph) if before else photograph
        height, width = original.shape[:2]
        away = np.hypot(*(2 * np.indices((height, width)).T / (height, width) - 1).T)
        truth = away <= np.quantile(away, SHARE)
        forged = np.where(truth[..., np.newaxis], fill(original, truth, np.random.default_rng(0)), original)
        scores: list[float] = []
        for place, shown in enumerate((forged, original)):
            picture = degrade.parse(after).apply(shown) if after else shown
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
    said = [one.replace("jpeg:", "JPEG ") or "as it is" for one in (before, after)]
    print(f"| {said[0]} | {said[1]} | {iou:.2f} / {auc:.2f} | {iou_with:.2f} / {auc_with:.2f} |", end="")
    print(f" {marked:.1%}, {marked_with:.1%} | {found[0]}, {found[1]} |", flush=True)


if __name__ == "__main__":
    main()
