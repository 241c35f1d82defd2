"""Experiments as data: which model, trained on which mixture, is tested on what, and what a report printed.

``experiments/NAME.yaml`` is the grid of one table, in the report's own names; ``sources.yaml`` says what pictures those
names stand for at each scale, ``scales.yaml`` how large everything is there; ``grid.expand`` puts the three together.
Imports no Keras.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from fakeclf import registry
from fakeclf.config import from_mapping
from fakeclf.errors import FakeclfError

SCALES = ("smoke", "small", "full")
AXES = ("pictures", "model", "train", "test")
"""What tells the cells of a table apart."""
BROUGHT = "data:"
"""Before the name of what the user brings with ``--data``, in place of a path."""


@dataclass(frozen=True)
class Model:
    """A row's model: a registered one, a recipe (default: the one named like it), and what the row changes in it."""

    model: str
    recipe: str = ""
    set: dict[str, Any] = field(default_factory=dict)
    keep: dict[str, Any] = field(default_factory=dict)
    """The same, against the scale's settings too."""
    members: tuple[str, ...] = ()
    """Of an ensemble: models of the same experiment; each is trained on its part of the mixture, in this order."""


@dataclass(frozen=True)
class Grid:
    """All combinations of what it lists. A source is called ``PICTURES/NAME``, or NAME where there are no pictures."""

    test: tuple[str, ...]
    train: tuple[str, ...] = ("-",)
    """Mixtures, joined by ``+``; ``-``: the model comes trained."""
    models: tuple[str, ...] = ()
    """Default: all of the experiment."""
    pictures: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Experiment:
    """One table of a report, or of our own, as its YAML file has it."""

    report: str
    title: str
    models: dict[str, Model]
    grids: tuple[Grid, ...]
    metrics: dict[str, str]
    """Column of the table -> where it stands in an evaluation, as ``pooled.f1``."""
    printed: str = ""
    """The printed figures' key in ``published.json``; "" = an experiment of this project's own."""
    columns: dict[str, str] = field(default_factory=dict)
    """Column of the printed table -> axis, where it is not named like one."""
    threshold: float = 0.5
    """The report's; ``scales.yaml`` may ask for the one of each model's card instead."""
    measure: Literal["test", "history"] = "test"
    """``history``: what the training itself recorded, epoch by epoch."""
    curve: bool = False
    """Whether scores are also averaged by the number of sources that a training learnt from."""
    at: dict[str, Any] = field(default_factory=dict)
    """Scale -> axis -> the values that are run there; the others are left open."""
    notes: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Source:
    """Pictures, as one scale has them. One of ``data``, ``dataset``, ``forge`` and ``regenerate`` says where from.

    Attributes:
        called: what they are called in our table; "" = as in the report.
        data: the name under which the user brings them.
        dataset: a registered data set.
        every: only so manieth pictures of it, in each class.
        forge: arguments of ``segmentation.forgeries.forge.forge``, for pairs made from photographs.
        regenerate: arguments of ``fakeclf.data.regenerated.make``, for pictures of both classes from photographs.
        photos: the photographs of those two: ``photos``, or the name under which the user brings others.
        take: how many photographs of each part; default: the scale's.
        variant: which picture of a record is looked at.
        drawn: whole frames, pasted through masks that are drawn anew at each visit (universal training).
    """

    called: str = ""
    data: str = ""
    dataset: str = ""
    every: int = 1
    forge: dict[str, Any] = field(default_factory=dict)
    regenerate: dict[str, Any] = field(default_factory=dict)
    photos: str = "photos"
    take: dict[str, Any] = field(default_factory=dict)
    variant: str = "auto"
    drawn: bool = False

    @property
    def needs(self) -> str:
        """What the user must bring for it: a name of ``--data``, ``photos``, or "" """
        return self.data or (self.photos if self.forge or self.regenerate else "")


@dataclass(frozen=True)
class Setting:
    """What a scale makes of a model, or of all models of a kind."""

    model: str = ""
    """Another registered model that stands in."""
    called: str = ""
    recipe: str = ""
    bundle: str = ""
    """A trained model for rows that are not trained: a name, or ``data:NAME``."""
    frozen: bool = True
    """Of ensembles: the head alone is trained."""
    set: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        about: what a reader of the table must know, a line each.
        threshold: ``report`` or ``card``: which threshold cells are measured at.
        limit: at most about so many pictures of a test set; None = all.
        take: how many photographs of each part, where pictures are made from them; {} = all.
        settings: by kind of model, and by model, on top.
    """

    about: tuple[str, ...]
    threshold: Literal["report", "card"] = "card"
    limit: int | None = None
    take: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)
    name: str = ""


def names() -> list[str]:
    """Names of the experiments, table by table."""
    folder = resources.files("fakeclf.reproduce") / "experiments"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read(name_or_path: str | Path) -> Experiment:
    """An experiment by name, or from a YAML file of the user's.

    Raises:
        FakeclfError: there is none of that name, or it holds a wrong key or value.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return replace(from_mapping(Experiment, _yaml(path), str(path)), name=path.stem)
    if str(name_or_path) not in names():
        known = registry.closest(str(name_or_path), names())
        raise FakeclfError(f"there is no experiment {str(name_or_path)!r}; {known} (`fakeclf reproduce --list`)")
    where = resources.files("fakeclf.reproduce") / "experiments" / f"{name_or_path}.yaml"
    return replace(from_mapping(Experiment, _yaml(where), f"experiment {name_or_path}"), name=str(name_or_path))


def read_scale(name: str) -> Scale:
    """A scale by name.

    Raises:
        FakeclfError: there is none of that name.
    """
    if name not in SCALES:
        raise FakeclfError(f"there is no scale {name!r}; {registry.closest(name, SCALES)}")
    values = _yaml(resources.files("fakeclf.reproduce") / "scales.yaml")[name]
    return replace(from_mapping(Scale, values, f"scale {name}"), name=name)


def read_sources(scale: str) -> dict[str, Source]:
    """All pictures by name, as ``scale`` has them."""
    found = {}
    for name, scales in _yaml(resources.files("fakeclf.reproduce") / "sources.yaml").items():
        for key in scales:
            if key not in SCALES:
                raise FakeclfError(f"sources.yaml: {name}: unknown key {key!r}; {registry.closest(key, SCALES)}")
        if scale in scales:
            found[name] = from_mapping(Source, scales[scale], f"sources.yaml: {name}: {scale}")
    return found


def printed_tables() -> dict[str, Any]:
    """``published.json``."""
    return json.loads((resources.files("fakeclf.reproduce") / "published.json").read_text(encoding="utf-8"))


def printed_table(experiment: Experiment) -> dict[str, Any]:
    """What the report printed; {} for an experiment of our own.

    Raises:
        FakeclfError: the experiment names a table that is not there.
    """
    if not experiment.printed:
        return {}
    tables = printed_tables()
    if experiment.printed not in tables:
        known = registry.closest(experiment.printed, tables)
        raise FakeclfError(f"experiment {experiment.name}: printed: there is no table {experiment.printed!r}; {known}")
    return tables[experiment.printed]


def _yaml(path: Any) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FakeclfError(f"cannot read {path}: {' '.join(str(error).split())}; give a YAML file") from error
    if not isinstance(values, dict):
        raise FakeclfError(f"{path} holds a {type(values).__name__}; it must be a mapping of keys to values")
    return values
