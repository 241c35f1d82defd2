"""A search over a Ray cluster of this machine: its files are the local engine's, and a killed one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fakeclf
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.training.tuning import tune

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'fakeclf[ray]'")

SEARCH = {
    "optimizer.learning_rate": {"loguniform": [1e-4, 1e-1]},
    "batch_size": {"quniform": [16, 64, 16]},
    "model_args.members": {"choice": [["a", "b"], ["a", "b", "c"], None]},
}
# Ray's workers step back for all others unless told not to: on a busy machine they would take minutes to start.
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
ROOT = Path(fakeclf.__file__).parent.parent

# What runs in a process of its own, as a user's would. Of what is begun, the second fails, the third takes its worker
# along, and from the fifth on each waits until ``hold`` is gone.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
import ray
from fakeclf.config import Recipe
from fakeclf.training.ray_tuning import ray_tune

run, hold, trials, search = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])

def objective(recipe, folder):
    with open(run.parent / "evaluated.txt", "a") as file:
        file.write(f"{recipe.optimizer.learning_rate!r}\\n")
    begun = len((run.parent / "evaluated.txt").read_text().splitlines())
    if begun == 2:
        raise ValueError("no such layer")
    if begun == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    while hold.exists() and begun > 4:
        time.sleep(0.05)
    (folder / "weights").write_text("")
    return recipe.optimizer.learning_rate

ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000
)
found = ray_tune(Recipe(search=search), objective, run, trials=trials, seed=3)
print(json.dumps([found.best, found.trials]))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """``start(trials)`` begins the search in a process of its own; none of Ray's is left at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **RAY}
    started: list[subprocess.Popen[str]] = []

    def begin(trials: int) -> subprocess.Popen[str]:
        arguments = [str(tmp_path / "run"), str(tmp_path / "hold"), str(trials), json.dumps(SEARCH)]
        command = [sys.executable, "-c", SCRIPT, *arguments]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    deadline = time.monotonic() + 60
    while left := [each for process in started for each in of_session(process.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def of_session(leader: int) -> list[str]:
    """Command lines of the living processes that descend from a session's leader."""
    listing = subprocess.run(["ps", "-eo", "sid,stat,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listing.splitlines()[1:]]
    return [args for sid, stat, args in rows if int(sid) == leader and not stat.startswith("Z")]


def test_a_killed_search_goes_on_without_its_finished_trials(start: Any, tmp_path: Path) -> None:
    run, journal, log = tmp_path / "run", tmp_path / "run/trials.jsonl", tmp_path / "evaluated.txt"
    (tmp_path / "hold").touch()
    first = start(5)
    deadline = time.monotonic() + 200
    # Begun so far: one ends well, one fails, one takes its worker along and comes again, another, and the last waits.
    while not (journal.is_file() and len(lines(journal)) == 1 + 3 and len(lines(log)) == 5):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before, begun = lines(journal), lines(log)
    assert begun.count(begun[2]) == 2
    assert len(list((run / "trials").glob("running-*"))) == 1
    (tmp_path / "hold").unlink()

    printed, _ = start(5).communicate(timeout=200)
    best, trials = json.loads(printed.splitlines()[-1])
    assert lines(journal)[: len(before)] == before and len(lines(journal)) == 1 + 5
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4, 5]
    assert [trial["reason"] for trial in trials] == [None, "ValueError: no such layer", None, None, None]
    rates = [repr(trial["params"]["optimizer.learning_rate"]) for trial in trials]
    assert lines(log) == begun + rates[3:] and len(set(rates)) == 5
    assert best == min((trial for trial in trials if trial["loss"]), key=lambda trial: trial["loss"])["params"]
    assert sorted(path.name for path in (run / "trials").iterdir()) == [f"{number:04d}" for number in range(1, 6)]
    assert (run / "trials/0004/weights").is_file() and not (run / "ray").exists()
    assert len(lines(run / "trials.txt")) == 1 + 5 + 1
    assert (run / "trials.png").read_bytes().startswith(b"\x89PNG")

    # The journal is the local engine's, too.
    search = tune(Recipe(search=SEARCH), lambda recipe, folder: 0.5, run, trials=6, seed=3, say=lambda line: None)
    assert search.trials[:5] == trials and search.trials[5]["loss"] == 0.5


def test_without_ray_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fakeclf.training.ray_tuning import ray_tune

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FakeclfError, match=r"pip install 'fakeclf\[ray\]'"):
        ray_tune(Recipe(search=SEARCH), lambda recipe, folder: 0.0, tmp_path, trials=1)
