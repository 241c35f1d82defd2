"""Masks that are drawn: strokes, rectangles, blobs, free form. All chance comes from the generator that is passed in.

A mask is uint8 (h, w), 255 = inpainted for certain, with the height and width of its picture. Its area is the share of
the picture at or above 128.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fakeclf.errors import FakeclfError
from fakeclf.registry import closest

EDGE_RADIUS = 3.0
"""Standard deviation, in pixels, of the Gaussian that blurs the edges of rectangles, boxes and segments."""

WAYS = (
    "strokes",
    "rectangles",
    "blobs",
    "mix",
    "free-form",
    "shapes:FOLDER",
    "coco:FILE",
    "detector:FILE.onnx",
    "maskformer",
)
_ATTEMPTS = 200
_SKETCH = 256


class NoMask(FakeclfError):
    """There is no mask for this one picture; others may have one."""


class MaskSource(Protocol):
    """What draws masks."""

    @property
    def kind(self) -> str:
        """For the record, such as "strokes"."""
        ...

    @property
    def in_process(self) -> bool:
        """Whether it holds a network with threads of its own, to be used in the main process only."""
        ...

    def pick(self, random: np.random.Generator) -> MaskSource:
        """The source that draws the next mask: one of several for a mixture, else this one."""
        ...

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """A mask for a picture.

        Args:
            picture: uint8 RGB (h, w, 3), cut out of its photograph around the centre, if at all.
            name: path of the photograph, below the folder of all photographs.
            random: all chance comes from here.

        Returns:
            uint8 (h, w), 255 = inpainted for certain; at least one pixel has 255.

        Raises:
            NoMask: no mask of the area that was asked for can be had for this picture.
        """
        ...


def mask_source(text: str | Sequence[str], area: tuple[float, float] = (0.02, 0.4)) -> MaskSource:
    """Open a source of masks by what a person would type.

    Args:
        text: one of ``WAYS``; ``mix`` is each time one of the three before it, ``free-form`` rectangles and strokes
            together, ``shapes`` are mask files, ``coco`` boxes and segments. Of several, one is chosen each time.
        area: smallest and largest share of the picture that a mask covers.

    Raises:
        FakeclfError: no such source, a bad area, or a file or package that is missing.
    """
    low, high = area
    if not 0 < low < high < 1:
        raise FakeclfError(f"area must be two shares of the picture, 0 < low < high < 1; received {low:g} {high:g}")
    if not isinstance(text, str):
        if not text:
            raise FakeclfError(f"no masks are named; allowed: {', '.join(WAYS)}")
        return mask_source(text[0], area) if len(text) == 1 else Mix(tuple(mask_source(one, area) for one in text))
    way, _, what = text.partition(":")
    drawn: dict[str, type[Drawn]] = {"strokes": Strokes, "rectangles": Rectangles, "blobs": Blobs}
    if text == "mix":
        return Mix(tuple(kind(area) for kind in drawn.values()))
    drawn["free-form"] = FreeForm
    if text in drawn:
        return drawn[text](area)
    from segmentation.forgeries import object_masks, onnx_detector

    opened: dict[str, Callable[..., MaskSource]] = {
        "shapes": object_masks.Shapes,
        "coco": object_masks.Coco,
        "detector": onnx_detector.Detector,
    }
    if way in opened and what:
        return opened[way](what, area)
    if way == "maskformer":
        return object_masks.MaskFormer(what or object_masks.MASKFORMER, area)
    if way in opened:
        raise FakeclfError(f"masks {text!r} name nothing to open; write {next(w for w in WAYS if w.startswith(way))}")
    raise FakeclfError(f"there are no masks {text!r}; {closest(text, WAYS)}")


@dataclass(frozen=True)
class Drawn(ABC):
    """A kind of mask that needs no picture. Below it, a kind only writes ``once``.

    Args:
        area: smallest and largest share of the picture that a mask covers; drawn anew until it is inside.
    """

    area: tuple[float, float] = (0.02, 0.4)
    kind: ClassVar[str]
    in_process: ClassVar[bool] = False

    @abstractmethod
    def once(self, height: int, width: int, share: float, random: np.random.Generator) -> np.ndarray:
        """A mask that covers about ``share`` of (height, width), uint8."""

    def pick(self, random: np.random.Generator) -> MaskSource:
        return self

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """See ``MaskSource.draw``."""
        height, width = picture.shape[:2]
        for _ in range(_ATTEMPTS):
            mask = self.once(height, width, random.uniform(*self.area), random)
            if fits(mask, self.area):
                return mask
        raise NoMask(
            f"{name}: no {self.kind} of {self.area[0]:g} to {self.area[1]:g} of {width} x {height} pixels came out in "
            f"{_ATTEMPTS} attempts; widen the area"
        )


@dataclass(frozen=True)
class _Way:
    """One way of a brush, from (x, y) to (x, y); all in pixels."""

    start: tuple[float, float]
    end: tuple[float, float]
    brush: float


@dataclass(frozen=True)
class Strokes(Drawn):
    """Free-form strokes of a brush with round ends, drawn one after the other until the area is covered.

    Reference: Yu et al. 2019, "Free-form image inpainting with gated convolution", arXiv:1806.03589, algorithm 1:
    the brush goes from vertex to vertex, to one side of the stroke's direction and to the other in turn.

    Args:
        vertices: fewest and most vertices of a stroke.
        length: shortest and longest way from vertex to vertex, shares of the picture's shorter side.
        width: thinnest and widest brush, shares of the shorter side.
        angle: largest angle between a way and the stroke's direction, radians.
    """

    vertices: tuple[int, int] = (1, 12)
    length: tuple[float, float] = (0.02, 0.3)
    width: tuple[float, float] = (0.02, 0.12)
    angle: float = 2.0
    kind: ClassVar[str] = "strokes"

    def once(self, height: int, width: int, share: float, random: np.random.Generator) -> np.ndarray:
        """See ``Drawn.once``."""
        # A small sketch tells when to stop, so that a large picture costs no more than a small one.
        scale = min(1.0, _SKETCH / max(height, width))
        sketch = Image.new("L", (max(1, round(width * scale)), max(1, round(height * scale))))
        sketched = ImageDraw.Draw(sketch)
        ways: list[_Way] = []
        for way in self._ways(height, width, random):
            ways.append(way)
            _brush(sketched, way, scale)
            if np.count_nonzero(np.asarray(sketch)) >= share * sketch.width * sketch.height:
                break
        mask = Image.new("L", (width, height))
        canvas = ImageDraw.Draw(mask)
        for way in ways:
            _brush(canvas, way)
        return np.asarray(mask)

    def _ways(self, height: int, width: int, random: np.random.Generator) -> Iterator[_Way]:
        """Ways of the brush, without end."""
        side = min(height, width)
        while True:
            x, y = random.uniform(0, width), random.uniform(0, height)
            heading, brush = random.uniform(0, 2 * np.pi), side * random.uniform(*self.width)
            for vertex in range(random.integers(self.vertices[0], self.vertices[1], endpoint=True)):
                turn = random.uniform(0, self.angle) * (-1 if vertex % 2 else 1)
                far = side * random.uniform(*self.length)
                to_x = float(np.clip(x + far * np.cos(heading + turn), 0, width))
                to_y = float(np.clip(y + far * np.sin(heading + turn), 0, height))
                yield _Way((x, y), (to_x, to_y), brush)
                x, y = to_x, to_y


@dataclass(frozen=True)
class Rectangles(Drawn):
    """One or more rectangles with blurred edge.

    Args:
        count: most rectangles in a mask.
        aspect: largest ratio of two sides.
        edge: standard deviation of the edge's blur, pixels.
    """

    count: int = 3
    aspect: float = 3.0
    edge: float = EDGE_RADIUS
    kind: ClassVar[str] = "rectangles"

    def once(self, height: int, width: int, share: float, random: np.random.Generator) -> np.ndarray:
        """See ``Drawn.once``."""
        mask = np.zeros((height, width), np.uint8)
        count = int(random.integers(1, self.count, endpoint=True))
        for part in random.dirichlet(np.full(count, 4.0)):
            aspect = np.exp(random.uniform(-np.log(self.aspect), np.log(self.aspect)))
            pixels = part * share * height * width
            tall = int(np.clip(round(np.sqrt(pixels * aspect)), 1, height))
            wide = int(np.clip(round(pixels / tall), 1, width))
            top, left = random.integers(0, height - tall + 1), random.integers(0, width - wide + 1)
            mask[top : top + tall, left : left + wide] = 255
        return soften(mask, self.edge)


@dataclass(frozen=True)
class Blobs(Drawn):
    """Where a smooth random field is highest.

    Args:
        cells: fewest and most values of the field along the shorter side; fewer make larger blobs.
    """

    cells: tuple[int, int] = (2, 7)
    kind: ClassVar[str] = "blobs"

    def once(self, height: int, width: int, share: float, random: np.random.Generator) -> np.ndarray:
        """See ``Drawn.once``."""
        cell = min(height, width) / random.integers(*self.cells, endpoint=True)
        coarse = random.normal(size=(round(height / cell) + 1, round(width / cell) + 1)).astype(np.float32)
        picture, scale = Image.fromarray(coarse), min(1.0, _SKETCH / max(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        # The level is found on a sketch: sorting all pixels of a large picture would take seconds.
        sketch = np.asarray(picture.resize(small, Image.Resampling.BICUBIC))
        level = np.quantile(sketch, 1 - share)
        field = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
        return to_mask(field >= level)


@dataclass(frozen=True)
class FreeForm(Drawn):
    """Rectangles and thick strokes until they cover the area, after Zhao et al. 2021, arXiv:2103.10428.

    Args:
        side: longest side of a rectangle, a share of the picture's; small areas get shorter ones.
        strokes: what draws the strokes.
    """

    side: float = 0.5
    strokes: Strokes = Strokes(vertices=(4, 18), width=(0.05, 0.2))
    kind: ClassVar[str] = "free-form"

    def once(self, height: int, width: int, share: float, random: np.random.Generator) -> np.ndarray:
        """See ``Drawn.once``."""
        mask = Image.new("L", (width, height))
        canvas = ImageDraw.Draw(mask)
        longest = min(self.side, 1.5 * share**0.5)
        while (left := share - area_of(np.asarray(mask))) > 0:
            if random.random() < 0.5:
                tall, wide = random.uniform(0, longest, 2) * (height, width)
                x, y = random.uniform(-wide / 2, width - wide / 2), random.uniform(-tall / 2, height - tall / 2)
                canvas.rectangle((x, y, x + wide, y + tall), fill=255)
            else:
                stroke = self.strokes.once(height, width, left * random.random(), random)
                canvas.bitmap((0, 0), Image.fromarray(stroke), fill=255)
        return np.asarray(mask)


@dataclass(frozen=True)
class Mix:
    """Each time one of several sources, all as likely."""

    sources: tuple[MaskSource, ...]
    kind: ClassVar[str] = "mix"

    @property
    def in_process(self) -> bool:
        return any(source.in_process for source in self.sources)

    def pick(self, random: np.random.Generator) -> MaskSource:
        """See ``MaskSource.pick``."""
        return self.sources[random.integers(len(self.sources))].pick(random)

    def draw(self, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
        """See ``MaskSource.draw``."""
        return self.pick(random).draw(picture, name, random)


def area_of(mask: np.ndarray) -> float:
    """Share of a mask, uint8 (h, w), at or above 128."""
    return float(np.mean(mask >= 128))


def to_mask(white: np.ndarray) -> np.ndarray:
    """Mask of 0 and 255, uint8, of a bool array."""
    return white.astype(np.uint8) * np.uint8(255)


def fits(mask: np.ndarray, area: tuple[float, float]) -> bool:
    """Whether the mask's area is inside ``area``, and some of it is white for certain."""
    return area[0] <= area_of(mask) <= area[1] and bool((mask == 255).any())


def soften(mask: np.ndarray, radius: float = EDGE_RADIUS) -> np.ndarray:
    """Blur the edges of a mask of 0 and 255, uint8 (h, w), by a Gaussian of ``radius`` pixels.

    Thin shapes get a smaller radius, so that a tenth of what was white stays 255.
    """
    white = np.count_nonzero(mask)
    picture = Image.fromarray(mask)
    while radius >= 0.5:
        blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))
        if np.count_nonzero(blurred == 255) >= 0.1 * white:
            return blurred
        radius /= 2
    return mask


def _brush(canvas: ImageDraw.ImageDraw, way: _Way, scale: float = 1.0) -> None:
    """Draw, in white and ``scale`` times as large, one way of a brush with round ends."""
    half = way.brush * scale / 2
    ends = [(x * scale, y * scale) for x, y in (way.start, way.end)]
    canvas.line(ends, fill=255, width=max(1, round(2 * half)))
    for x, y in ends:
        canvas.ellipse((x - half, y - half, x + half, y + half), fill=255)
