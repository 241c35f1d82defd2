"""What each member of an ensemble says of each picture: computed once, kept, and aligned.

The members of an ensemble whose head alone is trained never change, so every trial of a search works on the same
table: a row a picture, a column a member.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fakeclf import bundle, protocol
from fakeclf.atomic import replace_file
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.evaluate import BATCH_BYTES, predict

if TYPE_CHECKING:
    from fakeclf.data.datasets import Example

KINDS = ("classifier", "ensemble")


@dataclass(frozen=True)
class Member:
    """A saved classifier: its name (or path, where the name alone would not find it), folder and card."""

    name: str
    folder: Path
    card: Card

    @property
    def sha256(self) -> str:
        return self.card.files["model.keras"]

    @property
    def version(self) -> str:
        """Changes with the weights; those of an ensemble are also its members'."""
        return hashlib.sha256(json.dumps([self.sha256, self.card.members]).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Table:
    """Outputs of members on pictures.

    Attributes:
        p_real: P(REAL), float32 (pictures, members).
        truth: 0 = FAKE, 1 = REAL, (pictures,).
        of: the data set each picture comes from, (pictures,).
        unreadable: pictures that were left out.
        notes: protocol lines: what the pictures are, their split, size and codec.
    """

    p_real: np.ndarray
    truth: np.ndarray
    of: np.ndarray
    unreadable: int
    notes: list[str]

    def __len__(self) -> int:
        return len(self.truth)

    def columns(self, members: Sequence[int]) -> Table:
        """The same pictures, some of the members."""
        return replace(self, p_real=self.p_real[:, list(members)])


def find_members(names: Sequence[str]) -> list[Member]:
    """The bundles of an ensemble; no names stand for all shipped classifiers.

    Raises:
        FakeclfError: for fewer than two, one named twice, an unknown one, or one that is no classifier.
    """
    names = list(names) or [
        name
        for name, folder in bundle.names()
        if folder.resolve().parent == bundle.SHIPPED and bundle.read_card(folder).kind == "classifier"
    ]
    members = []
    for name in names:
        folder = bundle.find(name)
        card = bundle.read_card(folder)
        if card.kind not in KINDS:
            raise FakeclfError(f"{name} is a {card.kind}; an ensemble joins classifiers: see fakeclf models list")
        if "model.keras" not in card.files:
            raise FakeclfError(f"the card of {name} lists no model.keras; train or fetch it again")
        members.append(Member(_findable(folder), folder, card))
    if len(members) < 2:
        raise FakeclfError(
            f"an ensemble needs two classifiers or more; received {', '.join(names) or 'none'}; "
            "name them, as in fakeclf ensemble A B"
        )
    if len({member.folder.resolve() for member in members}) < len(members):
        raise FakeclfError(f"an ensemble takes each classifier once; received {', '.join(names)}")
    return members


def tabulate(
    members: Sequence[Member],
    examples: Mapping[str, Sequence[Example]],
    split: str,
    folder: Path,
    notes: Sequence[str] = (),
) -> Table:
    """Run every member on every picture at its own size, or read what an earlier run kept.

    Args:
        members: the columns.
        examples: pictures by data set.
        split: for the file names.
        folder: gets one ``.npz`` for each data set, split and member, named by digests of weights and pictures.
        notes: protocol lines to begin with.

    Raises:
        FakeclfError: if a member cannot be loaded, or no picture of a class can be read.
    """
    every = [example for part in examples.values() for example in part]
    of = np.array([name for name, part in examples.items() for _ in part])
    headers = protocol.read_headers(every, list(of))
    largest = max((header.width * header.height for group in headers.values() for header in group), default=1)
    batch_size = max(1, min(64, BATCH_BYTES // (largest * 3 * 4)))
    p_real = np.full((len(every), len(members)), np.nan, np.float32)
    for column, member in enumerate(members):
        paths = {
            name: folder / f"{split}-{_safe(name)}-{_safe(member.name)}-{member.version}-{_digest(part)}.npz"
            for name, part in examples.items()
        }
        kept = {name: _read(paths[name], len(part)) for name, part in examples.items()}
        missing = {name: part for name, part in examples.items() if kept[name] is None}
        for name, outputs in _run(member, missing, batch_size).items():
            with replace_file(paths[name]) as beside:
                np.savez_compressed(beside, p_real=outputs)
            kept[name] = outputs
        p_real[:, column] = np.concatenate([kept[name] for name in examples])
    readable = ~np.isnan(p_real).any(axis=1)
    return Table(
        p_real[readable],
        np.array([example.label for example in every])[readable],
        of[readable],
        int(np.sum(~readable)),
        [*notes, *protocol.size_and_codec_lines(headers)],
    )


def _run(member: Member, examples: Mapping[str, Sequence[Example]], batch_size: int) -> dict[str, np.ndarray]:
    """P(REAL) of each data set's pictures, NaN where one cannot be read."""
    every = [example for part in examples.values() for example in part]
    if not every:
        return {}
    outputs = np.full(len(every), np.nan, np.float32)
    places, scores, _ = predict(bundle.load(member.folder), every, batch_size)
    outputs[places] = scores
    ends = np.cumsum([len(part) for part in examples.values()])
    return dict(zip(examples, np.split(outputs, ends[:-1]), strict=True))


def _findable(folder: Path) -> str:
    """The name under which ``bundle.find`` gives this very folder, else its path."""
    try:
        if bundle.find(folder.name).resolve() == folder.resolve():
            return folder.name
    except FakeclfError:
        pass
    return str(folder.resolve())


def _digest(examples: Sequence[Example]) -> str:
    """Changes with the list of files, and with the size or time of any."""
    digest = hashlib.sha256()
    for example in examples:
        try:
            status = os.stat(example.path)
            digest.update(f"{example.path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        except OSError:
            digest.update(f"{example.path}\0missing\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:12]


def _read(path: Path, count: int) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = arrays["p_real"]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return kept if kept.shape == (count,) else None


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in Path(name).name)
