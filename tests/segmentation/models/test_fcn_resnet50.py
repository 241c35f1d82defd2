from __future__ import annotations

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from segmentation.models import fcn_resnet50


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def test_it_has_the_parameters_and_names_of_torchvision():
    model = fcn_resnet50.build(auxiliary=True)
    trainable = {id(weight) for weight in model.trainable_weights}
    found = {name: variable for name, variable, _ in fcn_resnet50.torch_weights(model)}
    counts = {name: int(np.prod(v.shape)) for name, v in found.items() if id(v) in trainable}
    assert sum(counts.values()) == model.count_params() - sum(np.prod(v.shape) for v in model.non_trainable_weights)
    assert sum(counts.values()) == 35_306_818
    assert sum(count for name, count in counts.items() if not name.startswith("aux_")) == 32_946_753
    heads = {name: tuple(v.shape) for name, v in found.items() if "backbone" not in name}
    for name, wide, narrow in (("classifier", 2048, 512), ("aux_classifier", 1024, 256)):
        assert heads.pop(f"{name}.0.weight") == (3, 3, wide, narrow)
        for part in ("weight", "bias", "running_mean", "running_var"):
            assert heads.pop(f"{name}.1.{part}") == (narrow,)
        assert heads.pop(f"{name}.4.weight") == (1, 1, narrow, 1)
        assert heads.pop(f"{name}.4.bias") == (1,)
    assert not heads and "backbone.layer4.2.conv3.weight" in found


def test_the_head_is_what_a_plain_computation_gives():
    model = fcn_resnet50.build(width=1 / 16, auxiliary=True)
    weights = {}
    for name, variable, kind in fcn_resnet50.torch_weights(model):
        random = np.random.default_rng(len(weights))
        if kind == "vector":
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        weights[name] = np.asarray(variable)
    picture = noise(1, 16, 24, 3)
    for name, stage, output in (
        ("classifier", "backbone-layer4-2-relu3", "mask"),
        ("aux_classifier", "backbone-layer3-5-relu3", "auxiliary"),
    ):
        x = np.asarray(keras.Model(model.input, model.get_layer(stage).output)(picture))[0]
        windows = sliding_window_view(np.pad(x, ((1, 1), (1, 1), (0, 0))), (3, 3), (0, 1))
        y = np.einsum("hwcij,ijco->hwo", windows, weights[f"{name}.0.weight"])
        y = (y - weights[f"{name}.1.running_mean"]) / np.sqrt(weights[f"{name}.1.running_var"] + 1e-5)
        y = np.maximum(y * weights[f"{name}.1.weight"] + weights[f"{name}.1.bias"], 0)
        y = y @ weights[f"{name}.4.weight"][0, 0] + weights[f"{name}.4.bias"]
        rows, columns = enlargement(y.shape[0]), enlargement(y.shape[1])
        logits = np.einsum("hp,hwc,wq->pqc", rows, y, columns)
        np.testing.assert_allclose(np.asarray(model(picture)[output])[0], 1 / (1 + np.exp(-logits)), atol=1e-5)


def enlargement(side: int) -> np.ndarray:
    """(side, 8 side): how much each pixel of a map counts for those of the map enlarged by 8, half-pixel centres."""
    places = (np.arange(8 * side) + 0.5) / 8 - 0.5
    return np.stack([np.interp(places, np.arange(side), line) for line in np.eye(side)])


def test_pictures_of_any_size():
    model = fcn_resnet50.build(width=1 / 16)
    for size in ((32, 40), (37, 51), (9, 3)):
        mask = np.asarray(model(noise(2, *size, 3))["mask"])
        assert mask.shape == (2, *size, 1) and mask.dtype == "float32"
        assert np.all((mask >= 0) & (mask <= 1))


def test_tiles_give_what_the_whole_picture_gives():
    model = fcn_resnet50.build(width=1 / 16)
    picture = noise(1, 21, 640, 3)
    whole = np.asarray(model(picture)["mask"])
    reach = fcn_resnet50.REACH
    left, right = np.asarray(model(picture[:, :, :552])["mask"]), np.asarray(model(picture[:, :, 88:])["mask"])
    np.testing.assert_allclose(left[:, :, : 552 - reach], whole[:, :, : 552 - reach], atol=1e-5)
    np.testing.assert_allclose(right[:, :, reach:], whole[:, :, 88 + reach :], atol=1e-5)


def test_it_learns_saves_and_loads(tmp_path):
    keras.utils.set_random_seed(0)
    model = fcn_resnet50.build(width=1 / 16, auxiliary=True)
    pictures, truth = noise(4, 24, 24, 3) * 0.2, np.zeros((4, 24, 24, 1), "float32")
    truth[:, :, 8:] = 1
    pictures += truth * 150
    losses = {"mask": "binary_crossentropy", "auxiliary": "binary_crossentropy"}
    # SGD, whose graph is traced in a quarter of Adam's time.
    model.compile(keras.optimizers.SGD(0.05), losses, jit_compile=False)
    targets = {"mask": truth, "auxiliary": truth}
    history = model.fit(pictures, targets, batch_size=4, epochs=12, verbose=0).history["mask_loss"]
    assert history[-1] < 0.6 * history[0]
    model.save(tmp_path / "fcn.keras")
    again = keras.saving.load_model(tmp_path / "fcn.keras", compile=False, safe_mode=True)
    odd = noise(1, 21, 30, 3)
    np.testing.assert_allclose(again(odd)["mask"], model(odd)["mask"], atol=1e-6)


def test_half_precision_keeps_the_mask_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = fcn_resnet50.build(width=1 / 16)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("backbone-conv1").compute_dtype == "bfloat16"
    assert model(noise(1, 16, 16, 3))["mask"].dtype == "float32"
