"""A network as a function of pictures of any size, compiled once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def any_size(network: Any) -> Callable[[Any], np.ndarray]:
    """``network`` as a function from pictures, float32 (b, h, w, 3), to its output as an array.

    Keras' own ``predict_on_batch`` compiles anew for every size it meets, which takes longer than many pictures do.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda batch: np.asarray(network.predict_on_batch(np.asarray(batch, np.float32)))
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    call = tf.function(lambda batch: network(batch, training=False), input_signature=signature)
    return lambda batch: np.asarray(call(tf.cast(batch, tf.float32)))
