"""The cells of a table, and the trainings that they need.

A training is known by a hash of what it is, so tables share trainings, and two cells that measure the same are one.
Imports no Keras.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fakeclf import config, registry
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.reproduce.experiments import (
    AXES,
    BROUGHT,
    SCALES,
    Experiment,
    Scale,
    Setting,
    Source,
    read_sources,
)


@dataclass(frozen=True)
class Training:
    """One training of the grid, or a bundle that comes trained.

    Attributes:
        id: of what it is: recipe, pictures, members.
        called: our name of the model.
        kind: of model.
        recipe: as it will be run, but for its data set.
        sources: what it learns from.
        members: trainings that it joins.
        frozen: see ``Setting``.
        bundle: where it comes trained; "" = it is trained.
    """

    id: str
    called: str
    kind: str
    recipe: Recipe
    sources: tuple[Source, ...]
    members: tuple[Training, ...] = ()
    frozen: bool = True
    bundle: str = ""

    def needs(self) -> set[str]:
        """Names of what the user must bring for it."""
        given = (self.bundle, self.recipe.start_from or "")
        own = {text.removeprefix(BROUGHT) for text in given if text.startswith(BROUGHT)}
        return own.union({source.needs for source in self.sources}, *(member.needs() for member in self.members)) - {""}


@dataclass(frozen=True)
class Cell:
    """One figure, or row of figures: a training, measured on one test set.

    Attributes:
        id: of what is measured, how, on what.
        labels: axis -> the report's name.
        own: axis -> our name of the same.
        threshold: None = the model's card's.
    """

    id: str
    labels: dict[str, str]
    own: dict[str, str]
    training: Training
    tests: tuple[Source, ...]
    seed: int
    measure: str
    threshold: float | None
    limit: int | None

    @property
    def name(self) -> str:
        return "/".join([*(self.own[axis] for axis in AXES if self.own[axis]), f"seed {self.seed}"])

    def needs(self) -> set[str]:
        return (self.training.needs() | {test.needs for test in self.tests}) - {""}

    def matches(self, pattern: str) -> bool:
        """Whether ``pattern`` (with * and ?) is found in the report's or our own names, whatever the case."""
        theirs = "/".join(self.labels[axis] for axis in AXES if self.labels[axis])
        wanted = f"*{pattern.casefold()}*"
        return any(fnmatch.fnmatchcase(text.casefold(), wanted) for text in (theirs, self.name))


def rows(experiment: Experiment) -> list[dict[str, str]]:
    """Every row of the table by axis, in the report's names, those included that a scale leaves open."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for grid in experiment.grids:
        for values in itertools.product(grid.pictures, grid.models or tuple(experiment.models), grid.train, grid.test):
            found.setdefault(values, dict(zip(AXES, values, strict=True)))
    return list(found.values())


def expand(experiment: Experiment, scale: Scale, seeds: Sequence[int] = (0,)) -> list[Cell]:
    """The cells that ``scale`` runs, in the order of the table, seed by seed within each row.

    Raises:
        FakeclfError: the experiment names a model, recipe, source or axis that there is not.
    """
    sources = read_sources(scale.name)
    only = experiment.at.get(scale.name, {})
    _check_at(experiment)
    return [
        _cell(experiment, scale, sources, labels, seed)
        for labels in rows(experiment)
        if all(labels[axis] in allowed for axis, allowed in only.items())
        for seed in seeds
    ]


def selected(cells: Iterable[Cell], pattern: str | None) -> list[Cell]:
    """The cells that ``pattern`` names; None names all.

    Raises:
        FakeclfError: there is none.
    """
    here = list(cells)
    chosen = [cell for cell in here if pattern is None or cell.matches(pattern)]
    if not chosen:
        some = ", ".join(repr(cell.name) for cell in here[:3])
        raise FakeclfError(f"--only {pattern!r} names no cell of {len(here)}; they are called as {some}")
    return chosen


def trainings(cells: Iterable[Cell]) -> dict[str, Training]:
    """Every training of the cells once, members before what joins them; bundles that come trained left out."""
    found: dict[str, Training] = {}
    for cell in cells:
        for training in (*cell.training.members, cell.training):
            if not training.bundle:
                found.setdefault(training.id, training)
    return found


def digest(value: Any) -> str:
    """A short hash of what can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def about(source: Source) -> dict[str, Any]:
    """What a source is, without what it is called."""
    return dataclasses.asdict(replace(source, called=""))


def named(source: Source) -> str:
    """What a source is called where no report's name is at hand."""
    return source.called or source.data or source.dataset or "+".join(source.forge.get("sources", ()))


def _cell(
    experiment: Experiment, scale: Scale, sources: Mapping[str, Source], labels: dict[str, str], seed: int
) -> Cell:
    mixture = [] if labels["train"] == "-" else [_full(labels, part) for part in labels["train"].split("+")]
    training = _training(experiment, labels["model"], scale, [_source(sources, name) for name in mixture], seed)
    tests = tuple(_source(sources, _full(labels, part)) for part in labels["test"].split("+"))
    threshold = experiment.threshold if scale.threshold == "report" else None
    own = {
        "pictures": "",
        "model": training.called,
        "train": _called(training.sources, labels["train"]),
        "test": _called(tests, labels["test"]),
    }
    measured = (
        [experiment.measure]
        if experiment.measure == "history"
        else [[about(test) for test in tests], threshold, scale.limit]
    )
    key = digest([training.id, *measured])
    return Cell(key, labels, own, training, tests, seed, experiment.measure, threshold, scale.limit)


def _training(experiment: Experiment, label: str, scale: Scale, mixture: Sequence[Source], seed: int) -> Training:
    if label not in experiment.models:
        raise FakeclfError(
            f"experiment {experiment.name}: unknown model {label!r}; {registry.closest(label, experiment.models)}"
        )
    wanted = experiment.models[label]
    kind = "ensemble" if wanted.members else registry.model(wanted.model).kind
    settings = [scale.settings.get(key, Setting()) for key in (kind, wanted.model)]
    special = settings[1]
    name = special.model or wanted.model
    recipe = config.read_recipe(special.recipe or wanted.recipe or wanted.model)
    if not wanted.members:
        recipe = replace(recipe, model=registry.model(name).name)
    varied = {"localizing.variant": mixture[0].variant} if mixture and kind == "localizer" else {}
    own = {} if special.model else wanted.set
    changes = {**varied, **own, **settings[0].set, **special.set, **wanted.keep, "seed": seed}
    recipe = config.with_settings(recipe, [f"{key}={json.dumps(value)}" for key, value in changes.items()])
    members = tuple(
        _training(experiment, member, scale, [source], seed)
        for member, source in zip(wanted.members, mixture, strict=bool(wanted.members))
    )
    bundle = "" if mixture else special.bundle
    if varied and len({source.variant for source in mixture}) > 1:
        raise FakeclfError(f"experiment {experiment.name}: one training cannot look at several variants of records")
    width = recipe.model_args.get("width", 1)
    called = special.called or label + (f", width {width:g}" if width != 1 and not bundle else "")
    what = [
        config.to_mapping(replace(recipe, dataset="")),
        [[about(source), source.take or scale.take] for source in mixture],
        [member.id for member in members],
        [special.frozen] if members else [],
        bundle,
    ]
    return Training(digest(what), called, kind, recipe, tuple(mixture), members, special.frozen, bundle)


def _check_at(experiment: Experiment) -> None:
    for scale, only in experiment.at.items():
        if scale not in SCALES:
            raise _unknown(experiment, scale, SCALES)
        for axis, allowed in only.items():
            if axis not in AXES:
                raise _unknown(experiment, axis, AXES)
            here = {labels[axis] for labels in rows(experiment)}
            for value in allowed:
                if value not in here:
                    raise _unknown(experiment, value, here)


def _unknown(experiment: Experiment, key: str, allowed: Iterable[str]) -> FakeclfError:
    return FakeclfError(f"experiment {experiment.name}: at: unknown {key!r}; {registry.closest(key, allowed)}")


def _called(sources: Sequence[Source], label: str) -> str:
    """Our name of a mixture that the report calls ``label``."""
    return "+".join(source.called or part for source, part in zip(sources, label.split("+"), strict=False)) or label


def _full(labels: Mapping[str, str], name: str) -> str:
    return f"{labels['pictures']}/{name}" if labels["pictures"] else name


def _source(sources: Mapping[str, Source], name: str) -> Source:
    if name not in sources:
        raise FakeclfError(f"there are no pictures {name!r} at this scale; {registry.closest(name, sources)}")
    return sources[name]
