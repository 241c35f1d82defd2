"""Localizers in other runtimes: any size of picture, the mask that Keras gives."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle, export, registry
from segmentation.looking import in_litert
from segmentation.models.frame import localizer, picture_input

pytest.importorskip("ai_edge_litert")


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_trace_net_in_litert(tmp_path: Path, weights: str) -> None:
    model = registry.model("trace-net").build(None, width=0.1)
    made = export.to_litert(model, tmp_path / "trace.tflite", weights=weights)
    assert made.input == {"stride": 16} and made.difference < {"float32": 2e-5, "float16": 2e-3}[weights]


@pytest.mark.usefixtures("litert")
def test_a_score_beside_the_mask(tmp_path: Path) -> None:
    pictures, x = picture_input(4)
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    score = keras.layers.Dense(1, activation="sigmoid")(keras.layers.GlobalMaxPooling2D()(x))
    model = localizer(pictures, keras.layers.Conv2D(1, 1)(x), "scored", edge=x, score=score)
    about = {"tile": 48, "overlap": 16, "largest": 64 * 64}
    card = bundle.Card("scored", "localizer", "test", "segmentation.models.frame", input=about)
    saved = bundle.save(model, card, tmp_path / "scored", float16=False)
    assert card.litert == bundle.read_card(saved).litert and card.litert and card.litert["stride"] == 4
    network = in_litert(saved)
    assert network is not None
    pixels = np.random.default_rng(0).integers(0, 256, (50, 61, 3), np.uint8)
    found = network(pixels)
    expected = model(pixels[np.newaxis].astype(np.float32), training=False)
    assert found.tiles == 1
    np.testing.assert_allclose(found.mask, expected["mask"][0, ..., 0], atol=1e-3)
    assert found.score == pytest.approx(float(expected["score"][0, 0]), abs=1e-3)
    network.largest = 0
    tiled = network(pixels)
    assert tiled.tiles == 4 and tiled.score is not None and 0 <= tiled.score <= 1
    np.testing.assert_allclose(tiled.mask, found.mask, atol=1e-4)  # 3 x 3 pixels are all it looks at


def test_a_localizer_in_onnx(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    model = registry.model("trace-net").build(None, width=0.1)
    assert export.to_onnx(model, tmp_path / "trace.onnx").difference < 1e-4
