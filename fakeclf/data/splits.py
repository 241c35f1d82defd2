"""Who is held out: chosen by source picture, by a seeded hash, and remembered in a manifest.

A source is held out when the hash of its name and the seed is among the lowest. Adding or removing pictures therefore
moves hardly any of the others, and the choice does not depend on the order of files or on the version of a random
number generator. Sources with FAKE pictures only, with REAL only and with both are drawn from separately, so the parts
keep the balance of the classes.

The manifest (JSON, in DATA/manifests/) keeps the choice for a data set, seed and validation share, with a digest of all
file names. Where the files have changed since, the split is made anew and a warning is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fakeclf.atomic import replace_file
from fakeclf.data.datasets import LABELS, Dataset, Example
from fakeclf.errors import FakeclfError

TEST_SHARE = 0.2
"""Part of the sources that becomes the test part of a data set that brings none."""

# Not the user's seed: a model trained under one seed must never meet its training pictures in the test of another.
TEST_SEED = 0

_SCHEMA = 1
_log = logging.getLogger(__name__)


def assemble(
    name: str,
    root: Path,
    parts: Mapping[str, Sequence[Example]],
    *,
    validation: float,
    seed: int,
    data_dir: Path,
    key: str | None = None,
    note: str = "",
) -> Dataset:
    """A data set from the parts it brings; the missing ones are taken out of ``train``, by source.

    Args:
        parts: some of ``train``, ``validation``, ``test``. Without ``test``, ``TEST_SHARE`` of the sources of
            ``train`` becomes it; without ``validation``, that share of the rest. So 0.2 gives 64 / 16 / 20 %.
        key: name of the manifest, where ``name`` is not unique.
        note: put in front of the note on the split.

    Raises:
        FakeclfError: too few sources to leave both classes in every part.
    """
    train = list(parts.get("train", ()))
    wanted = {}
    if train and "test" not in parts:
        wanted["test"] = (TEST_SHARE, TEST_SEED)
    if train and "validation" not in parts and validation > 0:
        wanted["validation"] = (validation, seed)
    held: dict[str, list[Example]] = {}
    if wanted:
        start = len(str(root)) + 1  # slicing: pathlib would take seconds for 120,000 files
        files = [e.path[start:].replace(os.sep, "/") for examples in parts.values() for e in examples]
        path = data_dir / "manifests" / f"{key or name}-seed{seed}-validation{validation:g}.json"
        sources = _remembered(path, name, root, files, train, wanted)
        for part in wanted:
            held[part] = [example for example in train if example.source in sources[part]]
        taken = frozenset().union(*sources.values())
        train = [example for example in train if example.source not in taken]
        for part, examples in {"train": train, **held}.items():
            if len({example.label for example in examples}) < len(LABELS):
                raise FakeclfError(
                    f"{name} has too few different pictures to split: no FAKE or no REAL left for {part}; "
                    "add pictures, or bring train/ and test/ folders of your own"
                )
    origin = {"test": f"{TEST_SHARE:.0%} of sources", "validation": f"{validation:.0%} of train sources, seed {seed}"}
    said = [f"{part}: {origin[part] if part in wanted else 'as given'}" for part in origin if part in {**parts, **held}]
    return Dataset(
        name=name,
        root=root,
        train=tuple(train),
        validation=tuple(held.get("validation", parts.get("validation", ()))),
        test=tuple(held.get("test", parts.get("test", ()))),
        note="; ".join([note, *said] if note else said),
    )


class Sourced(Protocol):
    """What can be split: it has a label, and a source that all of its kin share."""

    @property
    def label(self) -> int: ...

    @property
    def source(self) -> str: ...


def hold_out(examples: Iterable[Sourced], share: float, seed: int) -> set[str]:
    """Names of ``share`` of the sources, at least one and never all of each kind (FAKE only, REAL only, both)."""
    labels: dict[str, int] = defaultdict(int)
    for example in examples:
        labels[example.source] |= 1 << example.label
    held: set[str] = set()
    for kind in (1, 2, 3):
        sources = [source for source, found in labels.items() if found == kind]
        ranked = sorted(sources, key=lambda source: hashlib.sha256(f"{seed}/{source}".encode()).digest())
        held.update(ranked[: min(max(1, round(share * len(ranked))), len(ranked) - 1) if ranked else 0])
    return held


def _remembered(
    path: Path,
    name: str,
    root: Path,
    files: list[str],
    train: list[Example],
    wanted: Mapping[str, tuple[float, int]],
) -> dict[str, frozenset[str]]:
    digest = hashlib.sha256("\n".join(sorted(files)).encode(errors="surrogateescape")).hexdigest()
    known = _read(path)
    if known is not None:
        if known["digest"] == digest and known["held_out"].keys() == wanted.keys():
            return {part: frozenset(sources) for part, sources in known["held_out"].items()}
        _log.warning(
            "the files of %s changed since its split was made (%s then, %s now); the split is made anew",
            name,
            f"{known['files']:,}",
            f"{len(files):,}",
        )
    chosen: dict[str, frozenset[str]] = {}
    rest = train
    for part, (share, seed) in wanted.items():
        chosen[part] = frozenset(hold_out(rest, share, seed))
        rest = [example for example in rest if example.source not in chosen[part]]
    content = {
        "schema": _SCHEMA,
        "dataset": name,
        "root": str(root),
        "files": len(files),
        "digest": digest,
        "shares_and_seeds": wanted,
        "held_out": {part: sorted(sources) for part, sources in chosen.items()},
    }
    try:
        with replace_file(path) as beside:
            beside.write_text(json.dumps(content, indent=0), encoding="utf-8")
    except FakeclfError as error:  # a data folder may be read-only; the same split can be made again any time
        _log.warning("the split of %s is not remembered: %s", name, error)
    return chosen


def _read(path: Path) -> dict | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] == _SCHEMA and isinstance(content["held_out"], dict) and "digest" in content:
            return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    _log.warning("%s cannot be read as a split manifest; it is written anew", path)
    return None
