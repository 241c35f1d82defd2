"""Training steps of DenseNet121 with and without the fused batch norm, in float32 and bfloat16, alternating.

python benchmarks/batch_norm.py [--size 32] [--stem half] [--batch 128] [--rounds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable

from machine import machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def stepper(policy: str, fused: bool, size: int, stem: str, batch: int) -> Callable[[], float]:
    """A function that does one training step and returns its seconds."""
    import numpy as np

    from fakeclf.config import Recipe
    from fakeclf.models import densenet
    from fakeclf.training.batch_norm import fused_batch_norm
    from fakeclf.training.trainer import compile_model, with_policy

    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (batch, size, size, 3)).astype("float32")
    labels = random.integers(0, 2, (batch, 1)).astype("float32")
    model = with_policy(policy, lambda: densenet.build(size, stem=stem, head="pool"))
    compile_model(model, Recipe(), 1)
    with fused_batch_norm(model) if fused else contextlib.nullcontext():
        model.train_on_batch(pictures, labels)  # traced here, with the kernel or without

    def step() -> float:
        started = time.perf_counter()
        model.train_on_batch(pictures, labels)
        return time.perf_counter() - started

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--stem", default="half")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sides = {
        "float32, Keras": ("float32", False),
        "float32, fused": ("float32", True),
        "bfloat16, Keras": ("mixed_bfloat16", False),
        "bfloat16, fused": ("mixed_bfloat16", True),
    }
    steps = {
        name: stepper(policy, fused, arguments.size, arguments.stem, arguments.batch)
        for name, (policy, fused) in sides.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            seconds[name].append(step())
    print(f"DenseNet121 at {arguments.size} px, stem {arguments.stem}, batch {arguments.batch}, {machine()}")
    base = statistics.median(seconds["float32, Keras"])
    for name, values in seconds.items():
        pace = statistics.median(values)
        print(f"{name:18}{arguments.batch / pace:8.0f} pictures a second{base / pace:8.2f} times")


if __name__ == "__main__":
    main()
