"""What a latent-diffusion inpainter leaves, from parts: a hole filled, then the whole frame through an autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from fakeclf.errors import FakeclfError


class Latent:
    """A source that fills the hole and then regenerates the whole frame, so that its traces lie inside and outside.

    A latent-diffusion pipeline paints in the latent space of an autoencoder, whose decoder then writes every pixel.
    Here another inpainter paints, and the decoder is a real one; see ``inpainters.Source`` for the attributes.

    Args:
        parts: ``FILLER+AUTOENCODER``, as ``inpainter+small-autoencoder``; both as ``inpainters.open_source`` takes it.

    Raises:
        FakeclfError: there are not two parts, one cannot be opened, or they are not of these kinds.
    """

    whole_frame = True

    def __init__(self, parts: str) -> None:
        from segmentation.forgeries.inpainters import open_source

        filler, plus, autoencoder = parts.partition("+")
        if not plus:
            raise FakeclfError(
                f"latent: takes FILLER+AUTOENCODER, as latent:telea+small-autoencoder; received {parts!r}"
            )
        self.filler, self.autoencoder = open_source(filler), open_source(autoencoder)
        if self.filler.whole_frame or not self.autoencoder.whole_frame:
            raise FakeclfError(
                f"latent: takes a source that fills holes, then an autoencoder; received {filler!r} and {autoencoder!r}"
            )
        self.name = f"latent-{self.filler.name}-{self.autoencoder.name}"
        self.in_process = self.filler.in_process or self.autoencoder.in_process
        self.settings: dict[str, Any] = {
            self.filler.name: self.filler.settings,
            self.autoencoder.name: self.autoencoder.settings,
        }

    def fill(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The filled picture's round trip; see ``inpainters.Source.fill``."""
        return self.autoencoder.fill(self.filler.fill(picture, mask, random), mask, random)
