"""Trace-Net, this project's own localizer: looks at noise alone, and at how it differs from the rest of the picture.

Read from top to bottom: residual filters, an encoder to 1/16, the picture's own statistics, a decoder to 1/4. Three
choices set it apart. It never sees the picture, only residuals (nine SRM, six Bayar), clipped: what a picture shows
tempts a network to learn what is usually inpainted. At 1/8 it also gets ``GridPhase``, the only place where periods of
a compression or of an upsampler can be compared with the picture's. And before it decides, features are set against
their mean and deviation over the whole picture, as inpainted means unlike the rest.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from fakeclf.errors import FakeclfError
from segmentation.layers.filters import BayarConv2D, FixedConv2D, srm_bank
from segmentation.layers.grid_phase import GridPhase
from segmentation.layers.resize import ResizeBy
from segmentation.models.frame import channels, localizer, picture_input

STRIDE = 16
FRONTS = ("noise", "both", "picture")


def build(
    input_size: int | None = None,
    *,
    width: float = 1.0,
    front: str = "noise",
    grid: bool = True,
    contrast: bool = True,
    finest: int = 4,
    hidden: float = 0.0,
) -> keras.Model:
    """Build Trace-Net: about 1.2 million parameters and 2 billion multiply-adds at 256x256, width 1.

    Args:
        input_size: pixels it is trained at; the network takes any size.
        width: factor of all channel counts.
        front: ``noise``, ``both`` (residuals and the picture) or ``picture``; the latter two for comparison.
        grid: whether it gets ``GridPhase``.
        contrast: whether features are set against the picture's own statistics.
        finest: 4 or 8: pixels a side that each decision stands for, before it is enlarged; 8 for comparison.
        hidden: with front ``both``, the share of training pictures of which only the residuals are shown.

    Input shape: (batch, height, width, 3), RGB 0-255. Output: ``mask``, (batch, height, width, 1).

    Raises:
        FakeclfError: for an unknown front, another ``finest``, or pictures ``hidden`` that are not there.
    """
    if front not in FRONTS:
        raise FakeclfError(f"front must be {', '.join(FRONTS)}; received {front!r}")
    if finest not in (4, 8):
        raise FakeclfError(f"finest must be 4 or 8 pixels; received {finest!r}")
    if hidden and (front != "both" or not 0 < hidden < 1):
        raise FakeclfError(f"hidden goes with front=both and lies between 0 and 1; received {hidden} with {front}")
    pictures, x = picture_input(STRIDE)
    phases = GridPhase(name="grid_phase", dtype="float32")(x) if grid else None
    return localizer(pictures, _logits(_front(x, front, hidden), phases, width, contrast, finest), "trace_net")


def _front(x: Any, front: str, hidden: float) -> Any:
    if front == "picture":
        return x
    found = [
        FixedConv2D(srm_bank() * 255, padding="symmetric", name="srm", dtype="float32")(x),
        keras.layers.Rescaling(255.0, name="bayar_gain", dtype="float32")(
            BayarConv2D(6, padding="symmetric", name="bayar", dtype="float32")(x)
        ),
    ]
    noise = Clipped(4.0, name="clipped", dtype="float32")(keras.layers.Concatenate(name="residuals")(found))
    if front == "noise":
        return noise
    shown = Hidden(hidden, name="hidden")(x) if hidden else x
    return keras.layers.Concatenate(name="noise_and_picture")([noise, shown])


def _logits(x: Any, phases: Any, width: float, contrast: bool, finest: int) -> Any:
    """Residuals (b, h, w, c) and grid phases (b, h / 8, w / 8, 40) or None, to logits (b, h, w, 1)."""
    full, half, quarter, eighth, sixteenth = (channels(count, width, 4) for count in (16, 32, 64, 96, 128))
    x = _conv(x, full, name="stem")
    x = _residual(_conv(x, half, strides=2, name="half"), name="half_1")
    x = _conv(x, quarter, strides=2, name="quarter")
    for number in (1, 2):
        x = fine = _residual(x, name=f"quarter_{number}")
    x = _conv(x, eighth, strides=2, name="eighth")
    if phases is not None:
        phases = keras.layers.BatchNormalization(name="grid_norm")(phases)
        x = _conv(keras.layers.Concatenate(name="with_grid")([x, phases]), eighth, size=1, name="grid_mix")
    for number in (1, 2):
        x = middle = _residual(x, name=f"eighth_{number}")
    x = _conv(x, sixteenth, strides=2, name="sixteenth")
    x = _residual(x, name="sixteenth_1")
    x = _residual(x, dilation=2, name="sixteenth_2")
    if contrast:
        x = _conv(Contrast(name="contrast")(x), sixteenth, size=1, name="contrast_mix")
        middle = _conv(Contrast(name="contrast_eighth")(middle), eighth, size=1, name="contrast_eighth_mix")
    x = ResizeBy(2, name="up_eighth")(_conv(x, quarter, size=1, name="to_eighth"))
    x = _conv(keras.layers.Concatenate(name="join_eighth")([x, middle]), quarter, name="decode_eighth")
    if finest == 4:
        x = ResizeBy(2, name="up_quarter")(x)
        x = _conv(keras.layers.Concatenate(name="join_quarter")([x, fine]), quarter, name="decode_quarter")
    x = _conv(x, half, name="decode")
    logits = keras.layers.Conv2D(1, 1, name="logits", dtype="float32")(x)
    return ResizeBy(finest, name="up", dtype="float32")(logits)


def _conv(x: Any, filters: int, *, size: int = 3, strides: int = 1, dilation: int = 1, name: str) -> Any:
    x = keras.layers.Conv2D(
        filters, size, strides, padding="same", dilation_rate=dilation, use_bias=False, name=f"{name}_conv"
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def _residual(x: Any, *, dilation: int = 1, name: str) -> Any:
    filters = x.shape[-1]
    y = _conv(x, filters, dilation=dilation, name=f"{name}_1")
    y = keras.layers.Conv2D(filters, 3, padding="same", dilation_rate=dilation, use_bias=False, name=f"{name}_2_conv")(
        y
    )
    y = keras.layers.BatchNormalization(momentum=0.95, gamma_initializer="zeros", name=f"{name}_2_norm")(y)
    return keras.layers.Activation("relu", name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, y]))


@keras.saving.register_keras_serializable("segmentation")
class Clipped(keras.layers.Layer):
    """Clip to [-limit, limit] and divide by limit, as steganalysis truncates residuals: edges outweigh traces else."""

    def __init__(self, limit: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, x: Any) -> Any:
        return ops.clip(x, -self.limit, self.limit) / self.limit

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "limit": self.limit}


@keras.saving.register_keras_serializable("segmentation")
class Hidden(keras.layers.Layer):
    """In training, that share of a batch's pictures blanked (zeros); others, and all pictures later, as they are."""

    def __init__(self, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.random = keras.random.SeedGenerator()

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        shown = keras.random.uniform((ops.shape(x)[0], 1, 1, 1), seed=self.random) >= self.share
        return x * ops.cast(shown, x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "share": self.share}


@keras.saving.register_keras_serializable("segmentation")
class Contrast(keras.layers.Layer):
    """Features beside their distance from the picture's mean, in its deviations: (b, h, w, c) to (b, h, w, 2 c)."""

    def call(self, x: Any) -> Any:
        values = ops.cast(x, "float32")
        mean = ops.mean(values, axis=(1, 2), keepdims=True)
        deviation = ops.sqrt(ops.mean((values - mean) ** 2, axis=(1, 2), keepdims=True) + 1e-3)
        return ops.concatenate([x, ops.cast((values - mean) / deviation, x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], None if input_shape[-1] is None else 2 * input_shape[-1])
