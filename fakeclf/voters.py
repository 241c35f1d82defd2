"""Models that have a say in a verdict: what each gives for a picture, and the vote that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from fakeclf import bundle, registry, runtime
from fakeclf.any_size import any_size
from fakeclf.calibration import Calibration
from fakeclf.errors import FakeclfError
from fakeclf.reach import Reach
from fakeclf.traces import Traces
from fakeclf.verdict import Vote

DEFAULT = ("cifake-robust", "regenerated", "localizer", "localizer-saved")
"""The shipped bundles that are asked unless others are named."""


class Looked(NamedTuple):
    """What a model makes of a picture.

    Attributes:
        raw: P(FAKE) before calibration.
        mask: P(inpainted) of each pixel, float32 (height, width); None from a model that gives none.
        remark: a sentence, for people, on a trace of this very file that it found besides.
        again: looks at changed copies of the picture, which need not be searched for what it did not show itself;
            None: as at any picture.
    """

    raw: float
    mask: np.ndarray | None = None
    remark: str = ""
    again: Callable[[np.ndarray], Looked] | None = None


Look = Callable[[np.ndarray], Looked]
"""From a picture, uint8 (height, width, 3)."""

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


@dataclass
class Voter:
    """A model that is ready to be asked.

    Attributes:
        name: of the bundle.
        folder: of the bundle.
        card: of the bundle.
        reach: which pictures it can judge.
        calibration: from its raw P(FAKE) to one that can be believed; None where it was not calibrated.
        look: asks the network.
    """

    name: str
    folder: Path
    card: bundle.Card
    reach: Reach
    calibration: Calibration | None
    look: Look = field(repr=False)

    @property
    def localizes(self) -> bool:
        """Whether it gives a mask."""
        return self.card.kind == "localizer"

    def no_vote(self, size: tuple[int, int], traces: Traces, lossy: str = "") -> str:
        """Why it has no vote on such a picture; "" if it has one."""
        if self.calibration is None and self.localizes:
            return "its picture score is not calibrated (`fakeclf models calibrate`)"
        return self.reach.why_not(size, traces, lossy)

    def vote(self, raw: float | None, no_vote: str = "") -> Vote:
        """What it says of a picture.

        Args:
            raw: P(FAKE) before calibration; None if it was not asked.
            no_vote: why it has no vote.
        """
        if self.calibration is None:  # an old bundle, or one of too few pictures: the network's own word is taken
            calibrated, threshold, real_below = raw, self.card.threshold, self.card.threshold
        else:
            calibrated = None if raw is None else float(self.calibration.apply(raw))
            threshold, real_below = self.calibration.threshold, self.calibration.real_below
        says = None
        if not no_vote and calibrated is not None:
            says = "fake" if calibrated >= threshold else "real" if calibrated < real_below else "unsure"
        return Vote(
            self.name,
            self.card.kind,
            self.card.files.get("model.keras", ""),
            p_fake=calibrated,
            raw=raw,
            says=says,
            threshold=threshold,
            real_below=real_below,
            no_vote=no_vote,
        )


def without_vote(voters: Sequence[Voter], size: tuple[int, int], traces: Traces, lossy: str = "") -> list[str]:
    """Why each has no vote on a picture, "" where it has one, see ``Voter.no_vote``.

    Where a localizer for pictures that were saved again has one, other localizers have none: it was trained for what
    is left of a forgery, and two that look for the same would be wrong twice as often.
    """
    reasons = [voter.no_vote(size, traces, lossy) for voter in voters]
    localizers = [place for place, voter in enumerate(voters) if voter.localizes and not reasons[place]]
    for_it = [place for place in localizers if voters[place].reach.highest_jpeg_quality is not None]
    for place in localizers:
        if for_it and place not in for_it:
            reasons[place] = f"{voters[for_it[0]].name} is the one for pictures saved as JPEG {traces.jpeg_quality}"
    return reasons


def open_voters(names: str | Path | Sequence[str | Path] | None = None, *, threads: int | None = None) -> list[Voter]:
    """Models that are ready to be asked, from several threads if need be, loaded once a process.

    Args:
        names: names or folders of bundles, one or several (or ``a,b``); default: those of :data:`DEFAULT` that are
            there.
        threads: how many a LiteRT file may use for a picture; default: as many as this process has cores.

    Raises:
        FakeclfError: there is no such bundle, it has no say in a verdict, or none is there at all.
    """
    found = [(folder, bundle.sha256(folder / "card.json"), runtime.can_run(folder)) for folder in _folders(names)]
    # Keras takes all cores whatever is asked, and its networks are large: one of each is enough.
    return [_open(*about, threads if about[2] else None) for about in found]


def need_keras(names: str | Path | Sequence[str | Path] | None = None) -> bool:
    """Whether any of these models runs in Keras, having no LiteRT file; arguments and errors as of ``open_voters``."""
    return not all(runtime.can_run(folder) for folder in _folders(names))


def _folders(names: str | Path | Sequence[str | Path] | None) -> list[Path]:
    if names is None:
        there = dict(bundle.names())
        wanted: list[str | Path] = [name for name in DEFAULT if name in there]
        if not wanted:
            raise FakeclfError(
                f"none of the default models is there ({', '.join(DEFAULT)}); name one with --models, or train one "
                "with `fakeclf train`"
            )
    else:
        given = [names] if isinstance(names, str | Path) else list(names)
        wanted = [part for name in given for part in (name.split(",") if isinstance(name, str) else [name]) if part]
        if not wanted:
            raise FakeclfError("no model is named; `fakeclf models list` shows which there are")
    return list(dict.fromkeys(bundle.find(name).resolve() for name in wanted))


def look_classifier(name: str | Path, threads: int | None = None) -> Look:
    """The bundle of a classifier or an ensemble as a function from a picture to its P(FAKE).

    Its LiteRT file is taken where it has one, and else Keras.
    """
    in_litert = runtime.open_classifier(name, threads=threads)
    if in_litert is not None:
        return lambda pixels: Looked(1.0 - in_litert(pixels))
    in_keras = any_size(bundle.load(name))

    @one_at_a_time
    def look(pixels: np.ndarray) -> Looked:
        return Looked(1.0 - float(in_keras(pixels[np.newaxis].astype(np.float32)).item()))

    return look


def one_at_a_time(ask: Callable[Asked, Answer]) -> Callable[Asked, Answer]:
    """``ask`` for several threads: each waits until the others have gone through."""
    lock = Lock()

    def alone(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        with lock:
            return ask(*args, **kwargs)

    return alone


@lru_cache(maxsize=16)
def _open(folder: Path, card_sha256: str, in_litert: bool, threads: int | None) -> Voter:
    card = bundle.read_card(folder)
    kind = registry.kind(card.kind)
    if not kind.look:
        raise FakeclfError(f"{card.name} is of kind {card.kind}; classifiers, ensembles and localizers judge pictures")
    return Voter(
        card.name,
        folder,
        card,
        Reach.from_json(card.reach, card.input.get("sizes")),
        Calibration.from_json(card.calibration) if card.calibration else None,
        registry.resolve(kind.look)(folder, threads),
    )
