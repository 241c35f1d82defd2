"""A zoo: many small autoencoders of drawn architectures, each trained for minutes, each a bundle of its own.

A member is named after the number of its draw, so a zoo is added to by drawing from a later number. What does not
keep what a photograph shows leaves traces that no forger would, so a member below the gate is not kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fakeclf import bundle, config
from fakeclf.atomic import replace_file, replace_folder
from fakeclf.bundle import Card
from fakeclf.config import Optimizer, Recipe
from fakeclf.data.regenerated import photo_splits
from fakeclf.errors import FakeclfError
from fakeclf.models.drawn_autoencoder import draw
from fakeclf.training.autoencoder_training import seconds_a_step
from fakeclf.training.job import Plan, require_free, train_autoencoder
from fakeclf.training.trainer import precision_policy

CROP, BATCH = 64, 8
MEASURED = 40
"""Validation photographs that a member is judged by."""
LEAST_PSNR = 22.0
TEXTURE = (0.3, 1.5)
"""Local variance of round trips as a share of that of the photographs: below a smear, above noise."""

ADVERSARIAL = {"adversary": 0.5, "game": "non-saturating"}
LEARNING_RATE = {"adversarial": 1e-3}
"""By loss; of the others 2e-3. At 5e-3 some end grey."""


@dataclass(frozen=True)
class Member:
    """A trained member: what was drawn, its figures, and why it was not kept ("" where it was)."""

    name: str
    drawn: dict[str, Any]
    psnr: float
    texture: float
    kilobytes: float
    problem: str = ""


def train_zoo(
    photos: str | Path,
    *,
    count: int = 8,
    seed: int = 0,
    minutes: float = 3.0,
    name: str = "zoo",
    models: Path = Path("saved_models"),
    runs: Path = Path("runs"),
    least_psnr: float = LEAST_PSNR,
    say: Callable[[str], None] = print,
) -> list[Member]:
    """Train members until ``count`` of them have passed; goes on where it was stopped.

    All are trained with one seed, so that a folder of photographs without parts is split alike for all.

    Args:
        photos: folder of photographs; its train/ val/ test/ sub-folders if it has them, else split by file.
        count: members that must pass.
        seed: number of the first draw, see ``fakeclf.models.drawn_autoencoder.draw``; the next have the next numbers.
        minutes: processor time of each; the number of steps follows from the speed measured before.
        name: the bundle of draw 3 is ``models/NAME-03``, its unfinished work ``runs/NAME-03``.
        least_psnr: the gate, dB on validation photographs; texture must lie in ``TEXTURE`` besides.
        say: called with one line of progress at a time.

    Returns:
        All members that were trained, in the order of their numbers, with those that failed.

    Raises:
        FakeclfError: no validation photographs, or as many members failed as were wanted.
    """
    if name != Path(name).name or name.startswith("."):
        raise FakeclfError(f"a zoo's name is one word, without / and leading dot; received {name!r}")
    if not photo_splits(photos, seed=0).get("val"):
        raise FakeclfError(f"{photos} has no photographs to judge a zoo by; add some to its folder val")
    require_free(models / f"{name}-{seed:02d}", force=True)
    members: list[Member] = []
    for number in range(seed, seed + 2 * count):
        member = _member(f"{name}-{number:02d}", draw(number), Path(photos), models, runs, minutes, least_psnr, say)
        members.append(member)
        say(f"{member.name}: " + (f"not kept, {member.problem}" if member.problem else f"kept, {member.psnr:.2f} dB"))
        if sum(not one.problem for one in members) == count:
            return members
    failed = next(one for one in members if one.problem)
    raise FakeclfError(
        f"only {sum(not one.problem for one in members)} of {len(members)} members passed; {failed.name}: "
        f"{failed.problem}; give more --minutes, or more photographs"
    )


def _member(
    name: str,
    drawn: dict[str, Any],
    photos: Path,
    models: Path,
    runs: Path,
    minutes: float,
    least_psnr: float,
    say: Callable[[str], None],
) -> Member:
    """Train a member unless it is there, judge it, and move it to its place if it passes."""
    kept, waiting = models / name, runs / name / "bundle"
    if not (kept / "card.json").is_file() and not (waiting / "card.json").is_file():
        say(f"{name}: {describe(drawn)}, {drawn['loss']}")
        keras.utils.clear_session()
        recipe = _recipe(drawn, photos, runs / name, minutes)
        train_autoencoder(recipe, Plan(name, runs / name, waiting, None, "none", None, resume=True, force=False))
    folder = kept if (kept / "card.json").is_file() else waiting
    card = bundle.read_card(folder)
    (result,) = (one for one in card.results if one["split"] == "val")
    size = (folder / "model.keras").stat().st_size / 1000
    problem = _problem(result["psnr_db"], result["texture"], least_psnr) if folder == waiting else ""
    if problem:
        _mark(waiting, card, problem)
    elif folder == waiting:
        with replace_folder(kept) as new:
            shutil.copytree(waiting, new, dirs_exist_ok=True)
        shutil.rmtree(waiting)
    return Member(name, drawn, result["psnr_db"], result["texture"], size, problem)


def _recipe(drawn: dict[str, Any], photos: Path, run: Path, minutes: float) -> Recipe:
    """What trains a member; the number of steps is that of the run to go on with, where there is one."""
    given = {key: value for key, value in drawn.items() if key != "loss"}
    given |= ADVERSARIAL if drawn["loss"] == "adversarial" else {"loss": drawn["loss"]}
    if (run / "recipe.yaml").is_file():
        steps = config.read_recipe(run / "recipe.yaml").model_args["steps"]
    else:
        pace = {key: value for key, value in given.items() if key != "game"}
        precision = precision_policy("auto")
        taken = seconds_a_step(
            photos, seed=0, batch_size=BATCH, crop=CROP, precision=precision, model="drawn-autoencoder", **pace
        )
        steps = max(10, round(60 * minutes / taken))
    return Recipe(
        model="drawn-autoencoder",
        model_args={**given, "steps": steps, "measure": ["val"], "measure_at_most": MEASURED},
        dataset=str(photos),
        input_size=CROP,
        batch_size=BATCH,
        augmentation=None,
        optimizer=Optimizer(learning_rate=LEARNING_RATE.get(drawn["loss"], 2e-3), schedule="cosine"),
    )


def describe(drawn: dict[str, Any]) -> str:
    """An architecture in a few words."""
    return (
        f"{drawn['upsampler']} {drawn['kernel']}x{drawn['kernel']}, 1/{drawn['stride']} x {drawn['latent_channels']}, "
        f"width {drawn['width']}, depth {drawn['depth']}, {drawn['normalisation']} norm, {drawn['activation']}"
    )


def _problem(psnr: float, texture: float, least_psnr: float) -> str:
    # Written so that figures that are not numbers fail.
    if not psnr >= least_psnr:
        return f"round trips of {psnr:.2f} dB, below {least_psnr:g}"
    if not TEXTURE[0] <= texture <= TEXTURE[1]:
        return f"texture {texture:.2f} times that of the photographs, not {TEXTURE[0]:g} to {TEXTURE[1]:g}"
    return ""


def _mark(folder: Path, card: Card, problem: str) -> None:
    line = f"failed the zoo's gate: {problem}"
    card.limits = [limit for limit in card.limits if not limit.startswith("failed the zoo's gate")] + [line]
    with replace_file(folder / "card.json") as beside:
        beside.write_text(json.dumps(card.to_json(), indent=1) + "\n", encoding="utf-8")
