"""What is read from headers is what was written into them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakeclf import images
from fakeclf.data.codec import header, jpeg_quality, lossy_otherwise


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))


def encoded(kind: str, mode: str = "RGB", **options) -> bytes:
    out = io.BytesIO()
    picture().convert(mode).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 99, 100])
def test_quality_of_libjpeg_tables_is_exact(quality):
    assert jpeg_quality(header(encoded("JPEG", quality=quality)).tables[0]) == (quality, True)


def test_quality_of_other_tables_is_an_estimate():
    table = list(header(encoded("JPEG", quality=80)).tables[0])
    table[5] += 1
    assert jpeg_quality(tuple(table)) == (80, False)
    assert jpeg_quality((0,) * 64) == (100, True)  # a damaged file


@pytest.mark.parametrize("number, name", [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling(number, name):
    assert header(encoded("JPEG", subsampling=number)).subsampling == name
    assert header(encoded("JPEG", "L")).subsampling == ""


def test_jpeg_metadata():
    exif = Image.Exif()
    exif[0x0112], exif[0x0131] = 6, "Paint\0 2"
    found = header(encoded("JPEG", exif=exif, icc_profile=b"x" * 200, comment=b"hello", progressive=True))
    assert (found.format, found.width, found.height, found.mode) == ("JPEG", 40, 24, "RGB")
    assert found.metadata == ("EXIF", "ICC", "JFIF", "comment")
    assert (found.orientation, found.software, found.progressive) == (6, "Paint 2", True)


def test_png_text():
    text = PngInfo()
    text.add_text("parameters", "a cat, steps 20")
    text.add_text("Software", "Maker")
    found = header(encoded("PNG", pnginfo=text))
    assert found.metadata == ("text:Software", "text:parameters")
    assert (found.software, found.tables, found.subsampling) == ("Maker", (), "")


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def test_other_losses_than_jpegs_are_named():
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (20, 31, 3), np.uint8))
    clear = Image.fromarray(random.integers(0, 256, (20, 31, 4), np.uint8))
    frames = {"save_all": True, "append_images": [colour.rotate(90)]}
    for picture in (colour, clear):  # transparency and metadata make a file of several chunks
        for options in ({}, {"exif": Image.Exif().tobytes() + b"\0", "icc_profile": b"abc"}):
            assert lossy_otherwise(saved(picture, "WEBP", quality=90, **options)) == "WebP's lossy compression"
            assert lossy_otherwise(saved(picture, "WEBP", lossless=True, **options)) == ""
    assert lossy_otherwise(saved(colour, "WEBP", quality=80, **frames)) == "WebP's lossy compression"
    assert lossy_otherwise(saved(colour, "WEBP", lossless=True, **frames)) == ""
    for kind in ("GIF", "PNG"):
        assert "palette" in lossy_otherwise(saved(colour.quantize(256), kind))
    assert [lossy_otherwise(saved(colour, kind)) for kind in ("PNG", "JPEG", "TIFF", "BMP")] == [""] * 4


def test_no_pixel_is_needed():
    data = encoded("PNG")
    assert header(data[: len(data) // 2]).width == 40
    with pytest.raises(images.UnreadablePicture):
        header(b"text")
