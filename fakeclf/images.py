"""The only place where pixels enter or leave.

Everything is 8-bit RGB, height by width by 3, upright. What a file holds is turned into that as follows:

- EXIF (and XMP) orientation is applied; of an animation the first frame is taken.
- Grey, palette, CMYK, YCbCr pictures are converted to RGB; no colour profile is applied.
- 16-bit channels keep their high byte, so 8-bit values widened to 16 bits come back as they were.
- Transparency is laid on white, which is what a viewer shows; an opaque alpha channel changes nothing.
- 32-bit and floating-point channels have no agreed range and are refused.
- A file whose pixels are cut short is refused, not filled up: invented pixels would be evidence of nothing.

The size is read from the header and held against a limit before a single pixel is decoded.
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from fakeclf.atomic import replace_file
from fakeclf.errors import FakeclfError

LIMIT = 200_000_000
"""Pictures of more pixels than this are refused unless the caller says otherwise."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""Names that :func:`find` takes for pictures (in any case)."""

SUBSAMPLING = ("4:4:4", "4:2:2", "4:2:0")
"""Chroma subsampling of JPEG, in Pillow's order: 0, 1, 2."""

STRIP = 1024  # rows

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Beginning of the file -> who reads it. Pillow's own Image.open would try many more formats, and holds large
# pictures against a limit of its own, global to the process.
_READERS: tuple[tuple[bytes, Any], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
)


class UnreadablePicture(FakeclfError):
    """A file that is no picture, is damaged or is too large; one line that begins with its name."""


def read(source: str | Path | bytes, limit: int = LIMIT) -> np.ndarray:
    """Decode a picture to uint8 RGB of shape (height, width, 3), values 0-255, upright.

    Args:
        source: a path, or the bytes of a file.
        limit: the most pixels (width times height) that are decoded.

    Raises:
        UnreadablePicture: no such file, not a picture, cut short or damaged, or more than ``limit`` pixels.
    """
    with opened(source, limit) as picture:
        picture.load()
        turn = _UPRIGHT.get(orientation(picture))
        rgb = picture if picture.mode == "RGB" and "transparency" not in picture.info else _to_rgb(picture)
        return _as_array(rgb if turn is None else rgb.transpose(turn))


def encode_jpeg(pixels: np.ndarray, quality: int = 95, subsampling: str = "4:2:0") -> bytes:
    """JPEG bytes of uint8 RGB (h, w, 3) or grey (h, w).

    Args:
        quality: 1 to 100, libjpeg's scale.
        subsampling: one of :data:`SUBSAMPLING`; the default is what cameras and libraries mostly write.

    Raises:
        FakeclfError: quality or subsampling out of range, or a side above 65,500 pixels.
        ValueError: ``pixels`` is no such array.
    """
    picture = _as_picture(pixels)
    if subsampling not in SUBSAMPLING:
        raise FakeclfError(f"subsampling must be one of {', '.join(SUBSAMPLING)}; received {subsampling!r}")
    _fits("JPEG", picture, 65_500)  # libjpeg's JPEG_MAX_DIMENSION
    # Only colour has chroma to subsample; Pillow ignores the argument for grey.
    return _encoded(picture, "JPEG", quality=_quality(quality), subsampling=SUBSAMPLING.index(subsampling))


def encode_png(pixels: np.ndarray, effort: int = 6) -> bytes:
    """PNG bytes of uint8 RGB (h, w, 3) or grey (h, w); :func:`read` gives back the very same values.

    Args:
        effort: 0 to 9, zlib's, that goes into a small file.
    """
    return _encoded(_as_picture(pixels), "PNG", compress_level=effort)


def encode_webp(pixels: np.ndarray, quality: int = 80, lossless: bool = False) -> bytes:
    """WebP bytes of uint8 RGB (h, w, 3) or grey (h, w), at most 16,383 pixels a side.

    Args:
        quality: 1 to 100; without loss, the effort that goes into a small file.
        lossless: :func:`read` gives back the very same values.

    Raises:
        FakeclfError: quality outside 1 to 100, or a picture too large for the format.
    """
    picture = _as_picture(pixels)
    _fits("WebP", picture, 16_383)
    return _encoded(picture, "WEBP", quality=_quality(quality), lossless=lossless)


def save(path: str | Path, pixels: np.ndarray, **options: Any) -> None:
    """Write a picture; the suffix decides: ``.png`` (lossless), ``.jpg`` / ``.jpeg``, ``.webp``.

    The file appears whole or not at all. ``options`` go to :func:`encode_png`, :func:`encode_jpeg` or
    :func:`encode_webp`.

    Raises:
        FakeclfError: another suffix, or the folder cannot be written to.
    """
    path = Path(path)
    encoders: dict[str, Callable[..., bytes]] = {
        ".png": encode_png,
        ".jpg": encode_jpeg,
        ".jpeg": encode_jpeg,
        ".webp": encode_webp,
    }
    encode = encoders.get(path.suffix.lower())
    if encode is None:
        raise FakeclfError(f"cannot save a picture as {path.name!r}; allowed suffixes: {', '.join(encoders)}")
    data = encode(pixels, **options)
    with replace_file(path) as beside:
        beside.write_bytes(data)


def find(folder: str | Path) -> list[Path]:
    """All picture files below ``folder``, sorted, judged by suffix (:data:`SUFFIXES`).

    Names that begin with a dot are left out; linked files are taken, linked folders below are not entered.

    Raises:
        FakeclfError: ``folder`` is no folder that can be read.
    """
    found: list[str] = []
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
                        found.append(entry.path)
        except OSError as error:
            raise FakeclfError(f"cannot read the folder {error.filename}: {error.strerror}") from error
    return [Path(path) for path in sorted(found)]


@contextmanager
def opened(source: str | Path | bytes, limit: int | None = None) -> Iterator[ImageFile.ImageFile]:
    """Yield the Pillow picture with its header read and no pixel decoded (that happens at its ``load``).

    For those who look at the file rather than at the picture; for pixels there is :func:`read`.

    Raises:
        UnreadablePicture: whatever goes wrong in here, with the name of the file.
    """
    name = f"picture of {len(source):,} bytes" if isinstance(source, bytes) else os.fspath(source)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream, _SILENCE:
            picture = _reader(stream)(stream, name)
            if limit is not None and picture.width * picture.height > limit:
                raise UnreadablePicture(
                    f"{picture.width:,} x {picture.height:,} pixels are more than the limit of {limit:,}"
                )
            yield picture
    except UnreadablePicture as error:
        raise UnreadablePicture(_one_line(f"{name}: {error}")) from None
    except FileNotFoundError:
        raise UnreadablePicture(_one_line(f"{name}: there is no such file")) from None
    except IsADirectoryError:
        raise UnreadablePicture(_one_line(f"{name}: is a folder, not a picture")) from None
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(_one_line(f"{name}: too large to decode")) from error
    except MemoryError as error:
        raise UnreadablePicture(_one_line(f"{name}: not enough memory to decode it")) from error
    except Exception as error:
        # Decoders fed damaged bytes raise nearly anything: struct.error, KeyError, SyntaxError ...
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadablePicture(_one_line(f"{name}: cannot be decoded ({reason})")) from error


def _reader(stream: IO[bytes]) -> Any:
    head = stream.read(16)
    stream.seek(0)
    for beginning, reader in _READERS:
        if head.startswith(beginning) and (beginning != b"RIFF" or head[8:12] == b"WEBP"):
            return reader
    if not head:
        raise UnreadablePicture("the file is empty")
    raise UnreadablePicture("not a picture; known formats are JPEG, PNG, WebP, BMP, TIFF and GIF")


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).replace("\r", " ")


def _to_rgb(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode == "F":
        raise UnreadablePicture("floating-point values have no agreed range; save it with 8 or 16 bits a channel")
    if mode.startswith("I;16") or mode == "I" and picture.format == "PNG":  # the latter before Pillow 11.3
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if mode in ("I", "F"):
        raise UnreadablePicture("32-bit values have no agreed range; save it with 8 or 16 bits a channel")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return picture.convert("RGB")


def orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 where there is none or a wrong one."""
    value = exif(picture).get(_ORIENTATION, 1)
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def exif(picture: Image.Image) -> Any:
    """The EXIF tags; empty where there are none, or none that can be read: the pixels are still good."""
    carriers = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
    # Asked without need, Pillow would decode a PNG in search of EXIF behind its pixels.
    if not (picture.format == "TIFF" or any(key in picture.info for key in carriers)):
        return {}
    try:
        return picture.getexif()
    except (SyntaxError, ValueError, TypeError, LookupError, OverflowError, OSError, struct.error):
        return {}


def _as_array(picture: Image.Image) -> np.ndarray:
    """Of RGB, in strips: at once, Pillow would hold all pixels a third time."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, STRIP):
        bottom = min(top + STRIP, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _as_picture(pixels: np.ndarray) -> Image.Image:
    pixels = np.asarray(pixels)
    of_colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if pixels.dtype != np.uint8 or not (of_colour or pixels.ndim == 2) or not pixels.size:
        received = f"{pixels.dtype} of shape {pixels.shape}"
        raise ValueError(f"pixels must be uint8 of shape (h, w, 3) or (h, w). Received: {received}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _quality(quality: int) -> int:
    if not 1 <= quality <= 100:
        raise FakeclfError(f"quality must be 1 to 100; received {quality}")
    return int(quality)


def _fits(kind: str, picture: Image.Image, side: int) -> None:
    if max(picture.size) > side:
        raise FakeclfError(
            f"{kind} holds at most {side:,} pixels a side; received {picture.width:,} x {picture.height:,}; save as PNG"
        )


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


class _Silence:
    """Keeps Pillow's warnings off the terminal while a picture is open.

    ``warnings.catch_warnings`` swaps the filters of the whole process, which goes wrong in threads, and
    pictures are read in many; it also lets warnings of others that were shown once show again. So one narrow
    filter is put in place by the first reader and taken out by the last.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            self._ours: Any = warnings.filters[0]
        self._lock = threading.Lock()
        self._readers = 0
        self._filters: Any = []

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._filters = warnings.filters
                self._filters.insert(0, self._ours)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0 and self._ours in self._filters:
                self._filters.remove(self._ours)


_SILENCE = _Silence()
