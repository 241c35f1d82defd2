"""Training a generator against an adversary that learns to tell what it made from the real thing.

``AdversarialPair`` plays one of three games. D gives logits; ``log`` is the original game, as it stands in the
NIX-Net paper: D raises log D(real) + log(1 - D(made)), the generator lowers the second term. ``non-saturating`` has
the generator raise log D(made) instead, whose gradient does not vanish while D is winning. ``hinge`` is the usual one
of inpainting. What an adversary is for, detail that plain errors average away, is measured by ``texture_ratio``.

References: Goodfellow et al. 2014, arXiv:1406.2661; Li et al. 2021 (NIX-Net); Lim & Ye 2017, arXiv:1705.02894; Heusel
et al. 2017, arXiv:1706.08500 (two time scales).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.errors import FakeclfError
from fakeclf.training.stepwise import falling_rate

GAMES = ("log", "non-saturating", "hinge")
FASTER = 4.0
"""How much higher the discriminator's learning rate is than the generator's (two time scales)."""


class AdversarialPair(keras.Model):
    """A generator and its discriminator, trained in turns within each step, as one model to compile and to save.

    A step shows both the same batch: D learns from the generator's output as it was before the step, and so does the
    generator from D. Subclasses say what the generator owes the truth (``distance``) and what D is shown (``shown``).

    Args:
        generator: the model to train; its output is in about [0, 1], as are the targets.
        discriminator: see ``fakeclf.models.discriminator``.
        game: one of ``GAMES``.
        weight: of the generator's adversarial loss.

    Raises:
        FakeclfError: an unknown game, or a backend of Keras other than TensorFlow.
    """

    def __init__(
        self, generator: keras.Model, discriminator: keras.Model, *, game: str = "log", weight: float = 1.0
    ) -> None:
        super().__init__()
        if game not in GAMES:
            raise FakeclfError(f"the adversarial game must be one of {', '.join(GAMES)}; received {game!r}")
        if keras.backend.backend() != "tensorflow":
            raise FakeclfError("adversarial training runs on TensorFlow alone; set KERAS_BACKEND=tensorflow")
        self.generator, self.discriminator = generator, discriminator
        self.game, self.weight = game, weight

    def compile(self, learning_rate: float, steps: int, faster: float = FASTER) -> None:
        """Set and build both optimisers: Adam, rates falling over ``steps``, the discriminator's ``faster`` times."""
        # Little momentum, as is usual where two networks chase each other.
        rates = (falling_rate(learning_rate * factor, steps) for factor in (1.0, faster))
        own, other = (keras.optimizers.Adam(rate, beta_1=0.5, clipnorm=1.0) for rate in rates)
        super().compile(optimizer=own, jit_compile=False)
        self.discriminator_optimizer = other
        own.build(self.generator.trainable_variables)
        other.build(self.discriminator.trainable_variables)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.generator(inputs, training=training)

    def distance(self, inputs: Any, truth: Any, made: Any) -> Any:
        """What the generator pays for being away from the truth, a scalar, in float32."""
        raise TypeError(f"{type(self).__name__} does not say how far the generator's output is from the truth")

    def shown(self, inputs: Any, pictures: Any) -> Any:
        """What D is shown of real or made pictures; both in [0, 1]."""
        return pictures

    def counted(self, inputs: Any, judged: Any) -> Any:
        """How much each patch counts in D's judgement, (batch, h, w, 1), in whatever unit; here all alike."""
        return ops.ones_like(judged)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of both; reports the generator's loss, its distance, D's loss and the share D gets right."""
        import tensorflow as tf

        inputs, truth, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            made = ops.cast(self.generator(inputs, training=True), "float32")
            shown = self.shown(inputs, made)
            distance = self.distance(inputs, truth, made)
            judged = self.discriminator(shown, training=False)
            counted = self.counted(inputs, judged)
            fooling = generator_loss(judged, self.game, counted)
            loss = distance + self.weight * fooling
        own = self.generator.trainable_variables
        gradients = tape.gradient(loss, own)
        both = ops.concatenate([self.shown(inputs, ops.cast(truth, "float32")), ops.stop_gradient(shown)], axis=0)
        with tf.GradientTape() as tape:
            real, fake = ops.split(self.discriminator(both, training=True), 2, axis=0)
            telling = discriminator_loss(real, fake, self.game, counted)
        others = self.discriminator.trainable_variables
        self.discriminator_optimizer.apply(tape.gradient(telling, others), others)
        self.optimizer.apply(gradients, own)
        right = [_mean(ops.cast(told, "float32"), counted) for told in (real > 0, fake < 0)]
        return {"loss": loss, "distance": distance, "discriminator": telling, "told_apart": (right[0] + right[1]) / 2}


def generator_loss(judged: Any, game: str, counted: Any = 1.0) -> Any:
    """What the generator lowers, given D's logits of what it made and how much each counts."""
    if game == "log":
        return -_mean(ops.softplus(judged), counted)
    return _mean(ops.softplus(-judged) if game == "non-saturating" else -judged, counted)


def discriminator_loss(real: Any, fake: Any, game: str, counted: Any = 1.0) -> Any:
    """What D lowers, given its logits of real and of made pictures and how much each counts."""
    if game == "hinge":
        return _mean(ops.relu(1.0 - real), counted) + _mean(ops.relu(1.0 + fake), counted)
    return _mean(ops.softplus(-real), counted) + _mean(ops.softplus(fake), counted)


def texture_ratio(picture: np.ndarray, made: np.ndarray, where: np.ndarray | None = None, window: int = 7) -> float:
    """Mean local variance of ``made`` divided by that of ``picture``: 1 = as much texture, 0 = a smear.

    Args:
        picture, made: (h, w, 3), any one range.
        where: (h, w), true where it counts; only windows that lie in it whole do. None = everywhere.
        window: side of the windows, pixels.

    Returns:
        NaN where no window fits or the picture itself is flat.
    """
    sides = (window, window)
    if min(picture.shape[:2]) < window:
        return float("nan")
    within = np.ones(picture.shape[:2], bool) if where is None else np.asarray(where, bool)
    counted = np.lib.stride_tricks.sliding_window_view(within, sides).all((-1, -2))
    before, after = (
        np.lib.stride_tricks.sliding_window_view(pixels.astype(np.float32).mean(-1), sides)[counted].var((-1, -2))
        for pixels in (picture, made)
    )
    return float(after.mean() / before.mean()) if counted.any() and before.mean() > 0 else float("nan")


def median(ratios: list[float]) -> float:
    """The median of those that could be measured; NaN where there are none."""
    measured = [ratio for ratio in ratios if not np.isnan(ratio)]
    return float(np.median(measured)) if measured else float("nan")


def _mean(values: Any, counted: Any) -> Any:
    weights = ops.ones_like(values) * counted
    return ops.sum(values * weights) / (ops.sum(weights) + 1e-6)
