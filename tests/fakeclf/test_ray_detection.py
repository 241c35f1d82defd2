"""A folder over a Ray cluster of this machine, two workers: one line a picture, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakeclf import images
from fakeclf.detection import Settings
from fakeclf.detection_run import DetectionRun
from fakeclf.voters import Voter
from tests.fakeclf.voting import brightness, classifier, localizer

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'fakeclf[ray]'")

POISON = 255
"""Level of a picture that kills whoever looks at it."""
QUICK = Settings(stability=False)


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A head without processors and two machines of one processor each; all their processes end with the tests."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    # Ray's workers step back for all others unless told not to: on a busy machine they would take minutes to start.
    for name, value in {"USAGE_STATS_ENABLED": "0", "AUTH_MODE": "disabled", "worker_niceness": "0"}.items():
        patch.setenv(f"RAY_{name}", value)
    memory = {"object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
    nodes = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    session = Path(cluster.head_node.get_session_dir_path()).name
    assert processes(session)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()
    patch.undo()
    deadline = time.monotonic() + 30
    while left := processes(session):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def processes(session: str) -> list[str]:
    """Command lines of the living processes of a cluster."""
    listing = subprocess.run(["ps", "-eww", "-o", "stat,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=1) for line in listing.splitlines()[1:]]
    return [args for stat, args in rows if session in args and stat[0] != "Z"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``photos``: 60 pictures of different levels, and a text; relative paths, as people type them."""
    monkeypatch.chdir(tmp_path)
    for number in range(60):
        put(number, 2 * number)
    Path("photos/text.png").write_text("no picture")
    return tmp_path


def put(number: int, level: int) -> None:
    images.save(Path(f"photos/{number:02d}.png"), np.full((12, 16, 3), level, np.uint8))


def voters(folder: Path) -> list[Voter]:
    """One that leaves a file named after its process, takes its time, and dies of poison; and one that makes masks."""

    def score(pixels: np.ndarray) -> float:
        (folder / f"worker-{os.getpid()}").touch()
        time.sleep(0.05)
        if pixels.min() == POISON:
            (folder / f"worker-{os.getpid()}").rename(folder / f"poisoned-{os.getpid()}")
            os.kill(os.getpid(), signal.SIGKILL)
        return brightness(pixels)

    return [classifier(score), localizer(lambda pixels: pixels.mean(-1) / 255)]


def workers() -> list[int]:
    """Processes that have looked at pictures, the last one last; without those that died of poison."""
    seen = sorted(Path().glob("worker-*"), key=lambda path: path.stat().st_mtime_ns)
    return [int(path.name.partition("-")[2]) for path in seen]


def lines(out: str = "detected") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(out) / "verdicts.jsonl").read_text().splitlines()]


def test_one_line_a_picture_though_a_worker_and_a_machine_are_lost(machines: Any, folder: Path) -> None:
    from fakeclf.ray_detection import ClusterRun

    cluster, nodes = machines
    put(30, POISON)
    arguments: dict[str, Any] = {"models": voters(folder), "settings": QUICK}
    with ClusterRun(["photos", "absent"], **arguments) as run:
        verdicts = []
        for verdict in run:
            verdicts.append(verdict)
            if len(verdicts) == 20:
                os.kill(workers()[-1], signal.SIGKILL)
            if len(verdicts) == 40:
                cluster.remove_node(nodes[1], allow_graceful=False)
        run.write_csv("table.csv")
        assert [each.path for each in run.verdicts()][:3] == [f"photos/{number:02d}.png" for number in range(3)]
    assert len(workers()) >= 2 and list(Path().glob("poisoned-*"))
    assert Counter(line["path"] for line in lines()) == Counter(each.path for each in verdicts)
    assert Counter(each.path for each in verdicts) == Counter([*map(str, Path("photos").iterdir()), "absent"])
    failed = {each.path: each.error for each in verdicts if each.error}
    assert set(failed) == {"photos/30.png", "photos/text.png", "absent"} and run.failed == 3
    assert "no worker came back" in failed["photos/30.png"]
    assert len(Path("table.csv").read_text().splitlines()) == 1 + 62

    # Here and by one process, it is the same.
    put(30, 60)
    with DetectionRun(["photos"], models=arguments["models"], settings=QUICK, out="alone") as alone:
        expected = {each.path: each.to_json() for each in alone}
    times = {"seconds", "mask_path", "binary_path", "overlay_path"}
    for each in verdicts:
        if not each.error:
            assert all(value == expected[each.path][key] for key, value in each.to_json().items() if key not in times)
            assert Path(each.mask_path).read_bytes() == Path(expected[each.path]["mask_path"]).read_bytes()

    # A second run does what failed, what changed and what lost its mask, by the workers that are left.
    put(1, 200)
    Path("detected/photos/02.png.mask.png").unlink()
    with ClusterRun(["photos"], **arguments) as again:
        found = {each.path: each for each in again}
    assert again.reused == 60 - 3 and len(lines()) == 62 + 4 and again.failed == 1
    assert [line["path"] for line in lines()[62:]].count("photos/30.png") == 1
    assert found["photos/01.png"].p_fake > 0.7 and Path("detected/photos/02.png.mask.png").is_file()
