"""A small learned inpainter: it fills holes from what surrounds them, in one pass and at any size.

First every hole gets a smooth fill that needs no learning (pull-push). On top of it a network paints structure and
texture: a gated encoder and decoder around blocks that look near and far at once (four dilations side by side). Noise
is put into the hole for the network to shape; it is the same noise at every call, so equal inputs give equal fills.
Half a million parameters: it paints grass and walls, not faces.

References: Gortler et al. 1996, The Lumigraph (pull-push); Yu et al. 2019, arXiv:1806.03589 (gated convolution); Zeng
et al. 2021, arXiv:2104.01431 (dilations side by side).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fakeclf.models.autoencoder import Clip
from fakeclf.models.layers import CropLike, PadToMultiple
from segmentation.layers.resize import resize_bilinear
from segmentation.models.frame import channels

STRIDE = 4
RATES = (1, 2, 4, 8)
BLOCKS = 4


def build(input_size: int | None = None, *, width: float = 1.0) -> keras.Model:
    """Build the inpainter with fresh weights.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        width: factor on the number of channels.

    Input: a dictionary, ``pictures`` (batch, height, width, 3), float 0-255, and ``holes`` (batch, height, width, 1),
    1 = to be filled, 0 = to be kept; what the pictures hold inside the holes is not looked at.
    Output shape: (batch, height, width, 3), float 0-255, not rounded; the pictures themselves outside the holes.
    """
    pictures = keras.Input((None, None, 3), name="pictures")
    holes = keras.Input((None, None, 1), name="holes")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="to_unit")(pictures)
    padded = PadToMultiple(STRIDE, dtype="float32", name="pad")(scaled)
    padded_holes = PadToMultiple(STRIDE, dtype="float32", name="pad_holes")(holes)
    filled = build_network(width)([padded, padded_holes])
    filled = CropLike(dtype="float32", name="crop")(filled, pictures)
    filled = keras.layers.Rescaling(255.0, dtype="float32", name="to_byte")(filled)
    filled = Clip(0.0, 255.0, dtype="float32", name="clip")(filled)
    whole = Paste(dtype="float32", name="paste")([pictures, filled, holes])
    return keras.Model({"pictures": pictures, "holes": holes}, whole, name="inpainter")


def build_network(width: float = 1.0, precision: str = "float32") -> keras.Model:
    """The network proper: [pictures in [0, 1], holes], sides multiples of 4, to whole pictures in about [0, 1].

    Fresh, it gives the smooth fill: the last convolution starts at zero.
    """
    pictures, holes = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    full, half, quarter = (channels(count, width, 4) for count in (16, 32, 64))
    smooth = PullPush(dtype="float32", name="smooth")([pictures, holes])
    holed = HoledInput(dtype="float32", name="holed")([smooth, holes])
    first = x = _gated(holed, half, 4, precision, "to_half", strides=2)
    x = _gated(x, quarter, 4, precision, "to_quarter", strides=2)
    for block in range(BLOCKS):
        x = _near_and_far(x, quarter, precision, f"block_{block + 1}")
    x = _twice(x, half, precision, "up_half")
    x = _gated(keras.layers.Add(dtype=precision)([x, first]), half, 3, precision, "half_again")
    # Few channels and no gates at full size, which would take two thirds of the time.
    x = keras.layers.ReLU(dtype=precision)(_twice(x, full, precision, "up_full"))
    x = keras.layers.Concatenate(dtype=precision)([x, holed])
    x = _conv(x, full, 3, precision, "full")
    x = _conv(keras.layers.ReLU(dtype=precision)(x), 3, 3, precision, "colours", kernel_initializer="zeros")
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


def _conv(x: Any, filters: int, size: int, precision: str, name: str, **kwargs: Any) -> Any:
    return keras.layers.Conv2D(filters, size, padding="same", dtype=precision, name=name, **kwargs)(x)


def _gated(x: Any, filters: int, size: int, precision: str, name: str, **kwargs: Any) -> Any:
    return Gate(dtype=precision, name=f"{name}_gate")(_conv(x, 2 * filters, size, precision, name, **kwargs))


def _near_and_far(x: Any, filters: int, precision: str, name: str) -> Any:
    branches = [
        _conv(x, filters // len(RATES), 3, precision, f"{name}_rate_{rate}", dilation_rate=rate, activation="relu")
        for rate in RATES
    ]
    y = keras.layers.Concatenate(dtype=precision)(branches)
    return keras.layers.Add(dtype=precision)([x, _gated(y, filters, 3, precision, name)])


def _twice(x: Any, filters: int, precision: str, name: str) -> Any:
    return keras.layers.Conv2DTranspose(filters, 2, strides=2, dtype=precision, name=name)(x)
