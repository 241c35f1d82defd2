"""``fakeclf reproduce``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fakeclf.cli.table import table
from fakeclf.errors import FakeclfError

_FOLDER = click.Path(path_type=Path)


def _seeds(ctx: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise click.BadParameter("it takes whole numbers joined by commas, as 0,1") from None
    return seeds


def _named(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    named = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise click.BadParameter(f"it takes NAME=FOLDER; received {text!r}")
        named[name] = folder
    return named


@click.command()
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="Name the experiments, and what each needs.")
@click.option("--claims", is_flag=True, help="Hold what the reports conclude against the cells that are done.")
@click.option(
    "--scale",
    type=click.Choice(["smoke", "small", "full"]),
    default="small",
    show_default=True,
    help="smoke: a minute, to see that it works; small: narrow models and our own inpainters, hours on two cores; "
    "full: the report's own sizes and data.",
)
@click.option("--only", metavar="PATTERN", help="Only cells whose name holds this; * and ? as in file names.")
@click.option("--photos", type=_FOLDER, help="A folder of photographs; train/, val/ and test/ in it are kept apart.")
@click.option("--data", metavar="NAME=FOLDER", multiple=True, callback=_named, help="Further pictures; repeatable.")
@click.option("--seeds", default="0", show_default=True, callback=_seeds, metavar="LIST", help="Of the trainings.")
@click.option("--out", type=_FOLDER, default="reproduced", show_default=True, help="Where everything goes.")
@click.option("--data-dir", type=_FOLDER, help="Home of the data sets.  [default: $FAKECLF_DATA or the user's cache]")
def reproduce(
    name: str | None,
    listed: bool,
    claims: bool,
    scale: str,
    only: str | None,
    photos: Path | None,
    data: dict[str, str],
    seeds: tuple[int, ...],
    out: Path,
    data_dir: Path | None,
) -> None:
    """Run a published experiment and print our table beside the printed one.

    NAME is one of those that --list names, or a YAML file of the same form. What is done is kept: the same command goes
    on where it was stopped, and tables that need the same training share it.
    """
    from fakeclf.reproduce import experiments

    if listed:
        return _list(scale)
    if claims:
        if name is not None:
            raise click.UsageError(f"--claims goes over all tables; leave {name} out")
        return _claims(scale, seeds, out)
    if name is None:
        raise click.UsageError("name an experiment; `fakeclf reproduce --list` shows which there are")
    experiments.read(name)
    # The models of a table are only measured, in Keras; their LiteRT files would take seconds each.
    os.environ.setdefault("FAKECLF_LITERT", "off")
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf.reproduce import runner

    asked = runner.Asked(scale, only, seeds, photos, data, out, data_dir)
    made = runner.reproduce(name, asked, say=lambda line: click.echo(line, err=True))
    click.echo(made.to_markdown())
    click.echo(f"table, plot and sheets: {out / scale / made.experiment.name}")
    failed = sum(number for state, number in made.counts.items() if state in ("failed", "part"))
    if failed:
        raise FakeclfError(f"{failed} rows lack a cell that failed; the table says why; the same command tries again")


def _claims(scale: str, seeds: tuple[int, ...], out: Path) -> None:
    from fakeclf.reproduce import claims, experiments
    from fakeclf.reproduce.runner import Store

    if not (out / scale / "cells").is_dir():
        raise FakeclfError(f"{out} holds no cells of scale {scale}; run tables with `fakeclf reproduce NAME` first")
    size, read = experiments.read_scale(scale), claims.read_claims()
    found = claims.measure(read, size, seeds, Store(out / size.name / "cells"))
    text = claims.to_markdown(read, found, size, seeds)
    claims.save(out / size.name / "claims", text, claims.to_json(read, found))
    click.echo(text)
    missing = {one.tables for findings in found for one in findings if one.verdict == "not run"}
    if missing:
        click.echo(f"not run yet, at least in part: {', '.join(sorted(missing))}", err=True)


def _list(scale: str) -> None:
    from fakeclf.reproduce import experiments, grid, runner

    size, rows = experiments.read_scale(scale), []
    for name in experiments.names():
        experiment = experiments.read(name)
        cells = grid.expand(experiment, size)
        needed = [*runner.data_sets(cells), *runner.needs(cells, size)]
        counts = [f"{len(grid.trainings(cells))}", f"{len(cells)}"]
        rows.append([name, experiment.report, *counts, ", ".join(needed) or "nothing"])
    click.echo(table(["name", "report", "trainings", "cells", f"needs at scale {scale}"], rows))
