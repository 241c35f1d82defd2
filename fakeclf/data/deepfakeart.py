"""DeepfakeArt, inpainting part: paintings against their inpaintings by Stable Diffusion 2, a folder a record.

A record holds ``original.jpg`` (REAL), ``inpainting.jpg`` (FAKE, the raw output: the whole frame has gone through the
decoder), ``mask.jpg`` and sometimes ``group.jpg``, which shows the others side by side.

Reference: Aboutalebi et al. 2023, "DeepfakeArt Challenge" (arXiv:2306.01272). Its authors hand it out themselves.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from fakeclf import images
from fakeclf.data.archives import BadArchive
from fakeclf.data.datasets import Dataset, Example
from fakeclf.data.splits import assemble
from fakeclf.errors import FakeclfError

HOME = "https://github.com/h-aboutalebi/DeepfakeArt"
RECORDS = 5_063

_FILES = ("inpainting", "original", "mask", "group")
_log = logging.getLogger(__name__)


def load(*, validation: float, seed: int, data_dir: Path, fetch: bool) -> Dataset:
    """The data set, 80 / 20 by record, and ``validation`` of the 80 %; a record is a source.

    Raises:
        FakeclfError: it is not there (it cannot be downloaded freely), or holds no records.
    """
    root = data_dir / "deepfakeart"
    if not root.is_dir():
        from fakeclf.data.fetch import how_to_import

        raise FakeclfError(
            f"DeepfakeArt is not at {root}, and cannot be downloaded freely; get it from its authors ({HOME}), "
            f"then {how_to_import('deepfakeart')}"
        )
    records, incomplete = _records(root)
    if not records:
        raise FakeclfError(f"{root} holds no folder with original.jpg and inpainting.jpg; import it again with --force")
    if incomplete:
        _log.warning("%s: %s records have no original or no inpainting and are left out", root, len(incomplete))
    examples = [
        Example(files[word], label, record)
        for record, files in records.items()
        for label, word in enumerate(("inpainting", "original"))
    ]
    note = f"DeepfakeArt, inpainting part (Aboutalebi et al. 2023), {len(records):,} of {RECORDS:,} records"
    return assemble(
        "deepfakeart", root, {"train": examples}, validation=validation, seed=seed, data_dir=data_dir, note=note
    )


def place(parts: tuple[str, ...]) -> str | None:
    """Where a picture of an archive goes: RECORD/original.jpg and so on, however deep the record lies."""
    name = parts[-1].lower()
    if len(parts) < 2 or os.path.splitext(name)[0] not in _FILES:
        return None
    return f"{parts[-2]}/{name}"


def tidy(root: Path) -> dict[str, int]:
    """After an import: remove what is no record of the inpainting part, and count.

    Raises:
        BadArchive: nothing is left.
    """
    records, incomplete = _records(root)
    if not records:
        raise BadArchive(
            "no DeepfakeArt inpaintings found: there must be a folder a record, with original.jpg and inpainting.jpg"
        )
    for name in incomplete:
        shutil.rmtree(root / name)
    if incomplete:
        _log.warning("%s records have no original or no inpainting and were left out", len(incomplete))
    return {"records": len(records)}


def _records(root: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Paths by file kind by record, and the names of the folders that lack one of the two classes."""
    complete: dict[str, dict[str, str]] = {}
    incomplete = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files: dict[str, str] = {}
        for name in sorted(os.listdir(folder)):
            stem, suffix = os.path.splitext(name.lower())
            if stem in _FILES and suffix in images.SUFFIXES:
                files.setdefault(stem, str(folder / name))
        if "original" in files and "inpainting" in files:
            complete[folder.name] = files
        else:
            incomplete.append(folder.name)
    return complete, incomplete
