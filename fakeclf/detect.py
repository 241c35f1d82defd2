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
from contextlib import suppress
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


def detect(
    picture: str | Path | np.ndarray,
    *,
    models: Any = None,
    threshold: float | None = None,
    out: str | Path | None = None,
) -> Detection:
    """Look at one picture.

    Args:
        picture: a file, or uint8 RGB (height, width, 3).
        models: name or folder of a localizer's bundle, or one that :func:`open_localizer` opened, which spares loading
            it each time; default: the shipped one.
        threshold: on P(inpainted) of a pixel; default: the localizer's.
        out: folder to write mask, binary mask and overlay to; default: nothing is written.

    Raises:
        FakeclfError: the file is no picture, there is no such localizer, or ``out`` cannot be written to.
    """
    localizer, limit = _opened(models, threshold)
    start = time.perf_counter()
    if isinstance(picture, np.ndarray):
        found = Detection(None)
        pixels, target = picture, Path("picture")
    else:
        found = Detection(os.fspath(picture), sha256=_sha256(Path(picture)))
        pixels, target = images.read(picture), Path(Path(picture).name)
    _look(found, pixels, localizer, limit)
    if out is not None:
        _write(found, Path(out) / target)
    found.seconds = time.perf_counter() - start
    return found


def detect_all(
    inputs: Iterable[str | Path],
    *,
    models: Any = None,
    threshold: float | None = None,
    out: str | Path = "detected",
) -> tuple[int, Iterator[Detection]]:
    """Look at files, at all pictures below folders, and at what globs match.

    For each picture, ``out`` gets ``NAME.mask.png`` (8-bit, the upright picture's size, 255 = inpainted for certain),
    ``NAME.binary.png`` (255 where the threshold is reached) and ``NAME.overlay.png``, where NAME is the file's whole
    name; what lay in a folder keeps its place below that folder's name. Each record is also added to
    ``out/detections.jsonl``. Such files, in ``out`` or in an older output folder, are not taken for pictures.

    Args:
        inputs: files, folders and globs (``**`` goes through folders).
        models, threshold: see :func:`detect`.
        out: folder for what is written; made if it is not there.

    Returns:
        How many records to expect, and the records, each as soon as it is made, without their arrays. A file that
        cannot be read, or an input with no pictures, gives a record with ``error`` set.

    Raises:
        FakeclfError: there is no such localizer, or ``out`` cannot be written to.
    """
    localizer, limit = _opened(models, threshold)
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FakeclfError(f"cannot write to {out}: {error.strerror or error}; choose another folder") from error
    todo = list(_targets(inputs, out))
    return len(todo), (_one(found, target, localizer, limit, out) for found, target in todo)


def _one(found: Detection, target: Path | None, localizer: Any, threshold: float, out: Path) -> Detection:
    start = time.perf_counter()
    found.model, found.threshold = localizer.name, threshold
    if target is not None and found.path is not None:
        try:
            found.sha256 = _sha256(Path(found.path))
            _look(found, images.read(found.path), localizer, threshold)
            _write(found, target)
        except FakeclfError as error:
            found.error = str(error)
        except MemoryError:
            found.error = f"{found.path}: not enough memory for a picture of that size"
    found.mask = found.pixels = None
    found.seconds = time.perf_counter() - start
    try:
        with open(out / LINES, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(found.to_json()) + "\n")
    except OSError as error:
        raise FakeclfError(
            f"cannot write {out / LINES}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    return found


def _look(found: Detection, pixels: np.ndarray, localizer: Any, threshold: float) -> None:
    found.size = (pixels.shape[1], pixels.shape[0])
    found.model, found.threshold = localizer.name, threshold
    found.model_sha256 = localizer.card.files.get("model.keras", "") if localizer.card else ""
    located = localizer(pixels)
    found.mask, found.pixels, found.tiles = located.mask, pixels, located.tiles
    found.area = float(np.mean(located.mask >= threshold))
    found.max = float(located.mask.max())
    if located.score is not None:
        found.score, found.score_from = located.score, "head"
    else:
        number = max(1, round(_TOP * located.mask.size))
        top = np.partition(located.mask, located.mask.size - number, axis=None)[-number:]
        found.score, found.score_from = float(top.mean()), "mean of the top 1 %"


def _write(found: Detection, target: Path) -> None:
    assert found.mask is not None and found.pixels is not None
    drawn = resolve("segmentation.overlay:overlay")(found.pixels, found.mask, found.threshold)
    pictures = (np.rint(found.mask * 255).astype(np.uint8), found.binary.astype(np.uint8) * 255, drawn)
    paths = [target.with_name(target.name + ending) for ending in _WRITTEN]
    for path, pixels in zip(paths, pictures, strict=True):
        images.save(path, pixels)
    found.mask_path, found.binary_path, found.overlay_path = (str(path) for path in paths)


def _targets(inputs: Iterable[str | Path], out: Path) -> Iterator[tuple[Detection, Path | None]]:
    """A record for each picture, and where its output goes; records with errors for inputs that hold none."""
    seen: set[Path] = set()
    taken: set[Path] = set()
    for given in inputs:
        text = os.fspath(given)
        try:
            pictures = _pictures(text, out)
        except FakeclfError as error:
            yield Detection(text, error=str(error)), None
            continue
        for path, place in pictures:
            real = path.resolve()
            if real in seen:
                continue
            seen.add(real)
            if place in taken:  # another folder's picture of the same name
                mark = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
                place = place.with_name(f"{mark}.{place.name}")
            taken.add(place)
            yield Detection(str(path)), out / place


def _pictures(text: str, out: Path) -> list[tuple[Path, Path]]:
    """Paths of the pictures that an input means, each with its place below the output folder."""
    given = Path(text)
    if given.is_dir():
        top = given.resolve().name
        found = [(path, Path(top) / path.relative_to(given)) for path in images.find(given)]
    elif given.exists() or not glob.has_magic(text):
        return [(given, Path(given.name))]  # one that is not there gets its error when it is read
    else:
        matched = sorted(Path(path) for path in glob.glob(text, recursive=True))
        found = [
            (path, Path(path.name)) for path in matched if path.is_file() and path.suffix.lower() in images.SUFFIXES
        ]
    own = {out.resolve()}
    found = [(path, place) for path, place in found if not _was_written(path, own)]
    if not found:
        raise FakeclfError(f"{text}: holds no pictures; known are {', '.join(sorted(images.SUFFIXES))}")
    return found


def _was_written(path: Path, own: set[Path]) -> bool:
    """Whether ``path`` is output of this module: named so, and below ``own`` or a folder that holds records."""
    if not path.name.endswith(_WRITTEN):
        return False
    return any(folder in own or (folder / LINES).is_file() for folder in path.resolve().parents)


def _localizers() -> list[str]:
    found = []
    for name, path in bundle.names():
        with suppress(FakeclfError):  # a broken card is no reason not to use another
            if bundle.read_card(path).kind == "localizer":
                found.append(name)
    return found


def _opened(models: Any, threshold: float | None) -> tuple[Any, float]:
    """A localizer and the threshold on its masks."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise FakeclfError(f"the threshold is on P(inpainted) and lies between 0 and 1; received {threshold}")
    localizer = open_localizer(models) if models is None or isinstance(models, str | Path) else models
    return localizer, localizer.threshold if threshold is None else threshold


def _sha256(path: Path) -> str | None:
    try:
        return bundle.sha256(path)
    except OSError:
        return None  # reading the picture says what is wrong
