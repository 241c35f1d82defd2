"""What kind of program a name in a picture file stands for: the firmware of a camera, an editor or a generator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

EDIT_HISTORY = "XMP edit history"
"""The one field of a program that need not have been the last."""

# Names that programs give themselves, or begin with. FLUX writes "AI generated;txt2img;flux".
_GENERATORS = """
NovelAI, Midjourney, Adobe Firefly, DALL-E, DALL·E, Stable Diffusion, AUTOMATIC1111, ComfyUI, InvokeAI, Fooocus,
SwarmUI, Draw Things, Easy Diffusion, NMKD Stable Diffusion, Black Forest Labs, AI generated, OpenAI, ChatGPT,
GPT-4o, Stability AI, DreamStudio, Ideogram, Leonardo.Ai, Bing Image Creator, Microsoft Designer, Google Gemini,
Imagen
"""
_EDITORS = """
Adobe, Photoshop, Lightroom, GIMP, paint.net, Affinity, Pixelmator, Snapseed, Picasa, Google Photos, Apple Photos,
Photos, iPhoto, Aperture, Paint Shop Pro, PaintShop, Corel, Capture One, darktable, RawTherapee, DxO, Nik
Collection, ACDSee, Luminar, Topaz, Remini, IrfanView, XnView, FastStone, Krita, Inkscape, Canva, PicsArt, VSCO,
Facetune, Meitu, BeautyPlus, Photoscape, Polarr, Photopea, Pixlr, Microsoft Windows, Windows Photo, Microsoft Photo,
Paint, digiKam, Shotwell, gThumb, ImageMagick, GraphicsMagick, Lavc, ffmpeg, Instagram, ON1, Silverfast
"""
_FIRMWARE = re.compile(r"(ver(sion)?\.?\s*|v\.?\s*)?\d[\d.]*[a-z]?|HDR\+\s.*|[A-Z]\d{3,4}[A-Z0-9]{6,12}", re.IGNORECASE)


@dataclass(frozen=True)
class Software:
    """A program that a file names.

    Attributes:
        name: as it stands there.
        where: the field.
        kind: ``camera`` (its firmware), ``editor``, ``generator`` or ``unknown``.
    """

    name: str
    where: str
    kind: str

    def sentence(self) -> str:
        kind = {"editor": " (an image editor)", "camera": " (a camera's own)"}.get(self.kind, "")
        if self.where == EDIT_HISTORY:
            return f"Its edit history names {self.name}{kind}."
        return f"The file names {self.name} as the software that wrote it{kind}."


def software_kind(name: str, make: str = "", model: str = "") -> str:
    """``camera``, ``editor``, ``generator`` or ``unknown``.

    Args:
        name: of the program, as a file gives it.
        make, model: of the camera, where the file names one: only beside them is a bare version taken for firmware.
    """
    if _begins_with(name, _names(_GENERATORS)):
        return "generator"
    if _begins_with(name, _names(_EDITORS)):
        return "editor"
    camera = [word for word in (make, make.split(" ")[0], model) if word]
    if camera and (_FIRMWARE.fullmatch(name) or _begins_with(name, camera)):
        return "camera"
    return "unknown"


@cache
def _names(listed: str) -> list[str]:
    return [" ".join(name.split()) for name in listed.split(",")]


def _begins_with(name: str, beginnings: list[str]) -> bool:
    folded = name.casefold()
    for beginning in beginnings:
        if folded.startswith(beginning.casefold()) and not folded[len(beginning) : len(beginning) + 1].isalpha():
            return True
    return False
