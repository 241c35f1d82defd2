"""Marks that generators of pictures leave in metadata.

A mark counts only in the field where its generator writes it, and only in the form in which it writes it there: the
same words in a caption, a comment or a file name are no mark.

Reference: IPTC NewsCodes, Digital Source Type, http://cv.iptc.org/newscodes/digitalsourcetype. IPTC, Photo Metadata
Guidelines, "Generative AI".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from fakeclf.exif import clean, decoded
from fakeclf.file_metadata import Blocks

SOURCES = {
    "trainedAlgorithmicMedia": "made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "edited or put together with parts made by a trained model",
    "algorithmicMedia": "made by an algorithm that was not trained on pictures",
    "compositeSynthetic": "put together with parts that are synthetic",
    "digitalCapture": "taken by a digital camera",
    "computationalCapture": "taken by a digital camera and computed from several exposures or sensors",
    "negativeFilm": "scanned from a negative",
    "positiveFilm": "scanned from a slide",
    "print": "scanned from a print",
    "screenCapture": "a picture of a screen",
    "humanEdits": "edited by a person with tools that make nothing up",
    "minorHumanEdits": "edited slightly by a person",
    "algorithmicallyEnhanced": "enhanced by an algorithm",
    "composite": "put together from several pictures",
    "compositeCapture": "put together from several photographs",
    "dataDrivenMedia": "drawn by a program from data",
    "digitalCreation": "made by a person with digital tools",
    "digitalArt": "made by a person with digital tools",
    "virtualRecording": "recorded in a virtual scene",
}
"""Terms of the IPTC digital source type, in words that follow "the picture is"."""

GENERATED = {
    "trainedAlgorithmicMedia": False,
    "compositeWithTrainedAlgorithmicMedia": True,
    "algorithmicMedia": False,
    "compositeSynthetic": True,
}
"""Those that stand for a generated picture, and whether for a part of it only."""

# Credit line -> whether only a part was generated.
_CREDITS = {
    "made with google ai": False,
    "edited with google ai": True,
    "ai-generated with google": False,
    "ai-generated with google photos": True,
    "apple photos clean up": True,
}
_SETTINGS = re.compile(r"\bSteps: \d{1,5}, (Sampler|Seed|CFG scale|Size|Model): ")
_DREAM = (re.compile(r" -s ?\d"), re.compile(r" -S ?\d"))  # steps and seed, as on a command line
_JOB = re.compile(r"\bJob ID: [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\s*$")
_MAKE, _MODEL, _COMMENT = 0x010F, 0x0110, 0x9286


@dataclass(frozen=True)
class Mark:
    """Something in a file that says that its picture was generated.

    Attributes:
        generator: the program; "" where the file does not name it.
        where: the field that says so.
        text: its value, cut short.
        part: whether it speaks of a part of the picture only.
    """

    generator: str
    where: str
    text: str
    part: bool = False

    def sentence(self) -> str:
        if self.text in SOURCES:
            whole = "a part of the picture" if self.part and not GENERATED[self.text] else "the picture"
            by = f" ({self.generator})" if self.generator else ""
            return f"According to its {self.where}, {whole} is {SOURCES[self.text]}{by}."
        if not self.generator:
            return f'Its {self.where} reads: "{self.text}".'
        if self.text == self.generator:
            return f"Its {self.where} names {self.generator}, a generator of pictures."
        return f'Its {self.where} holds what the generator {self.generator} writes there: "{self.text}".'


def source_term(value: str) -> str:
    """The term of a digital source type, given as such or as the address of the term; "" for anything else."""
    term = re.sub(r"^https?://cv\.iptc\.org/newscodes/digitalsourcetype/", "", value.strip())
    return term if term in SOURCES else ""


def find_marks(blocks: Blocks, properties: dict[str, list[str]]) -> list[Mark]:
    """All marks in a file's metadata but the names of programs (``fakeclf.software_names``) and C2PA.

    Args:
        properties: of the XMP packet, as ``fakeclf.xmp.read_xmp`` gives them.
    """
    return [*_text_marks(blocks), *_exif_marks(blocks), *_xmp_marks(properties)]


def _text_marks(blocks: Blocks) -> list[Mark]:
    marks = []
    for key, text in blocks.text:
        generator = _of_text(key, text)
        if generator:
            marks.append(Mark(generator, f"PNG text {key!r}", clean(text)))
    if blocks.of("Software").strip().casefold() == "novelai":
        said = blocks.of("Source") or blocks.of("Description") or blocks.of("Comment")
        marks.append(Mark("NovelAI", "PNG text 'Software'", clean(said)))
    return marks


def _of_text(key: str, text: str) -> str:
    """The generator that writes such a text under such a keyword, or ""."""
    if key == "parameters":
        return _settings(text)
    if key == "prompt":
        return "ComfyUI" if _is_prompt(_json(text)) else ""
    if key == "workflow":
        return "ComfyUI" if isinstance(_json(text).get("nodes"), list) else ""
    if key == "Dream":
        return "InvokeAI" if all(option.search(text) for option in _DREAM) else ""
    if key == "sd-metadata":
        return "InvokeAI" if {"app_id", "image", "model"} & _json(text).keys() else ""
    if key in ("invokeai_metadata", "invokeai_graph"):
        return "InvokeAI" if _json(text) else ""
    if key == "fooocus_scheme":
        return "Fooocus" if text.strip() in ("fooocus", "a1111") else ""
    if key == "Description":
        return "Midjourney" if _JOB.search(text) else ""
    return ""


def _settings(text: str) -> str:
    """Who wrote these settings: the web UI of AUTOMATIC1111 and programs that write as it does, or SwarmUI."""
    if isinstance(_json(text).get("sui_image_params"), dict):
        return "SwarmUI"
    return "Stable Diffusion web UI" if _SETTINGS.search(text) else ""


def _exif_marks(blocks: Blocks) -> list[Mark]:
    marks = []
    comment = blocks.exif.photo.get(_COMMENT)
    if isinstance(comment, bytes):
        text = _user_comment(comment)
        generator = _settings(text)
        if generator:
            marks.append(Mark(generator, "EXIF UserComment", clean(text)))
    for tag, name in ((_MAKE, "Make"), (_MODEL, "Model")):
        text = blocks.exif.text(tag)
        if is_workflow(text):
            marks.append(Mark("ComfyUI", f"EXIF {name}", clean(text)))
    return marks


def is_workflow(text: str) -> bool:
    """Whether ComfyUI wrote this into EXIF Make or Model, where WebP files of it keep prompt and workflow."""
    kind, _, data = text.partition(":")
    if kind == "prompt":
        return _is_prompt(_json(data))
    return kind == "workflow" and isinstance(_json(data).get("nodes"), list)


def _xmp_marks(properties: dict[str, list[str]]) -> list[Mark]:
    marks = []
    for value in properties.get("source", []):
        term = source_term(value)
        if term in GENERATED:
            system = clean(properties.get("system", [""])[0])
            marks.append(Mark(system, "IPTC digital source type", term, GENERATED[term]))
    for value in properties.get("credit", []):
        part = _CREDITS.get(value.strip().casefold())
        if part is not None:
            marks.append(Mark("", "credit line", clean(value), part))
    return marks


def _user_comment(data: bytes) -> str:
    """EXIF UserComment: eight bytes name the encoding; the byte order of UTF-16 shows where the zeros are."""
    kind, text = data[:8], data[8:]
    if kind == b"UNICODE\0":
        return text.decode("utf-16-be" if text[0::2].count(0) > text[1::2].count(0) else "utf-16-le", "replace")
    return decoded(text if kind in (b"ASCII\0\0\0", bytes(8)) else data)


def _is_prompt(graph: dict[str, Any]) -> bool:
    return bool(graph) and all(isinstance(node, dict) and "class_type" in node for node in graph.values())


def _json(text: str) -> dict[str, Any]:
    """A JSON object; empty where ``text`` is none."""
    if text.lstrip()[:1] != "{":
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}
