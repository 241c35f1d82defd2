"""``fakeclf models calibrate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

ERROR, FALSE_POSITIVES = 0.05, 0.01  # those of fakeclf.calibration, which imports what --help can do without
REACH_PICTURES = 60


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
@click.option(
    "--reach",
    "reach_pictures",
    type=click.IntRange(min=0),
    metavar="N",
    default=REACH_PICTURES,
    show_default=True,
    help="Degrade about N of the pictures in 12 ways, to find out which the model can judge; 0 leaves that out.",
)
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
    reach_pictures: int,
    out: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Make a probability of what BUNDLE (a name or a folder) says, and keep it in the bundle's card.

    Fits temperature and bias on pictures that the model was not trained on, and chooses from where on a picture is
    called fake, and up to where real. Then it measures down to which size, JPEG quality and fineness of detail the
    model still tells them apart; `detect` gives it no vote on others. A classifier or an ensemble takes pictures of
    FAKE and REAL, a localizer pairs of picture and mask, as in `fakeclf evaluate`; one that learnt from pictures that
    were saved again is shown them as JPEG 90, and has a vote on such alone.
    """
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf import calibration
    from fakeclf.reach_measuring import measure_reach

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
    reach = (
        measure_reach(bundle, dataset, split=split, limit=reach_pictures, data_dir=data_dir) if reach_pictures else None
    )
    if as_json:
        click.echo(json.dumps(found.to_json() | ({"reach": reach.to_json()} if reach else {}), indent=2))
    else:
        click.echo(found.to_table())
        if reach is not None:
            click.echo(f"\njudges: {reach.describe()}")
    if out is not None:
        click.echo(f"\nreliability before and after: {out / 'reliability.png'}", err=as_json)
