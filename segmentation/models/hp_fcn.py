"""HP-FCN, also called LDICN: a high-pass filter in front of a fully convolutional ResNet-v2.

Reference: Li & Huang 2019, "Localization of deep inpainting using high-pass fully convolutional network", ICCV. The
decoder returns in two steps of 4; its transposed convolutions start as bilinear interpolation. Purely local.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from segmentation.models.frame import channels, localizer, picture_input

STRIDE = 16
BLOCKS = (32, 64, 128, 256)
DIFFERENCES = {"first": (-1, 1), "second": (1, -2, 1), "third": (-1, 3, -3, 1), "fourth": (1, -4, 6, -4, 1)}
"""Taps of the filter sets by order of the difference; each runs down, to the right and along the diagonal."""
FILTERS = (*DIFFERENCES, "random")


def build(input_size: int | None = None, *, width: float = 1.0, filters: str = "first") -> keras.Model:
    """Build HP-FCN: 7,699,025 trainable parameters at width 1 with the first-order filters.

    Args:
        input_size: pixels it is trained at; the network takes any size.
        width: factor of the channel counts of the ResNet and the decoder.
        filters: ``first``, ``second``, ``third``, ``fourth`` order differences, or ``random``: what the filters in
            front start from. They learn with the rest.

    Input shape: (batch, height, width, 3), RGB 0-255. Output: ``mask``, (batch, height, width, 1).

    Raises:
        FakeclfError: for an unknown filter set.
    """
    if filters not in FILTERS:
        raise FakeclfError(f"filters must be one of a known set, not {filters!r}; {closest(filters, FILTERS)}")
    pictures, x = picture_input(STRIDE)
    return localizer(pictures, network(x, width=width, filters=filters), "hp_fcn")


def network(x: Any, *, width: float = 1.0, filters: str = "first") -> Any:
    """Pictures in [0, 1], sides multiples of 16, to logits of the forged class, (b, h, w, 1).

    The two-class softmax of the paper is the sigmoid of the difference of its two logits.
    """
    kernels = filter_set(filters)
    size = 3 if kernels is None else kernels.shape[0]
    start = "glorot_uniform" if kernels is None else keras.initializers.Constant(kernels)
    x = keras.layers.DepthwiseConv2D(
        size, depth_multiplier=3, padding="same", use_bias=False, depthwise_initializer=start, name="high_pass"
    )(x)
    for number, base in enumerate(BLOCKS, 1):
        x = _bottleneck(x, channels(base, width), stride=1, name=f"block{number}_unit1")
        x = _bottleneck(x, channels(base, width), stride=2, name=f"block{number}_unit2")
    x = _enlarge(x, channels(64, width), name="up1")
    x = _enlarge(x, 4, name="up2")
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, scale=False, name="up2_norm")(x)
    x = keras.layers.Activation("relu", name="up2_relu")(x)
    both = keras.layers.Conv2D(2, 5, padding="same", name="classes", dtype="float32")(x)
    return ClassDifference(name="logits", dtype="float32")(both)


def filter_set(name: str) -> np.ndarray | None:
    """Kernels (size, size, 3, 3) of a set, (h, w, colour, direction); None for ``random``."""
    if name == "random":
        return None
    taps = DIFFERENCES[name]
    size = 3 if len(taps) <= 3 else 5
    # An even number of taps has no middle: the first lies on the centre's side, as a difference to the next pixel does.
    first = size // 2 - (len(taps) - 1) // 2
    kernels = np.zeros((size, size, 3, 3), np.float32)
    for place, tap in enumerate(taps, first):
        kernels[place, size // 2, :, 0] = kernels[size // 2, place, :, 1] = kernels[place, place, :, 2] = tap
    return kernels


def _bottleneck(x: Any, base: int, *, stride: int, name: str) -> Any:
    """He et al. 2016, arXiv:1603.05027: norm and relu before each convolution; a stride sits in the 3x3."""
    depth = 4 * base
    before = _norm_relu(x, f"{name}_preact")
    if x.shape[-1] != depth:
        shortcut = keras.layers.Conv2D(depth, 1, stride, name=f"{name}_shortcut")(before)
    else:
        shortcut = x if stride == 1 else keras.layers.MaxPooling2D(1, stride, name=f"{name}_shortcut")(x)
    y = keras.layers.Conv2D(base, 1, use_bias=False, name=f"{name}_conv1")(before)
    y = _norm_relu(y, f"{name}_conv1")
    y = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(y)
    y = keras.layers.Conv2D(base, 3, stride, use_bias=False, name=f"{name}_conv2")(y)
    y = _norm_relu(y, f"{name}_conv2")
    y = keras.layers.Conv2D(depth, 1, name=f"{name}_conv3")(y)
    return keras.layers.Add(name=f"{name}_add")([shortcut, y])


def _norm_relu(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def _enlarge(x: Any, filters: int, *, name: str) -> Any:
    start = keras.initializers.Constant(bilinear_kernel(filters, int(x.shape[-1])))
    return keras.layers.Conv2DTranspose(
        filters, 8, 4, padding="same", use_bias=False, kernel_initializer=start, name=name
    )(x)


def bilinear_kernel(filters: int, channels_in: int) -> np.ndarray:
    """(8, 8, filters, channels in): interpolation by 4 of channel k to filter k, and nothing between others."""
    ramp = 1 - np.abs(np.arange(8) - 3.5) / 4
    kernel = np.zeros((8, 8, filters, channels_in), np.float32)
    for place in range(min(filters, channels_in)):
        kernel[:, :, place, place] = np.outer(ramp, ramp)
    return kernel


@keras.saving.register_keras_serializable("segmentation")
class ClassDifference(keras.layers.Layer):
    """Logits of two classes, (b, h, w, 2), to the logit of the second against the first, (b, h, w, 1)."""

    def call(self, x: Any) -> Any:
        return ops.subtract(x[..., 1:], x[..., :1])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 1)
