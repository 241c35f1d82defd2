from __future__ import annotations

import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import correlate

from fakeclf.errors import FakeclfError
from segmentation.models import nix_net
from segmentation.models.resnet import layer_name

GOLDEN = Path(__file__).parents[1] / "golden"
INNER = {"res_1_x": 32, "res_3_x": 32, "conv_1": 32, "conv_3": 64}
"""Blocks whose output the golden files hold, and which channels: every 32nd, every 64th."""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def torch_shape(variable: keras.Variable, kind: str) -> tuple[int, ...]:
    shape = tuple(variable.shape)
    return (shape[3], shape[2], shape[0], shape[1]) if kind == "conv" else shape


def fill(model: keras.Model) -> None:
    """Weights by the rule the golden outputs were made with: a function of each tensor's name and shape."""
    for name, variable, kind in nix_net.torch_weights(model):
        shape = torch_shape(variable, kind)
        z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype("float32")
        if kind == "conv":
            spread = 0.2 if name == "upsample_3.conv.weight" else np.sqrt(2)
            value = (spread * z / np.sqrt(np.prod(shape[1:]))).transpose(2, 3, 1, 0)
        elif name.endswith("running_var"):
            value = 1 + 0.1 * np.abs(z)
        else:
            value = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
        variable.assign(value)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the range of the authors' values."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.ptp(theirs))


@pytest.fixture(scope="module", params=["40", "60"])
def golden(request):
    """A network of full width with the golden weights, and what the authors' code gave."""
    model = nix_net.build(size=f"{request.param}M")
    fill(model)
    with np.load(GOLDEN / f"nix_net_{request.param}.npz") as file:
        return request.param, model, dict(file)


def parameters(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_it_reproduces_the_authors_logits_and_inner_maps(golden):
    _, model, expected = golden
    core = model.get_layer("core")
    ends = {name: core.get_layer(f"{name}-{'relu2' if 'res' in name else 'conv2-2'}").output for name in INNER}
    watched = keras.Model(core.inputs, {**ends, "logits": core.output})
    ours = watched([expected["image"], expected["noise"]])
    assert difference(ours["logits"], expected["logits"]) < 1e-5
    for name, step in INNER.items():
        assert difference(np.asarray(ours[name])[..., ::step], expected[name]) < 1e-5


def test_it_has_the_parameters_and_names_of_the_state_dictionary(golden):
    size, model, expected = golden
    assert parameters(model) == {"40": 39_442_053, "60": 60_046_853}[size]
    names = [
        f"{name} {'x'.join(map(str, torch_shape(variable, kind)))}"
        for name, variable, kind in nix_net.torch_weights(model)
    ]
    assert sorted(names) == sorted(expected["tensors"].tolist())


def test_without_any_one_branch_it_does_not(golden):
    size, model, expected = golden
    if size != "40":
        pytest.skip("one size is enough")
    core = model.get_layer("core")
    run = tf.function(lambda: core([expected["image"], expected["noise"]], training=False))
    ends = [f"res_{number}_{mark}.{end}" for number in "123" for mark in "xr" for end in ("bn2", "shortcut.1")]
    ends += [
        f"fusion_{number}.{path}.conv"
        for number in "123"
        for path in ("upsample_1", "upsample_2.1", "upsample_3", "stride_1", "stride_2.1", "stride_3")
    ]
    ends += ["upsample_1.conv", "upsample_2.1.conv", "conv_1.conv2.1", "conv_2.conv2.1", "conv_3.conv2.1"]
    assert difference(run(), expected["logits"]) < 1e-5
    for name in ends:
        weights = core.get_layer(layer_name(name)).trainable_weights
        before = [keras.ops.convert_to_numpy(weight).copy() for weight in weights]
        for weight in weights:
            weight.assign(np.zeros(weight.shape))
        assert difference(run(), expected["logits"]) > 1e-4, name
        for weight, value in zip(weights, before, strict=True):
            weight.assign(value)
    assert difference(run(), expected["logits"]) < 1e-5


def test_the_largest_size_has_the_parameters_of_the_paper():
    model = nix_net.build(size="85M")
    assert parameters(model) == 85_226_501
    shapes = {name: torch_shape(variable, kind) for name, variable, kind in nix_net.torch_weights(model)}
    assert shapes["upsample_1.conv.weight"] == (512, 512, 1, 1)
    assert shapes["upsample_2.0.conv.weight"] == shapes["upsample_2.1.conv.weight"] == (1024, 1024, 1, 1)
    assert shapes["conv_4.conv2.0.weight"] == (1, 1792, 3, 3)


@pytest.mark.parametrize("case", ["residual", "residual_clipped"])
def test_the_residual_is_that_of_the_authors(case):
    with np.load(GOLDEN / "nix_net_residual.npz") as file:
        picture, expected = file[case], file[f"{case}_output"]
    assert np.abs(nix_net.residual(picture) - expected).max() < 1e-4
    assert np.abs(np.asarray(nix_net.NoiseResidual()(picture[None]))[0] - expected).max() < 1e-4


def test_the_residual_of_the_paper_is_what_a_pixels_neighbours_do_not_predict():
    picture = np.random.default_rng(0).integers(0, 256, (19, 23, 3)).astype("float32")
    grey = picture.astype(float).mean(axis=2) / 255
    second = np.array([[-1, 2, -1], [2, 0, 2], [-1, 2, -1]]) / 4
    square = np.array([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, 0, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]])
    line = np.array([[1, 0, 1]]) / 2
    predicted = [correlate(grey, weights, mode="reflect") for weights in (second, square / 12, line)]
    expected = np.clip(grey[..., None] - np.stack(predicted, axis=-1), -1, 1)
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(nix_net.residual(picture, "srm"), expected, atol=1e-5)


@pytest.mark.parametrize("kind", nix_net.RESIDUALS)
def test_the_residual_in_strips_is_that_of_the_whole_and_each_picture_has_its_own_extremes(kind):
    pictures = noise(2, 37, 20, 3)
    pictures[1] = pictures[1] * 0.002  # dark: little is clipped
    whole = np.asarray(nix_net.NoiseResidual(kind)(pictures))
    for picture, expected in zip(pictures, whole, strict=True):
        assert expected.min() == 0 and expected.max() == 1
        for rows in (1, 10, 37, 512):
            np.testing.assert_allclose(nix_net.residual(picture, kind, rows), expected, atol=1e-6)


def test_a_residual_without_spread_gives_zeros():
    for kind, value in (("adler2023", 0), ("srm", 0), ("srm", 200)):
        picture = np.full((1, 9, 12, 3), value, "float32")
        assert not np.any(nix_net.NoiseResidual(kind)(picture))
        assert not np.any(nix_net.residual(picture[0], kind))


def test_tiles_of_the_core_give_what_the_whole_picture_gives():
    model = nix_net.build(width=1 / 16, residual="srm")
    picture = noise(1, 24, 240, 3) * np.linspace(0.2, 1, 240, dtype="float32")[:, None]
    whole = np.asarray(model(picture)["mask"])
    image, residual = picture / 255, nix_net.residual(picture[0], "srm")[None]
    core, reach = model.get_layer("core"), nix_net.REACH
    left = tf.sigmoid(core([image[:, :, :168], residual[:, :, :168]]))
    right = tf.sigmoid(core([image[:, :, 72:], residual[:, :, 72:]]))
    np.testing.assert_allclose(left[:, :, : 168 - reach], whole[:, :, : 168 - reach], atol=1e-5)
    np.testing.assert_allclose(right[:, :, reach:], whole[:, :, 72 + reach :], atol=1e-5)
    # Scaled by its own extremes, a tile gives something else.
    own = np.asarray(model(picture[:, :, :168])["mask"])
    assert np.abs(own - whole[:, :, :168])[:, :, : 168 - reach].max() > 1e-3


@pytest.mark.parametrize("row", nix_net.ABLATIONS)
def test_each_ablation_of_the_paper(row, tmp_path):
    keras.utils.set_random_seed(0)
    args = nix_net.ABLATIONS[row]
    model = nix_net.build(width=1 / 16, **args)
    names = {name for name, _, _ in nix_net.torch_weights(model)}
    for wanted, beginning in (
        (args.get("image_stream", True), "res_1_x"),
        (args.get("noise_stream", True), "res_1_r"),
        (args.get("image_stream", True) and args.get("fusion_1_2", True), "fusion_1"),
        (args.get("noise_stream", True) and args.get("fusion_1_2", True), "fusion_2"),
        (args.get("fusion_3", True), "fusion_3"),
    ):
        assert any(name.startswith(beginning) for name in names) == wanted
    core = model.get_layer("core")
    image, residual = noise(1, 16, 24, 3) / 255, noise(1, 16, 24, 3, seed=1) / 255
    logits = core([image, residual])
    assert np.any(core([1 - image, residual]) != logits) == args.get("image_stream", True)
    assert np.any(core([image, 1 - residual]) != logits) == args.get("noise_stream", True)
    if row not in ("full", "without noise stream"):
        return
    model.save(tmp_path / "nix.keras")
    again = keras.saving.load_model(tmp_path / "nix.keras", compile=False, safe_mode=True)
    odd = noise(1, 21, 30, 3)
    np.testing.assert_allclose(again(odd)["mask"], model(odd)["mask"], atol=1e-6)
    np.testing.assert_allclose(again.get_layer("core")([image, residual]), logits, atol=1e-6)


@pytest.mark.parametrize("residual", nix_net.RESIDUALS)
def test_pictures_of_any_size(residual):
    model = nix_net.build(width=1 / 32, residual=residual)
    assert model.get_layer("residual").kind == residual
    for size in ((32, 40), (37, 51), (9, 2)):
        mask = np.asarray(model(noise(2, *size, 3))["mask"])
        assert mask.shape == (2, *size, 1) and mask.dtype == "float32"
        assert np.all((mask >= 0) & (mask <= 1))


def test_every_weight_learns_from_the_start():
    model = nix_net.build(width=1 / 16)
    # A bias in front of a batch norm changes nothing.
    idle = {f"conv_{block}.conv{number}.0.bias" for block in "1234" for number in "12"}
    with tf.GradientTape() as tape:
        mask = model(noise(2, 32, 40, 3), training=True)["mask"]
        loss = tf.reduce_mean(-tf.math.log(mask))
    trained = [(n, v) for n, v, _ in nix_net.torch_weights(model) if "running" not in n and n not in idle]
    gradients = tape.gradient(loss, [variable.value for _, variable in trained])
    for (name, _), gradient in zip(trained, gradients, strict=True):
        assert gradient is not None and float(tf.reduce_max(tf.abs(gradient))) > 1e-7, name


def test_the_last_relu_is_alive_at_the_start():
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        mask = np.asarray(nix_net.build(width=1 / 16)(noise(2, 32, 40, 3, seed=seed), training=True)["mask"])
        lowest = 1 / (1 + np.exp(2))  # where the bias alone is the logit
        assert np.mean(mask < lowest + 1e-6) < 0.1
        assert 0.3 < np.mean(mask) < 0.7


def test_it_learns():
    keras.utils.set_random_seed(0)
    model = nix_net.build(width=1 / 16)
    pictures, truth = np.full((4, 24, 24, 3), 120, "float32"), np.zeros((4, 24, 24, 1), "float32")
    truth[:, :, 8:] = 1
    pictures += np.where(truth, 0.2, 20) * np.random.default_rng(0).normal(size=pictures.shape).astype("float32")
    # SGD, whose graph is traced in a quarter of Adam's time.
    model.compile(keras.optimizers.SGD(0.05), {"mask": "binary_crossentropy"}, jit_compile=False)
    history = model.fit(pictures, {"mask": truth}, batch_size=4, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_half_precision_keeps_residual_and_mask_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = nix_net.build(width=1 / 16)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("core").get_layer("res_1_x-conv1").compute_dtype == "bfloat16"
    picture = noise(1, 16, 24, 3)
    assert model(picture)["mask"].dtype == "float32"
    inner = keras.Model(model.input, model.get_layer("residual").output)
    np.testing.assert_array_equal(inner(picture), nix_net.NoiseResidual(dtype="float32")(picture))


@pytest.mark.parametrize(
    "args, words",
    [
        ({"size": "50M"}, ("50M", "did you mean")),
        ({"residual": "sram"}, ("sram", "srm")),
        ({"image_stream": False, "noise_stream": False}, ("image_stream", "noise_stream")),
    ],
)
def test_what_is_wrong_is_named(args, words):
    with pytest.raises(FakeclfError) as raised:
        nix_net.build(width=1 / 32, **args)
    assert all(word in str(raised.value) for word in words)
