from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from fakeclf.errors import FakeclfError
from fakeclf.models import densenet, xception
from fakeclf.models.ensemble import Logit, assemble, build_head
from fakeclf.models.layers import picture_input


def tiny_classifier(size: int, seed: int, name: str = "tiny") -> keras.Model:
    """A convolution, a batch norm and a dropout, working at ``size`` px."""
    keras.utils.set_random_seed(seed)
    pictures, x = picture_input(size, "resize")
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    real = layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=3))(x)
    return keras.Model(pictures, real, name=name)


def pictures(count: int = 3, height: int = 37, width: int = 51) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, height, width, 3)).astype("float32")


def as_array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def members() -> list[keras.Model]:
    """Three members of two sizes, two of them of one name."""
    return [tiny_classifier(16, 1), tiny_classifier(24, 2), tiny_classifier(16, 3, "other")]


@pytest.mark.parametrize("inputs", ["probability", "logit"])
@pytest.mark.parametrize("hidden", [0, 5])
def test_output_is_the_head_on_the_members_outputs(inputs, hidden):
    parts, head = members(), build_head(3, hidden, inputs=inputs, seed=7)
    together = np.concatenate([part.predict(pictures(), verbose=0) for part in parts], axis=1)
    whole = assemble(parts, head).predict(pictures(), verbose=0)
    assert whole.shape == (3, 1)
    np.testing.assert_allclose(whole, head.predict(together, verbose=0), atol=1e-6)
    assert np.ptp(whole) > 1e-4


def test_names_repeat_and_the_members_keep_theirs():
    parts = members()
    whole = assemble(parts, build_head(3))
    assert [part.name for part in parts] == ["tiny", "tiny", "other"]
    assert {"tiny", "tiny_2", "other"} <= {layer.name for layer in whole.layers}
    twice = assemble([parts[0], parts[0]], build_head(2))
    assert twice.predict(pictures(), verbose=0).shape == (3, 1)


@pytest.mark.parametrize("frozen", [True, False])
def test_keras_file_round_trip_in_safe_mode(tmp_path, frozen):
    whole = assemble(members(), build_head(3, 4, dropout=0.2, l2=0.01, inputs="logit"), frozen=frozen)
    whole.save(tmp_path / "whole.keras")
    again = keras.models.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(again.predict(pictures(), verbose=0), whole.predict(pictures(), verbose=0), atol=1e-6)
    assert len(again.trainable_variables) == len(whole.trainable_variables)


def test_frozen_members_stay_as_they_are_and_the_head_learns():
    parts, head = members(), build_head(3)
    before = [w for part in parts for w in part.get_weights()]
    head_before = head.get_weights()
    fit(assemble(parts, head, frozen=True))
    after = [w for part in parts for w in part.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not np.allclose(head_before[0], head.get_weights()[0])


def test_unfrozen_members_learn():
    parts = members()
    whole = assemble(parts, build_head(3), frozen=False)
    assert len(whole.trainable_variables) == 3 * 6 + 2
    before = [part.get_weights()[0] for part in parts]
    fit(whole)
    assert all(not np.allclose(old, part.get_weights()[0]) for old, part in zip(before, parts, strict=True))


def fit(model: keras.Model) -> None:
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    model.fit(pictures(8), np.tile([[0.0], [1.0]], (4, 1)), batch_size=4, epochs=2, verbose=0)


def test_a_frozen_member_runs_as_at_prediction_while_the_head_trains():
    parts = members()
    whole = assemble(parts, build_head(3), frozen=True)
    x = pictures()
    np.testing.assert_allclose(as_array(whole(x, training=True)), as_array(whole(x, training=False)), atol=1e-6)


def test_parameters_are_the_reports():
    parts = [densenet.build(input_size=224), xception.build(input_size=224)]
    head = build_head(2)
    assert [part.count_params() for part in parts] == [7_398_769, 20_863_529]
    assert head.count_params() == 3
    assert assemble(parts, head, frozen=False).count_params() == 28_262_301


def test_logits_are_finite_and_exact():
    p = np.array([[0.0, 1e-9, 0.25, 0.5, 0.999, 1.0]], "float32")
    x = as_array(Logit()(p))[0]
    assert np.all(np.isfinite(x))
    np.testing.assert_allclose(x[2:5], np.log(p[0, 2:5] / (1 - p[0, 2:5])), rtol=1e-4, atol=1e-6)
    assert x[0] == pytest.approx(-13.8, abs=0.1) and x[-1] == pytest.approx(13.8, abs=0.1)


def test_a_seed_gives_the_same_head():
    first, second = build_head(2, 3, seed=5), build_head(2, 3, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    other = build_head(2, 3, seed=6)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize(
    "arguments", [{"hidden_units": -1}, {"dropout": 1.0}, {"l2": -0.1}, {"inputs": "score"}, {"members": 0}]
)
def test_wrong_head_arguments_are_named(arguments):
    with pytest.raises(FakeclfError, match="members|hidden_units|inputs"):
        build_head(**{"members": 2, **arguments})


def test_what_is_no_classifier_and_a_head_of_another_width_are_refused():
    pixels = keras.Input((None, None, 3))
    localizer = keras.Model(pixels, layers.Conv2D(1, 3, padding="same")(pixels), name="localizer")
    with pytest.raises(FakeclfError, match="localizer gives"):
        assemble([tiny_classifier(16, 1), localizer], build_head(2))
    with pytest.raises(FakeclfError, match="there are 2 members"):
        assemble(members()[:2], build_head(3))
    with pytest.raises(FakeclfError, match="at least one member"):
        assemble([], build_head(1))
