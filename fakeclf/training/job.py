"""The whole way from a recipe to a bundle: data, training, plots, figures on the validation split, card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import bundle, calibration, config, plots
from fakeclf.atomic import replace_file
from fakeclf.bundle import Card
from fakeclf.config import Recipe
from fakeclf.data import datasets
from fakeclf.errors import FakeclfError
from fakeclf.evaluate import Evaluation, evaluate_model
from fakeclf.registry import datasets as dataset_specs
from fakeclf.registry import kind, resolve
from fakeclf.registry import model as model_spec

if TYPE_CHECKING:
    from fakeclf.training.trainer import Result

LIMITS = {
    "cifake": [
        "trained on 32-px pictures of ten kinds of things, fakes from one generator (Stable Diffusion 1.4): it says "
        "nothing of photographs of ordinary size or of other generators",
        "378 of CIFAKE's 20,000 test pictures are byte for byte also in its training part (fakeclf data audit cifake)",
    ],
    "regenerated": [
        "its fakes are photographs that went through one autoencoder, whole; it knows the traces of that decoder, and "
        "neither what other generators leave nor what is painted",
        "seen only at one JPEG quality for both classes; what saving again or resizing does to it is not measured",
    ],
    "sample": ["trained on crops of a handful of photographs to try the tool; not for use"],
}


@dataclass
class Job:
    """What a finished training left behind.

    Attributes:
        bundle: folder of the saved model.
        card: its card.
        table: figures on the validation split, as text.
        plots: folder of learning curves, confusion matrix and ROC.
    """

    bundle: Path
    card: Card
    table: str
    plots: Path


@dataclass(frozen=True)
class Plan:
    """Where and how a training runs; the arguments of ``train_bundle``, made definite.

    Attributes:
        name: of the run and the bundle.
        run: folder of the unfinished work.
        folder: where the finished bundle goes.
    """

    name: str
    run: Path
    folder: Path
    data_dir: Path | None
    strategy: str
    memory_fraction: float | None
    resume: bool
    force: bool

    def how(self) -> dict[str, Any]:
        """Arguments of the trainer."""
        return {"strategy": self.strategy, "memory_fraction": self.memory_fraction, "resume": self.resume}


def train_bundle(
    recipe: Recipe,
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    models: Path = Path("saved_models"),
    data_dir: Path | None = None,
    strategy: str = "auto",
    memory_fraction: float | None = None,
    resume: bool = True,
    force: bool = False,
) -> Job:
    """Train a recipe's model and save it as a bundle; the model's kind decides how.

    A classifier learns from FAKE and REAL pictures, a localizer from pairs of picture and mask, an autoencoder and an
    inpainter from a folder of photographs (``recipe.dataset``).

    Args:
        recipe: what to train and how.
        name: of the run and the bundle; default: the data set's.
        runs: where unfinished work is kept (``runs/NAME``); a killed run goes on there.
        models: where the finished bundle goes (``models/NAME``).
        data_dir: where data sets are kept.
        strategy, memory_fraction: see ``fakeclf.training.strategy.place``.
        resume: False starts afresh.
        force: replace a bundle of that name.

    Raises:
        FakeclfError: if anything the user can put right is wrong; known problems are found before the training.
    """
    name = name or Path(recipe.dataset).name.replace("+", "-")
    require_free(models / name, force)
    plan = Plan(name, runs / name, models / name, data_dir, strategy, memory_fraction, resume, force)
    return resolve(kind(model_spec(recipe.model).kind).train)(recipe, plan)


def train_classifier(recipe: Recipe, plan: Plan) -> Job:
    """Train a classifier on a data set of FAKE and REAL pictures; measure and calibrate it on the validation part."""
    from fakeclf.training.trainer import train

    spec = model_spec(recipe.model)
    dataset = datasets.load(recipe.dataset, validation=recipe.validation, seed=recipe.seed, data_dir=plan.data_dir)
    remember_recipe(plan.run, recipe, plan.resume)
    result = train(recipe, dataset, plan.run, **plan.how())
    size = recipe.final_size or recipe.input_size or spec.input_size
    card = Card(
        name=plan.name,
        kind="classifier",
        model=spec.name,
        module=spec.builder.partition(":")[0],
        input={"size": size, "view": recipe.view, "range": [0, 255], "colour": "RGB", "sizes": _sizes(dataset)},
        trained_on=trained_on(recipe, dataset, result),
        limits=LIMITS.get(recipe.dataset, ["trained on one folder; what it makes of other pictures is not measured"]),
    )
    evaluation = evaluate_model(result.model, dataset.validation, data=recipe.dataset, split="validation")
    card.results.append(evaluation.to_json())
    card.calibration = calibration.for_card(evaluation.truth, evaluation.p_real, data=recipe.dataset)
    return _save(result, card, evaluation, plan)


def train_autoencoder(recipe: Recipe, plan: Plan) -> Job:
    """Train an autoencoder on a folder of photographs (``recipe.dataset``); PSNR stands in for accuracy."""
    from fakeclf.training.autoencoder_training import train_autoencoder as train

    settings = photograph_settings(recipe, plan)
    result = train(recipe.dataset, plan.run, model=recipe.model, **settings)
    drawn = plan.run / "plots"
    plots.learning_curves({"loss": [point["loss"] for point in result.history]}, drawn / "learning_curves.png")
    card = Card(
        name=plan.name,
        kind="autoencoder",
        model=recipe.model,
        module="fakeclf.models.autoencoder",
        output="the picture after its round trip, 0-255, same size",
        **photograph_facts(recipe, result),
        results=[
            {
                "data": Path(recipe.dataset).name,
                "split": part,
                "pictures": result.measured[part],
                "psnr_db": round(psnr, 3),
                "texture": round(result.texture[part], 3),
                "protocol": [
                    "PSNR of the round trip, rounded to 8 bits, against the decoded photograph; whole pictures",
                    "texture: median ratio of mean local variance (7x7, grey), round trip to photograph",
                ],
            }
            for part, psnr in result.psnr.items()
        ],
        limits=["made to leave a decoder's traces in a photograph at little cost; it paints nothing new"],
    )
    saved = bundle.save(result.model, card, plan.folder, force=plan.force, plots=drawn)
    rows = [f"{part:12}{result.measured[part]:>8,}{psnr:>10.2f}" for part, psnr in result.psnr.items()]
    head = f"{'part':12}{'pictures':>8}{'PSNR, dB':>10}"
    table = "\n".join([f"{plan.name} after {result.steps:,} steps", head, *rows])
    return Job(saved, card, table, saved / "plots")


def photograph_settings(recipe: Recipe, plan: Plan) -> dict[str, Any]:
    """What trainings on plain photographs are told, once the run's folder has its recipe.

    An epoch shows two crops of every training photograph; ``model_args.steps`` says the number of steps outright.

    Raises:
        FakeclfError: ``recipe.dataset`` is no folder, or the run was begun with another recipe.
    """
    from fakeclf.data.regenerated import photo_splits
    from fakeclf.training.trainer import precision_policy

    if not Path(recipe.dataset).is_dir():
        raise FakeclfError(f"{recipe.model} learns from a folder of photographs; there is no folder {recipe.dataset!r}")
    photographs = photo_splits(recipe.dataset, seed=recipe.seed)["train"]
    remember_recipe(plan.run, recipe, plan.resume)
    return {
        "steps": max(1, recipe.epochs * len(photographs) * 2 // recipe.batch_size),
        "seed": recipe.seed,
        "batch_size": recipe.batch_size,
        "crop": recipe.input_size or model_spec(recipe.model).input_size,
        "learning_rate": recipe.optimizer.learning_rate,
        "precision": precision_policy(recipe.precision),
        "resume": plan.resume,
        "measure": ("val", "test"),
        **recipe.model_args,
    }


def photograph_facts(recipe: Recipe, result: Any) -> dict[str, Any]:
    """Fields that the cards of all models trained on plain photographs share."""
    return {
        "input": {"size": None, "view": "whole", "range": [0, 255], "colour": "RGB"},
        "classes": [],
        "trained_on": {
            "photographs": result.pictures,
            "recipe": config.to_mapping(recipe),
            "steps": result.steps,
            "seconds": round(result.seconds),
        },
    }


def require_free(folder: Path, force: bool) -> None:
    """Raise before the work, not after it, where the result could not be written."""
    if folder.exists() and not force:
        raise FakeclfError(f"{folder} exists already; choose another --name, or pass --force to replace it")
    with replace_file(folder.parent / ".fakeclf-can-write") as beside:
        beside.touch()
    # Another training that begins at this moment may have taken it away.
    (folder.parent / ".fakeclf-can-write").unlink(missing_ok=True)


def remember_recipe(run: Path, recipe: Recipe, resume: bool) -> None:
    """Write the recipe into the run's folder, or check that the run to resume was begun with the same one."""
    import yaml

    path = run / "recipe.yaml"
    if resume and path.is_file():
        begun = config.read_recipe(path)
        changed = [key for key, value in config.to_mapping(recipe).items() if config.to_mapping(begun)[key] != value]
        if changed and (run / "resume.json").is_file():
            raise FakeclfError(
                f"{run} was begun with another {', '.join(changed)}; give the same settings, another --name, or --fresh"
            )
    with replace_file(path) as beside:
        beside.write_text(yaml.safe_dump(config.to_mapping(recipe), sort_keys=False), encoding="utf-8")


def trained_on(recipe: Recipe, dataset: Any, result: Result) -> dict[str, Any]:
    """What a card says of a training."""
    known = {spec.name: spec.licence for spec in dataset_specs()}
    return {
        "dataset": recipe.dataset,
        "split": dataset.note,
        "pictures": {"train": len(dataset.train), "validation": len(dataset.validation)},
        "unreadable": len(result.unreadable),
        "licences": {part: known[part] for part in recipe.dataset.split("+") if part in known},
        "recipe": config.to_mapping(recipe),
        "epochs": len(result.history.get("loss", [])),
        "best_epoch": result.best_epoch + 1,
        "seconds": round(result.seconds),
        "devices": result.devices,
        "precision": result.precision,
        "history": {key: [round(value, 5) for value in values] for key, values in result.history.items()},
    }


def _sizes(dataset: datasets.Dataset) -> dict[str, int]:
    """Smallest and largest side over a sample of the training pictures."""
    from PIL import Image

    sides: list[int] = []
    for example in dataset.train[:: max(1, len(dataset.train) // 500)]:
        try:
            with Image.open(example.path) as picture:
                sides += picture.size
        except OSError:
            continue
    return {"smallest": int(np.min(sides)), "largest": int(np.max(sides))} if sides else {}


def _save(result: Result, card: Card, evaluation: Evaluation, plan: Plan) -> Job:
    drawn = plan.run / "plots"
    plots.learning_curves(result.history, drawn / "learning_curves.png")
    evaluation.save(drawn)
    saved = bundle.save(result.model, card, plan.folder, force=plan.force, plots=drawn)
    return Job(saved, card, evaluation.to_table(), saved / "plots")
