"""Blocks of metadata are found where they stand, and neither damage nor size can harm who looks for them."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakeclf.exif import clean, read_tags
from fakeclf.file_metadata import LIMIT, TOTAL, read_blocks
from fakeclf.xmp import read_xmp

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMES = (
    f'xmlns:rdf="{RDF}" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" '
    'xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
)


def packet(inside: str = "", attributes: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {NAMES}><rdf:Description rdf:about="" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def encoded(kind: str, **options) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks: bytes) -> bytes:
    """A PNG file with these chunks behind its header."""
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def exif(**tags: str) -> Image.Exif:
    made = Image.Exif()
    for name, value in tags.items():
        made[{"make": 0x010F, "model": 0x0110, "software": 0x0131}[name]] = value
    return made


def gif_with_xmp(xmp: bytes) -> bytes:
    data = encoded("GIF")
    begin = 13 + (3 << (data[10] & 7) + 1)
    trailer = bytes([1, *range(255, -1, -1), 0])
    return data[:begin] + b"!\xff\x0bXMP DataXMP" + xmp + trailer + data[begin:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_and_xmp_of_every_container(kind):
    options = {"exif": exif(make="Maker", software="Writer 1")}
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet("x").decode(), zip=True)
        options["pnginfo"] = text
    elif kind == "TIFF":
        options["exif"][700] = packet("x")
    else:
        options["xmp"] = packet("x")
    found = read_blocks(encoded(kind, **options))
    assert (found.exif.text(0x010F), found.exif.text(0x0131)) == ("Maker", "Writer 1")
    assert found.xmp == packet("x")
    assert (found.credentials, found.unread) == (False, [])


def test_xmp_of_gif():
    assert read_blocks(gif_with_xmp(packet("x"))).xmp == packet("x")
    assert read_blocks(encoded("GIF")).xmp == b""


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP"])
def test_only_jpeg_and_png_are_reduced(kind):
    assert read_blocks(encoded(kind)).bare == b""
    assert 0 < len(read_blocks(encoded("JPEG")).bare) < 300
    assert 0 < len(read_blocks(encoded("PNG")).bare) < 100


@pytest.mark.parametrize("order", "<>")
def test_tags_are_those_that_pillow_wrote(order):
    made = Image.Exif()
    made.endian = order
    made[0x010F], made[0x0112] = "Maker of cameras", 6
    made.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0hello"
    made.get_ifd(0x8769)[0xA434] = "Lens"
    made.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    tags = read_tags(io.BytesIO(made.tobytes().removeprefix(b"Exif\0\0")), LIMIT)
    assert (tags.main[0x010F], tags.main[0x0112]) == ("Maker of cameras", 6)
    assert (tags.photo[0x9286], tags.photo[0xA434]) == (b"ASCII\0\0\0hello", "Lens")
    assert list(tags.gps) == [2]


def test_png_text_of_every_kind():
    text = PngInfo()
    text.add_text("plain", "one\nline")
    text.add_text("packed", "two", zip=True)
    text.add_itxt("wide", "drei \u20ac")
    text.add_itxt("wide packed", "vier \u20ac", zip=True)
    found = read_blocks(encoded("PNG", pnginfo=text))
    assert found.text == [
        ("plain", "one\nline"),
        ("packed", "two"),
        ("wide", "drei \u20ac"),
        ("wide packed", "vier \u20ac"),
    ]
    behind = encoded("PNG").removesuffix(chunk(b"IEND", b"")) + chunk(b"tEXt", b"late\0text") + chunk(b"IEND", b"")
    assert read_blocks(behind).of("late") == "text"


def test_profiles_that_imagemagick_writes():
    data = exif(make="Maker").tobytes()
    lines = f"\nexif\n{len(data):8}\n{data.hex()}\n".encode()
    assert read_blocks(with_chunks(chunk(b"tEXt", b"Raw profile type exif\0" + lines))).exif.text(0x010F) == "Maker"
    spaces = b"\nexif 8 " + b" " * 1_000_000 + b"zz"
    assert read_blocks(with_chunks(chunk(b"tEXt", b"Raw profile type exif\0" + spaces))).exif.main == {}


BOMB = zlib.compress(bytes(30 << 20), 9)


@pytest.mark.parametrize(
    "kind, data",
    [
        (b"zTXt", b"parameters\0\0" + BOMB),
        (b"iTXt", b"parameters\0\1\0\0\0" + BOMB),
        (b"tEXt", b"parameters\0" + bytes(30 << 20)),
    ],
)
def test_what_is_too_large_is_not_read(kind, data, tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(with_chunks(chunk(kind, data), chunk(b"tEXt", b"Title\0behind it")))
    tracemalloc.start()
    found = read_blocks(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.text == [("Title", "behind it")]
    assert len(found.unread) == 1 and "'parameters'" in found.unread[0] and "too large, not read" in found.unread[0]
    assert most < 4 * LIMIT


@pytest.mark.parametrize(
    "one",
    [
        chunk(b"zTXt", b"key\0\0" + zlib.compress(b"x" * (LIMIT - 10))),
        chunk(b"tEXt", b"key\0" + b"x" * (LIMIT - 10)),
    ],
    ids=["packed", "plain"],
)
def test_all_blocks_together_are_limited(one):
    found = read_blocks(with_chunks(*[one] * 10))
    assert sum(len(text) for _, text in found.text) <= TOTAL
    assert 3 <= len(found.text) <= 4 and len(found.text) + len(found.unread) == 10


def test_colour_profile_is_never_inflated():
    assert read_blocks(with_chunks(chunk(b"iCCP", b"icc\0\0" + BOMB))).unread == []


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 3_000_000,
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"a\0b") * 250_000,
        b"GIF89a" + bytes(7) + b"!\xfe" + b"\1x" * 3_000_000,
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 65535)
        + struct.pack("<HHII", 0x010F, 2, 4 << 20, 8) * 65535
        + bytes(5 << 20),
        b"\xff\xd8" + b"\xff\xdb\xff\xff" * 100_000,
    ],
    ids=["fill bytes", "chunks", "sub-blocks", "tags", "tables"],
)
def test_hostile_files_take_little_time(data):
    begin = time.process_time()
    read_blocks(data)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("count, seen", [(1000, True), (300_000, False)])
def test_the_walk_has_an_end(count, seen):
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") * count + chunk(b"caBX", b"")
    assert read_blocks(data).credentials == seen


def test_packets_of_xmp():
    found, wrong = read_xmp(
        packet(
            "<xmp:CreatorTool>Adobe Photoshop 25.0</xmp:CreatorTool>"
            "<xmpMM:History><rdf:Seq>"
            '<rdf:li rdf:parseType="Resource"><stEvt:softwareAgent>Lightroom 7</stEvt:softwareAgent></rdf:li>'
            '<rdf:li stEvt:action="saved" stEvt:softwareAgent="Photoshop 25"/></rdf:Seq></xmpMM:History>'
            "<photoshop:Credit><rdf:Alt><rdf:li xml:lang='x-default'>Made with Google AI</rdf:li></rdf:Alt>"
            "</photoshop:Credit>"
            '<Iptc4xmpExt:DigitalSourceType rdf:resource="http://cv.iptc.org/x"/>',
            'Iptc4xmpExt:AISystemUsed="Dream &amp; Machine"',
        )
    )
    assert (found, wrong) == (
        {
            "system": ["Dream & Machine"],
            "tool": ["Adobe Photoshop 25.0"],
            "agent": ["Lightroom 7", "Photoshop 25"],
            "credit": ["Made with Google AI"],
            "source": ["http://cv.iptc.org/x"],
        },
        "",
    )


def test_xmp_of_other_pictures_and_other_namespaces_is_left_alone():
    tool = "<xmp:CreatorTool>Other</xmp:CreatorTool>"
    inner = (
        f"<xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description>{tool}</rdf:Description></rdf:li></rdf:Bag></xmpMM:Pantry>"
    )
    assert read_xmp(packet(inner)) == ({}, "")
    other = '<rdf:RDF><rdf:Description xmp:CreatorTool="Other"/></rdf:RDF>'
    assert read_xmp(packet(f"<xmpMM:DerivedFrom>{other}</xmpMM:DerivedFrom>")) == ({}, "")
    quoted = packet("<xmp:CreatorTool>Other</xmp:CreatorTool>").replace(b"<x:xmpmeta ", b"<a><b ", 1)
    assert read_xmp(quoted.replace(b"</x:xmpmeta>", b"</b></a>")) == ({}, "")
    assert read_xmp(packet("<dc:CreatorTool>Other</dc:CreatorTool>")) == ({}, "")
    assert read_xmp(packet("<dc:title>xmp:CreatorTool=Other &lt;xmp:CreatorTool&gt;Other</dc:title>")) == ({}, "")


def test_xmp_that_would_grow_is_refused():
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "tool">{entities}]>'.encode() + packet("<xmp:CreatorTool>&e11;</xmp:CreatorTool>")
    outside = b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + packet("<xmp:CreatorTool>x</xmp:CreatorTool>")
    for data in (bomb, outside):
        assert read_xmp(data) == ({}, "XMP: has a document type, not read")
    assert read_xmp(packet("<xmp:a>" * 200_000)) == ({}, "XMP: too many elements, not read")
    assert read_xmp(packet("<xmp:a/>" * 200_000)) == ({}, "XMP: too many elements, not read")


def test_damaged_xmp_is_read_up_to_the_damage():
    found, wrong = read_xmp(packet("<xmp:CreatorTool>Tool</xmp:CreatorTool><xmp:Broken"))
    assert found == {"tool": ["Tool"]} and "damaged" in wrong


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_read_as_something(data):
    for head in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        read_tags(io.BytesIO(head + data), LIMIT)
    read_xmp(packet().replace(b"</rdf:RDF>", data))
    for head in (
        b"\xff\xd8\xff\xe1",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        b"GIF89a",
        b"GIF89a\0\0\0\0\0\0\0!\xff",
    ):
        read_blocks(head + data)


@pytest.mark.parametrize(
    "value, printed",
    [
        ("a\0b\x1b[31mred\x7f\n\tc", "a b [31mred c"),
        ("left\u202etfel\u2066", "left tfel"),
        ("\ud800 ok", "ok"),
        ("x" * 300, "x" * 199 + "…"),
        ("  Büro 1  ", "Büro 1"),
    ],
)
def test_text_is_made_safe_to_print(value, printed):
    assert clean(value) == printed
