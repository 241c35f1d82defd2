"""From a list of pictures to batches: decode in parallel, cache, shuffle, one affine warp a picture, prefetch.

Every step is a function of (seed, epoch, position), so a resumed run sees the batches that the killed one would have.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from fakeclf import images
from fakeclf.config import Augmentation
from fakeclf.data.datasets import LABELS, Example
from fakeclf.data.degrade import random_degradation
from fakeclf.errors import FakeclfError

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

CACHE_BYTES = 2 << 30
"""Decoded pictures are kept in memory up to this size; beyond it they are decoded anew each epoch."""


class Pictures:
    """Decoded pictures of one split, as a cached ``tf.data`` source.

    A picture that cannot be read is counted, named once in the log, and skipped.

    Args:
        examples: pictures and labels.
        size: side to which pictures are brought; None leaves each at its own size.
        view: ``resize`` squashes them at decoding; ``crop`` leaves them whole (``training_batches`` cuts at random,
            ``batches`` cuts the centre out).
        cache: keep decoded pictures in memory, where they fit.

    Raises:
        FakeclfError: if there are no examples, or no picture of a class can be read.
    """

    def __init__(
        self, examples: Sequence[Example], size: int | None = None, view: str = "resize", cache: bool = True
    ) -> None:
        self.examples = list(examples)
        self.size = size
        self.view = view
        self.unreadable: dict[str, str] = {}
        self._require_readable()
        paths = tf.constant([example.path for example in self.examples])
        labels = tf.constant([example.label for example in self.examples], tf.int32)
        self._listed = tf.data.Dataset.from_tensor_slices((paths, labels, tf.range(len(self.examples))))
        self.cached = cache and self._bytes() < CACHE_BYTES
        self.source = self._decoded(self._listed).cache() if self.cached else self._decoded(self._listed)

    def __len__(self) -> int:
        return len(self.examples) - len(self.unreadable)

    def close(self) -> None:
        """Let go of the cache; pictures are decoded anew from here on."""
        self.cached, self.source = False, self._decoded(self._listed)

    def shuffled(self, seed: int, together: int = 1) -> tf.data.Dataset:
        """All pictures in an order drawn from ``seed``, cached or not the same; ``together`` neighbours stay so."""
        # A buffer of decoded pictures that the cache has no room for would have none either, and be slow to fill.
        source = self.source if self.cached else self._listed
        source = source.batch(together, drop_remainder=True) if together > 1 else source
        source = source.shuffle(max(1, len(self.examples) // together), seed=seed, reshuffle_each_iteration=False)
        source = source.unbatch() if together > 1 else source
        return source if self.cached else self._decoded(source)

    def read(self, path: str) -> NDArray[np.uint8]:
        """The picture, or an empty array where it cannot be read."""
        try:
            return images.read(path)
        except images.UnreadablePicture as error:
            if path not in self.unreadable:
                self.unreadable[path] = str(error)
                logger.warning("skipped: %s", error)
            return np.zeros((0, 0, 3), np.uint8)

    def _decoded(self, listed: tf.data.Dataset) -> tf.data.Dataset:
        source = listed.map(self._decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return source.filter(lambda picture, label, index: tf.size(picture) > 0)

    def _decode(self, path: tf.Tensor, label: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        picture = tf.numpy_function(lambda name: self.read(name.decode()), [path], tf.uint8, stateful=False)
        picture.set_shape((None, None, 3))
        if self.size is not None and self.view == "resize":
            picture = tf.cond(tf.size(picture) > 0, lambda: _squash(picture, self.size), lambda: picture)
        return picture, label, index

    def _require_readable(self) -> None:
        if not self.examples:
            raise FakeclfError("there are no pictures in this split; give a folder with more of them")
        for label in sorted({example.label for example in self.examples}):
            paths = [example.path for example in self.examples if example.label == label]
            if not any(self.read(path).size for path in paths):
                raise FakeclfError(
                    f"none of the {len(paths)} pictures of class {LABELS[label]} can be read "
                    f"(the first: {self.unreadable[paths[0]]}); replace them"
                )

    def _bytes(self) -> float:
        if self.size is not None and self.view == "resize":
            return len(self.examples) * self.size**2 * 3
        some = self.examples[:: max(1, len(self.examples) // 8)][:8]
        return float(np.mean([self.read(example.path).size for example in some])) * len(self.examples)


def batches(
    examples: Sequence[Example] | Pictures,
    *,
    size: int | None,
    view: str = "resize",
    batch_size: int = 32,
    cache: bool = False,
    with_index: bool = False,
) -> tf.data.Dataset:
    """Every picture once, in order: float32 (b, size, size, 3), 0-255, and float32 labels (b, 1).

    With ``size=None`` pictures keep their own size and a batch holds pictures of one size; their order then differs
    from that of ``examples``. ``with_index`` adds each picture's int32 position in ``examples``, (b,).
    """
    pictures = examples if isinstance(examples, Pictures) else Pictures(examples, size, view, cache)
    source = pictures.source
    if size is None:
        source = source.group_by_window(
            key_func=lambda picture, label, index: tf.cast(
                tf.shape(picture)[0] * 65536 + tf.shape(picture)[1], tf.int64
            ),
            reduce_func=lambda key, window: window.batch(batch_size),
            window_size=batch_size,
        )
    else:
        if view == "crop":
            source = source.map(lambda picture, label, index: (_cut(picture, size, 0.5, 0.5), label, index))
        source = source.batch(batch_size)

    def finish(picture: tf.Tensor, label: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        made = (tf.cast(picture, tf.float32), tf.cast(label, tf.float32)[:, tf.newaxis])
        return (*made, index) if with_index else made

    return _sharded(source.map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def training_batches(
    pictures: Pictures,
    *,
    batch_size: int,
    augmentation: Augmentation | None,
    seed: int,
    epochs: range,
    pairs: bool = False,
) -> tuple[tf.data.Dataset, int]:
    """Shuffled, augmented batches of all ``epochs`` in one stream, and the number of batches an epoch.

    ``pairs`` says that ``pictures`` come in twos (see ``paired``), which stay together and are cut at the same place.

    Shapes as in ``batches``. What does not fill the last batch of an epoch is left to other epochs: batch norms
    suffer from tiny batches.
    """
    size = pictures.size
    if size is None:
        raise ValueError("training needs pictures of one size")
    batch_size = min(batch_size, len(pictures))
    steps = len(pictures) // batch_size

    def shuffled(epoch: int) -> tf.data.Dataset:
        key = seed * 100_003 + epoch
        source = pictures.shuffled(key, together=2 if pairs else 1)
        # The number of each picture in the whole training is what its crop and its warp are drawn from.
        numbers = tf.data.Dataset.counter(key << 32)
        return tf.data.Dataset.zip(source, numbers).take(steps * batch_size)

    source = _one_after_the_other([shuffled(epoch) for epoch in epochs])
    if pictures.view == "crop":
        source = source.map(
            lambda example, number: (
                (_random_cut(example[0], size, number // 2 if pairs else number), *example[1:]),
                number,
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    if augmentation is not None and augmentation.degrade > 0:
        source = source.map(
            lambda example, number: ((_degraded(example[0], augmentation.degrade, number), *example[1:]), number),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    source = source.batch(batch_size, drop_remainder=True)

    def finish(example: tuple[tf.Tensor, ...], numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pictures, labels, _ = example
        pictures = tf.cast(pictures, tf.float32)
        if augmentation is not None:
            pictures = warp(pictures, augmentation, tf.stack([1, numbers[0]]))
        return pictures, tf.cast(labels, tf.float32)[:, tf.newaxis]

    return _sharded(source.map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)), steps


def _one_after_the_other(sources: list[tf.data.Dataset]) -> tf.data.Dataset:
    """Concatenated as a balanced tree: every element passes all levels above it, and a chain has as many as epochs."""
    if len(sources) == 1:
        return sources[0]
    middle = len(sources) // 2
    return _one_after_the_other(sources[:middle]).concatenate(_one_after_the_other(sources[middle:]))


def paired(examples: Sequence[Example]) -> list[Example]:
    """FAKE and REAL of each source one after the other; sources that have not one of each are left out.

    Raises:
        FakeclfError: if no source has both.
    """
    by_source: dict[str, list[Example]] = {}
    for example in examples:
        by_source.setdefault(example.source, []).append(example)
    pairs = [sorted(found, key=lambda example: example.label) for found in by_source.values()]
    kept = [example for pair in pairs if [example.label for example in pair] == [0, 1] for example in pair]
    if not kept:
        raise FakeclfError("pairs=true needs FAKE and REAL pictures of the same sources; set pairs=false")
    return kept


def warp(pictures: tf.Tensor, settings: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """One random affine warp a picture, the nearest pixel repeated beyond the border.

    Composed as Keras' legacy ``ImageDataGenerator`` does: rotation, shift, shear, zoom about the centre, then the
    mirror; ``settings`` in its units.

    Args:
        pictures: (b, h, w, c), float.
        settings: ranges; see ``Augmentation``.
        seed: int64 (2,); the same seed gives the same warps.
    """
    if not any((settings.rotation, settings.shift, settings.zoom, settings.shear)):
        return _mirrored(pictures, seed) if settings.flip else pictures
    count, height, width = tf.shape(pictures)[0], tf.shape(pictures)[1], tf.shape(pictures)[2]
    transforms = affine_transforms(random_affine(count, settings, seed), height, width)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=transforms,
        output_shape=tf.stack([height, width]),
        interpolation=settings.interpolation.upper(),
        fill_mode="NEAREST",
        fill_value=0.0,
    )
    return tf.ensure_shape(warped, pictures.shape)


def random_affine(count: tf.Tensor, settings: Augmentation, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Draw warps: ``angle`` and ``shear`` in degrees, ``down`` and ``right`` as shares of the side, ``zoom_y``,
    ``zoom_x`` and ``mirror`` (0 or 1), each (count,)."""
    draw = tf.random.stateless_uniform((7, count), seed, -1.0, 1.0)
    return {
        "angle": draw[0] * settings.rotation,
        "down": draw[1] * settings.shift,
        "right": draw[2] * settings.shift,
        "shear": draw[3] * settings.shear,
        "zoom_y": 1 + draw[4] * settings.zoom,
        "zoom_x": 1 + draw[5] * settings.zoom,
        "mirror": tf.cast(draw[6] < 0, tf.float32) * float(settings.flip),
    }


def affine_transforms(warps: dict[str, tf.Tensor], height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Warps as the (n, 8) output-to-input transforms of ``ImageProjectiveTransformV3``."""
    degree = np.pi / 180
    cos, sin = tf.cos(warps["angle"] * degree), tf.sin(warps["angle"] * degree)
    shear_cos, shear_sin = tf.cos(warps["shear"] * degree), tf.sin(warps["shear"] * degree)
    rows, columns = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    down, right = warps["down"] * rows, warps["right"] * columns
    # Output (x, y) to input: rotation @ shear @ zoom; the shift is rotated with the picture.
    xx = cos * warps["zoom_x"]
    xy = (-cos * shear_sin - sin * shear_cos) * warps["zoom_y"]
    yx = sin * warps["zoom_x"]
    yy = (-sin * shear_sin + cos * shear_cos) * warps["zoom_y"]
    # The centre stays, as scipy counts it: (side - 1) / 2.
    middle_x, middle_y = (columns - 1) / 2, (rows - 1) / 2
    move_x = cos * right - sin * down + middle_x - xx * middle_x - xy * middle_y
    move_y = sin * right + cos * down + middle_y - yx * middle_x - yy * middle_y
    # The generator mirrors after the warp, so output column x reads what was at columns - 1 - x.
    mirror = warps["mirror"]
    sign = 1 - 2 * mirror
    move_x, move_y = move_x + mirror * xx * (columns - 1), move_y + mirror * yx * (columns - 1)
    zero = tf.zeros_like(yy)
    return tf.stack([xx * sign, xy, move_x, yx * sign, yy, move_y, zero, zero], axis=1)


def _mirrored(pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    flip = tf.random.stateless_uniform((tf.shape(pictures)[0], 1, 1, 1), seed) < 0.5
    return tf.where(flip, pictures[:, :, ::-1], pictures)


def _squash(picture: tf.Tensor, size: int) -> tf.Tensor:
    small = tf.image.resize(picture, (size, size), "bilinear", antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(small, 0, 255)), tf.uint8)


def _cut(picture: tf.Tensor, size: int, down: tf.Tensor | float, right: tf.Tensor | float) -> tf.Tensor:
    """A ``size`` square at shares ``down`` and ``right`` of the room there is; smaller pictures are enlarged."""
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]
    side = tf.minimum(tf.minimum(height, width), size)
    top = tf.cast(tf.cast(height - side, tf.float32) * down, tf.int32)
    left = tf.cast(tf.cast(width - side, tf.float32) * right, tf.int32)
    square = picture[top : top + side, left : left + side]
    square = tf.cond(side < size, lambda: _squash(square, size), lambda: square)
    return tf.ensure_shape(square, (size, size, 3))


def _random_cut(picture: tf.Tensor, size: int, number: tf.Tensor) -> tf.Tensor:
    place = tf.random.stateless_uniform((2,), tf.stack([0, number]))
    return _cut(picture, size, place[0], place[1])


def _degraded(picture: tf.Tensor, strength: float, number: tf.Tensor) -> tf.Tensor:
    """The picture as somebody might have passed it on, its size kept; ``number`` decides what happened to it."""

    def degrade(pixels: np.ndarray, seed: np.integer) -> np.ndarray:
        random = np.random.default_rng(int(seed))
        drawn = random_degradation(random, strength)
        return pixels if drawn is None else drawn.apply(pixels, random)

    changed = tf.numpy_function(degrade, [picture, number], tf.uint8, stateful=False)
    return tf.ensure_shape(changed, picture.shape)


def _sharded(source: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.deterministic = True
    return source.with_options(options)
