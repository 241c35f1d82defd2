"""Memory of `fakeclf detect`: pictures of 24 and 100 megapixels through tiles, and a folder of thousands.

    python benchmarks/memory.py [--megapixels 24 100] [--pictures 5000] [--models NAME,NAME]

Large pictures are scikit-image's astronaut, enlarged, with noise, as JPEG; each is looked at by a process of its own,
``fakeclf detect`` as typed, and printed is the highest resident memory of that process (the kernel's VmHWM) and its
seconds. The folder holds pictures of 160 to 320 pixels a side, every one different, and is looked at as with --quick;
printed is the resident memory after each tenth of the run, all cores at work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine

ROOT = Path(__file__).resolve().parents[1]
PARTS = 10

DETECT = """
import sys
from fakeclf.cli.main import main
code = main(["detect", *sys.argv[1:]])
high = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, high)
"""


def enlarged(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a picture of that many megapixels, 3:2; returns its width and height."""
    from PIL import Image
    from skimage import data

    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(1.5 * height)
    picture = np.asarray(Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.BICUBIC))
    random = np.random.default_rng(0)
    noisy = np.empty_like(picture)
    for top in range(0, height, 512):  # in strips, for this process counts as well on a small machine
        strip = picture[top : top + 512]
        noisy[top : top + 512] = np.clip(strip + random.normal(0, 3, strip.shape), 0, 255)
    Image.fromarray(noisy).save(path, quality=97)
    return width, height


def many(folder: Path, count: int) -> None:
    """Write pictures of many sizes, every one different."""
    from PIL import Image
    from skimage import data

    random = np.random.default_rng(0)
    photographs = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    folder.mkdir()
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        height, width = (int(random.integers(160, min(320, side) + 1)) for side in photograph.shape[:2])
        top, left = (
            int(random.integers(0, room + 1)) for room in (photograph.shape[0] - height, photograph.shape[1] - width)
        )
        picture = Image.fromarray(photograph[top : top + height, left : left + width])
        picture.save(folder / f"{number:05d}.jpg", quality=int(random.integers(85, 99)))


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="*", default=[24, 100])
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--models", help="bundles to ask; default: those of `fakeclf detect`")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as home:
        print(f"{machine()}\n")
        if options.megapixels:
            print("| picture | highest MiB | seconds | verdict |\n| --- | --- | --- | --- |")
            for megapixels in options.megapixels:
                print(large(Path(home), megapixels, options.models), flush=True)
        if options.pictures:
            print()
            folder_of(Path(home), options.pictures, options.models)


def large(home: Path, megapixels: float, models: str | None) -> str:
    path, out = home / f"{megapixels:g}.jpg", home / f"out{megapixels:g}"
    width, height = enlarged(path, megapixels)
    command = [sys.executable, "-c", DETECT, str(path), "--out", str(out), *(["--models", models] if models else [])]
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    seconds = time.perf_counter() - start
    code, high = map(int, done.stdout.split()[-2:])
    (line,) = (out / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    if code:
        raise SystemExit(line)
    return f"| {width} x {height} | {high / 1024:,.0f} | {seconds:.1f} | {json.loads(line)['verdict']} |"


def folder_of(home: Path, count: int, models: str | None) -> None:
    from fakeclf.detection import Settings
    from fakeclf.detection_run import DetectionRun

    many(home / "many", count)
    print(f"{count} pictures of 160 to 320 px a side\n")
    print("| pictures | MiB | seconds |\n| --- | --- | --- |", flush=True)
    start = time.perf_counter()
    with DetectionRun([home / "many"], models=models, settings=Settings(stability=False), out=home / "out") as run:
        for number, verdict in enumerate(run, 1):
            if verdict.error:
                raise SystemExit(verdict.error)
            if number % max(1, count // PARTS) == 0:
                print(f"| {number} | {resident():,.0f} | {time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
