"""What the README and the other pages tell people to type is understood by the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from fakeclf.cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/failures.md",
    "docs/findings.md",
    "docs/generalization.md",
    "docs/performance.md",
)


def commands() -> list[str]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found += re.findall(r"`(fakeclf [^`]+)`", re.sub(r"\s+", " ", text))
        found += [line.strip() for line in re.findall(r"^    (?:.*&& )?(fakeclf .*)$", text, flags=re.MULTILINE)]
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_the_command_line_understands_it(line: str) -> None:
    command: click.Command = cli
    _, *arguments = shlex.split(line)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, inner, arguments = command.resolve_command(click.Context(command), arguments)
        assert inner is not None and name is not None
        command = inner
    try:
        with command.make_context("fakeclf", arguments):
            pass
    except click.exceptions.Exit:  # --help
        pass
    except click.MissingParameter:
        assert not arguments, "a command that is only spoken of may lack its arguments; one that is shown may not"


def test_pages_link_to_files_that_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
