"""Finds the blocks of metadata in a picture file and takes them out, without decoding a pixel.

The container is walked from block to block by the lengths that it states; whatever is not metadata is stepped over.
A block is read or inflated up to :data:`LIMIT` bytes, all of them together up to :data:`TOTAL`; what is larger is left
out and named in ``Blocks.unread``. Nothing here raises on damaged bytes: the walk ends where it loses its way.

Reference: JPEG: ITU-T T.81, Annex B. PNG: W3C PNG, Third Edition. WebP: RFC 9649. GIF89a: CompuServe, 1990. XMP
packets in files: ISO 16684-3. C2PA manifests in files: C2PA Technical Specification, Annex A.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fakeclf.exif import Tags, decoded, read_tags

LIMIT = 4 << 20
"""The most bytes of one block, inflated."""

TOTAL = 16 << 20
"""The most bytes of all blocks of a file, inflated."""

_STEPS = 200_000  # a file of more blocks is walked no further
_TEXTS = 1000  # as for the text chunks of a PNG file
_REASONS = 10
_BARE = 1 << 16  # and for what describes the pixels of a JPEG file
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_TEXT = "XML:com.adobe.xmp"
_GIF_XMP = b"XMP DataXMP"
_GIF_CREDENTIALS = b"C2PA_GIF\x01\x00\x00"
_TIFF_XMP, _TIFF_CREDENTIALS = 0x02BC, 0xCD41
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG: begin of a frame, which holds the size
_QUANTISATION, _SCAN, _END = 0xDB, 0xDA, 0xD9
_ALONE = frozenset([0x01, *range(0xD0, 0xD8)])  # JPEG: markers without a length


@dataclass
class Blocks:
    """The metadata of a file, block by block.

    Attributes:
        exif: the tags of the EXIF block, or of a TIFF file itself.
        xmp: the XMP packet.
        text: keyword and text of every PNG text chunk.
        credentials: whether there is a block of C2PA content credentials.
        bare: a JPEG or PNG file reduced to what describes its pixels; empty for other formats.
        unread: what was left out and why, in words.
    """

    exif: Tags = field(default_factory=Tags)
    xmp: bytes = b""
    text: list[tuple[str, str]] = field(default_factory=list)
    credentials: bool = False
    bare: bytes = b""
    unread: list[str] = field(default_factory=list)

    def of(self, keyword: str) -> str:
        """The first PNG text under ``keyword``, or ""."""
        return next((text for key, text in self.text if key == keyword), "")


def read_blocks(source: str | Path | bytes) -> Blocks:
    """Take the metadata out of a file; empty where it cannot be opened or its format is not known."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            walk = _Walk(stream)
            walk.run()
            return walk.found
    except OSError:
        return Blocks()  # whoever reads the picture itself says why


class _Walk:
    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.found = Blocks()
        self.left = TOTAL
        self.steps = 0

    def run(self) -> None:
        head = self.stream.read(12)
        if head.startswith(b"\xff\xd8\xff"):
            self._jpeg()
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            self._png()
        elif head.startswith(b"RIFF") and head.endswith(b"WEBP"):
            self._webp()
        elif head.startswith(b"GIF8"):
            self._gif()
        elif head.startswith((b"II*\0", b"MM\0*")):
            self._tiff()

    def _step(self) -> bool:
        self.steps += 1
        return self.steps <= _STEPS

    def _take(self, size: int, what: str) -> bytes:
        """The next ``size`` bytes, or none of them where they are too many."""
        if size > min(LIMIT, self.left):
            self._too_large(what, f"{size:,} bytes")
            return b""
        self.left -= size
        return self.stream.read(size)

    def _too_large(self, what: str, size: str) -> None:
        self._left_out(f"{what}: too large, not read ({size})")

    def _left_out(self, what: str) -> None:
        if len(self.found.unread) < _REASONS:
            self.found.unread.append(what)

    def _inflated(self, data: bytes, what: str) -> bytes:
        most = min(LIMIT, self.left)
        inflater = zlib.decompressobj()
        try:
            text = inflater.decompress(data, most + 1)
        except zlib.error:
            self._left_out(f"{what}: damaged, not read")
            return b""
        if len(text) > most:
            self._too_large(what, f"more than {most:,} bytes when inflated")
            return b""
        self.left -= len(text)
        return text

    def _exif(self, size: int) -> None:
        if not self.found.exif.main:
            self._exif_from(self._take(size, "EXIF"))

    def _exif_from(self, data: bytes) -> None:
        self._tags(io.BytesIO(data.removeprefix(b"Exif\0\0")))
        if data and not self.found.exif.main:
            self._left_out("EXIF: empty or damaged")

    def _tags(self, stream: IO[bytes]) -> None:
        tags = self.found.exif = read_tags(stream, LIMIT)
        for tag, value in (tags.main | tags.photo).items():
            if value == b"" and tag != _TIFF_CREDENTIALS:
                self._too_large(f"tag {tag:#06x}", f"more than {LIMIT:,} bytes")

    def _xmp(self, size: int) -> None:
        if not self.found.xmp:
            self.found.xmp = self._take(size, "XMP").removeprefix(_XMP)

    def _jpeg(self) -> None:
        self.stream.seek(2)
        bare = b"\xff\xd8"
        framed = False
        for marker, size in self._segments():
            begin = self.stream.tell()
            head = self.stream.read(min(size, 40))
            self.stream.seek(begin)
            if marker == 0xE1 and head.startswith(b"Exif\0\0"):
                self._exif(size)
            elif marker == 0xE1 and head.startswith(_XMP):
                self._xmp(size)
            elif marker == 0xEB and head.startswith(b"JP") and head[12:16] == b"jumb":
                # Superbox of ISO 19566-5: its description box begins with the type, 'c2pa' and a fixed rest.
                self.found.credentials |= head[20:28] == b"jumdc2pa"
            elif marker in (_QUANTISATION, _SCAN) or marker in _FRAMES and not framed:
                framed |= marker in _FRAMES
                if len(bare) < _BARE:
                    bare += struct.pack(">BBH", 0xFF, marker, size + 2) + self.stream.read(size)
            if marker == _SCAN:
                break
            self.stream.seek(begin + size)
        self.found.bare = bare + b"\xff\xd9"

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Marker and size of each JPEG segment, the stream at its first byte."""
        while self._step() and self.stream.read(1) == b"\xff":
            marker = 0xFF
            while marker == 0xFF and self._step():  # any number of fill bytes
                marker = int.from_bytes(self.stream.read(1))
            if marker in _ALONE:
                continue
            size = int.from_bytes(self.stream.read(2)) - 2
            if marker in (0, _END) or size < 0:
                return
            yield marker, size

    def _png(self) -> None:
        self.stream.seek(8)
        header = b""
        while self._step():
            head = self.stream.read(8)
            if len(head) < 8 or head.endswith(b"IEND"):
                break
            size, kind = struct.unpack(">I4s", head)
            begin = self.stream.tell()
            if kind in (b"tEXt", b"zTXt", b"iTXt"):
                self._png_text(kind, size)
            elif kind == b"eXIf":
                self._exif(size)
            elif kind == b"IHDR" and not header:
                header = self._take(size, "the header")
            elif kind == b"caBX":
                self.found.credentials = True
            self.stream.seek(begin + size + 4)  # a checksum follows
        if header:
            self.found.bare = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"")

    def _png_text(self, kind: bytes, size: int) -> None:
        begin = self.stream.tell()
        name = decoded(self.stream.read(min(size, 80)).split(b"\0")[0])
        self.stream.seek(begin)
        what = f"text {name!r}"
        _, _, data = self._take(size, what).partition(b"\0")
        if kind == b"zTXt":
            data = self._inflated(data[1:], what)
        elif kind == b"iTXt":
            # Compressed or not, method; then language and translated keyword, each ended by a zero.
            _, _, rest = (data[2:].split(b"\0", 2) + [b"", b""])[:3]
            data = self._inflated(rest, what) if data[:1] == b"\1" else rest
        text = decoded(data)
        if name == _XMP_TEXT:
            self.found.xmp = self.found.xmp or text.encode("utf-8")
        elif name.startswith("Raw profile type "):
            self._raw_profile(name.removeprefix("Raw profile type "), text)
        elif text and len(self.found.text) < _TEXTS:
            self.found.text.append((name, text))

    def _raw_profile(self, name: str, text: str) -> None:
        """A block as ImageMagick keeps it in PNG: name, length, then hexadecimal digits."""
        data = b""
        with suppress(ValueError, IndexError):  # too few parts, or no such digits
            data = bytes.fromhex(text.split(None, 2)[2])
        if name in ("exif", "APP1") and data.startswith(b"Exif\0\0"):
            self._exif_from(data)
        elif name in ("xmp", "APP1") and not self.found.xmp:
            self.found.xmp = data.removeprefix(_XMP)

    def _webp(self) -> None:
        while self._step():
            head = self.stream.read(8)
            if len(head) < 8:
                return
            kind, size = struct.unpack("<4sI", head)
            begin = self.stream.tell()
            if kind == b"EXIF":
                self._exif(size)
            elif kind == b"XMP ":
                self._xmp(size)
            elif kind == b"C2PA":
                self.found.credentials = True
            self.stream.seek(begin + size + size % 2)

    def _gif(self) -> None:
        self.stream.seek(10)
        self._colours()
        self.stream.seek(2, io.SEEK_CUR)
        while self._step():
            introducer = self.stream.read(1)
            if introducer == b"!":
                if self.stream.read(1) == b"\xff":
                    self._gif_application()
                    continue
            elif introducer == b",":
                self.stream.seek(8, io.SEEK_CUR)
                self._colours()
                self.stream.seek(1, io.SEEK_CUR)  # code size
            else:
                return
            for size in self._sub_blocks():
                self.stream.seek(size, io.SEEK_CUR)

    def _colours(self) -> None:
        """Step over the flags and the colour table that they announce."""
        flags = int.from_bytes(self.stream.read(1))
        begin = self.stream.tell()
        self.stream.seek(begin + (3 << (flags & 7) + 1 if flags & 0x80 else 0))

    def _sub_blocks(self) -> Iterator[int]:
        while self._step() and (size := int.from_bytes(self.stream.read(1))):
            yield size

    def _gif_application(self) -> None:
        name = self.stream.read(int.from_bytes(self.stream.read(1)))
        self.found.credentials |= name == _GIF_CREDENTIALS
        begin = self.stream.tell()
        for size in self._sub_blocks():
            self.stream.seek(size, io.SEEK_CUR)
        if name == _GIF_XMP:
            # The packet stands bare; 258 bytes behind it lead a reader of sub-blocks out.
            end = self.stream.tell()
            self.stream.seek(begin)
            self._xmp(max(end - begin - 258, 0))
            self.stream.seek(end)

    def _tiff(self) -> None:
        self._tags(self.stream)
        packet = self.found.exif.main.get(_TIFF_XMP)
        self.found.xmp = packet if isinstance(packet, bytes) else b""
        self.found.credentials = _TIFF_CREDENTIALS in self.found.exif.main


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
