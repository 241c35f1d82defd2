"""Which array of the published weights of ManTra-Net each variable is.

Reference: Wu, AbdAlmageed & Natarajan 2019, ManTra-Net, CVPR, and its authors' Keras 2 code.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from segmentation.layers.filters import FixedConv2D

_BLOCKS = (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5)


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
    named += [(f"cLSTM/{part}", "near_to_far", part) for part in ("kernel", "recurrent_kernel", "bias")]
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
