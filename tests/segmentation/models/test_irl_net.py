"""The golden case: what the authors' code made of weights that follow from their numbers (``irl_net.npz``)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fakeclf.errors import FakeclfError
from segmentation.models import irl_net

GOLDEN = Path(__file__).parents[1] / "golden"
ORDER = json.loads((GOLDEN / "irl_net.json").read_text())
"""Our variables in the order of the authors' weights, by fusion."""

BLOCKS = [(stage, block) for stage, count in enumerate((2, 5, 7, 7)) for block in range(count)]


def fill(model: keras.Model, order: list[str]) -> None:
    """Weights by the rule the golden outputs were made with: a function of each tensor's number and shape."""
    variables = {weight.path: weight for weight in model.weights}
    assert set(variables) == {*order, "attention/alpha"}
    for number, path in enumerate(order):
        shape = tuple(variables[path].shape)
        random = np.random.default_rng(zlib.crc32(f"w{number:03}".encode()))
        if path.startswith("bayar/"):
            value = random.uniform(0.5, 1.5, shape)
        elif path.endswith("bias"):
            value = 0.05 * random.standard_normal(shape)
        else:
            value = random.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
        variables[path].assign(value)
    # Large, so that the attention shows.
    variables["attention/alpha"].assign([250.0])


def core(**args) -> keras.Model:
    x = keras.Input((None, None, 3))
    return keras.Model(x, irl_net.network(x, **args))


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the range of the authors' values."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.ptp(theirs))


@pytest.fixture(scope="module", params=["early", "late"])
def golden(request: pytest.FixtureRequest) -> Iterator[tuple[str, keras.Model, np.ndarray, np.ndarray]]:
    model = core(fusion=request.param, softmax="joint")
    fill(model, ORDER[request.param])
    with np.load(GOLDEN / "irl_net.npz") as file:
        yield request.param, model, file["input"], file[request.param]


def test_it_reproduces_the_authors_logits(golden):
    _, model, picture, expected = golden
    assert difference(model(picture), expected) < 1e-5


def branches(fusion: str) -> list[str]:
    """Beginnings of the paths of weights that, set to 0, close one way through the network."""
    if fusion == "early":
        names = ["bayar/", "plain/"] + [f"scales-{size}x{size}/" for size in (7, 5, 3)]
        names += [f"encoder-{s}-{b}-{part}" for s, b in BLOCKS for part in ("conv2/", "se/excite/")]
        names += [f"encoder-{stage}-0-skip/" for stage in range(4)]
        names += [f"decoder-{level}-conv2/" for level in (1, 2, 3)] + ["attention/value/"]
    else:
        names = ["bayar/", "plain/", "join_quarter-conv/"]
        for way in ("bayar", "plain"):
            names += [f"{way}-scales-{size}x{size}/" for size in (7, 5, 3)]
            names += [f"{way}-encoder-{stage}-{part}" for stage in range(4) for part in ("0-skip/", "1-conv2/")]
    return [*names, "attention/alpha", "attention/query/", "attention/key/"]


def test_without_any_one_branch_it_does_not(golden):
    fusion, model, picture, expected = golden
    run = tf.function(lambda: model(picture, training=False))
    for name in branches(fusion):
        weights = [weight for weight in model.weights if weight.path.startswith(name)]
        before = [weight.numpy().copy() for weight in weights]
        assert weights, name
        for weight in weights:
            weight.assign(np.zeros(weight.shape))
        assert difference(run(), expected) > 1e-4, name
        for weight, value in zip(weights, before, strict=True):
            weight.assign(value)
    assert difference(run(), expected) < 1e-5


def test_softmax_over_rows_is_another_network(golden):
    fusion, model, picture, expected = golden
    rows = core(fusion=fusion, softmax="rows")
    rows.set_weights(model.get_weights())
    assert difference(rows(picture), expected) > 1e-2


@pytest.mark.parametrize(
    "fusion, count, alpha", [("early", 13_536_598, 1), ("middle", 13_571_350, 0), ("late", 25_503_510, 1)]
)
def test_it_has_the_parameters_of_the_authors(fusion, count, alpha):
    model = irl_net.build(fusion=fusion)
    assert model.count_params() == count + alpha
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == count + alpha
    assert {weight.path for weight in model.weights if "attention" in weight.path} == (
        {"attention/alpha", *(f"attention/{part}/{kind}" for part in ("query", "key", "value") for kind in KINDS)}
        if alpha
        else set()
    )


KINDS = ("kernel", "bias")


def test_the_ablations_leave_out_what_they_say():
    full, *others = (
        {weight.path for weight in irl_net.build(width=0.125, **args).weights}
        for args in reversed(irl_net.ABLATIONS.values())
    )
    attention = {path for path in full if path.startswith("attention/")}
    se = {path for path in full if "/squeeze/" in path or "/excite/" in path}
    assert len(attention) == 7 and len(se) == 4 * len(BLOCKS)
    assert others[0] == full - attention
    assert others[1] == full - attention - se
    norms = {
        f"encoder-{stage}-{block}-norm{number}/{part}"
        for stage, block in BLOCKS
        for number in (1, 2)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    assert others[2] == others[1] | norms


@pytest.mark.parametrize("fusion", irl_net.FUSIONS)
def test_attention_can_be_asked_for_and_left_out_in_any_fusion(fusion):
    for attention in (True, False):
        model = irl_net.build(width=0.0625, fusion=fusion, attention=attention, se=False)
        assert any("attention" in weight.path for weight in model.weights) == attention
        assert not (fusion == "late" and not attention and any("join_quarter" in w.path for w in model.weights))
        assert model(np.full((1, 9, 17, 3), 99, "float32"))["mask"].shape == (1, 9, 17, 1)


def test_kernels_from_the_scales_through_the_encoder_decay():
    model = irl_net.build(width=0.0625, fusion="late")
    kernels = [
        weight
        for weight in model.weights
        if ("-scales-" in weight.path or "-encoder-" in weight.path)
        and weight.path.endswith("kernel")
        and "/squeeze/" not in weight.path
        and "/excite/" not in weight.path
    ]
    assert len(kernels) == 2 * (3 + 2 * len(BLOCKS) + 4)
    expected = 1e-3 * sum(float(np.sum(kernel.numpy().astype(float) ** 2)) for kernel in kernels)
    assert len(model.losses) == len(kernels)
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-4)


def test_the_mask_of_an_odd_picture_is_that_of_its_reflection_cut_back():
    model = irl_net.build(width=0.125)
    model.get_layer("attention").alpha.assign([0.5])
    picture = np.random.default_rng(0).uniform(0, 255, (1, 21, 34, 3)).astype("float32")
    padded = np.pad(picture, ((0, 0), (0, 3), (0, 6), (0, 0)), "reflect")
    whole, cut = (np.asarray(model(shown)["mask"]) for shown in (padded, picture))
    assert cut.shape == (1, 21, 34, 1) and cut.dtype == np.float32
    np.testing.assert_allclose(cut, whole[:, :21, :34], atol=1e-6)


def test_alpha_trains_in_half_precision_and_travels_with_the_model(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = irl_net.build(width=0.0625)
    finally:
        keras.config.set_dtype_policy(before)
    alpha = model.get_layer("attention").alpha
    assert float(alpha.numpy()[0]) == 0 and any(alpha is weight for weight in model.trainable_weights)
    model.compile(keras.optimizers.SGD(0.1), {"mask": "binary_crossentropy"}, jit_compile=False)
    # Made beforehand, its variables need no second tracing of the step.
    model.optimizer.build(model.trainable_variables)
    picture = np.random.default_rng(0).uniform(0, 255, (2, 19, 16, 3)).astype("float32")
    mask = np.zeros((2, 19, 16, 1), "float32")
    mask[:, 4:12, 4:12] = 1
    losses = [float(np.ravel(model.train_on_batch(picture, {"mask": mask}))[0]) for _ in range(2)]
    assert np.isfinite(losses).all() and float(alpha.numpy()[0]) != 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert float(again.get_layer("attention").alpha.numpy()[0]) == float(alpha.numpy()[0])
    np.testing.assert_allclose(again(picture)["mask"], model(picture)["mask"], atol=1e-6)


@pytest.mark.parametrize("args, message", [({"fusion": "erly"}, "'early'"), ({"softmax": "jont"}, "'joint'")])
def test_a_wrong_argument_is_answered_with_the_right_one(args, message):
    with pytest.raises(FakeclfError, match=message):
        irl_net.build(**args)
