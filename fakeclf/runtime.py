"""Run saved networks without TensorFlow: ``model.tflite`` of a bundle through LiteRT, which starts in a tenth of a second.

    network = open_network("cifake")
    if network is not None:
        p_real = network(pixels)  # uint8 (height, width, 3)

``None`` says that this bundle can only run in Keras (``fakeclf.bundle.load``). What a file was made from, and that it
gives what Keras gives, is the business of ``fakeclf.export``. Nothing here imports Keras. An opened network is for one
thread at a time; it uses all cores by itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakeclf import bundle
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.registry import resolve

FILE = "model.tflite"
TILE, OVERLAP = 1024, 128  # of localizers whose card names none, as in ``segmentation.localize``
BATCH_BYTES = 64 << 20  # pictures brought to size, as float32, that go through a classifier at a time

_LEAST = 8  # shorter sides are mirrored up to this: filters that mirror the border need a few pixels to do so


class Program:
    """One LiteRT file: an array in, the arrays of its outputs by name out.

    Args:
        source: the file, or its content.
        threads: how many it may use; default: as many as this process has cores.

    Raises:
        FakeclfError: LiteRT is not installed, or the file is damaged.
    """

    def __init__(self, source: Path | bytes, threads: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise FakeclfError("this needs LiteRT, which is not installed: pip install ai-edge-litert") from error
        try:
            # From memory: a file that is replaced later must not change under a running program.
            content = source if isinstance(source, bytes) else source.read_bytes()
            self._interpreter = Interpreter(model_content=content, num_threads=threads or _cores())
            (signature,) = self._interpreter.get_signature_list().values()
            (self._input,) = self._interpreter.get_input_details()
            self._runner = self._interpreter.get_signature_runner()
        except (OSError, ValueError, RuntimeError) as error:
            where = "a LiteRT file" if isinstance(source, bytes) else str(source)
            reason = " ".join(str(error).split())[:160]
            raise FakeclfError(f"{where} cannot be opened: {reason}; export the model again") from error
        (self.input_name,) = signature["inputs"]
        self._outputs = {name: details["index"] for name, details in self._runner.get_output_details().items()}
        self._shape: tuple[int, ...] | None = None

    def __call__(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Run on ``values``, of the file's data type and any batch size.

        Raises:
            FakeclfError: the network cannot work on values of that shape, or memory runs out.
        """
        place = self._input["index"]
        try:
            if values.shape != self._shape:
                self._shape = None
                self._interpreter.resize_tensor_input(place, values.shape)
                self._interpreter.allocate_tensors()
                self._shape = values.shape
            self._interpreter.set_tensor(place, np.ascontiguousarray(values))
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise FakeclfError(f"an input of shape {values.shape} fails in LiteRT: {reason}") from error
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


class Classifier:
    """A classifier: called with uint8 RGB (h, w, 3), or a batch of them, it returns P(REAL).

    Args:
        program: takes float32 (b, size, size, 3).
        size, view: what brings a picture there, see ``fit``.
        card: of the bundle it comes from.
    """

    def __init__(self, program: Program, size: int, view: str, card: Card | None = None) -> None:
        self._program, self.size, self.view, self.card = program, size, view, card

    def __call__(self, pixels: np.ndarray | Sequence[np.ndarray]) -> Any:
        """P(REAL): a float for one picture (h, w, 3); float32 (b,) for a batch (b, h, w, 3) or a list of any sizes.

        Raises:
            ValueError: ``pixels`` is no uint8 RGB.
        """
        if isinstance(pixels, np.ndarray) and pixels.ndim == 3:
            return float(self._batch([pixels])[0])
        step = max(1, BATCH_BYTES // (self.size * self.size * 3 * 4))
        parts = [self._batch(pixels[start : start + step]) for start in range(0, len(pixels), step)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _batch(self, pictures: Any) -> np.ndarray:
        fitted = np.stack([fit(_checked(picture), self.size, self.view) for picture in pictures])
        return self._program(fitted)["p_real"].reshape(-1)


class Ensemble:
    """Classifiers whose outputs a small network weighs; called as a ``Classifier``.

    Args:
        members: the classifiers, in the order the head knows them.
        head: takes their P(REAL), float32 (b, members).
        card: of the bundle it comes from.
    """

    def __init__(self, members: Sequence[Any], head: Program, card: Card | None = None) -> None:
        self.members, self._head, self.card = list(members), head, card

    def __call__(self, pixels: np.ndarray | Sequence[np.ndarray]) -> Any:
        """P(REAL); arguments and errors as for a ``Classifier``."""
        single = isinstance(pixels, np.ndarray) and pixels.ndim == 3
        batch: Any = [pixels] if single else pixels
        if not len(batch):
            return np.zeros(0, np.float32)
        together = np.stack([member(batch) for member in self.members], axis=-1).astype(np.float32)
        p_real = self._head(together)["p_real"].reshape(-1)
        return float(p_real[0]) if single else p_real


class Localizer:
    """A localizer: called with uint8 RGB (h, w, 3), it returns a dictionary.

    ``mask`` is P(inpainted) of each pixel, float32 (h, w); ``score``, where the network has one, P(FAKE) of the
    picture, the highest of its tiles; ``tiles``, in how many pieces the picture went through the network.

    Args:
        program: takes uint8 (1, h, w, 3) of any size.
        stride: tiles begin at multiples of it and of 8, pixels.
        tile, overlap, largest: as in ``segmentation.localize.Localizer``.
        card: of the bundle it comes from.
    """

    def __init__(
        self,
        program: Program,
        stride: int = 1,
        *,
        tile: int = TILE,
        overlap: int = OVERLAP,
        largest: int | None = None,
        card: Card | None = None,
    ) -> None:
        self._program, self.stride, self.card = program, stride, card
        self.tile, self.overlap = tile, overlap
        self.largest = tile * tile if largest is None else largest

    def __call__(self, pixels: np.ndarray) -> dict[str, Any]:
        """Look at one picture, in as many pieces as its size asks for.

        Raises:
            FakeclfError: memory runs out.
            ValueError: ``pixels`` is no uint8 (h, w, 3).
        """
        height, width = _checked(pixels).shape[:2]
        found: list[dict[str, np.ndarray]] = []
        if height * width <= self.largest:
            mask = self._look(pixels, found)
        else:
            join = resolve("segmentation.tiling:join")
            mask = join(
                height,
                width,
                lambda tile: self._look(pixels[tile.rows, tile.columns], found),
                tile=self.tile,
                overlap=self.overlap,
                stride=self.stride,
            )
        scores = {"score": max(float(part["score"].item()) for part in found)} if "score" in found[0] else {}
        return {"mask": mask, "tiles": len(found), **scores}

    def _look(self, pixels: np.ndarray, found: list[dict[str, np.ndarray]]) -> np.ndarray:
        height, width = pixels.shape[:2]
        more = [max(0, _LEAST - side) for side in (height, width)]
        if any(more):
            pixels = np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="symmetric")
        outputs = self._program(pixels[np.newaxis])
        mask: np.ndarray = outputs.pop("mask")[0, :height, :width, 0]
        found.append(outputs)
        return mask


def open_network(name: str | Path, *, threads: int | None = None) -> Classifier | Ensemble | Localizer | None:
    """Open a bundle's LiteRT file.

    Args:
        name: name or folder of the bundle.
        threads: how many it may use; default: as many as this process has cores.

    Returns:
        By the card's kind, a ``Classifier``, ``Ensemble`` or ``Localizer``; None where the bundle, or a member of the
        ensemble, has no LiteRT file, or LiteRT is not installed: then take Keras.

    Raises:
        FakeclfError: there is no such bundle, its file has changed, or a member is another than it was built on.
    """
    folder = bundle.find(name)
    card = bundle.read_card(folder)
    if FILE not in card.files or not _installed():
        return None
    path, made = folder / FILE, card.input.get("litert") or {}
    if not path.is_file() or bundle.sha256(path) != card.files[FILE]:
        raise FakeclfError(f"{path} is missing or has changed since it was saved; fetch or export the bundle again")
    if card.kind == "ensemble":
        members = [_member(member, folder.name, threads) for member in card.members]
        return None if None in members else Ensemble(members, Program(path, threads), card)
    if card.kind == "classifier":
        return Classifier(Program(path, threads), int(made["size"]), str(made["view"]), card)
    if card.kind != "localizer":
        raise FakeclfError(f"{card.name} is of kind {card.kind!r}; this runs classifiers, ensembles and localizers")
    sizes = {key: int(card.input[key]) for key in ("tile", "overlap", "largest") if card.input.get(key) is not None}
    return Localizer(Program(path, threads), int(made["stride"]), card=card, **sizes)


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


def _member(member: dict[str, str], ensemble: str, threads: int | None) -> Any:
    card = bundle.read_card(member["name"])
    if card.files.get("model.keras") != member["sha256"]:
        raise FakeclfError(f"{ensemble} was built on another version of {member['name']}; rebuild the ensemble")
    return open_network(member["name"], threads=threads)


def _checked(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels must be uint8 of shape (h, w, 3). Received: {pixels.dtype} of shape {pixels.shape}")
    return pixels


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("ai_edge_litert") is not None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
