"""Attention between positions and between channels, each added to its input by a learnt share that starts at 0.

Reference: Fu et al. 2019, "Dual attention network for scene segmentation", arXiv:1809.02983.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from segmentation.layers.attention import attend


@keras.saving.register_keras_serializable("segmentation")
class PositionAttention(keras.layers.Layer):
    """``x + alpha * attention``: each position of ``query`` mixes the positions of ``x`` that resemble it.

    Query and key are 1x1 convolutions to an eighth of the channels, the value is one to as many as ``x`` has, all with
    bias; scores are plain products, not divided by the root of the width. For self-attention pass ``x`` twice. See
    ``segmentation.layers.attention.attend`` for the memory.

    Args:
        softmax: ``rows`` normalises over the keys of each query, ``joint`` over all pairs of a picture at once.
        chunk: queries handled at a time.

    Input shape: x and query, both (batch, h, w, ...) of one size, any. Output shape: that of x.

    References: Fu et al. 2019, arXiv:1809.02983; Dong et al. 2021, arXiv:2104.06832; with a query from elsewhere,
        Daryani et al. 2023, IRL-Net.
    """

    def __init__(self, softmax: str = "rows", chunk: int = 1024, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if softmax not in ("rows", "joint"):
            raise ValueError(f"softmax must be rows or joint. Received: softmax={softmax!r}")
        self.softmax, self.chunk = softmax, chunk

    def build(self, x_shape: tuple[Any, ...], query_shape: tuple[Any, ...]) -> None:
        width, narrow = x_shape[-1], max(1, x_shape[-1] // 8)
        self.query, self.key, self.value = (
            keras.layers.Conv2D(filters, 1, name=name, dtype=self.dtype_policy)
            for filters, name in ((narrow, "query"), (narrow, "key"), (width, "value"))
        )
        self.query.build(query_shape)
        self.key.build(x_shape)
        self.value.build(x_shape)
        self.alpha = self.add_weight(shape=(1,), name="alpha", initializer="zeros")

    def call(self, x: Any, query: Any) -> Any:
        mixed = attend(self.query(query), self.key(x), self.value(x), softmax=self.softmax, chunk=self.chunk)
        return x + ops.cast(self.alpha, x.dtype) * mixed

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], query_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return x_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "softmax": self.softmax, "chunk": self.chunk}


@keras.saving.register_keras_serializable("segmentation")
class ChannelAttention(keras.layers.Layer):
    """``x + beta * attention``: each channel mixes the channels that resemble it least.

    The resemblance of two channels is the sum of their products over all positions, without learnt projections; the
    softmax is of each row's largest less the value, as in the authors' code. It takes batch * c * c float32 and no
    N x N matrix.

    Input shape: (batch, h, w, c), any size. Output shape: the same.

    References: Fu et al. 2019, arXiv:1809.02983; Dong et al. 2021, arXiv:2104.06832.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.beta = self.add_weight(shape=(1,), name="beta", initializer="zeros")

    def call(self, x: Any) -> Any:
        batch, height, width, channels = ops.shape(x)
        flat = ops.reshape(x, (batch, -1, channels))
        # Sums over thousands of positions in an exponent: half precision would not do.
        full = ops.cast(flat, "float32")
        likeness = ops.matmul(ops.swapaxes(full, 1, 2), full)
        share = ops.softmax(ops.max(likeness, axis=-1, keepdims=True) - likeness, axis=-1)
        mixed = ops.matmul(flat, ops.swapaxes(ops.cast(share, x.dtype), 1, 2))
        return x + ops.cast(self.beta, x.dtype) * ops.reshape(mixed, (batch, height, width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
