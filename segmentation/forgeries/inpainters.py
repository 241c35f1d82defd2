"""Sources of forged pixels by name: what fills the hole of a picture, or regenerates all of it.

A source is opened by what a person would type (``open_source``) and asked for one picture at a time (``fill``). The
same picture, hole and state of the random generator give the same pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from fakeclf import bundle
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest, resolve


class Source(Protocol):
    """What makes forged pixels.

    Attributes:
        name: for file names and tables, such as "telea" or "onnx-migan".
        whole_frame: the whole frame is regenerated and ``fill`` ignores the mask.
        in_process: holds a network with threads of its own; to be used in the main process only.
        settings: what is needed to make the same pixels again, as JSON: versions, hashes, parameters.
    """

    name: str
    whole_frame: bool
    in_process: bool
    settings: dict[str, Any]

    def fill(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Fill the hole of a picture, or regenerate the picture.

        Args:
            picture: uint8 RGB (h, w, 3).
            mask: bool (h, w), True where pixels are to be made up.
            random: all chance comes from here.

        Returns:
            uint8 (h, w, 3). Unless ``whole_frame``, pixels outside the mask are the picture's.

        Raises:
            FakeclfError: mask and picture differ in size, the mask leaves nothing to go by, or the source fails.
        """
        ...


class HoleSource(ABC):
    """A source that fills holes. Below it, a source only writes ``frame``."""

    name: str
    whole_frame = False
    in_process = False
    settings: dict[str, Any]

    @abstractmethod
    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The source's own output for the whole picture, before it is pasted; ``mask`` has pixels of both kinds.

        Networks change pixels outside the mask too; the others leave them alone.
        """

    def fill(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """See ``Source.fill``."""
        check(picture, mask)
        if not mask.any():
            return picture.copy()
        if mask.all():
            raise FakeclfError(
                f"the mask covers the whole picture and {self.name} has nothing to go by; leave some of it"
            )
        return np.where(mask[..., None], self.frame(picture, mask, random), picture)


class FrameSource(ABC):
    """A source that regenerates whole pictures. Below it, a source only writes ``frame``."""

    name: str
    whole_frame = True
    in_process = False
    settings: dict[str, Any]

    @abstractmethod
    def frame(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The regenerated picture, uint8 (h, w, 3)."""

    def fill(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """See ``Source.fill``."""
        check(picture, mask)
        return self.frame(picture, random)


_FIXED = {
    "telea": "segmentation.forgeries.classic:telea",
    "navier-stokes": "segmentation.forgeries.classic:navier_stokes",
    "biharmonic": "segmentation.forgeries.classic:Biharmonic",
    "patch": "segmentation.forgeries.patch:PatchFill",
    "copy": "segmentation.forgeries.patch:CopyMove",
    "resampled": "segmentation.forgeries.resampled:Resampled",
    "renoised": "segmentation.forgeries.resampled:Renoised",
    "random-decoder": "segmentation.forgeries.random_decoder:RandomDecoder",
    "blocky": "segmentation.forgeries.blocky:Blocky",
}
_OPENED_WITH = {
    "onnx": "segmentation.forgeries.onnx_inpainter:OnnxInpainter",
    "diffusers": "segmentation.forgeries.diffusers_inpainter:DiffusersInpainter",
    "latent": "segmentation.forgeries.latent:Latent",
}
_EXAMPLES = {"onnx": "onnx:FILE", "diffusers": "diffusers:MODEL", "latent": "latent:FILLER+AUTOENCODER"}
_KINDS = ("autoencoder", "inpainter")


def source_names() -> list[str]:
    """Every source that goes by a name alone: the built-in ones, and bundles of autoencoders and inpainters.

    Further ones are the TAESD family ("taef2", ...; weights are brought), ``.npz`` files of such weights, paths of
    bundles, ``onnx:FILE``, ``diffusers:MODEL`` and ``latent:FILLER+AUTOENCODER``.
    """
    return [*_FIXED, *(name for name, _ in bundle.names() if _kind(name) in _KINDS)]


def expanded(texts: Sequence[str]) -> list[str]:
    """Sources as people type them, with ``zoo-*`` put as all the bundles of autoencoders and inpainters it fits.

    Raises:
        FakeclfError: a pattern fits none.
    """
    found: list[str] = []
    for text in texts:
        if ":" in text or not set(text) & set("*?"):
            found.append(text)
            continue
        fitting = [name for name, _ in bundle.names() if fnmatchcase(name, text) and _kind(name) in _KINDS]
        if not fitting:
            raise FakeclfError(f"no autoencoder or inpainter is called {text!r}; train some with fakeclf zoo")
        found += [name for name in fitting if name not in found and name not in texts]
    return found


def open_source(text: str, *, data_dir: str | Path | None = None) -> Source:
    """Open a source by what a person would type.

    Args:
        text: one of ``source_names``, or one of the further forms named there.
        data_dir: where to look for brought weights; default: the data folder.

    Raises:
        FakeclfError: there is no such source, a package or file it needs is missing, or a file does not fit.
    """
    if text in _FIXED:
        return resolve(_FIXED[text])()
    way, colon, what = text.partition(":")
    if colon and way in _OPENED_WITH:
        if not what:
            raise FakeclfError(f"{text!r} names nothing to open; write {_EXAMPLES[way]}")
        return resolve(_OPENED_WITH[way])(what)
    from fakeclf.models.taesd import VARIANTS

    kind = "autoencoder" if text in VARIANTS or Path(text).suffix == ".npz" else _kind(text)
    if kind == "autoencoder":
        return resolve("segmentation.forgeries.round_trip:RoundTrip")(text, data_dir=data_dir)
    if kind == "inpainter":
        return resolve("segmentation.forgeries.round_trip:LearnedInpainter")(text)
    if kind is not None:
        raise FakeclfError(f"{text} is a {kind}; forged pixels come from bundles of kind autoencoder or inpainter")
    hint = closest(text, [*source_names(), *VARIANTS])
    raise FakeclfError(f"there is no source {text!r}; {hint}; or name an .npz file, onnx:FILE or diffusers:MODEL")


def check(picture: np.ndarray, mask: np.ndarray) -> None:
    """Raise FakeclfError where sizes differ, ValueError where the arrays are no picture and mask at all."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture must be uint8 (h, w, 3). Received: {picture.dtype} of shape {picture.shape}")
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"mask must be bool (h, w). Received: {mask.dtype} of shape {mask.shape}")
    if mask.shape != picture.shape[:2]:
        raise FakeclfError(
            f"the mask is {mask.shape[1]} x {mask.shape[0]} and its picture {picture.shape[1]} x {picture.shape[0]}; "
            "they must have the same size"
        )


def through_window(
    picture: np.ndarray,
    mask: np.ndarray,
    run: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    largest: int = 1024,
) -> np.ndarray:
    """Show a network as much of a picture as it takes, and put its answer back: uint8 (h, w, 3).

    The whole picture where it fits, mirrored at its lower and right edge up to the wanted size; else a window of
    the largest size around the hole; else, where the hole does not fit, the box around it reduced to that size, and the
    answer enlarged again (bicubic). Pixels are never resampled in the first two cases.

    Args:
        run: the network, (picture uint8 (a, b, 3), hole bool (a, b)) to uint8 (a, b, 3).
        size: (a, b) where the network takes no other.
        multiple: a and b are multiples of it, where ``size`` is not set.
        largest: the most pixels a side, where ``size`` is not set; a multiple of ``multiple``.
    """
    most = size or (largest, largest)
    window = _reach(np.any(mask, axis=1), most[0]), _reach(np.any(mask, axis=0), most[1])
    seen, hole = picture[window], mask[window]
    height, width = hole.shape
    shrink = max(height / most[0], width / most[1], 1.0)
    if shrink > 1:
        smaller = (min(most[0], max(1, round(height / shrink))), min(most[1], max(1, round(width / shrink))))
        seen = to_bytes(resized(seen, *smaller, "bicubic"))
        hole = resized(hole[..., None], *smaller, "box")[..., 0] > 0
    sides = size or tuple(-(-side // multiple) * multiple for side in hole.shape)
    edges = ((0, sides[0] - hole.shape[0]), (0, sides[1] - hole.shape[1]))
    answer = run(np.pad(seen, (*edges, (0, 0)), mode="symmetric"), np.pad(hole, edges, mode="symmetric"))
    answer = answer[: hole.shape[0], : hole.shape[1]]
    if shrink > 1:
        answer = to_bytes(resized(answer, height, width, "bicubic"))
    frame = picture.copy()
    frame[window] = answer
    return frame


def resized(values: np.ndarray, height: int, width: int, how: str) -> np.ndarray:
    """Resize (h, w, c) to float32; ``how``: nearest, box, bilinear, bicubic, lanczos, anti-aliased when it shrinks."""
    kind = Image.Resampling[how.upper()]
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), kind))
        for plane in np.moveaxis(np.asarray(values, np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round to the nearest whole number, clip to 0-255 and return uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _reach(holed: Any, most: int) -> slice:
    """The stretch of a side to show: all of it, else ``most`` around the hole, else the hole alone.

    Args:
        holed: bool, where along the side there is a hole.
    """
    places = np.flatnonzero(holed)
    first, end = int(places[0]), int(places[-1]) + 1
    if holed.size <= most:
        return slice(0, holed.size)
    # A hole that does not fit is shown with a quarter of its size around it, to have something to go by.
    stretch = max(most, min(holed.size, (end - first) * 3 // 2)) if end - first > most * 2 // 3 else most
    start = min(max((first + end - stretch) // 2, 0), holed.size - stretch)
    return slice(start, start + stretch)


def _kind(name: str) -> str | None:
    """Kind of the bundle of that name or path; None where there is none, or none that can be read."""
    try:
        return bundle.read_card(name).kind
    except FakeclfError:
        return None
