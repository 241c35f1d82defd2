"""Show a localizer every picture of a list of pairs once, and its forgeries right behind each original."""

from __future__ import annotations

import logging
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import images
from fakeclf.data.degrade import Degradation
from fakeclf.data.progress import Progress
from fakeclf.errors import FakeclfError
from segmentation.forgeries.compose import EDGES, binary, read_mask

if TYPE_CHECKING:
    from segmentation.datasets import Pair

Locate = Callable[[np.ndarray], Any]
"""From a picture, uint8 RGB (h, w, 3), to an object with ``mask``, P(inpainted), float32 (h, w), and ``score``: P(FAKE)
of the whole picture, or None."""
Codec = Callable[[np.ndarray], np.ndarray] | Degradation
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Visit:
    """A picture that was looked at.

    Attributes:
        place: of the pair among the pairs; -1 for an original that is no pair of its own.
        image: its path.
        original: uint8 (h, w, 3), as in the file.
        picture: uint8 (h, w, 3), what the localizer saw.
        mask: P(inpainted), float32 (h, w), of ``picture``.
        score: P(FAKE) of the picture, or None.
        seconds: that the localizer took.
        truth: (h, w), true = inpainted; None, as everything below, for a pristine picture.
        control: the mask of its original, where that could be used.
        changed: mean absolute difference from its original, 0-255, in the files, where the mask is black.
        generator: of the pair.
    """

    place: int
    image: str
    original: np.ndarray
    picture: np.ndarray
    mask: np.ndarray
    score: float | None
    seconds: float
    truth: np.ndarray | None = None
    control: np.ndarray | None = None
    changed: float = math.nan
    generator: str = ""


class Visits:
    """Reads pictures, shows them to the localizer, counts and names what cannot be used.

    Args:
        locate, edges, codec, seed: see ``segmentation.evaluate.evaluate``.

    Attributes:
        problems: a line for each picture or original that could not be used.
        unreadable, failed: files that could not be decoded, and pictures left out for other reasons.

    Raises:
        FakeclfError: ``edges`` is none of those there are.
    """

    def __init__(self, locate: Locate, edges: str, codec: Codec | None, seed: int) -> None:
        if edges not in EDGES:
            raise FakeclfError(f"edges of masks are read as one of {', '.join(EDGES)}; received {edges!r}")
        self.locate, self.edges, self.codec, self.seed = locate, edges, codec, seed
        self.problems: list[str] = []
        self.unreadable = self.failed = 0

    @property
    def codec_name(self) -> str:
        if self.codec is None or isinstance(self.codec, Degradation):
            return self.codec.name if self.codec else ""
        return str(getattr(self.codec, "__name__", self.codec))

    def of(self, pairs: Sequence[Pair]) -> Iterator[Visit]:
        """Every pristine picture once, and right behind it what was made from it: its mask is needed no longer then."""
        groups: dict[tuple[str | None, int], list[int]] = {}
        for place, pair in enumerate(pairs):
            untouched = pair.original if pair.mask else pair.image
            groups.setdefault((untouched, -1) if untouched else (None, place), []).append(place)
        forged = sum(pair.mask is not None for pair in pairs)
        done, total = 0, forged + sum(untouched is not None for untouched, _ in groups)
        with Progress("locate", total, unit="pictures") as progress:
            for (untouched, _), places in groups.items():
                pristine = None
                if untouched is not None:
                    own = next((place for place in places if not pairs[place].mask), -1)
                    pristine = self._look(own, untouched)
                    progress.to(done := done + 1)
                if pristine is not None:
                    yield pristine
                for place in (place for place in places if pairs[place].mask):
                    visit = self._look(place, pairs[place].image, pairs[place], pristine)
                    progress.to(done := done + 1)
                    if visit is not None:
                        yield visit

    def _look(self, place: int, path: str, pair: Pair | None = None, pristine: Visit | None = None) -> Visit | None:
        try:
            original = images.read(path)
            mask = None
            if pair is not None and pair.mask:
                mask = read_mask(pair.mask, original.shape[:2], sure=pair.forged_here)
            picture, moved = self._through(path, original, mask)
            start = time.perf_counter()
            found = self.locate(picture)
            seconds = time.perf_counter() - start
        except images.UnreadablePicture as error:
            self.unreadable += 1
            self._tell(str(error))
            return None
        except FakeclfError as error:
            self.failed += 1
            self._tell(f"{path}: {error}")
            return None
        more: dict[str, Any] = {}
        if pair is not None and mask is not None and moved is not None:
            more = {"truth": binary(moved, self.edges) >= 0.5, "generator": pair.generator}
            if pristine is not None and pristine.original.shape != original.shape:
                self._tell(f"{pair.original}: not of the size of {path}, so there is no control for that picture")
            elif pristine is not None:
                more |= {"control": pristine.mask, "changed": _difference(original, pristine.original, mask)}
        probabilities, score = _checked(found, picture)
        return Visit(place, path, original, picture, probabilities, score, seconds, **more)

    def _through(self, path: str, picture: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        if self.codec is None:
            return picture, mask
        if isinstance(self.codec, Degradation):
            random = np.random.default_rng([self.seed, zlib.crc32(path.encode())])
            if mask is None:
                return self.codec.apply(picture, random), None
            return self.codec.apply(picture, random, mask=mask)
        changed = self.codec(picture)
        if changed.shape != picture.shape or changed.dtype != np.uint8:
            received = f"{changed.dtype} of shape {changed.shape} for {picture.shape}"
            raise FakeclfError(f"{self.codec_name} must keep the picture's size and uint8; it gave {received}")
        return changed, mask

    def _tell(self, line: str) -> None:
        self.problems.append(line)
        _log.warning("left out: %s", line)


def _checked(found: Any, picture: np.ndarray) -> tuple[np.ndarray, float | None]:
    mask = np.asarray(found.mask)
    score = None if found.score is None else float(found.score)
    if mask.shape != picture.shape[:2]:
        raise FakeclfError(
            f"the localizer gave a mask of {mask.shape} for a picture of {picture.shape[:2]}; both agree"
        )
    if not ((mask >= 0) & (mask <= 1)).all() or score is not None and not 0 <= score <= 1:
        raise FakeclfError(
            "the localizer gave something else than probabilities (NaN or outside 0 to 1); its weights are broken: "
            "fetch or train it again"
        )
    return mask, score


def _difference(picture: np.ndarray, original: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference where the mask is black; NaN where it nowhere is."""
    kept = mask == 0
    return float(np.abs(picture[kept].astype(np.int16) - original[kept]).mean()) if kept.any() else math.nan
