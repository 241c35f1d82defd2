"""CIFAKE: 60,000 real pictures of CIFAR-10 and 60,000 made by Stable Diffusion 1.4, all 32x32 JPEG.

Reference: Bird and Lotfi 2024, "CIFAKE: Image Classification and Explainable Identification of AI-Generated Synthetic
Images", IEEE Access 12 (arXiv:2303.14126). Licence: MIT.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from fakeclf import images
from fakeclf.data.archives import BadArchive
from fakeclf.data.datasets import LABELS, Dataset, Example
from fakeclf.data.splits import assemble
from fakeclf.errors import FakeclfError

URL = "https://www.kaggle.com/api/v1/datasets/download/birdy654/cifake-real-and-ai-generated-synthetic-images"

COUNTS = {"train/FAKE": 50_000, "train/REAL": 50_000, "test/FAKE": 10_000, "test/REAL": 10_000}

_log = logging.getLogger(__name__)


def load(*, validation: float, seed: int, data_dir: Path, fetch: bool) -> Dataset:
    """CIFAKE with its own test part; ``validation`` of each class of ``train`` is held out.

    Every file is a source of its own: that ``0000 (2).jpg`` is in both classes is an accident of numbering.

    Raises:
        FakeclfError: it is not there and may not or cannot be downloaded, or a folder is missing.
    """
    root = data_dir / "cifake"
    if not root.is_dir():
        from fakeclf.data import fetch as fetching

        if not fetch:
            raise FakeclfError(
                f"CIFAKE is not at {root}; run: fakeclf data fetch cifake, or {fetching.how_to_import('cifake')}"
            )
        fetching.fetch("cifake", data_dir)
    parts: dict[str, list[Example]] = {"train": [], "test": []}
    start = len(str(root)) + 1
    counts = {}
    for place in COUNTS:
        part, word = place.split("/")
        if not (root / place).is_dir():
            raise FakeclfError(f"{root} is not CIFAKE: {place}/ is missing; run: fakeclf data fetch cifake --force")
        paths = [str(path) for path in images.find(root / place)]
        counts[place] = len(paths)
        parts[part] += [Example(path, LABELS.index(word), path[start:]) for path in paths]
    note = "CIFAKE (Bird and Lotfi 2024)"
    if counts != COUNTS:
        note += f", incomplete: {sum(counts.values()):,} of {sum(COUNTS.values()):,} pictures"
        _log.warning("%s at %s", note, root)
    return assemble("cifake", root, parts, validation=validation, seed=seed, data_dir=data_dir, note=note)


def place(parts: tuple[str, ...]) -> str | None:
    """Where a picture of an archive goes: the last three parts of its path must be train|test, FAKE|REAL, file."""
    if len(parts) < 3:
        return None
    where = f"{parts[-3].lower()}/{parts[-2].upper()}"
    return f"{where}/{parts[-1]}" if where in COUNTS else None


def check(where: str, content: bytes) -> None:
    """Every file of CIFAKE is a JPEG.

    Raises:
        BadArchive: this one is not.
    """
    if not content.startswith(b"\xff\xd8\xff"):
        raise BadArchive(f"this is not CIFAKE: {where} is no JPEG")


def check_counts(counts: Mapping[str, int], complete: bool) -> None:
    """Both classes in both parts; with ``complete``, all 120,000 pictures.

    Raises:
        BadArchive: something is missing.
    """
    if complete and counts != COUNTS or any(not counts.get(place) for place in COUNTS):
        found = ", ".join(f"{place} {counts.get(place, 0):,} of {number:,}" for place, number in COUNTS.items())
        rest = "; import it all the same with --partial" if all(counts.get(place) for place in COUNTS) else ""
        raise BadArchive(f"this is not the whole of CIFAKE, {{train,test}}/{{FAKE,REAL}}/*.jpg: found {found}{rest}")
