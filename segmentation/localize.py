"""Run a localizer in Keras on pictures of any size.

    localizer = open_localizer("localizer")
    found = localizer(pixels)          # uint8 (height, width, 3)
    found.mask                         # P(inpainted), float32 (height, width)

Pictures up to a set size go through the network whole, larger ones in tiles. A network may have one layer that needs
the whole picture while the rest of it is local: such a network names that layer ``residual`` and has its local part in
an inner model named ``core``. The layer then runs once on the whole picture, and each tile gets its part of the result.
"""

from __future__ import annotations

from collections.abc import Callable
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
from segmentation.looking import OVERLAP, TILE, InPieces, Run, asks, sizes_of
from segmentation.looking import Located as Located  # what a Localizer gives


class Localizer(InPieces):
    """A network that takes pictures of any size; called with uint8 RGB (height, width, 3), it returns a ``Located``.

    Args:
        network: a Keras model from RGB pictures (b, h, w, 3), 0-255, to a dictionary with ``mask``, (b, h, w, 1), and
            maybe ``score``, (b, 1).
        tile, overlap, largest, name, threshold, card, likeness, history: see ``segmentation.looking.InPieces``.

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
        likeness: bool = False,
        history: bool = False,
    ) -> None:
        output = getattr(network, "output", None)  # a Sequential has none before its first call
        name = name or network.name
        if not isinstance(output, dict) or "mask" not in output:
            raise FakeclfError(f"{name} gives no mask; a localizer's output is a dictionary with 'mask'")
        self.network = network
        paddings = [layer.multiple for layer in network.layers if isinstance(layer, PadToMultiple)]
        super().__init__(
            _compiled(network, name),
            int(np.lcm.reduce([1, *paddings])),
            tile=tile,
            overlap=overlap,
            largest=largest,
            name=name,
            threshold=threshold,
            card=card,
            likeness=likeness,
            history=history,
        )

    @cached_property
    def _parts(self) -> tuple[Run | None, Run]:
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
    likeness: bool | None = None,
    history: bool | None = None,
) -> Localizer:
    """Open the bundle of a localizer, by name or folder.

    Args:
        name: of the bundle.
        threshold: on P(inpainted) of a pixel; default: the card's.
        tile, overlap, largest: see ``Localizer``; default: what the card's ``input`` says under these names, else
            that class's own.
        likeness, history: see ``Localizer``; default: what the card's ``input`` says, else False.

    Raises:
        FakeclfError: there is no such bundle, it is damaged, or it is no localizer.
    """
    card = bundle.read_card(name)
    sizes = sizes_of(card, tile=tile, overlap=overlap, largest=largest)
    return Localizer(
        bundle.load(name),
        name=card.name,
        threshold=card.threshold if threshold is None else threshold,
        card=card,
        likeness=asks(card, "likeness", likeness),
        history=asks(card, "history", history),
        **sizes,
    )


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


def _compiled(network: keras.Model, name: str) -> Run:
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
