"""Runs the cells of a table: what is done is kept and skipped, what fails is marked, and the rest goes on.

OUT/SCALE/data/      pictures that were made
OUT/SCALE/runs/      trainings at work
OUT/SCALE/models/    finished ones, for all tables together
OUT/SCALE/cells/     a file a cell: its figures, or why there are none
OUT/SCALE/NAME/      the table of an experiment
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakeclf import bundle, registry
from fakeclf.atomic import replace_file
from fakeclf.data.progress import Progress
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from fakeclf.reproduce import grid
from fakeclf.reproduce.experiments import BROUGHT, Experiment, Scale, read, read_scale, read_sources
from fakeclf.reproduce.grid import Cell, Training

if TYPE_CHECKING:
    from fakeclf.reproduce.table import Table

SHOWN = 2
"""Pictures of each test set that go onto the sheet."""
EACH = ("iou", "auc", "hole", "control_auc")
"""Figures of masks that are kept picture by picture, so that two cells can be compared on the same ones."""


@dataclass(frozen=True)
class Asked:
    """What a person asks for.

    Attributes:
        scale: ``smoke``, ``small`` or ``full``.
        only: cells whose name holds this pattern; None = all.
        seeds: of the trainings.
        photos: a folder of photographs; with train, val and test in it, these are kept apart.
        data: further folders by name.
        out: where everything goes.
        data_dir: home of the data sets.
    """

    scale: str = "small"
    only: str | None = None
    seeds: tuple[int, ...] = (0,)
    photos: Path | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    out: Path = Path("reproduced")
    data_dir: Path | None = None

    def given(self) -> dict[str, str]:
        """Every folder by name, ``photos`` among them; whole paths, but for bundles and what begins with a layout."""
        named = {**self.data, **({"photos": str(self.photos)} if self.photos is not None else {})}
        places = {name: Path(text).expanduser() for name, text in named.items()}
        return {name: str(place.absolute()) if place.exists() else named[name] for name, place in places.items()}


class Store:
    """Cells on disk, a file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a cell; None if nothing is."""
        try:
            return json.loads((self.folder / f"{cell.id}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # cut short by something else than us; measured again

    def done(self, cell: Cell) -> bool:
        found = self.read(cell)
        return found is not None and found["state"] == "done"

    def keep(self, cell: Cell, found: Mapping[str, Any]) -> None:
        content = {"state": "done", "name": cell.name, "training": cell.training.id, **found}
        with replace_file(self.folder / f"{cell.id}.json") as beside:
            beside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def keep_samples(self, cell: Cell, samples: Sequence[Any]) -> None:
        """Pictures, truths and masks for the sheet."""
        import numpy as np

        arrays = {}
        for number, sample in enumerate(samples):
            arrays[f"picture{number}"], arrays[f"truth{number}"] = sample.picture, np.asarray(sample.truth, bool)
            arrays[f"mask{number}"] = np.rint(np.clip(sample.mask, 0, 1) * 255).astype(np.uint8)
        with replace_file(self.samples(cell)) as beside, beside.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    def samples(self, cell: Cell) -> Path:
        return self.folder / f"{cell.id}.npz"


def run(
    cells: Sequence[Cell], store: Store, measure: Callable[[Cell], Mapping[str, Any]], say: Callable[[str], None]
) -> int:
    """Measure what is not done yet; returns how many cells failed.

    A cell that failed before is tried again.
    """
    failed = 0
    done = sum(store.done(cell) for cell in cells)
    with Progress("reproduce", len(cells), "cells", done=done) as progress:
        for cell in cells:
            if store.done(cell):
                continue
            begun = time.monotonic()
            try:
                found = measure(cell)
            except Exception as error:  # whatever ends one cell, the others are still to be had
                failed += 1
                reason = _reason(error)
                store.keep(cell, {"state": "failed", "reason": reason})
                say(f"failed: {cell.name}: {reason}")
                continue
            store.keep(cell, {**found, "cell_seconds": round(time.monotonic() - begun, 1)})
            progress.to(progress.done + 1)
    return failed


def reproduce(name: str, asked: Asked, say: Callable[[str], None] = print) -> Table:
    """Run an experiment, or what is left of it, and write its table.

    Raises:
        FakeclfError: there is no such experiment, scale or cell, or something that it needs was not named.
    """
    from fakeclf.reproduce import table
    from fakeclf.reproduce.pictures import remember

    experiment, scale = read(name), read_scale(asked.scale)
    cells = grid.expand(experiment, scale, asked.seeds)
    chosen = grid.selected(cells, asked.only)
    _require(experiment, scale, chosen, asked)
    home = asked.out / scale.name
    remember(home, asked.given())
    store = Store(home / "cells")
    left = [cell for cell in chosen if not store.done(cell)]
    trained = grid.trainings(left)
    say(f"{experiment.name} at {scale.name}: {len(left)} of {len(chosen)} cells to do, from {len(trained)} trainings")
    run(chosen, store, Work(home, scale, asked, store, say), say)
    made = table.build(experiment, scale, cells, store)
    made.save(home / experiment.name)
    return made


class Work:
    """Measures a cell: makes its pictures, trains its model, unless they are there, and evaluates."""

    def __init__(self, home: Path, scale: Scale, asked: Asked, store: Store, say: Callable[[str], None]) -> None:
        from fakeclf.reproduce.pictures import Pictures

        self.home, self.store, self.say, self.data_dir = home, store, say, asked.data_dir
        self.given = asked.given()
        self.pictures = Pictures(home / "data", scale.take, self.given, asked.data_dir, say)
        self.broken: dict[str, Exception] = {}

    def __call__(self, cell: Cell) -> dict[str, Any]:
        model = self.trained(cell.training)
        card = bundle.read_card(model)
        seconds = 0 if cell.training.bundle else card.trained_on.get("seconds", 0)
        about: dict[str, Any] = {"model": card.model, "parameters": card.parameters, "train_seconds": seconds}
        if cell.measure == "history":
            return {**about, "history": card.trained_on["history"], "pictures": card.trained_on.get("pictures")}
        options: dict[str, Any] = {}
        if card.kind == "localizer":
            options["variant"] = cell.tests[0].variant
        evaluate = registry.resolve(registry.kind(card.kind).evaluate)
        found = evaluate(
            model,
            self.pictures.mixture(cell.tests),
            split="test",
            threshold=cell.threshold,
            limit=cell.limit,
            data_dir=self.data_dir,
            **options,
        )
        about["evaluation"] = found.to_json()
        if card.kind == "localizer":
            forged = [sample for sample in found.samples if sample.truth.any()]
            self.store.keep_samples(cell, forged[:SHOWN])
            about["each"] = _each(found.by_picture())
        return about

    def trained(self, training: Training) -> Path:
        """The bundle of a training, trained if need be; a training that failed is not tried twice in one run."""
        if training.bundle:
            return bundle.find(_brought(training.bundle, self.given))
        if training.id in self.broken:
            raise self.broken[training.id]
        folder = self.home / "models" / f"{training.recipe.model if not training.members else 'ensemble'}-{training.id}"
        if not (folder / "card.json").is_file():
            try:
                self._train(training, folder)
            except Exception as error:
                if not (folder / "card.json").is_file():  # else another command has trained it meanwhile
                    self.broken[training.id] = error
                    raise
        return folder

    def _train(self, training: Training, folder: Path) -> None:
        import keras

        members = [str(self.trained(member)) for member in training.members]
        dataset = self.pictures.mixture(training.sources)
        where: dict[str, Any] = {"runs": self.home / "runs", "models": folder.parent, "data_dir": self.data_dir}
        pictures = "+".join(map(grid.named, training.sources))
        self.say(f"training {training.called} on {pictures}: {folder.name}")
        if members:
            join = registry.resolve(registry.kind("ensemble").train)
            join(members, dataset, name=folder.name, frozen=training.frozen, recipe=training.recipe, **where)
        else:
            from fakeclf.training.job import train_bundle

            start = training.recipe.start_from
            recipe = replace(training.recipe, dataset=dataset, start_from=start and _brought(start, self.given))
            train_bundle(recipe, name=folder.name, **where)
        # Graphs of the finished training would otherwise add up.
        keras.backend.clear_session(free_memory=False)


def needs(cells: Sequence[Cell], scale: Scale) -> list[str]:
    """Options that the user must give for these cells, as they are typed."""
    names = set().union(*(cell.needs() for cell in cells))
    if scale.name == "smoke":
        names.discard("photos")  # it takes the photographs that installed packages bring
    return ["--photos FOLDER" if name == "photos" else f"--data {name}=FOLDER" for name in sorted(names)]


def data_sets(cells: Sequence[Cell]) -> list[str]:
    """Registered data sets that these cells need."""
    found = {source.dataset for cell in cells for source in (*cell.tests, *cell.training.sources)}
    return sorted(found - {"", "sample"})


def _require(experiment: Experiment, scale: Scale, cells: Sequence[Cell], asked: Asked) -> None:
    given = asked.given()
    known = {source.needs for source in read_sources(scale.name).values()} | {"photos"} - {""}
    for setting in scale.settings.values():
        places = (setting.bundle, str(setting.set.get("start_from", "")))
        known.update(place.removeprefix(BROUGHT) for place in places if place.startswith(BROUGHT))
    for name, place in given.items():
        if name not in known:
            raise FakeclfError(f"--data {name}: nothing at scale {scale.name} is called so; {closest(name, known)}")
        if ":" not in place and not Path(place).exists() and place not in dict(bundle.names()):
            raise FakeclfError(f"{name}: there is no folder or bundle {place}; name one that is there")
    missing = [option for option in needs(cells, scale) if _name(option) not in given]
    if missing:
        raise FakeclfError(
            f"{experiment.name} at scale {scale.name} needs {', '.join(missing)}; name them, or take cells with --only"
        )
    if "photos" in given:
        from fakeclf.data.regenerated import photo_splits

        photo_splits(Path(given["photos"]))  # a folder without photographs would fail every cell, one by one


def _name(option: str) -> str:
    return option.removeprefix("--data ").removeprefix("--").partition("=")[0].partition(" ")[0]


def _brought(text: str, given: Mapping[str, str]) -> str:
    return given[text.removeprefix(BROUGHT)] if text.startswith(BROUGHT) else text


def _each(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns of EACH; pictures by a name that forgeries of one photograph share."""
    columns = {name: [row[name] if row[name] is None else round(row[name], 6) for row in rows] for name in EACH}
    return {"photo": [Path(row["image"]).name.partition(".")[0] for row in rows], **columns}


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())[:300]
    return words if isinstance(error, FakeclfError) else f"{type(error).__name__}: {words}"
