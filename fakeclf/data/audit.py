"""Can FAKE be told from REAL without looking at the pictures? Then a classifier will learn just that.

Compares the two classes in format, JPEG tables, chroma subsampling, size, colour mode and metadata (headers only, no
pixel is decoded), and looks for identical files in both classes or in several parts.

How telling a feature is: every value is taken for the class in which it is more frequent; the rule is made on one half
of the sources and scored on the other, and the other way round, so that a feature of many values (a camera's serial
number, say) does not look telling because each value was learnt by heart. The score is the balanced accuracy: 0.5 is
chance, 1.0 tells the classes without fail.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fakeclf import images
from fakeclf.data.codec import Header, header, jpeg_quality
from fakeclf.data.datasets import LABELS, Dataset, Example, load
from fakeclf.data.progress import Progress

TELLING = 0.55
"""A feature whose score is above this, and above what chance makes of so few pictures, is warned about."""

FEATURES: dict[str, Callable[[Header], str]] = {
    "format": lambda head: head.format,
    "JPEG tables": lambda head: _tables(head),
    "chroma subsampling": lambda head: head.subsampling or "none",
    "JPEG scans": lambda head: ("progressive" if head.progressive else "baseline") if head.tables else "none",
    "size": lambda head: f"{head.width}x{head.height}",
    "colour mode": lambda head: head.mode,
    "orientation": lambda head: str(head.orientation),
    "metadata": lambda head: ", ".join(head.metadata) or "none",
    "software": lambda head: head.software or "none",
}

_PARTS = ("train", "validation", "test")
_VALUES_SHOWN = 3
_VALUES_KEPT = 20
_Row = tuple[Example, tuple[str, ...]]


@dataclass(frozen=True)
class Feature:
    """What one property of the files tells.

    Attributes:
        name: one of :data:`FEATURES`.
        score: balanced accuracy of the best rule, 0 to 1.
        telling: whether that is a warning.
        shares: class name -> value -> share of the class (0 to 1), most frequent first, at most 20.
    """

    name: str
    score: float
    telling: bool
    shares: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Audit:
    """Result of :func:`audit`.

    Attributes:
        dataset: its name.
        pictures, headers_read: class name -> number of pictures, and of those whose header was read.
        seed: of the sample.
        features: in the order of :data:`FEATURES`.
        together: score of all features taken as one.
        identical_across_classes: contents (byte for byte) that are in both classes.
        identical_across_parts: ``train and test``, ``train and validation``, ``validation and test`` -> number of
            contents that are in both.
        unreadable: messages of files whose header cannot be read.
        warnings: what should be put right before training, one line each; empty if nothing was found.
    """

    dataset: str
    pictures: dict[str, int]
    headers_read: dict[str, int]
    seed: int
    features: tuple[Feature, ...]
    together: float
    identical_across_classes: int
    identical_across_parts: dict[str, int]
    unreadable: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict:
        """The same as plain dictionaries and lists."""
        return asdict(self)

    def to_table(self) -> str:
        """A table for people, a line a feature, and the warnings below it."""
        rows: list[tuple[str, ...]] = [("feature", "tells by", *LABELS)]
        for feature in self.features:
            rows.append((feature.name, f"{feature.score:.3f}", *(_most(feature.shares[word]) for word in LABELS)))
        rows.append(("all together", f"{self.together:.3f}", "", ""))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
        parts = _listed(self.identical_across_parts)
        pictures = " and ".join(f"{self.pictures[word]:,} {word}" for word in LABELS)
        read = " + ".join(f"{self.headers_read[word]:,}" for word in LABELS)
        return "\n".join(
            [
                f"{self.dataset}: {pictures}; headers of {read} read (seed {self.seed}).",
                "'tells by': balanced accuracy of guessing the class from that feature alone; 0.500 is chance.",
                "",
                *(line.rstrip() for line in lines),
                "",
                f"identical files: {self.identical_across_classes:,} in both classes, {parts}",
                f"unreadable: {len(self.unreadable):,}",
                *(f"warning: {warning}" for warning in self.warnings or ()),
                *([] if self.warnings else ["Nothing but the pictures themselves tells the classes apart."]),
            ]
        )


def audit(
    dataset: Dataset | str | Path,
    *,
    per_class: int = 2000,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Audit:
    """Compare the classes of a data set.

    Args:
        dataset: loaded, or the name or folder of one (which is not downloaded).
        per_class: headers of at most so many pictures a class are read, picked by ``seed`` out of all parts.
            Identical files are looked for among all pictures.

    Raises:
        FakeclfError: there is no such data set.
    """
    if not isinstance(dataset, Dataset):
        dataset = load(dataset, data_dir=data_dir, fetch=False)
    examples = [*dataset.train, *dataset.validation, *dataset.test]
    by_class = [[example for example in examples if example.label == label] for label in range(len(LABELS))]
    rows: list[_Row] = []
    unreadable: list[str] = []
    for of_class in by_class:
        for example in random.Random(seed).sample(of_class, min(per_class, len(of_class))):
            try:
                head = header(example.path)
                rows.append((example, tuple(value(head) for value in FEATURES.values())))
            except images.UnreadablePicture as error:
                unreadable.append(str(error))
    read = Counter(example.label for example, _ in rows)
    least = max(TELLING, _chance(read))
    features = []
    for column, name in enumerate(FEATURES):
        score = telling([(example, values[column]) for example, values in rows])
        features.append(Feature(name, score, score > least, _shares(rows, column)))
    together = telling(rows)
    across_classes, across_parts = _identical(dataset)
    return Audit(
        dataset=dataset.name,
        pictures={word: len(by_class[label]) for label, word in enumerate(LABELS)},
        headers_read={word: read[label] for label, word in enumerate(LABELS)},
        seed=seed,
        features=tuple(features),
        together=together,
        identical_across_classes=across_classes,
        identical_across_parts=across_parts,
        unreadable=tuple(unreadable),
        warnings=tuple(_warnings(features, together, least, across_classes, across_parts, unreadable)),
    )


def telling(rows: Sequence[tuple[Example, Hashable]]) -> float:
    """Balanced accuracy, 0 to 1, of guessing the class from a value; see the module's description.

    Values that the one half holds only once are taken together, and stand for those it does not hold at all: where one
    class has a size of its own for every picture, that too tells. A tie counts half.
    """
    halves: tuple[list, list] = ([], [])
    for example, value in rows:
        halves[hashlib.sha256(example.source.encode(errors="surrogateescape")).digest()[0] & 1].append((example, value))
    return (_scored(*halves) + _scored(*reversed(halves))) / 2


def _scored(made_on: list[tuple[Example, Hashable]], tried_on: list[tuple[Example, Hashable]]) -> float:
    if any(len({example.label for example, _ in half}) < len(LABELS) for half in (made_on, tried_on)):
        return 0.5
    seen = Counter(value for _, value in made_on)
    sizes = Counter(example.label for example, _ in made_on)
    lean: dict[Hashable, float] = defaultdict(float)  # above 0: more frequent in REAL
    for example, value in made_on:
        lean[value if seen[value] > 1 else None] += (1 if example.label else -1) / sizes[example.label]
    right = [0.0, 0.0]
    count = [0, 0]
    for example, value in tried_on:
        towards = lean.get(value if seen[value] > 1 else None, 0.0)
        count[example.label] += 1
        right[example.label] += 0.5 if abs(towards) < 1e-12 else float((towards > 0) == bool(example.label))
    return sum(r / n for r, n in zip(right, count, strict=True)) / len(LABELS)


def _chance(read: Counter[int]) -> float:
    """Two standard deviations above a coin's balanced accuracy on so many pictures."""
    return 0.5 + 2 * 0.25 * math.sqrt(sum(1 / max(read[label], 1) for label in range(len(LABELS))))


def _tables(head: Header) -> str:
    if not head.tables:
        return "none"
    quality, exact = jpeg_quality(head.tables[0])
    digest = hashlib.sha256(repr(head.tables).encode()).hexdigest()[:4]
    return f"quality {quality} [{digest}]" if exact else f"quality about {quality} [{digest}]"


def _shares(rows: Sequence[_Row], column: int) -> dict[str, dict[str, float]]:
    shares = {}
    for label, word in enumerate(LABELS):
        values = Counter(values[column] for example, values in rows if example.label == label)
        total = sum(values.values())
        shares[word] = {value: round(number / total, 4) for value, number in values.most_common(_VALUES_KEPT)}
    return shares


def _identical(dataset: Dataset) -> tuple[int, dict[str, int]]:
    """Number of contents in both classes, and in two parts by pair of parts. Only files of equal size are read."""
    by_size: dict[int, list[tuple[str, int, str]]] = defaultdict(list)
    for part in _PARTS:
        for example in getattr(dataset, part):
            try:
                by_size[os.stat(example.path).st_size].append((example.path, example.label, part))
            except OSError:
                continue  # counted as unreadable, if it is in the sample
    candidates = [file for files in by_size.values() if len(files) > 1 for file in files]
    labels: dict[bytes, set[int]] = defaultdict(set)
    parts: dict[bytes, set[str]] = defaultdict(set)
    with Progress("comparing files", len(candidates), "files") as progress:
        for number, (path, label, part) in enumerate(candidates, 1):
            try:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
            except OSError:
                continue
            labels[digest].add(label)
            parts[digest].add(part)
            progress.to(number)
    pairs = {
        f"{one} and {other}": sum({one, other} <= found for found in parts.values())
        for one, other in itertools.combinations(_PARTS, 2)
    }
    return sum(len(found) > 1 for found in labels.values()), pairs


def _warnings(
    features: Sequence[Feature],
    together: float,
    least: float,
    classes: int,
    parts: dict[str, int],
    unreadable: Sequence[str],
) -> list[str]:
    found = []
    for feature in features:
        if feature.telling:
            most = "; ".join(f"{word}: {_most(feature.shares[word])}" for word in LABELS)
            found.append(f"{feature.name} alone tells the classes with balanced accuracy {feature.score:.2f} ({most})")
    if together > least and not found:
        found.append(f"all features together tell the classes with balanced accuracy {together:.2f}")
    if found:
        found.append("bring both classes to one size and codec, at one quality, before anything is trained on them")
    if classes:
        found.append(f"{classes:,} files are in both classes, byte for byte; remove them")
    if any(parts.values()):
        found.append(f"identical files, byte for byte: {_listed(parts)}; what is measured on them is too good")
    if unreadable:
        found.append(f"{len(unreadable):,} files cannot be read; the first: {unreadable[0]}")
    return found


def _listed(parts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} in {pair}" for pair, number in parts.items())


def _most(shares: dict[str, float]) -> str:
    shown = [f"{value} {share:.0%}" for value, share in list(shares.items())[:_VALUES_SHOWN]]
    more = len(shares) - len(shown)
    return ", ".join(shown) + (f", {more}{'' if len(shares) < _VALUES_KEPT else ' or more'} others" if more else "")
