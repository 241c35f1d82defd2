"""The TAESD family: tiny autoencoders for the latents of diffusion pipelines (Bohan 2023, madebyollin/taesd).

One code for five sets of weights: TAESD, TAESDXL (4 latent channels), TAESD3, TAEF1 (16) and TAEF2 (32, with a
``pool`` branch in the blocks at an eighth of the size). Layers carry the names of the PyTorch modules, such as
``11.conv.0``, so a file of weights is read by name. The weights are not part of the project: bring them as an ``.npz``
file whose arrays are called ``encoder/NAME.weight`` ... and keep PyTorch's layout (out, in, height, width), or import
the published files, see ``import_weights``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.models.autoencoder import round_trip
from fakeclf.weights_import import Imported, fill, misfit, read_tensors

STRIDE = 8
WIDTH = 64


@dataclass(frozen=True)
class Variant:
    """What differs within the family: latent channels, and whether the innermost blocks have a ``pool`` branch."""

    latent_channels: int
    pool: bool = False


VARIANTS = {
    "taef2": Variant(32, pool=True),
    "taesd": Variant(4),
    "taesdxl": Variant(4),
    "taesd3": Variant(16),
    "taef1": Variant(16),
}


def build(
    input_size: int | None = None,
    *,
    variant: str = "taef2",
    weights: str | Path | None = None,
    precision: str = "float32",
) -> keras.Model:
    """Build one autoencoder of the family.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        variant: "taef2", "taesd", "taesdxl", "taesd3" or "taef1".
        weights: file in PyTorch layout, see ``load_weights_npz``; None leaves fresh random weights.
        precision: Keras dtype policy of the inner layers, such as "mixed_bfloat16".

    Input shape: (batch, height, width, 3), float 0-255, any size. Output shape: the same.

    Raises:
        FakeclfError: unknown variant, or a file of weights that does not fit.
    """
    encoder, decoder = build_encoder(variant, precision), build_decoder(variant, precision)
    model = round_trip(encoder, decoder, multiple=STRIDE, name=variant)
    if weights is not None:
        load_weights_npz(model, weights)
    return model


def build_encoder(variant: str = "taef2", precision: str = "float32") -> keras.Model:
    """Pictures in [0, 1], sides multiples of 8, to latents (batch, height / 8, width / 8, latent channels)."""
    kind = _variant(variant)
    pictures = keras.Input((None, None, 3))
    x = _conv(pictures, WIDTH, "0", precision)
    x = _block(x, "1", precision)
    for down, blocks, pool in (("2", "345", False), ("6", "789", False), ("10", ("11", "12", "13"), kind.pool)):
        # PyTorch pads one pixel on every side; Keras' "same" would pad strided ones at the lower right only.
        x = keras.layers.ZeroPadding2D(1, dtype=precision, name=f"{down}.pad")(x)
        x = _conv(x, WIDTH, down, precision, strides=2, padding="valid", use_bias=False)
        for name in blocks:
            x = _block(x, name, precision, pool)
    latents = _conv(x, kind.latent_channels, "14", precision, last=True)
    return keras.Model(pictures, latents, name="encoder")


def build_decoder(variant: str = "taef2", precision: str = "float32") -> keras.Model:
    """Latents (batch, h, w, latent channels) to pictures (batch, 8 h, 8 w, 3) in about [0, 1], not clipped."""
    kind = _variant(variant)
    latents = keras.Input((None, None, kind.latent_channels))
    x = SoftClamp(dtype="float32", name="0")(latents)
    x = _relu(_conv(x, WIDTH, "1", precision), "2", precision)
    for name in "345":
        x = _block(x, name, precision, kind.pool)
    for up, conv, blocks in (("6", "7", "8 9 10"), ("11", "12", "13 14 15"), ("16", "17", "18")):
        x = keras.layers.UpSampling2D(2, interpolation="nearest", dtype=precision, name=up)(x)
        x = _conv(x, WIDTH, conv, precision, use_bias=False)
        for name in blocks.split():
            x = _block(x, name, precision)
    return keras.Model(latents, _conv(x, 3, "19", precision, last=True), name="decoder")


@keras.saving.register_keras_serializable(package="fakeclf")
class SoftClamp(keras.layers.Layer):
    """Squeeze latents smoothly into (-3, 3): tanh(z / 3) * 3."""

    def call(self, latents):
        return ops.tanh(latents / 3) * 3

    def compute_output_shape(self, input_shape):
        return input_shape


def weights_path(variant: str = "taef2", data_dir: str | Path | None = None) -> Path:
    """Where the weights of ``variant`` lie: $FAKECLF_TAEF2 (or _TAESD ...), else DATA/autoencoders/taef2.npz.

    Raises:
        FakeclfError: neither is there.
    """
    _variant(variant)
    variable = f"FAKECLF_{variant.upper()}"
    if named := os.environ.get(variable):
        path = Path(named)
    else:
        from fakeclf.data.datasets import data_home

        path = Path(data_dir or data_home()) / "autoencoders" / f"{variant}.npz"
    if not path.is_file():
        raise FakeclfError(
            f"no weights of {variant} at {path}; put {variant}.npz there, or set {variable} to where it lies"
        )
    return path


def variant_of(path: str | Path) -> str:
    """The variant whose shapes a file of weights has; "taesd" also stands for TAESDXL, "taesd3" also for TAEF1.

    Raises:
        FakeclfError: no readable file of weights, or not of this family.
    """
    found = recognise(read_tensors(path))
    if found is None:
        raise FakeclfError(f"{path} fits none of {', '.join(VARIANTS)}; bring weights named encoder/..., decoder/...")
    return found.split(" or ")[0]


def load_weights_npz(model: keras.Model, path: str | Path) -> None:
    """Fill an autoencoder of this family from arrays ``encoder/11.conv.0.weight`` ... in PyTorch layout.

    Raises:
        FakeclfError: no ``.npz`` file, or arrays are missing, unknown or of another shape; nothing is loaded then.
    """
    fill(_slots(model), _by_part(read_tensors(path)), model=model.name, source=path)


def import_weights(name: str, files: Sequence[Path], settings: Mapping[str, Any]) -> Imported:
    """One of the family from the published files; see ``fakeclf.weights_import``.

    Args:
        name: of the variant.
        files: one file with encoder and decoder, or one of each, in any order. Names may be those of the PyTorch
            modules (``1.conv.0.weight``, in a file with both parts after ``encoder.`` and ``decoder.``) or those of
            diffusers' ``AutoencoderTiny`` (``decoder.layers.0.weight``).
        settings: none.

    Raises:
        FakeclfError: a file cannot be read, a part is missing or there twice, or the arrays are those of another model.
    """
    if settings:
        raise FakeclfError(f"{name} takes no {next(iter(settings))!r}; leave --set out")
    arrays: dict[str, np.ndarray] = {}
    for path in files:
        stored = read_tensors(path)
        if recognise(stored) is None:
            raise misfit(f"{path} holds no autoencoder of the TAESD family", stored, name)
        part = _by_part(stored)
        if twice := sorted(arrays.keys() & part.keys()):
            raise FakeclfError(f"{path} holds {twice[0]} once more; give one encoder and one decoder")
        arrays |= part
    source = ", ".join(map(str, files))
    held = {key.partition("/")[0] for key in arrays}
    if len(held) == 1:
        raise FakeclfError(f"{source} holds nothing but the {held.pop()}; give both files as ENCODER,DECODER")
    model = build(variant=name)
    fill(_slots(model), arrays, model=name, source=source)
    card = Card(
        name="",
        kind="autoencoder",
        model=name,
        module=__name__,
        input={"size": None, "view": "whole", "range": [0, 255], "colour": "RGB"},
        classes=[],
        output="the picture after its round trip, 0-255, same size",
    )
    return Imported(model, card)


def recognise(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The variants that arrays look like, "taesd or taesdxl" and so on; None if they are of none."""
    named = _by_part(arrays)
    last, first = named.get("encoder/14.weight"), named.get("decoder/1.weight")
    if last is not None and "encoder/1.conv.0.weight" in named:
        found = Variant(last.shape[0], pool="encoder/11.pool.0.weight" in named)
    elif first is not None and first.ndim == 4 and "decoder/3.conv.0.weight" in named:
        found = Variant(first.shape[1], pool="decoder/3.pool.0.weight" in named)
    else:
        return None
    return " or ".join(name for name, variant in VARIANTS.items() if variant == found) or None


def _by_part(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under ``encoder/NAME`` and ``decoder/NAME``, whichever of the published ways they were named in."""
    # Alone, the parts are told apart by their first layer: the decoder's has no weights.
    alone = "encoder" if "0.weight" in arrays else "decoder"
    named = {}
    for name, array in arrays.items():
        part, rest = name[:7], name[8:]
        if part not in ("encoder", "decoder") or name[7:8] not in ("/", "."):
            part, rest = alone, name
        elif rest.startswith("layers."):
            number, _, inner = rest.removeprefix("layers.").partition(".")
            # diffusers does not count the decoder's first layer.
            rest = f"{int(number) + (part == 'decoder')}.{inner}" if number.isdecimal() else rest
        named[f"{part}/{rest}"] = array
    return named


def _slots(model: keras.Model) -> Iterator[tuple[str, keras.Variable, str]]:
    for part in ("encoder", "decoder"):
        for layer in model.get_layer(part).layers:
            for variable in layer.weights:
                kind = "weight" if variable.name in ("kernel", "gamma") else "bias"
                yield f"{part}/{layer.name}.{kind}", variable, "conv" if variable.name == "kernel" else "vector"


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise FakeclfError(f"no autoencoder variant {name!r}; allowed: {', '.join(VARIANTS)}")
    return VARIANTS[name]


def _conv(x, filters, name, precision, *, strides=1, padding="same", use_bias=True, last=False):
    layer = keras.layers.Conv2D(
        filters, 3, strides=strides, padding=padding, use_bias=use_bias, dtype=precision, name=name
    )
    x = layer(x)
    # What leaves an inner model is float32, whatever is computed with inside.
    return keras.layers.Activation("linear", dtype="float32", name=f"{name}.float")(x) if last else x


def _relu(x, name, precision):
    return keras.layers.ReLU(dtype=precision, name=name)(x)


def _block(x, name: str, precision: str, pool: bool = False):
    """conv relu conv relu conv, added to x, relu; ``pool`` first adds a branch normalised over the picture."""
    if pool:
        y = keras.layers.Conv2D(4 * WIDTH, 1, use_bias=False, dtype=precision, name=f"{name}.pool.0")(x)
        y = keras.layers.GroupNormalization(4, epsilon=1e-5, dtype="float32", name=f"{name}.pool.1")(y)
        y = _relu(y, f"{name}.pool.2", precision)
        y = keras.layers.Conv2D(WIDTH, 1, use_bias=False, dtype=precision, name=f"{name}.pool.3")(y)
        x = keras.layers.Add(dtype=precision, name=f"{name}.pool.add")([x, y])
    y = _relu(_conv(x, WIDTH, f"{name}.conv.0", precision), f"{name}.conv.1", precision)
    y = _relu(_conv(y, WIDTH, f"{name}.conv.2", precision), f"{name}.conv.3", precision)
    y = _conv(y, WIDTH, f"{name}.conv.4", precision)
    return _relu(keras.layers.Add(dtype=precision, name=f"{name}.add")([x, y]), f"{name}.fuse", precision)
