"""Reads the tags of EXIF, which is a small TIFF file, and of TIFF files.

Every offset and count is checked before it is followed, so that no damage can make this raise or read much: a tag that
does not fit is left out.

Reference: TIFF 6.0, Adobe, 1992. EXIF: CIPA DC-008.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import IO

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_TEXT = (2, 129)  # ASCII, and UTF-8 since EXIF 3.0
_NUMBERS = {3: "H", 4: "I", 13: "I"}
_PHOTO, _GPS = 0x8769, 0x8825
_THUMBNAIL, _THUMBNAIL_SIZE = 0x0201, 0x0202
# Description, make, model, orientation, software, time, artist, XMP, copyright, exposure, GPS, credentials; time, user
# comment, lens; latitude, longitude; thumbnail.
_WANTED = frozenset(
    [0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x0132, 0x013B, 0x02BC, 0x8298, _PHOTO, _GPS, 0xCD41]
    + [0x9003, 0x9286, 0xA434, 0x0002, 0x0004, _THUMBNAIL, _THUMBNAIL_SIZE]
)

Value = str | int | bytes


@dataclass(frozen=True)
class Tags:
    """Tags that provenance is told from, by number: text as str, a single whole number as int, all else as bytes.

    Attributes:
        main: of the picture (make, model, software ...).
        photo: of the exposure (time, lens, user comment ...).
        gps: of the place.
        thumbnail: the small JPEG that a camera puts beside the picture; empty without one.
    """

    main: dict[int, Value] = field(default_factory=dict)
    photo: dict[int, Value] = field(default_factory=dict)
    gps: dict[int, Value] = field(default_factory=dict)
    thumbnail: bytes = b""

    def text(self, tag: int) -> str:
        """The text of a tag of ``main`` or ``photo``; "" where there is none."""
        value = self.main.get(tag, self.photo.get(tag))
        return value if isinstance(value, str) else ""


def read_tags(stream: IO[bytes], limit: int) -> Tags:
    """The tags of a TIFF structure that begins at the stream's first byte.

    Args:
        limit: of values with more bytes only the tag is kept, with b"".
    """
    head = _at(stream, 0, 8)
    order = _ORDERS.get(head[:4])
    if order is None or len(head) < 8:
        return Tags()
    main, behind = _directory(stream, order, struct.unpack(order + "I", head[4:])[0], limit)
    photo, _ = _directory(stream, order, main.get(_PHOTO), limit)
    gps, _ = _directory(stream, order, main.get(_GPS), limit)
    second, _ = _directory(stream, order, behind, limit)
    begin, size = second.get(_THUMBNAIL), second.get(_THUMBNAIL_SIZE)
    if not isinstance(begin, int) or not isinstance(size, int) or size > limit:
        return Tags(main, photo, gps)
    return Tags(main, photo, gps, _at(stream, begin, size))


def _directory(stream: IO[bytes], order: str, offset: Value | None, limit: int) -> tuple[dict[int, Value], int]:
    """The tags of one directory, and the offset of the next, 0 for none."""
    tags: dict[int, Value] = {}
    if not isinstance(offset, int) or offset < 8:
        return tags, 0
    count = int.from_bytes(_at(stream, offset, 2), "little" if order == "<" else "big")
    entries = _at(stream, offset + 2, 12 * count + 4)
    for begin in range(0, min(12 * count, len(entries) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", entries, begin)
        size = _SIZES.get(kind, 0) * number
        if not size or tag not in _WANTED or tag in tags:
            continue
        if size > limit:
            tags[tag] = b""
            continue
        where = begin + 8
        data = entries[where : where + size] if size <= 4 else _at(stream, _offset(order, entries, where), size)
        if len(data) == size:
            tags[tag] = _value(order, kind, number, data)
    return tags, _offset(order, entries, 12 * count) if len(entries) == 12 * count + 4 else 0


def _offset(order: str, entries: bytes, begin: int) -> int:
    return struct.unpack_from(order + "I", entries, begin)[0]


def _value(order: str, kind: int, number: int, data: bytes) -> Value:
    if kind in _TEXT:
        return decoded(data.split(b"\0")[0])
    if kind in _NUMBERS and number == 1:
        return struct.unpack(order + _NUMBERS[kind], data)[0]
    return data


def decoded(data: bytes) -> str:
    """Text of unknown encoding: UTF-8 where it is that, else Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def clean(value: str, limit: int = 200) -> str:
    """Text from a file in a form that is safe to print: one line, no control characters, at most ``limit`` long."""
    printable = "".join(letter if letter.isprintable() else " " for letter in value[: 10 * limit])
    text = " ".join(printable.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _at(stream: IO[bytes], offset: int, size: int) -> bytes:
    stream.seek(offset, io.SEEK_SET)
    return stream.read(size)
