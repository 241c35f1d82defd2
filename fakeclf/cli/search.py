"""``fakeclf search``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from fakeclf.cli import quiet
from fakeclf.cli.table import table
from fakeclf.cli.train import choose_recipe
from fakeclf.registry import resolve

SHOWN = 5


@click.command()
@click.option("--dataset", metavar="PAIRS", required=True, help="Pairs of picture and mask, as `fakeclf train` takes.")
@click.option(
    "--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Of the supernet's training."
)
@click.option("--genotypes", type=click.IntRange(min=1), default=100, show_default=True, help="How many are ranked.")
@click.option(
    "--driver",
    type=click.Choice(["sample", "hyperopt"]),
    default="sample",
    show_default=True,
    help="Where genotypes come from: drawn uniformly, or each proposed from the scores before it.",
)
@click.option(
    "--crops",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Validation crops that a genotype is scored on, at most.",
)
@click.option(
    "--stand-alone",
    type=click.IntRange(min=0),
    metavar="K",
    default=0,
    help="Also train K of the ranked genotypes alone, and tell how well the ranking foretells them.",
)
@click.option(
    "--stand-alone-steps", type=click.IntRange(min=1), metavar="N", help="Of each of these.  [default: --steps]"
)
@click.option("--width", type=click.FloatRange(min=0, min_open=True), metavar="W", help="Share of IID-Net's channels.")
@click.option("--seed", type=int, help="Of weights, crops, paths and genotypes.")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a key of the recipe iid-net; repeatable."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="runs/search",
    show_default=True,
    help="Folder to write to, or to go on with.",
)
def search(
    dataset: str, width: float | None, seed: int | None, settings: tuple[str, ...], out: Path, **how: Any
) -> None:
    """Search for an architecture of IID-Net; the same command goes on where it stopped.

    A supernet, which holds every operation in every place, is trained along random paths; then genotypes are ranked by
    their validation AUC with its weights. At full size that takes a GPU; on a processor, for example:

    fakeclf search --dataset forged --width 0.25 --steps 3000 --set input_size=64 --set batch_size=8 --set
    optimizer.learning_rate=0.002
    """
    own = [f"model_args.width={width}"] if width is not None else []
    own += [f"seed={seed}"] if seed is not None else []
    recipe = choose_recipe(dataset, "iid-net", "iid-net", (*settings, *own))
    quiet.load_tensorflow()
    found = resolve("segmentation.search:search")(recipe, out, say=click.echo, **how)

    rows = [row for row in found.ranking if row.place <= SHOWN or row is found.published or row.alone is not None]
    shown = [
        [f"{row.place}", f"{row.score:.4f}", f"{row.alone:.4f}" if row.alone is not None else "-", row.genotype]
        for row in rows
    ]
    count = len(found.ranking)
    click.echo(f"\n{count} genotypes by mean pixel AUC on {found.crops} validation crops, with shared weights:\n")
    click.echo(table(["place", "shared", "alone", "genotype"], shown))
    click.echo(f"\nbest:      {found.best.genotype}, AUC {found.best.score:.4f}")
    click.echo(f"published: place {found.published.place} of {count}, AUC {found.published.score:.4f}")
    agreement = found.correlation()
    if agreement:
        click.echo(
            "shared and stand-alone scores: Spearman's rho {rho:.2f} [{low:.2f}, {high:.2f}], p {p:.3f}, "
            "{n} genotypes".format(**agreement)
        )
    elif how["stand_alone"]:
        click.echo(
            "shared and stand-alone scores: no rank correlation; it takes four genotypes with scores that differ"
        )
    args = {**recipe.model_args, "genotype": found.best.genotype}
    changed = " ".join(f"--set {shlex.quote(f'model_args.{key}={value}')}" for key, value in args.items())
    click.echo(f"\nranking:   {found.folder / 'ranking.csv'}")
    click.echo(f"train it:  fakeclf train --model iid-net --dataset {shlex.quote(dataset)} {changed}")
