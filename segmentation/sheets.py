"""Sheets of picture | truth | mask, as PNG: what the figures mean, for the eye.

Truth is black and white, the mask is P(inpainted) in greys, with the outline of the truth in orange, which differs from
any grey whatever one's colour vision. Drawn with Pillow; the same input gives the same bytes on one installation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fakeclf import images

ORANGE = (230, 159, 0)  # Okabe & Ito 2008
INK, PAPER, RULE = (0, 0, 0), (255, 255, 255), (150, 150, 150)
PANEL = 240
"""Longer side of a panel in pixels; smaller pictures are enlarged by a whole factor, pixel by pixel."""
GAP, LINE = 12, 20
HEADS = ("picture", "truth: white = inpainted", "mask: white = P 1; orange: truth")


@dataclass(frozen=True)
class Sample:
    """One row of a sheet.

    Attributes:
        picture: uint8 RGB (h, w, 3).
        truth: (h, w), true = inpainted; all false for a pristine picture.
        mask: P(inpainted), float (h, w), in [0, 1].
        caption: one line above the row.
        others: masks of further models, to stand beside the first.
    """

    picture: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    caption: str = ""
    others: tuple[np.ndarray, ...] = ()

    def small(self) -> Sample:
        """The sample at the size of a panel, so that large pictures need not be kept."""
        size = _fitted(self.picture.shape[:2])
        if max(self.picture.shape[:2]) <= PANEL:
            return self
        picture = Image.fromarray(self.picture).resize(size, Image.Resampling.BOX)
        truth = _resized(self.truth, size, Image.Resampling.BOX) >= 0.5
        mask, *others = (_resized(mask, size, Image.Resampling.BOX) for mask in (self.mask, *self.others))
        return Sample(np.asarray(picture), truth, mask, self.caption, tuple(others))


def sheet(samples: Sequence[Sample], path: str | Path, lines: Sequence[str] = (), heads: Sequence[str] = HEADS) -> None:
    """Write one sheet.

    Args:
        samples: its rows, from the top; all with equally many masks.
        path: the PNG to write.
        lines: how the figures of the captions were measured; they stand at the foot.
        heads: of the columns: picture, truth and each mask.

    Raises:
        ValueError: if there are no samples, or the parts of one differ in size.
        FakeclfError: if ``path`` cannot be written.
    """
    images.save(path, draw(samples, lines, heads))


def draw(samples: Sequence[Sample], lines: Sequence[str] = (), heads: Sequence[str] = HEADS) -> np.ndarray:
    """The pixels of ``sheet``, uint8 RGB."""
    if not samples:
        raise ValueError("a sheet needs at least one sample")
    panels = [_panels(sample) for sample in samples]
    if any(len(row) != len(heads) for row in panels):
        raise ValueError(f"each row needs {len(heads)} panels. Received: {[len(row) for row in panels]}")
    width = len(heads) * (PANEL + GAP) + GAP
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    foot = _wrapped(lines, small, width - 2 * GAP)
    rows = sum(LINE + row[0].height + GAP for row in panels)
    height = GAP + LINE + rows + (GAP + LINE * len(foot) if foot else 0)
    paper = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(paper)
    for column, head in enumerate(heads):
        pen.text((GAP + column * (PANEL + GAP), GAP // 2), _shortened(head, font, PANEL), INK, font)
    y = GAP + LINE
    for sample, row in zip(samples, panels, strict=True):
        pen.text((GAP, y), _shortened(sample.caption, font, width - 2 * GAP), INK, font)
        y += LINE
        for column, panel in enumerate(row):
            x = GAP + column * (PANEL + GAP)
            paper.paste(panel, (x, y))
            # Masks that are white or black to their edge still end somewhere.
            pen.rectangle((x - 1, y - 1, x + panel.width, y + panel.height), outline=RULE)
        y += row[0].height + GAP
    for number, line in enumerate(foot):
        pen.text((GAP, y + number * LINE), line, INK, small)
    return np.asarray(paper)


def _panels(sample: Sample) -> list[Image.Image]:
    shape = sample.picture.shape[:2]
    planes = (sample.truth, sample.mask, *sample.others)
    if any(plane.shape != shape for plane in planes):
        received = f"{shape}, {', '.join(str(plane.shape) for plane in planes)}"
        raise ValueError(f"picture, truth and mask are of one height and width. Received: {received}")
    sample = sample.small()
    size = _fitted(sample.picture.shape[:2])
    nearest = Image.Resampling.NEAREST
    picture = Image.fromarray(sample.picture).resize(size, nearest)
    truth = _resized(sample.truth, size, nearest) >= 0.5
    black_white = Image.fromarray(truth.astype(np.uint8) * 255).convert("RGB")
    return [picture, black_white, *(_outlined(mask, truth, size) for mask in (sample.mask, *sample.others))]


def _outlined(mask: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> Image.Image:
    grey = np.rint(np.clip(_resized(mask, size, Image.Resampling.NEAREST), 0, 1) * 255).astype(np.uint8)
    panel = np.repeat(grey[..., None], 3, axis=2)
    panel[_outline(truth)] = ORANGE
    return Image.fromarray(panel)


def _outline(truth: np.ndarray) -> np.ndarray:
    """Pixels on either side of the border between true and false: two pixels wide, so that it survives on any grey."""
    edge = np.zeros(truth.shape, bool)
    down, right = truth[1:] != truth[:-1], truth[:, 1:] != truth[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def _fitted(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of a panel for a picture of this height and width."""
    height, width = shape
    longest = max(height, width)
    factor: float = PANEL // longest if longest <= PANEL else PANEL / longest
    return max(1, round(width * factor)), max(1, round(height * factor))


def _resized(plane: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(np.asarray(plane, np.float32)).resize(size, how))


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """``text`` on one line, its end left out where it is wider than ``width``."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(lines: Sequence[str], font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    parts = []
    for line in lines:
        part = ""
        for word in line.split():
            longer = f"{part} {word}" if part else word
            if part and font.getlength(longer) > width:
                parts.append(part)
                longer = word
            part = longer
        parts.append(_shortened(part, font, width))
    return parts
