"""Any ``keras.applications`` backbone under global pooling, dropout and one sigmoid unit."""

from __future__ import annotations

import keras
from keras import layers

from fakeclf.models.backbone import backbone as keras_backbone
from fakeclf.models.layers import picture_input


def build(
    input_size: int = 224,
    view: str = "resize",
    weights: str = "none",
    fine_tune_from: int | None = None,
    backbone: str = "ResNet50",
    dropout: float = 0.5,
    front: str = "picture",
) -> keras.Model:
    """Build the classifier.

    Args:
        input_size: side the picture is brought to, pixels.
        view: ``resize`` or ``crop``; see ``FitToSize``.
        weights: ``imagenet``, ``none`` or a path; of the backbone.
        fine_tune_from: backbone layers below this index are frozen.
        backbone: a name in ``keras.applications``.
        dropout: rate before the last layer.
        front: ``picture``, ``residual`` or ``spectrum``; see ``picture_input``.

    Input shape: (batch, height, width, 3), RGB 0-255, any size.
    Output shape: (batch, 1), P(REAL).
    """
    pictures, x = picture_input(input_size, view, front)
    x = keras_backbone(backbone, x.shape[1], weights, fine_tune_from)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    real = layers.Dense(1, activation="sigmoid", dtype="float32", name="p_real")(x)
    return keras.Model(pictures, real, name=backbone.lower() + "_classifier")
