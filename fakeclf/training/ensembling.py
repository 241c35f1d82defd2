"""Join trained classifiers into an ensemble: ``ensemble_bundle`` does what ``fakeclf ensemble`` asks.

The report trains head and members together on the training pictures. Here the members stay as they are unless asked
otherwise, and the head learns from pictures that no member was trained on: on its own training pictures a member is
surer than it will ever be again, and a head that learns there trusts it too much (Wolpert 1992, "Stacked
generalization"). Half of the held-out pictures, by source, fit the head; the other half choose among heads. Test
pictures are looked at once, at the end.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import bundle, calibration, config, metrics, plots, protocol
from fakeclf.bundle import Card
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.evaluate import Evaluation, evaluate_model, evaluate_scores
from fakeclf.registry import datasets as dataset_specs
from fakeclf.training import tuning
from fakeclf.training.head import check_arguments, fit_head, head_arguments
from fakeclf.training.held_out import halves, joined, load_parts, trained_on
from fakeclf.training.job import Job, remember_recipe, require_free
from fakeclf.training.member_outputs import Member, Table, find_members, tabulate

if TYPE_CHECKING:
    import keras

    from fakeclf.data.datasets import Dataset

SIZE = 224
"""Pixels at which members train along with the head: the report's."""
CALIBRATED = "pictures: those that the ensemble was chosen by, none of which its head learned from"


@dataclass
class _Task:
    """What all steps share."""

    name: str
    members: list[Member]
    parts: dict[str, Dataset]
    recipe: Recipe
    run: Path
    frozen: bool
    devices: dict[str, Any]
    resume: bool


@dataclass
class _Made:
    """A trained ensemble: what is saved, the members it uses, and how it came about."""

    model: keras.Model
    members: list[Member]
    recipe: Recipe
    search: tuning.Search | None
    history: dict[str, list[float]]
    devices: list[str]
    pictures: dict[str, int]
    seconds: float
    checked: tuple[np.ndarray, np.ndarray]  # truth and P(REAL) of the pictures it was chosen by


def ensemble_bundle(
    members: Sequence[str] = (),
    dataset: str | None = None,
    *,
    name: str = "ensemble",
    tune: int = 0,
    frozen: bool = True,
    recipe: Recipe | None = None,
    runs: Path = Path("runs"),
    models: Path = Path("saved_models"),
    data_dir: Path | None = None,
    strategy: str = "auto",
    memory_fraction: float | None = None,
    resume: bool = True,
    force: bool = False,
    say: Callable[[str], None] | None = None,
) -> Job:
    """Train an ensemble of saved classifiers, measure it on the test pictures, save it as a bundle.

    Args:
        members: names or folders of bundles; none = the shipped classifiers.
        dataset: a data set, a folder or several joined by ``+``; None = those the members were trained on.
        name: of the run and the bundle.
        tune: trials of a search over the recipe's space and, with three members or more, over which of them to use;
            0 = the recipe as it is.
        frozen: True trains the head alone, and the bundle holds it and the names and digests of its members; False
            trains all at one input size, and the bundle holds everything.
        recipe: None = ``ensemble``, or ``ensemble_end_to_end`` for ``frozen=False``. Its ``model_args`` are those of
            ``fakeclf.models.ensemble.build_head``, and ``members`` (names, a subset) and ``fit_on`` (``validation``,
            the default, or ``train``). With frozen members and an augmentation, pictures go through the members anew
            in every epoch.
        runs, models, data_dir, strategy, memory_fraction, resume, force: see ``fakeclf.training.job.train_bundle``.
        say: called with one line a trial; None prints it.

    Raises:
        FakeclfError: if anything the user can put right is wrong; known problems are found before the work.
    """
    require_free(models / name, force)
    found = find_members(members)
    recipe = recipe or config.read_recipe("ensemble" if frozen else "ensemble_end_to_end")
    recipe = replace(recipe, model="ensemble", dataset=dataset or trained_on(found))
    check_arguments(recipe, [member.name for member in found])
    run = runs / name
    if not resume:
        (run / "trials.jsonl").unlink(missing_ok=True)
        shutil.rmtree(run / "trials", ignore_errors=True)
    parts = load_parts(recipe.dataset, found, recipe, data_dir)
    for part, loaded in parts.items():
        for split, use in (("validation", "choose"), ("test", "measure")):
            if not getattr(loaded, split):
                raise FakeclfError(
                    f"{part} has no {split} pictures to {use} an ensemble with; add some, or leave it out"
                )
    recipe = replace(recipe, dataset="+".join(parts))
    task = _Task(
        name=name,
        members=found,
        parts=parts,
        recipe=_with_subsets(recipe, found) if tune else recipe,
        run=run,
        frozen=frozen,
        devices={"strategy": strategy, "memory_fraction": memory_fraction},
        resume=resume,
    )
    fixed = frozen and recipe.augmentation is None
    made = _train_head(task, tune, say) if fixed else _train_end_to_end(task, tune, say)
    return _finish(task, made, models / name, force)


def _train_head(task: _Task, trials: int, say: Callable[[str], None] | None) -> _Made:
    from fakeclf.training.strategy import place

    started = time.monotonic()
    devices = place("none", task.devices["memory_fraction"]).devices
    if task.recipe.model_args.get("fit_on", "validation") == "validation":
        fitting, checking = halves(task.parts, task.recipe.seed)
    else:
        fitting = {name: list(part.train) for name, part in task.parts.items()}
        checking = {name: list(part.validation) for name, part in task.parts.items()}
    kept = task.run / "outputs"
    members = task.members if trials else _chosen(task.recipe, task.members)
    fit = tabulate(members, fitting, "fit", kept)
    check = tabulate(members, checking, "check", kept)

    def columns(recipe: Recipe) -> list[int]:
        return [members.index(member) for member in _chosen(recipe, members)]

    def objective(recipe: Recipe, folder: Path) -> float:
        import keras

        _, losses = fit_head(recipe, fit.columns(columns(recipe)), check.columns(columns(recipe)))
        keras.backend.clear_session(free_memory=False)
        return min(losses)

    search = _search(task, objective, trials, say)
    recipe = search.recipe if search else task.recipe
    # The best trial's head, made once more: a seed gives the same head.
    head, losses = fit_head(recipe, fit.columns(columns(recipe)), check.columns(columns(recipe)))
    pictures = {"fit": len(fit), "check": len(check)}
    history = {"val_loss": losses}
    checked = check.truth, head.predict_on_batch(check.columns(columns(recipe)).p_real)
    seconds = time.monotonic() - started
    return _Made(head, _chosen(recipe, members), recipe, search, history, devices, pictures, seconds, checked)


def _train_end_to_end(task: _Task, trials: int, say: Callable[[str], None] | None) -> _Made:
    from fakeclf.models.ensemble import assemble, build_head
    from fakeclf.training.trainer import train

    task.recipe = replace(task.recipe, input_size=task.recipe.input_size or SIZE)
    data = joined(task.parts)

    def builder(recipe: Recipe) -> Callable[[], keras.Model]:
        members = _chosen(recipe, task.members)

        def build() -> keras.Model:
            head = build_head(len(members), seed=recipe.seed, **head_arguments(recipe))
            return assemble([bundle.load(member.folder) for member in members], head, frozen=task.frozen)

        return build

    objective = tuning.training_objective(data, build=builder, **task.devices)
    search = _search(task, objective, trials, say)
    recipe = search.recipe if search else task.recipe
    members = _chosen(recipe, task.members)
    # A run that was begun with other members, or other weights of theirs, is not the one to go on with.
    run = task.run / f"training-{'-'.join(member.version for member in members)}"
    remember_recipe(run, recipe, task.resume)
    result = train(recipe, data, run, build=builder(recipe), resume=task.resume, **task.devices)
    pictures = {"fit": len(data.train), "check": len(data.validation)}
    # Frozen members are in their own bundles; only the head is new.
    model = result.model.get_layer("ensemble_head") if task.frozen else result.model
    held = evaluate_model(result.model, data.validation, data=recipe.dataset, split="validation")
    checked = held.truth, held.p_real
    return _Made(model, members, recipe, search, result.history, result.devices, pictures, result.seconds, checked)


def _search(task: _Task, objective: Any, trials: int, say: Callable[[str], None] | None) -> tuning.Search | None:
    if not trials:
        return None
    about = {
        "members": [[member.name, member.version] for member in task.members],
        "pictures": {name: [len(part.train), len(part.validation)] for name, part in task.parts.items()},
        "frozen": task.frozen,
    }
    return tuning.tune(task.recipe, objective, task.run, trials=trials, seed=task.recipe.seed, about=about, say=say)


def _finish(task: _Task, made: _Made, folder: Path, force: bool) -> Job:
    """Measure on the test pictures, and save."""
    evaluation, alone = _measure(task, made)
    drawn = task.run / "plots"
    evaluation.save(drawn)
    if "loss" in made.history:
        plots.learning_curves(made.history, drawn / "learning_curves.png")
    table = evaluation.to_table()
    if alone:
        table += "\n\nBeside its members, on the same pictures:\n" + alone
    if made.search:
        plots.trials(made.search.trials, drawn / "trials.png")
        table += "\n\nTrials, by the loss on pictures held out from members and head:\n" + made.search.table
    saved = bundle.save(
        made.model, _card(task, made, evaluation), folder, force=force, float16=not task.frozen, plots=drawn
    )
    return Job(saved, bundle.read_card(saved), table, saved / "plots")


def _measure(task: _Task, made: _Made) -> tuple[Evaluation, str]:
    """The ensemble's evaluation on all test pictures, and a table of its members', if they are as they were."""
    test = {name: part.test for name, part in task.parts.items()}
    about = protocol.about_data(task.recipe.dataset)
    notes = [
        *(f"split of {name}: {part.note}" for name, part in task.parts.items()),
        f"chosen on {made.pictures['check']:,} validation pictures; the test pictures were looked at once, after that",
    ]
    if not task.frozen:
        return evaluate_model(
            made.model,
            joined(task.parts).test,
            data=task.recipe.dataset,
            split="test",
            name=task.name,
            fixed_by="the model's card",
            notes=notes,
        ), ""
    started = time.monotonic()
    table = tabulate(made.members, test, "test", task.run / "outputs", [*about, *notes])
    p_real = made.model.predict(table.p_real, batch_size=4096, verbose=0).reshape(-1)
    evaluation = evaluate_scores(
        table.truth,
        p_real,
        model=task.name,
        data=task.recipe.dataset,
        parts=list(table.of),
        unreadable=table.unreadable,
        seconds=time.monotonic() - started,
        notes=table.notes,
        fixed_by="the model's card",
    )
    return evaluation, _beside_members(task, made, table, p_real)


def _beside_members(task: _Task, made: _Made, table: Table, p_real: np.ndarray) -> str:
    scores = {task.name: p_real}
    scores |= {member.name: table.p_real[:, index] for index, member in enumerate(made.members)}
    rows = [["model", "data", "accuracy", "AUC", "loss"]]
    for name, column in scores.items():
        for data in dict.fromkeys([task.recipe.dataset, *task.parts]):
            here = np.full(len(table), True) if data == task.recipe.dataset else table.of == data
            figures = metrics.classification(table.truth[here], column[here])
            values = [figures["accuracy"], figures["auc"], figures["loss"]]
            rows.append([name, data, *("-" if value is None else f"{value:.4f}" for value in values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _card(task: _Task, made: _Made, evaluation: Evaluation) -> Card:
    known = {spec.name: spec.licence for spec in dataset_specs()}
    cards = [member.card for member in made.members]
    sizes = [card.input["sizes"] for card in cards if card.input.get("sizes")]
    head = sum(int(np.prod(weight.shape)) for weight in made.model.get_weights()) if task.frozen else 0
    return Card(
        name=task.name,
        kind="ensemble",
        model="ensemble",
        module="fakeclf.models.ensemble",
        parameters=sum(card.parameters for card in cards) + head if task.frozen else 0,
        input={
            "size": sorted({card.input["size"] for card in cards if card.input.get("size")}),
            "view": sorted({card.input["view"] for card in cards if card.input.get("view")}),
            "range": [0, 255],
            "colour": "RGB",
            "sizes": {
                "smallest": min(size["smallest"] for size in sizes),
                "largest": max(size["largest"] for size in sizes),
            }
            if sizes
            else {},
        },
        trained_on={
            "dataset": task.recipe.dataset,
            "split": "; ".join(f"{name}: {part.note}" for name, part in task.parts.items()),
            "pictures": {**made.pictures, "test": len(evaluation.truth)},
            "licences": {part: known[part] for part in task.parts if part in known},
            "recipe": config.to_mapping(made.recipe),
            "frozen": task.frozen,
            "members": [{"name": member.name, "sha256": member.sha256} for member in made.members],
            "epochs": len(made.history["val_loss"]),
            "seconds": round(made.seconds),
            "devices": made.devices,
            "history": {key: [round(value, 5) for value in values] for key, values in made.history.items()},
            "trials": len(made.search.trials) if made.search else 0,
            "settings": made.search.best if made.search else {},
        },
        results=[evaluation.to_json()],
        calibration=calibration.for_card(*made.checked, data=task.recipe.dataset, notes=[CALIBRATED]),
        limits=[
            "it weighs what its members say; what none of them can see, it cannot see",
            *dict.fromkeys(f"{card.name}: {limit}" for card in cards for limit in card.limits),
        ],
        members=[{"name": member.name, "sha256": member.sha256} for member in made.members] if task.frozen else [],
    )


def _chosen(recipe: Recipe, members: list[Member]) -> list[Member]:
    names = recipe.model_args.get("members", [member.name for member in members])
    return [member for member in members if member.name in names]


def _with_subsets(recipe: Recipe, members: list[Member]) -> Recipe:
    """Let the search choose members too, where there is a choice and the recipe makes none."""
    names = [member.name for member in members]
    if len(names) < 3 or "members" in recipe.model_args or "model_args.members" in recipe.search:
        return recipe
    subsets = [list(some) for count in range(2, len(names) + 1) for some in itertools.combinations(names, count)]
    return replace(recipe, search={**recipe.search, "model_args.members": {"choice": subsets}})
