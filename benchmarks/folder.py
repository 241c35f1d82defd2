"""A folder of pictures, end to end: `fakeclf detect` against a plain loop of decode, `model.predict` and write.

    python benchmarks/folder.py [--pictures 1000] [--side 256] [--rounds 3] [--model NAME ...]

The pictures are made on the spot: crops of scikit-image's photographs with a little noise, JPEG 95. Each round takes
every way once, one after the other, each in a process of its own, on an equal share of the pictures:

- ``Keras loop``: for each file decode, ``model.predict``, write: a line of JSON, and a localizer's mask as PNG;
- ``PyTorch loop``: the same network, Keras on PyTorch, called eagerly (where torch is installed);
- ``detect --quick``: a verdict a picture with its traces of compression, metadata, log, masks and overlays;
- ``detect``: the same, with each verdict tried again on two changed copies: three looks a picture.

Seconds run from the first picture to the last; imports, models and the first five pictures are left out on all sides.
Printed are medians of the rounds; "of the peak" is a network's multiply-adds a picture times pictures a second, two
operations each, against a large matrix product in NumPy, taken in the same rounds. The second table says where the time
of ``detect --quick`` goes: milliseconds a picture of each part, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("regenerated", "localizer")
WAYS = ("Keras loop", "PyTorch loop", "detect --quick", "detect")
WARM_UP = 5
PRODUCT = 3000  # side of the matrices


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
            return (
                {key: as_array(value) for key, value in found.items()} if isinstance(found, dict) else as_array(found)
            )
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


def parts(name: str, folder: Path, out: Path) -> dict[str, float]:
    """Milliseconds a picture of each part of ``detect --quick``, everything on one core."""
    from threadpoolctl import threadpool_limits

    from fakeclf import detection, images, provenance, runtime, traces, verdict_log
    from fakeclf.detection_run import DetectionRun
    from fakeclf.voters import open_voters
    from segmentation import overlay

    spent: dict[str, float] = defaultdict(float)
    measured = (
        (detection, "read_file", "reading the file"),
        (images, "read", "decoding"),
        (traces, "read", "traces of compression"),
        (runtime, "fit", "fitting to the network"),
        (runtime.Program, "__call__", "network"),
        (overlay, "overlay", "drawing the overlay"),
        (images, "save", "writing PNG"),
        (provenance, "read", "metadata"),
        (verdict_log.VerdictLog, "add", "log"),
    )

    def timed(where: Any, function: str, label: str) -> None:
        inner = getattr(where, function)

        def outer(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return inner(*arguments, **options)
            finally:
                spent[label] += time.perf_counter() - start

        setattr(where, function, outer)

    for about in measured:
        timed(*about)
    settings = detection.Settings(stability=False)
    with (
        threadpool_limits(1),
        DetectionRun([folder], models=open_voters(name, threads=1), settings=settings, out=out) as run,
    ):
        steps = iter(run)
        for _ in range(WARM_UP):
            next(steps)
        spent.clear()
        start = time.perf_counter()
        count = sum(1 for _ in steps)
        whole = time.perf_counter() - start
    spent["everything else"] = whole - sum(spent.values())
    return {label: 1000 * seconds / count for label, seconds in spent.items()}


def work_and_peak(name: str, side: int) -> dict[str, float]:
    """Operations a picture of a network, and operations a second of the machine."""
    left, right = np.random.default_rng(0).random((2, PRODUCT, PRODUCT), np.float32)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        left @ right
        best = max(best, 2 * PRODUCT**3 / (time.perf_counter() - start))
    from localizers import multiply_adds

    from fakeclf import bundle

    return {"work": 2 * multiply_adds(bundle.load(name), side), "peak": best}


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
        if way == "peak":
            print(json.dumps(work_and_peak(name, options.side)))
        elif way == "parts":
            print(json.dumps(parts(name, Path(folder), Path(out))))
        else:
            print(json.dumps(one_way(way, name, Path(folder), Path(out))))
        return
    models, ways = options.model or list(MODELS), options.way or list(WAYS)
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "pictures")
        make_pictures(folder, max(1, options.pictures // options.rounds) + WARM_UP, options.side)
        for number in range(options.rounds):
            for name in models:
                for way in [*ways, "peak", "parts"]:
                    backend = "torch" if way == "PyTorch loop" else "tensorflow"
                    out = Path(home, f"{name}-{way.replace(' ', '')}-{number}")
                    found = apart(way, name, folder, out, f"--side={options.side}", backend=backend)
                    if found is not None:
                        taken.setdefault((name, way), []).append(found)
    print(f"{options.pictures} pictures of {options.side} px, {options.rounds} rounds; {machine()}\n")
    middle = {
        about: {key: statistics.median(each.get(key, 0.0) for each in figures) for key in figures[0]}
        for about, figures in taken.items()
    }
    print("| model | way | pictures a second | of the Keras loop | cores busy | of the peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (name, way), found in middle.items():
        if way in WAYS:
            base, limit = middle.get((name, WAYS[0]), found)["pace"], middle[name, "peak"]
            looks = found["pace"] * limit["work"] / limit["peak"]
            share = f"{looks:.0%}" if way != "detect" else ""  # how often it looks again depends on the verdict
            print(
                f"| {name} | {way} | {found['pace']:.1f} | {found['pace'] / base:.2f} | {found['busy']:.0%} | {share} |"
            )
    for name in models:
        limit, spent = middle[name, "peak"], middle[name, "parts"]
        print(
            f"\n{name}: {limit['work'] / 2e9:.2f} G multiply-adds a picture; peak {limit['peak'] / 1e9:.0f} GFLOP/s\n"
        )
        print("| part of `detect --quick`, one core | ms a picture | share |\n| --- | --- | --- |")
        for label, milliseconds in sorted(spent.items(), key=lambda each: -each[1]):
            print(f"| {label} | {milliseconds:.2f} | {milliseconds / sum(spent.values()):.1%} |")


if __name__ == "__main__":
    main()
