"""The cells of IID-Net: four operations to choose from, and the block that three of them fill.

A network is a genotype, three operations for each of its ten cells, written "01 03 00 | 02 00 00 | ...". What a cell is
made of comes to ``cell`` as finished layers, so that a search can fill it with layers that hold several operations.
Layers carry the names of PyTorch's modules (``cell1.rep.0.conv1``).

Reference: Wu & Zhou 2021, IID-Net, doi:10.1109/TCSVT.2021.3075039.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from fakeclf.errors import FakeclfError
from segmentation.models.resnet import batch_norm, relu

CELLS = 10
SLOTS = 3
PUBLISHED = (
    "01 03 00 | 02 00 00 | 03 02 00 | 01 00 01 | 00 02 00 | 00 01 00 | 02 03 02 | 03 03 00 | 02 02 00 | 00 01 03"
)
"""The genotype the authors' search found."""


class _Steps(keras.layers.Layer):
    """Layers one after the other, with a strided, dilated depthwise convolution among them.

    Args:
        filters: channels of the output.
        stride: of the depthwise convolution, which pads zeros on every side, dilation * (size // 2).
        dilation: of the depthwise convolution, 1 where it is strided.

    Input shape: (batch, h, w, c). Output shape: (batch, h / stride, w / stride, filters), rounded up.
    """

    def __init__(self, filters: int, stride: int = 1, dilation: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if stride != 1 and dilation != 1:
            raise ValueError(f"either stride or dilation is 1. Received: stride={stride}, dilation={dilation}")
        self.filters, self.stride, self.dilation = filters, stride, dilation
        self.steps: list[keras.layers.Layer] = []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for step in self.steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)

    def call(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return (batch, _strided(height, self.stride), _strided(width, self.stride), self.filters)

    def get_config(self) -> dict[str, Any]:
        own = {"filters": self.filters, "stride": self.stride, "dilation": self.dilation}
        return {**super().get_config(), **own}

    def depthwise(self, size: int, name: str) -> list[keras.layers.Layer]:
        # "same" is lopsided where it is strided.
        pad = keras.layers.ZeroPadding2D(size // 2, name=f"{name}.pad", dtype=self.dtype_policy)
        convolution = keras.layers.DepthwiseConv2D(
            size,
            strides=self.stride,
            dilation_rate=self.dilation,
            padding="same" if self.stride == 1 else "valid",
            use_bias=False,
            name=name,
            dtype=self.dtype_policy,
        )
        return [convolution] if self.stride == 1 else [pad, convolution]

    def pointwise(self, name: str) -> keras.layers.Layer:
        return keras.layers.Conv2D(self.filters, 1, use_bias=False, name=name, dtype=self.dtype_policy)

    def norm(self, name: str, affine: bool) -> keras.layers.Layer:
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, center=affine, scale=affine, name=name, dtype=self.dtype_policy
        )


@keras.saving.register_keras_serializable("segmentation")
class Separable(_Steps):
    """Operation 00: depthwise 3x3, batch norm, pointwise. Arguments and shapes as ``_Steps`` has them:

    Args:
        filters: channels of the output.
        stride: of the depthwise convolution.
        dilation: of the depthwise convolution, 1 where it is strided.

    Input shape: (batch, h, w, c). Output shape: (batch, h / stride, w / stride, filters), rounded up.
    """

    def __init__(self, filters: int, stride: int = 1, dilation: int = 1, **kwargs: Any) -> None:
        super().__init__(filters, stride, dilation, **kwargs)
        self.steps = [
            *self.depthwise(3, f"{self.name}.conv1"),
            self.norm(f"{self.name}.bn", affine=True),
            self.pointwise(f"{self.name}.pointwise"),
        ]


@keras.saving.register_keras_serializable("segmentation")
class ReluSeparable(_Steps):
    """Operations 01 and 02: relu, depthwise 3x3 or 5x5, pointwise, batch norm without scale and shift; not dilated.

    Args:
        filters: channels of the output.
        size: side of the depthwise kernel.
        stride: of the depthwise convolution.

    Input shape: (batch, h, w, c). Output shape: (batch, h / stride, w / stride, filters), rounded up.
    """

    def __init__(self, filters: int, size: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(filters, stride, **kwargs)
        self.size = size
        self.steps = [
            keras.layers.ReLU(name=f"{self.name}.op.0", dtype=self.dtype_policy),
            *self.depthwise(size, f"{self.name}.op.1"),
            self.pointwise(f"{self.name}.op.2"),
            self.norm(f"{self.name}.op.3", affine=False),
        ]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "size": self.size}
        del config["dilation"]
        return config


OPERATIONS = {
    "00": lambda filters, stride, dilation, name: Separable(filters, stride, dilation, name=name),
    "01": lambda filters, stride, dilation, name: ReluSeparable(filters, 3, stride, name=name),
    "02": lambda filters, stride, dilation, name: ReluSeparable(filters, 5, stride, name=name),
    "03": lambda filters, stride, dilation, name: keras.layers.Identity(name=name),
}
"""Layer makers by name, called with (filters, stride, dilation, name); only 00 takes the dilation."""


def cell(x: Any, slots: Sequence[Callable[[Any], Any]], *, filters: int, stride: int, dilation: int, name: str) -> Any:
    """Relu, separable 3x3, batch norm; three times relu, slot, batch norm; plus the input itself.

    Where the shape changes the input passes a 1x1 convolution with the stride, and batch norm, before it is added.

    Args:
        x: (batch, h, w, c).
        slots: three layers that keep ``filters`` channels, or what calls them; the last of them takes the stride.
        filters: channels of the output.
        stride: of the cell.
        dilation: of the first separable convolution.
        name: ``cellN``. ``cell1`` has no leading relu: its input comes from one.

    Returns:
        (batch, h / stride, w / stride, filters), rounded up.
    """
    skip, step = x, slot_index(name, 0) - 3
    if stride != 1 or x.shape[-1] != filters:
        # Pixels are left out first for the reason given in resnet.convolution.
        skip = keras.layers.MaxPooling2D(1, stride, name=f"{name}.subsample")(x) if stride != 1 else x
        skip = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}.skip")(skip)
        skip = batch_norm(skip, f"{name}.skipbn")
    if step > 0:
        x = relu(x, f"{name}.rep.0")
    x = batch_norm(Separable(filters, 1, dilation, name=f"{name}.rep.{step}")(x), f"{name}.rep.{step + 1}")
    for index, slot in enumerate(slots):
        place = slot_index(name, index)
        x = batch_norm(slot(relu(x, f"{name}.rep.{place - 1}")), f"{name}.rep.{place + 1}")
    return keras.layers.Add(name=f"{name}.add")([x, skip])


def slot_index(name: str, slot: int) -> int:
    """Place of a slot's operation in the list of a cell's modules, ``cellN.rep``."""
    return 3 * slot + (3 if name == "cell1" else 4)


def stride_of(number: int) -> int:
    """Of cell 1 to 10."""
    return 2 if number <= 2 else 1


def dilation_of(number: int) -> int:
    """Of cell 1 to 10."""
    return 1 if number <= 3 else 2


def read_genotype(genotype: str | Sequence[Any]) -> list[tuple[str, ...]]:
    """The operations of the ten cells.

    Args:
        genotype: ``published``, a text such as ``PUBLISHED``, or ten cells, each a text "01 03 00" or three names.

    Returns:
        Ten tuples of three names in ``OPERATIONS``.

    Raises:
        FakeclfError: another number of cells or operations, an unknown operation, or 03, which cannot stride, as the
            last of a strided cell.
    """
    if isinstance(genotype, str):
        genotype = (PUBLISHED if genotype == "published" else genotype).split("|")
    if len(genotype) != CELLS:
        raise FakeclfError(
            f"genotype has {len(genotype)} cells; {CELLS} are needed; write published or '{PUBLISHED[:19]} | ...'"
        )
    cells = []
    for number, entry in enumerate(genotype, start=1):
        # A number read from a settings file has lost its leading zero.
        names = tuple(str(name).zfill(2) for name in (entry.split() if isinstance(entry, str) else entry))
        if len(names) != SLOTS or not set(names) <= set(OPERATIONS):
            raise FakeclfError(
                f"genotype: cell {number} is '{' '.join(names)}'; a cell has {SLOTS} operations out of "
                f"{', '.join(OPERATIONS)}; write it like '01 03 00'"
            )
        if stride_of(number) != 1 and names[-1] == "03":
            raise FakeclfError(
                f"genotype: cell {number} is '{' '.join(names)}'; it halves the map, which 03 (identity) in the last "
                "place cannot; end it with 00, 01 or 02"
            )
        cells.append(names)
    return cells


def _strided(side: int | None, stride: int) -> int | None:
    return None if side is None else -(-side // stride)
