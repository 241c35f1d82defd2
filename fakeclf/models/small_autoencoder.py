"""The project's own small autoencoder: an eighth of the size, 32 latent channels, about 0.4 million parameters.

It stands in for the decoder of a latent-diffusion pipeline where a large one is too much to ship: a round trip looks
like the photograph and carries the traces of a decoder (nearest-neighbour enlargement followed by convolutions).
It has no normalisation layers: they are slow on processors, and colours survive better without them.
"""

from __future__ import annotations

import keras

from fakeclf.models.autoencoder import round_trip

STRIDE = 8
LATENT_CHANNELS = 32


def build(input_size: int | None = None, *, width: int = 64, precision: str = "float32") -> keras.Model:
    """Build the small autoencoder with fresh weights.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        width: channels of the layers at a quarter and an eighth of the picture's size; a multiple of 4.
        precision: Keras dtype policy of the convolutions, such as "mixed_bfloat16" for training.

    Input shape: (batch, height, width, 3), float 0-255, any size. Output shape: the same.
    """
    encoder, decoder = build_encoder(width, precision), build_decoder(width, precision)
    return round_trip(encoder, decoder, multiple=STRIDE, name="small_autoencoder")


def build_encoder(width: int = 64, precision: str = "float32") -> keras.Model:
    """Pictures in [0, 1], sides multiples of 8, to latents (batch, height / 8, width / 8, 32)."""
    pictures = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(2.0, -1.0, dtype=precision)(pictures)
    x = keras.layers.Conv2D(width, 4, strides=4, dtype=precision, name="to_quarter")(x)
    x = _residual(x, width, precision, "quarter")
    x = keras.layers.Conv2D(width, 2, strides=2, dtype=precision, name="to_eighth")(x)
    x = _residual(x, width, precision, "eighth")
    latents = keras.layers.Conv2D(LATENT_CHANNELS, 1, dtype=precision, name="latents")(x)
    return keras.Model(pictures, latents, name="encoder")


def build_decoder(width: int = 64, precision: str = "float32") -> keras.Model:
    """Latents (batch, h, w, 32) to pictures (batch, 8 h, 8 w, 3) in about [0, 1], not clipped."""
    latents = keras.Input((None, None, LATENT_CHANNELS))
    x = _conv(latents, width, precision, "from_latents")
    x = _residual(x, width, precision, "eighth")
    x = keras.layers.Conv2DTranspose(width, 2, strides=2, dtype=precision, name="to_quarter")(x)
    x = _residual(x, width, precision, "quarter")
    x = _conv(_twice(x, precision), width // 2, precision, "to_half")
    x = _residual(x, width // 2, precision, "half")
    x = _conv(_twice(x, precision), width // 4, precision, "to_full")
    x = keras.layers.ReLU(dtype=precision)(x)
    x = _conv(x, 3, precision, "colours")
    pictures = keras.layers.Rescaling(0.5, 0.5, dtype="float32")(x)
    return keras.Model(latents, pictures, name="decoder")


def _conv(x, filters: int, precision: str, name: str, **kwargs):
    return keras.layers.Conv2D(filters, 3, padding="same", dtype=precision, name=name, **kwargs)(x)


def _residual(x, filters: int, precision: str, name: str):
    y = keras.layers.ReLU(dtype=precision)(x)
    y = keras.layers.ReLU(dtype=precision)(_conv(y, filters, precision, f"{name}_1"))
    # Starting at zero makes the fresh network almost linear, which cuts the first half of the training short.
    y = _conv(y, filters, precision, f"{name}_2", kernel_initializer="zeros")
    return keras.layers.Add(dtype=precision)([x, y])


def _twice(x, precision: str):
    return keras.layers.UpSampling2D(2, interpolation="nearest", dtype=precision)(x)
