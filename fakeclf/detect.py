"""Look at pictures: which of their pixels were inpainted?

    found = detect("photo.jpg")
    print(found.area, found.score)
    found.mask          # P(inpainted) of each pixel, float32 (height, width)

``detect_all`` does so for files, folders and globs, writes masks and overlays, and goes on past a file that fails.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import __version__, bundle, images
from fakeclf.errors import FakeclfError
from fakeclf.registry import resolve

LOCALIZER = "localizer"
"""Name of the shipped localizer's bundle, the default."""

LINES = "detections.jsonl"
"""Name of the file, in the output folder, that every record is added to."""

_WRITTEN = (".mask.png", ".binary.png", ".overlay.png")
_TOP = 0.01  # share of the pixels a picture's score is the mean of, where the network has none of its own


@dataclass
class Detection:
    """What was found in one picture.

    Attributes:
        path: of the file; None for an array.
        sha256: of the file's bytes.
        size: width and height after EXIF rotation, pixels.
        area: share of the pixels that reach the threshold.
        score: the higher, the more likely something was inpainted; see ``score_from``.
        score_from: ``head``, the network's own P(FAKE) of the picture, or ``mean of the top 1 %`` of the mask.
        max: highest P(inpainted) of a pixel.
        threshold: on P(inpainted) of a pixel.
        model: name of the localizer.
        model_sha256: of its ``model.keras``; "" for one that is no bundle.
        version: of this package.
        mask_path, binary_path, overlay_path: what was written; None if nothing was.
        tiles: in how many pieces the picture went through the network.
        seconds: reading, localizing and writing together.
        error: why there is no result; None if there is one.
        mask: P(inpainted) of each pixel, float32 (height, width); not part of ``to_json``.
        pixels: the picture, uint8 (height, width, 3); not part of ``to_json``.
    """

    path: str | None
    sha256: str | None = None
    size: tuple[int, int] | None = None
    area: float | None = None
    score: float | None = None
    score_from: str | None = None
    max: float | None = None
    threshold: float | None = None
    model: str = ""
    model_sha256: str = ""
    version: str = __version__
    mask_path: str | None = None
    binary_path: str | None = None
    overlay_path: str | None = None
    tiles: int | None = None
    seconds: float | None = None
    error: str | None = None
    mask: np.ndarray | None = field(default=None, repr=False, compare=False)
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def binary(self) -> np.ndarray:
        """Which pixels reach the threshold, bool (height, width)."""
        if self.mask is None:
            raise FakeclfError(f"there is no mask: {self.error}" if self.error else "the mask was not kept")
        return self.mask >= self.threshold

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values for one line of JSON."""
        arrays = ("mask", "pixels")
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in arrays}
        return values | {"size": list(self.size) if self.size else None}

    def overlay(self) -> np.ndarray:
        """The picture with what was found drawn over it, uint8 (height, width, 3)."""
        binary = self.binary  # says why, where there is none
        assert binary.shape == self.pixels.shape[:2] if self.pixels is not None else True
        return resolve("segmentation.overlay:overlay")(self.pixels, self.mask, self.threshold)


def open_localizer(name: str | Path | None = None, *, threshold: float | None = None) -> Any:
    """A localizer that is ready to run, for several calls of :func:`detect`.

    Args:
        name: name or folder of its bundle; default: the shipped one.
        threshold: on P(inpainted) of a pixel, in place of the card's.

    Raises:
        FakeclfError: there is no such bundle, or it is no localizer.
    """
    if name is None:
        there = _localizers()
        if LOCALIZER not in there:
            others = f"name one with --models: {', '.join(there)}" if there else "train one with `fakeclf train`"
            raise FakeclfError(f"there is no bundle {LOCALIZER!r}, which is the default; {others}")
        name = LOCALIZER
    return resolve("segmentation.localize:open_localizer")(name, threshold=threshold)
