"""ManTra-Net: traces of manipulation at full resolution, and where they differ from their surroundings.

Reference: Wu, AbdAlmageed & Natarajan 2019, "ManTra-Net: manipulation tracing network for detection and localization of
image forgeries with anomalous features", CVPR. A VGG-like extractor gives each pixel a unit vector of trace features;
64 projections of it are compared with their means over windows of growing size, in deviations of the whole picture, and
a convolutional LSTM reads those differences, from near to far as the authors' code does (the paper says far to near).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from segmentation.layers.blocks import SymmetricConv2D
from segmentation.layers.conv_lstm import ConvLSTM
from segmentation.layers.filters import BayarConv2D, FixedConv2D, srm_bank
from segmentation.models.frame import channels, localizer, picture_input

LAYERS = (32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256)
BY_FILTER = [3 * channel + kernel for kernel in range(3) for channel in range(3)]
"""Order of the SRM channels: all colours of a filter together, as in the published weights."""


def build(
    input_size: int | None = None,
    *,
    width: float = 1.0,
    windows: tuple[int, ...] | list[int] = (7, 15, 31),
    gates: str = "sigmoid",
) -> keras.Model:
    """Build ManTra-Net: 3,804,950 trainable parameters at width 1, and 675 fixed values of the SRM filters.

    Args:
        input_size: pixels it is trained at; the network takes any size.
        width: factor of the extractor's channel counts.
        windows: odd sides of the windows whose means a pixel is compared with, pixels; the paper also names 63.
        gates: of the LSTM; ``hard`` for the published weights, see ``ConvLSTM``.

    Input shape: (batch, height, width, 3), RGB 0-255. Output: ``mask``, (batch, height, width, 1).
    """
    pictures, x = picture_input(scale="signed")
    return localizer(pictures, network(x, width=width, windows=tuple(windows), gates=gates), "mantra_net")


def network(x: Any, *, width: float = 1.0, windows: tuple[int, ...] = (7, 15, 31), gates: str = "sigmoid") -> Any:
    """Pictures in [-1, 1] to logits, (b, h, w, 1)."""
    plain = SymmetricConv2D(4, 5, use_bias=False, name="plain", dtype="float32")(x)
    srm = FixedConv2D(srm_bank()[..., BY_FILTER], padding="symmetric", name="srm", dtype="float32")(x)
    bayar = BayarConv2D(3, padding="symmetric", name="bayar", dtype="float32")(x)
    x = keras.layers.Concatenate(name="first")([plain, srm, bayar])
    x = keras.layers.Activation("relu", name="first_relu")(x)
    for number, count in enumerate(LAYERS, 1):
        x = SymmetricConv2D(channels(count, width), 3, activation="relu", name=f"conv{number}")(x)
    x = SymmetricConv2D(channels(256, width), 3, name="transform")(x)
    x = keras.layers.UnitNormalization(name="traces", dtype="float32")(x)
    x = keras.layers.Conv2D(
        64, 1, use_bias=False, kernel_constraint=keras.constraints.UnitNorm(axis=2), name="project", dtype="float32"
    )(x)
    x = keras.layers.BatchNormalization(center=False, scale=False, name="project_norm", dtype="float32")(x)
    differences = WindowDifferences(windows, name="differences", dtype="float32")(x)
    x = ConvLSTM(8, 7, gates=gates, name="near_to_far", dtype="float32")(differences)
    return keras.layers.Conv2D(1, 7, padding="same", name="logits", dtype="float32")(x)


@keras.saving.register_keras_serializable("segmentation")
class WindowDifferences(keras.layers.Layer):
    """Absolute differences between a map and its means over windows, in deviations of the whole map.

    The deviation of each channel has a learnt floor, so that a flat channel is not blown up.

    Args:
        windows: odd sides, pixels; the border is not counted in a window's mean.

    Input shape: (batch, h, w, c).
    Output shape: a list of (batch, h, w, c), from near to far: the smallest window first, the whole map's mean last.
    """

    def __init__(self, windows: tuple[int, ...] | list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not windows or any(side < 3 or side % 2 == 0 for side in windows):
            raise ValueError(f"windows must be odd sides of at least 3 pixels. Received: windows={windows!r}")
        self.windows = tuple(sorted(windows))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        start = keras.initializers.Constant(1e-3)
        self.floor = self.add_weight(
            shape=(1, 1, 1, input_shape[-1]), name="floor", initializer=start, constraint="non_neg"
        )

    def call(self, x: Any) -> list[Any]:
        mean = ops.mean(x, axis=(1, 2), keepdims=True)
        deviation = ops.sqrt(ops.mean((x - mean) ** 2, axis=(1, 2), keepdims=True) + 1e-12)
        scale = ops.maximum(deviation, self.floor + 1e-6)
        near = [ops.average_pool(x, side, strides=1, padding="same") for side in self.windows]
        return [ops.abs(x - middle) / scale for middle in (*near, mean)]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> list[tuple[int | None, ...]]:
        return [tuple(input_shape)] * (1 + len(self.windows))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "windows": list(self.windows)}
