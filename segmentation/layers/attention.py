"""Attention between all positions of a map, in chunks of queries, so that no N x N matrix is ever held.

N is the number of positions, height * width: 16,384 on the 1/8 map of a picture of 1024 x 1024, where an N x N matrix
of float32 would take 1.1 GB for each picture (17 GB on the 1/4 map).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

SMOOTHING = np.array(
    [
        [0.03598, 0.03735, 0.03997, 0.03713, 0.03579],
        [0.03682, 0.03954, 0.04446, 0.03933, 0.03673],
        [0.03864, 0.04242, 0.07146, 0.04239, 0.03859],
        [0.03679, 0.03936, 0.04443, 0.03950, 0.03679],
        [0.03590, 0.03720, 0.04003, 0.03738, 0.03601],
    ],
    np.float32,
)
"""The smoothing kernel of IID-Net's local attention; its values sum to about 1."""


def attend(query: Any, key: Any, value: Any, *, softmax: str = "rows", scale: float = 1.0, chunk: int = 1024) -> Any:
    """Dot-product attention: each position of ``query`` gets a mean of ``value`` weighted by exp(scale * q . k).

    Memory: a few times batch * min(chunk, N) * M float32 for N queries and M keys, in training too: the backward pass
    computes the scores of a chunk again (Chen et al. 2016, arXiv:1604.06174) rather than keep those of all.

    Args:
        query: (b, hq, wq, c).
        key: (b, hk, wk, c).
        value: (b, hk, wk, cv).
        softmax: ``rows`` normalises over the keys of each query; ``joint`` over all pairs of a picture at once, so that
            the whole N x M matrix sums to 1.
        scale: factor of the scores before the softmax, such as 1 / sqrt(c).
        chunk: queries handled at a time.

    Returns:
        (b, hq, wq, cv), in the dtype of ``value``; scores and softmax are float32 whatever the inputs are.

    Reference: Vaswani et al. 2017, arXiv:1706.03762; chunks as in Rabe & Staats 2021, arXiv:2112.05682.
    """
    if softmax not in ("rows", "joint"):
        raise ValueError(f"softmax must be rows or joint. Received: softmax={softmax!r}")
    batch, height, width = ops.shape(query)[:3]
    keys = ops.reshape(key, (batch, -1, key.shape[-1]))
    values = ops.reshape(value, (batch, -1, value.shape[-1]))

    def weigh(queries: Any, keys: Any, values: Any) -> tuple[Any, Any]:
        scores = ops.matmul(ops.cast(queries, "float32"), ops.swapaxes(ops.cast(keys, "float32"), 1, 2)) * scale
        top = ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True))
        weights = ops.exp(scores - top)
        total = ops.sum(weights, axis=-1, keepdims=True)
        return ops.matmul(weights, ops.cast(values, "float32")) / total, top + ops.log(total)

    queries = ops.reshape(query, (batch, -1, query.shape[-1]))
    mixed, log_total = map_chunks(keras.remat(weigh), queries, (keys, values), chunk)
    if softmax == "joint":
        # A row's share of the whole sum: what it was normalised by, over that of all rows.
        mixed = mixed * ops.exp(log_total - ops.logsumexp(log_total, axis=1, keepdims=True))
    return ops.cast(ops.reshape(mixed, (batch, height, width, value.shape[-1])), value.dtype)


def map_chunks(function: Callable[..., tuple[Any, ...]], rows: Any, others: tuple[Any, ...], chunk: int) -> Any:
    """``function(rows, *others)`` on ``chunk`` rows at a time, one chunk after the other.

    Args:
        function: takes (b, n, c) and ``others`` whole, gives a tuple of (b, n, any); a row must not see other rows.
            Wrapped in ``keras.remat`` it keeps nothing of a chunk for the backward pass; gradients then reach its
            arguments only.
        rows: (b, N, c), N may be unknown.
        others: tensors that every chunk sees.
        chunk: rows at a time, at most.

    Returns:
        The tuple of results, each (b, N, any).
    """
    batch, count, channels = ops.shape(rows)
    if isinstance(count, int) and count <= chunk:
        return function(rows, *others)
    size = chunk if isinstance(count, int) else ops.minimum(count, chunk)
    pieces = (count + size - 1) // size
    padded = ops.pad(rows, ((0, 0), (0, pieces * size - count), (0, 0)))
    split = ops.transpose(ops.reshape(padded, (batch, pieces, size, channels)), (1, 0, 2, 3))
    joined = []
    for result in _map_in_turn(lambda piece: function(piece, *others), split):
        result = ops.transpose(result, (1, 0, 2, 3))
        joined.append(ops.reshape(result, (batch, pieces * size, result.shape[-1]))[:, :count])
    return tuple(joined)


def _map_in_turn(function: Callable[[Any], tuple[Any, ...]], pieces: Any) -> tuple[Any, ...]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # keras.ops.map would let TensorFlow run ten pieces at once, and take the memory of ten.
        signature = tuple(tf.TensorSpec.from_tensor(result) for result in function(pieces[0]))
        return tf.map_fn(function, pieces, fn_output_signature=signature, parallel_iterations=1)
    return ops.map(function, pieces)


@keras.saving.register_keras_serializable("segmentation")
class RankedAttention(keras.layers.Layer):
    """Each position becomes the mean of the positions of its picture that look most like it.

    For every position all others are ranked by the cosine similarity of their features; rank 0 is the position itself.
    How many ranks are averaged is one number T for a picture: the index of the last of the first ``ranks`` ranks whose
    similarity, averaged over all positions, is at least ``threshold``, and at least ``least``. The mean is over the
    features themselves of ranks 0 to T - 1. No weights; the gradient passes through the mean, not through the choice.

    The authors' code takes T once for a whole batch; here it is each picture's own, so that a mask does not depend on
    what else is in the batch. With one picture both are the same.

    Memory: a few times batch * min(chunk, N) * N float32 for N positions (0.2 GB for a picture of 1024 x 1024, 16,384
    positions, at 1,024 a chunk), and batch * N * ranks for the choice.

    Args:
        ranks: how many ranks are looked at; all there are, where a map has fewer positions.
        threshold: mean cosine similarity that a rank needs.
        least: smallest T, where a map has that many positions.
        chunk: positions ranked at a time.

    Input shape: (batch, h, w, c), any size. Output shape: the same.

    Reference: Wu & Zhou 2021, IID-Net, doi:10.1109/TCSVT.2021.3075039.
    """

    def __init__(
        self, ranks: int = 15, threshold: float = 0.5, least: int = 2, chunk: int = 1024, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 1 <= least < ranks:
            raise ValueError(f"least must be from 1 to ranks - 1. Received: least={least}, ranks={ranks}")
        self.ranks, self.threshold, self.least, self.chunk = ranks, threshold, least, chunk

    def call(self, x: Any) -> Any:
        batch, height, width, channels = ops.shape(x)
        features = ops.reshape(x, (batch, -1, channels))
        partners, taken = self.choose(features)
        count = ops.shape(features)[1]
        # One row for all positions of all pictures: a plain gather then finds a partner.
        start = ops.arange(batch, dtype="int32")[:, None] * count
        pool = ops.reshape(features, (-1, channels))
        total = ops.cast(features, "float32")
        for rank in range(1, self.ranks - 1):
            found = ops.take(pool, partners[:, :, rank - 1] + start, axis=0)
            total = total + ops.where((taken > rank)[:, None, None], ops.cast(found, "float32"), 0.0)
        mean = total / ops.cast(taken, "float32")[:, None, None]
        return ops.cast(ops.reshape(mean, (batch, height, width, channels)), x.dtype)

    def choose(self, features: Any) -> tuple[Any, Any]:
        """For (b, N, c): the positions at ranks 1 and up, (b, N, ranks - 1) int32, and T of each picture, (b,) int32.

        Where a picture has fewer positions than ranks, the places left over hold position 0; T does not reach them.
        """
        features = ops.cast(ops.stop_gradient(features), "float32")
        count, others = ops.shape(features)[1], self.ranks - 1
        length = ops.sqrt(ops.sum(ops.square(features), axis=-1, keepdims=True))
        unit = features / ops.maximum(length, 1e-8)
        # Blank positions at the end, which rank last: there are always enough to fill the ranks.
        known = ops.pad(unit, ((0, 0), (0, others), (0, 0)))
        column = ops.arange(count + others, dtype="int32")
        own = ops.cast(ops.arange(count), "float32")[None, :, None]
        rows = ops.concatenate([unit, ops.broadcast_to(own, ops.shape(unit[..., :1]))], axis=-1)

        def rank(rows: Any, known: Any) -> tuple[Any, Any]:
            similar = ops.matmul(rows[..., :-1], ops.swapaxes(known, 1, 2))
            left_out = (column == ops.cast(rows[..., -1:], "int32")) | (column >= count)
            best, places = ops.top_k(ops.where(left_out, -2.0, similar), others)
            return best, ops.cast(places, "int32")

        best, partners = map_chunks(rank, rows, (known,), self.chunk)
        enough = ops.mean(best, axis=1) >= self.threshold
        last = ops.max(ops.where(enough, ops.arange(1, self.ranks, dtype="int32"), 0), axis=-1)
        taken = ops.minimum(ops.maximum(last, self.least), ops.cast(count, "int32"))
        return ops.where(partners < count, partners, 0), taken

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"ranks": self.ranks, "threshold": self.threshold, "least": self.least, "chunk": self.chunk}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("segmentation")
class LocalSmoothing(keras.layers.Layer):
    """Each channel convolved with the same fixed kernel, zeros beyond the border; no weights.

    Args:
        kernel: (height, width), nested lists or an array; by default ``SMOOTHING``.

    Input shape: (batch, h, w, c). Output shape: the same.

    Reference: Wu & Zhou 2021, IID-Net, doi:10.1109/TCSVT.2021.3075039.
    """

    def __init__(self, kernel: Any = SMOOTHING, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel = np.asarray(kernel, np.float32)
        if self.kernel.ndim != 2:
            raise ValueError(f"kernel must be (height, width). Received: {self.kernel.shape}")

    def call(self, x: Any) -> Any:
        kernel = np.repeat(self.kernel[:, :, None, None], x.shape[-1], axis=2)
        return ops.depthwise_conv(x, ops.cast(kernel, x.dtype), padding="same")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel": self.kernel.tolist()}
