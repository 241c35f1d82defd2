"""Makes docs/localized.png: two photographs, in each an ellipse regenerated, and what `fakeclf detect` marks.

python docs/localized.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from fakeclf import detect, images
from segmentation.forgeries.inpainters import open_source
from segmentation.overlay import overlay

# Photograph, then centre and radii of the ellipse in pixels, row first.
SHOWN = ((data.chelsea, (80, 78), (50, 45)), (data.coffee, (118, 440), (85, 75)))
WIDTH, GAP = 361, 8


def main() -> None:
    source, rows = open_source("gan-autoencoder"), []
    for photograph, centre, radii in SHOWN:
        original = photograph()
        places = np.indices(original.shape[:2]).transpose(1, 2, 0)
        inside = (((places - centre) / radii) ** 2).sum(-1) <= 1
        made = source.fill(original, inside, np.random.default_rng(0))
        forged = np.where(inside[..., np.newaxis], made, original)
        verdict = detect(forged, models="localizer", stability=False)
        marked = verdict.binary
        iou = (marked & inside).sum() / (marked | inside).sum()
        print(
            f"{photograph.__name__}: IoU {iou:.2f}, {(marked & ~inside).sum() / (~inside).sum():.1%} of the rest marked"
        )
        pair = [_small(picture) for picture in (forged, overlay(forged, verdict.mask, verdict.pixel_threshold))]
        rows.append(np.concatenate([pair[0], np.full((len(pair[0]), GAP, 3), 255, np.uint8), pair[1]], axis=1))
    between = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    images.save(Path(__file__).with_suffix(".png"), np.concatenate([rows[0], between, rows[1]]))


def _small(pixels: np.ndarray) -> np.ndarray:
    height = round(WIDTH * pixels.shape[0] / pixels.shape[1])
    return np.asarray(Image.fromarray(pixels).resize((WIDTH, height), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
