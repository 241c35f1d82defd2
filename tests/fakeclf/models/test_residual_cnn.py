from __future__ import annotations

import keras
import numpy as np

from fakeclf.models import residual_cnn


def test_it_takes_any_size_and_returns_a_probability():
    model = residual_cnn.build()
    for size in ((64, 64), (97, 70), (20, 31)):
        p_real = np.asarray(model(np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")))
        assert p_real.shape == (2, 1) and np.all((p_real > 0) & (p_real < 1))
    assert model.count_params() < 20_000


def test_brightness_does_not_matter():
    keras.utils.set_random_seed(0)
    model = residual_cnn.build(input_size=32)
    picture = np.random.default_rng(0).uniform(0, 200, (1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(model(picture)), np.asarray(model(picture + 50)), atol=1e-4)


def test_it_tells_smoothed_from_sharp_within_a_few_steps():
    keras.utils.set_random_seed(0)
    model, random = residual_cnn.build(input_size=24), np.random.default_rng(0)
    sharp = random.normal(random.uniform(60, 190, (64, 1, 1, 3)), 6, (64, 24, 24, 3))
    smooth = (sharp + np.roll(sharp, 1, axis=1) + np.roll(sharp, 1, axis=2)) / 3
    pictures, truth = np.concatenate([smooth, sharp]).astype("float32"), np.repeat([[0.0], [1.0]], 64, axis=0)
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy"])
    model.fit(pictures, truth, epochs=10, batch_size=16, verbose=0)
    assert model.evaluate(pictures, truth, verbose=0)[1] > 0.95
