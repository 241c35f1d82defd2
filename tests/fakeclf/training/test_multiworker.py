"""Two workers on this machine, one killed: the other stops and says why, and the same commands go on."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakeclf.errors import FakeclfError
from fakeclf.training.multiworker import losses_named

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # noqa: E402

BOUND = 120
"""Seconds within which the other has stopped; 5 to 15 on two busy cores."""


def started(pictures: Path, run: Path, epochs: int, slow: float) -> list[subprocess.Popen[str]]:
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    command = [sys.executable, tiny.__file__, str(pictures), str(run), "strategy=multiworker", f"slow={slow}"]
    return [
        subprocess.Popen(
            [*command, f"epochs={epochs}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
            },
        )
        for index in range(2)
    ]


def epochs_done(run: Path) -> int:
    return json.loads((run / "resume.json").read_text())["epoch"] if (run / "resume.json").is_file() else 0


@pytest.mark.parametrize("lost", [0, 1], ids=["the one that writes", "the other"])
def test_one_worker_is_killed(lost: int, tmp_path: Path) -> None:
    pictures, run = tiny.make_pictures(tmp_path / "pictures", count=40), tmp_path / "run"
    workers = started(pictures, run, epochs=500, slow=0.2)
    try:
        deadline = time.monotonic() + 300
        while epochs_done(run) < 2:
            assert all(worker.poll() is None for worker in workers) and time.monotonic() < deadline
            time.sleep(0.1)
        workers[lost].send_signal(signal.SIGKILL)
        output, _ = workers[1 - lost].communicate(timeout=BOUND)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert workers[1 - lost].returncode == 1
    assert output.splitlines()[-1].startswith("fakeclf.errors.FakeclfError: another worker of this training ended")

    before = epochs_done(run)
    workers = started(pictures, run, epochs=before + 1, slow=0)
    try:
        outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert "epoch 1:" not in outputs[0] and f"epoch {before + 1}:" in outputs[0]
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, before + 2))


def test_other_errors_keep_their_names() -> None:
    import tensorflow as tf

    with pytest.raises(FakeclfError, match="start all workers again"), losses_named():
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted by: connection refused")
    with pytest.raises(tf.errors.InvalidArgumentError), losses_named():
        raise tf.errors.InvalidArgumentError(None, None, "a shape")
