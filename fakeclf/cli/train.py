"""``fakeclf train``, ``tune`` and ``ensemble``."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from fakeclf import config, registry
from fakeclf.atomic import replace_file
from fakeclf.cli import quiet
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path)


def _plain_name(ctx: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    if name is not None and (name != Path(name).name or name.startswith(".")):
        raise click.BadParameter("it names a folder below --runs and --out; take one word, without / and leading dot")
    return name


_WHAT = (
    click.option(
        "--dataset",
        metavar="NAME|FOLDER",
        help="A data set's name, a folder of FAKE/ and REAL/ or of pairs of picture and mask, or several: a+b.",
    ),
    click.option("--recipe", metavar="NAME|FILE", help="Default: the recipe named like the data set, if there is one."),
    click.option(
        "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a key of the recipe; repeatable."
    ),
    click.option("--epochs", type=click.IntRange(min=1), help="The same as --set epochs=N."),
)
_MODEL = click.option("--model", metavar="NAME", help="Another model than the recipe's (see `fakeclf models list`).")
_WHERE = (
    click.option("--name", callback=_plain_name, help="Name of the run and of its bundle."),
    click.option(
        "--strategy",
        type=click.Choice(["auto", "none", "mirrored", "multiworker"]),
        default="auto",
        show_default=True,
        help="How the work is spread over devices.",
    ),
    click.option(
        "--memory-fraction",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="F",
        help="Share of each GPU's memory that may be used.",
    ),
    click.option(
        "--resume/--fresh", default=True, show_default=True, help="Go on with an unfinished run, or begin anew."
    ),
    click.option("--runs", type=_FOLDER, default="runs", show_default=True, help="Where the work happens."),
    click.option(
        "--data-dir", type=_FOLDER, help="Home of the data sets.  [default: $FAKECLF_DATA or the user's cache]"
    ),
)
_RESULT = (
    click.option("--force", is_flag=True, help="Replace a bundle of that name."),
    click.option("--out", type=_FOLDER, default="saved_models", show_default=True, help="Where the bundle goes."),
)


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def choose_recipe(
    dataset: str | None = None,
    model: str | None = None,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    epochs: int | None = None,
) -> Recipe:
    """The recipe a command line asks for: its file or name first, then the data set, the model and single settings.

    Without a recipe it is the one named like the data set (``sample`` where none is named), else the one named like
    the model, else the defaults. Another model takes its own size and arguments: those of the recipe belong to the
    recipe's model.

    Raises:
        FakeclfError: for an unknown recipe, model or key, or a wrong type.
    """
    if recipe is not None:
        chosen = config.read_recipe(recipe)
    elif (dataset or "sample") in config.recipe_names():
        chosen = config.read_recipe(dataset or "sample")
    elif model in config.recipe_names():
        chosen = config.read_recipe(str(model))
    else:
        chosen = Recipe()
    if dataset is not None:
        chosen = dataclasses.replace(chosen, dataset=dataset)
    if model is not None and model != chosen.model:
        chosen = dataclasses.replace(chosen, model=model, model_args={}, input_size=None, fine_tune_from=None)
    if epochs is not None:
        chosen = dataclasses.replace(chosen, epochs=epochs)
    chosen = config.with_settings(chosen, settings)
    registry.model(chosen.model)
    return chosen


@click.command()
@_options(*_WHAT, _MODEL, *_WHERE, *_RESULT)
def train(
    dataset: str | None,
    model: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    epochs: int | None,
    out: Path,
    **where: Any,
) -> None:
    """Train a model on a data set.

    Alone, `fakeclf train` trains on the data set `sample`, which is made on the spot and exists to try the tool.
    """
    chosen = choose_recipe(dataset, model, recipe, settings, epochs)
    quiet.load_tensorflow()
    from fakeclf.training import job

    _report(job.train_bundle(chosen, models=out, **where))


@click.command()
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, help="How many settings to try.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="One trial after the other here, or all over a Ray cluster whose machines see the same folders.",
)
@_options(*_WHAT, _MODEL, *_WHERE)
def tune(
    trials: int,
    engine: str,
    dataset: str | None,
    model: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    epochs: int | None,
    name: str | None,
    runs: Path,
    data_dir: Path | None,
    resume: bool,
    **where: Any,
) -> None:
    """Search the recipe's space of settings with hyperopt; the same command goes on where it stopped."""
    chosen = choose_recipe(dataset, model, recipe, settings, epochs)
    quiet.load_tensorflow()
    from fakeclf.training import tuning

    kind = registry.kind(registry.model(chosen.model).kind)
    if not kind.feed:
        raise FakeclfError(f"{chosen.model} is of kind {kind.name}; classifiers and localizers can be tuned")
    loaded = registry.resolve(kind.load)(
        chosen.dataset, validation=chosen.validation, seed=chosen.seed, data_dir=data_dir
    )
    run = runs / (name or f"tune-{chosen.model}-{loaded.name}")
    if not resume:
        (run / "trials.jsonl").unlink(missing_ok=True)
        shutil.rmtree(run / "trials", ignore_errors=True)
    objective = tuning.training_objective(loaded, **where)
    tuner = tuning.tune
    if engine == "ray":
        from fakeclf.training.ray_tuning import ray_tune as tuner
    about = {"dataset": loaded.name, "pictures": [len(loaded.train), len(loaded.validation)]}
    search = tuner(chosen, objective, run, trials=trials, seed=chosen.seed, about=about, say=click.echo)
    with replace_file(run / "best.yaml") as beside:
        beside.write_text(yaml.safe_dump(config.to_mapping(search.recipe), sort_keys=False), encoding="utf-8")
    click.echo(f"\n{search.table}\n\nbest settings: {run / 'best.yaml'}")
    click.echo(f"train them:    fakeclf train --recipe {run / 'best.yaml'}")


@click.command()
@click.argument("bundles", nargs=-1)
@click.option("--tune", metavar="N", type=click.IntRange(min=0), default=0, help="Try N settings of the head first.")
@click.option("--trainable-members", is_flag=True, help="Train the members too, not the head alone.")
@_options(*_WHAT, *_WHERE, *_RESULT)
def ensemble(
    bundles: tuple[str, ...],
    dataset: str | None,
    recipe: str | None,
    settings: tuple[str, ...],
    epochs: int | None,
    name: str | None,
    trainable_members: bool,
    out: Path,
    **where: Any,
) -> None:
    """Join trained classifiers under one head.

    BUNDLES are names or folders of bundles; default: the shipped classifiers. The data set's default is those that they
    were trained on, together.
    """
    recipe = recipe or ("ensemble_end_to_end" if trainable_members else "ensemble")
    chosen = choose_recipe(None, None, recipe, settings, epochs)
    quiet.load_tensorflow()
    from fakeclf.training import ensembling

    job = ensembling.ensemble_bundle(
        list(bundles),
        dataset,
        name=name or "ensemble",
        frozen=not trainable_members,
        recipe=chosen,
        models=out,
        **where,
    )
    _report(job)


def _report(job: Any) -> None:
    click.echo(job.table)
    click.echo(f"\nbundle: {job.bundle}\nplots:  {job.plots}")
