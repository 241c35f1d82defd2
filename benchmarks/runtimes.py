"""Pictures a second of the shipped networks, one picture a call, in every runtime they can run in.

    python benchmarks/runtimes.py [--model NAME ...] [--size 256] [--rounds 5] [--seconds 0.3]

Photographs of ``--size`` x ``--size`` px are made on the spot. All ways of running one network take turns, about
``--seconds`` of each a round, and medians of the rounds are printed, after calls that are not counted. "Side by side"
is as many threads as there are cores, each with a one-thread interpreter of its own; all else is called from one
thread. LiteRT runs the bundle's own file, ONNX Runtime what `fakeclf models export` makes of it, and PyTorch the same
Keras model, layer by layer, in a process of its own that sleeps when it is not its turn. Largest differences are those
of a probability, or of a pixel of a mask, from ``model.predict`` on the photographs.

The machine's peak is that of a float32 product of two large matrices on all cores, in the same rounds, by NumPy or
TensorFlow, whichever is faster. "Of the peak" counts what a network's multiply-adds alone ask for, two operations each.
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from localizers import multiply_adds
from machine import cores, machine

MODELS = ["cifake-robust", "regenerated", "ensemble", "localizer"]  # cifake is the first once more, trained otherwise
SIDE = 2048  # of the matrices that measure the peak

Network = Callable[[np.ndarray], np.ndarray]
"""From one picture, uint8 (h, w, 3), to P(REAL) or P(inpainted) of each pixel, flat."""
Way = Callable[[int], float]
"""From a number of pictures to the seconds they take."""


def photographs(size: int) -> list[np.ndarray]:
    """Those that scikit-image brings, uint8 (size, size, 3), as they are and turned."""
    from PIL import Image
    from skimage import data

    resized = [
        np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))
        for picture in (data.astronaut(), data.chelsea(), data.coffee())
    ]
    return [np.ascontiguousarray(np.rot90(picture, turns)) for turns in (0, 2) for picture in resized]


def answers_of(network: Network, pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack([network(picture) for picture in pictures])


def one_by_one(network: Network, pictures: list[np.ndarray]) -> Way:
    def run(count: int) -> float:
        start = time.perf_counter()
        for number in range(count):
            network(pictures[number % len(pictures)])
        return time.perf_counter() - start

    return run


def side_by_side(networks: list[Network], pictures: list[np.ndarray], pool: ThreadPoolExecutor) -> Way:
    """Each network in a thread of its own; the pictures are dealt out evenly."""
    alone = [one_by_one(network, pictures) for network in networks]

    def run(count: int) -> float:
        start = time.perf_counter()
        list(pool.map(lambda way, share: way(share), alone, _shares(count, len(alone))))
        return time.perf_counter() - start

    return run


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (part < count % parts) for part in range(parts)]


def in_tensorflow(model: Any) -> dict[str, Network]:
    import tensorflow as tf

    compiled = tf.function(
        lambda batch: model(batch, training=False), input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)]
    )
    return {
        "`model.predict`": lambda picture: flat(model.predict(as_batch(picture), verbose=0)),
        "`model.predict_on_batch`": lambda picture: flat(model.predict_on_batch(as_batch(picture))),
        "tf.function": lambda picture: flat(compiled(as_batch(picture))),
    }


def in_litert(name: str, threads: int | None) -> Network:
    from fakeclf import bundle, runtime

    folder = bundle.find(name)
    card = bundle.read_card(folder)
    if card.kind != "localizer":
        classifier = runtime.open_classifier(folder, threads=threads)
        if classifier is None:
            raise SystemExit(f"{name} has no LiteRT file, or LiteRT is not installed")
        return lambda picture: np.array([classifier(picture)])
    program = runtime.program_of(folder, card, threads)
    return lambda picture: program(picture[np.newaxis])["mask"].reshape(-1)


def in_onnx(model: Any, folder: str) -> Network:
    """``model`` exported and opened again.

    Raises:
        FakeclfError: a package is missing, or ONNX cannot express it.
    """
    from fakeclf import export

    path = export.to_onnx(model, Path(folder) / "model.onnx").path
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait would slow down whatever has its turn next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = "mask" if "mask" in [output.name for output in session.get_outputs()] else "p_real"
    return lambda picture: session.run([wanted], {"pictures": as_batch(picture)})[0].reshape(-1)


class InTorch:
    """The Keras model of a bundle in PyTorch, in a process of its own.

    Raises:
        RuntimeError: it does not run there; the message says why.
    """

    def __init__(self, name: str, size: int, folder: str) -> None:
        self._answer = Path(folder) / "torch.npy"
        self._child = subprocess.Popen(
            [sys.executable, __file__, "--torch", name, str(self._answer), f"--size={size}"],
            env={**os.environ, "KERAS_BACKEND": "torch"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.run(1, 0)
        except ValueError as error:
            _, told = self._child.communicate()
            raise RuntimeError((told.strip().splitlines() or ["it ended without a word"])[-1][:200]) from error
        self.answers = np.load(self._answer)

    def ways(self) -> dict[str, Way]:
        return {_in_threads("PyTorch, eager", threads): partial(self.run, threads) for threads in sorted({1, cores()})}

    def run(self, threads: int, count: int) -> float:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            print(threads, count, file=self._child.stdin, flush=True)
        except BrokenPipeError as error:
            raise ValueError("it has ended") from error
        return float(json.loads(self._child.stdout.readline()))

    def close(self) -> None:
        self._child.communicate()


def serve_torch(name: str, answer: str, size: int) -> None:
    """The child's part: threads and numbers of pictures come in, seconds go out, a line each."""
    import torch

    from fakeclf import bundle

    model = bundle.load(name)
    pictures = photographs(size)

    def network(picture: np.ndarray) -> np.ndarray:
        return flat(model(torch.from_numpy(as_batch(picture)), training=False))

    with torch.inference_mode():
        np.save(answer, answers_of(network, pictures))
        way = one_by_one(network, pictures)
        for line in sys.stdin:
            threads, count = map(int, line.split())
            torch.set_num_threads(threads)
            print(json.dumps(way(count)), flush=True)


def as_batch(picture: np.ndarray) -> np.ndarray:
    return picture[np.newaxis].astype(np.float32)


def flat(outputs: Any) -> np.ndarray:
    return np.asarray(outputs["mask"] if isinstance(outputs, dict) else outputs).reshape(-1)


def products() -> dict[str, Way]:
    """Products of large matrices."""
    import tensorflow as tf

    left, right = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32)
    pair = tf.constant(left), tf.constant(right)

    def repeated(product: Callable[[], Any]) -> Way:
        def run(count: int) -> float:
            start = time.perf_counter()
            for _ in range(count):
                product()
            return time.perf_counter() - start

        return run

    return {
        "NumPy product": repeated(lambda: left @ right),
        "TensorFlow product": repeated(lambda: tf.linalg.matmul(*pair).numpy()),
    }


def alternate(ways: dict[str, Way], rounds: int, seconds: float) -> dict[str, float]:
    """Median of each way's calls a second, in turns of about ``seconds``."""
    counts = {}
    for name, way in ways.items():
        way(cores())  # plans are made, memory is taken
        counts[name] = cores() * max(1, round(seconds / way(cores())))
    paces: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            paces[name].append(counts[name] / way(counts[name]))
    return {name: statistics.median(values) for name, values in paces.items()}


@contextmanager
def all_ways(
    name: str, model: Any, pictures: list[np.ndarray]
) -> Iterator[tuple[dict[str, Way], dict[str, float], dict[str, str]]]:
    """Ways to run a bundle, their differences from ``model.predict``, and why others are left out."""
    from fakeclf.errors import FakeclfError

    left_out = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cores()) as pool:
        networks = in_tensorflow(model)
        networks |= {_in_threads("LiteRT", threads): in_litert(name, threads) for threads in sorted({1, cores()})}
        try:
            networks["ONNX Runtime"] = in_onnx(model, folder)
        except FakeclfError as error:
            left_out["ONNX Runtime"] = str(error)
        answers = {way: answers_of(network, pictures) for way, network in networks.items()}
        ways = {way: one_by_one(network, pictures) for way, network in networks.items()}
        beside = [in_litert(name, 1) for _ in range(cores())]
        label = f"LiteRT, {cores()} side by side"
        answers[label], ways[label] = answers_of(beside[-1], pictures), side_by_side(beside, pictures, pool)
        torch = None
        try:
            torch = InTorch(name, len(pictures[0]), folder)
        except RuntimeError as error:
            left_out["PyTorch"] = str(error)
        else:
            ways |= torch.ways()
            answers |= dict.fromkeys(torch.ways(), torch.answers)
        right = answers["`model.predict`"]
        differences = {way: float(np.max(np.abs(answer - right))) for way, answer in answers.items()}
        try:
            yield ways, differences, left_out
        finally:
            if torch is not None:
                torch.close()


def measure(name: str, size: int, rounds: int, seconds: float) -> None:
    """Print one bundle's table."""
    from fakeclf import bundle

    model, pictures, matrices = bundle.load(name), photographs(size), products()
    work = multiply_adds(model, size)
    with all_ways(name, model, pictures) as (ways, differences, left_out):
        paces = alternate(ways | matrices, rounds, seconds)
    peak = 2 * SIDE**3 * max(paces.pop(product) for product in matrices)
    print(f"\n{name}: {work / 1e9:.3g} G multiply-adds a picture; peak {peak / 1e9:.0f} GFLOP/s\n")
    print("| | pictures a second | of `model.predict` | of the peak | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for way, pace in paces.items():
        ratio, share = pace / paces["`model.predict`"], 2 * work * pace / peak
        print(f"| {way} | {pace:.3g} | {ratio:.2f} | {share:.1%} | {differences[way]:.0e} |")
    for way, reason in left_out.items():
        print(f"\n{way} is left out: {reason}")
    sys.stdout.flush()


def _in_threads(what: str, threads: int) -> str:
    return f"{what}, {threads} thread{'s' if threads > 1 else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", metavar="NAME", help=f"default: {', '.join(MODELS)}")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each way a round")
    parser.add_argument("--torch", nargs=2, metavar=("NAME", "ANSWER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        name, answer = options.torch
        serve_torch(name, answer, options.size)
        return
    import keras

    print(f"Pictures of {options.size} x {options.size}, one a call, {options.rounds} rounds; {machine()}", flush=True)
    for name in options.model or MODELS:
        measure(name, options.size, options.rounds, options.seconds)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
