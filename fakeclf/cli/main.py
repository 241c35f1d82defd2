"""The ``fakeclf`` command: quiet TensorFlow, errors in one line, exit codes.

Exit codes: 0 done; 1 the work could not be done (one line on stderr says why); 2 wrong usage; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

from fakeclf import __version__
from fakeclf.cli.lazy import LazyGroup
from fakeclf.errors import FakeclfError

COMMANDS = {
    "train": ("fakeclf.cli.train:train", "Train a model on a data set; the result is a bundle in saved_models."),
    "tune": ("fakeclf.cli.train:tune", "Search the recipe's space of settings with hyperopt."),
    "search": ("fakeclf.cli.search:search", "Search for an architecture of IID-Net with shared weights."),
    "ensemble": ("fakeclf.cli.train:ensemble", "Join trained classifiers under one head and train that."),
    "zoo": ("fakeclf.cli.zoo:zoo", "Train many small autoencoders of drawn architectures, to forge with."),
    "forge": ("fakeclf.cli.forge:forge", "Make pairs of forged picture and mask from photographs."),
    "detect": ("fakeclf.cli.detect:detect", "Say of pictures whether they are real, and which part was repainted."),
    "evaluate": ("fakeclf.cli.evaluate:evaluate", "Measure a bundle on a data set."),
    "reproduce": ("fakeclf.cli.reproduce:reproduce", "Run a published experiment; our table beside the printed one."),
    "data": ("fakeclf.cli.data:data", "List, fetch, import, audit and make data sets."),
    "models": ("fakeclf.cli.models:models", "List, show, verify and import models."),
    "doctor": ("fakeclf.cli.doctor:doctor", "Versions, devices, memory, and what is missing for what."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="fakeclf")
@click.option("--debug", is_flag=True, help="Show tracebacks, and what TensorFlow logs.")
@click.pass_obj
def cli(settings: dict[str, bool] | None, debug: bool) -> None:
    """Is a picture real or machine-made, and which part of it was repainted?

    Start with `fakeclf train`: it needs no download.
    """
    if settings is not None:
        settings["debug"] = debug
    if not debug:
        _quiet_tensorflow()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: as in ``sys.argv[1:]``, which is the default.
    """
    settings = {"debug": False}
    try:
        code = cli.main(
            list(arguments) if arguments is not None else None,
            prog_name="fakeclf",
            standalone_mode=False,
            obj=settings,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        _complain("stopped by Ctrl-C")
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python flushes stdout once more at exit: give it somewhere to go.
        _discard_stdout()
        return 1
    except Exception as error:
        if settings["debug"]:
            raise
        _complain(_in_one_line(error))
        if isinstance(error, OSError):
            _discard_stdout()
        return 1


def _in_one_line(error: Exception) -> str:
    kind, message = type(error).__name__, " ".join(str(error).splitlines())
    if isinstance(error, FakeclfError):
        return f"error: {message}"
    if isinstance(error, OSError) and error.strerror:
        return f"error: {error.strerror.lower()}" + (f": {error.filename}" if error.filename else "")
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return "error: out of memory; try a smaller batch (--set batch_size=8) or input (--set input_size=N)"
    return f"error: {kind}: {message[:300]} (unexpected; `fakeclf --debug ...` shows where)"


def _complain(line: str) -> None:
    click.echo(line, err=True)


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _quiet_tensorflow() -> None:
    # Level 3 leaves only fatal lines of the C++ part; what matters there also arrives as a Python exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
