"""What a picture file says of itself: format, JPEG tables, metadata. No pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin

from fakeclf import images

_SOFTWARE = 0x0131
_METADATA = {
    "exif": "EXIF",
    "icc_profile": "ICC",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "comment": "comment",
    "jfif": "JFIF",
    "adobe": "Adobe",
    "photoshop": "Photoshop",
}
# Luminance table of ITU-T T.81, Annex K.1, row by row: what libjpeg scales by its quality.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


@dataclass(frozen=True)
class Header:
    """What stands in a picture file besides its pixels.

    Attributes:
        format: ``JPEG``, ``MPO`` (a JPEG with further pictures behind it), ``PNG``, ``WEBP``, ``GIF``,
            ``TIFF`` or ``BMP``.
        width, height: in pixels as stored, before ``orientation`` is applied.
        mode: Pillow's name of the colour mode (``RGB``, ``L``, ``P``, ``CMYK``, ``RGBA``, ``I;16`` ...).
        orientation: EXIF orientation, 1 to 8.
        tables: JPEG quantisation tables, 64 values each, row by row; empty for other formats.
        subsampling: ``4:4:4``, ``4:2:2``, ``4:2:0`` or ``other`` for a JPEG in colour, else ``""``.
        progressive: whether a JPEG is progressive.
        metadata: sorted names of what else is there: ``EXIF``, ``ICC``, ``XMP``, ``comment``, ``JFIF``,
            ``Adobe``, ``Photoshop``, and for PNG ``text:KEY``.
        software: the program named in EXIF or PNG text, or ``""``.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int
    tables: tuple[tuple[int, ...], ...]
    subsampling: str
    progressive: bool
    metadata: tuple[str, ...]
    software: str


def header(source: str | Path | bytes) -> Header:
    """Read the header of a picture of any size.

    Raises:
        images.UnreadablePicture: no such file, not a picture, or a damaged header; damage among the
            pixels goes unseen.
    """
    with images.opened(source) as picture:
        info = picture.info
        jpeg = picture if isinstance(picture, JpegImagePlugin.JpegImageFile) else None
        software = str(images.exif(picture).get(_SOFTWARE) or info.get("Software") or "")
        return Header(
            format=picture.format or "",
            width=picture.width,
            height=picture.height,
            mode=picture.mode,
            orientation=images.orientation(picture),
            tables=tuple(tuple(t) for _, t in sorted(jpeg.quantization.items())) if jpeg else (),
            subsampling=_subsampling(jpeg) if jpeg else "",
            progressive=bool(info.get("progressive")),
            metadata=_metadata(picture),
            software=" ".join(software.replace("\0", " ").split()),
        )


def lossy_otherwise(content: bytes) -> str:
    """What besides JPEG has changed the pixels of a picture file, in words; "" if nothing has.

    JPEG is told from the pixels themselves, by ``fakeclf.traces``.

    Raises:
        images.UnreadablePicture: not a picture, or a damaged header.
    """
    with images.opened(content) as picture:
        if picture.mode == "P":
            return "a palette of at most 256 colours"
        return "WebP's lossy compression" if picture.format == "WEBP" and _holds_vp8(content) else ""


def _holds_vp8(content: bytes) -> bool:
    """Whether the first picture of a WebP file is VP8, not VP8L, which is lossless (RFC 9649)."""
    place = 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8 "
        place += 24 if name == b"ANMF" else 8 + size + size % 2  # a frame of an animation holds chunks of its own
    return False


@lru_cache(maxsize=4096)
def jpeg_quality(luminance: tuple[int, ...]) -> tuple[int, bool]:
    """The libjpeg quality, 1 to 100, whose luminance table is nearest, and whether it is that very table.

    Cameras and Photoshop bring tables of their own; for those the number is an estimate (least mean absolute
    difference of the logarithms).
    """
    table = np.maximum(luminance, 1)  # a damaged file may hold zeros
    distances = [np.abs(np.log(libjpeg_luminance(quality) / table)).mean() for quality in range(1, 101)]
    best = int(np.argmin(distances))
    return best + 1, not distances[best]


def libjpeg_luminance(quality: int) -> np.ndarray:
    """libjpeg's luminance table at a quality, 1 to 100: 64 steps, row by row."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_LUMINANCE.ravel() * scale + 50) // 100, 1, 255)


def _subsampling(picture: JpegImagePlugin.JpegImageFile) -> str:
    if picture.layers < 3:
        return ""
    known = JpegImagePlugin.get_sampling(picture)
    return images.SUBSAMPLING[known] if 0 <= known < len(images.SUBSAMPLING) else "other"


def _metadata(picture: Image.Image) -> tuple[str, ...]:
    info = picture.info
    found = {name for key, name in _METADATA.items() if info.get(key)}
    if picture.format == "PNG":  # its text chunks stand among the rest, told apart by their type
        found |= {f"text:{key}" for key, value in info.items() if isinstance(value, str) and key not in _METADATA}
    return tuple(sorted(found))
