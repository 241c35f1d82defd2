"""A convolutional LSTM over a short, fixed number of maps, at any map size."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

GATES = {"sigmoid": ops.sigmoid, "hard": lambda x: ops.clip(0.2 * x + 0.5, 0.0, 1.0)}
"""``hard`` is Keras 2's hard sigmoid; Keras 3's has another slope (1 / 6)."""


@keras.saving.register_keras_serializable("segmentation")
class ConvLSTM(keras.layers.Layer):
    """Read a list of maps one after the other and return the last hidden state.

    ``keras.layers.ConvLSTM2D`` wants to know the maps' size and stacks them on a fifth axis; this one unrolls a list.
    Its weights have that layer's shapes and order of gates: input, forget, cell, output.

    Args:
        filters: channels of the state.
        kernel_size: of both convolutions, zero-padded to keep the size.
        gates: ``sigmoid`` or ``hard`` (published weights of ManTra-Net, trained with Keras 2).

    Input shape: a list of (batch, h, w, c). Output shape: (batch, h, w, filters).

    Reference: Shi et al. 2015, arXiv:1506.04214.
    """

    def __init__(self, filters: int, kernel_size: int = 7, gates: str = "sigmoid", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if gates not in GATES:
            raise ValueError(f"gates must be sigmoid or hard. Received: gates={gates!r}")
        self.filters, self.kernel_size, self.gates = filters, kernel_size, gates

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        size, filters = (self.kernel_size, self.kernel_size), self.filters
        self.kernel = self.add_weight(shape=(*size, input_shape[0][-1], 4 * filters), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(*size, filters, 4 * filters), name="recurrent_kernel", initializer="orthogonal"
        )
        self.bias = self.add_weight(shape=(4 * filters,), name="bias", initializer=_forget_bias)

    def call(self, maps: list[Any]) -> Any:
        gate = GATES[self.gates]
        hidden = cell = None
        for x in maps:
            mixed = ops.conv(x, ops.cast(self.kernel, x.dtype), padding="same") + ops.cast(self.bias, x.dtype)
            if hidden is not None:
                mixed = mixed + ops.conv(hidden, ops.cast(self.recurrent_kernel, x.dtype), padding="same")
            into, keep, new, out = ops.split(mixed, 4, axis=-1)
            written = gate(into) * ops.tanh(new)
            cell = written if cell is None else gate(keep) * cell + written
            hidden = gate(out) * ops.tanh(cell)
        return hidden

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (*input_shape[0][:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "gates": self.gates,
        }


def _forget_bias(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Zeros, and ones for the forget gate (Jozefowicz et al. 2015): what came before is kept at first."""
    quarter = shape[0] // 4
    return ops.concatenate([ops.zeros(quarter, dtype), ops.ones(quarter, dtype), ops.zeros(2 * quarter, dtype)])
