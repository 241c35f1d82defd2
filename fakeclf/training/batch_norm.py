"""Batch norm through TensorFlow's fused kernel, during training.

Keras 3 composes training-time batch norm from separate operations; TensorFlow has them as one kernel, which also takes
bfloat16 inputs; ``benchmarks/batch_norm.py`` measures what that gains. The saved model keeps plain Keras layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Same variables and results as ``keras.layers.BatchNormalization`` on (batch, height, width, channels)."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training or not self.trainable or len(inputs.shape) != 4 or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        # The variables' own float32 values, not their autocast copies: the kernel takes statistics in float32.
        gamma, beta = (tf.convert_to_tensor(variable.value) for variable in (self.gamma, self.beta))
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs, gamma, beta, epsilon=self.epsilon)
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        # The kernel's variance is the unbiased one; Keras keeps the biased.
        variance = variance * (count - 1) / tf.maximum(count, 1)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving.value * self.momentum + value * (1 - self.momentum))
        return outputs


# Weight files name layers by their class; these must read as what they replace.
FusedBatchNormalization.__name__ = "BatchNormalization"


@contextmanager
def fused_batch_norm(model: keras.Model) -> Iterator[None]:
    """Within the context, ``model`` (nested models included) trains with the fused kernel where it can.

    Rebinding the class of a layer keeps its variables, name and place in the graph; a copy of the model would not.
    Other backends than TensorFlow are left as they are.
    """
    layers = [layer for layer in all_layers(model) if _fusable(layer)]
    if keras.backend.backend() != "tensorflow":
        layers = []
    for layer in layers:
        layer.__class__ = FusedBatchNormalization
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = keras.layers.BatchNormalization


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and of the models nested in it."""
    return [layer for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)]


def _fusable(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not layer.synchronized
        and not layer.renorm
    )
