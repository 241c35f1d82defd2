"""Verdicts on many pictures: files, folders and globs in, a line each out; what is done already is not done again.

    with DetectionRun(["holiday/"], out="detected") as run:
        for verdict in run:
            print(verdict.path, verdict.verdict)

For each picture the output folder gets ``NAME.mask.png`` (8-bit, the upright picture's size, 255 = inpainted for
certain), ``NAME.binary.png`` (255 where the threshold is reached) and ``NAME.overlay.png``, where NAME is the file's
whole name; what lay in a folder keeps its place below that folder's name. Every verdict is a line of
``verdicts.jsonl`` there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fakeclf import __version__, images, runtime
from fakeclf.atomic import replace_file
from fakeclf.data import codec
from fakeclf.detection import WRITTEN, Settings, describe, look, read_file, write
from fakeclf.errors import FakeclfError
from fakeclf.inputs import Input, named
from fakeclf.verdict import ARRAYS, Verdict
from fakeclf.verdict_log import NAME, VerdictLog
from fakeclf.voters import Voter, open_voters

COLUMNS = (
    "path",
    "verdict",
    "p_fake",
    "extent",
    "area",
    "stable",
    "decided_by",
    "width",
    "height",
    "why",
    "error",
    "sha256",
    "seconds",
    "mask_path",
    "overlay_path",
)
"""Of the CSV file."""

LARGE = 1024 * 1024
"""Pixels from which a picture is looked at alone: its networks keep all cores busy, and take much memory."""

AHEAD = 4
"""Pictures a worker may be ahead of the one whose verdict is next."""


class DetectionRun:
    """An iterable of verdicts, each as soon as it is made, without its arrays; a context manager.

    A file that cannot be read, or an input without pictures, gives a verdict with ``error`` set. A picture that has a
    line by the same models and settings, with all that was written for it still there, gets that one again.

    Args:
        inputs: files, folders and globs (``**`` goes through folders).
        models: see ``fakeclf.voters.open_voters``.
        settings: what is asked.
        out: folder for what is written; made if it is not there.
        workers: pictures looked at side by side, each by one core: while one is decoded, a network runs on another and
            what was found of a third is written. Large ones go alone, on all cores. Default: as many as this process
            has cores, but 1 for voters that were opened before, and with ``explain``, whose gradients Keras makes.

    Attributes:
        total: pictures, and inputs without any.
        failed, reused: so far: verdicts with an error, and those that were there.

    Raises:
        FakeclfError: there is no such model, or ``out`` cannot be written to or is in use.
    """

    def __init__(
        self,
        inputs: Iterable[str | Path],
        *,
        models: Any = None,
        settings: Settings = Settings(),  # noqa: B008  (frozen)
        out: str | Path = "detected",
        workers: int | None = None,
    ) -> None:
        self.out, self.settings = Path(out), settings
        self._models = models
        self.voters = models if already_open(models) else open_voters(models)
        alone = already_open(models) or settings.explain
        self.workers = workers or (1 if alone else runtime.cores())
        self._log = VerdictLog(self.out, run_digest(self.voters, settings))
        self._inputs = list(named(inputs, self.out, WRITTEN, NAME))
        self.total = len(self._inputs)
        self._places = array("q", [-1]) * self.total  # in the log; -1 until then
        self.failed = self.reused = 0

    def __enter__(self) -> DetectionRun:
        return self

    def __exit__(self, *details: object) -> None:
        self._log.__exit__(*details)

    def __iter__(self) -> Iterator[Verdict]:
        missing = self._missing()
        if self.workers == 1 or len(missing) < 2:
            for number in missing:
                yield self._enter(number, self._judge(number, self.voters))
            return
        from threadpoolctl import threadpool_limits

        # What shares the cores gets in its own way: side by side, networks and NumPy have one each.
        beside = self.voters if already_open(self._models) else open_voters(self._models, threads=1)
        pool = ThreadPoolExecutor(self.workers)
        waiting: deque[tuple[int, Future[Verdict | str]]] = deque()  # in the order of the inputs
        limits = threadpool_limits(1, user_api="blas")
        try:
            for number in missing:
                if _is_large(self._inputs[number]):
                    yield from self._finished(waiting, 0)
                    yield self._enter(number, self._judge(number, self.voters))
                    continue
                waiting.append((number, pool.submit(self._judge, number, beside)))
                yield from self._finished(waiting, AHEAD * self.workers)
            yield from self._finished(waiting, 0)
        finally:
            pool.shutdown(cancel_futures=True)
            limits.restore_original_limits()

    def _finished(self, waiting: deque[tuple[int, Future[Verdict | str]]], keep: int) -> Iterator[Verdict]:
        """The verdicts of those in front, until no more than ``keep`` are waiting."""
        while len(waiting) > keep:
            number, found = waiting.popleft()
            yield self._enter(number, found.result())

    def _judge(self, number: int, voters: Sequence[Voter]) -> Verdict | str:
        return judge(self._inputs[number], voters, self.settings, self.out, self._is_known)

    def _missing(self) -> list[int]:
        return [number for number, place in enumerate(self._places) if place < 0]

    def verdicts(self) -> Iterator[Verdict]:
        """Those made so far, read back from the log, in the order of the inputs."""
        return (self._log.read(place) for place in self._places if place >= 0)

    def write_csv(self, path: str | Path) -> None:
        """Write the verdicts made so far as a table, a row each, columns :data:`COLUMNS`."""
        with replace_file(path) as beside, open(beside, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for verdict in self.verdicts():
                values = verdict.to_json()
                values["width"], values["height"] = verdict.size or (None, None)
                values["why"] = " ".join(verdict.why)
                table.writerow([_cell(values[name]) for name in COLUMNS])

    def write_report(self, path: str | Path, title: str = "fakeclf report") -> None:
        """Write the verdicts made so far as one HTML file."""
        from fakeclf import report

        facts = {
            voter.name: f"{voter.card.kind}, {voter.card.files.get('model.keras', '')[:12]}" for voter in self.voters
        }
        report.write(path, self.verdicts(), title=title, facts=facts)

    def _is_known(self, path: str, sha256: str) -> bool:
        return self._log.find(path, sha256) is not None

    def _enter(self, number: int, found: Verdict | str) -> Verdict:
        """Write down what :func:`judge` gave for an input."""
        known = self._log.find(self._inputs[number].path, found) if isinstance(found, str) else None
        if known is not None:
            self.reused += 1
            self._places[number], verdict = known, self._log.read(known)
        else:
            assert isinstance(found, Verdict)
            self._places[number], verdict = self._log.add(found), found
        self.failed += verdict.error is not None
        return verdict


def judge(
    given: Input,
    voters: Sequence[Voter],
    settings: Settings,
    out: Path,
    is_known: Callable[[str, str], bool],
) -> Verdict | str:
    """The verdict on one input, without its arrays, which are written below ``out``.

    Args:
        is_known: whether there is a verdict on a path with a sha256 already.

    Returns:
        The verdict, with ``error`` set for a picture that fails; or the sha256 of a picture that is known.
    """
    start = time.perf_counter()
    verdict = Verdict(given.path, error=given.error)
    if given.place is not None:
        try:
            content = read_file(given.path)
            sha256 = hashlib.sha256(content).hexdigest()
            if is_known(given.path, sha256):
                return sha256
            verdict = look(images.read(content), voters, settings, codec.lossy_otherwise(content))
            describe(verdict, given.path, content)
            write(verdict, out / given.place)
        except FakeclfError as error:
            verdict = Verdict(given.path, error=_of_file(error, given.path))
        except MemoryError:
            verdict = Verdict(given.path, error=f"{given.path}: not enough memory for a picture of that size")
    for name in ARRAYS:
        setattr(verdict, name, None)
    verdict.seconds = time.perf_counter() - start
    return verdict


def run_digest(voters: Sequence[Voter], settings: Settings) -> str:
    """What a verdict depends on besides the picture, in 16 hex digits."""
    models = [[voter.name, voter.card.files, voter.card.calibration, voter.card.reach] for voter in voters]
    told = json.dumps([__version__, models, asdict(settings)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def already_open(models: Any) -> bool:
    """Whether these are voters themselves, not names of bundles."""
    return isinstance(models, list) and bool(models) and all(isinstance(model, Voter) for model in models)


def _is_large(given: Input) -> bool:
    if given.place is None:
        return False
    try:
        with images.opened(given.path) as picture:
            return picture.width * picture.height > LARGE
    except FakeclfError:
        return False  # whoever decodes it will say what is wrong


def _of_file(error: FakeclfError, path: str) -> str:
    text = str(error)
    return text if path in text else f"{path}: {text.removeprefix('picture of ')}"


def _cell(value: Any) -> Any:
    """A spreadsheet takes text that begins so for a formula; file names come from strangers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
