"""IRL-Net: Bayar and plain filters, a squeeze-and-excitation encoder, a pixel-shuffling decoder with attention.

The layers follow the authors' code. Two things it does by accident differ here: the share alpha of the attention is
tracked, so it trains; and the softmax of the attention is over the keys of each query, as the paper has it
(``softmax="joint"`` gives the code's, over all pairs at once).

Reference: Daryani et al. 2023, "IRL-Net: Inpainted Region Localization Network via Spatial Attention",
doi:10.1109/ACCESS.2023.3324541.
"""

from __future__ import annotations

from typing import Any

import keras

from fakeclf.errors import FakeclfError
from fakeclf.models.layers import PixelShuffle
from fakeclf.registry import closest
from segmentation.layers.blocks import SqueezeExcitation
from segmentation.layers.dual_attention import PositionAttention
from segmentation.layers.filters import BayarConv2D
from segmentation.models.frame import channels, localizer, picture_input

STRIDE = 8
STAGES = ((64, 4), (128, 6), (256, 6))
"""Channels of the encoder's strided stages, and how many blocks follow the strided one."""

FUSIONS = ("early", "middle", "late")
ABLATIONS: dict[str, dict[str, Any]] = {
    "residual blocks with batch norm": {"batch_norm": True, "se": False, "attention": False},
    "residual blocks": {"se": False, "attention": False},
    "residual blocks + SE": {"attention": False},
    "residual blocks + SE + attention": {},
}
"""The ablations of the paper, as arguments of ``build``."""


def build(
    input_size: int | None = None,
    *,
    width: float = 1.0,
    fusion: str = "early",
    batch_norm: bool = False,
    se: bool = True,
    attention: bool | None = None,
    softmax: str = "rows",
    chunk: int = 1024,
) -> keras.Model:
    """Build IRL-Net with fresh weights.

    Args:
        input_size: ignored; the model takes any size. Present because every builder has it.
        width: scales the number of channels everywhere but in the two first filters. At width 1 and besides alpha
            there are 13,536,598 parameters (early), 13,571,350 (middle) or 25,503,510 (late).
        fusion: where the Bayar and the plain branch join: ``early``, after the filters; ``middle``, after a multi-scale
            block each; ``late``, after an encoder each.
        batch_norm: a batch norm after both 3x3 convolutions of each encoder block.
        se: squeeze-and-excitation in each encoder block.
        attention: at 1/4 in the decoder; None = as the authors have it, with it but for middle fusion.
        softmax: of the attention: ``rows`` (the paper's) or ``joint`` (the code's).
        chunk: queries of the attention handled at a time, see ``segmentation.layers.attention.attend``.

    Input shape: (batch, height, width, 3), RGB 0-255. Output: ``mask``, (batch, height, width, 1).

    Raises:
        FakeclfError: an unknown fusion or softmax.
    """
    pictures, x = picture_input(multiple=STRIDE)
    logits = network(
        x,
        width=width,
        fusion=fusion,
        batch_norm=batch_norm,
        se=se,
        attention=attention,
        softmax=softmax,
        chunk=chunk,
    )
    return localizer(pictures, logits, "irl_net")


def network(
    x: Any,
    *,
    width: float = 1.0,
    fusion: str = "early",
    batch_norm: bool = False,
    se: bool = True,
    attention: bool | None = None,
    softmax: str = "rows",
    chunk: int = 1024,
) -> Any:
    """The network proper: (batch, h, w, 3) in [0, 1], sides multiples of 8, to logits of the same size, float32.

    Args: see ``build``.
    """
    if fusion not in FUSIONS:
        raise FakeclfError(f"IRL-Net has no fusion {fusion!r}; {closest(fusion, FUSIONS)}")
    if softmax not in ("rows", "joint"):
        raise FakeclfError(f"IRL-Net has no softmax {softmax!r}; {closest(softmax, ('rows', 'joint'))}")
    if attention is None:
        attention = fusion != "middle"
    # The constraint and the last bits of a pixel need full precision.
    bayar = BayarConv2D(3, 5, name="bayar", dtype="float32")(x)
    plain = keras.layers.Conv2D(3, 3, padding="same", name="plain", dtype="float32")(x)
    if fusion == "late":
        ends = [
            _encoder(_multi_scale(branch, width, f"{name}-scales"), width, batch_norm, se, f"{name}-encoder")
            for name, branch in (("bayar", bayar), ("plain", plain))
        ]
        deep = keras.layers.Concatenate(name="join")([end[0] for end in ends])
        quarter = keras.layers.Concatenate(name="join_quarter")([end[1] for end in ends])
        if attention:
            quarter = _conv(quarter, channels(128, width), 3, "join_quarter-conv")
    else:
        if fusion == "early":
            start = _multi_scale(keras.layers.Concatenate(name="join")([bayar, plain]), width, "scales")
        else:
            both = [_multi_scale(bayar, width, "bayar-scales"), _multi_scale(plain, width, "plain-scales")]
            start = keras.layers.Concatenate(name="join")(both)
        deep, quarter = _encoder(start, width, batch_norm, se, "encoder")
    return _decoder(deep, quarter if attention else None, width, softmax, chunk)


def _multi_scale(x: Any, width: float, name: str) -> Any:
    filters = channels(32, width)
    maps = [_conv(x, filters, size, f"{name}-{size}x{size}", activation="relu", decay=True) for size in (7, 5, 3)]
    return keras.layers.Concatenate(name=f"{name}-join")(maps)


def _encoder(x: Any, width: float, batch_norm: bool, se: bool, name: str) -> tuple[Any, Any]:
    """The maps at 1/8 and at 1/4."""
    x = _block(x, channels(32, width), batch_norm, se, f"{name}-0-0", project=True)
    x = _block(x, channels(32, width), batch_norm, se, f"{name}-0-1")
    ends = []
    for stage, (filters, blocks) in enumerate(STAGES, start=1):
        x = _block(x, channels(filters, width), batch_norm, se, f"{name}-{stage}-0", stride=2, project=True)
        for index in range(1, blocks + 1):
            x = _block(x, channels(filters, width), batch_norm, se, f"{name}-{stage}-{index}")
        ends.append(x)
    return ends[2], ends[1]


def _block(
    x: Any, filters: int, batch_norm: bool, se: bool, name: str, *, stride: int = 1, project: bool = False
) -> Any:
    """3x3, relu, 3x3, squeeze-and-excitation, added to the input; nothing after the sum."""
    skip = _conv(x, filters, 3, f"{name}-skip", stride=stride, decay=True) if project else x
    x = _conv(x, filters, 3, f"{name}-conv1", stride=stride, decay=True)
    if batch_norm:
        x = keras.layers.BatchNormalization(name=f"{name}-norm1")(x)
    x = keras.layers.ReLU(name=f"{name}-relu")(x)
    x = _conv(x, filters, 3, f"{name}-conv2", decay=True)
    if batch_norm:
        x = keras.layers.BatchNormalization(name=f"{name}-norm2")(x)
    if se:
        x = SqueezeExcitation(4, name=f"{name}-se")(x)
    return keras.layers.Add(name=f"{name}-add")([skip, x])


def _decoder(x: Any, query: Any, width: float, softmax: str, chunk: int) -> Any:
    x = _up(x, channels(256, width), channels(128, width), "decoder-1")
    if query is not None:
        x = PositionAttention(softmax, chunk, name="attention")(x, query)
    x = _up(x, channels(128, width), channels(64, width), "decoder-2")
    x = _up(x, channels(64, width), channels(64, width), "decoder-3")
    x = _conv(x, channels(32, width), 3, "decoder-4", activation="relu")
    return keras.layers.Conv2D(1, 7, padding="same", name="logits", dtype="float32")(x)


def _up(x: Any, inner: int, outer: int, name: str) -> Any:
    """3x3, relu, 3x3, enlarged by 2; no activation around the shuffle."""
    x = _conv(x, inner, 3, f"{name}-conv1", activation="relu")
    x = _conv(x, 4 * outer, 3, f"{name}-conv2")
    return PixelShuffle(2, name=f"{name}-shuffle")(x)


def _conv(
    x: Any,
    filters: int,
    size: int,
    name: str,
    *,
    stride: int = 1,
    activation: str | None = None,
    decay: bool = False,
) -> Any:
    """A convolution with Keras' padding, which at stride 2 is one pixel below and right, none above and left."""
    return keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        activation=activation,
        kernel_regularizer=keras.regularizers.L2(1e-3) if decay else None,
        name=name,
    )(x)
