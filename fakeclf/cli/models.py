"""``fakeclf models``: what was trained, and what can be trained. Imports no Keras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fakeclf.cli.lazy import LazyGroup
from fakeclf.cli.table import table
from fakeclf.errors import FakeclfError

COMMANDS = {
    "list": ("fakeclf.cli.models:list_models", "Trained bundles with their results, and the models to train."),
    "show": ("fakeclf.cli.models:show", "The card of a bundle: what it was trained on, results, limits."),
    "verify": ("fakeclf.cli.models:verify", "Check the files of bundles by their hashes, and replay their cases."),
    "regress": ("fakeclf.cli.regress:regress", "Keep misjudged pictures beside a model as tests."),
    "calibrate": ("fakeclf.cli.calibrate:calibrate", "Turn a model's scores into probabilities that can be believed."),
    "average": ("fakeclf.cli.models:average_models", "The mean of the weights of two bundles, as a bundle."),
    "import": ("fakeclf.cli.models:import_model", "Make a bundle of weights that a model's authors published."),
    "export": ("fakeclf.cli.export:export", "Write a model for LiteRT, ONNX or as a SavedModel."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def models() -> None:
    """List, show, verify, calibrate, average, import and export models; keep what they misjudged."""


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List trained bundles with their results, and the models that can be trained."""
    from fakeclf import bundle, registry

    trained = []
    for _, path in bundle.names():
        try:
            trained.append((path, bundle.read_card(path)))
        except FakeclfError as error:
            click.echo(f"left out: {error}", err=True)
    known = registry.models()
    if as_json:
        cards = [{"path": str(path), **card.to_json()} for path, card in trained]
        specs = [
            {"name": spec.name, "kind": spec.kind, "input_size": spec.input_size, "reference": spec.reference}
            for spec in known
        ]
        click.echo(json.dumps({"trained": cards, "to_train": specs}, indent=2))
        return
    rows = [
        [card.name, card.kind, card.model, f"{card.parameters:,}", *_first_result(card.results)] for _, card in trained
    ]
    header = ["name", "kind", "model", "parameters", "measured on", "pictures", "accuracy", "AUC"]
    click.echo("Trained (`fakeclf models show NAME` says how each figure was measured):")
    click.echo(table(header, rows, empty="none yet; `fakeclf train` makes one"))
    click.echo("\nTo train (`fakeclf train --model NAME`):")
    click.echo(
        table(
            ["name", "kind", "input", "reference"],
            [[spec.name, spec.kind, f"{spec.input_size} px", spec.reference] for spec in known],
        )
    )


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the card as it is stored.")
def show(name: str, as_json: bool) -> None:
    """Show the card of a bundle, by name or by path."""
    from fakeclf import bundle

    path = bundle.find(name)
    card = bundle.read_card(path).to_json()
    click.echo(json.dumps(card, indent=2) if as_json else "\n".join([f"path: {path}", *_outline(card)]))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--no-replay", is_flag=True, help="Check the files alone.")
@click.option("--strict", is_flag=True, help="Fail on every case that is not right.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(ctx: click.Context, names: Sequence[str], no_replay: bool, strict: bool, as_json: bool) -> None:
    """Check bundles (all that are found, unless named), and replay the pictures that they misjudged.

    The files of a bundle must have the hashes of its card. The cases (`fakeclf models regress`) are judged again: one
    that was never right is printed and is no failure, since a model cannot be held to what it never could do; one that
    was right before must be right.

    Ends with exit code 1 if a file is not as it was saved, a case is wrong again, or its picture is damaged.
    """
    from fakeclf import bundle
    from fakeclf.cli.regress import fails, replay, summary

    found: dict[str, dict[str, Any]] = {}
    failed = False
    for path in [bundle.find(name) for name in names] or [path for _, path in bundle.names()]:
        problems = bundle.verify(path)
        outcomes = None  # not replayed
        if not no_replay and not problems:
            try:
                outcomes = replay(path)
            except FakeclfError as error:
                problems.append(str(error))
        said = None if outcomes is None else [outcome.to_json() for outcome in outcomes]
        found[str(path)] = {"problems": problems, "cases": said}
        failed |= bool(problems) or any(fails(outcome, strict) for outcome in outcomes or [])
        if not as_json:
            click.echo(f"{path.name}: {'; '.join(problems) or 'whole'}  ({path})")
            if outcomes:
                click.echo("\n".join(f"  {text}" for text in summary(outcomes)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo("no bundles found; `fakeclf train` makes one")
    ctx.exit(1 if failed else 0)


@click.command("average")
@click.argument("before")
@click.argument("after")
@click.option("--share", type=float, default=0.5, show_default=True, help="Of AFTER in the mean, between 0 and 1.")
@click.option("--name", required=True, metavar="WORD", help="Name of the bundle.")
@click.option("--force", is_flag=True, help="Replace a bundle of that name.")
@click.option("--out", type=click.Path(path_type=Path), default="saved_models", show_default=True)
def average_models(before: str, after: str, share: float, name: str, force: bool, out: Path) -> None:
    """Make a bundle of the mean of the weights of BEFORE and AFTER, where AFTER was trained on from BEFORE.

    The mean forgets less of what BEFORE knew. Its card is that of AFTER without results, calibration and reach: its
    threshold and all it can do must be measured again (`fakeclf evaluate`, `fakeclf models calibrate`).
    """
    from fakeclf.averaging import average
    from fakeclf.cli.quiet import load_tensorflow

    load_tensorflow()
    folder = average(before, after, share=share, name=name, out=out, force=force)
    click.echo(f"{folder}  (`fakeclf models show {folder.name}`)")


@click.command("import")
@click.argument("name")
@click.argument("file")
@click.option("--name", "bundle_name", metavar="WORD", help="Name of the bundle.  [default: the model's]")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Argument of the model; repeatable.")
@click.option("--force", is_flag=True, help="Replace a bundle of that name.")
@click.option("--out", type=click.Path(path_type=Path), default="saved_models", show_default=True)
def import_model(
    name: str, file: str, bundle_name: str | None, settings: Sequence[str], force: bool, out: Path
) -> None:
    """Make a bundle of FILE, the weights that the authors of model NAME published.

    \b
    iid-net, mvss-net                FILE.pth
    nix-net                          FILE.pth --set size=40M (60M, 85M)
    fcn-resnet50                     FILE.pth (torchvision's for COCO: --set head=drop)
    mantra-net                       FILE.h5
    taesd, taesdxl, taesd3, taef1,   ENCODER.pth,DECODER.pth, or one file with both
    taef2

    PyTorch's files need torch: pip install 'fakeclf[torch]'. Nothing but tensors is read from them.
    """
    from fakeclf import weights_import
    from fakeclf.cli.quiet import load_tensorflow

    arguments = _arguments(settings)
    load_tensorflow()
    folder, notes = weights_import.import_bundle(
        name, file, bundle_name=bundle_name, out=out, force=force, settings=arguments
    )
    for note in notes:
        click.echo(note)
    click.echo(f"{folder}  (`fakeclf models show {folder.name}`)")


def _arguments(settings: Sequence[str]) -> dict[str, Any]:
    """``key=value`` settings, values read as YAML."""
    import yaml

    arguments = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise FakeclfError(f"--set takes key=value; received {setting!r}; for example --set size=60M")
        try:
            arguments[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise FakeclfError(f"--set {key}: {text!r} is not a YAML value; quote it") from error
    return arguments


def _first_result(results: Sequence[dict[str, Any]]) -> list[str]:
    """Data set, number of pictures, accuracy and AUC of a card's first test result, which is its own data set's."""
    measured = next((result for result in results if result.get("split") == "test"), None)
    if measured is None:
        return ["-"] * 4
    figures = [measured.get(name) for name in ("accuracy", "auc")]
    shown = ["-" if figure is None else f"{figure:.4f}" for figure in figures]
    return [f"{measured['data']} test", f"{measured['pictures']:,}", *shown]


def _outline(value: Any, indent: str = "") -> list[str]:
    """Nested dictionaries and lists as indented ``key: value`` lines."""
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, dict | list) and inner:
                lines += [f"{indent}{key}:", *_outline(inner, indent + "  ")]
            elif inner not in ({}, [], None, ""):
                lines.append(f"{indent}{key}: {inner}")
        return lines
    if isinstance(value, list) and all(isinstance(inner, int | float) for inner in value):
        return [indent + ", ".join(f"{inner:.5g}" for inner in value)]
    if isinstance(value, list):
        lines = []
        for inner in value:
            first, *rest = _outline(inner, indent + "  ")
            lines += [f"{indent}- {first.strip()}", *rest]
        return lines
    return [f"{indent}{value}"]
