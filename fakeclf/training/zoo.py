"""A zoo: many small generators of drawn architectures, each trained for minutes, each a bundle of its own.

A member is named after the number of its draw, so a zoo is added to by drawing from a later number. What does not
make what a photograph shows leaves traces that no forger would, so a member below the gate is not kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras

from fakeclf import bundle, config
from fakeclf.atomic import replace_file, replace_folder
from fakeclf.bundle import Card
from fakeclf.config import Recipe
from fakeclf.data.regenerated import photo_splits
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest, resolve
from fakeclf.training.job import Plan, require_free

FAMILIES = {
    "autoencoders": "fakeclf.training.zoo_autoencoders:Autoencoders",
    "inpainters": "segmentation.training.zoo_inpainters:Inpainters",
}
"""What a zoo can hold, as ``"module:class"``."""


class Family(Protocol):
    """How members of one kind are drawn, trained and judged.

    Attributes:
        name: what members are called where nothing else is said, followed by their number.
        figure: what the gate's decibels are, as a table's heading.
        least: these, at the least.
        texture: local variance of what members make as a share of the photographs': the least and the most.
    """

    name: str
    figure: str
    least: float
    texture: tuple[float, float]

    def draw(self, number: int) -> dict[str, Any]:
        """Architecture and loss of a number, always the same."""

    def describe(self, drawn: dict[str, Any]) -> tuple[str, str]:
        """Architecture and loss in a few words each."""

    def seconds_a_step(self, drawn: dict[str, Any], photos: Path) -> float:
        """Processor time of a step of its training."""

    def recipe(self, drawn: dict[str, Any], photos: Path, steps: int) -> Recipe:
        """What trains it; its ``model_args`` hold "steps"."""

    def train(self, recipe: Recipe, plan: Plan) -> Any:
        """Train it to a bundle with figures on validation photographs."""

    def judged(self, result: dict[str, Any]) -> tuple[float, float]:
        """Decibels and texture, from those figures."""


@dataclass(frozen=True)
class Member:
    """A trained member: what was drawn, its figures, and why it was not kept ("" where it was)."""

    name: str
    drawn: dict[str, Any]
    decibels: float
    texture: float
    kilobytes: float
    problem: str = ""


def train_zoo(
    photos: str | Path,
    *,
    of: str = "autoencoders",
    count: int = 8,
    seed: int = 0,
    minutes: float = 3.0,
    name: str | None = None,
    models: Path = Path("saved_models"),
    runs: Path = Path("runs"),
    least: float | None = None,
    say: Callable[[str], None] = print,
) -> list[Member]:
    """Train members until ``count`` of them have passed; goes on where it was stopped.

    All are trained with one seed, so that a folder of photographs without parts is split alike for all.

    Args:
        photos: folder of photographs; its train/ val/ test/ sub-folders if it has them, else split by file.
        of: what they are, one of ``FAMILIES``.
        count: members that must pass.
        seed: number of the first draw; the next have the next numbers.
        minutes: processor time of each; the number of steps follows from the speed measured before.
        name: the bundle of draw 3 is ``models/NAME-03``, its unfinished work ``runs/NAME-03``; default: the family's.
        least: the gate, dB on validation photographs, see ``Family.figure``; default: the family's.
        say: called with one line of progress at a time.

    Returns:
        All members that were trained, in the order of their numbers, with those that failed.

    Raises:
        FakeclfError: an unknown family, no validation photographs, or as many members failed as were wanted.
    """
    family = open_family(of)
    name = family.name if name is None else name
    if name != Path(name).name or name.startswith("."):
        raise FakeclfError(f"a zoo's name is one word, without / and leading dot; received {name!r}")
    if not photo_splits(photos, seed=0).get("val"):
        raise FakeclfError(f"{photos} has no photographs to judge a zoo by; add some to its folder val")
    require_free(models / f"{name}-{seed:02d}", force=True)
    members: list[Member] = []
    for number in range(seed, seed + 2 * count):
        places = models / f"{name}-{number:02d}", runs / f"{name}-{number:02d}"
        member = _member(family, number, Path(photos), *places, minutes, family.least if least is None else least, say)
        members.append(member)
        kept = f"kept, {member.decibels:.2f} dB"
        say(f"{member.name}: " + (f"not kept, {member.problem}" if member.problem else kept))
        if sum(not one.problem for one in members) == count:
            return members
    failed = next(one for one in members if one.problem)
    raise FakeclfError(
        f"only {sum(not one.problem for one in members)} of {len(members)} members passed; {failed.name}: "
        f"{failed.problem}; give more --minutes, or more photographs"
    )


def open_family(of: str) -> Family:
    """The family of that name.

    Raises:
        FakeclfError: there is none.
    """
    if of not in FAMILIES:
        raise FakeclfError(f"a zoo holds no {of!r}; {closest(of, FAMILIES)}")
    return resolve(FAMILIES[of])()


def _member(
    family: Family,
    number: int,
    photos: Path,
    kept: Path,
    run: Path,
    minutes: float,
    least: float,
    say: Callable[[str], None],
) -> Member:
    """Train a member unless it is there, judge it, and move it to its place if it passes."""
    drawn, waiting = family.draw(number), run / "bundle"
    if not (kept / "card.json").is_file() and not (waiting / "card.json").is_file():
        say(f"{kept.name}: {', '.join(family.describe(drawn))}")
        keras.utils.clear_session()
        recipe = family.recipe(drawn, photos, _steps(family, drawn, photos, run, minutes))
        family.train(recipe, Plan(kept.name, run, waiting, None, "none", None, resume=True, force=False))
    folder = kept if (kept / "card.json").is_file() else waiting
    card = bundle.read_card(folder)
    (result,) = (one for one in card.results if one["split"] == "val")
    decibels, texture = family.judged(result)
    size = (folder / "model.keras").stat().st_size / 1000
    problem = _problem(family, decibels, texture, least) if folder == waiting else ""
    if problem:
        _mark(waiting, card, problem)
    elif folder == waiting:
        with replace_folder(kept) as new:
            shutil.copytree(waiting, new, dirs_exist_ok=True)
        shutil.rmtree(waiting)
    return Member(kept.name, drawn, decibels, texture, size, problem)


def _steps(family: Family, drawn: dict[str, Any], photos: Path, run: Path, minutes: float) -> int:
    """As many as fit; those of the run to go on with, where there is one."""
    if (run / "recipe.yaml").is_file():
        return config.read_recipe(run / "recipe.yaml").model_args["steps"]
    return max(10, round(60 * minutes / family.seconds_a_step(drawn, photos)))


def _problem(family: Family, decibels: float, texture: float, least: float) -> str:
    # Written so that figures that are not numbers fail.
    lowest, highest = family.texture
    if not decibels >= least:
        return f"{family.figure} {decibels:.2f}, below {least:g}"
    if not lowest <= texture <= highest:
        return f"texture {texture:.2f} times that of the photographs, not {lowest:g} to {highest:g}"
    return ""


def _mark(folder: Path, card: Card, problem: str) -> None:
    line = f"failed the zoo's gate: {problem}"
    card.limits = [limit for limit in card.limits if not limit.startswith("failed the zoo's gate")] + [line]
    with replace_file(folder / "card.json") as beside:
        beside.write_text(json.dumps(card.to_json(), indent=1) + "\n", encoding="utf-8")
