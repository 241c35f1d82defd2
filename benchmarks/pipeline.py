"""Pictures a second of the training pipeline against the 2023 report's own way, in one run, alternating.

    python benchmarks/pipeline.py PICTURES [--size 32] [--seconds 4] [--rounds 5]

PICTURES is a folder with FAKE/ and REAL/. The report's way is Keras' legacy ``ImageDataGenerator.flow_from_directory``;
both sides read the same pictures with the same augmentation (rotation 20, shift 0.1, zoom 0.2, shear 0.2, mirror), 32
a batch. Printed is the median of the rounds, in the first epoch (files are read) and in later ones (ours keeps decoded
pictures in memory where they fit, the generator reads them again).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BATCH = 32


def theirs(folder: Path, size: int) -> Iterator[Any]:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rescale=1 / 255,
        rotation_range=20,
        width_shift_range=0.1,
        height_shift_range=0.1,
        zoom_range=0.2,
        shear_range=0.2,
        horizontal_flip=True,
        fill_mode="nearest",
    )
    return iter(
        generator.flow_from_directory(
            folder, target_size=(size, size), batch_size=BATCH, class_mode="binary", classes=["FAKE", "REAL"], seed=0
        )
    )


def ours(folder: Path, size: int) -> Iterator[Any]:
    from fakeclf.config import Augmentation
    from fakeclf.data.datasets import Example
    from fakeclf.data.pipeline import Pictures, training_batches
    from fakeclf.images import find

    examples = [
        Example(str(path), label, path.stem)
        for label, word in enumerate(("FAKE", "REAL"))
        for path in find(folder / word)
    ]
    data, _ = training_batches(
        Pictures(examples, size), batch_size=BATCH, augmentation=Augmentation(), seed=0, epochs=range(200)
    )
    return iter(data)


def pace(stream: Iterator[Any], seconds: float) -> float:
    """Pictures a second over about ``seconds``."""
    started, pictures = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        pictures += len(next(stream)[0])
    return pictures / spent


def first_epoch(make: Callable[[], Iterator[Any]], count: int) -> float:
    """Pictures a second from opening the folder to the last of ``count`` pictures."""
    started, pictures = time.perf_counter(), 0
    stream = make()
    while pictures < count:
        pictures += len(next(stream)[0])
    return pictures / (time.perf_counter() - started)


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from fakeclf.images import find

    count = len(find(arguments.folder))
    streams = {"ImageDataGenerator": theirs, "fakeclf": ours}
    cold: dict[str, list[float]] = {name: [] for name in streams}
    warm: dict[str, list[float]] = {name: [] for name in streams}
    running = {name: make(arguments.folder, arguments.size) for name, make in streams.items()}
    for _ in range(3):
        for name, make in streams.items():
            cold[name].append(first_epoch(lambda make=make: make(arguments.folder, arguments.size), count - BATCH))
    for stream in running.values():
        first_epoch(lambda stream=stream: stream, count)
    for _ in range(arguments.rounds):
        for name, stream in running.items():
            warm[name].append(pace(stream, arguments.seconds))
    print(f"{count:,} pictures at {arguments.size} px, {machine()}")
    print(f"{'':20}{'first epoch':>14}{'later epochs':>14}   pictures a second")
    for name in streams:
        print(f"{name:20}{statistics.median(cold[name]):14,.0f}{statistics.median(warm[name]):14,.0f}")
    ratio = [
        statistics.median(side["fakeclf"]) / statistics.median(side["ImageDataGenerator"]) for side in (cold, warm)
    ]
    print(f"{'ratio':20}{ratio[0]:14.1f}{ratio[1]:14.1f}")


if __name__ == "__main__":
    main()
