"""Verdicts on more pictures than one machine can look at: Ray Data over the inputs, the log written here alone.

    with ClusterRun(["archive/"], out="detected") as run:
        for verdict in run:
            print(verdict.path, verdict.verdict)

Workers open the models once each, look at pictures and write masks and overlays; every machine must see the same
folders under the same names. What they find comes back here, where each picture gets its one line. A worker that is
lost takes nothing along but the few pictures it had not sent back; these are looked at again.

Tasks, not actors: an actor of a machine that is gone waits for room for a second life, and its pictures with it. The
models stay in the worker's process from one task to the next all the same.

Reference: Moritz et al. 2018, "Ray: A Distributed Framework for Emerging AI Applications", arXiv:1712.05889.
"""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fakeclf.cluster import connected
from fakeclf.detection import Settings
from fakeclf.detection_run import DetectionRun, already_open, judge
from fakeclf.errors import FakeclfError
from fakeclf.inputs import Input
from fakeclf.verdict import Verdict
from fakeclf.voters import Voter, open_voters

PASSES = (8, 1, 1)
"""Pictures in a parcel, each time those are gone through that no worker came back from: a picture that kills its worker
takes its parcel along, so from the second time on each travels alone."""


class ClusterRun(DetectionRun):
    """A :class:`DetectionRun` on a Ray cluster: the same arguments, lines and files; verdicts come as they are made.

    A picture that no worker came back from after all passes gives a verdict with ``error`` set.

    Raises:
        FakeclfError: as ``DetectionRun``; and, when iterated, if Ray is not installed, cannot be reached, or ends.
    """

    def __iter__(self) -> Iterator[Verdict]:
        for number, given in enumerate(self._inputs):
            if given.place is None and self._places[number] < 0:
                yield self._enter(number, Verdict(given.path, error=given.error, seconds=0.0))
        if not self._missing():
            return
        with connected() as ray:
            for parcel in PASSES:
                lost = None
                if missing := self._missing():
                    try:
                        yield from self._go_through(ray, missing, parcel)
                    except ray.exceptions.RayError as error:
                        lost = error
            if lost is not None:
                reason = str(lost).strip().splitlines()[-1]
                raise FakeclfError(f"the Ray cluster gave up: {reason}; the same command goes on from here") from lost
        for number in self._missing():
            path = self._inputs[number].path
            why = f"{path}: no worker came back from it in {len(PASSES)} tries (killed, or out of memory)"
            yield self._enter(number, Verdict(path, error=why))

    def _go_through(self, ray: Any, numbers: list[int], parcel: int) -> Iterator[Verdict]:
        models = self._models if already_open(self._models) else [str(voter.folder) for voter in self.voters]
        known = self._log.hashes()
        # As text: Arrow refuses file names that are no UTF-8.
        items = [
            json.dumps([number, given.path, str(given.place), self._there(given.path, known)])
            for number, given in ((number, self._inputs[number]) for number in numbers)
        ]
        data = ray.data.from_items(items, override_num_blocks=math.ceil(len(items) / parcel))
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # only now: its import sets it
        data.context.enable_progress_bars = False
        data.context.max_errored_blocks = -1  # a lost worker's parcel is missing and the others go on
        with warnings.catch_warnings():
            # No other way is there yet to say how often a task is tried.
            warnings.filterwarnings("ignore", message=".*ray_remote_args_fn")
            found = data.map_batches(
                look_at,
                batch_size=None,  # a parcel
                fn_kwargs={"here": os.getcwd(), "models": models, "settings": self.settings, "out": str(self.out)},
                num_cpus=1,
                # Ray would try a picture that takes all memory for ever; the passes are the second and third try.
                ray_remote_args_fn=lambda: {"max_retries": 0},
            )
        for row in found.iter_rows():
            number, value = json.loads(row["found"])
            if self._places[number] < 0:
                yield self._enter(number, value if isinstance(value, str) else Verdict.from_json(value))

    def _there(self, path: str, known: dict[str, list[str]]) -> list[str]:
        return [sha256 for sha256 in known.get(path, []) if self._is_known(path, sha256)]


def look_at(parcel: dict[str, Any], here: str, models: Any, settings: Settings, out: str) -> dict[str, list[str]]:
    """What a worker does: a verdict on each picture of a parcel.

    Args:
        parcel: under ``item``, for each picture as JSON its number, path, place and the sha256 that are known of it.
        here: the folder that relative paths start from.
        models: see ``fakeclf.voters.open_voters``, which keeps them open from one parcel to the next.
        settings: what is asked.
        out: folder for what is written.

    Returns:
        Under ``found``, for each picture as JSON its number and its verdict, or its sha256 if that is known.
    """
    os.chdir(here)
    voters = models if already_open(models) else open_voters(models)
    return {"found": [_one(item, voters, settings, Path(out)) for item in parcel["item"]]}


def _one(item: str, voters: Sequence[Voter], settings: Settings, out: Path) -> str:
    number, path, place, known = json.loads(item)
    try:
        found = judge(Input(path, Path(place)), voters, settings, out, lambda _, sha256: sha256 in known)
    except Exception as error:
        # Also what is nobody's fault but ours: one picture must not end a run over many machines.
        reason = " ".join(str(error).split())[:300]
        found = Verdict(path, error=f"{path}: {type(error).__name__}: {reason} (unexpected)")
    return json.dumps([number, found if isinstance(found, str) else found.to_json()])
