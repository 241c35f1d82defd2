"""Masks of the objects that a detector in an ONNX file finds, run by onnxruntime.

Detectors differ in what they take and give. Known here is the layout that the YOLO family exports since its eighth
version: one picture (1, 3, h, w) in [0, 1] in; out (1, 4 + classes, n), boxes as centre and size in pixels of the
input, or, with the choice of boxes built in, (1, n, 6), corners, score and class. With a second output
(1, k, h / 4, w / 4), each of the first kind of boxes ends in k weights: the object's segment is the weighted sum.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakeclf.errors import FakeclfError
from segmentation.forgeries.masks import MaskSource
from segmentation.forgeries.object_masks import box_mask, choose

SCORE = 0.25
"""Objects of a lower score are none."""

OVERLAP = 0.6
"""Of two boxes of a class whose intersection over union is above this, the one with the lower score is dropped."""

_SIDE = 640  # of a model whose input size is free
_STRIDE = 32
_GREY = 114  # what these detectors see around a picture of another shape than theirs
_MOST = 300


@dataclass(frozen=True)
class _Found:
    """A box (left, top, right, bottom in pixels of the input), its score, class and weights of its segment."""

    box: np.ndarray
    score: float
    label: int
    weights: np.ndarray


class Detector:
    """Boxes, and segments where the model has them, at even odds.

    Args:
        file: an ONNX model in the layout named above.
        area: smallest and largest share of the picture that a mask covers.

    Raises:
        FakeclfError: onnxruntime is not installed, the file is no ONNX model, or it has other inputs or outputs.
    """

    kind = "detector"
    in_process = True

    def __init__(self, file: str | Path, area: tuple[float, float]) -> None:
        self.file, self.area = Path(file), area
        self.session, self.failures = _session(self.file)
        self.input, self.size = _checked_input(self.file, self.session.get_inputs())
        outputs = self.session.get_outputs()
        ranks = tuple(len(output.shape) for output in outputs)
        if ranks not in ((3,), (3, 4)):
            raise FakeclfError(
                f"{self.file} gives {_listed(outputs)}; a detector gives boxes (1, 4 + classes, n) or (1, n, 6), and "
                "besides perhaps segments (1, k, h, w); export it in the layout of YOLOv8"
            )

    def pick(self, random: np.random.Generator) -> MaskSource:
        """See ``MaskSource.pick``."""
        return self

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """See ``MaskSource.draw``."""
        size = picture.shape[:2]
        scale = min(side / have for side, have in zip(self.size, size, strict=True))
        tall, wide = (min(side, max(1, round(have * scale))) for side, have in zip(self.size, size, strict=True))
        top, left = (self.size[0] - tall) // 2, (self.size[1] - wide) // 2
        seen = np.full((*self.size, 3), _GREY, np.uint8)
        seen[top : top + tall, left : left + wide] = _resized(picture, (tall, wide))
        batch = np.ascontiguousarray(seen.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        try:
            outputs = self.session.run(None, {self.input: batch})
        except self.failures as error:
            raise FakeclfError(f"{self.file} failed on a picture of {self.size} ({_reason(error)})") from None
        found, prototypes = self._found(outputs)
        objects: dict[str, list[_Found]] = defaultdict(list)
        for one in found:
            objects[str(one.label)].append(one)
        boxes = prototypes is None or random.random() < 0.5

        def render(one: _Found) -> np.ndarray:
            corners = (one.box - [left, top, left, top]) / scale
            inside = box_mask((*corners[:2], *(corners[2:] - corners[:2])), size)
            if boxes or prototypes is None:
                return inside
            height, width = prototypes.shape[1:]
            segment = np.tensordot(one.weights, prototypes, 1).astype(np.float32)
            whole = _resized(segment, self.size) if (height, width) != self.size else segment
            return inside & (_resized(whole[top : top + tall, left : left + wide], size) > 0)

        return choose(objects, render, name, self.kind, self.area, random)

    def _found(self, outputs: list[np.ndarray]) -> tuple[list[_Found], np.ndarray | None]:
        """Objects by falling score, and the segments' prototypes (k, h, w) where there are any."""
        rows = np.asarray(outputs[0], np.float32)
        prototypes = np.asarray(outputs[1], np.float32)[0] if len(outputs) > 1 else None
        k = 0 if prototypes is None else len(prototypes)
        if prototypes is None and rows.shape[0] == 1 and rows.shape[2] == 6:
            kept = rows[0][rows[0][:, 4] >= SCORE]
            none = np.zeros(0, np.float32)
            return [_Found(row[:4], float(row[4]), int(row[5]), none) for row in kept[:_MOST]], None
        classes = rows.shape[1] - 4 - k
        if rows.shape[0] != 1 or classes < 1 or rows.shape[1] > rows.shape[2]:
            raise FakeclfError(
                f"{self.file} gave boxes of shape {rows.shape}{f' with {k} prototypes' if k else ''}; expected "
                f"(1, 4 + classes{' + k' if k else ''}, n) or (1, n, 6); export it in the layout of YOLOv8"
            )
        table = rows[0].T
        labels, scores = table[:, 4 : 4 + classes].argmax(axis=1), table[:, 4 : 4 + classes].max(axis=1)
        middle, half = table[:, :2], table[:, 2:4] / 2
        corners = np.concatenate([middle - half, middle + half], axis=1)
        kept_so_far: list[_Found] = []
        for index in np.argsort(-scores, kind="stable"):
            if not scores[index] >= SCORE or len(kept_so_far) == _MOST:
                break
            one = _Found(corners[index], float(scores[index]), int(labels[index]), table[index, 4 + classes :])
            if all(one.label != other.label or _overlap(one.box, other.box) <= OVERLAP for other in kept_so_far):
                kept_so_far.append(one)
        return kept_so_far, prototypes


def _session(file: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    """A session of onnxruntime, and what it raises: its own exceptions share no class of their own."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError:
        raise FakeclfError("masks of a detector need onnxruntime; pip install 'fakeclf[onnx]'") from None
    if not file.is_file():
        raise FakeclfError(f"there is no file {file}; name an ONNX model")
    own = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    failures = (*own, state.RuntimeException, RuntimeError, ValueError)
    try:
        session = onnxruntime.InferenceSession(str(file), providers=onnxruntime.get_available_providers())
    except failures as error:
        raise FakeclfError(f"{file} is no ONNX model that onnxruntime can run ({_reason(error)})") from None
    return session, failures


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _checked_input(file: Path, inputs: list[Any]) -> tuple[str, tuple[int, int]]:
    """Name and (height, width) of the only input."""
    shape = inputs[0].shape if len(inputs) == 1 else []
    free = [None if not isinstance(side, int) or side < 1 else side for side in shape]
    if len(free) != 4 or free[0] not in (None, 1) or free[1] != 3 or inputs[0].type != "tensor(float)":
        raise FakeclfError(
            f"{file} takes {_listed(inputs)}; a detector takes one picture, float (1, 3, height, width); "
            "export it with that input alone"
        )
    height, width = free[2] or _SIDE, free[3] or _SIDE
    if height < _STRIDE or width < _STRIDE:
        raise FakeclfError(f"{file} takes pictures of {width} x {height}; a detector takes at least {_STRIDE} pixels")
    return inputs[0].name, (height, width)


def _listed(values: list[Any]) -> str:
    return ", ".join(f"{value.name}: {value.type} {value.shape}" for value in values) or "nothing"


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    either = float(np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])) - both
    return both / either if either > 0 else 0.0


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resize of uint8 (h, w, 3) or float32 (h, w) to ``size``, (height, width)."""
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))
