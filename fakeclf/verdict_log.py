"""The file that verdicts are added to, a line of JSON each: whole lines only, found again by a later run."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

from fakeclf.errors import FakeclfError
from fakeclf.verdict import Verdict

NAME = "verdicts.jsonl"


class VerdictLog:
    """``out/verdicts.jsonl``, open for one process alone; a context manager.

    May be asked from several threads. What a killed run left of its last line is cut off. Of several lines on one
    picture the last one counts.

    Args:
        out: the output folder; made if it is not there.
        run: digest of models and settings; only verdicts of the same are found again.

    Raises:
        FakeclfError: the folder cannot be written to, or another process is writing to it.
    """

    def __init__(self, out: Path, run: str) -> None:
        self.path, self.run = out / NAME, run
        self._lock = threading.Lock()
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")  # noqa: SIM115  (closed by __exit__)
        except OSError as error:
            raise FakeclfError(f"cannot write to {out}: {error.strerror or error}; choose another folder") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise FakeclfError(f"another process is writing to {out}; wait for it or choose another folder") from error
        self._known: dict[tuple[str, str], int] = {}
        self._read()

    def __enter__(self) -> VerdictLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def find(self, path: str, sha256: str) -> int | None:
        """Where the verdict on this very file lies, made by the same models and settings; None if there is none, or
        what it wrote is gone."""
        place = self._known.get((path, sha256))
        if place is None:
            return None
        verdict = self.read(place)
        written = [value for name, value in verdict.to_json().items() if name.endswith("_path") and value]
        return place if all(Path(value).is_file() for value in written) else None

    def hashes(self) -> dict[str, list[str]]:
        """The sha256 of the pictures with verdicts by the same models and settings, under their paths."""
        found: dict[str, list[str]] = {}
        for path, sha256 in self._known:
            found.setdefault(path, []).append(sha256)
        return found

    def add(self, verdict: Verdict) -> int:
        """Write a verdict; returns where it lies.

        Raises:
            FakeclfError: there is no room, or the folder is gone.
        """
        line = json.dumps(verdict.to_json() | {"run": self.run}).encode() + b"\n"
        try:
            with self._lock:
                place = self._file.seek(0, os.SEEK_END)
                self._file.write(line)
                self._file.flush()
        except OSError as error:
            why = error.strerror or error
            raise FakeclfError(f"cannot write {self.path}: {why}; free some space or choose another folder") from error
        return place

    def read(self, place: int) -> Verdict:
        """The verdict that lies at ``place``."""
        with self._lock:
            self._file.seek(place)
            line = self._file.readline()
        return _verdict(json.loads(line))

    def _read(self) -> None:
        self._file.seek(0)
        place = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            try:
                values = json.loads(line)
            except ValueError as error:
                raise FakeclfError(f"{self.path} holds a line that is no verdict; choose another folder") from error
            key = (values.get("path"), values.get("sha256"))
            if values.get("run") == self.run and values.get("error") is None:
                self._known[key] = place
            else:
                self._known.pop(key, None)
            place += len(line)


def _verdict(values: dict[str, Any]) -> Verdict:
    values.pop("run", None)
    return Verdict.from_json(values)
