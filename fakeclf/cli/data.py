"""``fakeclf data``: what data sets there are, and how to get, check and make them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fakeclf.cli.lazy import LazyGroup
from fakeclf.cli.table import table

COMMANDS = {
    "list": ("fakeclf.cli.data:list_datasets", "Data sets by name, their licences, and which are there."),
    "fetch": ("fakeclf.cli.data:fetch", "Download a data set, check it and unpack it."),
    "import": ("fakeclf.cli.data:import_", "Take over a data set that is on disk already."),
    "audit": ("fakeclf.cli.data:audit", "Compare the classes in codec, size and duplicates before training."),
    "make": ("fakeclf.cli.data:make", "Make a data set from photographs."),
}

_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Home of the data sets.  [default: $FAKECLF_DATA or the user's cache]",
)
_force = click.option("--force", is_flag=True, help="Replace what is there.")
_partial = click.option("--partial", is_flag=True, help="Take it even if pictures are missing.")


@click.group(cls=LazyGroup, lazy=COMMANDS)
def data() -> None:
    """List, fetch, import, audit and make data sets."""


@click.command("list")
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_datasets(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets that have a name, with their licences, and which of them are there."""
    from fakeclf import registry
    from fakeclf.data import datasets

    home = data_dir or datasets.data_home()
    known = [(spec, (home / spec.name).is_dir()) for spec in registry.datasets()]
    if as_json:
        rows = [
            {"name": spec.name, "description": spec.description, "licence": spec.licence, "there": there}
            for spec, there in known
        ]
        click.echo(json.dumps({"home": str(home), "datasets": rows}, indent=2))
        return
    click.echo(
        table(
            ["name", "there", "licence", "what it is"],
            [[spec.name, "yes" if there else "no", spec.licence, spec.description] for spec, there in known],
        )
    )
    click.echo(f"\nKept in {home}. A folder that holds FAKE/ and REAL/ needs no name: give its path.")


@click.command()
@click.argument("name")
@_data_dir
@_force
@_partial
def fetch(name: str, data_dir: Path | None, force: bool, partial: bool) -> None:
    """Download the data set NAME, check it and unpack it; a broken download goes on where it stopped."""
    from fakeclf.data import fetch as fetching

    click.echo(f"{name} is at {fetching.fetch(name, data_dir, force=force, complete=not partial)}")


@click.command("import")
@click.argument("name")
@click.argument("archive_or_folder", type=click.Path(path_type=Path))
@_data_dir
@_force
@_partial
def import_(name: str, archive_or_folder: Path, data_dir: Path | None, force: bool, partial: bool) -> None:
    """Take over the data set NAME from an archive (zip, tar) or a folder."""
    from fakeclf.data import fetch as fetching

    path = fetching.import_dataset(name, archive_or_folder, data_dir, force=force, complete=not partial)
    click.echo(f"{name} is at {path}")


@click.command()
@click.argument("name")
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(name: str, data_dir: Path | None, as_json: bool) -> None:
    """Compare the classes of a data set (NAME or a folder) in what has nothing to do with the question.

    Where codec, quality, size or duplicates tell FAKE from REAL, a classifier learns just that.
    """
    from fakeclf.data import audit as auditing

    found = auditing.audit(name, data_dir=data_dir)
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_table())


@click.command()
@click.argument("name", type=click.Choice(["regenerated"]))
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--autoencoder",
    metavar="NAME|FILE",
    default="taef2",
    show_default=True,
    help="A variant of the TAESD family whose weights are there, an .npz file of one, or a bundle (small-autoencoder).",
)
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality, both classes."
)
@click.option("--out", type=click.Path(path_type=Path), help="Another folder than that of the data set.")
@_data_dir
def make(name: str, photos: Path, autoencoder: str, quality: int, out: Path | None, data_dir: Path | None) -> None:
    """Make the data set NAME from a folder of photographs; goes on where it was stopped.

    `regenerated`: photographs against their round trips through an autoencoder, which is what a latent-diffusion
    pipeline leaves on a whole frame.
    """
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf.data import datasets, regenerated

    made = regenerated.make(
        photos,
        out or (data_dir or datasets.data_home()) / name,
        autoencoder=autoencoder,
        codec=("JPEG", quality),
        data_dir=data_dir,
        say=lambda line: click.echo(line, err=True),
    )
    rows = [[part, f"{pairs:,}", f"{made.psnr.get(part, float('nan')):.2f} dB"] for part, pairs in made.pairs.items()]
    click.echo(table(["part", "pairs", "PSNR of the round trip"], rows))
    click.echo(f"\n{made.folder}" + (f"; {len(made.skipped)} photographs skipped" if made.skipped else ""))
