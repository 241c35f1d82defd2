"""FCN on a ResNet50: the segmentation baseline of the NIX-Net re-implementation, laid out as torchvision's.

References: Long et al. 2015, arXiv:1411.4038; Adler et al. 2023 (as a detector of inpainting).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from fakeclf.models.layers import CropLike
from segmentation.layers.resize import ResizeBy
from segmentation.models.frame import channels, localizer, picture_input
from segmentation.models.resnet import (
    batch_norm,
    convolution,
    convolution_3x3,
    layer_name,
    relu,
    resnet50_stages,
    torch_names,
)

STRIDE = 8
REACH = 232
"""A mask's pixel depends on no pixel of the picture further away than this: tiles that begin at multiples of 8 and have
so many pixels to spare on each side give what the whole picture gives."""


def build(
    input_size: int | None = None, *, width: float = 1.0, dropout: float = 0.1, auxiliary: bool = False
) -> keras.Model:
    """Build FCN-ResNet50 with fresh weights.

    Pictures whose sides are no multiples of 8 are padded by reflection, so that the map is always enlarged by exactly 8
    and a tile gives what the whole picture gives; torchvision stretches the map to the picture's size instead. At
    multiples of 8 both are the same.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        width: scales the number of channels everywhere; 32,946,753 parameters at width 1.
        dropout: share of the head's features that is left out in training.
        auxiliary: a second head on the third stage, as a further output ``auxiliary``, for training only; 35,306,818
            parameters with it.

    Input shape: (batch, height, width, 3), RGB 0-255; the network sees [0, 1], without ImageNet's mean and deviation.
    Output: ``mask``, (batch, height, width, 1), and ``auxiliary`` of the same shape where asked for.
    """
    pictures, x = picture_input(multiple=STRIDE)
    logits, others = network(x, width=width, dropout=dropout, auxiliary=auxiliary), {}
    if auxiliary:
        probabilities = keras.layers.Activation("sigmoid", name="auxiliary_full", dtype="float32")(logits[1])
        others["auxiliary"] = CropLike(name="auxiliary", dtype="float32")(probabilities, pictures)
    return localizer(pictures, logits[0], "fcn_resnet50", **others)


def network(x: Any, *, width: float = 1.0, dropout: float = 0.1, auxiliary: bool = False) -> list[Any]:
    """The network proper: (batch, h, w, 3) in [0, 1], sides multiples of 8, to logits of the same size, float32.

    Returns:
        The logits of the head, and those of the auxiliary head where asked for.
    """
    # The last two stages are dilated instead of strided: 1/8 of the picture's size.
    stages = resnet50_stages(x, width=width, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), name="backbone")
    logits = [_head(stages[3], channels(512, width), dropout, "classifier")]
    if auxiliary:
        logits.append(_head(stages[2], channels(256, width), dropout, "aux_classifier"))
    return logits


def torch_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable, str]]:
    """torchvision's state dictionary of ``fcn_resnet50`` with one class, see ``torch_names``."""
    yield from torch_names(model.layers)


def _head(x: Any, filters: int, dropout: float, name: str) -> Any:
    x = convolution_3x3(x, filters, f"{name}.0")
    x = relu(batch_norm(x, f"{name}.1"), f"{name}.2")
    x = keras.layers.Dropout(dropout, name=layer_name(f"{name}.3"))(x)
    x = convolution(x, 1, 1, f"{name}.4", bias=True)
    return ResizeBy(STRIDE, name=layer_name(f"{name}.resize"), dtype="float32")(x)
