"""IID-Net: filters that enhance traces of inpainting, cells found by a search, global and local attention.

A picture passes plain, high-pass and Bayar filters side by side, ten cells (1/8 of its size, 256 channels) and a
decision part that goes back to full size. Built as the authors' code has it, in these points by choice otherwise:

- Their Bayar layer rewrites its kernels at every step: all are multiplied by 10,000 and only those of the first filter
  then constrained, so the others grow 10,000-fold a step on one device and not at all across several, where the copies
  are thrown away. Here effective kernels are computed and never stored, on any number of devices alike.
  ``bayar="published"`` computes what one of their passes does, ``bayar="all"`` constrains all kernels.
- The number of ranks that global attention averages is each picture's own; see ``RankedAttention``.

Reference: Wu & Zhou 2021, "IID-Net: Image Inpainting Detection Network via Neural Architecture Search and Attention",
IEEE TCSVT, doi:10.1109/TCSVT.2021.3075039.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.errors import FakeclfError
from segmentation.layers.attention import LocalSmoothing, RankedAttention
from segmentation.layers.filters import BayarConv2D, bayar_constraint
from segmentation.layers.resize import ResizeBy, ResizeLike
from segmentation.models.frame import channels, localizer, picture_input
from segmentation.models.iid_cells import (
    CELLS,
    OPERATIONS,
    SLOTS,
    cell,
    dilation_of,
    read_genotype,
    slot_index,
    stride_of,
)
from segmentation.models.resnet import batch_norm, convolution_3x3, relu, torch_names

UNUSED_TENSORS = ("att.local_att.weight", "median.weight")
"""In the authors' state dictionaries, but no variables here: the fixed smoothing kernel, and one that nothing uses."""


def build(
    input_size: int,
    *,
    width: float = 1.0,
    genotype: str | Sequence[Any] = "published",
    bayar: str = "all",
) -> keras.Model:
    """IID-Net, 5,781,142 trainable parameters at width 1 with the published genotype.

    Args:
        input_size: unused; the network works at any size. Each side of a picture has ceil(side / 8) places in the
            attention, whose memory grows with the number of places squared; see ``RankedAttention``.
        width: scales the channels of everything behind the filters.
        genotype: ``published`` or the operations of the ten cells, "01 03 00 | 02 00 00 | ..."; see ``iid_cells``.
        bayar: ``all`` constrains every kernel of the Bayar layer; ``published`` those of the first filter, the others
            enlarged 10,000 times, for weights of the authors' training and not to train anew: two filters drown the
            rest.

    Returns:
        A model from (batch, height, width, 3) RGB 0-255 to ``{"mask": (batch, height, width, 1)}``, P(inpainted).

    Raises:
        FakeclfError: a ``genotype`` or ``bayar`` that is none.
    """
    pictures, x = picture_input(scale="signed", order="BGR")
    logits = network(x, width=width, genotype=genotype, bayar=bayar)
    return localizer(pictures, finish(logits, pictures), "iid_net")


def network(
    x: Any, *, width: float = 1.0, genotype: str | Sequence[Any] = "published", bayar: str = "all"
) -> keras.KerasTensor:
    """From (batch, h, w, 3) BGR in [-1, 1] to logits before the median: sides 8 * ceil(h / 8), one channel, float32.

    Arguments as in ``build``.
    """
    genes = read_genotype(genotype)

    def operation(number: int, index: int, *shape: Any) -> keras.layers.Layer:
        return OPERATIONS[genes[number - 1][index]](*shape)

    return assemble(x, operation, width=width, bayar=bayar)


def assemble(x: Any, operation: Callable[..., Callable[[Any], Any]], *, width: float, bayar: str) -> keras.KerasTensor:
    """``network`` with whatever stands in the thirty slots of its cells.

    Args:
        x: as in ``network``.
        operation: called with a cell's number (1-10), a slot's (0-2), and what an entry of ``OPERATIONS`` takes:
            filters, stride, dilation, name; gives what maps the slot's input to its output.
        width, bayar: as in ``build``.
    """
    if bayar not in ("all", "published"):
        raise FakeclfError(f"bayar must be all or published; received {bayar!r}; use all to train, the other to import")
    deep = channels(256, width)
    x = _enhance(x, bayar)
    x = relu(batch_norm(convolution_3x3(x, channels(32, width), "conv1", stride=2), "bn1"), "relu1")
    x = relu(batch_norm(convolution_3x3(x, channels(64, width), "conv2"), "bn2"), "relu2")
    for number in range(1, CELLS + 1):
        name, stride, dilation = f"cell{number}", stride_of(number), dilation_of(number)
        filters = channels(128, width) if number == 1 else deep
        slots = []
        for index in range(SLOTS):
            last = index == SLOTS - 1
            called = f"{name}.rep.{slot_index(name, index)}"
            slots.append(operation(number, index, filters, stride if last else 1, 1 if last else dilation, called))
        x = cell(x, slots, filters=filters, stride=stride, dilation=dilation, name=name)
    ranked, smoothed = RankedAttention(name="att.global")(x), LocalSmoothing(name="att.local")(x)
    x = keras.layers.Concatenate(name="att")([x, ranked, smoothed])
    for first in (0, 7):
        x = ResizeBy(2, align_corners=True, name=f"decision.{first}")(x)
        for place in (first + 1, first + 4):
            x = convolution_3x3(x, deep, f"decision.{place}", bias=True)
            x = relu(batch_norm(x, f"decision.{place + 1}"), f"decision.{place + 2}")
    x = ResizeBy(2, align_corners=True, name="decision.14")(x)
    return keras.layers.Conv2D(1, 3, padding="same", name="decision.15", dtype="float32")(x)


def finish(logits: Any, like: Any) -> Any:
    """Logits of ``network`` after the 3x3 median, at the height and width of ``like``."""
    logits = MedianFilter(name="median", dtype="float32")(logits)
    return ResizeLike("nearest", name="restore", dtype="float32")(logits, like)


def torch_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable, str]]:
    """Which tensor of the authors' state dictionary each variable is.

    Args:
        model: from ``build``, or any model around ``network``.

    Yields:
        The tensor's name without the leading ``module.``, the variable, and the tensor's layout: ``conv`` (out, in, h,
        w) for Keras' (h, w, in, out), ``depthwise`` (channels, 1, h, w) for (h, w, channels, 1), ``vector`` the same in
        both. ``UNUSED_TENSORS`` and ``*.num_batches_tracked`` belong to no variable.
    """
    for layer in model.layers:
        for leaf in getattr(layer, "steps", [layer]):
            if isinstance(leaf, keras.layers.DepthwiseConv2D):
                yield f"{leaf.name}.weight", leaf.kernel, "depthwise"
            elif isinstance(leaf, BayarConv2D):
                yield f"{leaf.name}.weight", leaf.kernel, "conv"
            elif isinstance(leaf, keras.layers.BatchNormalization) and not leaf.scale:
                yield f"{leaf.name}.running_mean", leaf.moving_mean, "vector"
                yield f"{leaf.name}.running_var", leaf.moving_variance, "vector"
            else:
                yield from torch_names([leaf])


@keras.saving.register_keras_serializable("segmentation")
class PublishedBayarConv2D(BayarConv2D):
    """The Bayar layer as one pass of the authors' code computes it from the stored kernels, storing nothing.

    All centres are 0 and all kernels enlarged 10,000 times; then those that feed filter 0 are constrained: the centre
    -1, the rest scaled to sum to 1. Arguments and shapes as ``BayarConv2D``, ``padding`` ``same`` alone.
    """

    def __init__(self, filters: int, kernel_size: int = 5, **kwargs: Any) -> None:
        super().__init__(filters, kernel_size, **kwargs)
        if self.padding != "same":
            raise ValueError(f"padding must be same. Received: padding={self.padding!r}")

    def call(self, x: Any) -> Any:
        return ops.conv(x, ops.cast(published_constraint(ops.cast(self.kernel, "float32")), x.dtype), padding="same")


def published_constraint(kernel: Any) -> Any:
    """The effective kernels of ``PublishedBayarConv2D`` for ``kernel`` (h, w, in, filters)."""
    centre = np.zeros((*kernel.shape[:2], 1, 1), np.float32)
    centre[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    enlarged = kernel * (1 - centre) * 10_000
    return ops.concatenate([bayar_constraint(enlarged[..., :1]), enlarged[..., 1:]], axis=-1)


@keras.saving.register_keras_serializable("segmentation")
class Differences(keras.initializers.Initializer):
    """High-pass kernels (3, 3, in, filters): a neighbour minus the centre, the same on every input channel.

    The neighbour is the one below, right, and below right, in turn. To start learnt filters from.
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None, **kwargs: Any) -> Any:
        kernel = np.zeros(shape, np.float32)
        kernel[1, 1] = -1
        for number in range(shape[3]):
            down, right = ((1, 0), (0, 1), (1, 1))[number % 3]
            kernel[1 + down, 1 + right, :, number] = 1
        return ops.convert_to_tensor(kernel, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {}


@keras.saving.register_keras_serializable("segmentation")
class MedianFilter(keras.layers.Layer):
    """Median of each 3x3 window, without padding.

    Input shape: (batch, h, w, c), sides of at least 3. Output shape: (batch, h - 2, w - 2, c).
    """

    def call(self, x: Any) -> Any:
        # Columns of three are sorted once and shared by three windows. The median of nine is the median of the largest
        # minimum, the middle median and the smallest maximum.
        a, b, c = x[:, :-2], x[:, 1:-1], x[:, 2:]
        low, middle, high = ops.minimum(ops.minimum(a, b), c), _median(a, b, c), ops.maximum(ops.maximum(a, b), c)
        left, centre, right = (slice(0, -2), slice(1, -1), slice(2, None))
        lows = ops.maximum(ops.maximum(low[:, :, left], low[:, :, centre]), low[:, :, right])
        middles = _median(middle[:, :, left], middle[:, :, centre], middle[:, :, right])
        highs = ops.minimum(ops.minimum(high[:, :, left], high[:, :, centre]), high[:, :, right])
        return _median(lows, middles, highs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, count = input_shape
        return (batch, None if height is None else height - 2, None if width is None else width - 2, count)


def _median(a: Any, b: Any, c: Any) -> Any:
    return ops.maximum(ops.minimum(a, b), ops.minimum(ops.maximum(a, b), c))


def _enhance(x: Any, bayar: str) -> Any:
    """15 channels: 3 of plain filters, 3 of the Bayar layer, 9 of high-pass filters. In float32 whatever the policy."""
    constrained = BayarConv2D if bayar == "all" else PublishedBayarConv2D
    plain = keras.layers.Conv2D(3, 5, padding="same", use_bias=False, name="normal_conv", dtype="float32")(x)
    residual = constrained(3, 5, name="bayar_conv", dtype="float32")(x)
    high = keras.layers.Conv2D(
        9,
        3,
        padding="same",
        use_bias=False,
        kernel_initializer=Differences(),
        name="pf_conv",
        dtype="float32",
    )(x)
    return keras.layers.Concatenate(name="enhanced", dtype="float32")([plain, residual, high])
