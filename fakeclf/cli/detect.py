"""``fakeclf detect``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fakeclf.detect import Detection


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--models", metavar="NAME", help="Bundle of a localizer.  [default: localizer]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("detected"), show_default=True, help="Folder for the masks."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="On P(inpainted) of a pixel.  [default: the card's]")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON a picture.")
@click.pass_context
def detect(
    ctx: click.Context, paths: Sequence[str], models: str | None, out: Path, threshold: float | None, as_json: bool
) -> None:
    """Find what was inpainted in pictures: files, folders, or globs in quotes.

    Each picture gets a mask (255 = inpainted for certain), a binary mask at the threshold and an overlay, all PNG, in
    the output folder, and a line in its detections.jsonl. A file that fails gets a line too, and the run goes on; it
    then ends with exit code 1.
    """
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf.data.progress import Progress
    from fakeclf.detect import detect_all

    total, records = detect_all(paths, models=models, threshold=threshold, out=out)
    if not as_json:
        click.echo("  inpainted  highest  score  seconds  picture")
    failed = 0
    # Lines that go to the terminal are progress enough, and a bar would run through them.
    with nullcontext() if sys.stdout.isatty() else Progress("detect", total, "pictures") as progress:
        for number, found in enumerate(records, 1):
            failed += found.error is not None
            click.echo(json.dumps(found.to_json()) if as_json else _line(found))
            if progress is not None:
                progress.to(number)
    if failed:
        click.echo(f"{failed} of {total} failed", err=True)
    if not as_json:
        click.echo(f"\nmasks and overlays: {out}")
    ctx.exit(1 if failed else 0)


def _line(found: Detection) -> str:
    if found.error is not None:
        return f"     failed  {found.error}"
    return f"  {found.area:9.1%}  {found.max:7.2f}  {found.score:5.2f}  {found.seconds:7.1f}  {found.path}"
