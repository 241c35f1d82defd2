"""A generator is recognised by what it writes where it writes it, and by nothing else."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakeclf.file_metadata import read_blocks
from fakeclf.generator_marks import GENERATED, SOURCES, find_marks, source_term
from fakeclf.software_names import EDIT_HISTORY, Software, software_kind

SETTINGS = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: v1-5"
PROMPT = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})
WORKFLOW = json.dumps({"last_node_id": 9, "nodes": [{"id": 1}], "links": []})
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def png(**texts: str) -> bytes:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key.replace("__", "-"), text)
    return encoded("PNG", pnginfo=info)


def encoded(kind: str, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(out, kind, **options)
    return out.getvalue()


def marks(data: bytes, **properties: list[str]) -> list[tuple[str, str]]:
    return [(mark.generator, mark.where) for mark in find_marks(read_blocks(data), properties)]


@pytest.mark.parametrize(
    "key, text, generator",
    [
        ("parameters", SETTINGS, "Stable Diffusion web UI"),
        ("parameters", json.dumps({"sui_image_params": {"prompt": "a cat"}}), "SwarmUI"),
        ("prompt", PROMPT, "ComfyUI"),
        ("workflow", WORKFLOW, "ComfyUI"),
        ("Dream", '"a cat" -s 50 -S 1234 -W 512 -H 512 -C 7.5 -A k_lms', "InvokeAI"),
        ("Dream", '"a cat" -s50 -S1234 -W512 -H512', "InvokeAI"),
        ("sd__metadata", json.dumps({"app_id": "invoke-ai/InvokeAI", "image": {}}), "InvokeAI"),
        ("invokeai_metadata", json.dumps({"positive_prompt": "a cat"}), "InvokeAI"),
        ("fooocus_scheme", "fooocus", "Fooocus"),
        ("Description", "a cat --ar 2:1 --v 6 Job ID: a7421d2f-b262-44f9-977c-ac23e9c7d3e3", "Midjourney"),
    ],
)
def test_text_chunks(key, text, generator):
    assert marks(png(**{key: text})) == [(generator, f"PNG text {key.replace('__', '-')!r}")]


def test_novelai():
    data = png(Software="NovelAI", Source="NovelAI Diffusion V4", Comment='{"steps": 28}', Description="a cat")
    (mark,) = find_marks(read_blocks(data), {})
    assert (mark.generator, mark.where, mark.text) == ("NovelAI", "PNG text 'Software'", "NovelAI Diffusion V4")


@pytest.mark.parametrize(
    "texts",
    [
        {"Title": "Stable Diffusion parameters"},
        {"Title": SETTINGS},
        {"Comment": SETTINGS, "Author": "NovelAI", "Description": "drawn with Midjourney and DALL-E"},
        {"parameters": "exposure and aperture, Stable Diffusion"},
        {"parameters": "Steps: see the stairs"},
        {"prompt": "Write about your holidays"},
        {"prompt": json.dumps({"question": "Stable Diffusion?"})},
        {"prompt": "[" * 100_000},
        {"prompt": '{"a":' * 100_000},
        {"workflow": json.dumps({"nodes": 3})},
        {"workflow": "{broken"},
        {"Dream": "I had one of InvokeAI - so strange"},
        {"sd__metadata": "{}"},
        {"Software": "Novel AI Writer"},
        {"Description": "Job ID: 7, by Midjourney"},
    ],
)
def test_words_elsewhere_are_no_marks(texts):
    assert marks(png(**texts)) == []


def test_words_in_a_jpeg_are_no_marks(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = SETTINGS, "Midjourney"  # caption, artist
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0made with Stable Diffusion, parameters unknown"
    path = tmp_path / "Stable Diffusion parameters Steps: 20, Sampler: Euler.jpg"
    path.write_bytes(encoded("JPEG", exif=exif, comment=SETTINGS.encode()))
    assert find_marks(read_blocks(path), {"credit": ["Photo: A. Google"], "source": ["trained by hand"]}) == []


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + SETTINGS.encode("utf-16-be"),
        b"UNICODE\0" + SETTINGS.encode("utf-16-le"),
        b"UNICODE\0" + ("猫, " + SETTINGS).encode("utf-16-be"),
        b"ASCII\0\0\0" + SETTINGS.encode(),
        bytes(8) + SETTINGS.encode(),
        SETTINGS.encode(),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_user_comment(kind, comment):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    (mark,) = find_marks(read_blocks(encoded(kind, exif=exif)), {})
    assert (mark.generator, mark.where) == ("Stable Diffusion web UI", "EXIF UserComment")
    assert "a cat Negative prompt: dog Steps: 20" in mark.text


def test_webp_of_comfyui():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "workflow:" + WORKFLOW, "prompt:" + PROMPT
    assert marks(encoded("WEBP", exif=exif)) == [("ComfyUI", "EXIF Make"), ("ComfyUI", "EXIF Model")]
    exif[0x010F], exif[0x0110] = "workflow: slow", "prompt:er"
    assert marks(encoded("WEBP", exif=exif)) == []


@pytest.mark.parametrize("value", ["trainedAlgorithmicMedia", f"{IPTC}trainedAlgorithmicMedia"])
def test_digital_source_type(value):
    (mark,) = find_marks(read_blocks(png()), {"source": [value], "system": ["Dream Machine"]})
    assert (mark.generator, mark.where, mark.text) == (
        "Dream Machine",
        "IPTC digital source type",
        value.split("/")[-1],
    )
    assert mark.sentence() == (
        "According to its IPTC digital source type, the picture is made by a trained model (Dream Machine)."
    )


def test_terms():
    assert source_term(f"{IPTC}digitalCapture") == "digitalCapture"
    for other in ("", "digital capture", f"http://example.org/{IPTC}digitalCapture", f"{IPTC}digitalCapture/x"):
        assert source_term(other) == ""
    assert set(GENERATED) <= set(SOURCES)
    assert marks(png(), source=["digitalCapture", "humanEdits"]) == []
    assert len(marks(png(), source=list(GENERATED))) == len(GENERATED)


@pytest.mark.parametrize("credit, part", [("Made with Google AI", False), ("Edited with Google AI", True)])
def test_credit_line(credit, part):
    (mark,) = find_marks(read_blocks(png()), {"credit": [credit]})
    assert (mark.part, mark.sentence()) == (part, f'Its credit line reads: "{credit}".')


@pytest.mark.parametrize(
    "name, kind",
    [
        ("Adobe Photoshop 25.0 (Windows)", "editor"),
        ("GIMP 2.10.34", "editor"),
        ("Nik Collection 4", "editor"),
        ("Adobe Firefly", "generator"),
        ("NovelAI", "generator"),
        ("AI generated;txt2img;flux", "generator"),
        ("Black Forest Labs", "generator"),
        ("Gimper", "unknown"),
        ("Imagenomic", "unknown"),
        ("not made with Midjourney", "unknown"),
        ("17.1", "unknown"),
        ("", "unknown"),
    ],
)
def test_programs(name, kind):
    assert software_kind(name) == kind


@pytest.mark.parametrize(
    "name, make, model",
    [
        ("17.1.2", "Apple", "iPhone 15"),
        ("Ver.1.10", "NIKON CORPORATION", "NIKON D850"),
        ("NIKON D850 Ver.1.10", "NIKON CORPORATION", "NIKON D850"),
        ("HDR+ 1.0.540104767zdr", "Google", "Pixel 7"),
        ("G998BXXU3AUE1", "samsung", "SM-G998B"),
    ],
)
def test_firmware_is_known_by_its_camera(name, make, model):
    assert software_kind(name, make, model) == "camera"
    assert software_kind("GIMP 2.10", make, model) == "editor"


def test_sentences():
    assert Software("Adobe Photoshop 25.0", "EXIF Software", "editor").sentence() == (
        "The file names Adobe Photoshop 25.0 as the software that wrote it (an image editor)."
    )
    assert Software("Blip", EDIT_HISTORY, "unknown").sentence() == "Its edit history names Blip."
