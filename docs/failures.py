"""Where the shipped localizers fail: prints docs/failures.md, and draws it among the plots of their bundles.

python docs/failures.py > docs/failures.md

The photographs are those that the installed packages bring; with eight of them the figures show what happens, not how
often. `fakeclf evaluate` and `fakeclf robustness` measure that on photographs of your own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fakeclf import bundle
from fakeclf.data import degrade
from fakeclf.data.sample import copy_photographs
from segmentation import metrics, sheets
from segmentation.forgeries.inpainters import open_source
from segmentation.localize import open_localizer

NAMES, SHOWN, SIDE = ("localizer", "localizer-saved"), "coffee.png", 384
KNOWN = "gan-autoencoder"


@dataclass(frozen=True)
class Case:
    """What was done to each photograph: a hole of that share filled by a source ("" = none), then a change."""

    name: str
    source: str = KNOWN
    share: float = 0.12
    change: str = ""


CASES = (
    Case("trained on, hole of 12 %"),
    Case("another source: inpainter", "inpainter"),
    Case("another source: navier-stokes", "navier-stokes"),
    Case("another source: patch", "patch"),
    Case("another source: blocky", "blocky"),
    Case("hole of 1 %", share=0.01),
    Case("hole of 50 %", share=0.5),
    Case("hole of 80 %", share=0.8),
    Case("the whole frame regenerated", share=1.0),
    Case("saved again as JPEG 95", change="jpeg:95"),
    Case("saved again as JPEG 90", change="jpeg:90"),
    Case("saved again as JPEG 90, inpainter", "inpainter", change="jpeg:90"),
    Case("saved again as JPEG 90, patch", "patch", change="jpeg:90"),
    Case("saved again as JPEG 75", change="jpeg:75"),
    Case("saved again as WebP 80", change="webp:80"),
    Case("at three quarters of its size", change="scale:0.75"),
    Case("at half its size", change="scale:0.5"),
    Case("untouched", source=""),
    Case("untouched, saved again as JPEG 90", source="", change="jpeg:90"),
    Case("untouched, saved again as JPEG 75", source="", change="jpeg:75"),
    Case("untouched, saved again as WebP 80", source="", change="webp:80"),
)


def main() -> None:
    print("# Where the localizers fail\n\n    python docs/failures.py > docs/failures.md\n")
    print("`detect` looks with `localizer` at pictures that show no JPEG compression below its reach, and with")
    print("`localizer-saved` at those that were saved as JPEG since; here both look at everything, at their cards'")
    print("thresholds. An ellipse in the middle of each of the eight photographs that the installed packages bring,")
    print(f"cut to {SIDE} pixels a side, is filled by `{KNOWN}`, which both were trained on, unless another source")
    print("is named, which neither was; but `localizer` was on `navier-stokes` and `blocky`. Means over photographs;")
    print("so few show what happens, not how often.")
    for name in NAMES:
        print(f"\n## {name}, threshold {open_localizer(name).threshold:g}\n")
        print("| what was done | IoU | AUC | marked of what is untouched |\n| --- | --- | --- | --- |")
        for row in _rows(name):
            print("| " + " | ".join(row) + " |")
        print("\nOne of the photographs; orange: the hole.\n")
        print(f"![What {name} marks in each case](../saved_models/{name}/plots/failures.png)")


def _rows(name: str) -> list[list[str]]:
    """Look at every case, draw one photograph's among the bundle's plots, and return the lines of the table."""
    localizer, samples, rows = open_localizer(name), [], []
    for case in CASES:
        figures = []
        for photograph, pixels in photographs():
            picture, truth = _made(pixels, case)
            mask = localizer(picture).mask
            figures.append(_figures(mask, truth, localizer.threshold))
            if photograph == SHOWN:
                samples.append(sheets.Sample(picture, truth, mask, case.name))
        rows.append([case.name, *(_mean(column) for column in zip(*figures, strict=True))])
    # Two sheets side by side: one of so many rows would be too tall to look at.
    middle = (len(samples) + 1) // 2
    halves = [sheets.draw(samples[:middle]), sheets.draw(samples[middle:])]
    tallest = max(len(half) for half in halves)
    even = [np.pad(half, ((0, tallest - len(half)), (0, 0), (0, 0)), mode="edge") for half in halves]
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "failures.png"
        # A palette: a quarter of the size, and it travels with the bundle.
        Image.fromarray(np.concatenate(even, axis=1)).quantize(56, dither=Image.Dither.NONE).save(drawn, optimize=True)
        bundle.add_plot(name, drawn)
    return rows


def photographs() -> Iterator[tuple[str, np.ndarray]]:
    """Middles of the photographs, sides multiples of 16, uint8 RGB."""
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(copy_photographs(Path(folder) / "photographs").rglob("*.*")):
            if path.suffix not in (".png", ".jpg"):
                continue
            whole = np.asarray(Image.open(path).convert("RGB"))
            height, width = (min(side, SIDE) // 16 * 16 for side in whole.shape[:2])
            top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
            yield path.name, whole[top : top + height, left : left + width]


def _made(photograph: np.ndarray, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The forged and changed picture, and where it is forged, bool (h, w)."""
    height, width = photograph.shape[:2]
    away = np.hypot(*(2 * np.indices((height, width)).T / (height, width) - 1).T)
    truth = away <= np.quantile(away, case.share) if case.source else np.zeros((height, width), bool)
    picture = photograph
    if case.source:
        made = open_source(case.source).fill(photograph, truth, np.random.default_rng(0))
        picture = np.where(truth[..., np.newaxis], made, photograph)
    if case.change:
        picture, truth = degrade.parse(case.change).apply(picture, mask=truth)
    return picture, truth


def _figures(mask: np.ndarray, truth: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """IoU, AUC of the pixels and the share of untouched pixels that is marked; NaN where there is none."""
    found = metrics.localization(truth, mask, threshold)
    untouched = found["confusion"]["fp"] + found["confusion"]["tn"]
    marked = found["confusion"]["fp"] / untouched if untouched else np.nan
    iou, auc = (np.nan if found[name] is None else found[name] for name in ("iou", "auc"))
    return iou if truth.any() else np.nan, auc, marked


def _mean(values: tuple[float, ...]) -> str:
    return "-" if np.isnan(values).all() else f"{np.mean(values):.2f}"


if __name__ == "__main__":
    main()
