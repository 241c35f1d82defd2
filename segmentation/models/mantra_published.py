"""ManTra-Net as its authors' published weights want it, and which array of their file each variable is.

Their code differs from the paper in one point, which the weights were trained with: the convolutional LSTM reads from
near to far, the smallest window first and the whole map's mean last. Its gates are Keras 2's hard sigmoid.

Reference: Wu, AbdAlmageed & Natarajan 2019, ManTra-Net, CVPR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from segmentation.layers.filters import FixedConv2D
from segmentation.models import mantra_net

FLOOR = 9e-6
"""By so much the authors' layer adds less to the stored floor of the deviations than ``WindowDifferences`` does."""

_BLOCKS = (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5)


def build(
    input_size: int | None = None, *, width: float = 1.0, windows: tuple[int, ...] | list[int] = (7, 15, 31)
) -> keras.Model:
    """ManTra-Net with the published weights' order of windows and gates; arguments and shapes as ``mantra_net.build``.

    The published network of index 4 has the windows 7, 15 and 31; the others 63 as well.
    """
    model = mantra_net.build(input_size, width=width, windows=windows, gates="hard")
    return keras.models.clone_model(model, clone_function=_near_to_far)


@keras.saving.register_keras_serializable("segmentation")
class NearToFar(mantra_net.WindowDifferences):
    """``WindowDifferences`` in the opposite order: the smallest window first, the whole map's mean last."""

    def call(self, x: Any) -> list[Any]:
        return super().call(x)[::-1]


def stored_names(model: keras.Model) -> list[tuple[str, keras.Variable]]:
    """The variables with the authors' names, ``LAYER/WEIGHT``, in the order in which Keras 2 writes them."""
    named = [("b1c1/regular_kernel", "plain", "kernel"), ("b1c1/bayar_kernel", "bayar", "kernel")]
    for number, block in enumerate(_BLOCKS, start=1):
        # The first block's first layer is the one of the filters.
        place = _BLOCKS[:number].count(block) + (block == 1)
        named += [(f"b{block}c{place}/{part}", f"conv{number}", part) for part in ("kernel", "bias")]
    named += [(f"transform/{part}", "transform", part) for part in ("kernel", "bias")]
    named += [("outlierTrans/kernel", "project", "kernel")]
    named += [(f"bnorm/{part}", "project_norm", part) for part in ("moving_mean", "moving_variance")]
    named += [("glbStd/min_std", "differences", "floor")]
    named += [(f"cLSTM/{part}", "far_to_near", part) for part in ("kernel", "recurrent_kernel", "bias")]
    named += [(f"pred/{part}", "logits", part) for part in ("kernel", "bias")]
    return [(name, getattr(model.get_layer(layer), part)) for name, layer, part in named]


def fixed_filters(model: keras.Model) -> np.ndarray:
    """The SRM filters, (5, 5, 3, 9), which some versions of Keras store among the weights."""
    layer: FixedConv2D = model.get_layer("srm")
    return layer.kernel


def match(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Which stored name each of the authors' names is: the one that ends in it; where one is not found, all by order.

    Args:
        names: stored, in the file's order.
        wanted: of ``stored_names``; as many.
    """
    by_name = [[name for name in names if f"/{name}".endswith(f"/{end}")] for end in wanted]
    return [found[0] for found in by_name] if all(len(found) == 1 for found in by_name) else list(names)


def _near_to_far(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = NearToFar if isinstance(layer, mantra_net.WindowDifferences) else type(layer)
    return kind.from_config(layer.get_config())
