from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import maximum_filter, minimum_filter

from fakeclf.errors import FakeclfError
from segmentation import losses


def pair(grey: bool = False, size: tuple[int, int] = (7, 9)) -> tuple[np.ndarray, np.ndarray]:
    """Masks and predictions of three pictures; the second mask is empty."""
    random = np.random.default_rng(0)
    truth = random.random((3, *size, 1)) if grey else (random.random((3, *size, 1)) < 0.3).astype(float)
    truth[1] = 0
    return truth.astype("float32"), random.random((3, *size, 1)).astype("float32")


def per_picture(name, **args):
    loss = losses.make(name, **args)
    loss.reduction = "none"
    return loss


def bce(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=(1, 2, 3))


def focal(y, p, gamma=2.0, alpha=None):
    p_t = y * p + (1 - y) * (1 - p)
    weight = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return (weight * (1 - p_t) ** gamma * entropy).mean(axis=(1, 2, 3))


def dice(y, p, power=1, smooth=1.0, axes=(1, 2, 3)):
    return 1 - (2 * (y * p).sum(axes) + smooth) / ((y**power).sum(axes) + (p**power).sum(axes) + smooth)


ORACLES = {
    "bce": ({}, bce),
    "focal": ({}, focal),
    "focal_alpha": ({}, lambda y, p: focal(y, p, 2.0, 0.25)),
    "dice": ({}, dice),
    "dice_squared": ({}, lambda y, p: dice(y, p, 2)),
    "bce_dice": ({}, lambda y, p: bce(y, p) + dice(y, p)),
    "focal_dice": ({}, lambda y, p: focal(y, p, 2.0, 0.75) + dice(y, p, 2)),
    "focal_bce": ({}, lambda y, p: focal(y, p, 2.0, 0.25) + bce(y, p)),
}
SETTINGS = {
    "focal": ({"gamma": 0.5, "alpha": 0.9}, lambda y, p: focal(y, p, 0.5, 0.9)),
    "dice": ({"smooth": 1e-3, "squared": True}, lambda y, p: dice(y, p, 2, 1e-3)),
    "bce_dice": ({"dice_weight": 0.3, "squared": True}, lambda y, p: bce(y, p) + 0.3 * dice(y, p, 2)),
    "focal_dice": (
        {"gamma": 1, "alpha": None, "dice_weight": 2.0},
        lambda y, p: focal(y, p, 1.0) + 2 * dice(y, p, 2),
    ),
}


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    "name, args, oracle",
    [(name, *case) for table in (ORACLES, SETTINGS) for name, case in table.items()],
)
def test_it_is_what_the_formula_says(name, args, oracle, grey):
    truth, guess = pair(grey)
    expected = oracle(truth.astype(float), guess.astype(float))
    np.testing.assert_allclose(np.asarray(losses.make(name, **args)(truth, guess)), expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(per_picture(name, **args)(truth, guess), expected, rtol=1e-5)


def test_the_oracles_cover_every_loss():
    assert set(losses.LOSSES) == {*ORACLES, "edge_dice", "score_bce"}


def test_dice_over_the_batch_sums_all_its_pictures():
    truth, guess = pair()
    expected = dice(truth.astype(float), guess.astype(float), axes=(0, 1, 2, 3))
    for loss in (losses.make("dice", over="batch"), per_picture("dice", over="batch")):
        np.testing.assert_allclose(loss(truth, guess), expected * np.ones(np.shape(loss(truth, guess))), rtol=1e-5)


def test_a_picture_does_not_depend_on_its_neighbours_and_weights_are_of_pictures():
    truth, guess = pair()
    for name in ORACLES:
        together = np.asarray(per_picture(name)(truth, guess))
        alone = [float(losses.make(name)(truth[i : i + 1], guess[i : i + 1])) for i in range(3)]
        np.testing.assert_allclose(together, alone, rtol=1e-5)
        weighted = losses.make(name)(truth, guess, sample_weight=np.array([0.0, 0.0, 3.0]))
        np.testing.assert_allclose(float(weighted), alone[2], rtol=1e-5)


@pytest.mark.parametrize("name", [*ORACLES, "edge_dice"])
def test_values_and_gradients_are_finite_at_0_and_1(name):
    truth = tf.constant(np.array([0, 1, 0.5] * 12, "float32").reshape(1, 6, 6, 1))
    for value in (0.0, 1.0):
        for args in ({}, {"gamma": 0}, {"gamma": 0.5}, {"smooth": 0.0}):
            if next(iter(args), "gamma") not in losses.arguments(name):
                continue
            guess = tf.Variable(tf.fill(truth.shape, value))
            with tf.GradientTape() as tape:
                loss = losses.make(name, **args)(truth, guess)
            assert np.isfinite(float(loss))
            assert np.all(np.isfinite(tape.gradient(loss, guess)))


@pytest.mark.parametrize("name", ORACLES)
def test_the_gradient_is_that_of_the_formula(name):
    truth, guess = pair(grey=True, size=(2, 3))
    variable = tf.Variable(guess)
    with tf.GradientTape() as tape:
        loss = losses.make(name)(truth, variable)
    gradient = np.asarray(tape.gradient(loss, variable))
    oracle, step = ORACLES[name][1], 1e-5
    for place in ((0, 0, 0, 0), (1, 1, 2, 0), (2, 0, 1, 0)):
        shift = np.zeros(guess.shape)
        shift[place] = step
        p, y = guess.astype(float), truth.astype(float)
        slope = (oracle(y, p + shift).mean() - oracle(y, p - shift).mean()) / (2 * step)
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-6)


def test_an_empty_prediction_of_an_empty_mask_costs_nothing():
    empty = np.zeros((2, 4, 4, 1), "float32")
    for name in (*ORACLES, "edge_dice"):
        assert abs(float(losses.make(name)(empty, empty))) < 1e-5
    assert abs(float(losses.make("dice", smooth=0.0)(empty, empty))) < 1e-5


def test_half_precision_predictions_are_compared_in_float32():
    truth, _ = pair()
    guess = tf.cast(tf.fill(truth.shape, 0.99), tf.bfloat16)
    expected = bce(truth.astype(float), np.asarray(guess, "float64")).mean()
    result = losses.make("bce")(truth, guess)
    assert result.dtype == "float32"
    np.testing.assert_allclose(float(result), expected, rtol=1e-5)


def test_edges_are_the_band_between_the_largest_and_the_smallest_value_around():
    truth, _ = pair(grey=True, size=(12, 15))
    for window in (3, 5):
        size = (1, window, window, 1)
        expected = maximum_filter(truth, size, mode="nearest") - minimum_filter(truth, size, mode="nearest")
        np.testing.assert_allclose(losses.mask_edges(truth, window), expected, atol=1e-7)
    square = np.zeros((1, 9, 9, 1), "float32")
    square[:, :5] = 1  # cut off by three borders, of which none is an edge
    assert np.flatnonzero(np.asarray(losses.mask_edges(square))[0, :, 4, 0]).tolist() == [4, 5]


def test_shrinking_keeps_every_pixel_that_is_set():
    for size, small in (((12, 16), (3, 4)), ((13, 10), (4, 5)), ((5, 5), (5, 5)), ((8, 8), (7, 3))):
        for row, column in np.ndindex(*size):
            mask = np.zeros((1, *size, 1), "float32")
            mask[0, row, column] = 1
            shrunk = np.asarray(losses.shrink_by_maximum(mask, *small))
            assert shrunk.shape == (1, *small, 1) and shrunk.max() == 1
            where = np.argwhere(shrunk[0, ..., 0])[0]
            assert np.all(np.abs(where - np.array([row, column]) * small / size) <= 1)


@pytest.mark.parametrize("small", [(12, 16), (3, 4)])
def test_edge_dice_compares_with_the_edge_of_the_mask(small):
    truth, _ = pair(size=(12, 16))
    edge = maximum_filter(truth, (1, 3, 3, 1), mode="nearest") - minimum_filter(truth, (1, 3, 3, 1), mode="nearest")
    ratio = 12 // small[0]
    edge = edge.reshape(3, small[0], ratio, small[1], ratio, 1).max(axis=(2, 4))
    guess = np.random.default_rng(1).random((3, *small, 1)).astype("float32")
    expected = dice(edge.astype(float), guess.astype(float), 2).mean()
    np.testing.assert_allclose(losses.make("edge_dice", squared=True)(truth, guess), expected, rtol=1e-5)
    assert float(losses.make("edge_dice")(truth, edge.astype("float32"))) < 1e-6


def test_edge_dice_at_sizes_unknown_when_traced():
    truth, _ = pair(size=(12, 16))
    guess = np.random.default_rng(1).random((3, 3, 4, 1)).astype("float32")
    loss = losses.make("edge_dice")
    unknown = tf.TensorSpec((None, None, None, 1), tf.float32)
    traced = tf.function(lambda y, p: loss(y, p), input_signature=[unknown, unknown])
    np.testing.assert_allclose(traced(truth, guess), loss(truth, guess), rtol=1e-6)


def test_the_score_is_held_against_a_label_or_against_the_mask():
    truth, _ = pair()
    score = np.array([[0.9], [0.2], [0.6]], "float32")
    label = np.array([[1.0], [0.0], [1.0]], "float32")
    expected = -np.mean(np.log([0.9, 0.8, 0.6]))
    for target in (truth, label, label[:, 0]):
        np.testing.assert_allclose(losses.make("score_bce")(target, score), expected, rtol=1e-5)


def test_mask_edge_and_score_train_together():
    keras.utils.set_random_seed(0)
    pictures = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(4, 3, 4, padding="same", activation="relu")(pictures)
    edge = keras.layers.Conv2D(1, 1, activation="sigmoid", name="edge")(features)
    mask = keras.layers.Conv2DTranspose(1, 4, 4, activation="sigmoid", name="mask")(features)
    score = keras.layers.GlobalMaxPooling2D(name="score")(mask)
    model = keras.Model(pictures, {"mask": mask, "edge": edge, "score": score})
    model.compile(
        keras.optimizers.Adam(0.01),
        {"mask": losses.make("dice"), "edge": losses.make("edge_dice"), "score": losses.make("score_bce")},
        loss_weights={"mask": 0.16, "edge": 0.8, "score": 0.04},
    )
    truth = np.zeros((4, 16, 16, 1), "float32")
    truth[:3, 4:12, 4:12] = 1
    targets = {"mask": truth, "edge": truth, "score": truth}
    history = model.fit(truth * [[[[1.0, 1.0, 1.0]]]], targets, epochs=15, verbose=0).history["loss"]
    assert np.all(np.isfinite(history)) and history[-1] < history[0]


@pytest.mark.parametrize("name", losses.LOSSES)
def test_it_survives_saving(name):
    truth, guess = pair()
    args = {"focal": {"gamma": 3.0, "alpha": 0.1}, "edge_dice": {"window": 5}, "dice": {"over": "batch"}}.get(name, {})
    loss = losses.make(name, **args)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    guess = guess.max(axis=(1, 2)) if name == "score_bce" else guess
    assert float(again(truth, guess)) == float(loss(truth, guess))


@pytest.mark.parametrize(
    "name, args, words",
    [
        ("focal_dise", {}, ("focal_dise", "focal_dice")),
        ("zzz", {}, ("zzz", "bce_dice", "score_bce")),
        ("focal", {"gama": 1}, ("gama", "gamma")),
        ("bce", {"gamma": 1}, ("gamma", "no arguments")),
        ("focal", {"alpha": 1.5}, ("alpha", "between 0 and 1", "1.5")),
        ("focal", {"alpha": "none"}, ("alpha", "'none'")),
        ("focal", {"gamma": -1}, ("gamma", "0 or more", "-1")),
        ("focal_dice", {"dice_weight": -1}, ("dice_weight", "-1")),
        ("dice", {"over": "pixels"}, ("over", "picture or batch", "pixels")),
        ("edge_dice", {"window": 4}, ("window", "odd", "4")),
    ],
)
def test_what_is_wrong_is_named(name, args, words):
    with pytest.raises(FakeclfError) as raised:
        losses.make(name, **args)
    message = str(raised.value)
    assert "\n" not in message and all(word in message for word in words)
