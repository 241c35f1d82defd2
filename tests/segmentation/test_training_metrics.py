"""Training metrics against the exact ones, in training, across devices, in half precision and after saving."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn import metrics as oracle

from segmentation import metrics
from segmentation.training_metrics import AUC, F1, IoU


def batches(count: int = 3, pictures: int = 4, side: int = 16) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth (b, h, w, 1) and P; every third picture has no inpainted pixel."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        share = rng.uniform(0.1, 0.5, (pictures, 1, 1, 1))
        share[::3] = 0
        truth = (rng.random((pictures, side, side, 1)) < share).astype(np.float32)
        p = 1 / (1 + np.exp(-(2 * truth - 1 + rng.normal(0, 1.5, truth.shape))))
        made.append((truth, p.astype(np.float32)))
    return made


def exact(made: list[tuple[np.ndarray, np.ndarray]], threshold: float = 0.5) -> dict[str, float]:
    truth, p = (np.concatenate(part) for part in zip(*made, strict=True))
    one_by_one = [metrics.localization(t, q, threshold) for t, q in zip(truth, p, strict=True)]

    def mean(name: str) -> float:
        return float(np.mean([one[name] for one in one_by_one if one[name] is not None]))

    return {
        "iou": mean("iou"),
        "auc": mean("auc"),
        "f1": oracle.f1_score(truth.ravel(), p.ravel() >= threshold),
        "pooled": oracle.roc_auc_score(truth.ravel(), p.ravel()),
    }


def fed(metric: keras.metrics.Metric, made: list[tuple[np.ndarray, np.ndarray]], **more: object) -> float:
    for truth, p in made:
        metric.update_state(truth, p, **more)
    return float(metric.result())


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_agrees_with_the_exact_figures(threshold: float) -> None:
    made = batches()
    expected = exact(made, threshold)
    assert fed(IoU(threshold), made) == pytest.approx(expected["iou"], abs=1e-6)
    assert fed(F1(threshold), made) == pytest.approx(expected["f1"], abs=1e-6)
    assert fed(AUC(), made) == pytest.approx(expected["auc"], abs=1e-3)
    assert fed(AUC(pooled=True), made) == pytest.approx(expected["pooled"], abs=1e-3)


def test_masks_without_a_channel_axis_and_grey_edges() -> None:
    made = batches(1)
    flat = [(truth[..., 0], p[..., 0]) for truth, p in made]
    grey = [(np.where(truth > 0, 0.5, 0.49).astype(np.float32), p) for truth, p in made]
    for metric in (IoU, F1, AUC):
        expected = fed(metric(), made)
        assert fed(metric(), flat) == fed(metric(), grey) == expected


def test_nothing_to_score_is_zero_and_reset_forgets() -> None:
    for metric in (IoU(), F1(), AUC(), AUC(pooled=True)):
        assert float(metric.result()) == 0
        first = fed(metric, batches(1))
        assert first > 0
        metric.reset_state()
        assert float(metric.result()) == 0
        assert fed(metric, batches(1)) == first
    pristine = [(np.zeros((2, 8, 8, 1)), np.full((2, 8, 8, 1), 0.1))]
    assert [fed(metric, pristine) for metric in (IoU(), F1(), AUC(), AUC(pooled=True))] == [0, 0, 0, 0]


def test_certain_answers_fall_into_the_outer_bins() -> None:
    truth = np.array([0, 0, 1, 1], np.float32).reshape(1, 2, 2, 1)
    for pooled in (False, True):
        assert fed(AUC(pooled), [(truth, truth)]) == 1
        assert fed(AUC(pooled), [(truth, 1 - truth)]) == 0
        assert fed(AUC(pooled), [(truth, np.full_like(truth, 0.7))]) == 0.5


def test_weights_are_of_pictures() -> None:
    made = batches(1)
    (truth, p) = made[0]
    for metric in (IoU, F1, AUC, lambda: AUC(pooled=True)):
        some = fed(metric(), [(truth[1:3], p[1:3])])
        assert fed(metric(), made, sample_weight=np.array([0.0, 1, 1, 0])) == pytest.approx(some, abs=1e-6)


def localizer() -> keras.Model:
    pictures = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(pictures)
    logits = keras.layers.Conv2D(1, 1, dtype="float32")(x)
    return keras.Model(pictures, {"mask": keras.layers.Activation("sigmoid", dtype="float32")(logits)})


def compiled() -> keras.Model:
    model = localizer()
    model.compile("adam", {"mask": "binary_crossentropy"}, metrics={"mask": [IoU(), F1(), AUC()]}, jit_compile=False)
    return model


def data(pictures: int = 8) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    truth = (rng.random((pictures, 16, 16, 1)) < 0.3).astype(np.float32)
    return (truth * 0.5 + rng.random((pictures, 16, 16, 3))).astype(np.float32), {"mask": truth}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_watches_a_training(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = compiled()
    finally:
        keras.config.set_dtype_policy("float32")
    pictures, truth = data()
    history = model.fit(pictures, truth, batch_size=3, epochs=3, verbose=0, validation_data=(pictures, truth)).history
    assert {"iou", "f1", "auc", "val_iou", "val_f1", "val_auc"} <= history.keys()
    p = model.predict(pictures, batch_size=4, verbose=0)["mask"]
    expected = exact([(truth["mask"], p)])
    found = model.evaluate(pictures, truth, batch_size=3, verbose=0, return_dict=True)
    for name in ("iou", "f1", "auc"):
        assert found[name] == pytest.approx(expected[name], abs=2e-3)
        assert history[f"val_{name}"][-1] == pytest.approx(expected[name], abs=2e-3)
    assert all(variable.dtype == "float32" for metric in model.metrics for variable in metric.variables)


def test_counts_do_not_round_in_half_precision() -> None:
    # bfloat16 has 8 bits: 257 pixels and more would be counted wrong.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = batches(6)
        assert fed(F1(), made) == pytest.approx(exact(made)["f1"], abs=1e-6)
    finally:
        keras.config.set_dtype_policy("float32")


def test_two_devices_count_what_one_does() -> None:
    import tensorflow as tf

    pictures, truth = data()
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        mirrored = compiled()
    alone = compiled()
    alone.set_weights(mirrored.get_weights())
    # Replicas get 2 pictures each, the last batch 1.
    together = mirrored.evaluate(pictures[:7], {"mask": truth["mask"][:7]}, batch_size=4, verbose=0, return_dict=True)
    one = alone.evaluate(pictures[:7], {"mask": truth["mask"][:7]}, batch_size=4, verbose=0, return_dict=True)
    for name in ("iou", "f1", "auc"):
        assert 0 < one[name] == pytest.approx(together[name], abs=1e-5)


def test_survives_saving(tmp_path: Path) -> None:
    pictures, truth = data(4)
    model = localizer()
    own = [IoU(0.3), F1(0.3), AUC(pooled=True, bins=64)]
    model.compile("sgd", {"mask": "binary_crossentropy"}, metrics={"mask": own})
    before = model.evaluate(pictures, truth, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(pictures, truth, verbose=0, return_dict=True) == pytest.approx(before)
    for metric in own:
        copied = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert copied.get_config() == metric.get_config()


@pytest.mark.parametrize("make", [lambda: IoU(1.5), lambda: F1(-0.1), lambda: AUC(bins=1)])
def test_arguments_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="Received"):
        make()
