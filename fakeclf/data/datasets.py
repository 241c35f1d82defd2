"""Data sets by name: lists of labelled picture files in three parts that share no source picture."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from fakeclf import registry
from fakeclf.errors import FakeclfError

LABELS = ("FAKE", "REAL")
"""Class folders; the index is the label. A classifier's sigmoid is P(REAL)."""


@dataclass(frozen=True, slots=True)
class Example:
    """One picture file.

    Attributes:
        path: absolute path.
        label: 0 = FAKE, 1 = REAL.
        source: name of the photograph it is or was made from; all pictures of a source are in one part.
    """

    path: str
    label: int
    source: str


@dataclass(frozen=True)
class Dataset:
    """A data set, split.

    Attributes:
        name: as typed; for a folder, its last part.
        root: the folder that holds all files.
        train, validation, test: the parts; any of them may be empty (a folder may bring a test set alone).
        note: where the split comes from, in one line, for protocol lines and model cards.
    """

    name: str
    root: Path
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    note: str


def data_home() -> Path:
    """Where data sets are kept: ``$FAKECLF_DATA``, else ``fakeclf`` in the user's cache folder."""
    if named := os.environ.get("FAKECLF_DATA"):
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "fakeclf"


def load(
    name: str | Path,
    *,
    validation: float = 0.2,
    seed: int = 0,
    data_dir: str | Path | None = None,
    fetch: bool = True,
) -> Dataset:
    """Load a data set; two calls with the same arguments see the same split.

    Args:
        name: a registered name, a folder (see :mod:`fakeclf.data.folders`), or several of them joined by ``+``.
        validation: share of the training sources that is held out, where the data set brings no validation part.
        seed: picks which; the test part never depends on it.
        data_dir: where data sets and split manifests are kept; default :func:`data_home`.
        fetch: whether a data set that is not there may be downloaded.

    Raises:
        FakeclfError: no such data set or folder, a class is missing or empty, or it cannot be downloaded.
    """
    if not 0 <= validation < 1:
        raise FakeclfError(f"validation must be at least 0 and below 1 (0.2 = a fifth); received {validation}")
    name = str(name)
    home = Path(data_dir).expanduser().absolute() if data_dir is not None else data_home()
    known = {spec.name for spec in registry.datasets()}
    if name in known:
        loader = registry.resolve(registry.dataset(name).loader)
        return loader(validation=validation, seed=seed, data_dir=home, fetch=fetch)
    if Path(name).expanduser().is_dir():
        from fakeclf.data import folders

        return folders.load(Path(name).expanduser(), validation=validation, seed=seed, data_dir=home)
    if Path(name).is_file():
        raise FakeclfError(f"{name} is a file; unpack it and name the folder that holds FAKE/ and REAL/")
    if "+" in name:
        names = name.split("+")
        return _joined(
            {
                part: load(part, validation=validation, seed=seed, data_dir=home, fetch=fetch)
                for part in _distinct(names)
            }
        )
    registry.dataset(name)  # raises, naming the nearest
    raise AssertionError(name)


def _distinct(names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names):
        problem = f"names {twice[0]!r} twice" if twice and twice[0] else "has an empty name beside a +"
        raise FakeclfError(f"the data set {'+'.join(names)!r} {problem}; join different ones, as in cifake+deepfakeart")
    return names


def _joined(members: dict[str, Dataset]) -> Dataset:
    """One data set of several; sources get their data set's name in front, as names may recur between sets."""

    def part(which: str) -> tuple[Example, ...]:
        return tuple(
            replace(example, source=f"{name}/{example.source}")
            for name, member in members.items()
            for example in getattr(member, which)
        )

    try:
        root = Path(os.path.commonpath([member.root for member in members.values()]))
    except ValueError:  # different drives
        root = next(iter(members.values())).root
    return Dataset(
        name="+".join(member.name for member in members.values()),
        root=root,
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        note="; ".join(f"{member.name}: {member.note}" for member in members.values()),
    )
