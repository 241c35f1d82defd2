"""The 2023 report's DeepfakeArt classifier: Xception, global average pooling, dropout, one sigmoid unit.

Reference: report "Inpainting Image Detection" (2023); Chollet 2017, "Xception: deep learning with depthwise separable
convolutions", arXiv:1610.02357. 20,863,529 parameters.
"""

from __future__ import annotations

import keras

from fakeclf.models import applications


def build(
    input_size: int = 224,
    view: str = "resize",
    weights: str = "none",
    fine_tune_from: int | None = None,
    dropout: float = 0.5,
    front: str = "picture",
) -> keras.Model:
    """Build the classifier; arguments and shapes as in ``fakeclf.models.applications.build``, at least 71 px."""
    return applications.build(input_size, view, weights, fine_tune_from, "Xception", dropout, front)
