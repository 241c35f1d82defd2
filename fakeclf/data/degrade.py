"""What happens to pictures on their way: compression, resizing, blur, noise, gamma, cropping. One implementation for
augmentation, robustness sweeps and checks.

A degradation is written ``name:value``, and a chain of them is joined by ``|``::

    jpeg:90       JPEG of that libjpeg quality (1 to 100, chroma 4:2:0)
    webp:80       lossy WebP of that quality (1 to 100)
    resize:0.75   both sides times that factor, and back up to the picture's size (bicubic, anti-aliased)
    scale:0.75    both sides times that factor; the picture stays so
    blur:1        Gaussian blur of that sigma, in pixels
    noise:0.02    Gaussian noise of that standard deviation, as a share of the full scale, on each channel alone
    gamma:0.8     values in [0, 1] to that power: below 1 brightens
    crop:0.8      the centre, that share of each side
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, overload

import numpy as np
from PIL import Image

from fakeclf import images
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest

ROBUSTNESS: tuple[str, ...] = (
    "jpeg:95",
    "jpeg:85",
    "jpeg:75",
    "jpeg:50",
    "webp:80",
    "resize:0.75",
    "resize:0.5",
    "blur:1",
    "blur:2",
    "noise:0.02",
    "noise:0.05",
    "gamma:0.8",
    "gamma:1.25",
    "crop:0.8",
)
"""The list robustness is always measured with, so that figures stay comparable."""

SAVED_AGAIN = "jpeg:90"
"""What stands for saving again where one quality has to."""


@dataclass(frozen=True)
class Degradation:
    """One degradation or a chain of them, applied from left to right; made by :func:`parse`.

    Attributes:
        steps: name and value of each.
    """

    steps: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        """What :func:`parse` takes."""
        return "|".join(f"{kind}:{value:.12g}" for kind, value in self.steps)

    @property
    def keeps_size(self) -> bool:
        """Whether the result has the picture's size and every pixel its place."""
        return not any(_KINDS[kind].moves for kind, _ in self.steps)

    @overload
    def apply(
        self, picture: np.ndarray, random: np.random.Generator | int | None = None, mask: None = None
    ) -> np.ndarray: ...

    @overload
    def apply(
        self, picture: np.ndarray, random: np.random.Generator | int | None = None, *, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def apply(
        self,
        picture: np.ndarray,
        random: np.random.Generator | int | None = None,
        mask: np.ndarray | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The degraded picture, a new array.

        Args:
            picture: uint8 RGB, (height, width, 3).
            random: where noise comes from, a generator or a seed; None is seed 0, the same noise at every call.
            mask: (height, width) or (height, width, c) of any type; goes along where pixels move (nearest).

        Returns:
            uint8 RGB, and with ``mask`` also the mask, of the same height and width.

        Raises:
            FakeclfError: the mask has another size than the picture, or the picture is too large for the codec.
            ValueError: ``picture`` is no such array.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"picture must be uint8 of shape (h, w, 3). Received: {picture.dtype} of shape {picture.shape}"
            )
        if mask is not None and mask.shape[:2] != picture.shape[:2]:
            raise FakeclfError(
                f"the mask is {mask.shape[1]} x {mask.shape[0]}, its picture {picture.shape[1]} x {picture.shape[0]}; "
                "both must have the same size"
            )
        generator = np.random.default_rng(0 if random is None else random)
        result = picture.copy()
        for kind, value in self.steps:
            result = _KINDS[kind].apply(result, value, generator)
            if mask is not None:
                mask = _KINDS[kind].move(mask, value)
        return result if mask is None else (result, mask)


def parse(text: str) -> Degradation:
    """The degradation that ``text`` names, such as ``jpeg:90`` or ``resize:0.75|jpeg:85``.

    Raises:
        FakeclfError: an unknown name, or a value that is missing or out of range; the nearest allowed is named.
    """
    return _parse(text.strip())


@lru_cache(maxsize=1024)
def _parse(text: str) -> Degradation:
    return Degradation(tuple(_step(part.strip()) for part in text.split("|")))


def random_degradation(random: np.random.Generator, strength: float = 1.0) -> Degradation | None:
    """What to do to one training picture: nothing, or one or two degradations that keep its size.

    Compression comes last, as it does to pictures that are passed on; JPEG may come twice.

    Args:
        random: the source of all choices.
        strength: 0 to 1; 0 is never anything, 1 leaves a fifth of the pictures as they are. Both the share of degraded
            pictures and how severe they are grow with it: at 1 the qualities reach down to 50, factors to 0.5, sigmas
            to 2 pixels, noise to 0.05 and gamma to 0.8 and 1.25.

    Raises:
        FakeclfError: ``strength`` outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise FakeclfError(f"strength must lie between 0 and 1; received {strength}")
    if random.random() >= 0.8 * strength:
        return None
    first = _DRAWN[random.choice(len(_DRAWN), p=_SHARES)]
    drawn = [first]
    if random.random() < 0.35:
        drawn.append(_OTHERS[random.integers(len(_OTHERS))] if first in _CODECS else _CODECS[random.integers(3)])
    drawn.sort(key=lambda kind: kind in _CODECS)
    steps: list[tuple[str, float]] = []
    for kind in drawn:
        steps += [("jpeg", _draw("jpeg", random, strength))] if kind == "jpeg twice" else []
        name = "jpeg" if kind == "jpeg twice" else kind
        steps.append((name, _draw(name, random, strength)))
    return Degradation(tuple(steps))


def random_saving(random: np.random.Generator, strength: float = 1.0) -> Degradation | None:
    """What saving does to one training picture: nothing, or JPEG of a quality drawn evenly.

    Args:
        random: the source of all choices.
        strength: 0 to 1: the share of pictures that are saved, and how far the quality reaches down from 98 (at 1: 68).
    """
    if random.random() >= strength:
        return None
    return Degradation((("jpeg", float(98 - random.integers(0, round(30 * strength) + 1))),))


_CODECS = ("jpeg", "jpeg twice", "webp")
_OTHERS = ("resize", "blur", "noise", "gamma")
_DRAWN = (*_CODECS, *_OTHERS)
_SHARES = (0.35, 0.15, 0.1, 0.15, 0.1, 0.1, 0.05)  # JPEG is what pictures meet most


def _draw(kind: str, random: np.random.Generator, strength: float) -> float:
    much = strength * random.random()
    if kind in ("jpeg", "webp"):
        return float(round(100 - 50 * much))
    if kind == "resize":
        return round(1 - 0.5 * much, 3)
    if kind == "blur":
        return round(0.2 + 1.8 * much, 3)
    if kind == "noise":
        return round(0.002 + 0.048 * much, 4)
    return round(math.exp(math.log(1.25) * much * random.choice((-1, 1))), 3)


def _step(text: str) -> tuple[str, float]:
    name, colon, written = text.partition(":")
    name = name.strip().lower()
    if name not in _KINDS:
        raise FakeclfError(f"there is no degradation {text!r}; {closest(name, _KINDS)}, written as in jpeg:90")
    kind = _KINDS[name]
    allowed = f"{name} takes {kind.meaning} from {kind.least:g} to {kind.most:g}"
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not colon or math.isnan(value):
        raise FakeclfError(f"{text!r} lacks a number; {allowed}, as in {name}:{kind.example:g}")
    nearest = min(max(value, kind.least), kind.most)
    nearest = float(round(nearest)) if kind.whole else nearest
    if value != nearest:
        raise FakeclfError(f"{text!r} is out of range; {allowed}; the nearest allowed is {name}:{nearest:g}")
    return name, value


@dataclass(frozen=True)
class _Kind:
    """How a degradation is done, which values it takes, and whether pixels change place."""

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    meaning: str
    least: float
    most: float
    example: float
    whole: bool = False
    move: Callable[[np.ndarray, float], np.ndarray] = lambda mask, value: mask
    moves: bool = False


def _jpeg(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    return images.read(images.encode_jpeg(picture, int(value)))


def _webp(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    return images.read(images.encode_webp(picture, int(value)))


def _resize(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    return _resampled(_resampled(picture, _scaled(picture, value)), picture.shape[:2])


def _scale(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    return _resampled(picture, _scaled(picture, value))


def _blur(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    blurred = ndimage.gaussian_filter(picture.astype(np.float32), (value, value, 0))
    return _bytes(blurred)


def _noise(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(picture.shape, np.float32)
    noise *= np.float32(255 * value)
    noise += picture
    return _bytes(noise)


def _gamma(picture: np.ndarray, value: float, random: np.random.Generator) -> np.ndarray:
    return _bytes(255 * (np.arange(256) / 255) ** value)[picture]


def _crop(picture: np.ndarray, value: float, random: np.random.Generator | None = None) -> np.ndarray:
    height, width = _scaled(picture, value)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width].copy()


def _scale_mask(mask: np.ndarray, value: float) -> np.ndarray:
    height, width = _scaled(mask, value)
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    return mask[rows[:, np.newaxis], columns]


def _scaled(picture: np.ndarray, factor: float) -> tuple[int, int]:
    return max(1, round(picture.shape[0] * factor)), max(1, round(picture.shape[1] * factor))


def _resampled(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized = np.empty((*size, picture.shape[2]), np.uint8)
    for colour in range(picture.shape[2]):  # Pillow takes four bytes a pixel for all colours together, and one for each
        plane = Image.fromarray(np.ascontiguousarray(picture[..., colour]))
        resized[..., colour] = np.asarray(plane.resize(size[::-1], Image.Resampling.BICUBIC))
    return resized


def _bytes(values: Any) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_KINDS = {
    "jpeg": _Kind(_jpeg, "a whole quality", 1, 100, 90, whole=True),
    "webp": _Kind(_webp, "a whole quality", 1, 100, 80, whole=True),
    "resize": _Kind(_resize, "a factor", 0.05, 1, 0.75),
    "scale": _Kind(_scale, "a factor", 0.05, 1, 0.75, move=_scale_mask, moves=True),
    "blur": _Kind(_blur, "a sigma in pixels", 0.1, 50, 1),
    "noise": _Kind(_noise, "a share of the full scale", 0, 1, 0.02),
    "gamma": _Kind(_gamma, "a power", 0.1, 10, 0.8),
    "crop": _Kind(_crop, "a share of each side", 0.05, 1, 0.8, move=_crop, moves=True),
}
