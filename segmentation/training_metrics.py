"""Metrics of masks for ``model.compile``: running figures of a training, to watch it and to choose its best weights.

    model.compile(..., metrics={"mask": [IoU(), F1(), AUC()]})

All take masks of shape (b, h, w, 1) or (b, h, w): truth in [0, 1], where 0.5 and more counts as inpainted, so that grey
edges fall on one side or the other, and P(inpainted). They count in float32 whatever the dtype policy, and sum their
counts over the devices of a strategy. ``sample_weight``, where one is used, is a weight a picture, (b,).

What is reported at the end is measured by ``segmentation.evaluate``, exactly and on whole pictures.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

BINS = 1024
STEEPEST = 16.0  # the logit of 1 - 2^-23, about the largest float32 below 1


class _MaskMetric(keras.metrics.Metric):
    """Flattens pictures and settles what counts as inpainted."""

    def __init__(self, name: str, dtype: Any = None) -> None:
        # Counts do not survive bfloat16.
        super().__init__(name=name, dtype=dtype or "float32")

    def _pixels(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Truth as 0 or 1 and P(inpainted), (b, pixels) float32, and the weights of the pictures, (b,)."""
        p = ops.cast(y_pred, "float32")
        p = ops.reshape(p, (ops.shape(p)[0], -1))
        truth = ops.cast(ops.reshape(ops.cast(y_true, "float32"), ops.shape(p)) >= 0.5, "float32")
        if sample_weight is None:
            return truth, p, ops.ones_like(p[:, 0])
        return truth, p, ops.reshape(ops.cast(sample_weight, "float32"), (-1,))

    def _sum(self, name: str, shape: tuple[int, ...] = ()) -> Any:
        return self.add_variable(shape, initializer="zeros", dtype="float32", aggregation="sum", name=name)


class _Thresholded(_MaskMetric):
    def __init__(self, threshold: float, name: str, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold lies in [0, 1]. Received: threshold={threshold}")
        self.threshold = threshold

    def _counts(self, truth: Any, p: Any) -> tuple[Any, Any, Any]:
        """True positives, forged pixels and called pixels of each picture, (b,)."""
        called = ops.cast(p >= self.threshold, "float32")
        return ops.sum(truth * called, axis=1), ops.sum(truth, axis=1), ops.sum(called, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


@keras.saving.register_keras_serializable("segmentation")
class IoU(_Thresholded):
    """Intersection over union of the inpainted class: per picture, then mean over pictures with an inpainted pixel.

    Args:
        threshold: on P(inpainted), in [0, 1].

    0 where no picture had an inpainted pixel yet.
    """

    def __init__(self, threshold: float = 0.5, name: str = "iou", dtype: Any = None) -> None:
        super().__init__(threshold, name, dtype)
        self.total, self.pictures = self._sum("total"), self._sum("pictures")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth, p, weights = self._pixels(y_true, y_pred, sample_weight)
        hits, forged, called = self._counts(truth, p)
        weights = weights * ops.cast(forged > 0, "float32")
        self.total.assign_add(ops.sum(weights * ops.divide_no_nan(hits, forged + called - hits)))
        self.pictures.assign_add(ops.sum(weights))

    def result(self) -> Any:
        return ops.divide_no_nan(self.total.value, self.pictures.value)


@keras.saving.register_keras_serializable("segmentation")
class F1(_Thresholded):
    """F1 of the inpainted class over all pixels together, those of pictures without an inpainted pixel included.

    Args:
        threshold: on P(inpainted), in [0, 1].

    0 where no pixel was inpainted or called so yet.
    """

    def __init__(self, threshold: float = 0.5, name: str = "f1", dtype: Any = None) -> None:
        super().__init__(threshold, name, dtype)
        self.hits, self.both = self._sum("hits"), self._sum("forged_and_called")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth, p, weights = self._pixels(y_true, y_pred, sample_weight)
        hits, forged, called = self._counts(truth, p)
        self.hits.assign_add(ops.sum(weights * hits))
        self.both.assign_add(ops.sum(weights * (forged + called)))

    def result(self) -> Any:
        return ops.divide_no_nan(2.0 * self.hits.value, self.both.value)


@keras.saving.register_keras_serializable("segmentation")
class AUC(_MaskMetric):
    """Area under the ROC curve of pixels, from a histogram of the logit of P(inpainted), those of one bin being tied.

    Args:
        pooled: rank all pixels together; otherwise those of each picture, then mean over the pictures that have both
            inpainted and untouched pixels, which is the figure of IID-Net.
        bins: of the histogram, from logit -16 to 16. The error is at most half the share of pairs of an inpainted and
            an untouched pixel that fall into one bin.

    0 where no such picture was there yet.

    Reference: Wu & Zhou 2021, "IID-Net: Image Inpainting Detection Network via Neural Architecture Search and
    Attention", reports the mean of each picture's AUC.
    """

    def __init__(self, pooled: bool = False, bins: int = BINS, name: str = "auc", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        if bins < 2:
            raise ValueError(f"bins must be at least 2. Received: bins={bins}")
        self.pooled, self.bins = pooled, bins
        if pooled:
            self.forged, self.pristine = self._sum("forged", (bins,)), self._sum("pristine", (bins,))
        else:
            self.total, self.pictures = self._sum("total"), self._sum("pictures")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth, p, weights = self._pixels(y_true, y_pred, sample_weight)
        forged, pristine = self._histograms(truth, p)
        if self.pooled:
            self.forged.assign_add(ops.sum(weights[:, None] * forged, axis=0))
            self.pristine.assign_add(ops.sum(weights[:, None] * pristine, axis=0))
            return
        area, known = _area(forged, pristine)
        self.total.assign_add(ops.sum(weights * area))
        self.pictures.assign_add(ops.sum(weights * known))

    def result(self) -> Any:
        if not self.pooled:
            return ops.divide_no_nan(self.total.value, self.pictures.value)
        return _area(self.forged.value, self.pristine.value)[0]

    def _histograms(self, truth: Any, p: Any) -> tuple[Any, Any]:
        """Pixels of each picture in each bin, (b, bins), inpainted and untouched ones."""
        p = ops.clip(p, 1e-7, 1.0 - 1e-7)
        share = (ops.log(p) - ops.log1p(-p) + STEEPEST) / (2 * STEEPEST)
        place = ops.clip(ops.floor(share * self.bins), 0, self.bins - 1)
        pictures = ops.shape(p)[0]
        first = ops.cast(ops.arange(pictures), "int32")[:, None] * (2 * self.bins)
        place = first + ops.cast(truth * self.bins + place, "int32")
        counted = ops.segment_sum(
            ops.ones_like(ops.reshape(p, (-1,))), ops.reshape(place, (-1,)), num_segments=pictures * 2 * self.bins
        )
        counted = ops.reshape(counted, (-1, 2, self.bins))
        return counted[:, 1], counted[:, 0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooled": self.pooled, "bins": self.bins}


def _area(forged: Any, pristine: Any) -> tuple[Any, Any]:
    """AUC along the last axis, 0 where a class is missing, and 1 or 0: whether both are there."""
    # Shares, not counts: products of counts exceed what float32 holds exactly.
    of_forged, of_pristine = ops.sum(forged, axis=-1, keepdims=True), ops.sum(pristine, axis=-1, keepdims=True)
    forged, pristine = ops.divide_no_nan(forged, of_forged), ops.divide_no_nan(pristine, of_pristine)
    below = ops.cumsum(pristine, axis=-1) - pristine
    known = ops.cast(ops.logical_and(of_forged > 0, of_pristine > 0), "float32")[..., 0]
    return ops.sum(forged * (below + pristine / 2), axis=-1) * known, known
