"""MVSS-Net: what a picture shows and its noise, two ResNet50, joined by dual attention; edges supervised on the side.

The layers carry the names of the authors' PyTorch modules, see ``layer_name``.

Reference: Dong et al. 2021, "Image manipulation detection by multi-view multi-scale supervision", arXiv:2104.06832.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fakeclf.models.layers import CropLike
from segmentation.layers.blocks import SobelGate
from segmentation.layers.dual_attention import ChannelAttention, PositionAttention
from segmentation.layers.filters import BayarConv2D, FixedConv2D
from segmentation.layers.resize import ResizeBy
from segmentation.models.frame import localizer, picture_input
from segmentation.models.resnet import (
    batch_norm,
    convolution_3x3,
    layer_name,
    relu,
    resnet50_stages,
    torch_names,
)

STRIDE = 16
DILATIONS = (1, 1, 1, (1, 2, 4))
STRIDES = (1, 2, 2, 1)

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of red, green and blue. The authors apply them in this order to channels in the order BGR."""

GREY = (0.1140, 0.5870, 0.2989)
"""Shares of blue, green and red."""

UNUSED_TENSORS = tuple(f"{net}.fc.{part}" for net in ("model", "noise_extractor.model") for part in ("weight", "bias"))
"""In the authors' state dictionaries, but no variables here: the classifiers of the two ResNet50."""


def build(input_size: int | None = None, *, width: float = 1.0, dropout: float = 0.1, chunk: int = 1024) -> keras.Model:
    """Build MVSS-Net with fresh weights.

    Args:
        input_size: ignored; the model takes any size (the authors bring every picture to 512 x 512). Present because
            every builder has it.
        width: scales the number of channels everywhere. At width 1 there are 142,782,335 parameters, of which 69,120
            are the fixed Sobel filters, without the statistics of the batch norms.
        dropout: share of the head's features that is left out in training.
        chunk: queries of the attention handled at a time, see ``segmentation.layers.attention.attend``.

    Input shape: (batch, height, width, 3), RGB 0-255. Outputs: ``mask``, (batch, height, width, 1); ``edge``, the
        probability that a pixel lies on the border of a mask, (batch, ceil(height / 4), ceil(width / 4), 1); ``score``,
        the largest value of the mask, (batch, 1).
    """
    pictures, x = picture_input(multiple=STRIDE, order="BGR")
    variance = [deviation**2 for deviation in DEVIATION]
    x = keras.layers.Normalization(mean=list(MEAN), variance=variance, name="normalize", dtype="float32")(x)
    mask_logits, edge_logits = network(x, width=width, dropout=dropout, chunk=chunk)
    edge = keras.layers.Activation("sigmoid", name="edge_padded", dtype="float32")(edge_logits)
    # Every fourth pixel: what the edge map has pixels for.
    places = keras.layers.MaxPooling2D(1, 4, name="quarter", dtype="float32")(pictures)
    edge = CropLike(name="edge", dtype="float32")(edge, places)
    highest = keras.layers.GlobalMaxPooling2D(name="highest", dtype="float32")(
        CropLike(name="cropped_logits", dtype="float32")(mask_logits, pictures)
    )
    score = keras.layers.Activation("sigmoid", name="score", dtype="float32")(highest)
    return localizer(pictures, mask_logits, "mvss_net", edge=edge, score=score)


def network(x: Any, *, width: float = 1.0, dropout: float = 0.1, chunk: int = 1024) -> tuple[Any, Any]:
    """The network proper: normalised BGR, (batch, h, w, 3), sides multiples of 16.

    Args: see ``build``.

    Returns:
        The logits of the mask, (batch, h, w, 1), and of its edge, (batch, h / 4, w / 4, 1), float32.
    """
    stages = resnet50_stages(x, width=width, dilations=DILATIONS, strides=STRIDES, name="model")
    edge = _edge_branch(stages)
    # The constraint and the faint differences it leaves need full precision.
    grey = FixedConv2D(np.reshape(GREY, (1, 1, 3, 1)), name="grey", dtype="float32")(x)
    noise = BayarConv2D(3, 5, stored_centre=False, name="constrain_conv", dtype="float32")(grey)
    noise = resnet50_stages(noise, width=width, dilations=DILATIONS, strides=STRIDES, name="noise_extractor.model")[-1]
    joined = keras.layers.Concatenate(name="join")([stages[-1], noise])
    mask = _dual_attention_head(joined, dropout, chunk)
    return ResizeBy(STRIDE, align_corners=True, name="mask_full", dtype="float32")(mask), edge


def torch_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable, str]]:
    """Which tensor of the authors' state dictionary each variable is.

    Yields:
        The tensor's name, the variable, and the tensor's layout: those of ``torch_names``, and ``bayar``, (in, out,
        side² - 1) for (side² - 1, in, out). ``UNUSED_TENSORS`` and ``*.num_batches_tracked`` belong to no variable.
    """
    yield from torch_names(model.layers)
    for layer in model.layers:
        module = layer.name.replace("-", ".")
        if isinstance(layer, SobelGate):
            for axis, kernel, norm in (("x", layer.kernel_x, layer.norm_x), ("y", layer.kernel_y, layer.norm_y)):
                name = f"sobel_{axis}{module[-1]}"
                yield f"{name}.0.weight", kernel, "conv"
                yield from _renamed(norm, f"{name}.1")
        elif isinstance(layer, PositionAttention):
            for part, name in ((layer.query, "conv_b"), (layer.key, "conv_c"), (layer.value, "conv_d")):
                yield from _renamed(part, f"{module}.{name}")
            yield f"{module}.alpha", layer.alpha, "vector"
        elif isinstance(layer, ChannelAttention):
            yield f"{module}.beta", layer.beta, "vector"
        elif isinstance(layer, BayarConv2D):
            yield f"{module}.kernel", layer.kernel, "bayar"


def _renamed(layer: keras.layers.Layer, name: str) -> Iterator[tuple[str, keras.Variable, str]]:
    for own, variable, layout in torch_names([layer]):
        yield name + own.removeprefix(layer.name), variable, layout


def _edge_branch(stages: list[Any]) -> Any:
    """Gated features of all stages, from the shallowest to the deepest, to one channel at 1/4."""
    edge = _edge_block(SobelGate(name="sobel_1")(stages[0]), "erb_db_1")
    for number, (stage, factor) in enumerate(zip(stages[1:], (2, 4, 4), strict=True), start=2):
        deeper = _edge_block(SobelGate(name=f"sobel_{number}")(stage), f"erb_db_{number}")
        deeper = ResizeBy(factor, align_corners=True, name=f"edge_up_{number}")(deeper)
        edge = keras.layers.Add(name=f"edge_add_{number}")([edge, deeper])
        edge = _edge_block(edge, f"erb_trans_{number - 1}", last=number == 4)
    return edge


def _edge_block(x: Any, name: str, last: bool = False) -> Any:
    """1x1 to one channel, then a residual block; no relu at the end of the last, which gives logits in float32.

    What comes in is nowhere negative. With kernels of random sign the one channel would start negative everywhere every
    other time, and the relu at the end would never learn; so the 1x1 starts as a mean with positive weights.
    """
    mean = keras.initializers.RandomUniform(0.0, 2.0 / x.shape[-1])
    x = keras.layers.Conv2D(1, 1, kernel_initializer=mean, name=layer_name(f"{name}.conv1"))(x)
    y = batch_norm(keras.layers.Conv2D(1, 3, padding="same", name=layer_name(f"{name}.conv2"))(x), f"{name}.bn")
    y = keras.layers.Conv2D(1, 3, padding="same", name=layer_name(f"{name}.conv3"))(relu(y, f"{name}.relu"))
    if last:
        return keras.layers.Add(name=layer_name(f"{name}.add"), dtype="float32")([x, y])
    return relu(keras.layers.Add(name=layer_name(f"{name}.add"))([x, y]), f"{name}.relu_end")


def _dual_attention_head(x: Any, dropout: float, chunk: int) -> Any:
    filters = max(1, x.shape[-1] // 4)
    position = _normalised(x, filters, "head.conv_p1")
    position = PositionAttention(chunk=chunk, name=layer_name("head.pam"))(position, position)
    position = _normalised(position, filters, "head.conv_p2")
    channel = _normalised(x, filters, "head.conv_c1")
    channel = ChannelAttention(name=layer_name("head.cam"))(channel)
    channel = _normalised(channel, filters, "head.conv_c2")
    both = keras.layers.Add(name=layer_name("head.add"))([position, channel])
    both = keras.layers.Dropout(dropout, name=layer_name("head.out.0"))(both)
    return keras.layers.Conv2D(1, 1, name=layer_name("head.out.1"), dtype="float32")(both)


def _normalised(x: Any, filters: int, name: str) -> Any:
    return relu(batch_norm(convolution_3x3(x, filters, f"{name}.0"), f"{name}.1"), f"{name}.2")
