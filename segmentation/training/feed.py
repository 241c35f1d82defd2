"""Crops with masks for the shared trainer: cut, forge, turn, degrade.

Every crop is a function of (seed, its number in the whole training), so a resumed run sees what the killed one would
have seen. Decoded pictures are kept in memory up to ``CACHE_BYTES``.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fakeclf import images
from fakeclf.config import Recipe
from fakeclf.data.degrade import random_degradation, random_saving
from fakeclf.errors import FakeclfError
from fakeclf.registry import model as model_spec
from segmentation.datasets import Pair, PairSet, without
from segmentation.forgeries import compose
from segmentation.forgeries.masks import mask_source
from segmentation.training.objective import objective

CACHE_BYTES = 6 << 30
VALIDATION_CROPS = 512
TRIES = 20
BLOCK = 8
"""Of JPEG, pixels."""
_log = logging.getLogger(__name__)


class LocalizerFeed:
    """Feed of a localizer; see ``fakeclf.training.feed.Feed``.

    Targets: ``mask`` (b, h, w, 1), 1 = inpainted; ``edge``, the same mask, of which the loss takes the edge; ``score``
    (b, 1), 1 where anything was inpainted.

    Raises:
        FakeclfError: if no pair can be read, or all pictures are smaller than the crop.
    """

    def __init__(self, recipe: Recipe, dataset: PairSet) -> None:
        self.recipe, self.settings = recipe, recipe.localizing
        spec = model_spec(recipe.model)
        self.size = recipe.input_size or spec.input_size
        self.loss_name = recipe.loss or spec.loss
        self.reader = CropReader(self.size, recipe)
        dataset = without(dataset, self.settings.leave_out)
        self.learning = dataset.train
        self.weights = _balanced(dataset.train) if self.settings.balance else dataset.weights
        self.held_out = _evenly([pair for pair in dataset.validation], VALIDATION_CROPS)
        if not self.learning:
            raise FakeclfError(f"{dataset.name} has no training pairs; forge some, or name another data set")
        self.steps = max(1, (self.settings.epoch_pictures or len(self.learning)) // recipe.batch_size)
        self.reader.require_one(self.learning)

    @property
    def unreadable(self) -> dict[str, str]:
        return self.reader.unreadable

    def objective(self, outputs: Sequence[str]) -> dict[str, Any]:
        return objective(self.loss_name, outputs, **self.recipe.loss_args)

    def training(self, epochs: range, outputs: Sequence[str]) -> Any:
        count = self.steps * self.recipe.batch_size
        places = np.concatenate([self._order(epoch, count) for epoch in epochs])
        numbers = np.arange(epochs.start * count, epochs.stop * count)

        def crop(place: int, number: int) -> tuple[np.ndarray, np.ndarray]:
            random = np.random.default_rng([self.recipe.seed, 1, number])
            strength = self._strength(number / (count * self.recipe.epochs))
            for _ in range(TRIES):
                made = self.reader.crop(self.learning[place], random, self.settings.pristine, strength)
                if made is not None:
                    return made
                place = int(random.integers(len(self.learning)))
            raise FakeclfError(f"{TRIES} training pairs in a row could not be used; the log names each once")

        return self._stream(places, numbers, crop, outputs)

    def checking(self, outputs: Sequence[str]) -> Any:
        if not self.held_out:
            return None
        usable = []
        for place, pair in enumerate(self.held_out):
            if self._check(place, pair) is not None:
                usable.append(place)
        if not usable:
            raise FakeclfError("no validation pair can be read or is as large as the crop; see the log")
        places = np.array(usable)
        return self._stream(places, places, lambda place, _: self._check(place, self.held_out[place]), outputs)

    def close(self) -> None:
        self.reader.close()

    def _check(self, place: int, pair: Pair) -> tuple[np.ndarray, np.ndarray] | None:
        strength = self.settings.degrade if self.settings.degrade_as != "passed on" else 0.0
        return self.reader.crop(pair, np.random.default_rng([self.recipe.seed, 2, place]), 0.0, strength)

    def _order(self, epoch: int, count: int) -> np.ndarray:
        """Which pair each crop of an epoch is cut from: all in turn, or drawn by the weights of the mixture."""
        random = np.random.default_rng([self.recipe.seed, 0, epoch])
        if self.weights:
            shares = np.asarray(self.weights) / np.sum(self.weights)
            return random.choice(len(self.learning), count, p=shares)
        rounds = -(-count // len(self.learning))
        return np.concatenate([random.permutation(len(self.learning)) for _ in range(rounds)])[:count]

    def _strength(self, progress: float) -> float:
        """Strength of post-processing: none at first, then rising evenly to the recipe's."""
        start = self.settings.degrade_from
        ramp = (progress - start) / (1 - start) if start < 1 else 0.0
        return self.settings.degrade * float(np.clip(ramp, 0.0, 1.0))

    def _stream(self, places: np.ndarray, numbers: np.ndarray, crop: Any, outputs: Sequence[str]) -> Any:
        import tensorflow as tf

        side = self.size

        def make(place: Any, number: Any) -> tuple[Any, Any]:
            read = lambda place, number: crop(int(place), int(number))  # noqa: E731
            picture, mask = tf.numpy_function(read, [place, number], (tf.uint8, tf.float32), stateful=False)
            return tf.ensure_shape(picture, (side, side, 3)), tf.ensure_shape(mask, (side, side, 1))

        def finish(pictures: Any, masks: Any) -> tuple[Any, Any]:
            targets = {
                "mask": masks,
                "edge": masks,
                "score": tf.cast(tf.reduce_max(masks, axis=(1, 2)) >= 0.5, tf.float32),
            }
            return tf.cast(pictures, tf.float32), {name: targets[name] for name in outputs if name in targets}

        data = tf.data.Dataset.from_tensor_slices((places.astype(np.int64), numbers.astype(np.int64)))
        data = data.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        data = data.batch(self.recipe.batch_size).map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return data.with_options(options).prefetch(tf.data.AUTOTUNE)


class CropReader:
    """Cuts one crop out of one pair.

    Args:
        size: side of the crops, pixels.
        recipe: its ``localizing`` group says how.

    Attributes:
        unreadable: pictures that were skipped: path -> reason.
    """

    def __init__(self, size: int, recipe: Recipe) -> None:
        self.settings = recipe.localizing
        self.saved = self.settings.degrade_as != "passed on"
        self.on_grid = self.settings.degrade_as in ("saved again", "saved twice")
        self.twice = self.settings.degrade_as == "saved twice"
        self.final = size
        self.size = size + BLOCK if self.twice else size  # of which a cut between the two leaves the crop
        kinds = self.settings.masks.split(",")
        self.draw = mask_source(kinds, area=(self.settings.smallest, self.settings.largest)).draw
        self.unreadable: dict[str, str] = {}
        self._kept: dict[str, np.ndarray] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of decoded pictures; they are read anew from here on."""
        with self._lock:
            self._kept, self._bytes = {}, 0

    def require_one(self, pairs: Sequence[Pair]) -> None:
        """Raise where not even one of ``pairs`` can be used, before a training begins."""
        random = np.random.default_rng(0)
        if not any(self.crop(pair, random, 0.0, 0.0) is not None for pair in pairs):
            path, reason = next(iter(self.unreadable.items()))
            raise FakeclfError(f"none of the {len(pairs)} training pairs can be used (the first: {path}: {reason})")

    def crop(
        self, pair: Pair, random: np.random.Generator, pristine: float, strength: float
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """A crop (size, size, 3) uint8 and its mask (size, size, 1) float32, or None where the pair cannot be used.

        Args:
            pair: what to cut from.
            random: everything is drawn from it.
            pristine: probability of showing the original instead.
            strength: of post-processing, 0-1.
        """
        try:
            picture, mask = self._forged(pair, random) if random.random() >= pristine else self._untouched(pair, random)
        except FakeclfError as error:
            if pair.image not in self.unreadable:
                self.unreadable[pair.image] = str(error)
                _log.warning("skipped: %s", error)
            return None
        turns, mirror = self._turn(random)
        picture, mask = (np.rot90(part, turns) for part in (picture, mask))
        if mirror:
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        picture, mask = self._passed_on(np.ascontiguousarray(picture), mask, random, strength)
        return np.ascontiguousarray(picture), np.ascontiguousarray(mask, np.float32)[:, :, np.newaxis]

    def _passed_on(
        self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator, strength: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """What happens to the finished crop; see ``degrade_as`` of the recipe."""
        change = None
        if strength > 0:
            change = (random_saving if self.saved else random_degradation)(random, strength)
        if self.twice:
            before = random_saving(random) if change is not None else None
            picture = picture if before is None else before.apply(picture, random)
            top, left = (int(value) for value in random.integers(0, BLOCK, 2))
            picture, mask = (part[top : top + self.final, left : left + self.final] for part in (picture, mask))
        return picture if change is None else change.apply(picture, random), mask

    def _forged(self, pair: Pair, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        picture = self._read(pair.image)
        if pair.drawn:
            original = self._read(str(pair.original))
            if original.shape != picture.shape:
                raise FakeclfError(f"{pair.image} is not of the size of {pair.original}")
            window = self._window(picture.shape, random)
            grey = self.draw(original[window], pair.source, random)
            mixed = compose.paste(original[window], picture[window], grey)
            return mixed, compose.binary(grey, self.settings.edges)
        if pair.mask is None:
            window = self._window(picture.shape, random)
            return picture[window], np.zeros((self.size, self.size), np.float32)
        grey = self._read_mask(pair.mask, picture, pair.forged_here)
        window = self._window(picture.shape, random, grey)
        return picture[window], compose.binary(grey[window], self.settings.edges)

    def _untouched(self, pair: Pair, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if pair.original is None:
            return self._forged(pair, random)
        picture = self._read(pair.original)
        return picture[self._window(picture.shape, random)], np.zeros((self.size, self.size), np.float32)

    def _window(
        self, shape: tuple[int, ...], random: np.random.Generator, mask: np.ndarray | None = None
    ) -> tuple[slice, slice]:
        """A random window; with a mask, one that holds some of it, as far as the border allows."""
        room = np.array(shape[:2]) - self.size
        if room.min() < 0:
            raise FakeclfError(f"{shape[1]} x {shape[0]} pixels are smaller than the crop of {self.size}")
        corner = random.integers(0, room + 1)
        if mask is not None:
            inside = np.flatnonzero(mask[::4, ::4])
            if inside.size:
                columns = -(-shape[1] // 4)
                middle = 4 * np.array(divmod(int(inside[random.integers(inside.size)]), columns))
                corner = np.clip(middle - random.integers(0, self.size, 2), 0, room)
        if self.on_grid:
            corner -= corner % BLOCK
        top, left = (int(value) for value in corner)
        return slice(top, top + self.size), slice(left, left + self.size)

    def _turn(self, random: np.random.Generator) -> tuple[int, bool]:
        turns, mirror = int(random.integers(4)), bool(random.integers(2))
        return {"none": (0, False), "horizontal": (0, mirror), "dihedral": (turns, mirror)}[self.settings.flips]

    def _read(self, path: str) -> np.ndarray:
        return self._cached(path, lambda: images.read(path))

    def _read_mask(self, path: str, picture: np.ndarray, sure: bool) -> np.ndarray:
        return self._cached(path, lambda: compose.read_mask(path, picture.shape[:2], sure=sure))

    def _cached(self, path: str, read: Any) -> np.ndarray:
        value = self._kept.get(path)
        if value is not None:
            return value
        value = read()
        with self._lock:
            if path not in self._kept and self._bytes + value.nbytes < CACHE_BYTES:
                self._kept[path] = value
                self._bytes += value.nbytes
        return value


def _balanced(pairs: Sequence[Pair]) -> tuple[float, ...]:
    """Weights that give every generator the same share."""
    counts = Counter(pair.generator for pair in pairs)
    return tuple(1 / counts[pair.generator] for pair in pairs)


def _evenly(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most ``count`` of the forged pairs, evenly spaced."""
    forged = [pair for pair in pairs if pair.label == 0]
    if not forged:
        return []
    places = np.linspace(0, len(forged) - 1, min(count, len(forged))).round().astype(int)
    return [forged[place] for place in np.unique(places)]
