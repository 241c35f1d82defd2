"""What is said of a picture: the votes of the models, and the verdict that follows from them.

Every model that may vote gives a calibrated P(FAKE). What it says of the picture follows from two numbers in its card:
``fake`` from the threshold on, which pristine validation pictures pass in one of a hundred cases; ``real`` below the
abstain band; ``unsure`` between. A picture outside what the model can judge gets no vote from it. The verdict is that
of the voter that is furthest on the side of ``fake``; with no voter at all it is ``cannot tell``, which is not the same
as ``real``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fakeclf import __version__
from fakeclf.errors import FakeclfError

VERDICTS = ("fake", "unsure", "real", "cannot tell")
EXTENTS = ("none", "local", "whole")

WHOLE = 0.9
"""Share of a picture's pixels from which on an inpainted area is called the whole picture."""


@dataclass(frozen=True)
class Vote:
    """What one model says of one picture.

    Attributes:
        model: name of the bundle.
        kind: ``classifier``, ``ensemble`` or ``localizer``.
        sha256: of its ``model.keras``: its version.
        p_fake: calibrated P(FAKE) of the picture; None where the model was not asked.
        raw: what the network gave before calibration: P(FAKE), or a localizer's picture score.
        says: ``fake``, ``unsure``, ``real``, or None for no vote.
        threshold: on ``p_fake``, from which on it says ``fake``.
        real_below: on ``p_fake``, below which it says ``real``.
        no_vote: why it has none, in words; "" where it has one.
    """

    model: str
    kind: str
    sha256: str = ""
    p_fake: float | None = None
    raw: float | None = None
    says: str | None = None
    threshold: float | None = None
    real_below: float | None = None
    no_vote: str = ""

    @property
    def margin(self) -> float:
        """How far ``p_fake`` is beyond the threshold, in log-odds; what voters are compared by."""
        assert self.p_fake is not None and self.threshold is not None
        return _logit(self.p_fake) - _logit(self.threshold)


@dataclass
class Verdict:
    """Everything that is known of one picture; one line of JSON.

    Attributes:
        path: of the file; None for an array.
        sha256: of the file's bytes.
        size: width and height of the upright picture, pixels.
        verdict: ``fake``, ``real``, ``unsure`` (the deciding model's probability lies in its abstain band) or ``cannot
            tell`` (no model can judge such a picture); None where ``error`` says why.
        p_fake: calibrated P(FAKE) of the deciding model; None where there is none.
        extent: ``none``, ``local`` or ``whole``: how much of the picture was made; None unless the verdict is ``fake``
            or ``real``.
        area: share of the pixels that the localizer marks at its threshold; None without a localizer.
        stable: ``stable`` or ``flips``: whether the verdict stays when the picture is saved as JPEG 85 and when it is
            resized by 0.75; None where that was not tried.
        flips_after: what it flips after, as ``jpeg:85``.
        decided_by: name of the deciding model.
        why: the evidence in words, a sentence each.
        votes: one a model.
        provenance: what the file says of itself, see ``fakeclf.provenance``; never part of ``p_fake``.
        traces: what the pixels tell of their past, see ``fakeclf.traces``.
        pixel_threshold: on P(inpainted) of a pixel.
        mask_path, binary_path, overlay_path: what was written; None if nothing was.
        reliability_path, heat_path, residual_path: of the reliability map, the classifier's Grad-CAM and the noise
            residual, where they were asked for.
        version: of this package.
        seconds: from reading to writing.
        error: why there is no verdict; None if there is one.
        pixels, mask, reliability, heat, residual: arrays, not part of ``to_json``: uint8 (h, w, 3), P(inpainted) and
            agreement of each pixel in [0, 1] float32 (h, w), Grad-CAM in [0, 1] float32 (h, w), uint8 (h, w, 3).
    """

    path: str | None
    sha256: str | None = None
    size: tuple[int, int] | None = None
    verdict: str | None = None
    p_fake: float | None = None
    extent: str | None = None
    area: float | None = None
    stable: str | None = None
    flips_after: list[str] = field(default_factory=list)
    decided_by: str | None = None
    why: list[str] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    traces: dict[str, Any] = field(default_factory=dict)
    pixel_threshold: float | None = None
    mask_path: str | None = None
    binary_path: str | None = None
    overlay_path: str | None = None
    reliability_path: str | None = None
    heat_path: str | None = None
    residual_path: str | None = None
    version: str = __version__
    seconds: float | None = None
    error: str | None = None
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)
    mask: np.ndarray | None = field(default=None, repr=False, compare=False)
    reliability: np.ndarray | None = field(default=None, repr=False, compare=False)
    heat: np.ndarray | None = field(default=None, repr=False, compare=False)
    residual: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def binary(self) -> np.ndarray:
        """Which pixels reach the threshold, bool (height, width)."""
        if self.mask is None or self.pixel_threshold is None:
            raise FakeclfError(f"there is no mask: {self.error}" if self.error else "there is no mask")
        return self.mask >= self.pixel_threshold

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values for one line of JSON."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in ARRAYS}
        votes = [dataclasses.asdict(vote) for vote in self.votes]
        return values | {"size": list(self.size) if self.size else None, "votes": votes}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Verdict:
        """The record that ``to_json`` gave; the arrays are gone."""
        size = values.get("size")
        votes = [Vote(**vote) for vote in values.get("votes", [])]
        return cls(**{**values, "size": (size[0], size[1]) if size else None, "votes": votes})


ARRAYS = ("pixels", "mask", "reliability", "heat", "residual")
"""Fields of ``Verdict`` that hold pictures."""


def decide(votes: Sequence[Vote], area: float | None) -> tuple[str, str | None, Vote | None]:
    """Verdict, extent and the vote that decides.

    Args:
        votes: of all models that were asked.
        area: share of the pixels that the localizer marks; None without one that may vote.
    """
    voters = [vote for vote in votes if vote.says is not None]
    if not voters:
        return "cannot tell", None, None
    first = max(voters, key=lambda vote: vote.margin)
    assert first.says is not None
    if first.says == "unsure":
        return "unsure", None, first
    if first.says == "real":
        return "real", "none", first
    localized = any(vote.kind == "localizer" and vote.says == "fake" for vote in voters)
    return "fake", "local" if localized and area is not None and area < WHOLE else "whole", first


def _logit(probability: float) -> float:
    held = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(held / (1 - held))
