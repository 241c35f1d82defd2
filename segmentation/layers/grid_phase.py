"""A phase-aware view of periodic traces: the 8x8 grid of JPEG, and the periods of generators' upsamplers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

PERIOD = 8
WINDOWS = (3, 7)


@keras.saving.register_keras_serializable("segmentation")
class GridPhase(keras.layers.Layer):
    """How strong periodic edges are around each 8x8 block, and how far they agree with the whole picture's.

    The excess of each difference of neighbouring pixels over the two beside it is averaged by its position modulo 8,
    in windows of 3x3 and 7x7 blocks and over the whole picture. The magnitudes of that signal's Fourier coefficients
    (periods 8, 4, 8/3 and 2) do not depend on where the grid begins; the real part of local times conjugate global
    coefficient, divided by the global magnitude, tells whether the local grid lies where the picture's does.

    Input shape: (batch, h, w, c), values in [0, 1], sides multiples of 8.
    Output shape: (batch, h / 8, w / 8, 40): 8 magnitudes and 8 agreements a window, 8 global magnitudes.

    Reference: Li, Yuan & Yu 2009, "Passive detection of doctored JPEG image via block artifact grid extraction", which
    takes a grid that lies elsewhere as the evidence.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        angle = 2 * np.pi * np.outer(np.arange(PERIOD), np.arange(1, PERIOD // 2 + 1)) / PERIOD
        self.cosine, self.sine = np.cos(angle).astype("float32"), np.sin(angle).astype("float32")

    def call(self, x: Any) -> Any:
        luminance = ops.mean(x, axis=-1, keepdims=True) * 255.0
        made = []
        for axis in (1, 2):
            phases = self._phases(luminance, axis)
            coefficients = [ops.matmul(phases, self.cosine), ops.matmul(phases, self.sine)]
            whole = [ops.mean(part, axis=(1, 2), keepdims=True) for part in coefficients]
            strength = ops.sqrt(whole[0] ** 2 + whole[1] ** 2 + 1e-4)
            for window in WINDOWS:
                local = [ops.average_pool(part, window, strides=1, padding="same") for part in coefficients]
                made.append(ops.sqrt(local[0] ** 2 + local[1] ** 2 + 1e-4))
                made.append((local[0] * whole[0] + local[1] * whole[1]) / strength)
            made.append(ops.broadcast_to(strength, ops.shape(made[0])))
        return ops.concatenate(made, axis=-1)

    def _phases(self, luminance: Any, axis: int) -> Any:
        """Mean excess of differences along ``axis`` in each block, by position: (batch, h / 8, w / 8, 8)."""
        before = ops.concatenate([_slice(luminance, axis, 0, 1), _slice(luminance, axis, 0, -1)], axis=axis)
        step = ops.abs(luminance - before)
        left = ops.concatenate([_slice(step, axis, 0, 1), _slice(step, axis, 0, -1)], axis=axis)
        right = ops.concatenate([_slice(step, axis, 1, None), _slice(step, axis, -1, None)], axis=axis)
        # Edges of what is shown are much larger than those of a grid.
        excess = ops.clip(step - 0.5 * (left + right), -4.0, 4.0)
        shape = ops.shape(excess)
        blocks = ops.reshape(excess, (shape[0], shape[1] // PERIOD, PERIOD, shape[2] // PERIOD, PERIOD))
        return ops.transpose(ops.mean(blocks, axis=4), (0, 1, 3, 2)) if axis == 1 else ops.mean(blocks, axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        blocks = [None if side is None else side // PERIOD for side in (height, width)]
        return (batch, *blocks, 2 * (2 * len(WINDOWS) + 1) * (PERIOD // 2))


def _slice(x: Any, axis: int, start: int, stop: int | None) -> Any:
    return x[:, start:stop] if axis == 1 else x[:, :, start:stop]
