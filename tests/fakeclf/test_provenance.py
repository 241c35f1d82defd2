"""A file is told as it is: what stands in it is said, what does not is not, and nothing in it can do harm."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakeclf import images, provenance

SETTINGS = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    b'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="GIMP 2.10" '
    b'photoshop:Credit="Made with Google AI" '
    b'e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def encoded(kind: str, width: int = 40, height: int = 24, **options) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "Canon EOS R5", 6
    exif[0x0131], exif[0x0132] = "Adobe Photoshop 25.0 (Windows)", "2024:06:01 10:00:00"
    exif[0x013B], exif[0x8298] = "A. Person", "(c) A. Person"
    exif.get_ifd(0x8769).update({0x9003: "2024:05:31 17:45:00", 0xA434: "RF 50mm"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.25), 3: "E", 4: (13.0, 24.0, 18.5)})
    return exif


def test_photograph():
    found = provenance.read(encoded("JPEG", exif=camera_exif(), quality=90, subsampling=0, progressive=True))
    assert (found.format, found.stored, found.orientation) == ("JPEG", (40, 24), 6)
    assert (found.quality, found.tables, found.subsampling, found.progressive) == (90, "libjpeg", "4:4:4", True)
    assert (found.make, found.model, found.lens) == ("Canon", "Canon EOS R5", "RF 50mm")
    assert (found.taken, found.changed) == ("2024-05-31 17:45:00", "2024-06-01 10:00:00")
    assert (found.gps, found.author, found.copyright) == (True, True, True)
    assert [(program.name, program.kind) for program in found.software] == [
        ("Adobe Photoshop 25.0 (Windows)", "editor")
    ]
    assert (found.marks, found.credentials, found.unread) == ((), None, ())
    assert found.sentences() == [
        "The file names Adobe Photoshop 25.0 (Windows) as the software that wrote it (an image editor).",
        "The file names the camera Canon EOS R5 with the lens RF 50mm.",
        "It says that the picture was taken on 2024-05-31 17:45:00.",
        "It says that it was last changed on 2024-06-01 10:00:00.",
        "It holds the position where the picture was taken, which is not shown here.",
        "It names an author and a copyright notice.",
        "The file is a JPEG of 40 x 24 pixels, turned by its EXIF orientation (6).",
        "It was saved with libjpeg's tables at quality 90 (4:4:4, progressive).",
    ]


def test_place_and_names_are_never_passed_on():
    told = json.dumps(provenance.read(encoded("JPEG", exif=camera_exif())).to_json())
    assert not any(secret in told for secret in ("52", "31.0", "12.25", "13.0", "24.0", "18.5", "A. Person"))


def test_json_is_plain_and_complete():
    values = provenance.read(encoded("JPEG", exif=camera_exif(), xmp=XMP)).to_json()
    assert json.loads(json.dumps(values)) == values
    assert values["stored"] == [40, 24]
    assert {"kind": "editor", "name": "GIMP 2.10", "where": "XMP CreatorTool"} in values["software"]
    assert len(values["marks"]) == 2 and values["credentials"] is None
    assert values["source"] == "trainedAlgorithmicMedia"
    assert values["sentences"][0] == (
        "According to its IPTC digital source type, the picture is made by a trained model."
    )


def test_file_that_says_nothing():
    assert provenance.read(encoded("PNG")).sentences() == [
        "The file names no camera and no program. That proves nothing: most web sites remove such data.",
        "The file is a PNG of 40 x 24 pixels.",
    ]


def test_maker_tables():
    tables = [[3] * 64, [5] * 64]
    found = provenance.read(encoded("JPEG", qtables=tables))
    assert found.tables == "own" and found.quality is not None and 85 < found.quality < 100
    assert (
        f"It was saved with a maker's own tables, near libjpeg's quality {found.quality} (4:2:0)." in found.sentences()
    )


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_other_formats(kind, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(encoded(kind))
    found = provenance.read(path)
    assert (found.format, found.stored, found.quality, found.tables) == (kind, (40, 24), None, "")


def test_generators_come_first_and_once():
    text = PngInfo()
    text.add_text("Software", "NovelAI")
    text.add_text("Source", "NovelAI Diffusion V4")
    text.add_text("parameters", SETTINGS)
    found = provenance.read(encoded("PNG", pnginfo=text))
    assert [mark.generator for mark in found.marks] == ["Stable Diffusion web UI", "NovelAI"]
    assert found.sentences()[:2] == [
        "Its PNG text 'parameters' holds what the generator Stable Diffusion web UI writes there: "
        '"a cat Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512".',
        "Its PNG text 'Software' holds what the generator NovelAI writes there: \"NovelAI Diffusion V4\".",
    ]


def test_generators_named_in_exif():
    exif = Image.Exif()
    exif[0x010F], exif[0x0131] = "Black Forest Labs", "AI generated;txt2img;flux"
    found = provenance.read(encoded("JPEG", exif=exif))
    assert [(mark.generator, mark.where) for mark in found.marks] == [
        ("AI generated;txt2img;flux", "EXIF Software"),
        ("Black Forest Labs", "EXIF Make"),
    ]
    assert not any("camera" in line for line in found.sentences())


def test_words_in_caption_comment_and_name_are_no_marks(tmp_path):
    xmp = XMP.replace(b"Made with Google AI", b"A. Person").replace(b"trainedAlgorithmicMedia", b"digitalCapture")
    caption = (
        b'<d:title xmlns:d="http://purl.org/dc/elements/1.1/">DigitalSourceType="trainedAlgorithmicMedia"</d:title>'
    )
    xmp = xmp.replace(b'digitalCapture"/>', b'digitalCapture">' + caption + b"</rdf:Description>")
    path = tmp_path / "Made with Google AI, Stable Diffusion parameters.jpg"
    path.write_bytes(encoded("JPEG", comment=b"Stable Diffusion parameters " + SETTINGS.encode(), xmp=xmp))
    found = provenance.read(path)
    assert (found.marks, found.source) == ((), "digitalCapture")
    assert "Its IPTC digital source type says: the picture is taken by a digital camera." in found.sentences()
    text = PngInfo()
    text.add_text("Title", "Stable Diffusion parameters " + SETTINGS)
    assert provenance.read(encoded("PNG", pnginfo=text)).marks == ()


def test_workflow_in_place_of_a_camera():
    exif = Image.Exif()
    exif[0x010F] = "workflow:" + json.dumps({"nodes": []})
    found = provenance.read(encoded("WEBP", exif=exif))
    assert (found.make, [mark.generator for mark in found.marks]) == ("", ["ComfyUI"])


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", ""])
def test_clock_that_was_never_set(text):
    exif = Image.Exif()
    exif[0x0132] = text
    assert provenance.read(encoded("JPEG", exif=exif)).changed == ""


def with_thumbnail(thumbnail: bytes, width: int, height: int) -> bytes:
    """A JPEG whose EXIF holds a first directory with a make and a second with a thumbnail."""
    second = 8 + 2 + 12 + 4
    begin = second + 2 + 24 + 4
    tiff = (
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHI4s", 0x010F, 2, 4, b"Cam\0") + struct.pack("<I", second)
    )
    tiff += struct.pack("<H", 2) + struct.pack("<HHII", 0x0201, 4, 1, begin)
    tiff += struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return encoded("JPEG", width, height, exif=b"Exif\0\0" + tiff + thumbnail)


def thumbnail(width: int, height: int, bars: int = 0) -> bytes:
    pixels = np.full((height, width, 3), 150, np.uint8)
    pixels[:bars], pixels[height - bars :] = 0, 0
    return images.encode_jpeg(pixels)


@pytest.mark.parametrize(
    "small, large, shape",
    [
        (thumbnail(160, 120), (80, 60), "same shape"),
        (thumbnail(160, 120), (60, 80), "same shape"),  # turned since
        (thumbnail(160, 120, bars=7), (90, 60), "same shape"),  # 3:2 between bars, as cameras do
        (thumbnail(160, 120), (90, 60), "other shape"),
        (thumbnail(160, 120), (60, 60), "other shape"),
        (thumbnail(160, 120, bars=7), (60, 60), "other shape"),
        (b"no picture", (80, 60), ""),
    ],
)
def test_thumbnail(small, large, shape):
    found = provenance.read(with_thumbnail(small, *large))
    assert (found.make, found.thumbnail) == ("Cam", shape)
    assert any("may have been cropped" in line for line in found.sentences()) == (shape == "other shape")


BOMB = zlib.compress(bytes(30 << 20))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_bombs_are_stepped_over(kind):
    data = kind + b"name\0\0" + BOMB
    bomb = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    good = encoded("PNG")
    found = provenance.read(good[:33] + bomb + good[33:])
    assert (found.format, found.stored) == ("PNG", (40, 24))
    assert [reason for reason in found.unread if "too large, not read" in reason] == list(found.unread)
    assert len(found.unread) == (kind == b"zTXt")
    assert ("Left out: text 'name': too large, not read" in " ".join(found.sentences())) == (kind == b"zTXt")


def test_what_is_printed_is_clean():
    exif = Image.Exif()
    exif[0x010F], exif[0x0131] = "Evil\x1b]0;title\x07\u202e", "x\r\n" * 400
    text = PngInfo()
    text.add_itxt("parameters", "\x1b[2J<script>alert(1)</script>\n" + SETTINGS)
    for data in (encoded("JPEG", exif=exif), encoded("PNG", pnginfo=text, exif=exif)):
        found = provenance.read(data)
        assert all(line.isprintable() and len(line) < 400 for line in found.sentences())
        assert len(found.software[0].name) == 200


def test_not_a_picture(tmp_path):
    for source in (b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", tmp_path, tmp_path / "missing.jpg"):
        with pytest.raises(images.UnreadablePicture) as caught:
            provenance.read(source)
        with pytest.raises(images.UnreadablePicture) as expected:
            images.read(source)
        assert str(caught.value).split(":")[0] == str(expected.value).split(":")[0]


def rich(kind: str) -> bytes:
    options = {"exif": camera_exif()}
    if kind == "PNG":
        options["pnginfo"] = text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        text.add_text("parameters", SETTINGS, zip=True)
        text.add_text("prompt", '{"1": {"class_type": "x"}}')
    elif kind == "TIFF":
        options["exif"][700] = XMP
    else:
        options["xmp"] = XMP
    return encoded(kind, **options)


RICH = {kind: rich(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF")}


@given(
    kind=st.sampled_from(sorted(RICH)),
    where=st.floats(0, 1),
    put=st.binary(min_size=1, max_size=30),
    instead=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_damaged_metadata_never_raises(kind, where, put, instead):
    data = RICH[kind]
    begin = 12 + int(where * (len(data) - 12))
    damaged = data[:begin] + put + data[begin + (len(put) if instead else 0) :]
    try:
        found = provenance.read(damaged)
    except images.UnreadablePicture:
        return
    json.dumps(found.to_json())
    assert all(line.isprintable() for line in found.sentences())


def test_two_hundred_are_read_in_no_time(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(RICH["PNG"])
    begin = time.process_time()
    for _ in range(200):
        provenance.read(path)
    assert time.process_time() - begin < 5
