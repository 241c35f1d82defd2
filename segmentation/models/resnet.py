"""ResNet50 as torchvision has it: the stride in the 3x3 of a bottleneck, zeros padded on every side.

Layers carry the names of PyTorch's modules (``NAME.layer1.0.conv1`` as ``NAME-layer1-0-conv1``), so that
``torch_names`` can say which variable a tensor of a PyTorch state dictionary belongs to.

References: He et al. 2016, arXiv:1512.03385; dilated stages: Yu et al. 2017, arXiv:1705.09914.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from segmentation.models.frame import channels

BLOCKS = (3, 4, 6, 3)
BASE = (64, 128, 256, 512)
EXPANSION = 4


def layer_name(module: str) -> str:
    """The name of the layer that stands for a PyTorch module. Keras on PyTorch allows no dot in names of layers."""
    return module.replace(".", "-")


def resnet50_stages(
    x: Any,
    *,
    width: float = 1.0,
    dilations: Sequence[int | Sequence[int]] = (1, 1, 1, 1),
    strides: Sequence[int] = (1, 2, 2, 2),
    name: str = "resnet",
) -> list[Any]:
    """The outputs of the four stages of a ResNet50, without its classifier.

    The stem (7x7 stride 2, batch norm, relu, 3x3 max pooling stride 2) brings ``x`` to 1/4. A stage is 3, 4, 6 or 3
    bottleneck blocks; the first of them takes the stage's stride.

    Args:
        x: (batch, h, w, c), any size; an odd side is rounded up at each stride.
        width: scales the channels, which are 256, 512, 1024 and 2048 at width 1.
        dilations: of the 3x3 convolutions, one entry a stage. A number d dilates all blocks of the stage by d but the
            first, which keeps the dilation of the stage before (1 before the first stage), as torchvision does where
            it replaces a stride by dilation. A sequence gives the dilation of every block of its stage.
        strides: of the stages. A dilated stage usually has 1: ``strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)`` is
            torchvision's ``replace_stride_with_dilation=[False, True, True]``, 1/8 of the picture's size.
        name: of the PyTorch module that the network is, with which the layers' names begin.

    Returns:
        Four tensors; at the default strides 1/4, 1/8, 1/16 and 1/32 of the size of ``x``.

    Raises:
        ValueError: not four strides or dilations, or a sequence that is not as long as its stage.
    """
    if len(strides) != 4 or len(dilations) != 4:
        raise ValueError(f"four strides and dilations are needed. Received: strides={strides}, dilations={dilations}")
    x = keras.layers.ZeroPadding2D(3, name=layer_name(f"{name}.pad1"))(x)
    x = convolution(x, channels(BASE[0], width), 7, f"{name}.conv1", stride=2, padding="valid")
    x = relu(batch_norm(x, f"{name}.bn1"), f"{name}.relu")
    # Zeros cannot win against the outputs of a relu, so they serve as PyTorch's padding with minus infinity.
    x = keras.layers.ZeroPadding2D(1, name=layer_name(f"{name}.pad2"))(x)
    x = keras.layers.MaxPooling2D(3, 2, name=layer_name(f"{name}.maxpool"))(x)
    stages, before = [], 1
    for number, (blocks, dilation, stride) in enumerate(zip(BLOCKS, dilations, strides, strict=True), start=1):
        rates = [before] + [dilation] * (blocks - 1) if isinstance(dilation, int) else list(dilation)
        if len(rates) != blocks:
            raise ValueError(f"stage {number} has {blocks} blocks. Received: dilations={tuple(rates)}")
        for index, rate in enumerate(rates):
            filters = channels(BASE[number - 1], width)
            x = _bottleneck(x, filters, stride if index == 0 else 1, rate, f"{name}.layer{number}.{index}")
        before = rates[-1]
        stages.append(x)
    return stages


def convolution(
    x: Any,
    filters: int,
    size: int,
    name: str,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "same",
    bias: bool = False,
) -> Any:
    """A convolution that starts as torchvision's do: normal, variance 2 / (filters * size²)."""
    start = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    if size == 1 and stride > 1:
        # The same, pixels left out first: TensorFlow 2.21's gradient of strided 1x1 convolutions with few input
        # channels writes beyond its memory on processors.
        x = keras.layers.MaxPooling2D(1, stride, name=layer_name(f"{name}.subsample"))(x)
        stride = 1
    return keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        dilation_rate=dilation,
        padding=padding,
        use_bias=bias,
        kernel_initializer=start,
        name=layer_name(name),
    )(x)


def convolution_3x3(x: Any, filters: int, name: str, *, stride: int = 1, dilation: int = 1, bias: bool = False) -> Any:
    """A 3x3 convolution padded by its dilation on every side, also where it is strided ("same" is lopsided there)."""
    if stride == 1:
        return convolution(x, filters, 3, name, dilation=dilation, bias=bias)
    if dilation != 1:
        raise ValueError(f"a convolution is strided or dilated. Received: stride={stride}, dilation={dilation}")
    x = keras.layers.ZeroPadding2D(1, name=layer_name(f"{name}.pad"))(x)
    return convolution(x, filters, 3, name, stride=stride, padding="valid", bias=bias)


def batch_norm(x: Any, name: str, **kwargs: Any) -> Any:
    """Batch norm with PyTorch's epsilon and momentum."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=layer_name(name), **kwargs)(x)


def relu(x: Any, name: str) -> Any:
    return keras.layers.ReLU(name=layer_name(name))(x)


def torch_names(layers: Iterable[keras.layers.Layer]) -> Iterator[tuple[str, keras.Variable, str]]:
    """Which tensor of a PyTorch state dictionary each variable of such layers is.

    Args:
        layers: convolutions, batch norms and dense layers with names by ``layer_name``; others are passed over.

    Yields:
        The name in the state dictionary, the variable, and how the tensor is laid out: ``conv`` (out, in, h, w) for
        Keras' (h, w, in, out), ``dense`` (out, in) for (in, out), ``vector`` the same in both.
    """
    for layer in layers:
        name = layer.name.replace("-", ".")
        if isinstance(layer, keras.layers.BatchNormalization):
            yield f"{name}.weight", layer.gamma, "vector"
            yield f"{name}.bias", layer.beta, "vector"
            yield f"{name}.running_mean", layer.moving_mean, "vector"
            yield f"{name}.running_var", layer.moving_variance, "vector"
        elif isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            yield f"{name}.weight", layer.kernel, "conv" if isinstance(layer, keras.layers.Conv2D) else "dense"
            if layer.bias is not None:
                yield f"{name}.bias", layer.bias, "vector"


def _bottleneck(x: Any, filters: int, stride: int, dilation: int, name: str) -> Any:
    skip, outputs = x, filters * EXPANSION
    if stride != 1 or x.shape[-1] != outputs:
        skip = convolution(x, outputs, 1, f"{name}.downsample.0", stride=stride, padding="valid")
        skip = batch_norm(skip, f"{name}.downsample.1")
    y = relu(batch_norm(convolution(x, filters, 1, f"{name}.conv1"), f"{name}.bn1"), f"{name}.relu1")
    y = convolution_3x3(y, filters, f"{name}.conv2", stride=stride, dilation=dilation)
    y = relu(batch_norm(y, f"{name}.bn2"), f"{name}.relu2")
    y = batch_norm(convolution(y, outputs, 1, f"{name}.conv3"), f"{name}.bn3")
    return relu(keras.layers.Add(name=layer_name(f"{name}.add"))([y, skip]), f"{name}.relu3")
