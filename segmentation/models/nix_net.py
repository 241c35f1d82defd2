"""NIX-Net: two streams, the picture and its noise residual, exchanged between three scales and fused.

The noise residual is what is left of a picture when what the neighbours of each pixel predict is taken away. It is
brought to [0, 1] by the smallest and largest value of the whole picture, the one thing here that is not local. So the
network proper is an inner model, ``model.get_layer("core")``, of two inputs, ``[image, residual]``, both (batch, h, w,
3) in [0, 1] with sides that are multiples of 8; its output is the logits, (batch, h, w, 1). To work in tiles, take
``residual`` of the whole picture once, and run the core on tiles of picture / 255 and of that residual.

References: Li et al. 2021, "Noise Doesn't Lie: Towards Universal Detection of Deep Inpainting", IJCAI; the details are
those of its re-implementation, Adler et al. 2023.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.errors import FakeclfError
from fakeclf.models.layers import PadToMultiple
from fakeclf.registry import closest
from segmentation.layers.filters import SRM_THREE, pad_symmetric
from segmentation.layers.resize import ResizeBy
from segmentation.models.frame import channels, localizer, picture_input
from segmentation.models.resnet import batch_norm, convolution, convolution_3x3, layer_name, relu, torch_names

STRIDE = 8
REACH = 48
"""A logit depends on no pixel further away than this: tiles of the core that begin at multiples of 8 and have so many
pixels to spare on each side give what the whole picture gives."""

STREAM = (128, 256, 512)
"""Channels of a stream at 1/2, 1/4 and 1/8 of the picture's size."""

SIZES = {"40M": (128, 256, 512), "60M": (256, 512, 1024), "85M": (256, 512, 1024)}
"""Channels in which the two streams are joined at the three scales. The 85M network also keeps its widths on the final
way up."""

RESIDUALS = ("adler2023", "srm")

ABLATIONS: dict[str, dict[str, bool]] = {
    "without noise stream": {"noise_stream": False},
    "without image stream": {"image_stream": False},
    "without all fusion modules": {"fusion_1_2": False, "fusion_3": False},
    "without fusion modules 1 and 2": {"fusion_1_2": False},
    "without fusion module 3": {"fusion_3": False},
    "full": {},
}
"""The rows of the paper's table 2, as arguments of ``build``."""


def build(
    input_size: int | None = None,
    *,
    size: str = "40M",
    width: float = 1.0,
    residual: str = "adler2023",
    image_stream: bool = True,
    noise_stream: bool = True,
    fusion_1_2: bool = True,
    fusion_3: bool = True,
) -> keras.Model:
    """Build NIX-Net with fresh weights.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        size: ``40M``, ``60M`` or ``85M``, after the parameters it has at width 1: 39,442,053, 60,046,853 or
            85,226,501, without the statistics of the batch norms.
        width: scales the number of channels everywhere.
        residual: the filters of ``NoiseResidual``, ``adler2023`` or ``srm``.
        image_stream, noise_stream: leave one out, and the other is all there is to join.
        fusion_1_2: the exchange between the scales of each stream.
        fusion_3: the exchange between the scales after the streams are joined.

    Input shape: (batch, height, width, 3), RGB 0-255. Output: ``mask``, (batch, height, width, 1).

    Raises:
        FakeclfError: an unknown size or residual, or no stream left.
    """
    pictures, image = picture_input(multiple=STRIDE)
    noise = NoiseResidual(residual, name="residual", dtype="float32")(pictures)
    noise = PadToMultiple(STRIDE, name="pad_residual", dtype="float32")(noise)
    inputs = [keras.Input((None, None, 3), name=name) for name in ("image", "noise")]
    logits = network(
        *inputs,
        size=size,
        width=width,
        image_stream=image_stream,
        noise_stream=noise_stream,
        fusion_1_2=fusion_1_2,
        fusion_3=fusion_3,
    )
    core = keras.Model(inputs, logits, name="core")
    return localizer(pictures, core([image, noise]), "nix_net")


def network(
    image: Any,
    noise: Any,
    *,
    size: str = "40M",
    width: float = 1.0,
    image_stream: bool = True,
    noise_stream: bool = True,
    fusion_1_2: bool = True,
    fusion_3: bool = True,
) -> Any:
    """The network proper: image and residual in [0, 1], sides multiples of 8, to logits of the same size, float32.

    Its last layers are a batch norm and a relu on one channel, enlarged and passed through one weight and a bias, so no
    logit lies on the far side of that bias. A negative start of the weight would bound all logits from above, and a
    batch norm centred on 0 would leave half of the pixels without a gradient (all of them, once it drifts below). Here
    the batch norm starts at 2 deviations above 0, the weight at 1 and the bias at -2: nearly every pixel learns, and
    the mean logit is 0.

    Args: see ``build``.
    """
    if size not in SIZES:
        raise FakeclfError(f"NIX-Net has no size {size!r}; {closest(size, SIZES)}")
    if not (image_stream or noise_stream):
        raise FakeclfError("NIX-Net needs a stream; leave image_stream or noise_stream on")
    streams = []
    for wanted, x, mark, number in ((image_stream, image, "x", 1), (noise_stream, noise, "r", 2)):
        if wanted:
            maps = _stream(x, width, mark)
            streams.append(_exchange(maps, f"fusion_{number}") if fusion_1_2 else maps)
    joined = []
    for index, filters in enumerate(SIZES[size]):
        name = f"conv_{index + 1}"
        at_scale = [maps[index] for maps in streams]
        x = keras.layers.Concatenate(name=layer_name(f"{name}.join"))(at_scale) if len(at_scale) > 1 else at_scale[0]
        joined.append(_conv_block(x, channels(filters, width), name))
    if fusion_3:
        joined = _exchange(joined, "fusion_3")
    half, quarter, eighth = joined
    one, two, three = (x.shape[-1] for x in joined)
    to_two, to_one, last = (three, three, two) if size == "85M" else (two, one, one)
    quarter = _up(quarter, last, "upsample_1")
    eighth = _up(_up(eighth, to_two, "upsample_2.0"), to_one, "upsample_2.1")
    x = keras.layers.Concatenate(name=layer_name("conv_4.join"))([half, quarter, eighth])
    x = _conv_block(x, 1, "conv_4", beta_initializer=keras.initializers.Constant(2.0))
    x = ResizeBy(2, name=layer_name("upsample_3.resize"), dtype="float32")(x)
    return keras.layers.Conv2D(
        1,
        1,
        kernel_initializer="ones",
        bias_initializer=keras.initializers.Constant(-2.0),
        name=layer_name("upsample_3.conv"),
        dtype="float32",
    )(x)


def torch_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable, str]]:
    """The state dictionary of the re-implementation, see ``torch_names``; of the model or of its core."""
    core = model if model.name == "core" else model.get_layer("core")
    yield from torch_names(core.layers)


def residual(picture: np.ndarray, kind: str = "adler2023", rows: int = 512) -> np.ndarray:
    """The noise residual of one picture, strip by strip, so that memory stays low at any size.

    Args:
        picture: (height, width, 3) RGB 0-255.
        kind: see ``NoiseResidual``.
        rows: height of a strip, pixels.

    Returns:
        (height, width, 3) float32 in [0, 1], what ``NoiseResidual`` gives for the whole picture.
    """
    layer = NoiseResidual(kind, dtype="float32")
    values = np.empty(picture.shape, np.float32)
    for top in range(0, len(picture), rows):
        # Two more rows on either side, where there are any: the filters reach that far.
        first = max(top - 2, 0)
        strip = np.asarray(picture[first : top + rows + 2], np.float32)[None]
        unscaled = ops.convert_to_numpy(layer.unscaled(ops.convert_to_tensor(strip)))[0]
        values[top : top + rows] = unscaled[top - first : top - first + rows]
    low, high = values.min(), values.max()
    values -= low
    values /= high - low if high > low else 1
    return values


@keras.saving.register_keras_serializable("segmentation")
class NoiseResidual(keras.layers.Layer):
    """The noise residual R = X - d(X) of each picture, clipped to [-1, 1] and scaled to [0, 1] by its extremes.

    Three high-pass filters, each on all three colours, give the three channels of R.

    Args:
        kind: ``adler2023`` follows the code of the re-implementation: d is the sum over the colours, on values 0-255
            and with zeros beyond the border, of the square 5x5, the square 3x3 and the column (1, -2, 1) / 2, while X
            is in [0, 1]; most of R is therefore clipped, and marks little but the sign of d. ``srm`` is what the paper
            describes: d predicts a pixel from its neighbours, so that X - d(X) is the filter of the spatial rich model
            itself up to its sign; X is the mean of the colours in [0, 1], mirrored beyond the border, since the step
            to zeros there would be the largest value of most pictures.

    Input shape: (batch, h, w, 3), RGB 0-255; sides of at least 2 under ``srm``.
    Output shape: the same, [0, 1]; zeros where R is constant.

    References: Li et al. 2021; Adler et al. 2023; Fridrich & Kodovsky 2012 (the filters).
    """

    def __init__(self, kind: str = "adler2023", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in RESIDUALS:
            raise FakeclfError(f"NIX-Net has no residual {kind!r}; {closest(kind, RESIDUALS)}")
        self.kind = kind
        second_order, square, line = SRM_THREE
        filters = (second_order, square, line) if kind == "srm" else (square, second_order, line.T)
        self._divisors = np.array([4, 12, 2] if kind == "srm" else [12, 4, 2], np.float32)
        # Whole numbers times whole pixel values stay exact, whatever a device multiplies with.
        whole = [np.rint(kernel * divisor) for kernel, divisor in zip(filters, self._divisors, strict=True)]
        self._kernel = np.repeat(np.stack(whole, axis=-1)[:, :, None], 3, axis=2)

    def call(self, pictures: Any) -> Any:
        values = self.unscaled(pictures)
        low = ops.min(values, axis=(1, 2, 3), keepdims=True)
        spread = ops.max(values, axis=(1, 2, 3), keepdims=True) - low
        return (values - low) / ops.where(spread > 0, spread, ops.ones_like(spread))

    def unscaled(self, pictures: Any) -> Any:
        """R, clipped to [-1, 1], of (batch, h, w, 3) RGB 0-255."""
        kernel = ops.cast(self._kernel, pictures.dtype)
        if self.kind == "srm":
            steps = ops.conv(pad_symmetric(pictures, 2, 2), kernel, padding="valid")
            return ops.clip(-steps / ops.cast(3 * 255 * self._divisors, pictures.dtype), -1.0, 1.0)
        steps = ops.conv(pictures, kernel, padding="same")
        return ops.clip(pictures / 255 - steps / ops.cast(self._divisors, pictures.dtype), -1.0, 1.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


def _stream(x: Any, width: float, mark: str) -> list[Any]:
    """Three residual blocks of stride 2: the maps at 1/2, 1/4 and 1/8."""
    maps = []
    for number, filters in enumerate(STREAM, start=1):
        x = _residual_block(x, channels(filters, width), f"res_{number}_{mark}")
        maps.append(x)
    return maps


def _residual_block(x: Any, filters: int, name: str) -> Any:
    skip = convolution(x, filters, 1, f"{name}.shortcut.0", stride=2, padding="valid")
    skip = batch_norm(skip, f"{name}.shortcut.1")
    y = relu(batch_norm(convolution_3x3(x, filters, f"{name}.conv1"), f"{name}.bn1"), f"{name}.relu1")
    y = batch_norm(convolution_3x3(y, filters, f"{name}.conv2", stride=2), f"{name}.bn2")
    return relu(keras.layers.Add(name=layer_name(f"{name}.add"))([y, skip]), f"{name}.relu2")


def _exchange(maps: Sequence[Any], name: str) -> list[Any]:
    """A fusion module: to the map of each scale those of the other two are added."""
    one, two, three = maps
    a, b, c = (x.shape[-1] for x in maps)
    from_three = _up(_up(three, b, f"{name}.upsample_2.0"), a, f"{name}.upsample_2.1")
    from_one = _down(_down(one, b, f"{name}.stride_2.0"), c, f"{name}.stride_2.1")
    sums = (
        [one, _up(two, a, f"{name}.upsample_1"), from_three],
        [two, _down(one, b, f"{name}.stride_1"), _up(three, b, f"{name}.upsample_3")],
        [three, from_one, _down(two, c, f"{name}.stride_3")],
    )
    return [
        keras.layers.Add(name=layer_name(f"{name}.add_{number}"))(terms) for number, terms in enumerate(sums, start=1)
    ]


def _up(x: Any, filters: int, name: str) -> Any:
    # A 1x1 and a bilinear resize may change places; in this order the 1x1 has a quarter of the work.
    x = convolution(x, filters, 1, f"{name}.conv", bias=True)
    return ResizeBy(2, name=layer_name(f"{name}.resize"))(x)


def _down(x: Any, filters: int, name: str) -> Any:
    return convolution_3x3(x, filters, f"{name}.conv", stride=2, bias=True)


def _conv_block(x: Any, filters: int, name: str, **last: Any) -> Any:
    """Two 3x3 with batch norm and relu, the first as wide as its input; ``last`` goes to the last batch norm."""
    x = convolution_3x3(x, x.shape[-1], f"{name}.conv1.0", bias=True)
    x = relu(batch_norm(x, f"{name}.conv1.1"), f"{name}.conv1.2")
    x = convolution_3x3(x, filters, f"{name}.conv2.0", bias=True)
    return relu(batch_norm(x, f"{name}.conv2.1", **last), f"{name}.conv2.2")
