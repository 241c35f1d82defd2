"""What a training is fed with: batches to learn from, batches to check on, the loss and the metrics.

Each kind of model has a feed of its own, named in the registry; the trainer knows no more of a kind than this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fakeclf.config import Recipe
from fakeclf.registry import model as model_spec

if TYPE_CHECKING:
    from fakeclf.data.datasets import Dataset


class Feed(Protocol):
    """Batches and what is made of them.

    Attributes:
        steps: batches an epoch.
        unreadable: pictures that were skipped so far: path -> reason.
    """

    steps: int

    @property
    def unreadable(self) -> dict[str, str]: ...

    def objective(self, outputs: Sequence[str]) -> dict[str, Any]:
        """Arguments of ``keras.Model.compile`` (``loss``, ``metrics`` ...) for the model's ``outputs``; called in the
        strategy's scope."""

    def training(self, epochs: range, outputs: Sequence[str]) -> Any:
        """One stream of (inputs, targets) for all ``epochs``; the targets are those of the model's ``outputs``."""

    def checking(self, outputs: Sequence[str]) -> Any:
        """The validation batches, or None where there are none."""

    def close(self) -> None:
        """Let go of decoded pictures, when nothing is read any more: TensorFlow holds on to the functions that a graph
        called, and so to all they can reach, for as long as the process lives."""


class ClassifierFeed:
    """Labelled pictures for a classifier: binary cross-entropy on P(REAL)."""

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        from fakeclf.data.pipeline import Pictures, paired

        self.recipe = recipe
        self.size = recipe.input_size or model_spec(recipe.model).input_size
        learning = paired(dataset.train) if recipe.pairs else dataset.train
        self.learning = Pictures(learning, self.size, recipe.view)
        self.held_out = Pictures(dataset.validation, self.size, recipe.view) if dataset.validation else None
        self.steps = max(1, len(self.learning) // recipe.batch_size)

    @property
    def unreadable(self) -> dict[str, str]:
        return {**self.learning.unreadable, **(self.held_out.unreadable if self.held_out else {})}

    def objective(self, outputs: Sequence[str]) -> dict[str, Any]:
        return {"loss": "binary_crossentropy", "metrics": ["accuracy"]}

    def training(self, epochs: range, outputs: Sequence[str]) -> Any:
        from fakeclf.data.pipeline import training_batches

        data, _ = training_batches(
            self.learning,
            batch_size=self.recipe.batch_size,
            augmentation=self.recipe.augmentation,
            seed=self.recipe.seed,
            epochs=epochs,
            pairs=self.recipe.pairs,
        )
        return data

    def checking(self, outputs: Sequence[str]) -> Any:
        from fakeclf.data.pipeline import batches

        if self.held_out is None:
            return None
        return batches(self.held_out, size=self.size, view=self.recipe.view, batch_size=self.recipe.batch_size)

    def close(self) -> None:
        for pictures in (self.learning, self.held_out):
            if pictures is not None:
                pictures.close()
