"""Forged pixels from Keras networks: round trips through an autoencoder, and the learned inpainter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf.any_size import any_size
from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import FrameSource, HoleSource, through_window, to_bytes

TILE = 1024
"""The most pixels a side that pass a network at once; memory grows with the area."""

MARGIN = 64
"""Pixels around a tile that pass along and are dropped; a multiple of every autoencoder's stride."""


class RoundTrip(FrameSource):
    """A whole frame encoded and decoded, which is what a latent-diffusion pipeline leaves outside its mask, too.

    A picture of at most ``TILE`` pixels a side passes at once. Of a larger one, tiles pass with ``MARGIN`` pixels
    around them, which are dropped, so each pixel comes out of one pass and nothing is blended. Tiles begin on the
    lattice of the decoder: its phase is the same all over the picture.

    Args:
        name: what ``fakeclf.models.autoencoder.open_autoencoder`` takes.
        data_dir: where to look for brought weights; default: the data folder.

    Raises:
        FakeclfError: there is no such autoencoder, or its file does not fit.
    """

    in_process = True

    def __init__(self, name: str | Path, data_dir: str | Path | None = None) -> None:
        import keras

        from fakeclf.models.autoencoder import open_autoencoder

        opened = open_autoencoder(name, data_dir=data_dir)
        self.name = opened.name
        self.run = any_size(opened.model)
        self.settings: dict[str, Any] = {
            "autoencoder_sha256": opened.sha256,
            "tile": TILE,
            "margin": MARGIN,
            "keras": keras.__version__,
        }

    def frame(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The round trip; nothing is drawn."""
        frame = np.empty_like(picture)
        for rows in _spans(picture.shape[0]):
            for columns in _spans(picture.shape[1]):
                seen = picture[rows.seen, columns.seen]
                trip = to_bytes(self.run(seen[None].astype(np.float32))[0])
                frame[rows.kept, columns.kept] = trip[rows.within, columns.within]
        return frame


class LearnedInpainter(HoleSource):
    """A bundle of kind "inpainter": a Keras model that sees pictures and holes.

    What it sees of a picture above ``TILE`` pixels a side, see ``inpainters.through_window``.

    Args:
        name: name or folder of the bundle.

    Raises:
        FakeclfError: there is no such bundle, or its model takes something else.
    """

    in_process = True

    def __init__(self, name: str | Path) -> None:
        import keras

        from fakeclf import bundle

        card = bundle.read_card(name)
        self.name = card.name
        self.model = bundle.load(name)
        inputs = self.model.input
        if not isinstance(inputs, dict) or set(inputs) != {"pictures", "holes"}:
            found = ", ".join(sorted(inputs)) if isinstance(inputs, dict) else "a single tensor or a list"
            raise FakeclfError(
                f"{name} takes {found}; an inpainter takes pictures and holes; train one with fakeclf train"
            )
        self.settings: dict[str, Any] = {
            "inpainter_sha256": card.files["model.keras"],
            "largest": TILE,
            "keras": keras.__version__,
        }

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What the model makes of the picture; nothing is drawn."""

        def run(seen: np.ndarray, hole: np.ndarray) -> np.ndarray:
            batch = {"pictures": seen[None].astype(np.float32), "holes": hole[None, ..., None].astype(np.float32)}
            # Not predict_on_batch: on TensorFlow it reuses one size's padding of dilated convolutions for others.
            return to_bytes(np.asarray(self.model(batch, training=False))[0])

        return through_window(picture, mask, run, largest=TILE)


class _Span:
    """A tile of one side: ``seen`` and ``kept`` in the picture, and ``within``, the kept part of what was seen."""

    def __init__(self, start: int, stop: int, length: int) -> None:
        first, last = max(start - MARGIN, 0), min(stop + MARGIN, length)
        self.seen, self.kept = slice(first, last), slice(start, stop)
        self.within = slice(start - first, stop - first)


def _spans(length: int) -> Iterator[_Span]:
    if length <= TILE:
        yield _Span(0, length, length)
        return
    step = TILE - 2 * MARGIN
    for start in range(0, length, step):
        yield _Span(start, min(start + step, length), length)
