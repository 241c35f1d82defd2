"""Run saved networks without TensorFlow: a bundle's ``model.tflite`` in LiteRT, which starts in a tenth of a second.

    network = open_classifier("cifake")
    if network is not None:
        p_real = network(pixels)  # uint8 (height, width, 3)

``None`` says that this bundle can only run in Keras (``fakeclf.bundle.load``). What a file was made from, and that it
gives what Keras gives, is the business of ``fakeclf.export``; localizers run in ``segmentation.looking``. Nothing here
imports Keras. A network is opened when it is first asked, and may be asked from several threads at once: one that finds
it busy opens it once more. With ``FAKECLF_LITERT=off`` in the environment LiteRT files are neither run nor made along
with bundles.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakeclf import bundle
from fakeclf.aside import stderr_aside
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError

FILE = "model.tflite"
BATCH_BYTES = 64 << 20  # pictures brought to size, as float32, that go through a classifier at a time


class Program:
    """One LiteRT file: an array in, the arrays of its outputs by name out. It is opened at the first call.

    Args:
        source: the file, or its content.
        threads: how many one call may use; default: as many as this process has cores.
        sha256: what the file must have; not looked at if None.
    """

    def __init__(self, source: Path | bytes, threads: int | None = None, sha256: str | None = None) -> None:
        self._source, self._threads, self._sha256 = source, threads, sha256
        self._content: bytes | None = None
        self._idle: list[_Interpreter] = []

    def __call__(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Run on ``values``, of the file's data type and any batch size.

        Raises:
            FakeclfError: LiteRT is not installed, the file is damaged or has changed, the network cannot work on values
                of that shape, or memory runs out.
        """
        with _quiet_start():
            try:
                interpreter = self._idle.pop()
            except IndexError:
                interpreter = self._open()
            interpreter.make_room(values.shape)
        found = interpreter(values)
        self._idle.append(interpreter)
        return found

    def _open(self) -> _Interpreter:
        where = "a LiteRT file" if isinstance(self._source, bytes) else str(self._source)
        try:
            if self._content is None:
                # Kept: a file that is replaced later must not change under a running program.
                content = self._source if isinstance(self._source, bytes) else self._source.read_bytes()
                if self._sha256 and hashlib.sha256(content).hexdigest() != self._sha256:
                    raise FakeclfError(
                        f"{where} has changed since it was saved; fetch the bundle again, or export it again"
                    )
                self._content = content
            return _Interpreter(self._content, self._threads or cores())
        except (OSError, ValueError, RuntimeError) as error:
            raise FakeclfError(f"{where} cannot be opened: {_line(error)}; export the model again") from error


class _Interpreter:
    """One instance of a program, with memory of its own; for one thread at a time."""

    def __init__(self, content: bytes, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise FakeclfError("this needs LiteRT, which is not installed: pip install ai-edge-litert") from error
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        (details,) = self._interpreter.get_input_details()
        outputs = self._interpreter.get_signature_runner().get_output_details()
        self._input = details["index"]
        self._outputs = {name: details["index"] for name, details in outputs.items()}
        self._shape: tuple[int, ...] | None = None

    def make_room(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        self._shape = None
        try:
            self._interpreter.resize_tensor_input(self._input, shape)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _failed(shape, error) from error
        self._shape = shape

    def __call__(self, values: np.ndarray) -> dict[str, np.ndarray]:
        try:
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(values))
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise _failed(values.shape, error) from error
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


class Classifier:
    """A classifier: called with uint8 RGB (h, w, 3), or a batch of them, it returns P(REAL).

    Args:
        program: takes float32 (b, size, size, 3).
        size, view: what brings a picture there, see ``fit``.
    """

    def __init__(self, program: Program, size: int, view: str) -> None:
        self._program, self.size, self.view = program, size, view

    def __call__(self, pixels: np.ndarray | Sequence[np.ndarray]) -> Any:
        """P(REAL): a float for one picture (h, w, 3); float32 (b,) for a batch (b, h, w, 3) or a list of any sizes.

        Raises:
            FakeclfError: see ``Program``.
            ValueError: ``pixels`` is no uint8 RGB.
        """
        if isinstance(pixels, np.ndarray) and pixels.ndim == 3:
            return float(self._batch([pixels])[0])
        step = max(1, BATCH_BYTES // (self.size * self.size * 3 * 4))
        parts = [self._batch(pixels[start : start + step]) for start in range(0, len(pixels), step)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _batch(self, pictures: Any) -> np.ndarray:
        fitted = np.stack([fit(checked(picture), self.size, self.view) for picture in pictures])
        return self._program(fitted)["p_real"].reshape(-1)


class Ensemble:
    """Classifiers whose outputs a small network weighs; called as a ``Classifier``.

    Args:
        members: the classifiers, in the order the head knows them.
        head: takes their P(REAL), float32 (b, members).
    """

    def __init__(self, members: Sequence[Classifier | Ensemble], head: Program) -> None:
        self.members, self._head = list(members), head

    def __call__(self, pixels: np.ndarray | Sequence[np.ndarray]) -> Any:
        """P(REAL); arguments and errors as for a ``Classifier``."""
        single = isinstance(pixels, np.ndarray) and pixels.ndim == 3
        batch: Any = [pixels] if single else pixels
        if not len(batch):
            return np.zeros(0, np.float32)
        together = np.stack([member(batch) for member in self.members], axis=-1).astype(np.float32)
        p_real = self._head(together)["p_real"].reshape(-1)
        return float(p_real[0]) if single else p_real


def can_run(name: str | Path) -> bool:
    """Whether a bundle, and each member of an ensemble, has a LiteRT file, and LiteRT is there to run it.

    Raises:
        FakeclfError: there is no such bundle.
    """
    folder = bundle.find(name)
    card = bundle.read_card(folder)
    there = wanted() and FILE in card.files and card.litert is not None and (folder / FILE).is_file()
    return there and all(can_run(member["name"]) for member in card.members)


def wanted() -> bool:
    """Whether LiteRT is installed and not switched off."""
    return os.environ.get("FAKECLF_LITERT", "").lower() != "off" and find_spec("ai_edge_litert") is not None


def open_classifier(name: str | Path, *, threads: int | None = None) -> Classifier | Ensemble | None:
    """Open the LiteRT file of a classifier or an ensemble.

    Args:
        name: name or folder of the bundle.
        threads: how many it may use; default: as many as this process has cores.

    Returns:
        None where there is no such file (see ``can_run``): then take Keras.

    Raises:
        FakeclfError: there is no such bundle, or a member of the ensemble is another than it was built on.
    """
    if not can_run(name):
        return None
    folder = bundle.find(name)
    card = bundle.read_card(folder)
    program = program_of(folder, card, threads)
    if card.kind != "ensemble":
        assert card.litert is not None
        return Classifier(program, int(card.litert["size"]), str(card.litert["view"]))
    members = []
    for member in card.members:
        if bundle.read_card(member["name"]).files.get("model.keras") != member["sha256"]:
            raise FakeclfError(f"{card.name} was built on another version of {member['name']}; rebuild the ensemble")
        opened = open_classifier(member["name"], threads=threads)
        assert opened is not None
        members.append(opened)
    return Ensemble(members, program)


def program_of(folder: Path, card: Card, threads: int | None = None) -> Program:
    """The LiteRT file of a bundle, whose content must be what the card says."""
    return Program(folder / FILE, threads, card.files[FILE])


def fit(pixels: np.ndarray, size: int, view: str) -> np.ndarray:
    """Bring a picture to ``size`` x ``size`` pixels as the layer ``FitToSize`` does.

    Args:
        pixels: uint8 (h, w, 3), any size.
        size: side of the result, pixels.
        view: ``resize`` squashes the whole picture, bilinear and anti-aliased; ``crop`` cuts out the centre and
            enlarges what is smaller than ``size``.

    Returns:
        float32 (size, size, 3), 0-255, not rounded.
    """
    if view == "crop":
        height, width = pixels.shape[:2]
        side = min(height, width, size)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    if pixels.shape[:2] == (size, size):
        return pixels.astype(np.float32)
    # Pillow's triangle filter is TensorFlow's, but on 8-bit pictures it rounds; so each colour goes as float.
    colours = [Image.fromarray(pixels[..., colour].astype(np.float32)) for colour in range(3)]
    return np.stack([np.asarray(colour.resize((size, size), Image.Resampling.BILINEAR)) for colour in colours], -1)


def checked(pixels: np.ndarray) -> np.ndarray:
    """``pixels``, if they are a picture.

    Raises:
        ValueError: they are no uint8 (h, w, 3).
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels must be uint8 of shape (h, w, 3). Received: {pixels.dtype} of shape {pixels.shape}")
    return pixels


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Sets aside what LiteRT says on stderr, which it does once a process; until then one thread at a time."""
    global _started
    if _started:
        yield
        return
    with _starting:
        with stderr_aside():
            yield
        _started = True


_started, _starting = False, threading.Lock()


def _failed(shape: tuple[int, ...], error: Exception) -> FakeclfError:
    return FakeclfError(f"an input of shape {shape} fails in LiteRT: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


@cache
def cores() -> int:
    """How many this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")  # Ray, too, says so to its workers by this
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
