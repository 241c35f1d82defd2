"""What a training run may be told: recipes, read from YAML, checked key by key.

A recipe is a YAML file whose header comment gives the command, the expected time and the expected result. Keys left
out take the defaults below, which are the 2023 report's. ``--set optimizer.learning_rate=0.01`` changes one key.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from fakeclf.errors import FakeclfError
from fakeclf.registry import closest


@dataclass(frozen=True)
class Augmentation:
    """One random affine warp a picture (the report's ImageDataGenerator settings), applied to the training split."""

    rotation: float = 20.0
    """Largest rotation, degrees either way."""
    shift: float = 0.1
    """Largest shift along each axis, as a share of the side."""
    zoom: float = 0.2
    """Zoom factor drawn from 1 - zoom to 1 + zoom, each axis on its own."""
    shear: float = 0.2
    """Largest shear, DEGREES (as in ImageDataGenerator)."""
    flip: bool = True
    """Mirror left and right with probability one half."""
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    """Beyond the border the nearest pixel is repeated in either case."""
    degrade: float = 0.0
    """JPEG, WebP, resizing, blur, noise, gamma: the strength of ``fakeclf.data.degrade.random_degradation``, 0-1."""


@dataclass(frozen=True)
class Optimizer:
    """Optimiser, learning-rate schedule and weight averaging."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    """Of SGD alone."""
    weight_decay: float = 0.0
    """Of AdamW and SGD (decoupled); not applied to biases and norms."""
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    """``constant`` leaves the rate to ReduceLROnPlateau; ``cosine`` falls to zero over all epochs; ``exponential``
    multiplies it by ``decay`` after each."""
    decay: float = 0.5
    warmup: float = 0.0
    """Share of all steps over which the rate rises from zero."""
    ema: float = 0.0
    """Momentum of an exponential moving average of the weights, which then is what is kept; 0 = off."""


@dataclass(frozen=True)
class Stopping:
    """When to stop, and when to lower the learning rate (the report: on the training loss)."""

    monitor: Literal["loss", "val_loss", "val_accuracy", "val_iou", "val_f1", "val_auc"] = "loss"
    patience: int = 3
    """EarlyStopping: epochs without progress; 0 = never stop early."""
    reduce_patience: int = 2
    """ReduceLROnPlateau, with a constant schedule: epochs without progress; 0 = never."""
    reduce_factor: float = 0.1
    min_learning_rate: float = 1e-6


@dataclass(frozen=True)
class Localizing:
    """What a localizer is shown: how pairs of picture and mask become training crops. Classifiers ignore it."""

    variant: Literal["auto", "inpainted", "realfake", "fakefake"] = "auto"
    """Which file of a record of the 2023 names is looked at; ``auto``: the first there is of realfake, fakefake,
    inpainted."""
    edges: Literal["grey", "any", "full"] = "full"
    """What of a mask's grey edge counts as inpainted: as it is, all of it (> 0), none of it (== 255)."""
    masks: str = "mix"
    """Masks that are drawn anew at each visit, where a data set holds whole generated frames (``ut``): strokes,
    rectangles, blobs, mix, free-form ...; of several, separated by commas, one is chosen each time."""
    smallest: float = 0.02
    """Of drawn masks, as a share of the crop."""
    largest: float = 0.4
    leave_out: str = ""
    """Generators, separated by commas, that training and the choice of a threshold go without, to be tested on."""
    balance: bool = False
    """Show every generator alike often, however many pairs it has (and whatever the weights of a mixture)."""
    pristine: float = 0.0
    """Share of training crops that are shown without forgery."""
    flips: Literal["none", "horizontal", "dihedral"] = "dihedral"
    """``dihedral``: all eight flips and quarter turns."""
    degrade: float = 0.0
    """Post-processing of the finished composite (JPEG, resize, blur ...): its strength at the end, 0-1."""
    degrade_from: float = 0.5
    """Share of all epochs after which it begins, to rise evenly from there; below 0, it rises as if it had begun that
    long before."""
    degrade_as: Literal["passed on", "saved again", "cut and saved", "saved twice"] = "passed on"
    """``saved again``: JPEG alone, and crops are cut on the grid of 8x8 blocks that the picture's own JPEG had, as a
    file that is edited and saved keeps it. ``cut and saved``: JPEG alone, on any grid. ``saved twice``: JPEG on the
    picture's own grid, a cut by up to 7 pixels, and JPEG again. Validation crops are then saved too."""
    epoch_pictures: int | None = None
    """Crops an epoch; None = as many as there are training pairs."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run; written into the run's folder and into the card."""

    model: str = "densenet121"
    model_args: dict[str, Any] = field(default_factory=dict)
    dataset: str = "sample"
    input_size: int | None = None
    """Pixels the model works at; None = the model's own default."""
    final_size: int | None = None
    """Pixels the finished model works at, where its head pools and so takes any; None = ``input_size``. Training on
    small crops is cheap, and a larger one holds more evidence."""
    view: Literal["resize", "crop"] = "resize"
    """How a picture is brought to ``input_size``: squashed whole, or its centre cut out (traces stay untouched)."""
    weights: str = "none"
    """``imagenet``, ``none`` or a path to weights."""
    start_from: str | None = None
    """A saved model of the same shape, whose weights the training starts with."""
    fine_tune_from: int | None = None
    """Layers of the backbone below this index are frozen; None = all train."""
    seed: int = 0
    epochs: int = 10
    batch_size: int = 32
    validation: float = 0.2
    """Share of the training pictures held out."""
    pairs: bool = False
    """Show FAKE and REAL of one source side by side, cut at the same place, so that a batch differs in the traces and
    not in what is shown. Sources that have not one of each are left out."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    optimizer: Optimizer = field(default_factory=Optimizer)
    stopping: Stopping = field(default_factory=Stopping)
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights become the model; ``best`` by ``keep_by``."""
    keep_by: Literal["val_loss", "val_iou", "val_f1", "val_auc"] = "val_loss"
    loss: str | None = None
    """Of localizers, by name (``focal``, ``bce_dice`` ...); None = the model's own."""
    loss_args: dict[str, Any] = field(default_factory=dict)
    localizing: Localizing = field(default_factory=Localizing)
    search: dict[str, Any] = field(default_factory=dict)
    """The space ``fakeclf tune`` searches: recipe key -> choice, uniform, loguniform or quniform."""


T = TypeVar("T")


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe that ships with the packages (``cifake``) or a YAML file of the user's (``my.yaml``).

    Raises:
        FakeclfError: for an unknown name, a file that is no YAML mapping, an unknown key or a wrong type.
    """
    text, where = _recipe_text(name_or_path)
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise FakeclfError(f"{where} is not valid YAML: {' '.join(str(error).split())}; correct it") from error
    if not isinstance(values, Mapping):
        raise FakeclfError(f"{where} holds a {type(values).__name__}; a recipe is a mapping of keys to values")
    return from_mapping(Recipe, values, where)


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the packages."""
    return sorted(
        entry.name[: -len(".yaml")]
        for package in _recipe_packages()
        for entry in resources.files(package).iterdir()
        if entry.name.endswith(".yaml")
    )


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply ``key=value`` and ``group.key=value`` settings, values read as YAML.

    Raises:
        FakeclfError: for a setting without ``=``, an unknown key or a wrong type.
    """
    values = to_mapping(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise FakeclfError(f"--set takes key=value; received {setting!r}; for example --set epochs=3")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise FakeclfError(f"--set {key}: {text!r} is not a YAML value; quote it") from error
        _put(values, key.split("."), value, key)
    return from_mapping(Recipe, values, "--set")


def to_mapping(value: Any) -> dict[str, Any]:
    """A recipe as plain dictionaries, as written to YAML and JSON."""
    return dataclasses.asdict(value)


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str, prefix: str = "") -> T:
    """Build dataclass ``cls`` from ``values``, checking every key and type.

    Raises:
        FakeclfError: naming the key, what is allowed and, for an unknown key, the nearest right one.
    """
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise FakeclfError(f"{where}: unknown key {prefix + str(key)!r}; {closest(str(key), hints)}")
    made = {key: _checked(value, hints[key], where, prefix + key) for key, value in values.items()}
    return cls(**made)


def _checked(value: Any, hint: Any, where: str, key: str) -> Any:
    if isinstance(hint, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        (hint,) = (option for option in options if option is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return from_mapping(hint, value, where, key + ".")
        raise _wrong(where, key, "a group of keys", value)
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint) and not isinstance(value, bool):
            return value
        raise _wrong(where, key, " | ".join(map(str, typing.get_args(hint))), value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 (no dot) as text.
        try:
            return float(value)
        except ValueError:
            raise _wrong(where, key, "a number", value) from None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    if typing.get_origin(hint) is dict and isinstance(value, Mapping):
        inner = typing.get_args(hint)[1]
        if not dataclasses.is_dataclass(inner):
            return dict(value)
        return {str(name): _checked(part, inner, where, f"{key}.{name}") for name, part in value.items()}
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_checked(part, inner, where, f"{key}[{place}]") for place, part in enumerate(value))
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    group = "a list" if typing.get_origin(hint) is tuple else "a group of keys"
    raise _wrong(where, key, names.get(hint, group), value)


def _wrong(where: str, key: str, allowed: str, value: Any) -> FakeclfError:
    return FakeclfError(f"{where}: {key} must be {allowed}; received {value!r}")


def _put(values: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    for part in path[:-1]:
        inner = values.get(part)
        if inner is None and part in values:
            inner = values[part] = {}
        if not isinstance(inner, dict):
            raise FakeclfError(f"--set: unknown key {key!r}; {closest(part, values)}")
        values = inner
    values[path[-1]] = value


def _recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise FakeclfError(f"cannot read the recipe {path}: {error}; give a YAML file") from error
    for package in _recipe_packages():
        entry = resources.files(package) / f"{name_or_path}.yaml"
        if entry.is_file():
            return entry.read_text(encoding="utf-8"), f"recipe {name_or_path}"
    raise FakeclfError(
        f"there is no recipe {str(name_or_path)!r}; {closest(str(name_or_path), recipe_names())}, or give a .yaml file"
    )


def _recipe_packages() -> list[str]:
    return ["fakeclf.recipes", "segmentation.recipes"]
