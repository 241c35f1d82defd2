"""``fakeclf models export``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--to", type=click.Choice(["litert", "savedmodel", "onnx"]), required=True, help="Format.")
@click.option("--out", type=click.Path(path_type=Path), help="File or folder.  [default: the bundle's name, here]")
@click.option(
    "--weights", type=click.Choice(["float32", "float16", "int8"]), help="Of LiteRT.  [default: float16, half the size]"
)
@click.option("--force", is_flag=True, help="Replace what is there.")
def export(bundle: str, to: str, out: Path | None, weights: str | None, force: bool) -> None:
    """Write a model for another runtime; what differs from Keras is not kept."""
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    from fakeclf import export as exporting

    made = exporting.export(bundle, to, out, weights=weights, force=force)
    click.echo(f"{made.path}  ({made.size / 1e6:.1f} MB, at most {made.difference:.1g} from Keras in any probability)")
    if "view" in made.input:
        size = made.input["size"]
        click.echo(
            f"It takes float32 pictures, 0-255, brought to {size} x {size} px; fakeclf.runtime.fit does that with "
            f"view={made.input['view']!r}."
        )
