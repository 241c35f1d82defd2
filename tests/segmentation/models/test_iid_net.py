from __future__ import annotations

import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import median_filter

from fakeclf.errors import FakeclfError
from segmentation.models import iid_cells, iid_net
from segmentation.models.resnet import layer_name

GOLDEN = Path(__file__).parents[1] / "golden" / "iid_net.npz"
INNER = {"conv1": 8, "cell1": 16, "cell2": 16, "cell4": 16, "cell10": 16, "att": 24}
"""What the golden file holds of inner maps, and which channels: every 8th and so on."""
PLAIN = "03 03 00 | 03 03 00" + 8 * " | 03 03 03"
"""The smallest network: identities wherever they can stand."""


def torch_shape(variable: keras.Variable, kind: str) -> tuple[int, ...]:
    shape = tuple(variable.shape)
    return {"conv": (*shape[:1:-1], *shape[:2]), "depthwise": (*shape[2:], *shape[:2])}.get(kind, shape)


def fill(model: keras.Model) -> None:
    """Weights by the rule the golden outputs were made with: a function of each tensor's name and shape."""
    spread = {"bayar_conv.weight": 1e-4 * np.sqrt(2), "decision.15.weight": 1e-3}
    for name, variable, kind in iid_net.torch_weights(model):
        shape = torch_shape(variable, kind)
        z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype("float32")
        if name == "pf_conv.weight":
            continue
        if kind != "vector":
            value = spread.get(name, np.sqrt(2)) * z / np.sqrt(np.prod(shape[1:]))
            value = value.transpose((2, 3, 1, 0) if kind == "conv" else (2, 3, 0, 1))
        elif name.endswith("running_var"):
            value = 1 + 0.1 * np.abs(z)
        else:
            value = 1 + 0.1 * z if name.endswith("weight") else 0.05 * z
        variable.assign(value)


def difference(ours, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the range of the authors' values."""
    return float(np.abs(np.asarray(ours) - theirs).max() / np.ptp(theirs))


def as_picture(values: np.ndarray) -> np.ndarray:
    """RGB 0-255 of the authors' input, BGR in [-1, 1]."""
    return ((values.astype("float64") + 1) * 127.5)[..., ::-1].astype("float32")


@pytest.fixture(scope="module")
def golden() -> tuple[keras.Model, dict[str, np.ndarray]]:
    """The network of full width with the golden weights, and what the authors' code gave."""
    model = iid_net.build(256, bayar="published")
    fill(model)
    with np.load(GOLDEN) as file:
        return model, dict(file)


def test_it_reproduces_the_authors_masks_and_inner_maps(golden):
    model, expected = golden
    layers = {name: model.get_layer(f"{name}.add" if name.startswith("cell") else name).output for name in INNER}
    watched = keras.Model(model.input, {**layers, "logits": model.get_layer("decision.15").output, **model.output})
    ours = watched(as_picture(expected["case0/input"]))
    assert difference(ours["logits"], expected["case0/logits"]) < 1e-4
    assert difference(ours["mask"], expected["case0/output"]) < 1e-4
    for name, step in INNER.items():
        assert difference(np.asarray(ours[name])[..., ::step], expected[f"case0/{name}"]) < 1e-5
    assert difference(model(as_picture(expected["case1/input"]))["mask"], expected["case1/output"]) < 1e-4


def test_it_has_the_parameters_and_names_of_the_state_dictionary(golden):
    model, expected = golden
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 5_781_142
    assert sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights) == 38_720
    named = {
        f"{name} {'x'.join(map(str, torch_shape(variable, kind)))}": variable
        for name, variable, kind in iid_net.torch_weights(model)
    }
    theirs = set(expected["tensors"].tolist())
    assert {name.split()[0] for name in theirs - set(named)} == set(iid_net.UNUSED_TENSORS)
    assert set(named) < theirs
    assert {id(variable) for variable in named.values()} == {id(weight) for weight in model.weights}


def test_without_any_one_branch_it_does_not(golden):
    model, expected = golden
    proper = keras.Model(model.input, model.get_layer("decision.15").output)
    shown = as_picture(expected["case0/input"])
    run = tf.function(lambda: proper(shown, training=False))
    branches = {
        f"{layer} from {start}": (model.get_layer(layer).kernel, slice(start, end))
        for layer, start, end in (
            ("conv1", 0, 3),
            ("conv1", 3, 6),
            ("conv1", 6, 15),
            ("decision-1", 0, 256),
            ("decision-1", 256, 512),
            ("decision-1", 512, 768),
        )
    }
    ends = [f"cell1.rep.{place}" for place in (1, 4, 7, 10)] + ["cell1.skipbn", "cell2.skipbn"]
    ends += [f"cell{number}.rep.{place}" for number in range(2, 11) for place in (2, 5, 8, 11)]
    for name in ends:
        # What a batch norm multiplies; its shift is left, as a constant is no branch.
        branches[name] = (model.get_layer(layer_name(name)).gamma, slice(None))
    assert difference(run(), expected["case0/logits"]) < 1e-5
    for name, (weight, part) in branches.items():
        before = np.asarray(weight).copy()
        without = before.copy()
        without[(slice(None), slice(None), part) if without.ndim == 4 else part] = 0
        weight.assign(without)
        assert difference(run(), expected["case0/logits"]) > 1e-3, name
        weight.assign(before)
    assert difference(run(), expected["case0/logits"]) < 1e-5


def test_the_mask_fits_any_picture():
    model = iid_net.build(32, width=0.125, genotype=PLAIN)
    for size in ((1, 1), (9, 6), (37, 51)):
        mask = np.asarray(model(np.random.default_rng(0).uniform(0, 255, (2, *size, 3)))["mask"])
        assert mask.shape == (2, *size, 1) and np.isfinite(mask).all()


def test_high_pass_filters_start_as_differences():
    kernel = np.asarray(iid_net.Differences()((3, 3, 2, 4)))
    for number, place in enumerate([(2, 1), (1, 2), (2, 2), (2, 1)]):
        expected = np.zeros((3, 3))
        expected[1, 1], expected[place] = -1, 1
        for colour in range(2):
            np.testing.assert_array_equal(kernel[:, :, colour, number], expected)


def test_published_bayar_constrains_the_first_filter_and_enlarges_the_others():
    kernel = np.random.default_rng(0).uniform(-1e-4, 2e-4, (5, 5, 3, 3)).astype("float32")
    effective = np.asarray(iid_net.published_constraint(kernel))
    around = kernel.astype("float64")
    around[2, 2] = 0
    np.testing.assert_allclose(effective[..., 1:], around[..., 1:] * 10_000, rtol=1e-6)
    np.testing.assert_allclose(effective[2, 2, :, 0], -1)
    np.testing.assert_allclose(effective[..., 0].sum((0, 1)), 0, atol=1e-5)
    ratio = effective[..., 0] / around[..., 0].sum((0, 1))
    np.testing.assert_allclose(
        np.delete(ratio.reshape(25, 3), 12, 0) * around[..., 0].sum((0, 1)) ** 2,
        np.delete(around[..., 0].reshape(25, 3), 12, 0),
        rtol=1e-4,
    )


def test_the_median_is_that_of_nine():
    x = np.random.default_rng(0).integers(0, 6, (2, 9, 8, 2)).astype("float32")
    ours = np.asarray(iid_net.MedianFilter()(x))
    assert ours.shape == iid_net.MedianFilter().compute_output_shape(x.shape) == (2, 7, 6, 2)
    np.testing.assert_array_equal(ours, median_filter(x, size=(1, 3, 3, 1))[:, 1:-1, 1:-1])


def test_genotypes_are_read_from_texts_lists_and_numbers():
    published = iid_cells.read_genotype("published")
    assert len(published) == 10 and published[0] == ("01", "03", "00") and published[-1] == ("00", "01", "03")
    assert iid_cells.read_genotype(iid_cells.PUBLISHED) == published
    assert iid_cells.read_genotype([" ".join(names) for names in published]) == published
    assert iid_cells.read_genotype([[int(name) for name in names] for names in published]) == published


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ("01 03 00", "1 cells; 10 are needed"),
        (PLAIN.replace("03 03 03", "03 03", 1), "cell 3 is '03 03'; a cell has 3 operations"),
        (PLAIN[:-2] + "04", "cell 10 is '03 03 04'.*00, 01, 02, 03"),
        (PLAIN.replace("03 03 00", "03 03 03", 1), "cell 1 is '03 03 03'; it halves the map"),
    ],
)
def test_a_genotype_that_is_none_is_refused(genotype, message):
    with pytest.raises(FakeclfError, match=message) as error:
        iid_net.build(32, width=0.125, genotype=genotype)
    assert "\n" not in str(error.value)


def test_a_bayar_mode_that_is_none_is_refused():
    with pytest.raises(FakeclfError, match="all or published; received 'none'"):
        iid_net.build(32, bayar="none")


@pytest.mark.parametrize(("operation", "reads"), [("00", 5), ("01", 3), ("02", 5), ("03", 1)])
def test_operations_read_as_far_as_they_should(operation, reads):
    """Side of the neighbourhood one output sees; only 00 takes the dilation of 2."""
    layer = iid_cells.OPERATIONS[operation](4, 1, 2, "operation")
    x = tf.Variable(np.random.default_rng(0).uniform(0.5, 1, (1, 11, 11, 4)).astype("float32"))
    with tf.GradientTape() as tape:
        middle = tf.reduce_sum(layer(x)[:, 5, 5])
    seen = np.argwhere(np.abs(tape.gradient(middle, x)[0]).max(-1) > 0)
    assert (seen.max(0) - seen.min(0) + 1).tolist() == [reads, reads]


def test_strided_operations_pad_both_sides():
    x = np.random.default_rng(0).uniform(size=(1, 9, 12, 4)).astype("float32")
    for operation in ("00", "01", "02"):
        strided = iid_cells.OPERATIONS[operation](4, 2, 1, "operation")
        dense = iid_cells.OPERATIONS[operation](4, 1, 1, "operation")
        dense.build(x.shape)
        made = strided(x)
        dense.set_weights(strided.get_weights())
        assert tuple(made.shape) == strided.compute_output_shape(x.shape) == (1, 5, 6, 4)
        np.testing.assert_allclose(made, np.asarray(dense(x))[:, ::2, ::2], atol=1e-5)


def trained(bayar: str, strategy: tf.distribute.Strategy | None) -> tuple[keras.Model, np.ndarray]:
    """A narrow network after one step on four pictures, and its mask of the first."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    masks = (rng.uniform(size=(4, 32, 32, 1)) > 0.5).astype("float32")
    with (strategy or tf.distribute.get_strategy()).scope():
        model = iid_net.build(32, width=0.125, genotype=PLAIN, bayar=bayar)
        # As the trainer does: batch norm looks at the whole batch, not at a device's share.
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        # Eagerly: for one step, tracing costs more than it saves.
        model.compile(keras.optimizers.SGD(1.0), {"mask": "binary_crossentropy"}, run_eagerly=True)
    model.fit(pictures, {"mask": masks}, batch_size=4, shuffle=False, verbose=0)
    return model, np.asarray(model(pictures[:1], training=False)["mask"])


@pytest.mark.parametrize("bayar", ["all", "published"])
def test_one_device_and_two_give_the_same_network(bayar):
    constraint = iid_net.bayar_constraint if bayar == "all" else iid_net.published_constraint
    keras.utils.set_random_seed(0)
    start = np.asarray(iid_net.build(32, width=0.125, genotype=PLAIN, bayar=bayar).get_layer("bayar_conv").kernel)
    one, mask = trained(bayar, None)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    two, other_mask = trained(bayar, strategy)
    kernels = [np.asarray(model.get_layer("bayar_conv").kernel) for model in (one, two)]
    # Kernels written back enlarged would be thousands; a step moves them, but not far.
    assert 1e-3 < np.abs(kernels[0] - start).max() < 1
    effective = [np.asarray(constraint(kernel)) for kernel in kernels]
    np.testing.assert_allclose(effective[0], effective[1], atol=1e-5 * np.abs(effective[0]).max())
    # A flat mask would agree whatever the weights are; this one spreads over 100 times the tolerance.
    assert np.ptp(mask) > 1e-2
    np.testing.assert_allclose(mask, other_mask, atol=1e-4)
    for weight, other in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-3, atol=1e-4, err_msg=weight.path)
