"""``fakeclf detect``."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fakeclf.verdict import Verdict


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--models", metavar="NAME,NAME", multiple=True, help="Bundles to ask.  [default: the shipped ones]")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("detected"), show_default=True, help="Folder for the masks."
)
@click.option("--why", is_flag=True, help="Say in words what each verdict rests on.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write one HTML file to look through.")
@click.option("--csv", "table", type=click.Path(path_type=Path, dir_okay=False), help="Write a table.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON a picture.")
@click.option("--explain", is_flag=True, help="Also write Grad-CAM and noise residual.")
@click.option("--reliability", is_flag=True, help="Also write how far the mask agrees over flips and shifts (slow).")
@click.option("--quick", is_flag=True, help="Do not try whether the verdict survives saving again and resizing.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="On P(inpainted) of a pixel.  [default: the card's]")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Pictures at a time.  [default: one a processor]"
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="On this machine, or all over a Ray cluster whose machines see the same folders.",
)
@click.pass_context
def detect(
    ctx: click.Context,
    paths: Sequence[str],
    models: Sequence[str],
    out: Path,
    why: bool,
    report: Path | None,
    table: Path | None,
    as_json: bool,
    explain: bool,
    reliability: bool,
    quick: bool,
    threshold: float | None,
    workers: int | None,
    engine: str,
) -> None:
    """Say of pictures whether they are real, and which part of them was repainted.

    PATH is a file, a folder, a glob in quotes, or - for a list of them on standard input, one a line.

    Each picture gets one verdict: fake, real (no trace of what the models know), unsure, or cannot tell (no model can
    judge such a picture); P(FAKE); how much of it was made; whether the verdict survives saving the picture again.
    Masks and overlays go to the output folder, with every verdict as a line of its verdicts.jsonl. What is there
    already is not done again. A file that fails gets a line, too, and the run goes on; it then ends with exit code 1.
    """
    from fakeclf.data.progress import Progress
    from fakeclf.detection import Settings
    from fakeclf.detection_run import DetectionRun as Run
    from fakeclf.voters import need_keras

    if explain or need_keras(list(models) or None):
        from fakeclf.cli.quiet import load_tensorflow

        load_tensorflow()
    settings = Settings(threshold, stability=not quick, reliability=reliability, explain=explain)
    if engine == "ray":
        from fakeclf.ray_detection import ClusterRun as Run
    with Run(_listed(paths), models=list(models) or None, settings=settings, out=out, workers=workers) as run:
        if not as_json:
            click.echo("  verdict      P(FAKE)  extent  inpainted  stable  seconds  picture")
        # Lines that go to the terminal are progress enough, and a bar would run through them.
        with nullcontext() if sys.stdout.isatty() else Progress("detect", run.total, "pictures") as progress:
            for number, verdict in enumerate(run, 1):
                click.echo(json.dumps(verdict.to_json()) if as_json else _line(verdict))
                if why and not as_json:
                    for sentence in verdict.why + verdict.provenance.get("sentences", []):
                        click.echo(textwrap.indent(textwrap.fill(sentence, 100), "      "))
                if progress is not None:
                    progress.to(number)
        if table is not None:
            run.write_csv(table)
        if report is not None:
            run.write_report(report)
        if run.reused:
            click.echo(f"{run.reused:,} of {run.total:,} were there already", err=True)
        if run.failed:
            click.echo(f"{run.failed:,} of {run.total:,} failed", err=True)
        if not as_json:
            click.echo(f"\nmasks, overlays and verdicts: {out}")
            for path in (table, report):
                if path is not None:
                    click.echo(f"written: {path}")
    ctx.exit(1 if run.failed else 0)


def _listed(paths: Sequence[str]) -> list[str]:
    """The paths, ``-`` replaced by the lines of standard input."""
    named: list[str] = []
    for path in paths:
        if path == "-":
            named += [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
        else:
            named.append(path)
    if not named:
        raise click.UsageError("standard input names no picture; give one path a line")
    return named


def _line(verdict: Verdict) -> str:
    if verdict.error is not None:
        return f"  failed       {verdict.error}"
    p_fake = "-" if verdict.p_fake is None else f"{verdict.p_fake:.3f}"
    area = "-" if verdict.area is None else f"{verdict.area:.1%}"
    return (
        f"  {verdict.verdict or '':11}  {p_fake:>7}  {verdict.extent or '-':6}  {area:>9}  {verdict.stable or '-':6}  "
        f"{verdict.seconds or 0:7.1f}  {verdict.path}"
    )
