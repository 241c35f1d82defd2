"""The autoencoders of a zoo, see ``fakeclf.training.zoo`` and ``fakeclf.models.drawn_autoencoder``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fakeclf.config import Optimizer, Recipe
from fakeclf.models import drawn_autoencoder
from fakeclf.training.autoencoder_training import seconds_a_step
from fakeclf.training.job import Job, Plan, train_autoencoder
from fakeclf.training.trainer import precision_policy

CROP, BATCH = 64, 8
MEASURED = 40
"""Validation photographs that a member is judged by."""

ADVERSARIAL = {"adversary": 0.5, "game": "non-saturating"}
LEARNING_RATE = {"adversarial": 1e-3}
"""By loss; of the others 2e-3. At 5e-3 some end grey."""


class Autoencoders:
    """Judged by the PSNR of round trips."""

    name = "zoo"
    figure = "PSNR, dB"
    least = 22.0
    texture = (0.3, 1.5)
    """Below a smear, above noise."""

    def draw(self, number: int) -> dict[str, Any]:
        return drawn_autoencoder.draw(number)

    def describe(self, drawn: dict[str, Any]) -> tuple[str, str]:
        return (
            f"{drawn['upsampler']} {drawn['kernel']}x{drawn['kernel']}, 1/{drawn['stride']} x "
            f"{drawn['latent_channels']}, width {drawn['width']}, depth {drawn['depth']}, "
            f"{drawn['normalisation']} norm, {drawn['activation']}",
            drawn["loss"],
        )

    def seconds_a_step(self, drawn: dict[str, Any], photos: Path) -> float:
        given = {key: value for key, value in _arguments(drawn).items() if key != "game"}
        precision = precision_policy("auto")
        return seconds_a_step(
            photos, seed=0, batch_size=BATCH, crop=CROP, precision=precision, model="drawn-autoencoder", **given
        )

    def recipe(self, drawn: dict[str, Any], photos: Path, steps: int) -> Recipe:
        return Recipe(
            model="drawn-autoencoder",
            model_args={**_arguments(drawn), "steps": steps, "measure": ["val"], "measure_at_most": MEASURED},
            dataset=str(photos),
            input_size=CROP,
            batch_size=BATCH,
            augmentation=None,
            optimizer=Optimizer(learning_rate=LEARNING_RATE.get(drawn["loss"], 2e-3), schedule="cosine"),
        )

    def train(self, recipe: Recipe, plan: Plan) -> Job:
        return train_autoencoder(recipe, plan)

    def judged(self, result: dict[str, Any]) -> tuple[float, float]:
        return result["psnr_db"], result["texture"]


def _arguments(drawn: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in drawn.items() if key != "loss"}
    return given | (ADVERSARIAL if drawn["loss"] == "adversarial" else {"loss": drawn["loss"]})
