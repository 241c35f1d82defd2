"""``MultiWorkerMirroredStrategy`` with Keras 3.15's TensorFlow trainer.

Two places of that trainer break under it, and are replaced here, in this process, when the strategy is made:
``_maybe_symbolic_build`` reduces a whole batch across workers to learn its shape, where the local part of it tells as
much; and ``reduce_per_replica`` averages scalar results over their axis 0, which they do not have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fakeclf.errors import FakeclfError

_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


def multiworker_strategy() -> Any:
    """A ``MultiWorkerMirroredStrategy`` for the cluster in ``TF_CONFIG``; ``fit`` works under it.

    Raises:
        FakeclfError: if ``TF_CONFIG`` is missing or is no cluster with at least one worker.
    """
    import tensorflow as tf

    try:
        cluster = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, index = cluster["cluster"]["worker"], cluster["task"]["index"]
        workers[index]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FakeclfError(
            f"--strategy multiworker needs the environment variable TF_CONFIG, for example {_EXAMPLE}"
        ) from error
    _mend_keras_trainer()
    return tf.distribute.MultiWorkerMirroredStrategy()


@contextmanager
def losses_named() -> Iterator[None]:
    """Say in one line that another worker is lost, where TensorFlow gives up waiting for it.

    It notices a closed connection at once and a silent machine by its missing heartbeats, within half a minute.

    Raises:
        FakeclfError: another worker ended, or cannot be reached any more.
    """
    import tensorflow as tf

    lost = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    )
    try:
        yield
    except lost as error:
        raise FakeclfError(
            "another worker of this training ended or cannot be reached, so this one stops; start all workers again "
            "with the same commands, and they go on from the last whole epoch"
        ) from error


def _mend_keras_trainer() -> None:
    import tensorflow as tf
    from keras.src.backend.tensorflow import trainer

    if getattr(trainer.TensorFlowTrainer, "_fakeclf_mended", False):
        return
    build, reduce = trainer.TensorFlowTrainer._maybe_symbolic_build, trainer.reduce_per_replica

    def is_multiworker(strategy: Any) -> bool:
        return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def local_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None and is_multiworker(self._distribute_strategy):
            local = self._distribute_strategy.experimental_local_results
            for _, _, batches in iterator:
                data_batch = tf.nest.map_structure(lambda value: local(value)[0], next(batches))
                break
            iterator = None
        build(self, iterator=iterator, data_batch=data_batch)

    def scalar_reduce(values: Any, strategy: Any, reduction: str) -> Any:
        if is_multiworker(strategy) and reduction in ("auto", "mean"):
            return tf.nest.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        return reduce(values, strategy, reduction)

    trainer.TensorFlowTrainer._maybe_symbolic_build = local_build
    trainer.reduce_per_replica = scalar_reduce
    trainer.TensorFlowTrainer._fakeclf_mended = True
