"""Trainings in threads of their own, each of which goes on only in its turn: sides alternate, each is traced once."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class EnoughEpochs(Exception):
    """Ends a training that has been measured."""


class Training:
    """A training that goes on for one epoch at a time.

    Args:
        fit: trains for ever, with ``callback()`` of the object it is given as the first of its callbacks.
        steps: batches an epoch.
        batch: pictures a batch.
    """

    def __init__(self, fit: Callable[[Training], Any], steps: int, batch: int) -> None:
        self.fit, self.steps, self.batch = fit, steps, batch
        self.settling = min(10, steps // 2)
        self.epochs: list[dict[str, float]] = []
        self._now: dict[str, float] = {}
        self._go, self._halted, self._over = threading.Semaphore(0), threading.Semaphore(0), False
        self._future: Future[Any] | None = None

    def epoch(self) -> None:
        """One epoch; at the first call also all that comes before it."""
        if self._future is None:
            self._future = ThreadPoolExecutor(1).submit(self.fit, self)
            self._future.add_done_callback(lambda _: self._halted.release())
        else:
            self._go.release()
        self._halted.acquire()
        if self._future.done():
            self._future.result()
            raise RuntimeError("the training ended before its time")

    def end(self) -> None:
        """Leave it where it stands; returns when its thread has ended."""
        self._over = True
        self._go.release()
        self._halted.acquire()

    def callback(self) -> Any:
        """What stops the training at the end of each epoch and reads the clock."""
        import keras

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=self._epoch_begins,
            on_train_batch_end=self._step_ends,
            on_test_begin=lambda logs: self._add("validation", -time.perf_counter()),
            on_test_end=lambda logs: self._add("validation", time.perf_counter()),
        )

    def timed(self, callback: Any) -> Any:
        """``callback``, what it does at the end of an epoch counted by its class's name."""
        inner = callback.on_epoch_end

        def outer(epoch: int, logs: Any = None) -> None:
            self._add(type(callback).__name__, -time.perf_counter())
            inner(epoch, logs)
            self._add(type(callback).__name__, time.perf_counter())

        callback.on_epoch_end = outer
        return callback

    def seconds(self, name: str) -> float:
        """Of an epoch: of ``steps``, ``processor`` (in the same), ``whole``, ``validation`` or a callback's class."""
        taken = [epoch.get(name, 0.0) for epoch in self.epochs[1:]]
        # Not every epoch is the best so far and saved.
        return statistics.median([value for value in taken if value > 1e-3] or taken)

    def paces(self) -> tuple[float, float, float]:
        """Pictures a second in steps, and over whole epochs; milliseconds of processor time a picture."""
        counted = (self.steps - self.settling) * self.batch
        whole = self.steps * self.batch / self.seconds("whole")
        return counted / self.seconds("steps"), whole, 1000 * self.seconds("processor") / counted

    def _add(self, name: str, seconds: float) -> None:
        self._now[name] = self._now.get(name, 0.0) + seconds

    def _epoch_begins(self, epoch: int, logs: Any = None) -> None:
        if self._now:
            self._add("whole", time.perf_counter())
            self.epochs.append(self._now)
            self._halted.release()
            self._go.acquire()
            if self._over:
                raise EnoughEpochs
        self._now = {"whole": -time.perf_counter()}

    def _step_ends(self, step: int, logs: Any = None) -> None:
        if step + 1 in (self.settling, self.steps):
            # Reading the loss waits for a device that works ahead.
            float((logs or {}).get("loss", 0.0))
            sign = -1 if step + 1 == self.settling else 1
            self._add("steps", sign * time.perf_counter())
            self._add("processor", sign * time.process_time())
