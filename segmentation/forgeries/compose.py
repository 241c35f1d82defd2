"""Pictures and masks together: pasting through a mask, what its grey edge means, and masks that cannot be right."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from fakeclf import images
from fakeclf.errors import FakeclfError

EDGES = ("grey", "any", "full")
"""Ways to read the grey edge of a mask, see :func:`binary`."""

_COLOUR = 16  # JPEG moves the channels of a grey picture apart by a few values
_WHITE = 128
_MOSTLY = 0.7
_log = logging.getLogger(__name__)


def paste(original: np.ndarray, filled: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``filled`` laid over ``original`` with ``mask`` as its opacity; exact where the mask is 0 or 255.

    Args:
        original: uint8 (h, w, 3).
        filled: uint8 (h, w, 3).
        mask: uint8 (h, w), 255 = ``filled`` alone.

    Returns:
        uint8 (h, w, 3), rounded to the nearest value.

    Raises:
        FakeclfError: the three differ in size.
    """
    if not original.shape[:2] == filled.shape[:2] == mask.shape:
        raise FakeclfError(
            f"picture {_size(original)}, filled picture {_size(filled)} and mask {_size(mask)} differ in size; "
            "they must be alike"
        )
    opacity = mask[..., None].astype(np.uint16)
    # 255 * 255 + 127 still fits into 16 bits.
    return ((original * (255 - opacity) + filled * opacity + 127) // 255).astype(np.uint8)


def binary(mask: np.ndarray, edges: str = "full") -> np.ndarray:
    """What each pixel of a mask says, in [0, 1].

    Args:
        mask: uint8 (h, w), 255 = inpainted for certain.
        edges: ``grey`` keeps grey values (mask / 255); ``any`` counts every pixel above 0 as inpainted; ``full`` only
            those of 255. Of the three, ``full`` trained best in the report "Inpainting Image Detection" (2023).

    Returns:
        float32 (h, w); 0 or 1 unless ``edges`` is ``grey``.

    Raises:
        FakeclfError: no such way.
    """
    if edges == "grey":
        return mask.astype(np.float32) / 255
    if edges == "any":
        return (mask > 0).astype(np.float32)
    if edges == "full":
        return (mask == 255).astype(np.float32)
    raise FakeclfError(f"edges of masks must be read as one of {', '.join(EDGES)}; received {edges!r}")


def check_mask(
    mask: np.ndarray,
    picture: np.ndarray | tuple[int, int] | None = None,
    name: str = "mask",
    *,
    sure: bool = False,
) -> np.ndarray:
    """The mask in grey, if it can be one; a mask that looks inverted is let through with a warning in the log.

    Args:
        mask: uint8 (h, w) or (h, w, 3) with three channels alike.
        picture: the picture it belongs to, or its (height, width); None leaves the size unchecked.
        name: what to call the mask in messages, such as its path.
        sure: it is known to be the right way round: no warning.

    Returns:
        uint8 (h, w).

    Raises:
        FakeclfError: the mask has another size than its picture, is in colour, or has nothing white in it.
    """
    if picture is not None:
        height, width = picture if isinstance(picture, tuple) else picture.shape[:2]
        if mask.shape[:2] != (height, width):
            raise FakeclfError(
                f"{name} is {_size(mask)} and its picture {width} x {height} pixels; "
                "a mask must have its picture's size, before any resizing"
            )
    if mask.ndim == 3:
        apart = int((mask.max(axis=2) - mask.min(axis=2)).max())
        if apart > _COLOUR:
            raise FakeclfError(f"{name} is in colour; a mask is grey, black = untouched, white = inpainted")
        mask = mask[..., 1]
    brightest = int(mask.max())
    if brightest < _WHITE:
        what = "all black" if brightest == 0 else f"nearly black (brightest value {brightest} of 255)"
        raise FakeclfError(f"{name} is {what}; white (255) must mark what is inpainted; leave out untouched pictures")
    if not sure and looks_inverted(mask):
        _log.warning(
            "%s looks inverted: %.0f%% of it is white, most of its border too; white should mark what is inpainted",
            name,
            100 * np.mean(mask >= _WHITE),
        )
    return mask


def looks_inverted(mask: np.ndarray) -> bool:
    """Whether more than 0.7 of a mask (uint8 (h, w)) and most of its border are white."""
    white = mask >= _WHITE
    border = np.concatenate([white[0], white[-1], white[1:-1, 0], white[1:-1, -1]])
    return bool(white.mean() > _MOSTLY and border.mean() > 0.5)


def read_mask(path: str | Path, size: tuple[int, int] | None = None, *, sure: bool = False) -> np.ndarray:
    """Read and check a mask file.

    Args:
        path: a picture file.
        size: (height, width) of its picture; None leaves the size unchecked.
        sure: see :func:`check_mask`.

    Returns:
        uint8 (h, w), 255 = inpainted for certain.

    Raises:
        FakeclfError: it cannot be read, or see :func:`check_mask`.
    """
    return check_mask(images.read(path), size, str(path), sure=sure)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
