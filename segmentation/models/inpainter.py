"""A small learned inpainter: it fills holes from what surrounds them, in one pass and at any size.

First every hole gets a smooth fill that needs no learning (pull-push). On top of it a network paints structure and
texture: a gated encoder and decoder around blocks that look near and far at once (four dilations side by side). Noise
is put into the hole for the network to shape; it is the same noise at every call, so equal inputs give equal fills.
Half a million parameters: it paints grass and walls, not faces.

References: Gortler et al. 1996, The Lumigraph (pull-push); Yu et al. 2019, arXiv:1806.03589 (gated convolution); Zeng
et al. 2021, arXiv:2104.01431 (dilations side by side); Karras et al. 2020, arXiv:1912.04958 (colours at every size).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from fakeclf.errors import FakeclfError
from fakeclf.models.autoencoder import Clip
from fakeclf.models.layers import CropLike, EnlargeBilinear, PadToMultiple, PixelShuffle
from segmentation.layers.resize import resize_bilinear
from segmentation.models.frame import channels

STRIDES = (4, 8)
KERNELS = (3, 5)
UPSAMPLERS = ("nearest", "bilinear", "transposed", "shuffle")
NORMALISATIONS = ("none", "group")
COLOURS = ("last", "every")
NOISE = ("hole", "layers")
GROUPS = 4
RATES = (1, 2, 4, 8)


def build(
    input_size: int | None = None,
    *,
    width: float = 1.0,
    upsampler: str = "transposed",
    stride: int = 4,
    kernel: int = 3,
    blocks: int = 4,
    gated: bool = True,
    normalisation: str = "none",
    colours: str = "last",
    noise: str = "hole",
    precision: str = "float32",
) -> keras.Model:
    """Build the inpainter with fresh weights; before its last convolution has learnt, it gives the smooth fill.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        width: factor on the number of channels.
        upsampler: how the decoder enlarges, one of ``UPSAMPLERS``; nothing else leaves traces as plain.
        stride: between the picture and the blocks in the middle, 4 or 8.
        kernel: side of the decoder's convolutions, 3 or 5.
        blocks: how many of them look near and far.
        gated: False puts a leaky ReLU in the place of each gate.
        normalisation: of the blocks, ``none`` or ``group``.
        colours: painted by the ``last`` convolution, or by one at ``every`` size, enlarged and added up (StyleGAN 2).
        noise: put into the ``hole`` that the network sees, or there and into the decoder's ``layers`` (StyleGAN).
        precision: Keras dtype policy of the convolutions, such as "mixed_bfloat16" for training.

    Input: a dictionary, ``pictures`` (batch, height, width, 3), float 0-255, and ``holes`` (batch, height, width, 1),
    1 = to be filled, 0 = to be kept; what the pictures hold inside the holes is not looked at.
    Output shape: (batch, height, width, 3), float 0-255, not rounded; the pictures themselves outside the holes.

    Raises:
        FakeclfError: a choice that is not named here.
    """
    chosen: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "upsampler": (upsampler, UPSAMPLERS),
        "stride": (stride, STRIDES),
        "kernel": (kernel, KERNELS),
        "normalisation": (normalisation, NORMALISATIONS),
        "colours": (colours, COLOURS),
        "noise": (noise, NOISE),
    }
    for name, (value, allowed) in chosen.items():
        if value not in allowed:
            raise FakeclfError(f"{name} must be one of {', '.join(map(str, allowed))}; received {value!r}")
    parts = _Parts(precision, upsampler, kernel, gated, normalisation, noise == "layers")
    pictures = keras.Input((None, None, 3), name="pictures")
    holes = keras.Input((None, None, 1), name="holes")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="to_unit")(pictures)
    padded = PadToMultiple(stride, dtype="float32", name="pad")(scaled)
    padded_holes = PadToMultiple(stride, dtype="float32", name="pad_holes")(holes)
    filled = _network(parts, width, stride, blocks, colours == "every")([padded, padded_holes])
    filled = CropLike(dtype="float32", name="crop")(filled, pictures)
    filled = keras.layers.Rescaling(255.0, dtype="float32", name="to_byte")(filled)
    filled = Clip(0.0, 255.0, dtype="float32", name="clip")(filled)
    whole = Paste(dtype="float32", name="paste")([pictures, filled, holes])
    return keras.Model({"pictures": pictures, "holes": holes}, whole, name="inpainter")


def _network(parts: _Parts, width: float, stride: int, blocks: int, everywhere: bool) -> keras.Model:
    """The network proper: [pictures in [0, 1], holes], sides multiples of ``stride``, to whole pictures."""
    pictures, holes = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    full, half, quarter = (channels(count, width, 4) for count in (16, 32, 64))
    smooth = PullPush(dtype="float32", name="smooth")([pictures, holes])
    holed = HoledInput(dtype="float32", name="holed")([smooth, holes])
    first = x = parts.gate(holed, half, 4, "to_half", strides=2)
    second = x = parts.gate(x, quarter, 4, "to_quarter", strides=2)
    if stride == 8:
        x = parts.gate(x, quarter, 4, "to_eighth", strides=2)
    for block in range(blocks):
        x = parts.near_and_far(x, quarter, f"block_{block + 1}")
    painted = None
    if stride == 8:
        x = parts.twice(x, quarter, "up_quarter")
        x = parts.gate(parts.add(x, second), quarter, parts.kernel, "quarter_again")
        if everywhere:
            painted = parts.colours(x, painted, "colours_at_quarter")
    x = parts.twice(x, half, "up_half")
    x = parts.gate(parts.add(x, first), half, parts.kernel, "half_again")
    if everywhere:
        painted = parts.colours(x, painted, "colours_at_half")
    # Few channels and no gates at full size, which would take two thirds of the time.
    x = keras.layers.ReLU(dtype=parts.precision)(parts.twice(x, full, "up_full"))
    x = keras.layers.Concatenate(dtype=parts.precision)([x, holed])
    x = keras.layers.ReLU(dtype=parts.precision)(parts.conv(x, full, parts.kernel, "full"))
    x = parts.colours(x, painted, "colours")
    painted = keras.layers.Add(dtype="float32", name="painted")([smooth, x])
    return keras.Model(
        [pictures, holes], Paste(dtype="float32", name="whole")([smooth, painted, holes]), name="network"
    )


@keras.saving.register_keras_serializable("segmentation")
class PullPush(keras.layers.Layer):
    """A smooth fill: each level of a pyramid, the mean of what is known, fills what is unknown in the level above.

    Args:
        levels: of the pyramid; a hole's depth in pixels may be up to 2 ** levels.

    Input shape: pictures, (batch, h, w, c), and holes, (batch, h, w, 1), 1 = unknown. Output shape: that of the
    pictures, which it equals outside the holes.
    """

    def __init__(self, levels: int = 9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = levels

    def call(self, inputs: Any) -> Any:
        pictures, holes = inputs
        return self._filled(pictures * (1.0 - holes), 1.0 - holes, self.levels)

    def _filled(self, sums: Any, known: Any, levels: int) -> Any:
        means = sums / ops.maximum(known, 1e-6)
        if levels == 0:
            return means
        halved = [ops.average_pool(x, 2, 2, padding="same") for x in (sums, known)]
        below = self._filled(halved[0], halved[1], levels - 1)
        trust = known if levels == self.levels else ops.cast(known > 0, known.dtype)
        return trust * means + (1.0 - trust) * resize_bilinear(below, ops.shape(sums)[1], ops.shape(sums)[2])

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}


@keras.saving.register_keras_serializable("segmentation")
class HoledInput(keras.layers.Layer):
    """Smoothly filled pictures, the holes, and noise within them.

    Args:
        seed: of the noise, which is the same at every call.

    Input shape: pictures in [0, 1], (batch, h, w, 3), and holes, (batch, h, w, 1).
    Output shape: (batch, h, w, 6): colours in [-1, 1], hole, two channels of normal noise.
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def call(self, inputs: Any) -> Any:
        pictures, holes = inputs
        batch, height, width, _ = ops.shape(pictures)
        noise = keras.random.normal((batch, height, width, 2), seed=self.seed, dtype=pictures.dtype)
        return ops.concatenate([2.0 * pictures - 1.0, holes, noise * holes], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[0][:3], 6)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("segmentation")
class AddNoise(keras.layers.Layer):
    """The features and normal noise, one value a position, times a strength that each channel learns.

    Args:
        seed: of the noise, which is the same at every call.

    Input and output shape: (batch, h, w, c). Reference: Karras et al. 2019, arXiv:1812.04948.
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.strength = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="strength")

    def call(self, x: Any) -> Any:
        batch, height, width, _ = ops.shape(x)
        return x + self.strength * keras.random.normal((batch, height, width, 1), seed=self.seed, dtype=x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("segmentation")
class Gate(keras.layers.Layer):
    """The first half of the channels, through a leaky ReLU, times the sigmoid of the second half.

    Input shape: (..., 2 * c). Output shape: (..., c).
    """

    def call(self, x: Any) -> Any:
        features, gate = ops.split(x, 2, axis=-1)
        return ops.leaky_relu(features, 0.2) * ops.sigmoid(gate)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        count = input_shape[-1]
        return (*input_shape[:-1], None if count is None else count // 2)


@keras.saving.register_keras_serializable("segmentation")
class Paste(keras.layers.Layer):
    """The first picture where the mask is 0, the second where it is 1, a mixture between.

    Input shape: two of (batch, h, w, c) and the mask, (batch, h, w, 1). Output shape: (batch, h, w, c).
    """

    def call(self, inputs: Any) -> Any:
        picture, other, mask = inputs
        return picture * (1.0 - mask) + other * mask

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])


@dataclass(frozen=True)
class _Parts:
    """The layers of one choice."""

    precision: str
    upsampler: str
    kernel: int
    gated: bool
    normalisation: str
    noisy: bool

    def conv(self, x: Any, filters: int, size: int, name: str, **kwargs: Any) -> Any:
        return keras.layers.Conv2D(filters, size, padding="same", dtype=self.precision, name=name, **kwargs)(x)

    def gate(self, x: Any, filters: int, size: int, name: str, **kwargs: Any) -> Any:
        if not self.gated:
            return keras.layers.LeakyReLU(0.2, dtype=self.precision)(self.conv(x, filters, size, name, **kwargs))
        return Gate(dtype=self.precision, name=f"{name}_gate")(self.conv(x, 2 * filters, size, name, **kwargs))

    def near_and_far(self, x: Any, filters: int, name: str) -> Any:
        y = x
        if self.normalisation == "group":
            y = keras.layers.GroupNormalization(GROUPS, dtype=self.precision, name=f"{name}_norm")(y)
        branches = [
            self.conv(y, filters // len(RATES), 3, f"{name}_rate_{rate}", dilation_rate=rate, activation="relu")
            for rate in RATES
        ]
        y = keras.layers.Concatenate(dtype=self.precision)(branches)
        return self.add(x, self.gate(y, filters, 3, name))

    def add(self, x: Any, y: Any) -> Any:
        return keras.layers.Add(dtype=self.precision)([x, y])

    def colours(self, x: Any, smaller: Any, name: str) -> Any:
        """Three channels of colour, on top of those of half the size, where there are any."""
        x = self.conv(x, 3, self.kernel, name, kernel_initializer="zeros")
        if smaller is None:
            return x
        return self.add(EnlargeBilinear(2, dtype=self.precision, name=f"{name}_below")(smaller), x)

    def twice(self, x: Any, filters: int, name: str) -> Any:
        """Twice the height and width, with noise in it if so chosen."""
        x = self._enlarged(x, filters, name)
        return AddNoise(dtype=self.precision, name=f"{name}_noise")(x) if self.noisy else x

    def _enlarged(self, x: Any, filters: int, name: str) -> Any:
        if self.upsampler == "transposed":
            size = 2 if self.kernel == 3 else 4  # multiples of the stride: others overlap in a checkerboard
            layer = keras.layers.Conv2DTranspose
            return layer(filters, size, strides=2, padding="same", dtype=self.precision, name=name)(x)
        if self.upsampler == "shuffle":
            return PixelShuffle(2, dtype=self.precision)(self.conv(x, 4 * filters, self.kernel, name))
        enlarge = EnlargeBilinear if self.upsampler == "bilinear" else keras.layers.UpSampling2D
        return self.conv(enlarge(2, dtype=self.precision)(x), filters, self.kernel, name)
