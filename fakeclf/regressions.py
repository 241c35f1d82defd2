"""Pictures that a model misjudged, shown to it again.

    add(open_voters("cifake")[0], "holiday.jpg", "real")
    for outcome in replay("saved_models/cifake"):
        print(outcome.case.label, outcome.state)

A case that was never right is known to be wrong and no news; one that was right before and is wrong now is a
regression. Where the cases lie: ``fakeclf.cases``.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import cases, images, last_layer
from fakeclf.cases import TRUTHS, Case
from fakeclf.detection import Settings, look, read_file
from fakeclf.errors import FakeclfError
from fakeclf.verdict import Verdict, Vote
from fakeclf.voters import Voter, open_voters

STATES = ("right", "known", "regression", "changed", "damaged")
SAME = 0.01
"""How far P(FAKE) from kept features may be from that of the picture."""


class NoVote(FakeclfError):
    """The model has no vote on the picture, so it has not misjudged it."""


@dataclass(frozen=True)
class Outcome:
    """What a model says of a case now.

    Attributes:
        case: the case.
        state: ``right``; ``known``: wrong and never right so far; ``regression``: wrong, and right before; ``changed``:
            features alone are kept, and the model has changed since; ``damaged``: what is kept cannot be used.
        verdict, p_fake, area: as in ``Case``, but ``cannot tell`` where the model has no vote any more; None where it
            could not be asked.
        why: more about it, in words; "" where there is no more to say.
    """

    case: Case
    state: str
    verdict: str | None = None
    p_fake: float | None = None
    area: float | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values: the case without its features, and what is said now."""
        now = {"verdict_now": self.verdict, "p_fake_now": self.p_fake, "area_now": self.area}
        return self.case.to_json() | {"state": self.state} | now | {"why": self.why}


def add(
    voter: Voter,
    path: str | Path,
    truth: str,
    *,
    note: str = "",
    features_only: bool = False,
    area_below: float | None = None,
) -> Outcome:
    """Keep a picture beside a model, in place of an earlier case of the same picture.

    A case that was right at some time stays so noted unless its truth or ``area_below`` is another now.

    Args:
        voter: the model.
        path: of the picture.
        truth: one of ``fakeclf.cases.TRUTHS``.
        note: a line for whoever reads the list.
        features_only: keep the picture's sha256 and what the last Dense layer of a classifier is given for it, not the
            picture itself. It can be replayed as long as the network stays the same, whatever its calibration.
        area_below: see ``fakeclf.cases.Case``, in (0, 1]; of a localizer and a real picture alone.

    Returns:
        The case as it is kept, and what the model says of it.

    Raises:
        NoVote: the model cannot judge such a picture.
        FakeclfError: the file is no picture, the arguments do not fit together, or the bundle cannot be written to.
    """
    _check(voter, truth, features_only, area_below)
    cases.check_writable(voter.folder)
    content = read_file(path)
    pixels = _decoded(content, os.fspath(path))
    verdict, vote = _ask(voter, pixels)
    if vote.says is None or vote.p_fake is None or vote.raw is None:
        raise NoVote(f"{path}: {voter.name} cannot judge it: {vote.no_vote}")
    case = Case(
        sha256=hashlib.sha256(content).hexdigest(),
        truth=truth,
        kind="features" if features_only else "picture",
        name="" if features_only else Path(path).name,
        note=note,
        date=_today(),
        model_sha256=vote.sha256,
        verdict=vote.says,
        p_fake=vote.p_fake,
        area=verdict.area,
        area_below=area_below,
        features=_features(voter, pixels, vote.raw) if features_only else "",
    )
    for before in cases.find(voter.folder, case.sha256):
        if (before.truth, before.area_below) == (truth, area_below):
            case = dataclasses.replace(case, right_since=before.right_since)
    outcome = _outcome(case, vote.says, vote.p_fake, verdict.area)
    if outcome.state == "right" and case.right_since is None:
        case = dataclasses.replace(case, right_since=_today())
    cases.put(voter.folder, case, content, Path(path).suffix)
    return dataclasses.replace(outcome, case=case)


def replay(folder: str | Path) -> Iterator[Outcome]:
    """Show a bundle its cases again, one after the other; the first time that one is right is noted in its line.

    Raises:
        FakeclfError: there is no such bundle, it cannot be opened, or its cases cannot be read.
    """
    kept = cases.read(folder)
    if not kept:
        return
    (voter,) = open_voters(Path(folder))
    for case in kept:
        outcome = _replayed(voter, case)
        if outcome.state == "right" and case.right_since is None:
            try:
                cases.note_right(voter.folder, case, _today())
            except FakeclfError as error:
                outcome = dataclasses.replace(outcome, why=f"this could not be noted: {error}")
        yield outcome


def _check(voter: Voter, truth: str, features_only: bool, area_below: float | None) -> None:
    if truth not in TRUTHS:
        raise FakeclfError(f"the truth of a picture is {' or '.join(TRUTHS)}; received {truth!r}")
    kind = voter.card.kind
    if features_only and kind != "classifier":
        why = "a mask needs the picture" if voter.localizes else "its features are its members'; name one of them"
        raise FakeclfError(f"features alone can be kept for a classifier; {voter.name} is of kind {kind}: {why}")
    if area_below is None:
        return
    if not voter.localizes or truth != "real":
        raise FakeclfError(
            f"a marked area is asked of a localizer and a real picture; {voter.name} is of kind {kind}, the truth "
            f"{truth}"
        )
    if not 0 < area_below <= 1:
        raise FakeclfError(f"the area is a share of the pixels, above 0 and at most 1; received {area_below}")


def _ask(voter: Voter, pixels: np.ndarray) -> tuple[Verdict, Vote]:
    """As ``fakeclf.detect`` does, this model alone."""
    verdict = look(pixels, [voter], Settings(stability=False))
    return verdict, verdict.votes[0]


def _replayed(voter: Voter, case: Case) -> Outcome:
    try:
        if case.kind == "features":
            if case.model_sha256 != voter.card.files["model.keras"]:
                return Outcome(case, "changed", why="features alone were kept, and the model has changed since")
            vote, area = _vote_on(voter, case.features), None
        else:
            verdict, vote = _ask(voter, _decoded(cases.content(voter.folder, case), case.name))
            area = verdict.area
    except FakeclfError as error:
        return Outcome(case, "damaged", why=str(error))
    return _outcome(case, vote.says or "cannot tell", vote.p_fake, area)


def _outcome(case: Case, verdict: str, p_fake: float | None, area: float | None) -> Outcome:
    state = "right" if case.met_by(verdict, area) else "regression" if case.right_since else "known"
    return Outcome(case, state, verdict, p_fake, area)


def _features(voter: Voter, pixels: np.ndarray, p_fake: float) -> str:
    values = last_layer.features(voter.folder, pixels)
    if not abs(last_layer.p_fake(voter.folder, values) - p_fake) <= SAME:
        raise FakeclfError(f"{voter.name} does not give the same P(FAKE) from its rounded features; keep the picture")
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def _vote_on(voter: Voter, features: str) -> Vote:
    try:
        values = np.frombuffer(base64.b64decode(features, validate=True), "<f2")
    except ValueError as error:
        raise FakeclfError(f"the kept features are damaged ({error}); add the picture again") from error
    return voter.vote(last_layer.p_fake(voter.folder, values))


def _decoded(content: bytes, name: str) -> np.ndarray:
    try:
        return images.read(content)
    except images.UnreadablePicture as error:
        raise images.UnreadablePicture(f"{name}: {str(error).removeprefix('picture of ')}") from error


def _today() -> str:
    return datetime.date.today().isoformat()
