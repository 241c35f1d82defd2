"""Whole frames with a grid of blocks of their own, as generators paint that learnt from JPEG pictures.

Such a generator gives its pixels the seams and the rounding of its training pictures' blocks, whatever the grid, if
any, of the picture that they are put into. That no grid means forged is thus the wrong rule; what tells is mismatch.
Nothing is trained. From no paper; the blocks are libjpeg's.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from segmentation.forgeries.inpainters import FrameSource, to_bytes
from segmentation.forgeries.random_decoder import RandomDecoder
from segmentation.forgeries.resampled import noise_level


class Blocky(FrameSource):
    """The frame, or what a decoder of drawn weights makes of it, and a share of what saving it as JPEG does to it.

    Attributes:
        settings: what is drawn from. ``decoded``: how often a decoder comes first; ``quality``: of the JPEG; ``share``:
            how much of what it changes is taken over, 1 for the JPEG itself; ``moved``: how often its grid begins
            anywhere, not at the corner; ``noise``: the level of the noise in the end relative to the picture's own.
    """

    name = "blocky"

    def __init__(self) -> None:
        self._decoder = RandomDecoder()
        self.settings: dict[str, Any] = {
            "decoded": 0.5,
            "quality": [50, 92],
            "share": [0.4, 1.0],
            "moved": 0.3,
            "noise": [0.0, 0.9],
            "decoder": self._decoder.settings,
        }

    def frame(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One passage of the frame; see the class.

        Raises:
            FakeclfError: a picture that ``random-decoder`` finds too large.
        """
        frame = self._decoder.frame(picture, random) if random.random() < self.settings["decoded"] else picture
        quality = int(random.integers(self.settings["quality"][0], self.settings["quality"][1] + 1))
        share = float(random.uniform(*self.settings["share"]))
        moved = random.random() < self.settings["moved"]
        top, left = (int(side) for side in random.integers(0, 8, 2)) if moved else (0, 0)
        padded = np.pad(frame, ((top, 0), (left, 0), (0, 0)), mode="edge")
        stream = io.BytesIO()
        Image.fromarray(padded).save(stream, "JPEG", quality=quality)
        saved = np.asarray(Image.open(stream), np.float32)[top:, left:]
        made = frame + share * (saved - frame)
        wanted = noise_level(picture.astype(np.float32)) * random.uniform(*self.settings["noise"])
        missing = np.sqrt(np.maximum(wanted**2 - noise_level(made) ** 2, 0))
        return to_bytes(made + missing * random.standard_normal(made.shape, dtype=np.float32))
