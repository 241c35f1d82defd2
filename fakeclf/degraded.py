"""P(REAL) of pictures as they are and after each of several degradations.

Each picture is decoded once. One batch is in memory at a time, and the one after it is made meanwhile, so neither the
number of the pictures nor how many sizes there are decides how much memory it takes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from fakeclf import images
from fakeclf.data.codec import header
from fakeclf.data.degrade import Degradation
from fakeclf.data.progress import Progress
from fakeclf.errors import FakeclfError
from fakeclf.evaluate import BATCH_BYTES, scorer

if TYPE_CHECKING:
    from fakeclf.data.datasets import Example

T = TypeVar("T")


class Predicted(NamedTuple):
    """What came of it.

    Attributes:
        places: positions of the pictures that could be read and degraded, rising, (n,).
        p_real: their P(REAL), (1 + degradations, n); the first row is of the untouched pictures.
        unreadable: how many files could not be read.
        problems: what was left out, a line each.
    """

    places: np.ndarray
    p_real: np.ndarray
    unreadable: int
    problems: list[str]


def predict_degraded(
    network: Any, examples: Sequence[Example], steps: Sequence[Degradation], batch_size: int = 64, seed: int = 0
) -> Predicted:
    """Show a classifier pictures at their own size, in batches of equal size, untouched and after each degradation.

    Args:
        network: takes RGB pictures (b, h, w, 3) of any size, 0-255; gives P(REAL), (b, 1).
        examples: the pictures.
        steps: the degradations, each applied to the untouched picture.
        batch_size: pictures at a time; fewer where they are large.
        seed: of noise, which each picture gets of its own.

    Raises:
        FakeclfError: no picture of a class can be read, or the network gives anything but one number a picture.
    """
    from fakeclf.data.pipeline import Pictures

    pictures = Pictures(examples, None, cache=False)
    score = scorer(network)
    p_real = np.full((1 + len(steps), len(examples)), np.nan)
    too_large: dict[int, str] = {}

    def degraded(place: int, picture: np.ndarray, step: Degradation | None) -> np.ndarray:
        if step is None:
            return picture
        example = examples[place]
        # Not by path: the same data set in another folder gives the same figures.
        random = np.random.default_rng([seed, example.label, zlib.crc32(os.fsencode(example.source))])
        try:
            return step.apply(picture, random)
        except FakeclfError as error:
            too_large[place] = f"{example.path}: {error}"
            return picture  # fills its place in the batch

    def jobs(pool: ThreadPoolExecutor) -> Iterator[tuple[int, list[int], list[Future[np.ndarray]]]]:
        for batch in _batches(examples, batch_size):
            read = pool.map(pictures.read, [examples[place].path for place in batch])
            by_shape: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}  # EXIF may turn some of them
            for place, picture in zip(batch, read, strict=True):
                if picture.size:
                    by_shape.setdefault(picture.shape, []).append((place, picture))
            for alike in by_shape.values():
                for row, step in enumerate((None, *steps)):
                    yield row, [place for place, _ in alike], [pool.submit(degraded, *item, step) for item in alike]

    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool, Progress("predict", p_real.size, unit="pictures") as progress:
        for row, places, waiting in _one_ahead(jobs(pool)):
            batch = np.stack([job.result() for job in waiting]).astype(np.float32)
            p_real[row, places] = score(batch)
            done += len(places)
            progress.to(done + len(p_real) * len(pictures.unreadable))
    left_out = [example.path in pictures.unreadable or place in too_large for place, example in enumerate(examples)]
    kept = np.flatnonzero(~np.array(left_out))
    problems = [*pictures.unreadable.values(), *(too_large[place] for place in sorted(too_large))]
    return Predicted(kept, p_real[:, kept], len(pictures.unreadable), problems)


def _batches(examples: Sequence[Example], batch_size: int) -> Iterator[list[int]]:
    """Places of pictures of one size, so many at a time that as float32 they stay below ``BATCH_BYTES``."""
    sizes = [_size(example.path) for example in examples]
    in_order = sorted(range(len(examples)), key=sizes.__getitem__)  # stable: within a size as they came
    for (width, height), group in groupby(in_order, key=sizes.__getitem__):
        alike = list(group)
        number = max(1, min(batch_size, BATCH_BYTES // max(1, width * height * 3 * 4)))
        yield from (alike[start : start + number] for start in range(0, len(alike), number))


def _size(path: str) -> tuple[int, int]:
    try:
        found = header(path)
    except images.UnreadablePicture:
        return 0, 0  # counted and named where the picture itself is read
    return found.width, found.height


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each asked for while the one before it is in use."""
    waiting: list[T] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting
