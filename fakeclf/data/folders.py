"""Any folder with FAKE/ and REAL/ as a data set, or with train/, test/ and perhaps val/ above them.

Folder names are taken in any case; ``validation`` and ``valid`` also stand for ``val``. Pictures may lie in folders
below FAKE and REAL. The source of a picture is its file name without suffix: FAKE/cat.png and REAL/cat.jpg are taken
for the same picture, and stay in one part.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from fakeclf import images
from fakeclf.data.datasets import LABELS, Dataset, Example
from fakeclf.data.splits import assemble
from fakeclf.errors import FakeclfError

PARTS = {"train": "train", "val": "validation", "validation": "validation", "valid": "validation", "test": "test"}

_log = logging.getLogger(__name__)


def load(folder: str | Path, *, validation: float, seed: int, data_dir: Path) -> Dataset:
    """Read a folder as a data set; see :func:`fakeclf.data.splits.assemble` for the parts it does not bring.

    Raises:
        FakeclfError: the folder or one of its classes is missing or empty, or the layout is another; the message says
            what was found.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise FakeclfError(f"there is no folder {folder}")
    parts = {part: _examples(path) for part, path in _parts(root).items()}
    _warn_of_shared_names(root, parts)
    key = f"{root.name or 'root'}-{hashlib.sha256(str(root).encode(errors='surrogateescape')).hexdigest()[:8]}"
    return assemble(root.name, root, parts, validation=validation, seed=seed, data_dir=data_dir, key=key)


def _parts(root: Path) -> dict[str, Path]:
    """Folder by part; a folder without parts is all ``train``."""
    folders = _folders(root)
    classes = [path for path in folders if path.name.upper() in LABELS]
    parts = [path for path in folders if path.name.lower() in PARTS]
    if classes and parts:
        raise FakeclfError(
            f"{root} holds both {parts[0].name}/ and {classes[0].name}/; it must be either FAKE/ and REAL/, "
            "or train/ and test/ with FAKE/ and REAL/ in each"
        )
    if classes:
        return {"train": root}
    if not parts:
        inside = next((path for path in folders if _is_layout(path)), None)
        hint = (
            f"; did you mean {inside}?" if inside else "; it must hold FAKE/ and REAL/, or train/ and test/ above them"
        )
        raise FakeclfError(f"{root} is no data set: found {_found(root)}{hint}")
    named: dict[str, Path] = {}
    for path in parts:
        part = PARTS[path.name.lower()]
        if part in named:
            raise FakeclfError(f"{root} holds both {named[part].name}/ and {path.name}/; remove or rename one")
        named[part] = path
    return named


def _examples(folder: Path) -> list[Example]:
    by_label: dict[int, Path] = {}
    for path in _folders(folder):
        if path.name.upper() in LABELS:
            label = LABELS.index(path.name.upper())
            if label in by_label:
                raise FakeclfError(f"{folder} holds both {by_label[label].name}/ and {path.name}/; join them in one")
            by_label[label] = path
    if len(by_label) < len(LABELS):
        raise FakeclfError(f"{folder} must hold FAKE/ and REAL/; found {_found(folder)}")
    examples = []
    for label, path in sorted(by_label.items()):
        found = images.find(path)
        if not found:
            raise FakeclfError(f"{path} holds no pictures ({', '.join(sorted(images.SUFFIXES))}); found {_found(path)}")
        examples += [Example(str(file), label, file.stem) for file in found]
    return examples


def _warn_of_shared_names(root: Path, parts: dict[str, list[Example]]) -> None:
    sources = {part: {example.source for example in examples} for part, examples in parts.items()}
    for part in sources:
        shared = sources[part] & sources.get("train", set()) if part != "train" else ()
        if shared:
            _log.warning(
                "%s: %s file names (such as %r) are in train and in %s; if they are the same pictures, "
                "what is measured there is too good",
                root,
                f"{len(shared):,}",
                min(shared),
                part,
            )


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise FakeclfError(f"cannot read the folder {folder}: {error.strerror}") from error


def _is_layout(folder: Path) -> bool:
    return any(path.name.upper() in LABELS or path.name.lower() in PARTS for path in _folders(folder))


def _found(folder: Path) -> str:
    """A few words on what lies in a folder, for messages."""
    names = [f"{path.name}/" for path in _folders(folder)]
    files = sum(path.is_file() for path in folder.iterdir())
    shown = names[:5] + ([f"{len(names) - 5} more folders"] if len(names) > 5 else [])
    return ", ".join(shown + ([f"{files} files"] if files else [])) or "nothing"
