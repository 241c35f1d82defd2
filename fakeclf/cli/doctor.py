"""``fakeclf doctor``."""

from __future__ import annotations

import contextlib
import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Show versions, devices, memory and disk, what is missing for what, and whether the bundles are whole.

    Ends with exit code 1 if something is broken.
    """
    from fakeclf.cli.quiet import load_tensorflow
    from fakeclf.doctor import examine, to_text

    # A TensorFlow that cannot be imported is one of the findings.
    with contextlib.suppress(Exception):
        load_tensorflow()
    found = examine()
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else to_text(found))
    ctx.exit(1 if found.problems else 0)
