"""Run a localizer on pictures of any size.

    localizer = open_localizer("localizer")
    found = localizer(pixels)          # uint8 (height, width, 3)
    found.mask                         # P(inpainted), float32 (height, width)

Pictures up to a set size go through the network whole, larger ones in tiles. A network may have one layer that needs
the whole picture while the rest of it is local: such a network names that layer ``residual`` and has its local part in
an inner model named ``core``. The layer then runs once on the whole picture, and each tile gets its part of the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf import bundle
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.models.layers import PadToMultiple
from segmentation import metrics, tiling

TILE = 1024
OVERLAP = 128

_Run = Callable[..., dict[str, np.ndarray]]

_LEAST = 8  # shorter sides are mirrored up to this: filters that mirror the border need a few pixels to do so


@dataclass(frozen=True)
class Located:
    """What a localizer makes of a picture.

    Attributes:
        mask: P(inpainted) of each pixel, float32 (height, width).
        score: the network's own P(FAKE) of the picture, the highest of its tiles; None where it has no such output.
        seconds: from pixels to mask.
        tiles: number of pieces that went through the network.
    """

    mask: np.ndarray
    score: float | None
    seconds: float
    tiles: int

    @property
    def picture_score(self) -> float:
        """P(FAKE) of the picture before calibration: ``score``, or the mean of the top 1 % of the mask."""
        return metrics.top_share(self.mask) if self.score is None else self.score


class Localizer:
    """A network that takes pictures of any size; called with uint8 RGB (height, width, 3), it returns a ``Located``.

    Args:
        network: a Keras model from RGB pictures (b, h, w, 3), 0-255, to a dictionary with ``mask``, (b, h, w, 1), and
            maybe ``score``, (b, 1).
        tile: side of a tile, pixels; brought down to a multiple of the network's stride and of 8.
        overlap: what neighbouring tiles share at least, pixels. A network that looks no further than a quarter of it
            gives the same mask in tiles as in one piece.
        largest: pixels (width times height) up to which a picture goes whole; default: those of one tile.
        name: of the model.
        threshold: on P(inpainted) of a pixel; kept for those who make a binary mask.
        card: of the bundle the network comes from.

    Raises:
        FakeclfError: tiles that are not larger than their overlap, or a threshold outside 0 to 1.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        tile: int = TILE,
        overlap: int = OVERLAP,
        largest: int | None = None,
        name: str | None = None,
        threshold: float = 0.5,
        card: Card | None = None,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise FakeclfError(f"the threshold is on P(inpainted) and lies between 0 and 1; received {threshold}")
        self.network, self.card = network, card
        self.name = name or network.name
        self.threshold = threshold
        self.tile, self.overlap = tile, overlap
        self.largest = tile * tile if largest is None else largest
        paddings = [layer.multiple for layer in network.layers if isinstance(layer, PadToMultiple)]
        self.stride = int(np.lcm.reduce([1, *paddings]))
        output = getattr(network, "output", None)  # a Sequential has none before its first call
        if not isinstance(output, dict) or "mask" not in output:
            raise FakeclfError(f"{self.name} gives no mask; a localizer's output is a dictionary with 'mask'")
        tiling.spans(1, tile, overlap, self.stride)  # an overlap that does not fit is better told now
        self._whole = _compiled(network, self.name)

    def __call__(self, pixels: np.ndarray) -> Located:
        """Look at one picture, in as many pieces as its size asks for.

        Raises:
            FakeclfError: the network runs out of memory, or cannot work on pictures of that size.
            ValueError: ``pixels`` is no uint8 (h, w, 3).
        """
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(
                f"pixels must be uint8 of shape (h, w, 3). Received: {pixels.dtype} of shape {pixels.shape}"
            )
        return self.in_tiles(pixels) if pixels.shape[0] * pixels.shape[1] > self.largest else self.in_one_piece(pixels)

    def in_one_piece(self, pixels: np.ndarray) -> Located:
        """Look at a picture whole, whatever its size; arguments and errors as for a call."""
        start = time.perf_counter()
        height, width = pixels.shape[:2]
        found = self._whole(_at_least(pixels))
        return Located(found["mask"][:height, :width, 0], _score([found]), time.perf_counter() - start, 1)

    def in_tiles(self, pixels: np.ndarray) -> Located:
        """Look at a picture in tiles, whatever its size; arguments and errors as for a call."""
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

    @cached_property
    def _parts(self) -> tuple[_Run | None, _Run]:
        """What runs once on the whole picture, if anything does, and what runs on a tile (and its part of that)."""
        if not {"core", "residual"} <= {layer.name for layer in self.network.layers}:
            return None, self._whole
        between = self.network.get_layer("residual").output
        of_whole = keras.Model(self.network.input, {"residual": between})
        local = keras.Model([self.network.input, between], self.network.output)
        return _compiled(of_whole, self.name), _compiled(local, self.name)


def open_localizer(
    name: str | Path,
    *,
    threshold: float | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    largest: int | None = None,
) -> Localizer:
    """Open the bundle of a localizer, by name or folder.

    Args:
        name: of the bundle.
        threshold: on P(inpainted) of a pixel; default: the card's.
        tile, overlap, largest: see ``Localizer``; default: what the card's ``input`` says under these names, else
            that class's own.

    Raises:
        FakeclfError: there is no such bundle, it is damaged, or it is no localizer.
    """
    card = bundle.read_card(name)
    if card.kind != "localizer":
        raise FakeclfError(
            f"{card.name} is of kind {card.kind!r}, not a localizer; `fakeclf models list` shows which there are"
        )
    asked = {"tile": tile, "overlap": overlap, "largest": largest}
    sizes = {key: card.input.get(key) if value is None else value for key, value in asked.items()}
    return Localizer(
        bundle.load(name),
        name=card.name,
        threshold=card.threshold if threshold is None else threshold,
        card=card,
        **{key: int(value) for key, value in sizes.items() if value is not None},
    )


def look_localizer(name: str | Path) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """A bundle as a function from a picture, uint8 (h, w, 3), to its score and P(inpainted) of each pixel."""
    localizer = open_localizer(name)

    def look(pixels: np.ndarray) -> tuple[float, np.ndarray]:
        located = localizer(pixels)
        return located.picture_score, located.mask

    return look


def tiling_difference(localizer: Localizer, pixels: np.ndarray) -> dict[str, float]:
    """How much the mask in tiles differs from that of the whole picture, pixel by pixel.

    Args:
        localizer: of any kind; purely local ones differ by rounding alone.
        pixels: uint8 RGB (height, width, 3), larger than a tile and small enough to go whole.

    Returns:
        ``largest`` and ``mean`` absolute difference of P(inpainted), and ``flipped``, the share of the pixels that
        change sides of the threshold.
    """
    whole, tiled = localizer.in_one_piece(pixels).mask, localizer.in_tiles(pixels).mask
    difference = np.abs(whole - tiled)
    flipped = (whole >= localizer.threshold) != (tiled >= localizer.threshold)
    return {"largest": float(difference.max()), "mean": float(difference.mean()), "flipped": float(flipped.mean())}


def _score(found: list[dict[str, np.ndarray]]) -> float | None:
    return (
        max(float(outputs["score"].item()) for outputs in found)
        if all("score" in outputs for outputs in found)
        else None
    )


def _at_least(pixels: np.ndarray) -> np.ndarray:
    more = [max(0, _LEAST - side) for side in pixels.shape[:2]]
    return np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="symmetric") if any(more) else pixels


def _compiled(network: keras.Model, name: str) -> _Run:
    """``network`` as a function of one picture: arrays (h, w, c) in, a dictionary of arrays without batch axis out.

    It is traced once, for all sizes.
    """

    def outputs(*inputs: Any) -> dict[str, Any]:
        batch = [ops.cast(value, "float32")[None] for value in inputs]
        found = network(batch if len(batch) > 1 else batch[0], training=False)
        return {key: found[key][0] for key in ("mask", "score", "residual") if key in found}

    run: Callable[..., dict[str, Any]] = outputs
    failures: tuple[type[Exception], ...] = (MemoryError,)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        types = [tf.uint8] + [tf.float32] * (len(network.inputs) - 1)
        run = tf.function(outputs, input_signature=[tf.TensorSpec((None, None, 3), dtype) for dtype in types])
        failures += (tf.errors.OpError,)

    def on_arrays(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        try:
            return {key: ops.convert_to_numpy(value) for key, value in run(*inputs).items()}
        except failures as error:
            height, width = inputs[0].shape[:2]
            at = f"{name} at {width} x {height} pixels"
            if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
                raise FakeclfError(f"{at} runs out of memory; set a smaller tile in its card") from error
            raise FakeclfError(f"{at} fails: {' '.join(str(error).split())[:200]}") from error

    return on_arrays
