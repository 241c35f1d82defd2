"""A small classifier that looks at traces, not at content: four convolutions on the high-pass residual of a picture.

Without most of what a picture shows (``front="residual"`` in ``fakeclf.models.layers``), a few hundred pictures and a
minute on a processor are enough to learn what a decoder leaves (Fridrich & Kodovsky 2012). There is no batch norm: on
a few hundred pictures its running means lag behind, and validation with it.
"""

from __future__ import annotations

import keras
from keras import layers

from fakeclf.models.layers import picture_input

_STRIDES = (1, 2, 2, 1)


def build(input_size: int = 64, view: str = "crop", width: int = 16, dropout: float = 0.0) -> keras.Model:
    """Build the classifier (about 17,000 parameters at the default width).

    Args:
        input_size: side the picture is brought to, pixels.
        view: ``crop`` keeps the pixels as they are; ``resize`` blurs away what this model looks at.
        width: channels of the first two convolutions; the other two have twice as many.
        dropout: rate before the last layer.

    Input shape: (batch, height, width, 3), RGB 0-255, any size.
    Output shape: (batch, 1), P(REAL).
    """
    pictures, x = picture_input(input_size, view, front="residual")
    for index, strides in enumerate(_STRIDES):
        filters = width if index < 2 else 2 * width
        x = layers.Conv2D(filters, 3, strides=strides, activation="relu", name=f"conv_{index + 1}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    real = layers.Dense(1, activation="sigmoid", dtype="float32", name="p_real")(x)
    return keras.Model(pictures, real, name="residual_cnn")
