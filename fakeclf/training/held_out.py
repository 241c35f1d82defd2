"""Pictures for an ensemble: those that no member was trained on, and how to share them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fakeclf import registry
from fakeclf.bundle import Card
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.training.member_outputs import Member

if TYPE_CHECKING:
    from fakeclf.data.datasets import Dataset, Example


def trained_on(members: Sequence[Member]) -> str:
    """The data sets of the members' cards, each once, joined by ``+``.

    Raises:
        FakeclfError: if a card does not say.
    """
    names: list[str] = []
    for member in members:
        own = str(member.card.trained_on.get("dataset") or "")
        if not own:
            raise FakeclfError(f"the card of {member.name} does not say what it was trained on; pass --dataset")
        names += [part for part in part_names(own) if part not in names]
    return "+".join(names)


def part_names(dataset: str) -> list[str]:
    """``a+b`` -> ``[a, b]``; a folder whose name holds a plus stays whole."""
    known = {spec.name for spec in registry.datasets()}
    return [dataset] if dataset in known or Path(dataset).expanduser().is_dir() else dataset.split("+")


def load_parts(dataset: str, members: Sequence[Member], recipe: Recipe, data_dir: Path | None) -> dict[str, Dataset]:
    """Load each data set of ``a+b`` so that its validation part holds what NO member was trained on.

    Members may have been trained with other seeds and validation shares than the recipe's, so each data set is split as
    its members' cards say; where several members were trained on it, what all of them held out is the validation part.
    """
    from fakeclf.data import datasets

    parts = {}
    for name in part_names(dataset):
        splits = {_split(member.card, recipe) for member in members if _was_trained_on(member.card, name)}
        seen = [
            datasets.load(name, validation=validation, seed=seed, data_dir=data_dir)
            for seed, validation in sorted(splits or {(recipe.seed, recipe.validation)})
        ]
        if len(seen) == 1:
            parts[name] = seen[0]
            continue
        held = set.intersection(*({example.path for example in one.validation} for one in seen))
        rest = [*seen[0].train, *seen[0].validation]
        parts[name] = replace(
            seen[0],
            train=tuple(example for example in rest if example.path not in held),
            validation=tuple(example for example in rest if example.path in held),
            note=f"{seen[0].note}; validation: what {len(seen)} splits of the members have in common",
        )
    return parts


def halves(parts: dict[str, Dataset], seed: int) -> tuple[dict[str, list[Example]], dict[str, list[Example]]]:
    """Split the validation pictures of each data set in two, by source: one half to fit, one to choose by.

    Raises:
        FakeclfError: if a half would lack a class.
    """
    from fakeclf.data.splits import hold_out

    fit: dict[str, list[Example]] = {}
    check: dict[str, list[Example]] = {}
    for name, part in parts.items():
        held = hold_out(part.validation, 0.5, seed)
        fit[name] = [example for example in part.validation if example.source not in held]
        check[name] = [example for example in part.validation if example.source in held]
        if any({example.label for example in half} != {0, 1} for half in (fit[name], check[name])):
            raise FakeclfError(
                f"{name} has {len(part.validation):,} pictures that no member was trained on, too few to fit a head "
                "and to check it; use --set model_args.fit_on=train, or members with a larger validation share"
            )
    return fit, check


def joined(parts: dict[str, Dataset]) -> Dataset:
    """The data sets as one; a source carries its data set's name, as names may recur between sets."""

    def part(which: str) -> tuple[Example, ...]:
        return tuple(
            replace(example, source=f"{name}/{example.source}")
            for name, loaded in parts.items()
            for example in getattr(loaded, which)
        )

    first = next(iter(parts.values()))
    note = "; ".join(f"{name}: {loaded.note}" for name, loaded in parts.items())
    return replace(
        first, name="+".join(parts), note=note, train=part("train"), validation=part("validation"), test=part("test")
    )


def _split(card: Card, recipe: Recipe) -> tuple[int, float]:
    own = card.trained_on.get("recipe")
    known = own if isinstance(own, dict) else {}
    return known.get("seed", recipe.seed), known.get("validation", recipe.validation)


def _was_trained_on(card: Card, name: str) -> bool:
    known = {spec.name for spec in registry.datasets()}
    parts = part_names(str(card.trained_on.get("dataset") or ""))
    return name in parts or (name not in known and Path(name).resolve() in {Path(part).resolve() for part in parts})
