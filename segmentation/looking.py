"""Look at pictures of any size, whole or in tiles, whatever runs the network. Imports no Keras.

Where a card says so, what the network says is made consistent with what looks alike in the picture
(``segmentation.likeness``) and joined with what the picture's own past says (``segmentation.join_history``).

``look_localizer`` takes a bundle's LiteRT file where it has one, and else Keras (``segmentation.localize``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from fakeclf import bundle, runtime
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.voters import Look, Looked, one_at_a_time
from segmentation import metrics, tiling
from segmentation.join_history import History, histories, with_history
from segmentation.likeness import judged_alike

TILE = 1024
OVERLAP = 128

Run = Callable[..., dict[str, np.ndarray]]
"""From arrays (h, w, c), the first of them uint8 pixels, to outputs by name: ``mask``, (h, w, 1), and maybe others."""

_LEAST = 8  # shorter sides are mirrored up to this: filters that mirror the border need a few pixels to do so


@dataclass(frozen=True)
class Located:
    """What a localizer makes of a picture.

    Attributes:
        mask: P(inpainted) of each pixel, float32 (height, width).
        score: the network's own P(FAKE) of the picture, the highest of its tiles; None where it has no such output.
        seconds: from pixels to mask.
        tiles: number of pieces that went through the network.
        histories: what a part of the picture went without and ``mask`` then takes into account; empty where nothing
            was found or looked for.
    """

    mask: np.ndarray
    score: float | None
    seconds: float
    tiles: int
    histories: tuple[History, ...] = ()

    @property
    def picture_score(self) -> float:
        """P(FAKE) of the picture before calibration: ``score``, or the mean of the top 1 % of the mask."""
        return metrics.top_share(self.mask) if self.score is None else self.score


class InPieces:
    """A localizer that takes pictures of any size; called with uint8 RGB (height, width, 3), it returns a ``Located``.

    Args:
        run: the network.
        stride: tiles begin at multiples of it and of 8, pixels.
        tile: side of a tile, pixels; brought down to such a multiple.
        overlap: what neighbouring tiles share at least, pixels. A network that looks no further than a quarter of it
            gives the same mask in tiles as in one piece.
        largest: pixels (width times height) up to which a picture goes whole; default: those of one tile.
        name: of the model.
        threshold: on P(inpainted) of a pixel; kept for those who make a binary mask.
        card: of the bundle the network comes from.
        likeness: whether a call also judges alike what looks alike (``segmentation.likeness``).
        history: whether a call also looks for what a part of the picture went without (``segmentation.join_history``).

    Raises:
        FakeclfError: tiles that are not larger than their overlap, or a threshold outside 0 to 1.
    """

    def __init__(
        self,
        run: Run,
        stride: int,
        *,
        tile: int = TILE,
        overlap: int = OVERLAP,
        largest: int | None = None,
        name: str,
        threshold: float = 0.5,
        card: Card | None = None,
        likeness: bool = False,
        history: bool = False,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise FakeclfError(f"the threshold is on P(inpainted) and lies between 0 and 1; received {threshold}")
        self.stride, self.name, self.threshold, self.card = stride, name, threshold, card
        self.likeness, self.history = likeness, history
        self.tile, self.overlap = tile, overlap
        self.largest = tile * tile if largest is None else largest
        tiling.spans(1, tile, overlap, stride)  # an overlap that does not fit is better told now
        self._whole = run

    def __call__(self, pixels: np.ndarray, *, history: bool | None = None) -> Located:
        """Look at one picture, in as many pieces as its size asks for.

        Args:
            pixels: uint8 RGB (height, width, 3).
            history: as for the class; default: what that was told.

        Raises:
            FakeclfError: the network runs out of memory, or cannot work on pictures of that size.
            ValueError: ``pixels`` is no uint8 (h, w, 3).
        """
        start = time.perf_counter()
        pixels = runtime.checked(pixels)
        large = pixels.shape[0] * pixels.shape[1] > self.largest
        found = self.in_tiles(pixels) if large else self.in_one_piece(pixels)
        mask = judged_alike(pixels, found.mask) if self.likeness else found.mask
        past = histories(pixels, mask) if (self.history if history is None else history) else ()
        mask = reduce(with_history, past, mask)
        return Located(mask, found.score, time.perf_counter() - start, found.tiles, past)

    def in_one_piece(self, pixels: np.ndarray) -> Located:
        """The network alone on a picture as a whole, whatever its size; arguments and errors as for a call."""
        start = time.perf_counter()
        height, width = pixels.shape[:2]
        found = self._whole(_at_least(pixels))
        return Located(found["mask"][:height, :width, 0], _score([found]), time.perf_counter() - start, 1)

    def in_tiles(self, pixels: np.ndarray) -> Located:
        """The network alone on a picture in tiles, whatever its size; arguments and errors as for a call."""
        start = time.perf_counter()
        height, width = pixels.shape[:2]
        pixels = _at_least(pixels)
        of_whole, local = self._parts
        sources = [pixels] if of_whole is None else [pixels, of_whole(pixels)["residual"]]
        scored = []

        def mask_of(tile: tiling.Tile) -> np.ndarray:
            found = local(*(source[tile.rows, tile.columns] for source in sources))
            mask: np.ndarray = found.pop("mask")[..., 0]
            scored.append(found)
            return mask

        rows, columns = pixels.shape[:2]
        mask = tiling.join(rows, columns, mask_of, tile=self.tile, overlap=self.overlap, stride=self.stride)
        return Located(mask[:height, :width], _score(scored), time.perf_counter() - start, len(scored))

    @property
    def _parts(self) -> tuple[Run | None, Run]:
        """What runs once on the whole picture, if anything does, and what runs on a tile (and its part of that)."""
        return None, self._whole


def sizes_of(card: Card, **asked: int | None) -> dict[str, int]:
    """``tile``, ``overlap`` and ``largest`` as asked, else as the card's ``input`` says, where it does.

    Raises:
        FakeclfError: the card is not a localizer's.
    """
    if card.kind != "localizer":
        raise FakeclfError(
            f"{card.name} is of kind {card.kind!r}, not a localizer; `fakeclf models list` shows which there are"
        )
    said = {key: card.input.get(key) for key in ("tile", "overlap", "largest")}
    sizes = said | {key: value for key, value in asked.items() if value is not None}
    return {key: int(value) for key, value in sizes.items() if value is not None}


def asks(card: Card, what: str, asked: bool | None = None) -> bool:
    """Whether a localizer looks at the ``likeness`` or the ``history``: as asked, else as the card's ``input`` says."""
    return bool(card.input.get(what, False)) if asked is None else asked


def in_litert(name: str | Path, *, threads: int | None = None) -> InPieces | None:
    """The LiteRT file of a localizer, by name or folder of its bundle; None where it has none: then take Keras.

    Args:
        name: of the bundle.
        threads: how many it may use; default: as many as this process has cores.

    Raises:
        FakeclfError: there is no such bundle, or it is no localizer.
    """
    folder = bundle.find(name)
    card = bundle.read_card(folder)
    sizes = sizes_of(card)
    if not runtime.can_run(folder):
        return None
    assert card.litert is not None
    program = runtime.program_of(folder, card, threads)

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {key: values[0] for key, values in program(pixels[np.newaxis]).items()}

    return InPieces(
        run,
        int(card.litert["stride"]),
        name=card.name,
        threshold=card.threshold,
        card=card,
        likeness=asks(card, "likeness"),
        history=asks(card, "history"),
        **sizes,
    )


def look_localizer(name: str | Path, threads: int | None = None) -> Look:
    """A bundle as a function from a picture, uint8 (h, w, 3), to what it makes of it."""
    localizer: Callable[..., Located] | None = in_litert(name, threads=threads)
    if localizer is None:
        from segmentation.localize import open_localizer

        localizer = one_at_a_time(open_localizer(name))

    def look(pixels: np.ndarray, history: bool | None = None) -> Looked:
        located = localizer(pixels, history=history)
        remark = " ".join(found.describe() for found in located.histories)
        # Where a picture shows no history its copies have none, and looking for it takes most of the time.
        return Looked(located.picture_score, located.mask, remark, None if located.histories else without_history)

    def without_history(pixels: np.ndarray) -> Looked:
        return look(pixels, history=False)

    return look


def _score(found: list[dict[str, np.ndarray]]) -> float | None:
    if not all("score" in outputs for outputs in found):
        return None
    return max(float(outputs["score"].item()) for outputs in found)


def _at_least(pixels: np.ndarray) -> np.ndarray:
    more = [max(0, _LEAST - side) for side in pixels.shape[:2]]
    return np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="symmetric") if any(more) else pixels
