from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy import ndimage

from segmentation.layers.filters import FixedConv2D
from segmentation.models import mantra_net


def test_it_has_the_published_number_of_parameters() -> None:
    model = mantra_net.build()
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 3_804_950
    (srm,) = (layer for layer in model.layers if isinstance(layer, FixedConv2D))
    assert srm.kernel.size == 675


def test_srm_channels_hold_all_colours_of_a_filter_together() -> None:
    (srm,) = (layer for layer in mantra_net.build(width=0.1).layers if isinstance(layer, FixedConv2D))
    strongest = np.abs(srm.kernel).sum((0, 1)).argmax(0)
    np.testing.assert_array_equal(strongest, [0, 1, 2] * 3)
    np.testing.assert_array_equal(srm.kernel[:, :, 0, 0], srm.kernel[:, :, 2, 2])


def test_differences_are_those_of_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(1, 20, 17, 2)).astype("float32")
    layer = mantra_net.WindowDifferences((3, 7))
    near, wide, far = (np.asarray(part)[0] for part in layer(x))
    deviation = x[0].std((0, 1))
    np.testing.assert_allclose(far, np.abs(x[0] - x[0].mean((0, 1))) / deviation, atol=1e-4)
    inside = np.ones((20, 17))
    for side, made in ((3, near), (7, wide)):
        counted = ndimage.uniform_filter(inside, side, mode="constant")[..., None]
        mean = np.stack([ndimage.uniform_filter(x[0, :, :, k], side, mode="constant") for k in range(2)], -1) / counted
        np.testing.assert_allclose(made, np.abs(x[0] - mean) / deviation, atol=1e-4)


def test_a_flat_map_is_not_blown_up() -> None:
    layer = mantra_net.WindowDifferences((3,))
    flat = np.full((1, 8, 8, 1), 0.5, "float32")
    flat[0, 4, 4] += 1e-6
    assert max(float(np.max(part)) for part in layer(flat)) < 0.01


def test_projections_keep_unit_kernels_while_they_learn() -> None:
    model = mantra_net.build(width=0.1)
    model.compile(keras.optimizers.Adam(0.05), {"mask": "binary_crossentropy"})
    shown = np.random.default_rng(0).uniform(0, 255, (1, 24, 24, 3)).astype("float32")
    model.train_on_batch(shown, {"mask": np.ones((1, 24, 24, 1), "float32")})
    kernel = np.asarray(model.get_layer("project").kernel)[0, 0]
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("windows", [(4,), (), (7, 1)])
def test_wrong_windows_are_refused(windows: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="odd sides"):
        mantra_net.build(width=0.1, windows=windows)


def test_more_windows_are_more_steps_of_the_same_weights() -> None:
    three, four = mantra_net.build(width=0.1), mantra_net.build(width=0.1, windows=(7, 15, 31, 63))
    assert three.count_params() == four.count_params()
