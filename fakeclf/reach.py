"""Which pictures a model can judge: of what size, how well compressed, with how much fine detail left.

Resampling, blur and strong compression erase what the models look for. A picture without those traces is no more real
than one that is cut out of a newspaper; a model gives no vote on it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fakeclf.errors import FakeclfError

if TYPE_CHECKING:
    from fakeclf.traces import Traces


@dataclass(frozen=True)
class Reach:
    """What a picture must be like for a model to have a vote.

    Attributes:
        smallest: of the shorter side, pixels.
        largest: of the longer side, pixels; None = any.
        jpeg_quality: the lowest quality (libjpeg's scale) of its last compression; None = any.
        highest_jpeg_quality: the highest, of a model for pictures that were saved again: it has no vote on what shows
            no such compression; None = any, or no compression at all.
        bandwidth: the least that is left of its fine detail, see ``fakeclf.traces``; None = any.
        protocol: how the limits were found, a line each.
    """

    smallest: int = 1
    largest: int | None = None
    jpeg_quality: int | None = None
    highest_jpeg_quality: int | None = None
    bandwidth: float | None = None
    protocol: tuple[str, ...] = ()

    def why_not(self, size: tuple[int, int], traces: Traces, lossy: str = "") -> str:
        """Why a picture is out of reach, in words; "" if it is not.

        Args:
            size: width and height, pixels.
            traces: of its pixels.
            lossy: what else than JPEG its file went through, see ``fakeclf.data.codec.lossy_otherwise``.
        """
        width, height = size
        if min(size) < self.smallest or self.largest is not None and max(size) > self.largest:
            if self.smallest == self.largest:
                return f"it judges pictures of {self.smallest} x {self.smallest} pixels alone, not {width} x {height}"
            upper = f"at most {self.largest:,}" if self.largest else "any number of"
            return f"it judges pictures of at least {self.smallest} and {upper} pixels a side, not {width} x {height}"
        if lossy and self.jpeg_quality is not None:
            return f"its file went through {lossy}, and what it looks for was measured on JPEG and lossless files alone"
        quality, most = traces.jpeg_quality, self.highest_jpeg_quality
        if most is not None and (quality is None or quality > most):
            return f"it judges pictures saved as JPEG of quality {most} or less, and this one shows no trace of that"
        if self.jpeg_quality is not None and quality is not None and quality < self.jpeg_quality:
            return (
                f"the picture was compressed to JPEG quality {quality}; below {self.jpeg_quality} too little is "
                "left of what it looks for"
            )
        left = traces.bandwidth
        if self.bandwidth is not None and left is not None and left < self.bandwidth:
            return (
                f"the picture has no detail finer than {left:.0%} of what its pixels could hold (resized, blurred or "
                f"out of focus); it needs {self.bandwidth:.0%}"
            )
        return ""

    def describe(self) -> str:
        """The limits in words, as "pictures of at least 216 pixels a side, JPEG quality 90 or better"."""
        if self.smallest == self.largest:
            sizes = f"pictures of {self.smallest} x {self.smallest} pixels"
        else:
            upper = f" and at most {self.largest:,}" if self.largest else ""
            sizes = f"pictures of at least {self.smallest}{upper} pixels a side"
        lowest, most = self.jpeg_quality, self.highest_jpeg_quality
        if most is not None:
            quality = (
                f", saved as JPEG of quality {most} or less" if lowest is None else f", JPEG quality {lowest} to {most}"
            )
        else:
            quality = "" if lowest is None else f", JPEG quality {lowest} or better"
        detail = "" if self.bandwidth is None else f", {self.bandwidth:.0%} of the fine detail left"
        return sizes + quality + detail

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a card."""
        return dataclasses.asdict(self) | {"protocol": list(self.protocol)}

    @classmethod
    def from_json(cls, values: dict[str, Any] | None, sizes: dict[str, Any] | None = None) -> Reach:
        """The reach that a card states.

        Args:
            values: its ``reach``; where None, the picture sizes it was trained on are the limit.
            sizes: those: ``smallest`` and ``largest``.

        Raises:
            FakeclfError: the card names a limit that is not known.
        """
        if values is None:
            return cls(smallest=int(sizes["smallest"]), largest=int(sizes["largest"])) if sizes else cls()
        try:
            return cls(**{**values, "protocol": tuple(values.get("protocol", ()))})
        except TypeError as error:
            raise FakeclfError(f"the card's reach is damaged ({error}); make or fetch the bundle again") from error
