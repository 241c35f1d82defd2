"""The inpainters of a zoo, see ``fakeclf.training.zoo``.

Drawn are the parts of ``segmentation.models.inpainter`` that leave traces, the way the decoder enlarges above all, and
what the network is trained with: the mean absolute or squared error, and the weight of the adversary. There is none
without one: error alone paints a smear, which would be found by its lack of texture. The adversary needs some 300
steps to tell fills from photographs, and the network as many to answer, so a member gets a thousand or more. After five
hundred, or at higher learning rates (0.0004, 0.001), at which either side runs away, fills had 0.04 to 0.09 of the
texture of photographs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fakeclf.config import Optimizer, Recipe
from fakeclf.training.job import Job, Plan
from fakeclf.training.trainer import precision_policy
from segmentation.models import inpainter
from segmentation.training.inpainter_training import LOSSES, seconds_a_step
from segmentation.training.job import train_inpainter

CROP, BATCH = 64, 8
MEASURED = 40
"""Validation photographs that a member is judged by."""
LEARNING_RATE = 2e-4

WIDTHS = (0.375, 0.5)
BLOCKS = (2, 3, 4)
ADVERSARIES = (0.15, 0.2)


class Inpainters:
    """Judged by fills: their PSNR less that of a blur of what surrounds the hole, as scenes are unequally hard."""

    name = "zoo-inpainter"
    figure = "PSNR over a blur's, dB"
    least = -3.0
    """A fill with texture pays for it: texture in the wrong place errs more than none."""
    texture = (0.2, 1.5)
    """A blur has about 0.1."""

    def draw(self, number: int) -> dict[str, Any]:
        """Upsampler and error take turns, so that each four numbers in a row have all upsamplers, eight all pairs."""
        random = np.random.default_rng([number, 1])
        return {
            "upsampler": inpainter.UPSAMPLERS[number % 4],
            "stride": inpainter.STRIDES[(number + number // 4) % 2],
            "kernel": int(random.choice(inpainter.KERNELS)),
            "width": float(random.choice(WIDTHS)),
            "blocks": int(random.choice(BLOCKS)),
            "gated": bool(random.integers(2)),
            "normalisation": str(random.choice(inpainter.NORMALISATIONS)),
            "loss": tuple(LOSSES)[(number // 2) % 2],
            "adversary": float(random.choice(ADVERSARIES)),
            "colours": str(random.choice(inpainter.COLOURS)),
            "noise": str(random.choice(inpainter.NOISE)),
        }

    def describe(self, drawn: dict[str, Any]) -> tuple[str, str]:
        return (
            f"{drawn['upsampler']} {drawn['kernel']}x{drawn['kernel']}, 1/{drawn['stride']}, width {drawn['width']:g}, "
            f"{drawn['blocks']} blocks, {'gated' if drawn['gated'] else 'plain'}, {drawn['normalisation']} norm, "
            f"colours at {drawn['colours']} size, noise in {drawn['noise']}",
            f"{drawn['loss']} + {drawn['adversary']:g} adversary",
        )

    def seconds_a_step(self, drawn: dict[str, Any], photos: Path) -> float:
        precision = precision_policy("auto")
        return seconds_a_step(photos, seed=0, batch_size=BATCH, crop=CROP, precision=precision, game="hinge", **drawn)

    def recipe(self, drawn: dict[str, Any], photos: Path, steps: int) -> Recipe:
        return Recipe(
            model="inpainter",
            model_args={**drawn, "steps": steps, "measure": ["val"], "measure_at_most": MEASURED},
            dataset=str(photos),
            input_size=CROP,
            batch_size=BATCH,
            augmentation=None,
            optimizer=Optimizer(learning_rate=LEARNING_RATE, schedule="cosine"),
        )

    def train(self, recipe: Recipe, plan: Plan) -> Job:
        return train_inpainter(recipe, plan)

    def judged(self, result: dict[str, Any]) -> tuple[float, float]:
        return result["psnr"] - result["blurred_psnr"], result["texture"]
