"""The 2023 report's CIFAKE classifier: DenseNet121 under a small convolutional head.

Reference: report "Inpainting Image Detection" (2023); Huang et al. 2017, "Densely connected convolutional networks",
arXiv:1608.06993.
"""

from __future__ import annotations

import keras
from keras import layers, regularizers

from fakeclf.errors import FakeclfError
from fakeclf.models.backbone import backbone, freeze_below, load_weights
from fakeclf.models.layers import picture_input

BLOCKS = (6, 12, 24, 16)
_EPSILON = 1.001e-5


def build(
    input_size: int = 224,
    view: str = "resize",
    weights: str = "none",
    fine_tune_from: int | None = None,
    stem: str = "stock",
    growth_rate: int = 32,
    head: str = "report",
    dropout: float = 0.5,
) -> keras.Model:
    """Build the classifier.

    With the defaults this is the report's network: 7,398,769 parameters at 224 px.

    Args:
        input_size: side the picture is brought to, at least 32 px.
        view: ``resize`` or ``crop``; see ``FitToSize``.
        weights: ``imagenet``, ``none`` or a path; of the backbone.
        fine_tune_from: backbone layers below this index are frozen.
        stem: how fast the first layers shrink the picture. ``stock``: 7x7 stride 2, then pooling, 1/4, which leaves
            1x1 of a 32-px picture at the end; ``half``: 3x3 stride 2, 1/2; ``full``: 3x3 stride 1, as the paper's
            own networks for 32-px pictures. Each step costs about four times the computation.
        growth_rate: channels a dense layer adds; 32 is DenseNet121's.
        head: ``report``: Conv 16, Conv 32, Flatten, Dense 128, Dense 64 (L2 0.01), dropout; ``pool``: global average
            pooling, dropout.
        dropout: rate before the last layer.

    Input shape: (batch, height, width, 3), RGB 0-255, any size.
    Output shape: (batch, 1), P(REAL).

    Raises:
        FakeclfError: for unknown arguments, or ImageNet weights for a network that is not the stock one.
    """
    if stem not in ("stock", "half", "full"):
        raise FakeclfError(f"stem must be stock, half or full; received {stem!r}")
    if head not in ("report", "pool"):
        raise FakeclfError(f"head must be report or pool; received {head!r}")
    pictures, x = picture_input(input_size, view)
    if stem == "stock" and growth_rate == 32:
        network = backbone("DenseNet121", input_size, weights, fine_tune_from)
    elif weights == "imagenet":
        raise FakeclfError("ImageNet weights fit only stem=stock and growth_rate=32; use weights=none or a path")
    else:
        network = dense_network(input_size, stem, growth_rate)
        if weights != "none":
            load_weights(network, weights)
        if fine_tune_from is not None:
            freeze_below(network, fine_tune_from)
    x = network(x)
    if head == "report":
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
        x = layers.Flatten()(x)
        x = layers.Dense(128, activation="relu", kernel_regularizer=regularizers.L2(0.01))(x)
        x = layers.Dense(64, activation="relu", kernel_regularizer=regularizers.L2(0.01))(x)
    else:
        x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    real = layers.Dense(1, activation="sigmoid", dtype="float32", name="p_real")(x)
    return keras.Model(pictures, real, name="densenet121")


def dense_network(size: int, stem: str, growth_rate: int) -> keras.Model:
    """DenseNet-BC with DenseNet121's blocks, without a top; ``stem`` and ``growth_rate`` as in ``build``."""
    inputs = keras.Input((size, size, 3))
    kernel, strides = {"stock": (7, 2), "half": (3, 2), "full": (3, 1)}[stem]
    x = layers.Conv2D(2 * growth_rate, kernel, strides, padding="same", use_bias=False)(inputs)
    if stem == "stock":
        x = _norm_relu(x)
        x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for count in BLOCKS[:-1]:
        x = _dense_block(x, count, growth_rate)
        x = layers.Conv2D(x.shape[-1] // 2, 1, use_bias=False)(_norm_relu(x))
        x = layers.AveragePooling2D(2)(x)
    x = _norm_relu(_dense_block(x, BLOCKS[-1], growth_rate))
    return keras.Model(inputs, x, name=f"densenet121_{stem}_{growth_rate}")


def _dense_block(x: keras.KerasTensor, count: int, growth_rate: int) -> keras.KerasTensor:
    for _ in range(count):
        new = layers.Conv2D(4 * growth_rate, 1, use_bias=False)(_norm_relu(x))
        new = layers.Conv2D(growth_rate, 3, padding="same", use_bias=False)(_norm_relu(new))
        x = layers.Concatenate()([x, new])
    return x


def _norm_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Activation("relu")(layers.BatchNormalization(epsilon=_EPSILON)(x))
