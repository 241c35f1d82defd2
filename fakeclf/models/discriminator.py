"""The adversary of a generator: says, patch by patch, how real a picture looks.

It looks at a picture and, much enlarged, at what a 3x3 mean leaves of it: traces of a generator lie in detail of small
amplitude, which a discriminator that is shown the picture alone takes thousands of steps to find. Spectral
normalisation keeps the slope of all layers but the last bounded.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

GAIN = 8.0
"""Brings what a 3x3 mean leaves of photographs to the range of the photographs themselves."""


def build(channels: int = 3, *, width: int = 32, depth: int = 4, precision: str = "float32") -> keras.Model:
    """A patch discriminator with fresh weights.

    Args:
        channels: of its input: 3 for pictures, 4 for pictures with the mask of what was filled.
        width: filters of the first layer; each further layer has twice as many, up to four times ``width``.
        depth: layers that halve the sides; a patch is 2 ** (depth + 2) pixels wide, less 3.
        precision: Keras dtype policy of the convolutions.

    Input shape: (batch, h, w, channels), values in [0, 1], sides of at least 2 ** depth.
    Output shape: (batch, h / 2 ** depth, w / 2 ** depth, 1), float32 logits, large = real.

    Reference: Isola et al. 2017, arXiv:1611.07004; Miyato et al. 2018, arXiv:1802.05957; Yu et al. 2019,
    arXiv:1806.03589.
    """
    pictures = keras.Input((None, None, channels))
    mean = keras.layers.AveragePooling2D(3, strides=1, padding="same", dtype="float32")(pictures)
    detail = keras.layers.Rescaling(GAIN, dtype="float32")(keras.layers.Subtract(dtype="float32")([pictures, mean]))
    x = keras.layers.Concatenate(dtype="float32")(
        [keras.layers.Rescaling(2.0, -1.0, dtype="float32")(pictures), detail]
    )
    for layer in range(depth):
        filters = width * min(2**layer, 4)
        x = SpectralConv2D(filters, 4, strides=2, padding="same", dtype=precision, name=f"conv_{layer + 1}")(x)
        x = keras.layers.LeakyReLU(0.2, dtype=precision)(x)
    logits = keras.layers.Conv2D(1, 1, dtype=precision, name="logits")(x)
    return keras.Model(pictures, keras.layers.Activation("linear", dtype="float32")(logits), name="discriminator")


@keras.saving.register_keras_serializable(package="fakeclf")
class SpectralConv2D(keras.layers.Conv2D):
    """Convolution whose kernel, as a matrix of (positions and channels in, filters), has a largest singular value of 1.

    The value is followed by one step of power iteration a training call; the gradient flows through the division. The
    kernel itself stays as the optimiser left it, in full precision also under a mixed policy.

    Input and output shapes: those of ``keras.layers.Conv2D``.

    Reference: Miyato et al. 2018, arXiv:1802.05957.
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.direction = self.add_weight(
            shape=(1, self.filters),
            initializer="random_normal",
            trainable=False,
            autocast=False,
            dtype="float32",
            name="direction",
        )

    def call(self, x: Any, training: bool = False) -> Any:
        matrix = ops.cast(ops.reshape(self.kernel, (-1, self.filters)), "float32")
        fixed = ops.stop_gradient(matrix)
        left = _unit(ops.matmul(self.direction, ops.transpose(fixed)))
        right = _unit(ops.matmul(left, fixed))
        if training:
            self.direction.assign(right)
        largest = ops.sum(ops.matmul(left, matrix) * right)
        kernel = ops.reshape(matrix / ops.maximum(largest, 1e-6), self.kernel.shape)
        x = self.convolution_op(x, ops.cast(kernel, x.dtype))
        return x + ops.cast(self.bias, x.dtype) if self.use_bias else x

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["direction"] = self.direction

    def load_own_variables(self, store: Any) -> None:
        # Not Keras' own: it refuses what has more variables than kernel and bias.
        for number, variable in enumerate([self.kernel, self.bias] if self.use_bias else [self.kernel]):
            variable.assign(store[str(number)])
        self.direction.assign(store["direction"])


def _unit(vector: Any) -> Any:
    return vector / ops.maximum(ops.sqrt(ops.sum(ops.square(vector))), 1e-12)
