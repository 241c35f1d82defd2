"""The golden case (``mvss_net.npz``): an eighth of the width, computed by a PyTorch network of the authors' layout,
with weights that follow from the names in its state dictionary."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from segmentation.models import mvss_net

GOLDEN = Path(__file__).parents[1] / "golden" / "mvss_net.npz"
TO_TORCH = {"conv": (3, 2, 0, 1), "bayar": (1, 2, 0), "vector": (0,)}
"""How Keras' axes are ordered in PyTorch, by layout."""


def torch_shape(variable: keras.Variable, layout: str) -> tuple[int, ...]:
    return tuple(variable.shape[axis] for axis in TO_TORCH[layout])


def fill(model: keras.Model) -> None:
    for name, variable, layout in mvss_net.torch_weights(model):
        if name.startswith("sobel_") and name.endswith(".0.weight"):
            continue
        shape = torch_shape(variable, layout)
        random = np.random.default_rng(zlib.crc32(name.encode()))
        if name == "constrain_conv.kernel" or name.endswith("running_var"):
            # Sums over all channels are large; small variances would leave every gate fully open.
            value = random.uniform(0.5, 1.5, shape) * (1e6 if name.startswith("sobel_") else 1)
        elif name.endswith(("alpha", "beta")):
            value = np.full(shape, 2.0)
        else:
            value = random.standard_normal(shape)
            # The edge branch ends in relus on one channel, which weights of both signs would close.
            value = np.abs(value) if name.startswith("erb_") else value
            if layout == "conv":
                value *= np.sqrt(2 / np.prod(shape[1:]))
            elif name.endswith("bn3.weight"):
                value = 0.3 + 0.03 * value
            else:
                value = name.endswith("weight") + 0.1 * value
        variable.assign(value.transpose(np.argsort(TO_TORCH[layout])))


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the range of the golden values."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.ptp(theirs))


@pytest.fixture(scope="module")
def golden() -> Iterator[tuple[keras.Model, dict[str, np.ndarray]]]:
    model = mvss_net.build(width=0.125)
    fill(model)
    with np.load(GOLDEN) as file:
        yield model, dict(file)


def watched(model: keras.Model) -> keras.Model:
    """From pictures to logits, and what the two attentions give."""
    layers = {"mask": "mask_full", "edge": "erb_trans_3-add", "pam": "head-pam", "cam": "head-cam"}
    return keras.Model(model.input, {name: model.get_layer(layer).output for name, layer in layers.items()})


def test_it_reproduces_the_golden_logits_and_attentions(golden):
    model, expected = golden
    ours = watched(model)(expected["picture"].astype("float32"), training=False)
    for name in ("mask", "edge", "pam", "cam"):
        assert ours[name].shape == expected[name].shape
        assert difference(ours[name], expected[name]) < 1e-5, name


def test_without_any_one_branch_it_does_not(golden):
    model, expected = golden
    inner = watched(model)
    picture = tf.constant(expected["picture"], "float32")
    run = tf.function(lambda: inner(picture, training=False))
    variables = {name: variable for name, variable, _ in mvss_net.torch_weights(model)}
    mask = ["head.pam.alpha", "head.cam.beta", "head.pam.conv_d.weight", "head.conv_p2.1.weight"]
    mask += ["head.conv_c2.1.weight", "model.layer4.2.bn3.weight", "noise_extractor.model.layer4.2.bn3.weight"]
    edge = [f"erb_db_{number}.conv1.weight" for number in range(1, 5)]
    edge += [f"erb_trans_{number}.conv3.weight" for number in range(1, 4)]
    edge += [f"sobel_{axis}{number}.1.weight" for axis in "xy" for number in range(1, 5)]
    for output, names in (("mask", mask), ("edge", edge)):
        assert difference(run()[output], expected[output]) < 1e-5
        for name in names:
            before = variables[name].numpy().copy()
            variables[name].assign(np.zeros(before.shape))
            assert difference(run()[output], expected[output]) > 1e-4, name
            variables[name].assign(before)


def test_a_state_dictionary_of_the_authors_has_a_tensor_for_every_variable(golden):
    model, expected = golden
    ours = [(name, variable, torch_shape(variable, layout)) for name, variable, layout in mvss_net.torch_weights(model)]
    assert sorted(f"{name} {'x'.join(map(str, shape))}" for name, _, shape in ours) == expected["names"].tolist()
    assert {id(variable) for _, variable, _ in ours} == {
        id(weight) for weight in model.weights if "seed_generator" not in weight.path
    }
    assert not {name for name, _, _ in ours} & set(mvss_net.UNUSED_TENSORS)


def test_it_has_the_parameters_of_the_authors():
    model = mvss_net.build()
    statistics = sum(int(np.prod(w.shape)) for w in model.weights if w.name in ("moving_mean", "moving_variance"))
    seeds = sum(int(np.prod(w.shape)) for w in model.weights if "seed_generator" in w.path)
    assert model.count_params() - statistics - seeds == 142_782_335
    # The Sobel filters are fixed: two of 3 x 3 on each of 3,840 channels.
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 142_782_335 - 2 * 9 * 3840


@pytest.mark.parametrize("size", [(16, 48), (21, 34), (5, 3)])
def test_outputs_have_their_sizes_and_the_score_is_the_highest_of_the_mask(golden, size):
    model, _ = golden
    picture = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")
    made = {name: np.asarray(value) for name, value in model(picture, training=False).items()}
    assert set(made) == {"mask", "edge", "score"} and all(value.dtype == np.float32 for value in made.values())
    assert made["mask"].shape == (2, *size, 1)
    assert made["edge"].shape == (2, -(-size[0] // 4), -(-size[1] // 4), 1)
    np.testing.assert_allclose(made["score"], made["mask"].max(axis=(1, 2)), atol=1e-6)
    assert all(np.all((value >= 0) & (value <= 1)) for value in made.values())


def test_one_graph_serves_all_sizes_and_a_saved_model_is_the_same(golden, tmp_path):
    model, _ = golden
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    run = tf.function(
        lambda shown: again(shown, training=False), input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)]
    )
    for size in ((2, 16, 33), (1, 30, 20)):
        picture = np.random.default_rng(1).uniform(0, 255, (*size, 3)).astype("float32")
        expected = model(picture, training=False)
        for name, value in run(picture).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-4)


def test_all_three_outputs_reach_every_weight_in_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mvss_net.build(width=0.0625)
    finally:
        keras.config.set_dtype_policy(before)
    for layer, name in (("head-pam", "alpha"), ("head-cam", "beta")):
        # Nothing reaches what lies behind a share of 0.
        getattr(model.get_layer(layer), name).assign([0.1])
    picture = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    mask = np.zeros((2, 32, 32, 1), "float32")
    mask[0, 8:24, 8:24] = 1
    targets = {"mask": mask, "edge": mask[:, ::4, ::4], "score": np.array([[1.0], [0.0]])}

    with tf.GradientTape() as tape:
        made = model(picture, training=True)
        losses = [keras.losses.BinaryCrossentropy()(targets[name], made[name]) for name in targets]
    slopes = tape.gradient(losses, [weight.value for weight in model.trainable_weights])
    for weight, slope in zip(model.trainable_weights, slopes, strict=True):
        # A batch norm takes away what the bias before it adds, and a softmax what the key's bias adds to all scores.
        idle = weight.path.endswith(("conv2/bias", "key/bias"))
        assert np.isfinite(slope).all() and (idle or np.abs(slope).max() > 0), weight.path
