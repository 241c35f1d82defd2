"""How long a user waits for the first verdict: a cold `fakeclf detect photo.jpg` against a bare `import tensorflow`.

    python benchmarks/first_verdict.py [--rounds 5] [--side 1000] [--models NAME,NAME]

A photograph of about one megapixel is made on the spot. Each round starts every command once, one after the other, each
in a process of its own: the import, detect with LiteRT files, detect in Keras (``FAKECLF_LITERT=off``), and
`fakeclf --help`. Detect is timed from the start of its process to its end, its JSON and masks written to a new folder.
Medians of the rounds, after one that is not counted; ratios are of medians. ``cpu`` is processor time, user and system:
what the command costs where other work delays the clock. The table ends with the parts of one detection.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

ROOT = str(Path(__file__).resolve().parents[1])
MAIN = [sys.executable, "-m", "fakeclf.cli.main"]
IMPORT = "import tensorflow"

PARTS = """
import json, sys, time
start = time.perf_counter()
parts = {}
from fakeclf import runtime, detection, images, provenance, traces
from fakeclf.cli.main import main
from fakeclf.detection_run import DetectionRun
parts["imports"] = time.perf_counter() - start
def timed(where, name, label):
    inner = getattr(where, name)
    def outer(*arguments, **options):
        begin = time.perf_counter()
        try:
            return inner(*arguments, **options)
        finally:
            parts[label] = parts.get(label, 0.0) + time.perf_counter() - begin
            parts.setdefault(label + " calls", 0)
            parts[label + " calls"] += 1
    setattr(where, name, outer)
timed(runtime.Program, "__call__", "networks")
timed(traces, "read", "traces")
timed(provenance, "read", "metadata")
timed(images, "read", "decoding")
timed(images, "save", "writing PNG")
main(["detect", *sys.argv[1:], "--json"])
parts["all"] = time.perf_counter() - start
print(json.dumps(parts))
"""


def once(command: list[str], litert: bool = True) -> tuple[float, float]:
    """Seconds by the clock and of processor time that a command takes."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["FAKECLF_LITERT"] = "on" if litert else "off"
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def photograph(path: Path, side: int) -> None:
    """A JPEG of the astronaut that scikit-image brings, ``side`` pixels a side."""
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).resize((side, side), Image.Resampling.LANCZOS).save(path, quality=92)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--models", help="bundles to ask; default: those of `fakeclf detect`")
    options = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photograph(photo, options.side)
        asked = [str(photo), *(["--models", options.models] if options.models else [])]
        for number in range(options.rounds + 1):
            commands = {
                IMPORT: ([sys.executable, "-c", IMPORT], True),
                "detect, LiteRT": ([*MAIN, "detect", *asked, "--out", f"{folder}/litert{number}"], True),
                "detect, Keras": ([*MAIN, "detect", *asked, "--out", f"{folder}/keras{number}"], False),
                "--help": ([*MAIN, "--help"], True),
            }
            for name, (command, litert) in commands.items():
                figures = once(command, litert)
                if number:
                    taken.setdefault(name, []).append(figures)
        command = [sys.executable, "-c", PARTS, *asked, "--out", f"{folder}/parts"]
        told = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
        )
        parts = json.loads(told.stdout.splitlines()[-1])
    print(f"JPEG of {options.side} x {options.side}, {options.rounds} rounds; {machine()}\n")
    print("| | seconds | of the import | cpu seconds | of the import |")
    print("| --- | --- | --- | --- | --- |")
    base = _medians(taken[IMPORT])
    for name, pairs in taken.items():
        clock, cpu = _medians(pairs)
        print(f"| {name} | {clock:.2f} | {clock / base[0]:.2f} | {cpu:.2f} | {cpu / base[1]:.2f} |")
    calls = {name.removesuffix(" calls"): parts.pop(name) for name in list(parts) if name.endswith(" calls")}
    print("\nOne detection in LiteRT, parts in seconds:")
    for name, seconds in parts.items():
        print(f"- {name}: {seconds:.2f}" + (f" ({calls[name]} calls)" if name in calls else ""))


def _medians(figures: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(clock for clock, _ in figures), statistics.median(cpu for _, cpu in figures)


if __name__ == "__main__":
    main()
