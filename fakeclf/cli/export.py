"""``fakeclf models export``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--format", "to", type=click.Choice(["litert", "onnx", "saved-model"]), required=True, help="What to write."
)
@click.option(
    "--weights",
    type=click.Choice(["float32", "float16", "int8"]),
    help="Of LiteRT.  [default: float16, half the size; float32 where that gives something else than Keras]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File or folder.  [default: LiteRT goes into the bundle itself; else the bundle's name, here]",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
def export(bundle: str, to: str, weights: str | None, out: Path | None, force: bool) -> None:
    """Write a model for another runtime; what differs from Keras is not kept.

    A bundle's own LiteRT file is what `fakeclf detect` runs, without loading TensorFlow. `fakeclf train` makes it; this
    makes it again.
    """
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf import export as exporting

    made = exporting.export(bundle, to, out, weights=weights, force=force)
    weighed = f"{made.weights} weights, " if to == "litert" else ""
    click.echo(
        f"{made.path}  ({made.size / 1e6:.1f} MB, {weighed}at most {made.difference:.1g} from Keras in any probability)"
    )
    if "view" in made.input and out is not None:
        size = made.input["size"]
        click.echo(
            f"It takes float32 pictures, 0-255, brought to {size} x {size} px; fakeclf.runtime.fit does that with "
            f"view={made.input['view']!r}."
        )
