"""``fakeclf detect`` over a folder of 200 mixed pictures: every one with its line, in memory that does not grow.

    python benchmarks/mixed_folder.py [--pictures 200]

The folder holds good pictures of many sizes and formats, broken ones, huge and tiny ones, animations, CMYK, 16 bits,
transparency and turned ones, made from the photographs that scikit-image brings. Prints what came of each kind, and the
memory after each quarter of the run.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from skimage import data

HUGE = (6000, 4000)


def make(folder: Path, number: int) -> dict[str, str]:
    """Write so many pictures; returns the kind of each by name."""
    photographs = [Image.fromarray(load()) for load in (data.astronaut, data.coffee, data.chelsea)]
    random = np.random.default_rng(0)

    def some() -> Image.Image:
        picture = photographs[random.integers(len(photographs))]
        factor = random.uniform(0.3, 1.0)
        return picture.resize((int(picture.width * factor), int(picture.height * factor)))

    def turned(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        some().save(path, exif=exif)

    def cut(path: Path) -> None:
        some().save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    kinds: dict[str, tuple[str, Callable[[Path], object]]] = {
        "JPEG": (".jpg", lambda path: some().save(path, quality=int(random.integers(50, 98)))),
        "PNG": (".png", lambda path: some().save(path)),
        "WebP": (".webp", lambda path: some().save(path, quality=80)),
        "grey": (".jpg", lambda path: some().convert("L").save(path)),
        "CMYK": (".jpg", lambda path: some().convert("CMYK").save(path)),
        "turned": (".jpg", turned),
        "animated": (".gif", lambda path: some().save(path, save_all=True, append_images=[some()])),
        "transparent": (".png", lambda path: some().convert("RGBA").save(path)),
        "16 bits": (".png", lambda path: Image.new("I;16", (200, 150), 40_000).save(path)),
        "tiny": (".png", lambda path: some().resize((3, 2)).save(path)),
        "cut short": (".jpg", cut),
        "empty": (".png", lambda path: path.write_bytes(b"")),
        "no picture": (".jpg", lambda path: path.write_text("no picture")),
    }
    made = {}
    for place in range(number):
        kind = "huge" if place in (number // 3, 2 * number // 3) else list(kinds)[place % len(kinds)]
        path = folder / f"{place:03}"
        if kind == "huge":
            path = path.with_suffix(".jpg")
            photographs[0].resize(HUGE).save(path, quality=90)
        else:
            path = path.with_suffix(kinds[kind][0])
            kinds[kind][1](path)
        made[path.name] = kind
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    number = parser.parse_args().pictures
    from fakeclf.detection_run import DetectionRun

    process = psutil.Process(os.getpid())
    with tempfile.TemporaryDirectory() as folder:
        pictures, out = Path(folder) / "pictures", Path(folder) / "out"
        pictures.mkdir()
        made = make(pictures, number)
        came: Counter[tuple[str, str]] = Counter()
        with DetectionRun([pictures], out=out) as run:
            for place, verdict in enumerate(run, 1):
                came[made[Path(verdict.path or "").name], verdict.verdict or "error"] += 1
                if place % max(1, number // 4) == 0:
                    gc.collect()
                    print(f"after {place} of {run.total}: {process.memory_info().rss / 2**20:,.0f} MiB")
        lines = len((out / "verdicts.jsonl").read_text().splitlines())
    print(f"{lines} lines for {number} pictures, {run.failed} of them with an error\n")
    for (kind, verdict), times in sorted(came.items()):
        print(f"{kind:12} {verdict:12} {times:4}")


if __name__ == "__main__":
    main()
