"""What a picture file says of itself: how it was saved, camera, time, programs, marks of generators, credentials.

This is evidence to set beside a verdict. No probability is ever made from it: whatever a file says of itself can be
removed or made up, and most web sites remove it.

Example:
    >>> found = read("picture.png")
    >>> print("\\n".join(found.sentences()))
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import images
from fakeclf.content_credentials import Credentials, read_credentials
from fakeclf.data.codec import Header, header, jpeg_quality
from fakeclf.exif import Tags, clean
from fakeclf.file_metadata import Blocks, read_blocks
from fakeclf.generator_marks import GENERATED, SOURCES, Mark, find_marks, is_workflow, source_term
from fakeclf.software_names import EDIT_HISTORY, Software, software_kind
from fakeclf.xmp import read_xmp

_MAKE, _MODEL, _ORIENTATION, _SOFTWARE, _CHANGED = 0x010F, 0x0110, 0x0112, 0x0131, 0x0132
_ARTIST, _COPYRIGHT, _TAKEN, _LENS = 0x013B, 0x8298, 0x9003, 0xA434
_LATITUDE, _LONGITUDE = 0x0002, 0x0004
_PROGRAMS = 20  # named at most; an edit history can name one a hundred times
_SAME_SHAPE = math.log(1.06)  # a thumbnail is rounded to whole pixels, and its bars to blocks of 8
_BLACK = 24  # of 255; bars of a thumbnail after JPEG


@dataclass(frozen=True)
class Provenance:
    """What a file says of itself. Texts are one line of printable characters, at most 200 long; "" if not said.

    Attributes:
        format: ``JPEG``, ``PNG``, ``WEBP``, ``GIF``, ``TIFF`` or ``BMP``.
        stored: width and height in pixels as stored, before ``orientation`` is applied.
        orientation: EXIF orientation, 1 (upright) to 8.
        quality: of a JPEG on libjpeg's scale, 1 to 100; None for other formats.
        tables: quantisation tables of a JPEG: ``libjpeg`` (the quality is exact) or ``own`` (of a camera or program;
            the quality is an estimate); "" for other formats.
        subsampling: of a JPEG in colour: ``4:4:4``, ``4:2:2``, ``4:2:0`` or ``other``.
        progressive: whether a JPEG is progressive.
        make, model, lens: of the camera.
        taken, changed: times, as ``2024-05-31 17:45:00``.
        gps: whether there is a position; it is not told here.
        author, copyright: whether there is an author, a copyright notice.
        thumbnail: ``same shape`` or ``other shape`` than the picture, "" without one.
        source: IPTC digital source type, a term of ``fakeclf.generator_marks.SOURCES``.
        software: programs that are named.
        marks: what says that the picture, or a part of it, was generated.
        credentials: content credentials (C2PA); None if there are none.
        unread: metadata that was left out as too large or damaged, and why.
    """

    format: str
    stored: tuple[int, int]
    orientation: int = 1
    quality: int | None = None
    tables: str = ""
    subsampling: str = ""
    progressive: bool = False
    make: str = ""
    model: str = ""
    lens: str = ""
    taken: str = ""
    changed: str = ""
    gps: bool = False
    author: bool = False
    copyright: bool = False
    thumbnail: str = ""
    source: str = ""
    software: tuple[Software, ...] = ()
    marks: tuple[Mark, ...] = ()
    credentials: Credentials | None = None
    unread: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values by the names of the attributes, and ``sentences``."""
        return json.loads(json.dumps(dataclasses.asdict(self) | {"sentences": self.sentences()}))

    def sentences(self) -> list[str]:
        """The evidence in plain words, a sentence or two each; what speaks of generators comes first."""
        told = [mark.sentence() for mark in self.marks]
        told += self.credentials.sentences() if self.credentials else []
        if self.source and self.source not in GENERATED:
            told.append(f"Its IPTC digital source type says: the picture is {SOURCES[self.source]}.")
        told += [program.sentence() for program in self.software if program.kind != "generator"]
        told += self._camera()
        if not told:
            told.append(
                "The file names no camera and no program. That proves nothing: most web sites remove such data."
            )
        return [*told, *self._saved(), *(f"Left out: {reason}." for reason in self.unread)]

    def _camera(self) -> list[str]:
        told = []
        camera = self.model if self.model.startswith(self.make) else f"{self.make} {self.model}".strip()
        if camera and software_kind(self.make) != "generator":
            told.append(f"The file names the camera {camera}{f' with the lens {self.lens}' if self.lens else ''}.")
        if self.taken:
            told.append(f"It says that the picture was taken on {self.taken}.")
        if self.changed and self.changed != self.taken:
            told.append(f"It says that it was last changed on {self.changed}.")
        if self.gps:
            told.append("It holds the position where the picture was taken, which is not shown here.")
        held = [name for name, there in (("an author", self.author), ("a copyright notice", self.copyright)) if there]
        if held:
            told.append(f"It names {' and '.join(held)}.")
        if self.thumbnail == "other shape":
            told.append("Its thumbnail has another shape than the picture, which may have been cropped since.")
        return told

    def _saved(self) -> list[str]:
        width, height = self.stored
        turned = f", turned by its EXIF orientation ({self.orientation})" if self.orientation != 1 else ""
        told = [f"The file is a {self.format} of {width:,} x {height:,} pixels{turned}."]
        if self.quality is not None:
            how = ", ".join(filter(None, [self.subsampling, "progressive" if self.progressive else ""]))
            how = f" ({how})" if how else ""
            if self.tables == "libjpeg":
                told.append(f"It was saved with libjpeg's tables at quality {self.quality}{how}.")
            else:
                told.append(f"It was saved with a maker's own tables, near libjpeg's quality {self.quality}{how}.")
        return told


def read(source: str | Path | bytes) -> Provenance:
    """Read what a file says of itself. No pixel of the picture is decoded, and nothing is asked of the network.

    Args:
        source: a path, or the bytes of a file.

    Raises:
        images.UnreadablePicture: no such file, or not a picture; damaged metadata does not raise.
    """
    blocks = read_blocks(source)
    head = _header(source, blocks)
    properties, damage = read_xmp(blocks.xmp) if blocks.xmp else ({}, "")
    tags = blocks.exif
    make = _camera_name(tags.text(_MAKE), properties.get("make"))
    model = _camera_name(tags.text(_MODEL), properties.get("model"))
    quality, exact = jpeg_quality(head.tables[0]) if head.tables else (None, False)
    software = _software(blocks, properties, make, model)
    marks = find_marks(blocks, properties)
    marked = {mark.where for mark in marks}
    marks += [
        Mark(program.name, program.where, program.name, part=program.where == EDIT_HISTORY)
        for program in software
        if program.kind == "generator" and program.where not in marked
    ]
    credentials = _credentials(source, blocks, properties)
    return Provenance(
        format=head.format,
        stored=(head.width, head.height),
        orientation=_orientation(tags, properties),
        quality=quality,
        tables=("libjpeg" if exact else "own") if head.tables else "",
        subsampling=head.subsampling,
        progressive=head.progressive,
        make=make,
        model=model,
        lens=clean(tags.text(_LENS)),
        taken=_time(tags.text(_TAKEN)),
        changed=_time(tags.text(_CHANGED)),
        gps=_LATITUDE in tags.gps and _LONGITUDE in tags.gps,
        author=bool(tags.text(_ARTIST).strip()),
        copyright=bool(tags.text(_COPYRIGHT).strip()),
        thumbnail=_thumbnail(tags.thumbnail, head),
        source=next(filter(None, map(source_term, properties.get("source", []))), ""),
        software=software,
        marks=(*marks, *(credentials.marks() if credentials else ())),
        credentials=credentials,
        unread=tuple(clean(reason) for reason in [*blocks.unread, damage] if reason),
    )


def _header(source: str | Path | bytes, blocks: Blocks) -> Header:
    """What describes the pixels; read past metadata that Pillow would refuse the whole file for."""
    if blocks.bare:
        with suppress(images.UnreadablePicture):
            return header(blocks.bare)
    return header(source)


def _camera_name(text: str, in_xmp: list[str] | None) -> str:
    return "" if is_workflow(text) else clean(text or (in_xmp or [""])[0])


def _software(blocks: Blocks, properties: dict[str, list[str]], make: str, model: str) -> tuple[Software, ...]:
    named = [("EXIF Software", blocks.exif.text(_SOFTWARE)), ("PNG text 'Software'", blocks.of("Software"))]
    named += [("XMP CreatorTool", name) for name in properties.get("tool", [])]
    named += [(EDIT_HISTORY, name) for name in properties.get("agent", [])]
    if software_kind(make) == "generator":
        named.append(("EXIF Make", make))
    found: dict[str, Software] = {}
    for where, text in named:
        name = clean(text)
        if name and len(found) < _PROGRAMS:
            found.setdefault(name, Software(name, where, software_kind(name, make, model)))
    return tuple(found.values())


def _credentials(source: str | Path | bytes, blocks: Blocks, properties: dict[str, list[str]]) -> Credentials | None:
    if blocks.credentials:
        return read_credentials(source)
    for address in properties.get("manifest", []):
        return Credentials("elsewhere", address=clean(address))
    return None


def _orientation(tags: Tags, properties: dict[str, list[str]]) -> int:
    value = tags.main.get(_ORIENTATION)
    if value is None:
        value = next((int(text) for text in properties.get("orientation", []) if re.fullmatch("[1-8]", text)), 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _time(text: str) -> str:
    if not re.search("[1-9]", text):  # cameras whose clock was never set write zeros
        return ""
    return clean(re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text.strip()))


def _thumbnail(data: bytes, head: Header) -> str:
    """Whether the thumbnail has the picture's shape, be it turned, or between the black bars that many cameras add."""
    if not data:
        return ""
    try:
        bright = images.read(data, limit=1_000_000).max(axis=2) > _BLACK
    except images.UnreadablePicture:
        return ""
    shape = head.width / head.height
    return "same shape" if any(_fits(bright, wanted) for wanted in (shape, 1 / shape)) else "other shape"


def _fits(bright: np.ndarray, shape: float) -> bool:
    """Whether a picture of width / height ``shape`` fills this thumbnail but for bars in which no pixel is bright."""
    height, width = bright.shape
    if abs(math.log(width / height / shape)) < _SAME_SHAPE:
        return True
    bar = (height - width / shape) / 2
    if bar < 0:
        bright, bar = bright.T, (width - height * shape) / 2
    rows = max(int(bar) - 1, 1)  # the last may be blurred by JPEG
    return not bright[:rows].any() and not bright[-rows:].any()
