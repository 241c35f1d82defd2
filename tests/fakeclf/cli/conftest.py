"""A bundle that is small enough to make on the spot, in the current folder's ``saved_models``."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def small_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An untrained classifier of four weights, as ``saved_models/small``; the test runs beside it."""
    import keras

    from fakeclf import bundle

    monkeypatch.chdir(tmp_path)
    pictures = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid")(pooled))
    card = bundle.Card("small", "classifier", "test", "fakeclf.models.layers", limits=["knows nothing"])
    return bundle.save(model, card, Path("saved_models") / "small").absolute()
