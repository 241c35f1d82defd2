"""Seconds, multiply-adds and peak memory of every localizer at 256x256, for a training step and for inference.

    python benchmarks/localizers.py [--model NAME ...] [--width 1.0] [--batch 1] [--rounds 5] [--size 256]

Each localizer runs in a process of its own, so that peak memory is its own; the training step is forward, backward and
Adam on ``--batch`` pictures in float32. Seconds are medians of the rounds, without the first call.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from machine import machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def multiply_adds(model: Any, size: int) -> int:
    """Multiply-adds of one picture of ``size`` x ``size``: half of the operations TensorFlow counts in the graph."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
    from tensorflow.python.profiler.model_analyzer import profile
    from tensorflow.python.profiler.option_builder import ProfileOptionBuilder

    call = tf.function(lambda x: model(x, training=False))
    frozen = convert_variables_to_constants_v2(
        call.get_concrete_function(tf.TensorSpec((1, size, size, 3), tf.float32))
    )
    options = {**ProfileOptionBuilder.float_operation(), "output": "none"}
    return int(profile(frozen.graph, options=options).total_float_ops) // 2


def median_seconds(call: Any, rounds: int) -> float:
    call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(name: str, what: str, width: float, batch: int, rounds: int, size: int) -> dict[str, float]:
    import keras
    import numpy as np
    import tensorflow as tf

    from fakeclf import registry
    from segmentation.training.objective import objective

    spec = registry.model(name)
    model = spec.build(size, width=width)
    pictures = np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)).astype("float32")
    made: dict[str, float] = {"parameters": model.count_params()}
    if what == "inference":
        one = tf.constant(pictures[:1])
        call = tf.function(lambda x: model(x, training=False))
        made["seconds"] = median_seconds(lambda: call(one)["mask"].numpy(), rounds)
        made["peak"] = _peak()
        made["multiply_adds"] = multiply_adds(model, size)
        return made
    mask = (pictures[..., :1] > 128).astype("float32")
    targets = {"mask": mask, "edge": mask, "score": np.ones((batch, 1), "float32")}
    targets = {key: targets[key] for key in model.output_names}
    model.compile(keras.optimizers.Adam(1e-4), jit_compile=False, **objective(spec.loss, model.output_names))
    made["seconds"] = median_seconds(lambda: model.train_on_batch(pictures, targets), rounds)
    made["peak"] = _peak()
    return made


def _peak() -> float:
    """Largest memory this process has held, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    from fakeclf import registry

    names = [spec.name for spec in registry.models("localizer")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=names, metavar="NAME")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "WHAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.width, options.batch, options.rounds, options.size)))
        return
    print(
        f"{options.size}x{options.size}, width {options.width}, training batch {options.batch}, float32; {machine()}\n"
    )
    print("| localizer | parameters | multiply-adds | inference | peak | training step | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.model or names:
        found = [_alone(name, what, options) for what in ("inference", "training")]
        if isinstance(found[0], str):
            print(f"| {name} | {found[0]} |")
            continue
        row = [name, f"{found[0]['parameters'] / 1e6:.2f} M", f"{found[0]['multiply_adds'] / 1e9:.2f} G"]
        for each in found:
            row += [each] * 2 if isinstance(each, str) else [f"{each['seconds']:.2f} s", f"{each['peak']:.1f} GiB"]
        print("| " + " | ".join(row) + " |", flush=True)


def _alone(name: str, what: str, options: argparse.Namespace) -> Any:
    """The measured figures, or in a few words what became of the process."""
    passed = [f"--{key}={getattr(options, key)}" for key in ("width", "batch", "rounds", "size")]
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, what, *passed], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return "out of memory" if done.returncode < 0 else done.stderr.strip().splitlines()[-1][:80]
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
