"""The runtime gives what Keras gives, and needs neither Keras nor TensorFlow for it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeclf import bundle, registry, runtime
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.models.ensemble import assemble, build_head
from fakeclf.models.layers import FitToSize, picture_input
from fakeclf.voters import look_classifier, need_keras
from segmentation.localize import open_localizer
from segmentation.looking import in_litert

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.usefixtures("litert")


def classifier(size: int, view: str, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    pictures, x = picture_input(size, view)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3, activation="relu")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    real = keras.layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(0, 3))(x)
    return keras.Model(pictures, real, name=f"tiny_{seed}")


def card(name: str, kind: str = "classifier", **values: Any) -> Card:
    module = {"localizer": "segmentation.models.trace_net", "ensemble": "fakeclf.models.ensemble"}
    return Card(name=name, kind=kind, model="tiny", module=module.get(kind, "fakeclf.models.densenet"), **values)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return np.kron(coarse, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8)


def keras_p_real(model: keras.Model, pixels: np.ndarray) -> float:
    return float(model(pixels[np.newaxis].astype(np.float32), training=False)[0, 0])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classifiers, their ensemble and a localizer, each with its LiteRT file."""
    switch = pytest.MonkeyPatch()
    switch.delenv("FAKECLF_LITERT")
    folder = tmp_path_factory.mktemp("bundles")
    members = []
    for seed, (name, size, view) in enumerate((("squashed", 16, "resize"), ("cut", 24, "crop"))):
        saved = bundle.save(classifier(size, view, seed), card(name), folder / name)
        members.append({"name": str(saved), "sha256": bundle.sha256(saved / "model.keras")})
    head = build_head(2, inputs="logit", seed=0)
    bundle.save(head, card("both", "ensemble", members=members), folder / "both")
    network = registry.model("trace-net").build(None, width=0.1)
    bundle.save(network, card("where", "localizer", input={"tile": 96, "overlap": 32}), folder / "where")
    switch.undo()
    return folder


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.integers(4, 40),
    view=st.sampled_from(["resize", "crop"]),
)
def test_pictures_are_fitted_as_the_layer_does(height: int, width: int, size: int, view: str) -> None:
    pixels = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), np.uint8)
    expected = FitToSize(size, view)(tf.constant(pixels[np.newaxis], tf.float32))[0]
    np.testing.assert_allclose(runtime.fit(pixels, size, view), expected, atol=2e-3)


@pytest.mark.parametrize("name", ["squashed", "cut", "both"])
def test_a_classifier_gives_what_keras_gives(home: Path, name: str) -> None:
    network, model = runtime.open_classifier(home / name), bundle.load(home / name)
    assert network is not None
    pictures = [picture(*sides, seed=number) for number, sides in enumerate(((24, 24), (50, 31), (7, 90), (1, 1)))]
    expected = [keras_p_real(model, pixels) for pixels in pictures]
    assert max(expected) - min(expected) > 0.01  # else anything would pass
    single = [network(pixels) for pixels in pictures]
    assert all(isinstance(value, float) for value in single)
    np.testing.assert_allclose(single, expected, atol=1e-3)
    # A batch may hold all sizes, and changes nothing.
    np.testing.assert_allclose(network(pictures), single, atol=1e-6)
    batch = np.stack([picture(20, 30, seed=seed) for seed in range(3)])
    assert network(batch).shape == (3,)
    assert network([]).shape == (0,)


def test_several_threads_may_ask_at_once(home: Path) -> None:
    pictures = [picture(20 + 3 * number, 40 - number, seed=number) for number in range(24)]
    for network in (runtime.open_classifier(home / "both", threads=1), in_litert(home / "where", threads=1)):
        assert network is not None
        alone = [network(pixels) for pixels in pictures]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(network, pictures))
        if isinstance(alone[0], float):
            assert together == alone
        else:
            assert all(np.array_equal(one.mask, other.mask) for one, other in zip(alone, together, strict=True))


def test_an_ensemble_is_its_members_and_its_head(home: Path) -> None:
    head = bundle.load_keras(home / "both" / "model.keras")
    model = assemble([bundle.load(home / name) for name in ("squashed", "cut")], head)
    network = runtime.open_classifier(home / "both", threads=1)
    assert network is not None
    pixels = picture(40, 33)
    assert network(pixels) == pytest.approx(keras_p_real(model, pixels), abs=1e-3)


@pytest.mark.parametrize("sides", [(64, 64), (65, 83), (5, 40), (130, 201)])
def test_a_localizer_gives_what_keras_gives_whole_and_in_tiles(home: Path, sides: tuple[int, int]) -> None:
    network = in_litert(home / "where")
    in_keras = open_localizer(home / "where")
    assert network is not None and network.stride == in_keras.stride == 16
    pixels = picture(*sides)
    found, expected = network(pixels), in_keras(pixels)
    assert found.mask.shape == sides and found.mask.dtype == np.float32
    assert found.tiles == expected.tiles and (found.tiles > 1) == (sides == (130, 201))
    np.testing.assert_allclose(found.mask, expected.mask, atol=5e-3)
    assert found.score is None and found.picture_score == pytest.approx(expected.picture_score, abs=5e-3)


def test_without_a_file_keras_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(16, "resize", 0)
    monkeypatch.setenv("FAKECLF_LITERT", "off")
    saved = bundle.save(model, card("plain"), tmp_path / "plain", float16=False)
    monkeypatch.delenv("FAKECLF_LITERT")
    assert runtime.open_classifier(saved) is None and need_keras(saved) and bundle.read_card(saved).litert is None
    raw = look_classifier(saved)(picture(20, 30)).raw
    assert raw == pytest.approx(1 - keras_p_real(model, picture(20, 30)), abs=1e-5)


def test_a_missing_file_or_the_switch_leads_to_keras(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [home / "both", home / "where"]
    assert not need_keras(both) and all(map(runtime.can_run, both))
    away = (home / "cut" / runtime.FILE).rename(home / "cut" / "away")
    try:
        assert not runtime.can_run(home / "both") and need_keras(both)
    finally:
        away.rename(home / "cut" / runtime.FILE)
    monkeypatch.setenv("FAKECLF_LITERT", "off")
    assert need_keras(home / "where") and in_litert(home / "where") is None


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    saved = bundle.save(classifier(16, "resize", 0), card("changed"), tmp_path / "changed")
    path = saved / runtime.FILE
    network = runtime.open_classifier(saved)
    assert network is not None
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FakeclfError, match="has changed"):
        network(picture(16, 16))
    with pytest.raises(FakeclfError, match="cannot be opened"):
        runtime.Program(b"TFL3, but not really")(np.zeros((1, 4), np.float32))


def test_an_ensemble_of_another_member_is_refused(home: Path, tmp_path: Path) -> None:
    members = [{"name": str(home / name), "sha256": "0" * 64} for name in ("squashed", "cut")]
    saved = bundle.save(build_head(2), card("stale", "ensemble", members=members), tmp_path / "stale")
    with pytest.raises(FakeclfError, match="another version"):
        runtime.open_classifier(saved)


def test_only_pictures_are_taken(home: Path) -> None:
    for network in (runtime.open_classifier(home / "squashed"), in_litert(home / "where")):
        assert network is not None
        for wrong in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3), np.uint8)):
            with pytest.raises(ValueError, match="uint8"):
                network(wrong)


def test_neither_keras_nor_tensorflow_is_imported(home: Path) -> None:
    code = """
import sys, numpy as np
from fakeclf.voters import open_voters
for voter in open_voters([f"{sys.argv[1]}/{name}" for name in ("both", "where")]):
    voter.look(np.zeros((130, 120, 3), np.uint8))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"keras", "tensorflow", "torch", "jax"}))
"""
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""  # nor does LiteRT greet anybody
