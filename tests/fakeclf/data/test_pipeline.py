"""Batches: what is in them, in which order, and what happens to files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.image import apply_affine_transform

from fakeclf import images
from fakeclf.config import Augmentation
from fakeclf.data.datasets import Example
from fakeclf.data.pipeline import Pictures, affine_transforms, batches, paired, training_batches, warp
from fakeclf.errors import FakeclfError
from fakeclf.models.layers import FitToSize


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    random = np.random.default_rng(0)
    made = []
    for number in range(20):
        path = tmp_path / f"{number}.png"
        height, width = [(40, 48), (56, 44), (24, 30)][number % 3]
        images.save(path, random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        made.append(Example(str(path), number % 2, path.stem))
    return made


def test_every_picture_once_in_order(examples: list[Example]) -> None:
    found = list(batches(examples, size=32, batch_size=8, with_index=True))
    assert [picture.shape for picture, _, _ in found] == [(8, 32, 32, 3), (8, 32, 32, 3), (4, 32, 32, 3)]
    assert np.concatenate([index for _, _, index in found]).tolist() == list(range(20))
    assert np.concatenate([label for _, label, _ in found])[:, 0].tolist() == [e.label for e in examples]
    assert found[0][0].dtype == tf.float32 and float(tf.reduce_max(found[0][0])) > 200


@pytest.mark.parametrize("view", ["resize", "crop"])
def test_the_pipeline_shows_a_picture_as_the_models_own_first_layer_does(examples: list[Example], view: str) -> None:
    for size in (32, 64):
        for shown, example in zip(batches(examples, size=size, view=view, batch_size=1), examples, strict=True):
            whole = images.read(example.path)[np.newaxis].astype("float32")
            np.testing.assert_allclose(shown[0], FitToSize(size, view)(whole), atol=0.51)


def test_native_batches_keep_pixels_and_group_sizes(examples: list[Example]) -> None:
    seen = {}
    for pictures, labels, index in batches(examples, size=None, batch_size=4, with_index=True):
        assert len(pictures) <= 4
        for picture, label, place in zip(pictures.numpy(), labels.numpy(), index.numpy(), strict=True):
            np.testing.assert_array_equal(picture, images.read(examples[place].path))
            seen[int(place)] = label[0]
    assert seen == {place: example.label for place, example in enumerate(examples)}


def test_the_stream_depends_on_seed_and_epoch_alone(examples: list[Example]) -> None:
    def stream(epochs: range, seed: int = 3, view: str = "crop") -> list[np.ndarray]:
        pictures = Pictures(examples, 24, view)
        data, steps = training_batches(pictures, batch_size=6, augmentation=Augmentation(), seed=seed, epochs=epochs)
        assert steps == 3
        return [batch.numpy() for batch, _ in data]

    whole, resumed = stream(range(3)), stream(range(1, 3))
    assert len(whole) == 9
    for one, other in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(whole[0], whole[3])
    assert not np.array_equal(whole[0], stream(range(1), seed=4)[0])


@pytest.mark.parametrize("pairs", [False, True])
def test_the_stream_is_the_same_with_and_without_a_cache(examples: list[Example], pairs: bool) -> None:
    def stream(cache: bool) -> list[np.ndarray]:
        pictures = Pictures(examples, 24, "resize" if pairs else "crop", cache)
        assert pictures.cached == cache
        data, _ = training_batches(
            pictures, batch_size=4, augmentation=Augmentation(), seed=3, epochs=range(2), pairs=pairs
        )
        return [batch.numpy() for batch, _ in data]

    for one, other in zip(stream(True), stream(False), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_cache_the_first_batch_waits_for_few_pictures(examples: list[Example]) -> None:
    pictures = Pictures(examples * 50, 24, "resize", cache=False)
    decoded, read = [], pictures.read
    pictures.read = lambda path: (decoded.append(path), read(path))[1]
    data, _ = training_batches(pictures, batch_size=4, augmentation=None, seed=0, epochs=range(1))
    next(iter(data))
    assert 4 <= len(decoded) < 500  # some are drawn ahead, of 1,000


def test_degraded_pictures_are_a_share_of_the_stream_and_follow_seed_and_epoch(examples: list[Example]) -> None:
    def stream(degrade: float, epochs: range = range(12)) -> np.ndarray:
        still = Augmentation(rotation=0, shift=0, zoom=0, shear=0, flip=False, degrade=degrade)
        data, steps = training_batches(
            Pictures(examples, 24, "crop"), batch_size=20, augmentation=still, seed=3, epochs=epochs
        )
        assert steps == 1
        return np.concatenate([batch.numpy() for batch, _ in data])

    plain, half, whole = stream(0), stream(0.5), stream(1)
    files = [images.read(example.path).astype(np.float32) for example in examples]
    in_files = {cut.tobytes() for picture in files for cut in cuts(picture, 24)}
    assert all(picture.tobytes() in in_files for picture in plain)  # strength 0 leaves pixels as in the file
    for strength, changed in ((0.5, half), (1.0, whole)):
        assert changed.shape == plain.shape == (240, 24, 24, 3)
        touched = (changed != plain).any(axis=(1, 2, 3))
        assert abs(touched.mean() - 0.8 * strength) < 0.1
        assert (touched[:20] != touched[20:40]).any()  # drawn anew in each epoch
    np.testing.assert_array_equal(whole[-40:], stream(1, range(10, 12)))  # as a resumed run sees it


def cuts(picture: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """All squares of ``size`` in a picture."""
    for top in range(picture.shape[0] - size + 1):
        for left in range(picture.shape[1] - size + 1):
            yield np.ascontiguousarray(picture[top : top + size, left : left + size])


def test_pairs_stay_together_and_are_cut_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    made = []
    for number in range(6):
        picture = random.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
        for label in (0, 1):
            images.save(tmp_path / f"{number}-{label}.png", picture)
            made.append(Example(str(tmp_path / f"{number}-{label}.png"), label, str(number)))
    alone = Example(made[0].path, 0, "alone")
    pairs = paired([*made[::2], alone, *made[1::2]])
    assert len(pairs) == 12 and alone not in pairs
    data, _ = training_batches(
        Pictures(pairs, 16, "crop"), batch_size=4, augmentation=None, seed=0, epochs=range(1), pairs=True
    )
    for pictures, labels in data:
        assert labels.numpy()[:, 0].tolist() == [0, 1, 0, 1]
        np.testing.assert_array_equal(pictures[0::2], pictures[1::2])
        assert not np.array_equal(pictures[0], pictures[2])
    with pytest.raises(FakeclfError, match="pairs=true needs"):
        paired([alone])


def test_fewer_pictures_than_a_batch_still_train(examples: list[Example]) -> None:
    data, steps = training_batches(
        Pictures(examples[:5], 24), batch_size=32, augmentation=None, seed=0, epochs=range(2)
    )
    assert steps == 1
    assert [picture.shape[0] for picture, _ in data] == [5, 5]


def test_unreadable_pictures_are_counted_named_once_and_skipped(
    examples: list[Example], tmp_path: Path, caplog
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    pictures = Pictures([*examples, Example(str(broken), 0, "broken")], 32, cache=False)
    for _ in range(2):
        assert sum(len(picture) for picture, _ in batches(pictures, size=32)) == 20
    assert list(pictures.unreadable) == [str(broken)]
    assert len(pictures) == 20
    assert sum("broken.jpg" in record.getMessage() for record in caplog.records) == 1


def test_a_class_left_empty_is_an_error(examples: list[Example], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    reals = [example for example in examples if example.label == 1]
    with pytest.raises(FakeclfError, match="none of the 1 pictures of class FAKE can be read"):
        Pictures([*reals, Example(str(broken), 0, "broken")], 32)
    with pytest.raises(FakeclfError, match="no pictures in this split"):
        Pictures([], 32)


@pytest.mark.parametrize("seed", range(6))
def test_the_warp_is_image_data_generators(seed: int) -> None:
    """Against Keras' legacy implementation (scipy, one picture at a time), mirrored afterwards as it does.

    On a square: for others the legacy code takes the height for the width when it looks for the centre.
    """
    random = np.random.default_rng(seed)
    # Smooth, so that rounding in where a pixel falls does not matter.
    picture = keras.ops.image.resize(random.uniform(0, 255, (6, 7, 3)).astype("float32"), (48, 48)).numpy()
    values = {
        "angle": random.uniform(-20, 20),
        "down": random.uniform(-0.1, 0.1),
        "right": random.uniform(-0.1, 0.1),
        "shear": random.uniform(-20, 20),
        "zoom_y": random.uniform(0.8, 1.2),
        "zoom_x": random.uniform(0.8, 1.2),
        "mirror": float(seed % 2),
    }
    transforms = affine_transforms({name: tf.constant([value], tf.float32) for name, value in values.items()}, 48, 48)
    ours = tf.raw_ops.ImageProjectiveTransformV3(
        images=picture[np.newaxis],
        transforms=transforms,
        output_shape=[48, 48],
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )[0].numpy()
    theirs = apply_affine_transform(
        picture,
        theta=values["angle"],
        tx=values["right"] * 48,
        ty=values["down"] * 48,
        shear=values["shear"],
        zx=values["zoom_x"],
        zy=values["zoom_y"],
        row_axis=0,
        col_axis=1,
        channel_axis=2,
        fill_mode="nearest",
        order=1,
    )
    theirs = theirs[:, ::-1] if seed % 2 else theirs
    assert np.abs(ours - theirs).max() < 1.5


def test_no_augmentation_leaves_pixels_alone_and_a_mirror_only_mirrors() -> None:
    pictures = tf.random.stateless_uniform((8, 10, 12, 3), (1, 2))
    still = Augmentation(rotation=0, shift=0, zoom=0, shear=0, flip=False)
    np.testing.assert_array_equal(warp(pictures, still, tf.constant([0, 1], tf.int64)), pictures)
    mirrored = warp(pictures, Augmentation(0, 0, 0, 0, True), tf.constant([0, 1], tf.int64)).numpy()
    flipped = [np.array_equal(one, other[:, ::-1]) for one, other in zip(mirrored, pictures.numpy(), strict=True)]
    same = [np.array_equal(one, other) for one, other in zip(mirrored, pictures.numpy(), strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True)) and 0 < sum(flipped) < 8
