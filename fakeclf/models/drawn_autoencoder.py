"""Autoencoders whose architecture is drawn from a seed: many small forgers instead of one.

What a localizer learns from one decoder it does not find again in the next. So the parts of a decoder that leave
traces, the way it enlarges above all, are drawn. The space:

- ``upsampler``: nearest or bilinear enlargement and a convolution, a transposed convolution, or a pixel shuffle
- ``stride`` between picture and latents: 4, 8 or 16; ``latent_channels`` so that latents are 4 to 16 times smaller
- ``kernel`` of the decoder's convolutions: 3 or 5; ``width``, its channels at a quarter and an eighth of the size
- ``depth``: residual blocks at an eighth and a quarter of the size
- ``normalisation``: none, batch or group; ``activation``: relu, leaky_relu or silu
- ``loss`` to train it with: l1, l2, ssim or adversarial
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fakeclf.errors import FakeclfError
from fakeclf.models.autoencoder import round_trip
from fakeclf.models.layers import EnlargeBilinear, PixelShuffle

UPSAMPLERS = ("nearest", "bilinear", "transposed", "shuffle")
LOSSES = ("l1", "l2", "ssim", "adversarial")
STRIDES = (8, 16, 4)
KERNELS = (3, 5)
DEPTHS = (1, 2)
NORMALISATIONS = ("none", "batch", "group")
ACTIVATIONS = ("relu", "leaky_relu", "silu")
LATENT_CHANNELS = {4: (4, 8, 12), 8: (16, 24, 32), 16: (48, 64, 80)}
WIDTHS: dict[int, dict[int, tuple[int, ...]]] = {
    4: {3: (48, 64), 5: (32, 40)},
    8: {3: (40, 48), 5: (24, 32)},
    16: {3: (24, 32), 5: (24,)},
}
"""By stride and kernel, so that all have about 50 to 400 thousand parameters."""

GROUPS = 4


def draw(seed: int) -> dict[str, Any]:
    """Architecture and loss number ``seed``, always the same: the arguments of ``build`` and "loss".

    Upsampler and loss take turns, so that each four seeds in a row have all of each and 16 have every pair; so do the
    strides in each three. The rest is drawn evenly.
    """
    random = np.random.default_rng(seed)
    stride = STRIDES[seed % len(STRIDES)]
    kernel = int(random.choice(KERNELS))
    return {
        "upsampler": UPSAMPLERS[seed % 4],
        "stride": stride,
        "latent_channels": int(random.choice(LATENT_CHANNELS[stride])),
        "kernel": kernel,
        "width": int(random.choice(WIDTHS[stride][kernel])),
        "depth": int(random.choice(DEPTHS)),
        "normalisation": str(random.choice(NORMALISATIONS)),
        "activation": str(random.choice(ACTIVATIONS)),
        "loss": LOSSES[(seed + seed // 4) % 4],
    }


def build(
    input_size: int | None = None,
    *,
    seed: int = 0,
    upsampler: str | None = None,
    stride: int | None = None,
    latent_channels: int | None = None,
    kernel: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    normalisation: str | None = None,
    activation: str | None = None,
    precision: str = "float32",
) -> keras.Model:
    """Build a drawn autoencoder with fresh weights.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        seed: of ``draw``, for whatever is not given.
        upsampler, stride, normalisation: as listed above.
        latent_channels, kernel, depth: any whole number above 0.
        width: a multiple of 8.
        activation: any that Keras knows by name.
        precision: Keras dtype policy of the convolutions, such as "mixed_bfloat16" for training.

    Input shape: (batch, height, width, 3), float 0-255, any size. Output shape: the same.

    Raises:
        FakeclfError: a choice that is not in the space.

    Reference: Shi et al. 2016, arXiv:1609.05158 (pixel shuffle); Odena et al. 2016, "Deconvolution and checkerboard
    artifacts", doi:10.23915/distill.00003 (why the enlargement matters).
    """
    given = {
        "upsampler": upsampler,
        "stride": stride,
        "latent_channels": latent_channels,
        "kernel": kernel,
        "width": width,
        "depth": depth,
        "normalisation": normalisation,
        "activation": activation,
    }
    chosen = draw(seed) | {name: value for name, value in given.items() if value is not None}
    allowed = {"upsampler": UPSAMPLERS, "stride": STRIDES, "normalisation": NORMALISATIONS}
    for name, values in allowed.items():
        if chosen[name] not in values:
            raise FakeclfError(f"{name} must be one of {', '.join(map(str, values))}; received {chosen[name]!r}")
    if chosen["width"] < 8 or chosen["width"] % 8:
        raise FakeclfError(f"width must be a multiple of 8; received {chosen['width']!r}")
    parts = _Parts(chosen, precision)
    return round_trip(parts.encoder(), parts.decoder(), multiple=chosen["stride"], name="drawn_autoencoder")


class _Parts:
    """The layers of one choice."""

    def __init__(self, chosen: dict[str, Any], precision: str) -> None:
        self.chosen, self.precision = chosen, precision
        self.width, self.stride = chosen["width"], chosen["stride"]

    def encoder(self) -> keras.Model:
        """Pictures in [0, 1], sides multiples of the stride, to latents. Cheap: traces come from the decoder."""
        pictures = keras.Input((None, None, 3))
        x = keras.layers.Rescaling(2.0, -1.0, dtype=self.precision)(pictures)
        x = keras.layers.Conv2D(self.width, 4, strides=4, dtype=self.precision, name="to_4")(x)
        x = self._residual(x, self.width, 3, "4")
        size = 4
        while size < self.stride:
            size *= 2
            filters = self._filters(size)
            x = keras.layers.Conv2D(filters, 2, strides=2, dtype=self.precision, name=f"to_{size}")(x)
            x = self._residual(x, filters, 3, str(size))
        latents = keras.layers.Conv2D(self.chosen["latent_channels"], 1, dtype=self.precision, name="latents")(x)
        return keras.Model(pictures, latents, name="encoder")

    def decoder(self) -> keras.Model:
        """Latents to pictures in about [0, 1], not clipped."""
        latents = keras.Input((None, None, self.chosen["latent_channels"]))
        size = self.stride
        x = self._blocks(self._conv(latents, self._filters(size), 3, "from_latents"), size)
        while size > 1:
            x = self._enlarged(x, size)
            size //= 2
            x = self._blocks(x, size)
        # No normalisation from here on: colours survive better without.
        x = self._conv(self._active(x), 3, self.chosen["kernel"], "colours")
        return keras.Model(latents, keras.layers.Rescaling(0.5, 0.5, dtype="float32")(x), name="decoder")

    def _filters(self, size: int) -> int:
        """Channels at one ``size``-th of the picture's size."""
        return {1: self.width // 4, 2: self.width // 2, 16: 2 * self.width}.get(size, self.width)

    def _kernel(self, size: int) -> int:
        return 3 if size == 16 else self.chosen["kernel"]

    def _blocks(self, x: Any, size: int) -> Any:
        # Full size is where the time goes, and a sixteenth where the weights lie.
        count = {1: 0, 4: self.chosen["depth"], 8: self.chosen["depth"]}.get(size, 1)
        for block in range(count):
            x = self._residual(x, self._filters(size), self._kernel(size), f"{size}_{block + 1}")
        return x

    def _enlarged(self, x: Any, size: int) -> Any:
        """From one ``size``-th of the picture's size to twice that."""
        way, kernel = self.chosen["upsampler"], self._kernel(size)
        filters, name = self._filters(size // 2), f"to_{size // 2}"
        if way == "transposed":
            layer = keras.layers.Conv2DTranspose
            return layer(filters, kernel, strides=2, padding="same", dtype=self.precision, name=name)(x)
        if way == "shuffle":
            return PixelShuffle(2, dtype=self.precision)(self._conv(x, 4 * filters, kernel, name))
        twice = EnlargeBilinear if way == "bilinear" else keras.layers.UpSampling2D
        return self._conv(twice(2, dtype=self.precision)(x), filters, kernel, name)

    def _residual(self, x: Any, filters: int, kernel: int, name: str) -> Any:
        y = self._conv(self._active(self._normalised(x, f"{name}_norm_1")), filters, kernel, f"{name}_conv_1")
        y = self._active(self._normalised(y, f"{name}_norm_2"))
        # Starting at zero makes the fresh network almost linear, which cuts the first half of the training short.
        y = self._conv(y, filters, kernel, f"{name}_conv_2", kernel_initializer="zeros")
        return keras.layers.Add(dtype=self.precision)([x, y])

    def _normalised(self, x: Any, name: str) -> Any:
        if self.chosen["normalisation"] == "batch":
            # A training of a few hundred steps is over before the usual 0.99 has forgotten its start.
            return keras.layers.BatchNormalization(momentum=0.95, dtype=self.precision, name=name)(x)
        if self.chosen["normalisation"] == "group":
            return keras.layers.GroupNormalization(GROUPS, dtype=self.precision, name=name)(x)
        return x

    def _active(self, x: Any) -> Any:
        return keras.layers.Activation(self.chosen["activation"], dtype=self.precision)(x)

    def _conv(self, x: Any, filters: int, kernel: int, name: str, **kwargs: Any) -> Any:
        return keras.layers.Conv2D(filters, kernel, padding="same", dtype=self.precision, name=name, **kwargs)(x)
