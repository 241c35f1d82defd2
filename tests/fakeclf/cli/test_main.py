"""The front door: help, exit codes, one line for an error, quiet start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from fakeclf.cli.main import COMMANDS, cli, main

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "fakeclf.cli.main"]


def run(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=environment, text=True, stderr=subprocess.PIPE, timeout=120, **options
    )


def test_help_lists_every_command_and_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in listed
        assert main([name, "--help"]) == 0
        command = cli.get_command(click.Context(cli), name)
        for inner in getattr(command, "lazy", {}):
            assert main([name, inner, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_help_needs_few_modules(tmp_path: Path) -> None:
    probe = "import sys; from fakeclf.cli.main import main; main(['--help']); print(len(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # click and the standard library alone come to some 200; NumPy would add 150, Keras thousands.
    assert int(done.stderr) < 320


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from fakeclf import __version__

    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["modles"], "did you mean 'models'?"),
        (["models", "lst"], "did you mean 'list'?"),
        (["frobnicate"], "allowed: data, detect, doctor"),
        (["train", "--modle", "x"], "'--model'"),
        (["train", "--epochs", "no"], "'no' is not a valid integer"),
        (["train", "--epochs", "0"], "x>=1"),
        (["train", "--memory-fraction", "2"], "0<x<=1"),
        (["train", "--strategy", "mirored"], "'mirrored'"),
    ],
)
def test_wrong_usage_exits_2_with_a_hint(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "--model", "densenet12"], "did you mean 'densenet121'?"),
        (["train", "--model", "frobnicate"], "allowed: "),
        (["train", "--recipe", "cifak"], "did you mean 'cifake'?"),
        (["train", "--recipe", "absent.yaml"], "absent.yaml"),
        (["train", "--set", "epchs=3"], "did you mean 'epochs'?"),
        (["train", "--set", "epochs"], "key=value"),
        (["train", "--set", "epochs=many"], "epochs must be a whole number"),
        (["train", "--set", "optimizer.name=adams"], "adam | adamw | sgd"),
        (["models", "show", "absent"], "no saved model 'absent'"),
        (["models", "verify", "absent"], "no saved model 'absent'"),
    ],
)
def test_what_a_user_can_put_right_is_one_line_on_stderr(
    arguments: list[str],
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert hint in err


def test_debug_shows_the_traceback() -> None:
    from fakeclf.errors import FakeclfError

    with pytest.raises(FakeclfError):
        main(["--debug", "train", "--model", "frobnicate"])


def test_a_fault_of_ours_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "saved_models" / "broken"
    broken.mkdir(parents=True)
    (broken / "card.json").write_text("[1]")
    monkeypatch.chdir(tmp_path)
    assert main(["models", "show", "broken"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_tensorflow_is_quiet_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for before, arguments, after in [(None, [], "3"), ("0", [], "0"), (None, ["--debug"], None)]:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
        if before is not None:
            monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", before)
        assert main([*arguments, "models", "verify"]) == 0
        assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == after


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = run("models", "list", cwd=tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: no space left on device\n"


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run("models", "list", cwd=tmp_path, stdout=writing)
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1


def test_ctrl_c_exits_130_with_one_line(tmp_path: Path) -> None:
    # A recipe read from a pipe that nobody writes to: the command waits there, whatever the machine's speed.
    os.mkfifo(tmp_path / "waiting.yaml")
    process = subprocess.Popen(
        [*COMMAND, "train", "--recipe", "waiting.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with open(tmp_path / "waiting.yaml", "w"):  # opens as soon as the command reads
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "stopped by Ctrl-C"
