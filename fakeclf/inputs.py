"""What people name on the command line, files, folders and globs, as pictures and the places of their results."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fakeclf import images
from fakeclf.errors import FakeclfError


@dataclass(frozen=True)
class Input:
    """A picture that was named.

    Attributes:
        path: as people will read it.
        place: below the output folder, for what is written of it; None where ``error`` is set.
        error: why there is no picture.
    """

    path: str
    place: Path | None = None
    error: str | None = None


def named(inputs: Iterable[str | Path], out: Path, written: Iterable[str], log: str) -> Iterator[Input]:
    """Every picture once, in the order of the inputs.

    A folder's pictures keep their place below that folder's name; two of the same place get different ones.

    Args:
        inputs: files, folders (searched through) and globs (``**`` goes through folders).
        out: the output folder; what lies in it is not taken for a picture when it lies in an input folder.
        written: endings of names of output; such a file is left out where ``log`` lies in a folder above it.
        log: name of the file that marks an output folder.
    """
    seen: set[Path] = set()
    taken: set[Path] = set()
    endings = tuple(written)
    for given in inputs:
        text = os.fspath(given)
        try:
            pictures = _pictures(text, out.resolve(), endings, log)
        except FakeclfError as error:
            yield Input(text, error=str(error))
            continue
        for path, place in pictures:
            real = path.resolve()
            if real in seen:
                continue
            seen.add(real)
            if place in taken:
                mark = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
                place = place.with_name(f"{mark}.{place.name}")
            taken.add(place)
            yield Input(str(path), place)


def _pictures(text: str, out: Path, written: tuple[str, ...], log: str) -> list[tuple[Path, Path]]:
    given = Path(text)
    if given.is_dir():
        top = given.resolve().name
        found = [(path, Path(top) / path.relative_to(given)) for path in images.find(given)]
    elif given.exists() or not glob.has_magic(text):
        return [(given, Path(given.name))]  # one that is not there gets its error when it is read
    else:
        matched = sorted(Path(path) for path in glob.glob(text, recursive=True))
        found = [
            (path, Path(path.name)) for path in matched if path.is_file() and path.suffix.lower() in images.SUFFIXES
        ]
    found = [(path, place) for path, place in found if not _is_output(path, out, written, log)]
    if not found:
        raise FakeclfError(f"{text}: holds no pictures; known are {', '.join(sorted(images.SUFFIXES))}")
    return found


def _is_output(path: Path, out: Path, written: tuple[str, ...], log: str) -> bool:
    if not path.name.endswith(written):
        return False
    return any(folder == out or (folder / log).is_file() for folder in path.resolve().parents)
