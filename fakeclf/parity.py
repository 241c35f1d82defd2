"""Whether another runtime gives what Keras gives: photographs of several sizes go through both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from fakeclf import images
from fakeclf.errors import FakeclfError
from fakeclf.models.layers import FitToSize

LIMITS = {"float32": 2e-4, "float16": 5e-3, "int8": 3e-2}
"""Largest difference of a probability (score, or pixel of a mask) from Keras allowed, by kind of weights."""

Run = Callable[[np.ndarray], dict[str, Any]]
"""From an input of the check to outputs by name."""


class Differs(FakeclfError):
    """What was made does not give what Keras gives."""


def difference(model: keras.Model, run: Run, limit: float, what: str) -> float:
    """Largest difference of a probability between what ``run`` and Keras make of the pictures of the check.

    Raises:
        Differs: it is above its limit, or not a number.
    """
    largest = 0.0
    for values in probes(model):
        expected = named(model(batch(values), training=False))
        found = run(values)
        for name, right in expected.items():
            right, other = np.ravel(right), np.ravel(found[name])
            off = _apart(right, other) if right.shape == other.shape else np.inf
            if not off <= limit:
                raise Differs(
                    f"{what} of {model.name} differs from Keras by {off:.2g} in {name} on an input of shape "
                    f"{values.shape}; allowed is {limit:g}; not kept: take other weights or another format"
                )
            largest = max(largest, off)
    return largest


def _apart(right: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two arrays of probabilities, each taken as what it would be around 1/2.

    Sure networks hide differences in the flat ends of the sigmoid. A step in log-odds changes a probability by at most
    a quarter of itself, around 1/2; beyond 1e-3 and 1 - 1e-3 nothing is left to compare.
    """
    logits = [np.log(p) - np.log1p(-p) for p in (np.clip(p.astype(np.float64), 1e-3, 1 - 1e-3) for p in (right, other))]
    return float(max(np.max(np.abs(right - other)), np.max(np.abs(logits[0] - logits[1])) / 4))


def kept(outputs: Any) -> dict[str, Any]:
    """What runtimes need of a network's outputs, by name: ``p_real``, or ``mask`` and maybe ``score``."""
    if not isinstance(outputs, dict):
        return {"p_real": outputs}
    return {name: outputs[name] for name in ("mask", "score") if name in outputs}


def named(outputs: Any) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(values) for name, values in kept(outputs).items()}


def batch(values: np.ndarray) -> np.ndarray:
    return values[np.newaxis].astype(np.float32) if values.ndim == 3 else values


def line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def fit_of(model: keras.Model) -> FitToSize | None:
    """The layer a classifier begins with."""
    return next((layer for layer in model.layers[1:2] if isinstance(layer, FitToSize)), None)


def probes(model: keras.Model) -> list[np.ndarray]:
    """Inputs of the check: photographs as uint8 pictures (h, w, 3) of several sizes; or a head's members (b, n)."""
    random = np.random.default_rng(0)
    if len(model.inputs[0].shape) == 2:
        return [random.random((256, model.inputs[0].shape[1]), np.float32)]
    from skimage import data

    fit = fit_of(model)
    side = fit.size if fit is not None else 96
    sizes = [(side, side), (2 * side + 1, side + 7), (side // 2 + 1, 3 * side // 2), (9, 23), (side + 3, 2 * side)]
    photographs = [data.astronaut(), data.coffee(), data.chelsea()]
    pictures = []
    for number, (height, width) in enumerate(sizes * 3):
        # Scaled alone, compressed, or with some noise: networks that look at traces say something else of each.
        picture = np.asarray(Image.fromarray(photographs[number // 3 % 3]).resize((width, height)))
        if number % 3 == 1:
            picture = images.read(images.encode_jpeg(picture, quality=(95, 85, 70, 50)[number % 4]))
        elif number % 3 == 2:
            noisy = picture + random.normal(0, 1 + number, picture.shape)
            picture = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        pictures.append(picture)
    return pictures
