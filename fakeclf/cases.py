"""The pictures that are kept beside a model as tests: ``BUNDLE/regressions/{cases.jsonl, pictures/SHA256.SUFFIX}``.

A line of ``cases.jsonl`` is a case; the pictures are the files byte for byte. They belong to whoever added them: no
hash of the card covers them, and building the bundle again keeps them. What is done with them: ``fakeclf.regressions``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakeclf import bundle, images
from fakeclf.atomic import replace_file
from fakeclf.errors import FakeclfError

TRUTHS = ("real", "fake")
KINDS = ("picture", "features")


@dataclass(frozen=True)
class Case:
    """A picture, what it is in truth, and what the model said of it.

    Attributes:
        sha256: of the picture's file.
        truth: ``real``: it must not be called fake; ``fake``: it must be.
        kind: what is kept: the ``picture``, or the ``features`` that the model's last Dense layer is given for it.
        name: of the file; "" where the picture is not kept.
        note: of whoever added it.
        date: when it was added, as 2026-01-31.
        model_sha256: of ``model.keras`` then.
        verdict, p_fake, area: what the model said then: ``fake``, ``unsure`` or ``real``; calibrated P(FAKE); share of
            the pixels that a localizer marked.
        area_below: a localizer must mark less than this share of the pixels of a real picture; None asks nothing.
        right_since: date of the first replay (or addition) at which it was right; None if it never was.
        features: float16, little-endian, as base64; "" where the picture is kept.

    Raises:
        ValueError: no such sha256, truth or kind.
    """

    sha256: str
    truth: str
    kind: str
    name: str
    note: str
    date: str
    model_sha256: str
    verdict: str
    p_fake: float
    area: float | None = None
    area_below: float | None = None
    right_since: str | None = None
    features: str = ""

    def __post_init__(self) -> None:
        # The sha256 becomes part of a file name, whoever wrote the line.
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"no sha256: {self.sha256!r}")
        if self.truth not in TRUTHS or self.kind not in KINDS:
            raise ValueError(f"truth {self.truth!r} of kind {self.kind!r}")

    @property
    def label(self) -> str:
        """The picture's name, where it is kept, and the beginning of its sha256."""
        return f"{self.name} ({self.sha256[:12]})" if self.name else self.sha256[:12]

    def met_by(self, verdict: str, area: float | None) -> bool:
        """Whether such a verdict, and so large a marked share of the pixels, is right."""
        if self.truth == "fake":
            return verdict == "fake"
        return verdict != "fake" and (self.area_below is None or area is not None and area < self.area_below)

    def to_json(self) -> dict[str, Any]:
        """Plain values for people: without the features."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "features"}


def read(folder: str | Path) -> list[Case]:
    """The cases of a bundle, in the order they were first added.

    Raises:
        FakeclfError: the file cannot be read, or holds a line that is no case.
    """
    path = _file(Path(folder))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise FakeclfError(f"cannot read {path}: {error}; put it right or remove it") from error
    cases = []
    for number, line in enumerate(lines, 1):
        try:
            cases.append(Case(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise FakeclfError(f"{path}, line {number} is no case ({error}); take that line out") from error
    return cases


def find(folder: str | Path, which: str) -> list[Case]:
    """The cases whose sha256 begins with ``which``, or that of the file ``which``."""
    sha256 = bundle.sha256(Path(which)) if Path(which).is_file() else which.lower()
    return [case for case in read(folder) if case.sha256.startswith(sha256)]


def put(folder: Path, case: Case, content: bytes = b"", suffix: str = "") -> None:
    """Keep a case, in place of an earlier one of the same picture.

    Args:
        folder: of the bundle.
        case: of kind ``picture`` or ``features``.
        content: of the picture's file, where it is kept.
        suffix: of its name, as ``.jpg``.

    Raises:
        FakeclfError: the bundle cannot be written to.
    """
    check_writable(folder)
    kept = None
    if case.kind == "picture":
        suffix = suffix.lower()
        kept = _pictures(folder) / f"{case.sha256}{suffix if suffix in images.SUFFIXES else ''}"
        with replace_file(kept) as beside:
            beside.write_bytes(content)
    _write(folder, ({old.sha256: old for old in read(folder)} | {case.sha256: case}).values())
    _remove_pictures(folder, case.sha256, but=kept)


def note_right(folder: Path, case: Case, date: str) -> None:
    """Write into a case's line since when it is right; of a case that was changed meanwhile nothing is noted.

    Raises:
        FakeclfError: the bundle cannot be written to.
    """
    check_writable(folder)
    noted = dataclasses.replace(case, right_since=date)
    _write(folder, [noted if other == case else other for other in read(folder)])


def remove(folder: Path, case: Case) -> None:
    """Drop a case, and the picture that was kept of it.

    Raises:
        FakeclfError: the bundle cannot be written to.
    """
    check_writable(folder)
    _write(folder, [other for other in read(folder) if other.sha256 != case.sha256])
    _remove_pictures(folder, case.sha256)


def content(folder: Path, case: Case) -> bytes:
    """The file that was kept.

    Raises:
        FakeclfError: it is gone, or is not what was added.
    """
    again = "remove the case or add the picture again"
    for path in _pictures(folder).glob(f"{case.sha256}*"):
        try:
            found = path.read_bytes()
        except OSError as error:
            raise FakeclfError(f"cannot read {path}: {error.strerror or error}; {again}") from error
        if hashlib.sha256(found).hexdigest() != case.sha256:
            raise FakeclfError(f"{path} has changed since it was added; {again}")
        return found
    raise FakeclfError(f"the picture is missing from {_pictures(folder)}; {again}")


def check_writable(folder: Path) -> None:
    """Raises FakeclfError where a bundle cannot be written to, as one that came with an installation."""
    if not os.access(folder, os.W_OK):
        raise FakeclfError(
            f"{folder} cannot be written to; copy it to a folder of your own, as ~/models/{folder.name}, and set "
            "FAKECLF_MODELS=~/models"
        )


def _file(folder: Path) -> Path:
    return folder / bundle.CASES / "cases.jsonl"


def _pictures(folder: Path) -> Path:
    return folder / bundle.CASES / "pictures"


def _remove_pictures(folder: Path, sha256: str, but: Path | None = None) -> None:
    for path in _pictures(folder).glob(f"{sha256}*"):
        if path != but:
            path.unlink(missing_ok=True)


def _write(folder: Path, cases: Iterable[Case]) -> None:
    with replace_file(_file(folder)) as beside:
        beside.write_text("".join(json.dumps(dataclasses.asdict(case)) + "\n" for case in cases), encoding="utf-8")
