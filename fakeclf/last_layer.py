"""A picture as the last Dense layer of a classifier is given it: a few hundred numbers, enough to ask it again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import bundle
from fakeclf.errors import FakeclfError

if TYPE_CHECKING:
    import keras


def features(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """The input of a bundle's last Dense layer, float16 (n,).

    Args:
        folder: of a classifier's bundle.
        pixels: uint8 RGB (height, width, 3).

    Raises:
        FakeclfError: the network does not end in a Dense layer, or the bundle is damaged.
    """
    from keras import ops

    below, _ = _parts(folder)
    values: np.ndarray = ops.convert_to_numpy(below(pixels[np.newaxis].astype(np.float32), training=False))[0]
    with np.errstate(over="ignore"):  # what becomes infinite fails where P(FAKE) is compared
        return values.astype(np.float16)


def p_fake(folder: Path, values: np.ndarray) -> float:
    """Raw P(FAKE) of what :func:`features` gave; of the picture itself it differs by the rounding to float16.

    Raises:
        FakeclfError: they are not as many as the layer takes.
    """
    from keras import ops

    _, above = _parts(folder)
    if values.shape != above.input_shape[1:]:
        raise FakeclfError(f"{folder.name} has {above.input_shape[-1]} features; there are {values.size}")
    return 1.0 - float(ops.convert_to_numpy(above(values[np.newaxis].astype(np.float32), training=False)).item())


def _parts(folder: Path) -> tuple[keras.Model, keras.Model]:
    return _split(folder, bundle.read_card(folder).files["model.keras"])


@lru_cache(maxsize=2)
def _split(folder: Path, sha256: str) -> tuple[Any, Any]:
    """A network up to its last Dense layer, and from there on; ``sha256`` is its version."""
    import keras

    network = bundle.load(folder)
    dense = next((layer for layer in reversed(network.layers) if isinstance(layer, keras.layers.Dense)), None)
    if dense is None or len(dense.input.shape) != 2:
        raise FakeclfError(f"{folder.name} has no last layer that takes features (Dense); keep the picture itself")
    return keras.Model(network.input, dense.input), keras.Model(dense.input, network.output)
