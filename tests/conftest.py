"""Shared by all tests: a quiet TensorFlow with two devices, folders of the tests' own, fixed seeds, small pictures."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

# Before anything imports TensorFlow. A GPU is left out so that numbers are the same on every machine.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"
# Bundles of tests get no LiteRT file, which would take seconds each; tests of those switch it on.
os.environ["FAKECLF_LITERT"] = "off"

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def two_devices() -> None:
    """Two logical CPU devices, for strategies to mirror over. Only possible before the first operation."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's data, models or caches; made data sets are shared by the session."""
    home = tmp_path_factory.mktemp("home")
    os.environ["FAKECLF_DATA"] = str(home / "data")
    os.environ["FAKECLF_MODELS"] = str(home / "models")
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")


@pytest.fixture
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test's own."""
    folder = tmp_path / "data-home"
    monkeypatch.setenv("FAKECLF_DATA", str(folder))
    return folder


@pytest.fixture
def litert(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteRT files are made and run, as they are outside of tests."""
    pytest.importorskip("ai_edge_litert")
    monkeypatch.delenv("FAKECLF_LITERT")


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random state."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[..., Path]:
    """``make_pictures(name, count, size)`` writes FAKE/ (smooth) and REAL/ (noisy) PNGs and returns their folder."""

    def make(
        name: str = "pictures", count: int = 10, size: int = 32, classes: tuple[str, ...] = ("FAKE", "REAL")
    ) -> Path:
        rng = np.random.default_rng(0)
        for label in classes:
            (tmp_path / name / label).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                colour = rng.integers(40, 216, 3)
                noise = rng.normal(0, 2 if label == "FAKE" else 30, (size, size, 3))
                pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / label / f"{index:03}.png")
        return tmp_path / name

    return make
