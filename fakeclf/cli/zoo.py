"""``fakeclf zoo``."""

from __future__ import annotations

from pathlib import Path

import click

from fakeclf.cli import quiet
from fakeclf.cli.table import table

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("photos", type=_FOLDER)
@click.option("--count", type=click.IntRange(min=1), default=8, show_default=True, help="Members that must pass.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first draw.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Processor time of each.",
)
@click.option(
    "--of",
    type=click.Choice(["autoencoders", "inpainters"]),
    default="autoencoders",
    show_default=True,
    help="Autoencoders round-trip a whole picture; inpainters paint a hole.",
)
@click.option("--name", help="Members are called NAME-00, NAME-01 ...  [default: zoo, or zoo-inpainter]")
@click.option(
    "--psnr",
    type=float,
    help="The least of a member, dB: of its round trips, or of its fills above a blur's.  [default: 22, or -3]",
)
@click.option("--runs", type=_FOLDER, default="runs", show_default=True, help="Where the work happens.")
@click.option("--out", type=_FOLDER, default="saved_models", show_default=True, help="Where the bundles go.")
def zoo(
    photos: Path,
    count: int,
    seed: int,
    minutes: float,
    of: str,
    name: str | None,
    psnr: float | None,
    runs: Path,
    out: Path,
) -> None:
    """Train small generators of drawn architectures on the folder PHOTOS; goes on where it was stopped.

    Forge with all of them: `fakeclf forge --source 'zoo-*'`. A later --seed adds members to a zoo.
    """
    quiet.load_tensorflow()
    from fakeclf.training.zoo import open_family, train_zoo

    members = train_zoo(
        photos,
        of=of,
        count=count,
        seed=seed,
        minutes=minutes,
        name=name,
        models=out,
        runs=runs,
        least=psnr,
        say=lambda line: click.echo(line, err=True),
    )
    family = open_family(of)
    rows = [
        [
            member.name,
            *family.describe(member.drawn),
            f"{member.decibels:.2f}",
            f"{member.texture:.2f}",
            f"{member.kilobytes:,.0f}",
            "no" if member.problem else "yes",
        ]
        for member in members
    ]
    click.echo(table(["member", "architecture", "loss", family.figure, "texture", "KB", "kept"], rows))
