"""What happens at the end of an epoch: the report's callbacks, the log, the weights to keep, the point to resume at."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import keras

from fakeclf.atomic import replace_file
from fakeclf.config import Recipe


class ResumePoint(keras.callbacks.Callback):
    """After each epoch, write all that a killed run needs to go on: weights, optimiser, callbacks, history.

    Args:
        run: the run's folder; ``resume.weights.h5`` and ``resume.json`` are written there, beside and renamed.
        others: callbacks whose state (best value, waiting epochs) goes along.
        write: whether this process writes (the chief does).
    """

    STATE = ("best", "wait", "cooldown_counter", "stopped_epoch")

    def __init__(self, run: Path, others: list[keras.callbacks.Callback], write: bool = True) -> None:
        super().__init__()
        self.run, self.others, self.write = run, others, write
        self.history: dict[str, list[float]] = {}
        self.seconds = 0.0
        self.stopped = False
        self._states: list[dict[str, Any]] = []

    def load(self, model: keras.Model) -> int:
        """Put the last epoch's state into ``model``; returns the epoch to go on with (0 where there is none)."""
        path = self.run / "resume.json"
        if not path.is_file():
            return 0
        state = json.loads(path.read_text(encoding="utf-8"))
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.run / state["weights"])
        self.history, self.seconds, self._states = state["history"], state["seconds"], state["callbacks"]
        self.stopped = state["stopped"]
        for variable, value in zip(_random_states(model), state["random"], strict=True):
            variable.assign(value)
        return int(state["epoch"])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # The others reset themselves at this moment; this callback comes last.
        for callback, state in zip(self.others, self._states, strict=False):
            for name, value in state.items():
                setattr(callback, name, value)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seconds += time.monotonic() - self._started
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if not self.write:
            return
        weights = f"resume-{epoch + 1}.weights.h5"
        with replace_file(self.run / weights) as beside:
            self.model.save_weights(beside)
        states = [
            {name: _plain(getattr(callback, name)) for name in self.STATE if hasattr(callback, name)}
            for callback in self.others
        ]
        # The JSON names the weights, so the pair changes at one moment.
        with replace_file(self.run / "resume.json") as beside:
            beside.write_text(
                json.dumps(
                    {
                        "epoch": epoch + 1,
                        "weights": weights,
                        "history": self.history,
                        "seconds": self.seconds,
                        "callbacks": states,
                        "stopped": bool(self.model.stop_training),
                        "random": [keras.ops.convert_to_numpy(v).tolist() for v in _random_states(self.model)],
                    }
                )
            )
        for old in self.run.glob("resume-*.weights.h5"):
            if old.name != weights:
                old.unlink()


class KeepWeights(keras.callbacks.Callback):
    """Keep the weights of the best epoch, or of the last, in ``kept.weights.h5``.

    Their epoch and value stand beside them in ``kept.json``, so that a resumed run compares with the best so far.

    Args:
        run: the run's folder.
        keep: ``best`` or ``last``.
        by: what the best epoch is best in; without a validation split, the training's value of the same name.
        write: whether this process writes (the chief does).
    """

    def __init__(self, run: Path, keep: str, by: str = "val_loss", write: bool = True) -> None:
        super().__init__()
        self.run, self.keep, self.by, self.write = run, keep, by, write
        # Losses are kept as they are, the others with the sign turned: the smallest is the best.
        self.sign = 1.0 if mode_of(by) == "min" else -1.0
        self.best = float("inf")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if (self.run / "kept.json").is_file():
            kept = json.loads((self.run / "kept.json").read_text(encoding="utf-8"))
            self.best = self.sign * kept["value"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = logs or {}
        value = float(values.get(self.by, values.get(self.by.removeprefix("val_"), 0.0)))
        if self.keep == "best" and self.sign * value >= self.best:
            return
        self.best = self.sign * value
        if self.write:
            with replace_file(self.run / "kept.weights.h5") as beside:
                self.model.save_weights(beside)
            with replace_file(self.run / "kept.json") as beside:
                beside.write_text(json.dumps({"epoch": epoch, "by": self.by, "value": value}))


def mode_of(name: str) -> str:
    """``min`` for losses, ``max`` for scores."""
    return "min" if name.endswith("loss") else "max"


def best_epoch(run: Path) -> int:
    """Index of the epoch whose weights were kept."""
    return int(json.loads((run / "kept.json").read_text(encoding="utf-8"))["epoch"])


class PlainNames(keras.callbacks.Callback):
    """Metrics of the output ``mask`` under their own names (``val_iou``), also where a model has several outputs."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name in list(logs or {}):
            plain = name.replace("mask_", "", 1)
            if logs is not None and plain != name and "loss" not in name:
                logs[plain] = logs.pop(name)


class CsvLog(keras.callbacks.Callback):
    """``history.csv``: a row an epoch, written anew each time so that a resumed run leaves no row twice."""

    def __init__(self, run: Path, point: ResumePoint) -> None:
        super().__init__()
        self.run, self.point = run, point

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # The resume point comes later in the list, so this epoch's values are added here.
        history = {**{name: [] for name in (logs or {})}, **self.point.history}
        rows = {name: [*values, float((logs or {}).get(name, float("nan")))] for name, values in history.items()}
        with replace_file(self.run / "history.csv") as beside, open(beside, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *rows])
            writer.writerows([number + 1, *values] for number, values in enumerate(zip(*rows.values(), strict=True)))


class PlainLines(keras.callbacks.Callback):
    """One line every ``every`` seconds and at the end of an epoch, for output that is no terminal."""

    def __init__(self, steps: int, every: float = 30.0) -> None:
        super().__init__()
        self.steps, self.every = steps, every

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch, self.started = epoch, time.monotonic()
        self.said = self.started

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        if now - self.said >= self.every:
            self.said = now
            left = (now - self.started) / (batch + 1) * (self.steps - batch - 1)
            print(
                f"epoch {self.epoch + 1}: step {batch + 1}/{self.steps}, {left:.0f} s left, {_said(logs)}", flush=True
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        print(f"epoch {epoch + 1}: {time.monotonic() - self.started:.0f} s, {_said(logs)}", flush=True)


def callbacks_for(recipe: Recipe, run: Path, steps: int, *, write: bool, bar: bool) -> tuple[list[Any], ResumePoint]:
    """All callbacks of a run in their order, and the resume point among them.

    Order matters: the resume point is saved with the raw weights, then the averaged ones are swapped in, and only
    then the weights to keep are written.
    """
    stopping, constant = recipe.stopping, recipe.optimizer.schedule == "constant"
    rules: list[Any] = []
    if stopping.patience:
        mode = mode_of(stopping.monitor)
        rules.append(keras.callbacks.EarlyStopping(stopping.monitor, patience=stopping.patience, mode=mode))
    if stopping.reduce_patience and constant:
        rules.append(
            keras.callbacks.ReduceLROnPlateau(
                stopping.monitor,
                patience=stopping.reduce_patience,
                factor=stopping.reduce_factor,
                min_lr=stopping.min_learning_rate,
                mode=mode_of(stopping.monitor),
            )
        )
    point = ResumePoint(run, rules, write)
    log: list[Any] = [CsvLog(run, point)] if write else []
    if write:
        log += _tensorboard(run)
        log += [] if bar else [PlainLines(steps)]
    average = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if recipe.optimizer.ema else []
    return [PlainNames(), *rules, *log, point, *average, KeepWeights(run, recipe.keep, recipe.keep_by, write)], point


def _random_states(model: keras.Model) -> list[Any]:
    """States of dropout's random generators, which weight files leave out."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.non_trainable_variables if id(variable) not in weights]


def _tensorboard(run: Path) -> list[Any]:
    if keras.backend.backend() != "tensorflow":
        return []
    return [keras.callbacks.TensorBoard(run / "tensorboard", histogram_freq=1)]


def _said(logs: dict[str, Any] | None) -> str:
    return ", ".join(f"{name} {float(value):.4g}" for name, value in (logs or {}).items())


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
