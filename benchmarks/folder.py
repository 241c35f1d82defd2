"""A folder of pictures, end to end: `fakeclf detect` against a plain loop of decode, `model.predict` and write.

    python benchmarks/folder.py [--pictures 1000] [--side 256] [--rounds 3] [--model NAME ...]

The pictures are made on the spot: crops of scikit-image's photographs with a little noise, JPEG 95. Each round takes
every way once, one after the other, each in a process of its own, on an equal share of the pictures:

- ``Keras loop``: for each file decode, ``model.predict``, write: a line of JSON, and a localizer's mask as PNG;
- ``PyTorch loop``: the same network, Keras on PyTorch, called eagerly (where torch is installed);
- ``detect --quick``: a verdict a picture with its traces of compression, metadata, log, masks and overlays;
- ``detect``: the same, with each verdict tried again on two changed copies: three looks a picture.

Seconds run from the first picture to the last; imports, models and the first five pictures are left out on all sides.
Printed are medians of the rounds, and the share of the machine's peak that the networks alone reach in them:
multiply-adds a picture times pictures a second against a large matrix product, taken in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("regenerated", "localizer")
WAYS = ("Keras loop", "PyTorch loop", "detect --quick", "detect")
WARM_UP = 5


def make_pictures(folder: Path, count: int, side: int) -> None:
    """JPEG files of random crops; the noise keeps them within reach of networks that look at fine detail."""
    from PIL import Image
    from skimage import data

    random = np.random.default_rng(0)
    photographs = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    folder.mkdir(parents=True)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        room = np.array(photograph.shape[:2]) - side
        if room.min() < 0:
            raise SystemExit(f"--side {side}: the photographs have at least {side - abs(room.min())} pixels a side")
        top, left = random.integers(0, room + 1)
        pixels = photograph[top : top + side, left : left + side] + random.normal(0, 5, (side, side, 3))
        picture = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
        picture.save(folder / f"{number:05d}.jpg", quality=95)


def loop(name: str, folder: Path, out: Path) -> Iterator[None]:
    """The plain loop, in whatever backend Keras has; one step a picture."""
    import keras
    from PIL import Image

    from fakeclf import bundle

    model = bundle.load(name)
    if keras.backend.backend() == "torch":
        import torch

        def predict(batch: np.ndarray) -> Any:
            with torch.inference_mode():
                found = model(batch, training=False)
            as_array = keras.ops.convert_to_numpy
            return {key: as_array(value) for key, value in found.items()} if isinstance(found, dict) else as_array(found)
    else:

        def predict(batch: np.ndarray) -> Any:
            return model.predict(batch, verbose=0)

    out.mkdir(parents=True)
    with open(out / "scores.jsonl", "w", encoding="utf-8") as lines:
        for path in sorted(folder.iterdir()):
            found = predict(np.asarray(Image.open(path).convert("RGB"), np.float32)[np.newaxis])
            if isinstance(found, dict):
                mask = found["mask"][0, ..., 0]
                Image.fromarray(np.rint(mask * 255).astype(np.uint8)).save(out / f"{path.stem}.png")
                score = float(np.sort(mask, axis=None)[-mask.size // 100 :].mean())
            else:
                score = 1.0 - float(found.item())
            lines.write(json.dumps({"path": str(path), "p_fake": score}) + "\n")
            yield


def detection(name: str, folder: Path, out: Path, stability: bool) -> Iterator[None]:
    from fakeclf.detection import Settings
    from fakeclf.detection_run import DetectionRun

    with DetectionRun([folder], models=name, settings=Settings(stability=stability), out=out) as run:
        for verdict in run:
            if verdict.error or any(vote.raw is None for vote in verdict.votes):
                raise SystemExit(f"{verdict.path}: {name} did not look at it: {verdict.error or verdict.votes}")
            yield


def one_way(way: str, name: str, folder: Path, out: Path) -> dict[str, float]:
    """Pictures a second, and the share of all cores' time that was used."""
    steps = loop(name, folder, out) if way.endswith("loop") else detection(name, folder, out, way == "detect")
    for _ in range(WARM_UP):
        next(steps)
    clock, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in steps)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    return {"pace": count / clock, "busy": cpu / clock / len(os.sched_getaffinity(0))}


def apart(*arguments: str | Path, backend: str = "tensorflow") -> dict[str, float] | None:
    """What a process of its own prints last; None, with its last line shown, where it fails."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend}
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet)
    if done.returncode:
        print(f"{' '.join(map(str, arguments[:2]))}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000, help="in all rounds together, a way")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", action="append", help=f"default: {', '.join(MODELS)}")
    parser.add_argument("--way", action="append", choices=WAYS, help="default: all")
    parser.add_argument("--child", nargs=4, metavar=("WAY", "MODEL", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, name, folder, out = options.child
        print(json.dumps(one_way(way, name, Path(folder), Path(out))))
        return
    models, ways = options.model or list(MODELS), options.way or list(WAYS)
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "pictures")
        make_pictures(folder, max(1, options.pictures // options.rounds) + WARM_UP, options.side)
        for number in range(options.rounds):
            for name in models:
                for way in ways:
                    backend = "torch" if way == "PyTorch loop" else "tensorflow"
                    out = Path(home, f"{name}-{WAYS.index(way)}-{number}")
                    found = apart(way, name, folder, out, backend=backend)
                    if found is not None:
                        taken.setdefault((name, way), []).append(found)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{options.pictures} pictures of {options.side} px, {options.rounds} rounds; {_machine()}, load {load}\n")
    print("| model | way | pictures a second | of the Keras loop | cores busy |")
    print("| --- | --- | --- | --- | --- |")
    for (name, way), figures in taken.items():
        pace = statistics.median(each["pace"] for each in figures)
        base = statistics.median(each["pace"] for each in taken.get((name, WAYS[0]), figures))
        busy = statistics.median(each["busy"] for each in figures)
        print(f"| {name} | {way} | {pace:.1f} | {pace / base:.2f} | {busy:.0%} |")


def _machine() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return f"{len(models)} x {models[0] if models else platform.processor()}"


if __name__ == "__main__":
    main()
