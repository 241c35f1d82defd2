"""Masks with the shapes of objects: from mask files, a COCO annotation file, a detector, or MaskFormer.

Where a photograph shows objects of several classes, a class is drawn first, then one of its objects or all of them:
the masks of the report "Inpainting Image Detection" (2023) are boxes and segments of a random class.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.draw import polygon

from fakeclf import images
from fakeclf.errors import FakeclfError
from segmentation.forgeries.compose import check_mask, looks_inverted
from segmentation.forgeries.masks import MaskSource, NoMask, area_of, fits, soften, to_mask

MASKFORMER = "facebook/maskformer-swin-base-coco"

_ATTEMPTS = 50
_REFINEMENTS = 4
_KEPT = 256  # shapes in memory
_LARGEST = 512
_SAMPLE = 16
_log = logging.getLogger(__name__)


class Shapes:
    """Shapes from a folder of mask files, flipped, scaled and placed at random.

    The white of a file is its shape; in a folder where most files look inverted, as in QD-IMD, the black is.

    Args:
        folder: mask files of any size.
        area: smallest and largest share of the picture that a mask covers.

    Raises:
        FakeclfError: the folder holds no pictures.
    """

    kind = "shapes"
    in_process = False

    def __init__(self, folder: str | Path, area: tuple[float, float]) -> None:
        self.folder, self.area = Path(folder), area
        self.files = images.find(folder)
        self._shapes: dict[Path, np.ndarray | None] = {}
        if not self.files:
            raise FakeclfError(f"{folder} holds no mask files; put PNG files there, white = the shape")
        self.inverted = self._mostly_inverted()
        if self.inverted:
            _log.warning("most masks in %s look inverted; their black is taken for the shape", folder)

    def pick(self, random: np.random.Generator) -> MaskSource:
        """See ``MaskSource.pick``."""
        return self

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """See ``MaskSource.draw``."""
        size = picture.shape[:2]
        for _ in range(_ATTEMPTS):
            shape = self._shape(self.files[random.integers(len(self.files))])
            share, flips, place = random.uniform(*self.area), random.integers(2, size=2), random.uniform(size=2)
            if shape is None:
                continue
            shape = np.ascontiguousarray(shape[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1])
            scale = np.sqrt(share * size[0] * size[1] / np.count_nonzero(shape))
            for _ in range(_REFINEMENTS):
                mask = _placed(shape, scale, place, size)
                if fits(mask, self.area):
                    return mask
                # What hangs over the border is lost; a larger shape makes up for it.
                scale *= np.clip(np.sqrt(share / max(area_of(mask), 1e-6)), 0.5, 2.0)
        if len(self._shapes) == len(self.files) and not any(shape is not None for shape in self._shapes.values()):
            raise FakeclfError(f"none of the {len(self.files)} files in {self.folder} can be used as a mask")
        raise NoMask(
            f"{name}: no shape of {self.folder} covered {self.area[0]:g} to {self.area[1]:g} of {size[1]} x {size[0]} "
            f"pixels in {_ATTEMPTS} attempts; widen the area"
        )

    def _shape(self, path: Path) -> np.ndarray | None:
        """The shape in its bounding box, 0 and 255; None for a file that cannot be used, which is said once."""
        if path not in self._shapes:
            if len(self._shapes) >= _KEPT:
                self._shapes.pop(next(iter(self._shapes)))
            self._shapes[path] = self._read(path)
        return self._shapes[path]

    def _mostly_inverted(self) -> bool:
        inverted = []
        for path in self.files[:: max(1, len(self.files) // _SAMPLE)]:
            with suppress(FakeclfError):
                inverted.append(looks_inverted(images.read(path)[..., 1]))
        return 2 * sum(inverted) > len(inverted)

    def _read(self, path: Path) -> np.ndarray | None:
        try:
            pixels = images.read(path)
            mask = check_mask(255 - pixels if self.inverted else pixels, name=str(path))
        except FakeclfError as error:
            _log.warning("left out: %s", error)
            return None
        white = mask >= 128
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        cut = Image.fromarray(white[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]).convert("L")
        cut.thumbnail((_LARGEST, _LARGEST), Image.Resampling.NEAREST)
        shape = np.asarray(cut)
        return shape if shape.any() else None


def _placed(shape: np.ndarray, scale: float, place: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``shape`` times ``scale`` on black of ``size``, ``place`` of the way down and across; may hang over borders."""
    tall, wide = (min(max(1, round(side * scale)), 4 * max(size)) for side in shape.shape)
    mask = Image.new("L", (size[1], size[0]))
    corner = (round(place[1] * (size[1] - wide)), round(place[0] * (size[0] - tall)))
    mask.paste(Image.fromarray(shape).resize((wide, tall), Image.Resampling.NEAREST), corner)
    return np.asarray(mask)


class Coco:
    """Boxes and segments of the objects that a COCO annotation file names in a photograph.

    Photographs are known by file name. A mask is, at even odds, of boxes or of segments.

    Reference: Lin et al. 2014, "Microsoft COCO: Common objects in context", arXiv:1405.0312.

    Args:
        file: JSON with ``images``, ``annotations`` and ``categories``; segments as polygons or run lengths.
        area: smallest and largest share of the picture that a mask covers.

    Raises:
        FakeclfError: the file cannot be read or is no such annotation file.
    """

    kind = "coco"
    in_process = False

    def __init__(self, file: str | Path, area: tuple[float, float]) -> None:
        self.file, self.area = Path(file), area
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            names = {int(category["id"]): str(category["name"]) for category in content.get("categories", [])}
            photos = {
                photo["id"]: (str(photo["file_name"]), (int(photo["height"]), int(photo["width"])))
                for photo in content["images"]
            }
            objects: dict[Any, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
            for annotation in content["annotations"]:
                label = names.get(annotation.get("category_id"), str(annotation.get("category_id")))
                objects[annotation["image_id"]][label].append(annotation)
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise FakeclfError(f"cannot read {file} as JSON ({error}); name a COCO annotation file") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise FakeclfError(
                f"{file} is no COCO annotation file ({type(error).__name__}: {error}); it must hold images (id, "
                "file_name, height, width) and annotations (image_id, category_id, bbox, segmentation)"
            ) from None
        self.photos = {name: (size, objects.get(identity, {})) for identity, (name, size) in photos.items()}
        self._by_base = {Path(name).name: name for name in self.photos}

    def pick(self, random: np.random.Generator) -> MaskSource:
        """See ``MaskSource.pick``."""
        return self

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """See ``MaskSource.draw``."""
        known = name if name in self.photos else self._by_base.get(Path(name).name)
        if known is None:
            raise NoMask(f"{name}: {self.file} names no photograph of that name")
        size, objects = self.photos[known]
        if any(side < cut for side, cut in zip(size, picture.shape[:2], strict=True)):
            raise NoMask(
                f"{name}: has {picture.shape[1]} x {picture.shape[0]} pixels, more than the {size[1]} x {size[0]} that "
                f"{self.file} says; was it turned or resized?"
            )
        boxes = random.random() < 0.5

        def render(annotation: dict) -> np.ndarray:
            try:
                return _cut(
                    box_mask(annotation["bbox"], size) if boxes else _segment(annotation, size), picture.shape[:2]
                )
            except (KeyError, TypeError, ValueError, IndexError) as error:
                what = f"annotation {annotation.get('id')} of {self.file} cannot be read"
                raise FakeclfError(f"{what} ({type(error).__name__}: {error}); mend or remove it") from None

        return choose(objects, render, name, self.kind, self.area, random)


class MaskFormer:
    """Segments that MaskFormer finds in a photograph, through the package transformers.

    Reference: Cheng et al. 2021, "Per-pixel classification is not all you need for semantic segmentation",
    arXiv:2107.06278.

    Args:
        model: name or folder of a model for the task "image-segmentation".
        area: smallest and largest share of the picture that a mask covers.

    Raises:
        FakeclfError: transformers or PyTorch is not installed, or there is no such model.
    """

    kind = "maskformer"
    in_process = True

    def __init__(self, model: str, area: tuple[float, float]) -> None:
        self.area = area
        try:
            from transformers import pipeline

            self.segmenter = pipeline("image-segmentation", model=model)
        except ImportError as error:
            raise FakeclfError(
                f"masks of maskformer need transformers and PyTorch ({error}); pip install 'fakeclf[transformers]'"
            ) from None
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise FakeclfError(
                f"cannot open the model {model!r} ({reason}); name a MaskFormer model or folder"
            ) from None

    def pick(self, random: np.random.Generator) -> MaskSource:
        """See ``MaskSource.pick``."""
        return self

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """See ``MaskSource.draw``."""
        found: dict[str, list[np.ndarray]] = defaultdict(list)
        for segment in self.segmenter(Image.fromarray(picture)):
            found[str(segment["label"])].append(np.asarray(segment["mask"]) >= 128)
        return choose(found, lambda mask: mask, name, self.kind, self.area, random)


def choose(
    objects: Mapping[str, Sequence[Any]],
    render: Callable[[Any], np.ndarray],
    name: str,
    kind: str,
    area: tuple[float, float],
    random: np.random.Generator,
) -> np.ndarray:
    """A class at random, then one of its objects or all of them, with blurred edge.

    Args:
        objects: the objects of a picture by class.
        render: bool (h, w) of an object.
        name: what to call the photograph in the message.
        kind: what to call the masks in the message.
        area: what the mask must cover; other classes and objects are tried until one does.

    Returns:
        uint8 (h, w), 255 = inpainted for certain.

    Raises:
        NoMask: none has that area.
    """
    for label in random.permutation(sorted(objects)):
        masks = [render(one) for one in objects[label]]
        if len(masks) > 1:
            masks.append(np.logical_or.reduce(masks))
        for index in random.permutation(len(masks)):
            mask = soften(to_mask(masks[index]))
            if fits(mask, area):
                return mask
    raise NoMask(f"{name}: no object of {kind} covers {area[0]:g} to {area[1]:g} of it")


def box_mask(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Bool (h, w) of a box x, y, width, height in pixels."""
    left, top, wide, tall = (float(value) for value in box)
    mask = np.zeros(size, bool)
    mask[max(0, round(top)) : max(0, round(top + tall)), max(0, round(left)) : max(0, round(left + wide))] = True
    return mask


def _segment(annotation: dict, size: tuple[int, int]) -> np.ndarray:
    """Bool (h, w) of polygons [[x, y, x, y, ...], ...] or of run lengths {"size": [h, w], "counts": ...}."""
    segment = annotation["segmentation"]
    if isinstance(segment, dict):
        if tuple(segment["size"]) != size:
            raise ValueError(f"run lengths of size {segment['size']}, not {list(size)}")
        counts = segment["counts"]
        return _from_runs(_unpacked(counts) if isinstance(counts, str) else counts, size)
    mask = np.zeros(size, bool)
    for outline in segment:
        # In COCO the upper left corner of a pixel has whole coordinates, in scikit-image its centre has.
        points = np.asarray(outline, float).reshape(-1, 2) - 0.5
        mask[polygon(points[:, 1], points[:, 0], size)] = True
    return mask


def _from_runs(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Bool (h, w) of run lengths, untouched and object in turn, down the columns."""
    runs = np.asarray(counts, np.int64)
    if runs.sum() != size[0] * size[1] or (runs < 0).any():
        raise ValueError(f"run lengths of {runs.sum()} pixels, not {size[0] * size[1]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")


def _unpacked(text: str) -> list[int]:
    """Run lengths out of COCO's text: 5 bits a character from "0" on, the sixth says that more follow; from the
    fourth on, each is the difference to the one before last."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _cut(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a photograph's mask that ``fakeclf.data.regenerated.cut`` leaves of the photograph."""
    top, left = ((whole - kept) // 2 // 16 * 16 for whole, kept in zip(mask.shape, size, strict=True))
    return mask[top : top + size[0], left : left + size[1]]
