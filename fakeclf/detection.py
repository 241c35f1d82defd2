"""One verdict a picture, from all that is known at both levels.

    verdict = detect("photo.jpg")
    print(verdict.verdict, verdict.p_fake, verdict.why)
    verdict.mask            # P(inpainted) of each pixel, float32 (height, width)

``fakeclf.detection_run`` does so for files, folders and globs.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import images, provenance, traces
from fakeclf.data import codec, degrade
from fakeclf.errors import FakeclfError
from fakeclf.evidence import sentences
from fakeclf.registry import resolve
from fakeclf.verdict import Verdict, Vote, decide
from fakeclf.voters import Look, Voter, open_voters, without_vote

STABILITY = ("jpeg:85", "resize:0.75")
"""What a verdict must survive to be called stable."""


@dataclass(frozen=True)
class Settings:
    """What is asked of a picture besides the verdict.

    Attributes:
        pixel_threshold: on P(inpainted) of a pixel; None = the localizer's own.
        stability: whether the verdict is tried again on changed copies; two more looks at the picture.
        reliability: whether to make the localizer's reliability map; eight more looks.
        explain: whether to make the classifier's Grad-CAM and the noise residual.
    """

    pixel_threshold: float | None = None
    stability: bool = True
    reliability: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        if self.pixel_threshold is not None and not 0 <= self.pixel_threshold <= 1:
            raise FakeclfError(
                f"the threshold is on P(inpainted) and lies between 0 and 1; received {self.pixel_threshold}"
            )


def detect(
    picture: str | Path | np.ndarray,
    *,
    models: Any = None,
    threshold: float | None = None,
    stability: bool = True,
    reliability: bool = False,
    explain: bool = False,
    out: str | Path | None = None,
) -> Verdict:
    """Look at one picture.

    Args:
        picture: a file, or uint8 RGB (height, width, 3).
        models: names or folders of bundles, one or several, or what ``fakeclf.voters.open_voters`` gave; default: the
            shipped ones.
        threshold, stability, reliability, explain: see :class:`Settings`; the threshold is on the pixels of the mask.
        out: folder to write mask, overlay and maps to; default: nothing is written.

    Returns:
        The record, with its arrays.

    Raises:
        FakeclfError: the file is no picture, there is no such model, or ``out`` cannot be written to.
    """
    settings = Settings(threshold, stability, reliability, explain)
    voters = models if isinstance(models, list) and all(isinstance(m, Voter) for m in models) else open_voters(models)
    start = time.perf_counter()
    if isinstance(picture, np.ndarray):
        verdict, place = look(picture, voters, settings), Path("picture")
    else:
        content = read_file(picture)
        verdict = look(images.read(content), voters, settings, codec.lossy_otherwise(content))
        place = Path(Path(picture).name)
        describe(verdict, os.fspath(picture), content)
    if out is not None:
        write(verdict, Path(out) / place)
    verdict.seconds = time.perf_counter() - start
    return verdict


def read_file(path: str | Path) -> bytes:
    """A picture's file, read once for its hash, its pixels and its metadata.

    Raises:
        images.UnreadablePicture: there is no such file, or it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise images.UnreadablePicture(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise images.UnreadablePicture(f"{path}: is a folder, not a picture") from None
    except OSError as error:
        raise images.UnreadablePicture(f"{path}: cannot be read ({error.strerror or error})") from error


def describe(verdict: Verdict, path: str, content: bytes) -> None:
    """Add what the file says of itself."""
    verdict.path, verdict.sha256 = path, hashlib.sha256(content).hexdigest()
    verdict.provenance = provenance.read(content).to_json()


def look(pixels: np.ndarray, voters: Sequence[Voter], settings: Settings, lossy: str = "") -> Verdict:
    """What the pixels alone tell; the same for a JPEG file, its lossless copy and the array.

    Args:
        pixels: uint8 RGB (height, width, 3).
        voters: the models to ask.
        settings: what is asked.
        lossy: what else than JPEG the file went through: pixels do not tell, and models were not measured on it.
    """
    size = (pixels.shape[1], pixels.shape[0])
    found = traces.read(pixels)
    verdict = Verdict(None, size=size, pixels=pixels, traces=found.to_json())
    reasons = without_vote(voters, size, found, lossy)
    # A mask is shown even if no localizer votes: that of the first that may, else of the first.
    localizers = [(bool(why_not), place) for place, why_not in enumerate(reasons) if voters[place].localizes]
    shown = voters[min(localizers)[1]] if localizers else None
    remark, looks_again = "", []
    for voter, why_not in zip(voters, reasons, strict=True):
        if why_not and voter is not shown:
            verdict.votes.append(voter.vote(None, why_not))
            continue
        seen = voter.look(pixels)
        verdict.votes.append(voter.vote(seen.raw, why_not))
        looks_again.append((voter, seen.again or voter.look))
        if voter is shown:
            verdict.mask, remark = seen.mask, seen.remark
    if shown is not None:
        threshold = settings.pixel_threshold
        verdict.pixel_threshold = shown.card.threshold if threshold is None else threshold
        verdict.area = float(verdict.binary.mean())
    verdict.verdict, verdict.extent, decisive = decide(verdict.votes, verdict.area)
    if decisive is not None:
        verdict.decided_by, verdict.p_fake = decisive.model, decisive.p_fake
        if settings.stability:
            asked = [(voter, again) for voter, again in looks_again if _says(verdict.votes, voter)]
            verdict.flips_after = [change for change in STABILITY if _again(pixels, asked, change) != verdict.verdict]
            verdict.stable = "flips" if verdict.flips_after else "stable"
    verdict.why = sentences(verdict, decisive, remark)
    if settings.reliability and shown is not None:
        measure = resolve("segmentation.reliability:reliability")
        found_again = measure(shown.look, pixels, threshold=verdict.pixel_threshold)
        verdict.reliability = found_again.map
    if settings.explain:
        _explain(verdict, voters)
    return verdict


def write(verdict: Verdict, target: Path) -> None:
    """Write mask, overlay and maps beside each other, named after ``target``, and note where they are.

    Raises:
        FakeclfError: the folder cannot be written to.
    """
    assert verdict.pixels is not None
    made: dict[str, np.ndarray] = {}
    if verdict.mask is not None:
        made["mask"] = np.rint(verdict.mask * 255).astype(np.uint8)
        made["binary"] = verdict.binary.astype(np.uint8) * 255
        made["overlay"] = resolve("segmentation.overlay:overlay")(verdict.pixels, verdict.mask, verdict.pixel_threshold)
    if verdict.reliability is not None:
        made["reliability"] = np.rint(verdict.reliability * 255).astype(np.uint8)
    if verdict.heat is not None:
        from fakeclf.explain import heat_overlay

        made["heat"] = heat_overlay(verdict.pixels, verdict.heat)
    if verdict.residual is not None:
        made["residual"] = verdict.residual
    for name, pixels in made.items():
        path = target.with_name(f"{target.name}.{name}.png")
        images.save(path, pixels, effort=4)  # a third of the time of 6, files 4 % larger
        setattr(verdict, f"{name}_path", str(path))


WRITTEN = tuple(f".{name}.png" for name in ("mask", "binary", "overlay", "reliability", "heat", "residual"))
"""Endings of the names that :func:`write` gives."""


def _says(votes: Sequence[Vote], voter: Voter) -> bool:
    return any(vote.says is not None and vote.model == voter.name for vote in votes)


def _again(pixels: np.ndarray, asked: Sequence[tuple[Voter, Look]], change: str) -> str:
    """The verdict on a changed copy, by the models that voted, whether or not it is still within their reach."""
    changed = degrade.parse(change).apply(pixels)
    votes = [voter.vote(again(changed).raw) for voter, again in asked]
    return decide(votes, None)[0]


def _explain(verdict: Verdict, voters: Sequence[Voter]) -> None:
    from fakeclf import explain

    assert verdict.pixels is not None
    verdict.residual = explain.residual(verdict.pixels)
    for voter in voters:
        if voter.localizes or not _says(verdict.votes, voter):
            continue
        try:
            verdict.heat = explain.grad_cam(_network(voter.folder, voter.card.files["model.keras"]), verdict.pixels)
        except FakeclfError as error:
            verdict.why.append(f"{voter.name} cannot show where it looked: {error}.")
        else:
            return


@lru_cache(maxsize=4)
def _network(folder: Path, sha256: str) -> Any:
    """A classifier as a Keras model, loaded once for all pictures."""
    from fakeclf import bundle

    return bundle.load(folder)
