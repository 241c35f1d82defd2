"""``fakeclf forge``."""

from __future__ import annotations

from pathlib import Path

import click

from fakeclf.cli.table import table


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to, or to go on with.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    metavar="NAME",
    help="What makes the forged pixels: telea, navier-stokes, biharmonic, patch, resampled, random-decoder, blocky, "
    "taef2, a bundle (small-autoencoder) or several ('zoo-*'), onnx:FILE, diffusers:MODEL. May be repeated.",
)
@click.option(
    "--masks",
    multiple=True,
    default=["mix"],
    show_default=True,
    metavar="KIND",
    help="strokes, rectangles, blobs, mix (of these), free-form, shapes:FOLDER, coco:FILE, "
    "detector:FILE.onnx, maskformer[:MODEL]. May be repeated: one is chosen each time.",
)
@click.option(
    "--area",
    nargs=2,
    type=float,
    default=(0.02, 0.4),
    show_default=True,
    metavar="LOW HIGH",
    help="Share of the picture that a mask covers.",
)
@click.option("--per-photo", type=click.IntRange(min=1), default=1, show_default=True, help="Pairs a source.")
@click.option("--size", type=click.IntRange(min=1), metavar="PIXELS", help="Cut longer sides to this.")
@click.option(
    "--shrink",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="First make each photograph smaller by a factor drawn from this range.",
)
@click.option(
    "--soften",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Then shrink it by such a factor and enlarge it again, with grain: smooth, as a lossless scan is.",
)
@click.option(
    "--rework",
    is_flag=True,
    help="Then denoise, turn, resize, sharpen and save it again, as pictures on the web were; drawn.",
)
@click.option(
    "--variants",
    metavar="LIST",
    help="Which of original,mask,inpainted,realfake,fakefake to write.  [default: all but fakefake]",
)
@click.option("--autoencoder", metavar="NAME", help="Also write fakefake: its round trip, pasted through the mask.")
@click.option(
    "--format", default="png", show_default=True, metavar="FORMAT", help="png, webp (lossless) or jpeg:QUALITY."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one a processor]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Home of the data sets and of brought weights.")
def forge(
    photos: Path,
    out: Path,
    sources: tuple[str, ...],
    masks: tuple[str, ...],
    area: tuple[float, float],
    per_photo: int,
    size: int | None,
    shrink: tuple[float, float] | None,
    soften: tuple[float, float] | None,
    rework: bool,
    variants: str | None,
    autoencoder: str | None,
    format: str,
    seed: int,
    workers: int | None,
    data_dir: Path | None,
) -> None:
    """Make a data set of forged pictures with masks from the folder PHOTOS; goes on where it was stopped.

    Writes OUT/{train,val,test}/GENERATOR/ID.VARIANT.SUFFIX and OUT/manifest.json. The train/, val/ and test/ folders
    of PHOTOS are kept apart if it has them; else it is split by file.
    """
    from fakeclf.registry import resolve

    module = "segmentation.forgeries.forge"
    if any(map(resolve(f"{module}:needs_keras"), (*sources, *([autoencoder] if autoencoder else [])))):
        from fakeclf.cli.quiet import load_tensorflow

        load_tensorflow()
    written = ["original", "mask", "inpainted", "realfake"] if variants is None else _split(variants)
    made = resolve(f"{module}:forge")(
        photos,
        out,
        sources=sources,
        masks=masks[0] if len(masks) == 1 else masks,
        area=area,
        per_photo=per_photo,
        size=size,
        shrink=shrink,
        soften=soften,
        rework=rework,
        variants=[*written, "fakefake"] if autoencoder and "fakefake" not in written else written,
        autoencoder=autoencoder,
        format=format,
        workers=workers,
        seed=seed,
        data_dir=data_dir,
        say=lambda line: click.echo(line, err=True),
    )
    rows = [[name, f"{row.pairs:,}", f"{row.area:.3f}", f"{row.seconds:,.1f}"] for name, row in made.generators.items()]
    click.echo(table(["generator", "pairs", "mean area", "seconds"], rows))
    click.echo(f"\n{made.folder}" + (f"; {len(made.skipped):,} photographs skipped" if made.skipped else ""))


def _split(variants: str) -> list[str]:
    return [variant.strip() for variant in variants.split(",") if variant.strip()]
