"""IID-Net with all operations in every slot: one set of weights that each genotype is a path through.

Which path a pass takes is an input beside the pictures, so training and ranking trace one graph each, and a pass costs
what its own operations cost.

References: Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV,
arXiv:1904.00420; Wu & Zhou 2021, IID-Net, doi:10.1109/TCSVT.2021.3075039, whose search works so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.models.layers import CropLike
from segmentation.models import iid_net
from segmentation.models.frame import picture_input
from segmentation.models.iid_cells import CELLS, OPERATIONS, SLOTS, read_genotype, stride_of

PATH = CELLS * SLOTS


def build(*, width: float = 1.0, bayar: str = "all") -> keras.Model:
    """The supernet; arguments as in ``iid_net.build``.

    Returns:
        A model from ``{"pictures": (batch, h, w, 3) RGB 0-255, "path": (batch, 30) int32}`` to ``{"mask": (batch, h, w,
        1)}``, P(inpainted). All rows of ``path`` are alike, as ``path_of`` gives them; the first is read.
    """
    pictures, x = picture_input(scale="signed", order="BGR")
    path = keras.Input((PATH,), name="path", dtype="int32")

    def operation(number: int, index: int, *shape: Any) -> Callable[[Any], Any]:
        filters, stride, dilation, name = shape
        choice = Choice((number - 1) * SLOTS + index, filters, stride, dilation, name=name)
        return lambda inputs: choice(inputs, path)

    logits = iid_net.finish(iid_net.assemble(x, operation, width=width, bayar=bayar), pictures)
    probabilities = keras.layers.Activation("sigmoid", name="probabilities", dtype="float32")(logits)
    mask = CropLike(name="mask", dtype="float32")(probabilities, pictures)
    return keras.Model({"pictures": pictures, "path": path}, {"mask": mask}, name="iid_supernet")


@keras.saving.register_keras_serializable("segmentation")
class Choice(keras.layers.Layer):
    """All operations that may stand in a slot; the path says which one a pass takes, and no other is computed.

    Args:
        place: of the slot in the path, 0-29.
        filters: channels of input and output.
        stride: of the slot; the identity is left out where it is not 1.
        dilation: of the slot.

    Input shapes: (batch, h, w, filters) and (batch, 30) int32. Output shape: (batch, h / stride, w / stride, filters),
    rounded up.
    """

    def __init__(self, place: int, filters: int, stride: int = 1, dilation: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place, self.filters, self.stride, self.dilation = place, filters, stride, dilation
        self.options = [
            OPERATIONS[name](filters, stride, dilation, f"{self.name}.{name}") for name in operations(stride)
        ]

    def build(self, x_shape: tuple[int | None, ...], path_shape: tuple[int | None, ...]) -> None:
        for option in self.options:
            option.build(x_shape)

    def call(self, x: Any, path: Any) -> Any:
        return ops.switch(path[0, self.place], self.options, x)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], path_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return tuple(self.options[0].compute_output_shape(x_shape))

    def get_config(self) -> dict[str, Any]:
        own = {"place": self.place, "filters": self.filters, "stride": self.stride, "dilation": self.dilation}
        return {**super().get_config(), **own}


def operations(stride: int) -> list[str]:
    """What may stand in a slot of that stride: everything, but no identity where the map is halved."""
    return [name for name in OPERATIONS if stride == 1 or name != "03"]


def slots() -> list[list[str]]:
    """What may stand in each of the thirty slots, cell by cell."""
    return [
        operations(stride_of(number) if index == SLOTS - 1 else 1)
        for number in range(1, CELLS + 1)
        for index in range(SLOTS)
    ]


def genotype_of(names: list[str]) -> str:
    """The genotype with these thirty operations, as ``iid_cells.read_genotype`` takes it."""
    return " | ".join(" ".join(names[first : first + SLOTS]) for first in range(0, PATH, SLOTS))


def sample(random: np.random.Generator) -> str:
    """A genotype drawn uniformly from all 4^28 * 3^2."""
    return genotype_of([names[random.integers(len(names))] for names in slots()])


def path_of(genotype: str) -> np.ndarray:
    """The path of a genotype, (30,) int32: the place of each slot's operation among those that may stand there."""
    names = [name for cell in read_genotype(genotype) for name in cell]
    return np.array([allowed.index(name) for allowed, name in zip(slots(), names, strict=True)], np.int32)
