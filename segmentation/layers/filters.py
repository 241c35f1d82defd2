"""Filters that see what was done to a picture rather than what it shows: SRM, Bayar, fixed banks.

All kernels have Keras' layout, (height, width, channels in, filters).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

SRM_THREE = (
    np.array([[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]], np.float32)
    / 4,
    np.array(
        [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]], np.float32
    )
    / 12,
    np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.float32) / 2,
)
"""The three residual filters that forensic networks take from the spatial rich model: second order (KB), third-order
square (KV) and a row difference. References: Fridrich & Kodovsky 2012; Zhou et al. 2018, arXiv:1805.04953."""


def srm_bank(channels: int = 3) -> np.ndarray:
    """Each of ``SRM_THREE`` on each colour alone: (5, 5, channels, 3 * channels), filters of a colour together."""
    bank = np.zeros((5, 5, channels, 3 * channels), np.float32)
    for channel in range(channels):
        for number, kernel in enumerate(SRM_THREE):
            bank[:, :, channel, 3 * channel + number] = kernel
    return bank


@keras.saving.register_keras_serializable("segmentation")
class FixedConv2D(keras.layers.Layer):
    """Convolution with kernels that never change and are no weights: they stand in the configuration.

    Args:
        kernel: (height, width, channels in, filters), nested lists or an array.
        padding: ``same`` (zeros), ``valid`` or ``symmetric`` (the border mirrored, the edge pixel repeated).

    Input shape: (batch, h, w, channels in). Output shape: (batch, h, w, filters), smaller under ``valid``.
    """

    def __init__(self, kernel: Any, padding: str = "same", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel = np.asarray(kernel, np.float32)
        if self.kernel.ndim != 4:
            raise ValueError(f"kernel must be (height, width, channels in, filters). Received: {self.kernel.shape}")
        if padding not in ("same", "valid", "symmetric"):
            raise ValueError(f"padding must be same, valid or symmetric. Received: padding={padding!r}")
        self.padding = padding

    def call(self, x: Any) -> Any:
        kernel = ops.cast(self.kernel, x.dtype)
        if self.padding == "symmetric":
            return ops.conv(pad_symmetric(x, *(side // 2 for side in self.kernel.shape[:2])), kernel, padding="valid")
        return ops.conv(x, kernel, padding=self.padding)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return _conv_shape(input_shape, self.kernel.shape, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel": self.kernel.tolist(), "padding": self.padding}


@keras.saving.register_keras_serializable("segmentation")
class BayarConv2D(keras.layers.Layer):
    """Constrained convolution: in every kernel of every (input, filter) pair the centre is -1 and the rest sums to 1.

    The constraint is computed from the stored weights at each call and never written back, so any number of devices
    gives the same result, and the gradient passes through it.

    Reference: Bayar & Stamm 2018, doi:10.1109/TIFS.2018.2825953.

    Args:
        filters: number of filters.
        kernel_size: odd side of the kernels, pixels.
        padding: see ``FixedConv2D``.
        stored_centre: keep the centres among the weights, (side, side, c, filters), though the constraint never reads
            them; False keeps (side² - 1, c, filters), row by row without the centre.

    Input shape: (batch, h, w, c). Output shape: (batch, h, w, filters), smaller under ``valid``.
    """

    def __init__(
        self, filters: int, kernel_size: int = 5, padding: str = "same", stored_centre: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd. Received: kernel_size={kernel_size}")
        if padding not in ("same", "valid", "symmetric"):
            raise ValueError(f"padding must be same, valid or symmetric. Received: padding={padding!r}")
        self.filters, self.kernel_size, self.padding = filters, kernel_size, padding
        self.stored_centre = stored_centre

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        ends = (input_shape[-1], self.filters)
        places = (self.kernel_size, self.kernel_size) if self.stored_centre else (self.kernel_size**2 - 1,)
        # Positive at the start: the constraint divides by the sum, which must not be near zero.
        self.kernel = self.add_weight(
            shape=places + ends, name="kernel", initializer=keras.initializers.RandomUniform(0.0, 1.0)
        )

    def call(self, x: Any) -> Any:
        kernel = ops.cast(self.kernel, "float32")
        if not self.stored_centre:
            half, ends = self.kernel_size**2 // 2, kernel.shape[1:]
            kernel = ops.concatenate([kernel[:half], ops.zeros((1, *ends), "float32"), kernel[half:]])
            kernel = ops.reshape(kernel, (self.kernel_size, self.kernel_size, *ends))
        kernel = ops.cast(bayar_constraint(kernel), x.dtype)
        if self.padding == "symmetric":
            return ops.conv(pad_symmetric(x, self.kernel_size // 2, self.kernel_size // 2), kernel, padding="valid")
        return ops.conv(x, kernel, padding=self.padding)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = (self.kernel_size, self.kernel_size, 0, self.filters)
        return _conv_shape(input_shape, shape, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "padding": self.padding,
            "stored_centre": self.stored_centre,
        }


def bayar_constraint(kernel: Any) -> Any:
    """``kernel`` (h, w, in, filters), the centre of each (h, w) slice -1 and its other values scaled to sum to 1."""
    height, width = int(kernel.shape[0]), int(kernel.shape[1])
    centre = np.zeros((height, width, 1, 1), np.float32)
    centre[height // 2, width // 2] = 1
    around = kernel * (1 - centre)
    total = ops.sum(around, axis=(0, 1), keepdims=True)
    # A sum of zero has no scaled version; such a kernel keeps its values.
    total = ops.where(ops.abs(total) < 1e-7, ops.ones_like(total), total)
    return around / total - centre


def pad_symmetric(x: Any, vertical: int, horizontal: int) -> Any:
    """Mirror (batch, h, w, c) over its borders, the edge pixel repeated; sizes may be unknown, not below the pad."""
    if keras.backend.backend() == "torch":  # where Keras takes "symmetric" for "replicate"
        for axis, width in ((1, vertical), (2, horizontal)):
            if width:
                sides = [slice(None)] * axis
                near, far = x[(*sides, slice(width))], x[(*sides, slice(-width, None))]
                x = ops.concatenate([ops.flip(near, axis), x, ops.flip(far, axis)], axis)
        return x
    return ops.pad(x, ((0, 0), (vertical, vertical), (horizontal, horizontal), (0, 0)), mode="symmetric")


def _conv_shape(shape: tuple[int | None, ...], kernel: tuple[int, ...], padding: str) -> tuple[int | None, ...]:
    batch, height, width, _ = shape
    if padding == "valid":
        height = None if height is None else height - kernel[0] + 1
        width = None if width is None else width - kernel[1] + 1
    return (batch, height, width, kernel[3])
