from __future__ import annotations

import keras
import numpy as np
import pytest

from segmentation.layers.conv_lstm import ConvLSTM


def maps(count: int = 4, side: int = 9) -> list[np.ndarray]:
    return list(np.random.default_rng(0).normal(size=(count, 2, side, side, 3)).astype("float32"))


def test_it_computes_what_keras_does() -> None:
    ours, theirs = ConvLSTM(5, 3), keras.layers.ConvLSTM2D(5, 3, padding="same")
    stacked = np.stack(maps(), axis=1)
    theirs(stacked)
    ours(maps())
    ours.set_weights([np.random.default_rng(1).normal(0, 0.3, w.shape) for w in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(maps()), theirs(stacked), atol=1e-5)


def test_hard_gates_are_those_of_keras_2() -> None:
    layer = ConvLSTM(1, 1, gates="hard")
    x = np.full((1, 1, 1, 1), 2.0, "float32")
    layer([x])
    layer.set_weights([np.array([[[[0.5, 0.0, 1.0, 5.0]]]]), np.zeros((1, 1, 1, 4)), np.zeros(4)])
    # input gate 0.2 * 1 + 0.5; output gate beyond 1, cut there
    assert float(layer([x])[0, 0, 0, 0]) == pytest.approx(np.tanh(0.7 * np.tanh(2.0)), abs=1e-6)


def test_order_matters() -> None:
    layer = ConvLSTM(2, 3)
    shown = maps()
    assert np.abs(np.asarray(layer(shown)) - np.asarray(layer(shown[::-1]))).max() > 1e-3


def test_unknown_gates_are_refused() -> None:
    with pytest.raises(ValueError, match="sigmoid or hard"):
        ConvLSTM(2, gates="soft")
