"""Small parts that several localizers are made of."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from segmentation.layers.filters import pad_symmetric


@keras.saving.register_keras_serializable("segmentation")
class SqueezeExcitation(keras.layers.Layer):
    """Weigh each channel by a number in (0, 1) that two dense layers make of the means of all channels.

    Args:
        ratio: how many times narrower the first dense layer (relu) is than the input; the second ends in a sigmoid.

    Input shape: (batch, h, w, c), any size. Output shape: the same.

    Reference: Hu et al. 2018, arXiv:1709.01507.
    """

    def __init__(self, ratio: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        narrow = max(1, channels // self.ratio)
        self.squeeze = keras.layers.Dense(narrow, "relu", name="squeeze", dtype=self.dtype_policy)
        self.excite = keras.layers.Dense(channels, "sigmoid", name="excite", dtype=self.dtype_policy)
        self.squeeze.build((input_shape[0], channels))
        self.excite.build((input_shape[0], narrow))

    def call(self, x: Any) -> Any:
        means = ops.cast(ops.mean(ops.cast(x, "float32"), axis=(1, 2)), x.dtype)
        return x * self.excite(self.squeeze(means))[:, None, None, :]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable("segmentation")
class SymmetricConv2D(keras.layers.Conv2D):
    """A trainable convolution of stride 1 that mirrors its input over the borders, the edge pixel repeated.

    Zero padding draws an edge along the border of every picture, which filters made for faint traces answer loudly.

    Args:
        filters, kernel_size: of the convolution; the sides of the kernel are odd.
        kwargs: those of ``keras.layers.Conv2D`` but for strides, padding, data format, dilation and groups.

    Input shape: (batch, h, w, c), sides unknown or not below half the kernel's. Output shape: (batch, h, w, filters).
    """

    _FIXED = ("strides", "padding", "data_format", "dilation_rate", "groups")

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs: Any) -> None:
        given = [name for name in self._FIXED if name in kwargs]
        if given:
            raise ValueError(f"{', '.join(given)} cannot be chosen. Received: {given[0]}={kwargs[given[0]]!r}")
        super().__init__(filters, kernel_size, padding="valid", **kwargs)
        if any(side % 2 == 0 for side in self.kernel_size):
            raise ValueError(f"sides of the kernel must be odd. Received: kernel_size={kernel_size}")

    def call(self, x: Any) -> Any:
        return super().call(pad_symmetric(x, *(side // 2 for side in self.kernel_size)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:3], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name not in self._FIXED}


@keras.saving.register_keras_serializable("segmentation")
class SobelGate(keras.layers.Layer):
    """Pass what lies on edges more than what lies between them: the input times the sigmoid of its edge strength.

    Both directions of the Sobel filter are summed over all channels and pass a batch norm each; the strength is the
    length of the two. The filters never change; they are kept as fixed weights, as in the authors' code.

    Args:
        momentum, epsilon: of the batch norms.

    Input shape: (batch, h, w, c), any size. Output shape: the same.

    Reference: Dong et al. 2021, MVSS-Net, arXiv:2104.06832.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (3, 3, input_shape[-1], 1)
        self.kernel_x = self.add_weight(shape=shape, name="kernel_x", initializer=_sobel_x, trainable=False)
        self.kernel_y = self.add_weight(shape=shape, name="kernel_y", initializer=_sobel_y, trainable=False)
        self.norm_x, self.norm_y = (
            keras.layers.BatchNormalization(
                momentum=self.momentum, epsilon=self.epsilon, name=name, dtype=self.dtype_policy
            )
            for name in ("norm_x", "norm_y")
        )
        for norm in (self.norm_x, self.norm_y):
            norm.build((*input_shape[:3], 1))

    def call(self, x: Any, training: bool | None = None) -> Any:
        across = self.norm_x(ops.conv(x, ops.cast(self.kernel_x, x.dtype), padding="same"), training=training)
        down = self.norm_y(ops.conv(x, ops.cast(self.kernel_y, x.dtype), padding="same"), training=training)
        # The slope of a square root at 0 is infinite.
        return ops.sigmoid(ops.sqrt(ops.square(across) + ops.square(down) + 1e-12)) * x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
"""The Sobel filter for differences along a row; its transpose is that for columns."""


def _sobel_x(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return ops.broadcast_to(ops.cast(SOBEL[:, :, None, None], dtype or "float32"), shape)


def _sobel_y(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return ops.broadcast_to(ops.cast(SOBEL.T[:, :, None, None], dtype or "float32"), shape)
