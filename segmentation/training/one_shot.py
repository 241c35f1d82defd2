"""Genotypes of IID-Net measured: with the weights of a supernet, and trained alone.

``Bench`` holds the data and trains what is asked for; ``Journal`` keeps each score on disk. What is chosen in them is
said at the head of ``segmentation.search``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fakeclf.atomic import replace_file
from fakeclf.config import Recipe, to_mapping
from fakeclf.errors import FakeclfError
from fakeclf.training.batch_norm import all_layers, fused_batch_norm
from fakeclf.training.stepwise import falling_rate, run_steps
from fakeclf.training.trainer import build_model, precision_policy, with_policy
from segmentation import datasets
from segmentation.models import iid_supernet
from segmentation.training.feed import LocalizerFeed
from segmentation.training_metrics import AUC

SCHEMA = 1
CALIBRATION_BATCHES = 4


class Bench:
    """Where genotypes are measured: the data, the supernet once it is needed, trainings alone.

    Args:
        recipe: of ``iid-net``.
        out: gets ``supernet/`` and ``alone/``.
        steps: of the supernet's training.
        alone_steps: of each training alone.
        crops: validation crops to score on, at most.
        say: called with lines of progress.

    Attributes:
        settings: all that scores depend on, as JSON has it.

    Raises:
        FakeclfError: another model or ``model_args`` than can be searched, or no pairs to train or validate on.
    """

    def __init__(
        self, recipe: Recipe, out: Path, steps: int, alone_steps: int, crops: int, say: Callable[[str], None]
    ) -> None:
        unknown = sorted(set(recipe.model_args) - {"width", "bayar"})
        if recipe.model != "iid-net" or unknown:
            what = f"model_args.{unknown[0]}" if unknown else f"model {recipe.model}"
            raise FakeclfError(f"a search takes iid-net, model_args.width and model_args.bayar; received {what}")
        self.recipe, self.out, self.say = recipe, out, say
        self.steps, self.alone_steps = steps, alone_steps
        pairs = datasets.load(
            recipe.dataset, validation=recipe.validation, seed=recipe.seed, variant=recipe.localizing.variant
        )
        self.feed = self._feed(pairs, steps)
        self.alone_feed = self.feed if alone_steps == steps else self._feed(pairs, alone_steps)
        known = self.feed.held_out
        places = np.linspace(0, len(known) - 1, min(crops, len(known))).round().astype(int)
        self.feed.held_out = [known[place] for place in places]
        held_out = self.feed.checking(["mask"])
        if held_out is None:
            raise FakeclfError(f"{pairs.name} has no validation pairs to rank on; forge some, or --set validation=0.2")
        self.validation = list(_arrays(held_out))
        settings = {
            "schema": SCHEMA,
            "recipe": to_mapping(recipe),
            "pairs": [len(pairs.train), len(pairs.validation)],
            "steps": steps,
            "crops": sum(len(shown) for shown, _ in self.validation),
            "calibration": CALIBRATION_BATCHES,
        }
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))

    def shared_score(self, genotype: str) -> float:
        """Of a genotype with the supernet's weights."""
        return self._supernet.score(iid_supernet.path_of(genotype))

    def stand_alone_score(self, genotype: str, title: str) -> float:
        """Of a network of that genotype alone, which is trained where it has not been."""
        digits = "".join(map(str, iid_supernet.path_of(genotype)))
        folder = self.out / "alone" / f"{self.alone_steps}-{digits}"
        settings = {**self.settings, "steps": self.alone_steps, "genotype": genotype}
        journal = Journal(folder, settings)

        def train(genotype: str) -> float:
            keras.utils.set_random_seed(self.recipe.seed)
            recipe = dataclasses.replace(self.recipe, model_args={**self.recipe.model_args, "genotype": genotype})
            model = self._made(lambda: build_model(recipe), self.alone_steps)
            draw = _draw(self.alone_feed, self.alone_steps)

            def say(line: str) -> None:
                self.say(f"{title}, {line}")

            with fused_batch_norm(model):
                run_steps(model, folder, settings, draw, steps=self.alone_steps, say=say)
            return Scorer(model, self._calibration, self.validation).score()

        score = journal.score(genotype, train)
        keras.backend.clear_session(free_memory=True)
        (folder / "last.weights.h5").unlink(missing_ok=True)
        return score

    @cached_property
    def _supernet(self) -> Scorer:
        """Of the supernet, which is trained first, as far as that is not done."""
        keras.utils.set_random_seed(self.recipe.seed)
        model = self._made(lambda: iid_supernet.build(**self.recipe.model_args), self.steps)

        def path(step: int) -> np.ndarray:
            drawn = iid_supernet.sample(np.random.default_rng([self.recipe.seed, 3, step]))
            return iid_supernet.path_of(drawn)

        draw = _draw(self.feed, self.steps, path)
        with fused_batch_norm(model):
            run_steps(model, self.out / "supernet", self.settings, draw, steps=self.steps, say=self.say)
        return Scorer(model, self._calibration, self.validation)

    @cached_property
    def _calibration(self) -> list[np.ndarray]:
        """Training crops for the statistics of batch norms, the same for all genotypes; other ones than were learnt."""
        batches = self.feed.training(range(self.steps, self.steps + CALIBRATION_BATCHES), ["mask"])
        return [shown for shown, _ in _arrays(batches)]

    def _feed(self, pairs: datasets.PairSet, steps: int) -> LocalizerFeed:
        # An epoch of one step, so that a stream can begin at any step.
        localizing = dataclasses.replace(self.recipe.localizing, epoch_pictures=self.recipe.batch_size)
        return LocalizerFeed(dataclasses.replace(self.recipe, epochs=steps, localizing=localizing), pairs)

    def _made(self, build: Callable[[], keras.Model], steps: int) -> keras.Model:
        model = with_policy(precision_policy(self.recipe.precision), build)
        compile_for_paths(model, self.feed.objective(["mask"]), self.recipe.optimizer.learning_rate, steps)
        return model


def compile_for_paths(model: keras.Model, objective: Mapping[str, Any], learning_rate: float, steps: int) -> None:
    """Compile so that a step moves the weights that its pass made use of, and no others.

    With a first moment Adam would move all of them, by what earlier paths left there.

    Args:
        model: a supernet, or a network alone that is to be trained in the same way.
        objective: ``loss`` and ``loss_weights`` of ``keras.Model.compile``; what else is in it is left out.
        learning_rate: the highest; it falls along a cosine.
        steps: of the training.
    """
    optimizer = keras.optimizers.Adam(falling_rate(learning_rate, steps), beta_1=0.0)
    optimizer.build(model.trainable_variables)
    loss, weights = objective["loss"], objective["loss_weights"]
    model.compile(optimizer=optimizer, loss=loss, loss_weights=weights, jit_compile=False)


class Scorer:
    """Batch-norm statistics from ``calibration``, then the mean pixel AUC of ``validation``.

    Args:
        model: with pictures as its input, or a supernet.
        calibration: batches of pictures, (b, h, w, 3) RGB 0-255.
        validation: batches of pictures and masks, (b, h, w, 1).
    """

    def __init__(
        self, model: keras.Model, calibration: list[np.ndarray], validation: list[tuple[np.ndarray, np.ndarray]]
    ) -> None:
        import tensorflow as tf

        self.model, self.calibration, self.validation = model, calibration, validation
        norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]

        def settle(inputs: Any, momentum: Any) -> None:
            kept = [layer.momentum for layer in norms]
            for layer in norms:
                layer.momentum = momentum
            model(inputs, training=True)
            for layer, value in zip(norms, kept, strict=True):
                layer.momentum = value

        self._settle = tf.function(settle)

    def score(self, path: np.ndarray | None = None) -> float:
        """Of the model, or of that path through a supernet."""
        for step, shown in enumerate(self.calibration):
            # The mean over all batches so far; the first one wipes out what was there.
            self._settle(_inputs(shown, path), keras.ops.convert_to_tensor(step / (step + 1)))
        metric = AUC()
        found = [self.model.predict_on_batch(_inputs(shown, path))["mask"] for shown, _ in self.validation]
        metric.update_state(np.concatenate([truth for _, truth in self.validation]), np.concatenate(found))
        return round(float(metric.result()), 6)


class Journal:
    """Scores by genotype, on disk before the next is begun.

    Args:
        folder: gets ``scores.json``.
        settings: what the scores depend on.

    Raises:
        FakeclfError: the folder holds scores of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings, self.path = folder, settings, folder / "scores.json"
        self.scores: dict[str, float] = {}
        if self.path.is_file():
            try:
                kept = json.loads(self.path.read_text(encoding="utf-8"))
                self.scores, begun = dict(kept["scores"]), kept["settings"]
            except (ValueError, KeyError, TypeError) as error:
                raise FakeclfError(f"{self.path} holds no scores ({error}); remove it to score anew") from error
            if begun != settings:
                raise FakeclfError(
                    f"{folder.parent} holds a search with other settings; give the same ones, or another --out"
                )

    def score(self, genotype: str, measure: Callable[[str], float]) -> float:
        """What ``measure`` gives for ``genotype``; it is called once for each."""
        if genotype not in self.scores:
            self.scores[genotype] = measure(genotype)
            with replace_file(self.path) as beside:
                beside.write_text(json.dumps({"settings": self.settings, "scores": self.scores}, indent=1))
        return self.scores[genotype]


def _draw(
    feed: LocalizerFeed, steps: int, path: Callable[[int], np.ndarray] | None = None
) -> Callable[[int], tuple[Any, Any]]:
    """What ``run_steps`` draws batches with, from whichever step it begins at; with the path of each step."""
    stream: Iterator[tuple[np.ndarray, np.ndarray]] | None = None

    def draw(step: int) -> tuple[Any, Any]:
        nonlocal stream
        if stream is None:
            stream = _arrays(feed.training(range(step, steps), ["mask"]))
        shown, truth = next(stream)
        return _inputs(shown, path(step) if path else None), {"mask": truth}

    return draw


def _inputs(shown: np.ndarray, path: np.ndarray | None) -> Any:
    return shown if path is None else {"pictures": shown, "path": np.tile(path, (len(shown), 1))}


def _arrays(batches: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for shown, truth in batches:
        yield shown.numpy(), truth["mask"].numpy()
