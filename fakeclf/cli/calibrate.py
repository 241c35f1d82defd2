"""``fakeclf models calibrate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

ERROR, FALSE_POSITIVES = 0.05, 0.01  # those of fakeclf.calibration, which imports what --help can do without


@click.command()
@click.argument("bundle")
@click.option("--dataset", required=True, metavar="NAME|FOLDER", help="What to calibrate on; a+b joins several.")
@click.option("--split", type=click.Choice(["validation", "train"]), default="validation", show_default=True)
@click.option(
    "--error",
    type=click.FloatRange(0, 1, max_open=True),
    default=ERROR,
    show_default=True,
    help="Share of FAKE among what is called real, at most.",
)
@click.option(
    "--false-positives",
    type=click.FloatRange(0, 1, max_open=True),
    default=FALSE_POSITIVES,
    show_default=True,
    help="Share of REAL that is called fake, at most.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take only N pictures of the split.")
@click.option("--out", type=click.Path(path_type=Path), help="Also draw reliability before and after into this folder.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Home of the data sets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def calibrate(
    bundle: str,
    dataset: str,
    split: str,
    error: float,
    false_positives: float,
    limit: int | None,
    out: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a probability of what BUNDLE (a name or a folder) says, and keep it in the bundle's card.

    Fits temperature and bias on pictures that the model was not trained on, and chooses from where on a picture is
    called fake, and up to where real. A classifier or an ensemble takes pictures of FAKE and REAL, a localizer pairs of
    picture and mask, as in `fakeclf evaluate`.
    """
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf import calibration

    found = calibration.calibrate(
        bundle,
        dataset,
        split=split,
        error=error,
        false_positives=false_positives,
        limit=limit,
        data_dir=data_dir,
        out=out,
    )
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_table())
    if out is not None:
        click.echo(f"\nreliability before and after: {out / 'reliability.png'}", err=as_json)
