"""Any inpainter that somebody has as an ONNX file, run by onnxruntime.

Inpainters agree on what they take, a picture and a mask, but not on how: colours in [0, 1], [-1, 1] or 0-255, the mask
1 in the hole or 1 where pixels are known, channels first or last, two inputs or one of four channels. The graph tells
the layout. The rest is found by trying: each convention is used on a smooth picture with a hole, and the one is kept
whose answer is nearest to the whole picture. It stands in ``settings``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf.bundle import sha256
from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import HoleSource, through_window, to_bytes

LARGEST = 1024
"""The most pixels a side, where a model takes any size."""

_MULTIPLE = 64
_TRIAL_SIDE = 256
_WORST = 24.0  # error of the trial, of 255, from which on a model is taken for no inpainter
_SCALES = {"unit": (1 / 255, 0.0), "signed": (1 / 127.5, -1.0), "bytes": (1.0, 0.0)}
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_ALLOWED = "allowed are two 4-D inputs, a picture of 3 channels and a mask of 1, or one input of 4 channels"


@dataclass(frozen=True)
class _Port:
    """An input or output: its name, element type, where its channels are and its fixed sides (None: any)."""

    name: str
    kind: type
    channels: int
    last: bool
    size: tuple[int | None, int | None]

    def shaped(self, values: np.ndarray) -> np.ndarray:
        """(h, w, c) as this port wants it."""
        ordered = values if self.last else np.moveaxis(values, -1, 0)
        return np.ascontiguousarray(ordered[None], dtype=self.kind)


@dataclass(frozen=True)
class Convention:
    """How a model wants its picture and mask, and how it gives the result.

    Attributes:
        picture: scale of the colours going in: ``unit`` [0, 1], ``signed`` [-1, 1] or ``bytes`` 0-255.
        result: scale of the colours coming out.
        mask: what the mask marks, the ``hole`` or what is ``known``.
        full: value of a marked pixel.
        order: of four channels: ``mask first`` is MI-GAN's [mask - 0.5, picture], ``mask last`` [picture, mask].
    """

    picture: str
    result: str
    mask: str
    full: int = 1
    order: str = ""


class OnnxInpainter(HoleSource):
    """An ONNX model with a picture and a mask going in and a picture coming out.

    A model of a fixed size sees a window of that size around the hole; see ``inpainters.through_window``. Others see up
    to ``LARGEST`` pixels a side, padded to multiples of 64. The hole's pixels are set to zero in the model's own scale.

    Args:
        file: the ONNX file.

    Raises:
        FakeclfError: onnxruntime is not installed, the file is no ONNX model, its inputs are others, or under no
            convention it gives back what it was shown.
    """

    in_process = True

    def __init__(self, file: str | Path) -> None:
        runtime = _runtime()
        path = Path(file)
        if not path.is_file():
            raise FakeclfError(f"there is no file {path}; write onnx:FILE with the path of an ONNX inpainter")
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # its own messages go to the terminal; failures are raised as well
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=runtime.get_available_providers())
        except _failures() as error:
            raise FakeclfError(f"{path} is no ONNX model that can be run ({_line(error)}); export it again") from None
        self._path = path
        self._inputs = [_port(node) for node in self._session.get_inputs()]
        self._picture, self._mask = _picture_and_mask(self._inputs, path, self._session)
        self.name = f"onnx-{path.stem}"
        self._size = _fixed_size(self._inputs, path)
        self.convention = self._tried()
        self.settings: dict[str, Any] = {
            "file": path.name,
            "sha256": sha256(path),
            "convention": asdict(self.convention),
            "size": list(self._size) if self._size else None,
            "onnxruntime": runtime.__version__,
        }

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What the model makes of the picture; nothing is drawn."""

        def run(seen: np.ndarray, hole: np.ndarray) -> np.ndarray:
            return to_bytes(_from_scale(self._run(seen, hole, self.convention), self.convention.result))

        return through_window(picture, mask, run, size=self._size, multiple=_MULTIPLE, largest=LARGEST)

    def _run(self, seen: np.ndarray, hole: np.ndarray, convention: Convention) -> np.ndarray:
        """The model's answer in its own scale, float32 (h, w, 3)."""
        marked = (hole if convention.mask == "hole" else ~hole)[..., None]
        factor, offset = _SCALES[convention.picture]
        values = np.where(hole[..., None], np.float32(0), seen * np.float32(factor) + np.float32(offset))
        if self._mask is None:
            mask = marked.astype(np.float32)
            parts = [mask - 0.5, values] if convention.order == "mask first" else [values, mask]
            feed = {self._picture.name: self._picture.shaped(np.concatenate(parts, axis=-1))}
        else:
            feed = {
                self._picture.name: self._picture.shaped(values),
                self._mask.name: self._mask.shaped(convention.full * marked.astype(np.uint8)),
            }
        try:
            answer = np.asarray(self._session.run(None, feed)[0])
        except _failures() as error:
            raise FakeclfError(
                f"{self._path} failed on {seen.shape[1]} x {seen.shape[0]} pixels ({_line(error)}); "
                "export it for such pictures, or with a fixed size"
            ) from None
        first = answer.ndim == 4 and answer.shape[1] == 3 and answer.shape[2:] == seen.shape[:2]
        if not first and answer.shape != (1, *seen.shape):
            raise FakeclfError(
                f"{self._path} answers {answer.dtype} {answer.shape} to {seen.shape[1]} x {seen.shape[0]} pixels; "
                "an inpainter's first output is a picture of the same size with 3 channels"
            )
        return (np.moveaxis(answer[0], 0, -1) if first else answer[0]).astype(np.float32)

    def _conventions(self) -> Iterator[Convention]:
        """Those to be tried; of equals the first is kept."""
        marks = ("hole", "known")
        if self._mask is None:
            yield Convention("signed", "signed", "known", order="mask first")
            for scale, mark, order in itertools.product(("signed", "unit"), marks, ("mask first", "mask last")):
                yield Convention(scale, scale, mark, order=order)
            return
        scales = ("bytes",) if self._picture.kind is np.uint8 else tuple(_SCALES)
        fulls = (255, 1) if self._mask.kind is np.uint8 else (1,)
        for scale, mark, full, result in itertools.product(scales, marks, fulls, _SCALES):
            yield Convention(scale, result, mark, full)

    def _tried(self) -> Convention:
        """The convention under which the model gives back what it is shown.

        Outside the hole the answer must be the picture, which tells the scales and what the mask marks; inside, it
        only has to be nearer than under another convention.
        """
        height, width = self._size or (_TRIAL_SIDE, _TRIAL_SIDE)
        seen = _trial_picture(height, width)
        hole = np.zeros((height, width), bool)
        hole[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5] = True
        best, least = None, np.inf
        answers: dict[tuple[str, ...], np.ndarray] = {}
        for convention in self._conventions():
            key = (convention.picture, convention.mask, str(convention.full), convention.order)
            if key not in answers:
                answers[key] = self._run(seen, hole, convention)
            error = np.abs(_from_scale(answers[key], convention.result) - seen).mean(axis=-1)
            total = float(error[~hole].mean() + 0.1 * error[hole].mean())
            if total < least - 1e-3:
                best, least = convention, total
        if best is None or not least < _WORST:
            raise FakeclfError(
                f"{self._path} gives back the known part of a picture under no convention of colours and masks "
                f"(best: {least:.0f} of 255 off); use a model that fills holes"
            )
        return best


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise FakeclfError("sources onnx:FILE need onnxruntime; install it with: pip install 'fakeclf[onnx]'") from None
    return onnxruntime


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: its exceptions share no class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [getattr(state, name) for name in dir(state)]
    return (RuntimeError, ValueError, *(kind for kind in own if isinstance(kind, type) and issubclass(kind, Exception)))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _port(node: Any) -> _Port | None:
    """The input as a picture or mask; None where it cannot be one."""
    sides = [side if isinstance(side, int) and side > 0 else None for side in node.shape]
    if len(sides) != 4 or node.type not in _TYPES:
        return None
    known = (1, 3, 4)
    # Where the graph does not say, channels come first, as PyTorch exports them.
    last = sides[3] in known and sides[1] not in known
    channels = sides[3] if last else sides[1]
    size = (sides[1], sides[2]) if last else (sides[2], sides[3])
    return _Port(node.name, _TYPES[node.type], channels or 0, last, size)


def _picture_and_mask(inputs: list[_Port | None], path: Path, session: Any) -> tuple[_Port, _Port | None]:
    ports = [port for port in inputs if port is not None]
    if len(ports) == len(inputs):
        counts = [port.channels for port in ports]
        floats = [port.kind not in (np.uint8, np.bool_) for port in ports]
        if counts == [4] and floats == [True]:
            return ports[0], None
        if sorted(counts) == [1, 3] and ports[counts.index(3)].kind is not np.bool_:
            return ports[counts.index(3)], ports[counts.index(1)]
    found = ", ".join(f"{node.name} {node.type}{list(node.shape)}" for node in session.get_inputs()) or "none"
    raise FakeclfError(f"{path} has the inputs {found}; {_ALLOWED}, float or uint8, channels first or last")


def _fixed_size(inputs: list[_Port | None], path: Path) -> tuple[int, int] | None:
    """The size that the model insists on; None where it takes any."""
    sizes = {port.size for port in inputs if port is not None and port.size != (None, None)}
    if not sizes:
        return None
    rows, columns = ({size[axis] for size in sizes} - {None} for axis in (0, 1))
    if len(rows) > 1 or len(columns) > 1:
        raise FakeclfError(f"{path} wants a picture and a mask of different sizes; export it with the same for both")
    # A model with one free side gets a square.
    height = next(iter(rows), None) or next(iter(columns))
    width = next(iter(columns), None) or height
    assert height is not None and width is not None
    return height, width


def _from_scale(values: np.ndarray, scale: str) -> np.ndarray:
    factor, offset = _SCALES[scale]
    return np.clip((values - offset) / factor, 0, 255)


def _trial_picture(height: int, width: int) -> np.ndarray:
    """A smooth coloured picture, bright and dark but of middling grey at its centre, uint8 (h, w, 3)."""
    down = np.linspace(-1, 1, height)[:, np.newaxis]
    right = np.linspace(-1, 1, width)[np.newaxis]
    waves = [np.sin(np.pi * (a * down + b * right)) for a, b in ((1, 0.5), (0.3, 1), (0.8, -0.7))]
    return to_bytes(127.5 + 100 * np.stack(waves, axis=-1))
