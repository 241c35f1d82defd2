"""What every autoencoder shares: pictures of any size in and out, and the name of the family in front of them.

An autoencoder here is one Keras model, float 0-255 RGB (batch, height, width, 3) in, the round trip in the same range
and size out. It has two inner models, ``encoder`` (pictures in [0, 1] to latents) and ``decoder`` (latents to pictures
in about [0, 1]), reached with ``model.get_layer("encoder")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import ops

from fakeclf.errors import FakeclfError
from fakeclf.models.layers import CropLike, PadToMultiple


@keras.saving.register_keras_serializable(package="fakeclf")
class Clip(keras.layers.Layer):
    """Keep values within [``low``, ``high``]."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, values):
        return ops.clip(values, self.low, self.high)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"low": self.low, "high": self.high}


def round_trip(encoder: keras.Model, decoder: keras.Model, *, multiple: int, name: str) -> keras.Model:
    """Join an encoder and a decoder on [0, 1] into one model on pictures in 0-255 of any size.

    Input shape: (batch, height, width, 3), float 0-255. Output shape: the same, clipped to 0-255, not rounded.
    """
    pictures = keras.Input((None, None, 3), name="pictures")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="to_unit")(pictures)
    padded = PadToMultiple(multiple, dtype="float32", name="pad")(scaled)
    decoded = decoder(encoder(padded))
    cropped = CropLike(dtype="float32", name="crop")(decoded, pictures)
    restored = keras.layers.Rescaling(255.0, dtype="float32", name="to_byte")(cropped)
    return keras.Model(pictures, Clip(0.0, 255.0, dtype="float32", name="clip")(restored), name=name)


@dataclass(frozen=True)
class Opened:
    """A ready autoencoder: the model, its name and the sha256 of the file its weights came from."""

    model: keras.Model
    name: str
    sha256: str


def open_autoencoder(name: str | Path, *, data_dir: str | Path | None = None, precision: str = "float32") -> Opened:
    """Open an autoencoder by what a person would type.

    Args:
        name: a variant of the TAESD family ("taef2", ...; its weights are brought, see ``taesd.weights_path``), an
            ``.npz`` file of such weights (the variant is read off the shapes), or the name or folder of a bundle of
            kind "autoencoder", such as "small-autoencoder".
        data_dir: where to look for brought weights; default: the data folder.
        precision: Keras dtype policy for the TAESD family; a bundle keeps its own.

    Raises:
        FakeclfError: there is no such autoencoder, or the file does not fit.
    """
    from fakeclf import bundle
    from fakeclf.models import taesd

    if str(name) in taesd.VARIANTS or Path(name).suffix == ".npz":
        known = str(name) in taesd.VARIANTS
        path = taesd.weights_path(str(name), data_dir) if known else Path(name)
        variant = str(name) if known else taesd.variant_of(path)
        return Opened(taesd.build(variant=variant, weights=path, precision=precision), variant, bundle.sha256(path))
    try:
        card = bundle.read_card(name)
    except FakeclfError as error:
        raise FakeclfError(f"{error}; further autoencoders: {', '.join(taesd.VARIANTS)}, or an .npz file") from None
    if card.kind != "autoencoder":
        raise FakeclfError(f"{name} is a {card.kind}, not an autoencoder; use taef2 or small-autoencoder")
    return Opened(bundle.load(name), card.name, card.files["model.keras"])
