"""On which devices a training runs: ``auto | none | mirrored | multiworker``."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from fakeclf.errors import FakeclfError

NAMES = ("auto", "none", "mirrored", "multiworker")


@dataclass
class Placement:
    """Where a training runs.

    Attributes:
        name: ``none``, ``mirrored`` or ``multiworker``.
        devices: the devices really used, as TensorFlow (or the backend) names them.
        strategy: the ``tf.distribute`` strategy, or None.
        chief: whether this process writes the run's files.
    """

    name: str
    devices: list[str]
    strategy: Any = None
    chief: bool = True

    @property
    def replicas(self) -> int:
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build and compile the model within this context."""
        with self.together(), self.strategy.scope() if self.strategy else contextlib.nullcontext():
            yield

    def together(self) -> contextlib.AbstractContextManager[Any]:
        """Train within this context: an error says in one line that another worker was lost."""
        if self.name != "multiworker":
            return contextlib.nullcontext()
        from fakeclf.training.multiworker import losses_named

        return losses_named()

    def wait_for_all(self) -> None:
        """Return once every worker has come this far: what the chief has written is then there to be read."""
        if self.name == "multiworker":
            import tensorflow as tf

            arrived = self.strategy.run(lambda: tf.constant(1.0))
            self.strategy.reduce("SUM", arrived, axis=None)


def place(name: str = "auto", memory_fraction: float | None = None) -> Placement:
    """Choose devices. Call it before anything else touches TensorFlow.

    Args:
        name: ``auto`` takes ``multiworker`` where ``TF_CONFIG`` is set, ``mirrored`` where there are several GPUs, and
            ``none`` otherwise; ``mirrored`` uses all GPUs, or all logical CPU devices where there is no GPU.
        memory_fraction: share of each GPU's memory this process may take, 0-1.

    Raises:
        FakeclfError: for an unknown name, a fraction out of range, or a strategy this backend does not have.
    """
    if name not in NAMES:
        raise FakeclfError(f"there is no strategy {name!r}; allowed: {', '.join(NAMES)}")
    if memory_fraction is not None and not 0 < memory_fraction <= 1:
        raise FakeclfError(f"--memory-fraction is a share between 0 and 1; received {memory_fraction}")
    if keras.backend.backend() != "tensorflow":
        if name in ("mirrored", "multiworker"):
            raise FakeclfError(f"--strategy {name} needs KERAS_BACKEND=tensorflow; use --strategy none")
        return Placement("none", [keras.backend.backend()])

    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if memory_fraction is not None:
        _limit_memory(gpus, memory_fraction)
    if name == "auto":
        name = "multiworker" if os.environ.get("TF_CONFIG") else "mirrored" if len(gpus) > 1 else "none"
    if name == "multiworker":
        from fakeclf.training.multiworker import multiworker_strategy

        strategy = multiworker_strategy()
        chief = strategy.cluster_resolver.task_id in (0, None)
        return Placement(name, list(strategy.extended.worker_devices), strategy, chief)
    devices = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
    if name == "none":
        return Placement(name, devices[:1])
    strategy = tf.distribute.MirroredStrategy(devices)
    return Placement(name, list(strategy.extended.worker_devices), strategy)


def _limit_memory(gpus: list[Any], fraction: float) -> None:
    import tensorflow as tf

    for gpu, total in zip(gpus, gpu_memory(), strict=False):
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(total * fraction))
        tf.config.set_logical_device_configuration(gpu, [limit])


def gpu_memory() -> list[int]:
    """Memory of each NVIDIA card in MB, as ``nvidia-smi`` gives it; empty where there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) for line in listing.split()]
