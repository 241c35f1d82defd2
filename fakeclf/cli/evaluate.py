"""``fakeclf evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fakeclf.errors import FakeclfError

ROBUSTNESS = {
    "classifier": "fakeclf.robustness:robustness",
    "ensemble": "fakeclf.robustness:robustness",
    "localizer": "segmentation.robustness:robustness_bundle",
}


@click.command()
@click.argument("bundle")
@click.option("--dataset", required=True, metavar="NAME|FOLDER", help="What to measure on; a+b joins several.")
@click.option(
    "--codec", metavar="CHANGES", help="Localizers: what pictures go through first, as jpeg:90 or resize:0.5."
)
@click.option(
    "--without",
    type=click.Choice(["likeness", "history"]),
    multiple=True,
    help="Localizers: leave that out, whatever the card says. May be repeated: both leave the network alone.",
)
@click.option(
    "--robustness", is_flag=True, help="Measure again after JPEG, WebP, resizing, blur, noise, gamma, cropping."
)
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="On P(FAKE), of localizers on P(inpainted).  [default: the card's]"
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take only N pictures of the split.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the figures and plots into this folder.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Home of the data sets.")
@click.option("--add-to-card", is_flag=True, help="Also keep the figures in the bundle's card.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    bundle: str,
    dataset: str,
    codec: str | None,
    without: tuple[str, ...],
    robustness: bool,
    split: str,
    threshold: float | None,
    limit: int | None,
    out: Path | None,
    data_dir: Path | None,
    add_to_card: bool,
    as_json: bool,
) -> None:
    """Measure BUNDLE (a name or a folder) on a data set, under the protocol that is printed with the figures.

    A classifier is measured on pictures of FAKE and REAL, a localizer on pairs of picture and mask: a folder that
    `fakeclf forge` made, or mpdl:FOLDER, pairs:PICTURES,MASKS, npy:FILE. --robustness gives a row for the untouched
    pictures and one for each of the changes that pictures meet on their way, all at the same threshold. --without
    leaves out what the picture itself tells, by what looks alike in it or by its history: localizers whose card says
    so look at that too.
    """
    from fakeclf import bundle as bundles
    from fakeclf import registry

    kind = registry.kind(bundles.read_card(bundle).kind)
    if not kind.evaluate:
        raise FakeclfError(f"{bundle} is of kind {kind.name}; classifiers, ensembles and localizers can be measured")
    options: dict[str, Any] = {}
    if codec is not None and robustness:
        raise FakeclfError("--robustness goes through a list of changes of its own; leave --codec out")
    if codec is not None:
        if kind.name != "localizer":
            raise FakeclfError(f"--codec is for localizers; {bundle} is of kind {kind.name}; leave it out")
        from fakeclf.data import degrade

        options["codec"] = degrade.parse(codec)
    if without:
        if kind.name != "localizer" or robustness or add_to_card:
            raise FakeclfError("--without is for localizers, and for neither --robustness nor --add-to-card")
        options["without"] = without
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    measure = registry.resolve(ROBUSTNESS[kind.name] if robustness else kind.evaluate)
    measured = measure(bundle, dataset, split=split, threshold=threshold, limit=limit, data_dir=data_dir, **options)
    click.echo(json.dumps(measured.to_json(), indent=2) if as_json else measured.to_table())
    if add_to_card:
        bundles.add_result(bundle, measured.to_json())
    if out is not None:
        measured.save(out)
        click.echo(f"\nfigures and plots: {out}", err=as_json)
