"""Resizing that trains inside ``tf.function`` and exports with unknown sizes.

``keras.layers.UpSampling2D`` (bilinear) and ``keras.ops.image.resize`` do neither reliably on TensorFlow, so that
backend takes ``tf.image.resize``; the others keep Keras' own.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fakeclf.models import layers


@keras.saving.register_keras_serializable("segmentation")
class ResizeBy(keras.layers.Layer):
    """Enlarge by a whole factor, bilinear.

    Args:
        factor: how many times.
        align_corners: corner pixels keep their places (sampling step (n - 1) / (factor * n - 1)); False takes
            half-pixel centres. The former is two interpolation matrices, which any backend multiplies.

    Input shape: (batch, h, w, c). Output shape: (batch, factor * h, factor * w, c).
    """

    def __init__(self, factor: int, align_corners: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor, self.align_corners = factor, align_corners

    def call(self, x: Any) -> Any:
        height, width = ops.shape(x)[1], ops.shape(x)[2]
        if self.align_corners:
            return resize_aligned(x, height * self.factor, width * self.factor)
        return resize_bilinear(x, height * self.factor, width * self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return (batch, _times(height, self.factor), _times(width, self.factor), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "align_corners": self.align_corners}


@keras.saving.register_keras_serializable("segmentation")
class ResizeLike(keras.layers.Layer):
    """Bring the first input to the height and width of the second.

    Args:
        method: ``bilinear`` (half-pixel centres), ``aligned`` (bilinear, corners keep their places) or ``nearest``
            (input index = output index * in // out, in whole numbers).

    Input shape: two tensors (batch, h, w, c). Output shape: the first with the second's sides.
    """

    def __init__(self, method: str = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if method not in ("bilinear", "aligned", "nearest"):
            raise ValueError(f"method must be bilinear, aligned or nearest. Received: method={method!r}")
        self.method = method

    def call(self, x: Any, like: Any) -> Any:
        resize = {"bilinear": resize_bilinear, "aligned": resize_aligned, "nearest": resize_nearest}[self.method]
        return resize(x, ops.shape(like)[1], ops.shape(like)[2])

    def compute_output_shape(self, x_shape: tuple, like_shape: tuple) -> tuple[int | None, ...]:
        return (x_shape[0], like_shape[1], like_shape[2], x_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "method": self.method}


def resize_bilinear(x: Any, height: Any, width: Any) -> Any:
    """Bilinear resize of (batch, h, w, c) with half-pixel centres, not anti-aliased."""
    return layers.resize_bilinear(x, height, width, antialias=False)


def resize_aligned(x: Any, height: Any, width: Any) -> Any:
    """Bilinear resize of (batch, h, w, c) that keeps corner pixels in place: two products with small matrices."""
    rows = _aligned_matrix(ops.shape(x)[1], height)
    columns = _aligned_matrix(ops.shape(x)[2], width)
    x = ops.einsum("oh,bhwc->bowc", ops.cast(rows, x.dtype), x)
    return ops.einsum("pw,bowc->bopc", ops.cast(columns, x.dtype), x)


def resize_nearest(x: Any, height: Any, width: Any) -> Any:
    """Nearest resize of (batch, h, w, c): input index = output index * in // out."""
    rows = ops.arange(height, dtype="int32") * ops.shape(x)[1] // height
    columns = ops.arange(width, dtype="int32") * ops.shape(x)[2] // width
    return ops.take(ops.take(x, rows, axis=1), columns, axis=2)


def _aligned_matrix(old: Any, new: Any) -> Any:
    """(new, old): row i holds the weights of the two inputs that output i lies between."""
    step = ops.cast(old - 1, "float32") / ops.cast(ops.maximum(new - 1, 1), "float32")
    place = ops.cast(ops.arange(new), "float32")[:, None] * step
    distance = ops.abs(place - ops.cast(ops.arange(old), "float32")[None, :])
    return ops.maximum(1.0 - distance, 0.0)


def _times(side: int | None, factor: int) -> int | None:
    return None if side is None else side * factor
