"""Whole frames through a generator that nobody trained: drawn weights, and a last convolution fitted to the picture.

Each picture gets a decoder of its own, of drawn architecture and weights, which enlarges features of the picture as
generators do; the colours that its last convolution makes of them are least squares. What comes out is what such an
architecture can show of the picture, with the traces that its enlargement, non-linearities and noise leave. So there
are as many generators as pictures, at a second or two each.

References: Rahimi & Recht 2008, "Random features for large-scale kernel machines" (drawn layers, a fitted last one);
Karras et al. 2020, arXiv:1912.04958 (noise in every layer, colours at every size).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import FrameSource, to_bytes
from segmentation.forgeries.resampled import noise_level

FITTED_ON = 12_000
"""Positions, drawn, that a last convolution is fitted on; it has some hundred weights a colour."""
RIDGE = 1e-4
"""Of the features' mean power."""
LARGEST = 4_000_000
"""Pixels; a million take a gigabyte."""
NOISE = 0.1
"""Put into features of unit variance; what comes out of it is then made as strong as drawn."""

Random = np.random.Generator
Upsampler = Callable[[np.ndarray, int, float, Random], np.ndarray]


class RandomDecoder(FrameSource):
    """Features of a shrunk picture, enlarged by 2 or by 4 with drawn convolutions, and colours fitted to the picture.

    Attributes:
        settings: what is drawn from. ``shrinking``: between the picture and the features that are enlarged;
            ``channels``: of every layer; ``kernels``: side of the last convolution; ``mixing``: how much a convolution
            takes from a pixel's neighbours; ``noise``: its level in the end relative to the picture's own. What shows
            the picture with less than ``least`` dB is drawn again, ``draws`` times at most.
    """

    name = "random-decoder"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {
            "shrinking": [2, 2, 4],
            "channels": [24, 32, 48],
            "upsamplers": list(UPSAMPLERS),
            "activations": list(ACTIVATIONS),
            "kernels": [1, 3, 3],
            "mixing": [0.1, 1.0],
            "colours at every size": 0.5,
            "noise": [0.3, 1.1],
            "least": 26.0,
            "draws": 4,
        }

    def frame(self, picture: np.ndarray, random: Random) -> np.ndarray:
        """One passage of the frame; see the class.

        Raises:
            FakeclfError: a picture of more than ``LARGEST`` pixels.
        """
        height, width = picture.shape[:2]
        if height * width > LARGEST:
            raise FakeclfError(
                f"{self.name} takes pictures of at most {LARGEST / 1e6:.0f} megapixels, not {width} x {height}; cut "
                "them with --size 2000"
            )
        best, best_decibels = picture, -math.inf
        for _ in range(self.settings["draws"]):
            frame = self._through(picture, random)
            error = float(np.mean(np.square(frame - picture.astype(np.float32))))
            decibels = 10 * math.log10(255**2 / max(error, 1e-3))
            if decibels > best_decibels:
                best, best_decibels = frame, decibels
            if decibels >= self.settings["least"]:
                break
        return best

    def _through(self, picture: np.ndarray, random: Random) -> np.ndarray:
        shrinking = int(random.choice(self.settings["shrinking"]))
        channels = int(random.choice(self.settings["channels"]))
        upsample = UPSAMPLERS[str(random.choice(self.settings["upsamplers"]))]
        activate = ACTIVATIONS[str(random.choice(self.settings["activations"]))]
        side = int(random.choice(self.settings["kernels"]))
        mixing = float(random.uniform(*self.settings["mixing"]))
        every_size = random.random() < self.settings["colours at every size"]
        wanted_noise = float(random.uniform(*self.settings["noise"]))

        height, width = picture.shape[:2]
        edges = ((0, -height % shrinking), (0, -width % shrinking), (0, 0))
        truth = np.pad(picture, edges, mode="edge").astype(np.float32) / 127.5 - 1
        stacked = _stacked(truth, shrinking)
        features = activate(_even(_convolved(stacked, _kernel(1, stacked.shape[2], channels, 0.0, random))))
        disturbed = features
        colours = noise = np.zeros((*features.shape[:2], 3), np.float32)
        while shrinking > 1:
            shrinking //= 2
            seed = random.integers(2**32)
            # The same layer twice: what noise becomes is the difference.
            features, disturbed = (
                _even(upsample(values, channels, mixing, np.random.default_rng(seed)))
                for values in (features, disturbed)
            )
            strengths = NOISE * random.standard_normal(channels, dtype=np.float32)
            disturbed = disturbed + strengths * random.standard_normal((*features.shape[:2], 1), dtype=np.float32)
            features, disturbed = activate(features), activate(disturbed)
            colours, noise = _enlarged(colours), _enlarged(noise)
            if shrinking == 1 or every_size:
                kernel, bias = _fitted(features, _shrunk(truth, shrinking) - colours, side, random)
                colours = colours + _convolved(features, kernel) + bias
                noise = noise + _convolved(disturbed - features, kernel)
        made = 127.5 * (colours + 1)[:height, :width]
        noise = noise[:height, :width]
        wanted = wanted_noise * noise_level(picture.astype(np.float32))
        missing = np.sqrt(np.maximum(wanted**2 - noise_level(made) ** 2, 0))
        return to_bytes(made + missing * noise / (noise.std() + 1e-6))


def _stacked(values: np.ndarray, factor: int) -> np.ndarray:
    """The pixels of each block of ``factor`` x ``factor``, (h, w, c), side by side: (h / factor, w / factor, ...)."""
    height, width, channels = values.shape
    blocks = values.reshape(height // factor, factor, width // factor, factor, channels).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(height // factor, width // factor, -1)


def _shrunk(values: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks."""
    return _stacked(values, factor).reshape(values.shape[0] // factor, values.shape[1] // factor, -1, 3).mean(2)


def _even(values: np.ndarray) -> np.ndarray:
    """Every channel with mean 0 and variance 1."""
    return (values - values.mean((0, 1))) / (values.std((0, 1)) + 1e-6)


def _kernel(side: int, inputs: int, outputs: int, mixing: float, random: Random) -> np.ndarray:
    """(side, side, inputs, outputs): a drawn mixture of the channels, and ``mixing`` times drawn weights all over."""
    kernel = mixing / side * random.standard_normal((side, side, inputs, outputs), dtype=np.float32)
    kernel[side // 2, side // 2] += random.standard_normal((inputs, outputs), dtype=np.float32)
    return kernel / np.sqrt(inputs)


def _convolved(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(h, w, inputs) to (h, w, outputs), borders repeated."""
    side = kernel.shape[0]
    height, width = values.shape[:2]
    padded = np.pad(values, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), mode="edge")
    out = np.zeros((height, width, kernel.shape[3]), np.float32)
    for row in range(side):
        for column in range(side):
            if kernel[row, column].any():
                out += padded[row : row + height, column : column + width] @ kernel[row, column]
    return out


def _fitted(features: np.ndarray, truth: np.ndarray, side: int, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the convolution that is nearest to ``truth`` (ridge regression on drawn positions)."""
    height, width, channels = features.shape
    padded = np.pad(features, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), mode="edge")
    count = min(FITTED_ON, height * width)
    rows, columns = np.divmod(random.choice(height * width, count, replace=False), width)
    seen = np.concatenate(
        [padded[rows + row, columns + column] for row in range(side) for column in range(side)]
        + [np.ones((count, 1), np.float32)],
        axis=1,
    )
    gram = seen.T @ seen
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram)
    weights = np.linalg.solve(gram, seen.T @ truth[rows, columns]).astype(np.float32)
    return weights[:-1].reshape(side, side, channels, 3), weights[-1]


def _enlarged(values: np.ndarray) -> np.ndarray:
    """Twice the height and width, bilinear with half-pixel centres."""
    for axis in (0, 1):
        padded = np.pad(values, [(1, 1) if at == axis else (0, 0) for at in range(3)], mode="edge")
        before, at, after = (np.take(padded, np.arange(step, step + values.shape[axis]), axis) for step in range(3))
        pair = np.stack([0.25 * before + 0.75 * at, 0.75 * at + 0.25 * after], axis=axis + 1)
        values = pair.reshape([2 * size if here == axis else size for here, size in enumerate(values.shape)])
    return values


def _nearest(values: np.ndarray, channels: int, mixing: float, random: Random) -> np.ndarray:
    return _convolved(values.repeat(2, axis=0).repeat(2, axis=1), _kernel(3, values.shape[2], channels, mixing, random))


def _bilinear(values: np.ndarray, channels: int, mixing: float, random: Random) -> np.ndarray:
    return _convolved(_enlarged(values), _kernel(3, values.shape[2], channels, mixing, random))


def _shuffled(values: np.ndarray, channels: int, mixing: float, random: Random) -> np.ndarray:
    """Each of the four phases by a kernel of its own: a convolution and a pixel shuffle."""
    return _phases(values, [_kernel(3, values.shape[2], channels, mixing, random) for _ in range(4)])


def _transposed(values: np.ndarray, channels: int, mixing: float, random: Random) -> np.ndarray:
    """A transposed convolution of side 4 and stride 2: of each phase's taps those that such a kernel has."""
    kernels = [_kernel(3, values.shape[2], channels, mixing, random) for _ in range(4)]
    for phase, kernel in enumerate(kernels):
        row, column = divmod(phase, 2)
        kernel[2 - 2 * row], kernel[:, 2 - 2 * column] = 0, 0
    return _phases(values, kernels)


def _phases(values: np.ndarray, kernels: list[np.ndarray]) -> np.ndarray:
    height, width = values.shape[:2]
    made = np.stack([_convolved(values, kernel) for kernel in kernels], axis=2).reshape(height, width, 2, 2, -1)
    return made.transpose(0, 2, 1, 3, 4).reshape(2 * height, 2 * width, -1)


UPSAMPLERS: dict[str, Upsampler] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "transposed": _transposed,
    "shuffled": _shuffled,
}
"""Each called as (values (h, w, c) float32, channels, mixing, random); gives (2h, 2w, channels)."""

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda values: np.maximum(values, 0),
    "leaky": lambda values: np.maximum(values, 0.2 * values),
    "silu": lambda values: values / (1 + np.exp(-values)),
}
