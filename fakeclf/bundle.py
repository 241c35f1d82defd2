"""Trained models for reuse: ``saved_models/NAME/{model.keras, model.tflite, card.json, plots/}``.

A bundle is written beside and renamed, so it is whole or not there. Its card holds the sha256 of every file: they
guard against accidents, and those of the shipped bundles are pinned in ``fakeclf/shipped.json`` besides. Loading never
switches Keras' ``safe_mode`` off. Listing and reading cards imports no Keras.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from fakeclf.atomic import replace_file, replace_folder
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest

SCHEMA = 1
SHIPPED = Path(__file__).resolve().parent.parent / "saved_models"
CASES = "regressions"
"""A bundle's folder of misjudged pictures, see ``fakeclf.regressions``: the user's own, covered by no hash."""


@dataclass
class Card:
    """What a person and the tool must know of a trained model.

    Attributes:
        name: the bundle's name.
        kind: ``classifier``, ``localizer``, ``autoencoder`` or ``ensemble``.
        model: the registered model's name.
        module: the module to import before loading (its registered layers), below ``fakeclf.`` or ``segmentation.``.
        parameters: number of weights, batch-norm statistics included.
        input: ``size``, ``view``, ``range``, ``colour``, and ``sizes``, the picture sizes it was trained for; of
            localizers ``tile``, ``overlap``, ``largest``, ``likeness`` and ``history``, see ``segmentation.looking``.
        classes: names of labels 0 and 1.
        output: what the output means.
        threshold: on P(FAKE).
        trained_on: data sets, sizes, licences, recipe, seed, epochs, device, seconds, training history.
        results: measured figures, each with its protocol lines.
        limits: what this model cannot see.
        calibration: temperature, bias, threshold and abstain band, see ``fakeclf.calibration``; None where not fitted.
        reach: which pictures it can judge, see ``fakeclf.reach``; None where not measured.
        litert: of ``model.tflite``: ``weights`` (as which they are stored), ``difference`` (largest from Keras' in any
            probability, over the pictures of the check), and what it takes, see ``fakeclf.export.Exported``; None
            where there is none.
        members: of an ensemble: name and sha256 of each member's ``model.keras``.
        files: sha256 of every file of the bundle but the card.
        keras: version that saved the model.
    """

    name: str
    kind: str
    model: str
    module: str
    parameters: int = 0
    input: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=lambda: ["FAKE", "REAL"])
    output: str = "P(REAL), sigmoid"
    threshold: float = 0.5
    trained_on: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    calibration: dict[str, Any] | None = None
    reach: dict[str, Any] | None = None
    litert: dict[str, Any] | None = None
    members: list[dict[str, str]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    keras: str = ""
    schema: int = SCHEMA

    @property
    def for_saved_again(self) -> bool:
        """Whether it learnt from pictures that were saved again as JPEG, and so is for such pictures alone."""
        localizing = (self.trained_on.get("recipe") or {}).get("localizing") or {}
        return localizing.get("degrade_as", "passed on") != "passed on"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any, where: str = "card.json") -> Card:
        """Raises FakeclfError where ``values`` is no card of this schema."""
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else type(values).__name__
            raise FakeclfError(f"{where} is no model card of schema {SCHEMA}; found {found!r}; make the bundle again")
        known = {item.name for item in dataclasses.fields(cls)}
        try:
            return cls(**{key: value for key, value in values.items() if key in known})
        except TypeError as error:
            raise FakeclfError(f"{where} lacks a field: {error}; make the bundle again") from error


def folders() -> list[Path]:
    """Where bundles are looked for, first match first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fakeclf" / "models"
    own = [Path(folder) for folder in os.environ.get("FAKECLF_MODELS", "").split(os.pathsep) if folder]
    return [Path("saved_models"), *own, cache, SHIPPED]


def names() -> list[tuple[str, Path]]:
    """Name and folder of every bundle that can be found, without duplicates."""
    found: dict[str, Path] = {}
    for folder in folders():
        for card in sorted(folder.glob("[!.]*/card.json")):
            found.setdefault(card.parent.name, card.parent)
    return sorted(found.items())


def find(name_or_path: str | Path) -> Path:
    """Folder of a bundle, by name or by path.

    Raises:
        FakeclfError: if there is none; the message names the nearest and the folders searched.
    """
    path = Path(name_or_path)
    if (path / "card.json").is_file():
        return path
    for folder in folders():
        if (folder / name_or_path / "card.json").is_file():
            return folder / name_or_path
    known = [name for name, _ in names()]
    hint = closest(str(name_or_path), known) if known else "there are none yet; train one"
    raise FakeclfError(f"there is no saved model {str(name_or_path)!r}; {hint}")


def read_card(name_or_path: str | Path) -> Card:
    """The card of a bundle."""
    path = find(name_or_path) / "card.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FakeclfError(f"cannot read {path}: {error}; make or fetch the bundle again") from error
    return Card.from_json(values, str(path))


def save(
    model: Any,
    card: Card,
    folder: str | Path,
    *,
    force: bool = False,
    float16: bool = True,
    plots: Path | None = None,
) -> Path:
    """Write ``model`` and ``card`` as the bundle ``folder``; returns the folder.

    Where the model has a say in verdicts, its LiteRT file goes along, by which ``fakeclf.runtime`` runs it without
    Keras; where that is refused, a warning says why. ``FAKECLF_LITERT=off`` in the environment leaves it out.

    Args:
        model: a built Keras model.
        card: its ``files``, ``litert`` and ``keras`` are filled in here, and ``parameters`` where it is 0 (an ensemble
            counts its members').
        folder: for example ``saved_models/cifake``; not overwritten without ``force``.
        float16: keep weights as float16 on disk (they load as float32), half the size.
        plots: a folder of PNG files to go along.
    """
    import keras

    from fakeclf.half_weights import halve_weights

    with replace_folder(folder, force) as new:
        model.save(new / "model.keras")
        if float16:
            halve_weights(new / "model.keras")
        if plots is not None and plots.is_dir():
            shutil.copytree(plots, new / "plots")
        card.keras = keras.__version__
        card.parameters = card.parameters or int(model.count_params())
        card.files = {
            path.relative_to(new).as_posix(): sha256(path) for path in sorted(new.rglob("*")) if path.is_file()
        }
        card.litert = None
        _write_card(card, new)
        if (Path(folder) / CASES).is_dir():
            shutil.copytree(Path(folder) / CASES, new / CASES)
    _add_litert(card, Path(folder))  # once the bundle is safe
    return Path(folder)


def add_result(name_or_path: str | Path, result: dict[str, Any]) -> None:
    """Put a measured result into a card, in place of an older one of the same ``data`` and ``split``."""
    folder = find(name_or_path)
    card = read_card(folder)
    key = (result.get("data"), result.get("split"))
    card.results = [old for old in card.results if (old.get("data"), old.get("split")) != key] + [result]
    _write_card(card, folder)


def add_plot(name_or_path: str | Path, plot: Path) -> None:
    """Put a PNG among a bundle's plots, in place of an older one of that name."""
    folder = find(name_or_path)
    card = read_card(folder)
    place = folder / "plots" / plot.name
    with replace_file(place) as beside:
        shutil.copyfile(plot, beside)
    card.files[f"plots/{plot.name}"] = sha256(place)
    _write_card(card, folder)


def set_calibration(name_or_path: str | Path, values: dict[str, Any]) -> None:
    """Put a calibration into a card, in place of an older one; see ``fakeclf.calibration``."""
    folder = find(name_or_path)
    card = read_card(folder)
    card.calibration = values
    _write_card(card, folder)


def set_reach(name_or_path: str | Path, values: dict[str, Any]) -> None:
    """Put a reach into a card, in place of an older one; see ``fakeclf.reach``."""
    folder = find(name_or_path)
    card = read_card(folder)
    card.reach = values
    _write_card(card, folder)


def set_litert(name_or_path: str | Path, name: str, values: dict[str, Any]) -> None:
    """Put a LiteRT file that lies in a bundle under ``name`` into its card; ``values`` as in ``Card.litert``."""
    folder = find(name_or_path)
    card = read_card(folder)
    card.litert = values
    card.files[name] = sha256(folder / name)
    _write_card(card, folder)


def load(name_or_path: str | Path) -> Any:
    """Load a bundle as a Keras model.

    A classifier takes RGB pictures (batch, height, width, 3) of any size, 0-255, and returns P(REAL), (batch, 1).

    Raises:
        FakeclfError: if the bundle is missing, incomplete or changed, or holds code instead of layers.
    """
    folder = find(name_or_path)
    card = read_card(folder)
    problems = _changed_files(folder, card, only=("model.keras",))
    if problems:
        raise FakeclfError(f"{folder}: {problems[0]}; fetch or train the bundle again")
    model = load_own(folder, card)
    if not card.members:
        return model
    from fakeclf.models.ensemble import assemble

    members = []
    for member in card.members:
        where = find(member["name"])
        if sha256(where / "model.keras") != member["sha256"]:
            raise FakeclfError(
                f"{folder.name} was built on another version of {member['name']} than {where}; rebuild the ensemble"
            )
        members.append(load(where))
    return assemble(members, model)


def load_own(folder: Path, card: Card) -> Any:
    """A bundle's own ``model.keras``; of an ensemble that is its head."""
    _import_layers(card)
    return load_keras(folder / "model.keras")


def load_keras(path: Path) -> Any:
    """Load a ``.keras`` file with ``safe_mode`` on.

    Raises:
        FakeclfError: if it is broken, holds a Lambda layer or layers that are not registered.
    """
    import keras

    import fakeclf.models.layers  # noqa: F401  (registers the preprocessing layers)

    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        text = " ".join(str(error).split())
        if "ambda" in text:
            raise FakeclfError(f"{path} holds a Lambda layer, which can run any code; refused") from error
        raise FakeclfError(f"{path} cannot be loaded: {text[:200]}; fetch or train it again") from error


def verify(name_or_path: str | Path) -> list[str]:
    """Problems of a bundle, one line each; an empty list means that every file is as it was saved."""
    folder = find(name_or_path)
    card = read_card(folder)
    problems = _changed_files(folder, card)
    for member in card.members:
        try:
            if sha256(find(member["name"]) / "model.keras") != member["sha256"]:
                problems.append(f"member {member['name']} is another version than the one the ensemble was built on")
        except FakeclfError as error:
            problems.append(str(error))
    pinned = _pins().get(folder.name)
    if pinned and folder.resolve().parent == SHIPPED and card.files.get("model.keras") != pinned:
        problems.append("model.keras is not the one that was shipped under this name")
    return problems


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_litert(card: Card, folder: Path) -> None:
    from fakeclf import export, registry, runtime

    if not runtime.wanted() or not registry.kind(card.kind).look:
        return
    try:
        export.into_bundle(folder)
    except FakeclfError as error:
        warnings.warn(f"{card.name} gets no LiteRT file and runs in Keras: {error}", stacklevel=3)
    else:
        card.litert, card.files = (made := read_card(folder)).litert, made.files


def _write_card(card: Card, folder: Path) -> None:
    with replace_file(folder / "card.json") as beside:
        beside.write_text(json.dumps(card.to_json(), indent=1) + "\n", encoding="utf-8")


def _changed_files(folder: Path, card: Card, only: tuple[str, ...] | None = None) -> list[str]:
    problems = []
    for name, digest in card.files.items():
        if only and name not in only:
            continue
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
        elif sha256(folder / name) != digest:
            problems.append(f"{name} has changed since it was saved (its sha256 differs from the card's)")
    if "model.keras" not in card.files:
        problems.append("the card lists no model.keras")
    return problems


def _import_layers(card: Card) -> None:
    if not card.module.startswith(("fakeclf.", "segmentation.")):
        raise FakeclfError(f"the card of {card.name} wants to import {card.module!r}; only this project's modules are")
    try:
        importlib.import_module(card.module)
    except ModuleNotFoundError as error:
        raise FakeclfError(f"the card of {card.name} names {card.module!r}, which is not installed") from error


def _pins() -> dict[str, str]:
    return json.loads((resources.files("fakeclf") / "shipped.json").read_text(encoding="utf-8"))
