from __future__ import annotations

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.models import hp_fcn


def test_it_has_the_published_number_of_parameters() -> None:
    model = hp_fcn.build()
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 7_699_025


@pytest.mark.parametrize("name", hp_fcn.DIFFERENCES)
def test_filters_are_differences_of_their_order(name: str) -> None:
    kernels = hp_fcn.filter_set(name)
    order = list(hp_fcn.DIFFERENCES).index(name) + 1
    size = kernels.shape[0]
    place = np.arange(size, dtype=float)
    for power in range(order + 1):
        # A difference of order n takes every polynomial below n to zero, and the n-th power to n!.
        answer = (kernels[:, :, 0, 0] * (place**power)[:, None]).sum()
        assert answer == pytest.approx(0.0 if power < order else np.prod(np.arange(1, order + 1)) * np.sign(answer))
        assert answer != 0 or power < order
    np.testing.assert_array_equal(kernels[:, :, 0, 1], kernels[:, :, 0, 0].T)
    np.testing.assert_array_equal(np.diag(kernels[:, :, 0, 2]), kernels[:, size // 2, 0, 0])
    assert np.all(kernels == kernels[:, :, :1])


def test_filters_learn() -> None:
    for name in ("second", "random"):
        model = hp_fcn.build(width=0.1, filters=name)
        before = model.get_layer("high_pass").get_weights()[0]
        model.compile("adam", {"mask": "binary_crossentropy"})
        model.train_on_batch(
            np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)), {"mask": np.ones((1, 32, 32, 1))}
        )
        assert np.all(model.get_layer("high_pass").get_weights()[0] != before)


def test_enlarging_starts_as_bilinear_interpolation() -> None:
    model = hp_fcn.build(width=0.1)
    layer = model.get_layer("up1")
    channels_in = layer.kernel.shape[-1]
    ramp = np.tile(np.arange(6.0)[None, :, None, None], (1, 1, 6, channels_in)).astype("float32")
    made = np.asarray(layer(ramp))[0, 6:-6, 12, 0]
    np.testing.assert_allclose(made, (np.arange(6, 18) + 0.5) / 4 - 0.5, atol=1e-5)


def test_it_is_local() -> None:
    model = hp_fcn.build(width=0.1)
    shown = np.random.default_rng(0).uniform(0, 255, (1, 32, 512, 3)).astype("float32")
    other = shown.copy()
    other[:, :, 448:] = 0
    far = np.asarray(model(shown)["mask"] - model(other)["mask"])[0, :, :16]
    assert np.abs(far).max() < 1e-6


def test_an_unknown_filter_set_names_the_nearest() -> None:
    with pytest.raises(FakeclfError, match="'fourth'"):
        hp_fcn.build(filters="forth")
