"""Pixels come in upright, 8-bit RGB and unharmed, or not at all."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fakeclf import images
from fakeclf.errors import FakeclfError

RGB = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def noise(height: int = 24, width: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 255 // height, x * 255 // width, (x + y) * 255 // (height + width)], -1).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@settings(max_examples=50, deadline=None)
@given(RGB)
def test_png_comes_back_identical(pixels):
    back = images.read(images.encode_png(pixels))
    assert back.dtype == np.uint8 and back.flags.writeable and back.flags.c_contiguous
    np.testing.assert_array_equal(back, pixels)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_grey_png_comes_back_on_all_three_channels(mask):
    np.testing.assert_array_equal(images.read(images.encode_png(mask)), np.repeat(mask[..., None], 3, -1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_by_path(tmp_path, kind):
    path = tmp_path / f"picture.{kind.lower()}"
    path.write_bytes(encoded(Image.fromarray(noise()), kind))
    np.testing.assert_array_equal(images.read(path), noise())
    np.testing.assert_array_equal(images.read(str(path)), noise())


# What has to be done to a stored picture to see it upright, as EXIF defines the eight values.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encoded(Image.fromarray(smooth()), kind, exif=exif, **options)
    difference = images.read(data).astype(int) - UPRIGHT[orientation](smooth())
    assert np.abs(difference).max() <= (4 if kind == "JPEG" else 0)


def test_wrong_or_broken_exif_leaves_the_picture_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 99
    np.testing.assert_array_equal(images.read(encoded(Image.fromarray(noise()), "PNG", exif=exif)), noise())
    broken = encoded(Image.fromarray(noise()), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(images.read(broken), noise())


def test_sixteen_bits_keep_the_high_byte():
    wide = np.arange(0, 65_536, 64, dtype=np.uint16).reshape(32, 32)
    for kind in ("PNG", "TIFF"):
        back = images.read(encoded(Image.fromarray(wide), kind))
        np.testing.assert_array_equal(back, np.repeat((wide >> 8).astype(np.uint8)[..., None], 3, -1))


def test_cmyk_jpeg_is_converted():
    back = images.read(encoded(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(back.astype(int) - smooth()).mean() < 3


def test_palette_and_bilevel():
    palette = Image.fromarray(smooth()).quantize(16)
    np.testing.assert_array_equal(images.read(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(noise()).convert("1")
    np.testing.assert_array_equal(images.read(encoded(bits, "PNG")), np.asarray(bits.convert("RGB")))


@settings(max_examples=25, deadline=None)
@given(RGB)
def test_opaque_alpha_changes_nothing(pixels):
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(images.read(encoded(Image.fromarray(opaque), "PNG")), pixels)


def test_transparency_lies_on_white():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    pixels[0, 1] = (0, 0, 0, 128)
    back = images.read(encoded(Image.fromarray(pixels), "PNG"))
    assert back[0, 0].tolist() == [10, 20, 30]
    assert back[0, 1].tolist() == [127, 127, 127]
    assert back[1].tolist() == [[255, 255, 255]] * 2


@pytest.mark.parametrize("mode, key", [("RGB", (9, 9, 9)), ("L", 9), ("P", 0), ("P", bytes([0] * 8))])
def test_transparent_colour_lies_on_white(mode, key):
    picture = Image.new("RGB", (3, 3), (9, 9, 9))
    picture = picture.quantize(2) if mode == "P" else picture.convert(mode)
    assert (images.read(encoded(picture, "PNG", transparency=key)) == 255).all()


@pytest.mark.parametrize("kind, options", [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_first_frame_of_an_animation(kind, options):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (images.read(data) == (255, 0, 0)).all()


def test_one_pixel():
    assert images.read(images.encode_jpeg(np.full((1, 1, 3), 128, np.uint8))).shape == (1, 1, 3)


def cut(kind: str, share: float, **options) -> bytes:
    data = encoded(Image.fromarray(noise(64, 64)), kind, **options)
    return data[: int(len(data) * share)]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"this is a text\nof two lines", "not a picture"),
        (b"RIFF1234WAVEfmt ", "not a picture"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (cut("JPEG", 0.7), "truncated"),
        (cut("JPEG", 0.5, progressive=True), "truncated"),
        (cut("PNG", 0.7), "truncated"),
        (cut("GIF", 0.7), "truncated"),
        (cut("TIFF", 0.7), "truncated"),
        (cut("BMP", 0.7), "truncated"),
        (cut("WEBP", 0.7), "cannot be decoded"),
        (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "no agreed range"),
        (encoded(Image.fromarray(np.ones((4, 4), np.int32)), "TIFF"), "no agreed range"),
        (png_that_claims(30_000, 30_000), "30,000 x 30,000 pixels are more than the limit of 200,000,000"),
        (png_that_claims(2_000_000_000, 2_000_000_000), "more than the limit"),
    ],
)
def test_bad_pictures_are_refused_in_one_line_that_names_the_file(tmp_path, content, reason):
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (path, content):
            with pytest.raises(images.UnreadablePicture, match=reason) as caught:
                images.read(source)
            assert "\n" not in str(caught.value)
        with pytest.raises(images.UnreadablePicture, match=r"bad\.jpg"):
            images.read(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_damaged_bytes_raise_nothing_else(kind):
    good = encoded(Image.fromarray(noise()), kind)
    for seed in range(100):
        random = np.random.default_rng(seed)
        bad = bytearray(good)
        for place in random.integers(0, len(bad), 6):
            bad[place] = random.integers(0, 256)
        try:
            assert images.read(bytes(bad), limit=1_000_000).shape[2] == 3
        except images.UnreadablePicture as error:
            assert "\n" not in str(error)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(images.UnreadablePicture, match="no such file"):
        images.read(tmp_path / "nothing.png")
    with pytest.raises(images.UnreadablePicture, match="is a folder"):
        images.read(tmp_path)


def test_limit_counts_pixels():
    data = images.encode_png(noise(10, 10))
    assert images.read(data, limit=100).shape == (10, 10, 3)
    with pytest.raises(images.UnreadablePicture, match="limit of 99"):
        images.read(data, limit=99)


def test_pillows_own_limit_does_not_matter(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.read(images.encode_png(noise())).shape == noise().shape


def test_threads_leave_the_warning_filters_as_they_were():
    bad = encoded(Image.fromarray(noise()), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with warnings.catch_warnings():
        before = list(warnings.filters)
        threads = [threading.Thread(target=lambda: [images.read(bad) for _ in range(50)]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(warnings.filters) == before


def test_jpeg_quality_and_subsampling_are_written():
    with Image.open(io.BytesIO(images.encode_jpeg(smooth(), 75, "4:4:4"))) as picture:
        assert picture.layer[0][1:3] == picture.layer[1][1:3]
        fine = picture.quantization[0][0]
    with Image.open(io.BytesIO(images.encode_jpeg(smooth(), 20))) as picture:
        assert picture.layer[0][1:3] == (2, 2)
        assert picture.quantization[0][0] > fine
    assert images.read(images.encode_jpeg(smooth()[..., 0])).shape == smooth().shape


def test_webp_is_close():
    assert np.abs(images.read(images.encode_webp(smooth(), 90)).astype(int) - smooth()).mean() < 4


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: images.encode_jpeg(noise(), quality=0), "1 to 100"),
        (lambda: images.encode_webp(noise(), quality=101), "1 to 100"),
        (lambda: images.encode_jpeg(noise(), subsampling="4:1:1"), "4:2:0"),
        (lambda: images.encode_jpeg(np.zeros((65_501, 1, 3), np.uint8)), "65,500"),
        (lambda: images.encode_webp(np.zeros((1, 16_384, 3), np.uint8)), "16,383"),
        (lambda: images.save("picture.tga", noise()), r"\.png"),
    ],
)
def test_what_cannot_be_written_is_said(make, words):
    with pytest.raises(FakeclfError, match=words):
        make()


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_only_byte_pictures_are_encoded(pixels):
    with pytest.raises(ValueError, match="Received"):
        images.encode_png(pixels)


def test_save_by_suffix(tmp_path):
    images.save(tmp_path / "new" / "a.PNG", noise())
    np.testing.assert_array_equal(images.read(tmp_path / "new" / "a.PNG"), noise())
    images.save(tmp_path / "a.jpeg", noise(), quality=50)
    assert (tmp_path / "a.jpeg").read_bytes() == images.encode_jpeg(noise(), 50)
    images.save(tmp_path / "a.webp", noise())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpeg", "a.webp", "new"]


def test_find_sorts_and_skips(tmp_path):
    for name in ("b.jpg", "a.PNG", "sub/c.tiff", ".hidden.jpg", ".cache/d.jpg", "notes.txt", "sub/e.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert images.find(tmp_path) == [tmp_path / n for n in ("a.PNG", "b.jpg", "sub/c.tiff", "sub/e.webp")]
    with pytest.raises(FakeclfError, match="No such file"):
        images.find(tmp_path / "nothing")
