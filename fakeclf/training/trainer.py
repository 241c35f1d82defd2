"""Train a model as a recipe says: build, compile, fit, keep the best weights, resume after a kill.

The model is trained in the recipe's precision and returned in float32 with the kept weights. Nothing here imports
TensorFlow: with KERAS_BACKEND=jax or torch the same code trains on those, fed by the same ``tf.data`` pipelines.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.registry import kind, resolve
from fakeclf.registry import model as model_spec
from fakeclf.training.batch_norm import all_layers, fused_batch_norm
from fakeclf.training.callbacks import best_epoch, callbacks_for
from fakeclf.training.feed import Feed
from fakeclf.training.strategy import Placement, place

SETTLING_STEPS = 30
"""Batches from which the finished model's batch norms take their statistics."""


@dataclass
class Result:
    """A finished training.

    Attributes:
        model: float32 Keras model with the kept weights.
        history: a list a metric, one value an epoch.
        best_epoch: index of the epoch whose weights were kept.
        seconds: time spent in epochs, those before a resume included.
        devices: the devices really used.
        precision: the dtype policy trained in.
        unreadable: pictures that were skipped: path -> reason.
    """

    model: keras.Model
    history: dict[str, list[float]]
    best_epoch: int
    seconds: float
    devices: list[str]
    precision: str
    unreadable: dict[str, str]


def train(
    recipe: Recipe,
    dataset: Any,
    run: Path,
    *,
    strategy: str = "auto",
    memory_fraction: float | None = None,
    resume: bool = True,
    build: Callable[[], keras.Model] | None = None,
) -> Result:
    """Train a classifier or a localizer.

    Args:
        recipe: what to train and how.
        dataset: as the feed of the model's kind takes it: train and validation splits.
        run: the run's folder; a run that was killed goes on from its last whole epoch.
        strategy: ``auto``, ``none``, ``mirrored`` or ``multiworker``.
        memory_fraction: share of each GPU's memory to use.
        resume: False starts afresh.
        build: makes the model instead of the recipe's ``model``; it must be a classifier (an ensemble, for example).

    Raises:
        FakeclfError: for a recipe that the model refuses, an unreadable class, or a training that diverged.
    """
    placement = place(strategy, memory_fraction)
    if not resume and placement.chief:
        shutil.rmtree(run, ignore_errors=True)
    keras.utils.set_random_seed(recipe.seed)
    fed_as = "classifier" if build else model_spec(recipe.model).kind
    build = build or (lambda: build_model(recipe))
    feed: Feed = resolve(kind(fed_as).feed)(recipe, dataset)
    try:
        return _fitted(recipe, run, build, feed, placement)
    finally:
        feed.close()


def _fitted(recipe: Recipe, run: Path, build: Callable[[], keras.Model], feed: Feed, placement: Placement) -> Result:
    policy = precision_policy(recipe.precision)
    with placement.scope():
        model = with_policy(policy, build)
    outputs = list(model.output_names)
    with fused_batch_norm(model) if placement.replicas == 1 else _synchronised(model):
        bar = sys.stdout.isatty()
        callbacks, point = callbacks_for(recipe, run, feed.steps, write=placement.chief, bar=bar)
        with placement.scope():
            compile_model(model, recipe, feed.steps, **feed.objective(outputs))
            first = point.load(model)
            if recipe.start_from and first == 0:
                start_with(model, recipe.start_from)
        if first < recipe.epochs and not point.stopped:
            with warnings.catch_warnings(), placement.together():
                # Keras warns at the end of every stream whose length it is not told; ours depends on broken files.
                warnings.filterwarnings("ignore", message="Your input ran out of data")
                warnings.filterwarnings("ignore", message=".shuffle=True. was passed")
                model.fit(
                    feed.training(range(first, recipe.epochs), outputs),
                    validation_data=feed.checking(outputs),
                    epochs=recipe.epochs,
                    initial_epoch=first,
                    steps_per_epoch=feed.steps,
                    callbacks=callbacks,
                    verbose=1 if bar else 0,
                )
    if not all(value == value for value in point.history.get("loss", [])):
        raise FakeclfError("the training diverged (its loss is no number); try a lower optimizer.learning_rate")
    with placement.together():
        placement.wait_for_all()
    final = with_policy("float32", build if recipe.final_size is None else lambda: build_model(recipe, final=True))
    final.load_weights(run / "kept.weights.h5")
    if recipe.final_size is None:
        settle_norms(final, feed, recipe.epochs)
    return Result(final, point.history, best_epoch(run), point.seconds, placement.devices, policy, feed.unreadable)


def settle_norms(model: keras.Model, feed: Feed, epoch: int) -> None:
    """Take batch norms' means and variances anew from training batches, with the finished weights.

    Running averages of momentum 0.99 still hold their initial values after a few hundred steps, and through forty
    layers that makes a trained network answer at random. Reference: Wu & Johnson 2021, "Rethinking 'batch' in
    BatchNorm", arXiv:2105.07576 ("precise BN").

    Args:
        model: float32, at the training's input size.
        feed: of the training split.
        epoch: the epoch whose batches are taken.
    """
    norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return
    momenta = [layer.momentum for layer in norms]
    data = feed.training(range(epoch, epoch + 1), list(model.output_names))
    for step, (batch, _) in enumerate(data.take(min(feed.steps, SETTLING_STEPS))):
        for layer in norms:
            layer.momentum = step / (step + 1)  # the mean over all batches so far
        model(keras.ops.convert_to_tensor(batch.numpy()), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def start_with(model: keras.Model, name: str) -> None:
    """Give ``model`` the weights of the saved model ``name``.

    Raises:
        FakeclfError: if there is none, or it is of another shape.
    """
    from fakeclf import bundle

    weights = bundle.load(name).get_weights()
    if [value.shape for value in weights] != [tuple(weight.shape) for weight in model.weights]:
        raise FakeclfError(f"start_from: {name} is of another shape than this model; name one with the same settings")
    model.set_weights(weights)


def build_model(recipe: Recipe, final: bool = False) -> keras.Model:
    """The recipe's model, untrained, at its input size or at the size of the finished model."""
    size = recipe.final_size if final and recipe.final_size else recipe.input_size
    spec = model_spec(recipe.model)
    # Localizers look at pictures as they are.
    args: dict[str, Any] = {"view": recipe.view} if spec.kind == "classifier" else {}
    # Not every builder has pretrained weights or layers to freeze; one that has not says so when asked for them.
    if recipe.weights != "none":
        args["weights"] = recipe.weights
    if recipe.fine_tune_from is not None:
        args["fine_tune_from"] = recipe.fine_tune_from
    return spec.build(size, **{**args, **recipe.model_args})


def compile_model(model: keras.Model, recipe: Recipe, steps: int, **objective: Any) -> None:
    """Compile with the recipe's optimiser and schedule over ``steps`` steps an epoch.

    Args:
        objective: ``loss``, ``metrics`` ... of ``keras.Model.compile``.
    """
    settings = recipe.optimizer
    rate: Any = settings.learning_rate
    total = steps * recipe.epochs
    if settings.schedule == "cosine":
        warm = int(total * settings.warmup)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warm else rate, max(1, total - warm), warmup_target=rate if warm else None, warmup_steps=warm
        )
    elif settings.schedule == "exponential":
        rate = keras.optimizers.schedules.ExponentialDecay(rate, steps, settings.decay, staircase=True)
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    if settings.name != "adam" and settings.weight_decay:
        options["weight_decay"] = settings.weight_decay
    if settings.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=settings.momentum, **options)
    else:
        optimizer = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[settings.name](rate, **options)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer=optimizer, jit_compile=False, **objective)


def precision_policy(precision: str) -> str:
    """The Keras dtype policy for a recipe's ``precision``.

    ``auto`` takes bfloat16 where the processor or card multiplies it faster than float32 (AVX512-BF16 or AMX; CUDA
    compute capability 8 and up), else float32.
    """
    if precision == "auto":
        precision = "bfloat16" if _fast_bfloat16() else "float32"
    return precision if precision == "float32" else f"mixed_{precision}"


def with_policy(policy: str, build: Callable[[], keras.Model]) -> keras.Model:
    """Call ``build`` under a dtype policy, and put the old one back."""
    old = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(old)


@contextmanager
def _synchronised(model: keras.Model) -> Iterator[None]:
    """Batch-norm statistics over all replicas, for as long as the training lasts."""
    norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in norms:
            layer.synchronized = False


def _fast_bfloat16() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))[0] >= 8
    elif keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
