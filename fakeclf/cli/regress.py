"""``fakeclf models regress``: misjudged pictures that are kept as tests. Listing and removing import no Keras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fakeclf.cli.lazy import LazyGroup
from fakeclf.cli.table import table
from fakeclf.errors import FakeclfError

if TYPE_CHECKING:
    from fakeclf.regressions import Outcome

COMMANDS = {
    "add": ("fakeclf.cli.regress:add", "Keep a picture that was misjudged, and what it is in truth."),
    "list": ("fakeclf.cli.regress:list_cases", "Show what is kept."),
    "remove": ("fakeclf.cli.regress:remove", "Drop a case and its picture."),
}

_STATES = {
    "known": "still wrong",
    "regression": "wrong again",
    "changed": "cannot be replayed",
    "damaged": "cannot be replayed",
}

_models = click.option("--model", "models", metavar="NAME", multiple=True, help="Bundle; repeatable.  [default: all]")


@click.group(cls=LazyGroup, lazy=COMMANDS)
def regress() -> None:
    """Misjudged pictures, kept beside a model as tests; `fakeclf models verify` replays them."""


@click.command()
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--truth", type=click.Choice(["real", "fake"]), required=True, help="What the pictures are.")
@click.option(
    "--model", "models", metavar="NAME", multiple=True, help="Bundle; repeatable.  [default: all that `detect` asks]"
)
@click.option("--note", metavar="TEXT", default="", help="A line for whoever reads the list.")
@click.option(
    "--features-only", is_flag=True, help="Do not keep the picture, only what a classifier's last layer sees."
)
@click.option(
    "--area-below",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    help="A localizer must mark less of a real picture than this, as 0.02.",
)
@click.pass_context
def add(
    ctx: click.Context,
    pictures: Sequence[str],
    truth: str,
    models: Sequence[str],
    note: str,
    features_only: bool,
    area_below: float | None,
) -> None:
    """Keep each PICTURE beside the models that can judge it.

    A real picture must not be called fake; a fake one must be. The picture is copied into the bundle's folder
    `regressions` and stays there until it is removed; it goes nowhere else. Adding it again updates the case.
    """
    from fakeclf.cli.quiet import load_tensorflow

    names = list(models) or _default_models(features_only, area_below)
    load_tensorflow()
    from fakeclf import cases, regressions
    from fakeclf.bundle import CASES
    from fakeclf.voters import open_voters

    voters = open_voters(names)
    failed = 0
    for picture in pictures:
        errors, out_of_reach = [], []
        for voter in voters:
            try:
                outcome = regressions.add(
                    voter, picture, truth, note=note, features_only=features_only, area_below=area_below
                )
            except regressions.NoVote as error:
                out_of_reach.append(str(error))
            except FakeclfError as error:
                errors.append(str(error))
            else:
                click.echo(f"{voter.name}: {describe(outcome, then=False)}")
        if models or len(out_of_reach) == len(voters):
            errors += out_of_reach
        failed += bool(errors)
        for message in dict.fromkeys(errors):  # a file that is no picture is none for every model
            click.echo(f"error: {message}", err=True)
    for voter in voters:
        number = len(cases.read(voter.folder))
        if number:
            click.echo(f"{voter.name}: {number:,} kept in {voter.folder / CASES}")
    ctx.exit(1 if failed else 0)


@click.command("list")
@_models
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_cases(models: Sequence[str], as_json: bool) -> None:
    """List the cases of bundles, and what was said of each when it was added."""
    from fakeclf import cases

    found = [(folder, case) for folder in _folders(models) for case in cases.read(folder)]
    if as_json:
        click.echo(json.dumps([{"model": folder.name, **case.to_json()} for folder, case in found], indent=2))
        return
    rows = [
        [
            folder.name,
            case.label,
            case.kind,
            case.truth if case.area_below is None else f"{case.truth}, area below {case.area_below:.1%}",
            f"{case.verdict}, {case.p_fake:.3f}" + ("" if case.area is None else f", {case.area:.1%}"),
            case.date,
            case.right_since or "never",
            case.note,
        ]
        for folder, case in found
    ]
    header = ["model", "picture", "kept", "truth", "said, P(FAKE), area", "on", "right since", "note"]
    click.echo(table(header, rows, empty="none; `fakeclf models regress add PICTURE --truth real` keeps one"))


@click.command()
@click.argument("which", nargs=-1, required=True, metavar="PICTURE...")
@_models
def remove(which: Sequence[str], models: Sequence[str]) -> None:
    """Drop cases and the pictures kept of them.

    PICTURE is the file, or the first 6 letters or more of its sha256 as `list` shows it.
    """
    from fakeclf import cases

    for given in which:
        if len(given) < 6 and not Path(given).is_file():
            raise FakeclfError(f"there is no file {given!r}; a sha256 needs 6 letters or more")
        found = [(folder, case) for folder in _folders(models) for case in cases.find(folder, given)]
        if len({case.sha256 for _, case in found}) != 1:
            what = "several pictures begin" if found else "no case begins"
            raise FakeclfError(f"{what} with {given!r}; `fakeclf models regress list` shows which there are")
        for folder, case in found:
            cases.remove(folder, case)
            click.echo(f"{folder.name}: removed {case.label}")


def replay(folder: Path) -> list[Outcome]:
    """What a bundle says of its cases now. TensorFlow is imported only where there are any."""
    from fakeclf import cases
    from fakeclf.cli.quiet import load_tensorflow
    from fakeclf.data.progress import Progress

    number = len(cases.read(folder))
    if not number:
        return []
    load_tensorflow()
    from fakeclf import regressions

    outcomes = []
    with Progress(f"{folder.name}: replay", number, "cases") as progress:
        for outcome in regressions.replay(folder):
            outcomes.append(outcome)
            progress.to(len(outcomes))
    return outcomes


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """How many cases are right, and a line for each that is not."""
    lines = [f"cases: {sum(outcome.state == 'right' for outcome in outcomes)} of {len(outcomes)} right"]
    for outcome in outcomes:
        if outcome.state != "right":
            lines.append(f"{_STATES[outcome.state]}: {describe(outcome)}")
        elif outcome.why:
            lines.append(f"{outcome.case.label}: right; {outcome.why}")
    return lines


def fails(outcome: Outcome, strict: bool) -> bool:
    """Whether a case makes `fakeclf models verify` fail."""
    return outcome.state in ("regression", "damaged") or strict and outcome.state != "right"


def describe(outcome: Outcome, then: bool = True) -> str:
    """What is said of a case now, and with ``then`` what was said when it was added."""
    case = outcome.case
    if outcome.verdict is None:
        return f"{case.label}: {outcome.why}"
    parts = [f"truth {case.truth}", f"says {outcome.verdict}"]
    if outcome.p_fake is not None:
        parts.append(f"P(FAKE) {outcome.p_fake:.3f}" + (f" ({case.p_fake:.3f} when added)" if then else ""))
    if case.area_below is not None and outcome.area is not None:
        parts.append(f"marks {outcome.area:.1%}, must be below {case.area_below:.1%}")
    if outcome.state == "regression":
        parts.append(f"was right on {case.right_since}")
    return f"{case.label}: {', '.join(parts)}"


def _default_models(features_only: bool, area_below: float | None) -> list[str]:
    """The bundles that `detect` asks, as far as they are there and can keep such a case."""
    from fakeclf import bundle
    from fakeclf.voters import DEFAULT

    kinds = {"classifier"} if features_only else {"localizer"} if area_below is not None else None
    there = dict(bundle.names())
    names = [
        name for name in DEFAULT if name in there and (kinds is None or bundle.read_card(there[name]).kind in kinds)
    ]
    if not names:
        raise FakeclfError(f"none of the default models ({', '.join(DEFAULT)}) will do; name one with --model")
    return names


def _folders(models: Sequence[str]) -> list[Path]:
    from fakeclf import bundle

    return [bundle.find(name) for name in models] or [path for _, path in bundle.names()]
