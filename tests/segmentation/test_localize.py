"""Localizing: whole or in tiles, the same mask; any size; bounded memory; bundles."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from fakeclf import bundle
from fakeclf.errors import FakeclfError
from segmentation import metrics
from segmentation.join_history import with_history
from segmentation.layers.resize import ResizeBy
from segmentation.likeness import judged_alike
from segmentation.localize import Localizer, Located, open_localizer, tiling_difference
from segmentation.looking import look_localizer
from segmentation.models import nix_net
from segmentation.models.frame import localizer, picture_input

ROOT = Path(__file__).resolve().parents[2]
traces: list[int] = []


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@keras.saving.register_keras_serializable("tests")
class Counted(keras.layers.Layer):
    """Notes how often it is traced."""

    def call(self, x: Any) -> Any:
        traces.append(1)
        return x


@keras.saving.register_keras_serializable("tests")
class Spread(keras.layers.Layer):
    """Values from 0 to 1 between the darkest and the lightest pixel: not local."""

    def call(self, x: Any) -> Any:
        low, high = ops.min(x), ops.max(x)
        return (x - low) / (high - low)


def local_network(scored: bool = False) -> keras.Model:
    """Sees 15 pixels around, in two scales."""
    keras.utils.set_random_seed(1)
    pictures, x = picture_input(8)
    x = Counted()(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = keras.layers.AveragePooling2D(4)(x)
    y = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(y)
    y = ResizeBy(4)(keras.layers.Conv2D(4, 1)(y))
    logits = keras.layers.Conv2D(1, 3, padding="same")(keras.layers.Concatenate()([x, y]))
    logits = keras.layers.Rescaling(4.0)(logits)
    others = {}
    if scored:
        others["score"] = keras.layers.Activation("sigmoid")(keras.layers.GlobalMaxPooling2D()(logits))
    return localizer(pictures, logits, "local", **others)


def network_of_the_whole() -> keras.Model:
    """The one layer that needs the whole picture stands before a local core."""
    keras.utils.set_random_seed(1)
    pictures, image = picture_input()
    residual = Spread(name="residual")(pictures)
    inputs = [keras.Input((None, None, 3)), keras.Input((None, None, 3))]
    logits = keras.layers.Conv2D(1, 5, padding="same")(keras.layers.Concatenate()(inputs))
    core = keras.Model(inputs, logits, name="core")
    return localizer(pictures, core([image, residual]), "of_the_whole")


def save(network: keras.Model, folder: Path, kind: str = "localizer", **values: Any) -> Path:
    card = bundle.Card(folder.name, kind, "test", "segmentation.models.frame", **values)
    return bundle.save(network, card, folder, float16=False)


@pytest.mark.parametrize("size", [(96, 64), (61, 45), (8, 8), (1, 1), (3, 50)])
def test_a_small_picture_goes_whole(size: tuple[int, int]) -> None:
    network = local_network()
    found = Localizer(network)(picture(*size))
    assert isinstance(found, Located) and found.tiles == 1 and found.score is None and found.seconds > 0
    assert found.mask.shape == size and found.mask.dtype == np.float32
    if min(size) >= 8:
        expected = network.predict(picture(*size)[np.newaxis].astype("float32"), verbose=0)["mask"][0, ..., 0]
        np.testing.assert_allclose(found.mask, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(200, 150), (131, 257), (5, 400), (97, 96)])
def test_tiles_give_the_mask_of_the_whole(size: tuple[int, int]) -> None:
    located = Localizer(local_network(), tile=96, overlap=64)
    pixels = picture(*size)
    tiled, whole = located.in_tiles(pixels), located.in_one_piece(pixels)
    assert tiled.tiles > 1 and tiled.mask.shape == size and tiled.mask.std() > 0.01
    np.testing.assert_allclose(tiled.mask, whole.mask, atol=1e-5)


def test_too_little_overlap_is_measured() -> None:
    """The comparison above can fail: without overlap the tiles' edges show."""
    enough = tiling_difference(Localizer(local_network(), tile=96, overlap=64), picture(200, 200))
    none = tiling_difference(Localizer(local_network(), tile=96, overlap=0), picture(200, 200))
    assert enough["largest"] < 1e-5 < 1e-2 < none["largest"] <= 1
    assert enough["mean"] <= enough["largest"] and enough["flipped"] <= none["flipped"] < 0.2


def test_what_needs_the_whole_picture_gets_it() -> None:
    pixels = (picture(150, 220) // 4 + 60).astype(np.uint8)
    pixels[5, 5], pixels[140, 200] = 0, 255  # extremes that most tiles do not hold
    located = Localizer(network_of_the_whole(), tile=64, overlap=16)
    assert located.in_tiles(pixels).tiles > 4
    np.testing.assert_allclose(located.in_tiles(pixels).mask, located.in_one_piece(pixels).mask, atol=1e-5)
    # A tile on its own has other extremes, so this is not for nothing.
    alone = located.in_one_piece(pixels[48:112, 48:112]).mask
    assert np.abs(alone - located.in_one_piece(pixels).mask[48:112, 48:112])[8:-8, 8:-8].max() > 1e-2


def test_nix_net_in_tiles() -> None:
    keras.utils.set_random_seed(0)
    network = nix_net.build(width=0.02)
    located = Localizer(network, tile=256, overlap=192)
    assert located.stride == 8
    assert located.in_one_piece(picture(320, 290)).mask.std() > 0.1
    assert tiling_difference(located, picture(320, 290))["largest"] < 1e-5


def test_a_loaded_network_is_cut_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = network_of_the_whole()
    save(network, tmp_path / "saved_models" / "saved", input={"tile": 128, "overlap": 64})
    found = open_localizer("saved")(picture(150, 200))
    assert found.tiles == 6
    np.testing.assert_allclose(found.mask, Localizer(network).in_one_piece(picture(150, 200)).mask, atol=1e-5)


@pytest.fixture(scope="module")
def pasted() -> tuple[np.ndarray, np.ndarray]:
    """A photograph that was saved as JPEG, with pixels in it that were not, and where."""
    from sklearn.datasets import load_sample_image

    raw = np.clip(load_sample_image("flower.jpg")[100:340, 200:520] // 2 + 50, 1, 254).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(raw).save(stream, "JPEG", quality=75)
    hole = np.zeros(raw.shape[:2], bool)
    hole[60:160, 80:200] = True
    fresh = np.roll(load_sample_image("china.jpg")[100:340, 200:520] // 2 + 50, (3, 5), (0, 1))
    return np.where(hole[..., np.newaxis], fresh, np.asarray(Image.open(stream))), hole


def test_a_network_is_joined_by_the_pictures_history_where_its_card_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pasted: tuple[np.ndarray, np.ndarray]
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels, hole = pasted
    save(local_network(), tmp_path / "saved_models" / "alone")
    save(local_network(), tmp_path / "saved_models" / "joined", input={"history": True, "tile": 128, "overlap": 64})
    alone, joined = open_localizer("alone"), open_localizer("joined")
    plain, found = alone(pixels), joined(pixels)
    assert plain.histories == () and not alone.history
    assert found.histories[0].grid == (0, 0) and found.tiles > 1
    assert metrics.auc(hole, found.mask) > 0.95 > metrics.auc(hole, plain.mask)
    expected = joined.in_tiles(pixels).mask
    for history in found.histories:
        expected = with_history(expected, history)
    np.testing.assert_allclose(found.mask, expected)
    assert "JPEG compression" in look_localizer("joined")(pixels).remark and not look_localizer("alone")(pixels).remark
    # Copies of a picture that shows a history are searched for it, those of another are not.
    assert look_localizer("joined")(pixels).again is None
    again = look_localizer("joined")(picture(160, 140)).again
    assert again is not None and not again(pixels).remark
    np.testing.assert_array_equal(again(pixels).mask, joined.in_tiles(pixels).mask)
    # As asked, whatever the card says; and where there is no history, the network alone.
    assert open_localizer("alone", history=True)(pixels).histories
    assert not open_localizer("joined", history=False)(pixels).histories
    noise = picture(160, 140)
    np.testing.assert_array_equal(joined(noise).mask, joined.in_tiles(noise).mask)


def test_what_looks_alike_is_judged_alike_before_the_history_where_the_card_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pasted: tuple[np.ndarray, np.ndarray]
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels, _ = pasted
    tiles = {"tile": 128, "overlap": 64}
    save(local_network(), tmp_path / "saved_models" / "alone", input=tiles)
    save(local_network(), tmp_path / "saved_models" / "asking", input={"likeness": True, "history": True, **tiles})
    network = open_localizer("alone")(pixels).mask
    alike = judged_alike(pixels, network)
    assert not np.allclose(alike, network, atol=0.001)
    found = open_localizer("asking")(pixels)
    assert found.tiles > 1 and found.histories
    expected = alike
    for history in found.histories:
        expected = with_history(expected, history)
    np.testing.assert_allclose(found.mask, expected, atol=1e-6)
    np.testing.assert_array_equal(open_localizer("asking", likeness=False, history=False)(pixels).mask, network)
    np.testing.assert_array_equal(open_localizer("alone", likeness=True)(pixels).mask, alike)


def test_size_decides_between_whole_and_tiles() -> None:
    located = Localizer(local_network(), tile=64, overlap=16)
    assert located(picture(64, 64)).tiles == 1 and located(picture(32, 128)).tiles == 1
    assert located(picture(65, 64)).tiles == 2 and located(picture(100, 100)).tiles == 4
    assert Localizer(local_network(), tile=64, overlap=16, largest=100 * 100)(picture(100, 100)).tiles == 1


def test_the_score_of_a_picture_is_the_highest_of_its_tiles() -> None:
    network = local_network(scored=True)
    located = Localizer(network, tile=64, overlap=16)
    pixels = np.full((128, 128, 3), 128, np.uint8)
    pixels[100:110, 90:110] = picture(10, 20)
    assert located.in_tiles(pixels).score == pytest.approx(located.in_one_piece(pixels).score, abs=1e-3)
    assert located.in_one_piece(pixels).score > located.in_one_piece(pixels[:80]).score + 1e-3


def test_all_sizes_share_one_trace() -> None:
    located = Localizer(local_network(), tile=64, overlap=16)
    traces.clear()
    for size in [(30, 40), (64, 64), (100, 90), (7, 200)]:
        located(picture(*size))
    assert len(traces) == 1


def test_mixed_precision_gives_a_float32_mask() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = Localizer(local_network(), tile=64, overlap=16)(picture(70, 90))
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.mask.dtype == np.float32 and found.tiles == 4


def test_a_bundle_brings_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = keras.Input((None, None, 3))
    network = localizer(pictures, keras.layers.Conv2D(1, 1)(pictures), "small")
    save(network, tmp_path / "saved_models" / "mine", threshold=0.3, input={"tile": 64, "overlap": 8, "largest": 9})
    located = open_localizer("mine")
    assert (located.name, located.threshold, located.tile, located.overlap, located.largest) == ("mine", 0.3, 64, 8, 9)
    assert located.card is not None and located.card.files["model.keras"]
    assert open_localizer(tmp_path / "saved_models" / "mine", threshold=0.6, tile=128).threshold == 0.6
    assert open_localizer("mine", tile=128).tile == 128
    save(network, tmp_path / "saved_models" / "other", kind="classifier")
    with pytest.raises(FakeclfError, match="other is of kind 'classifier', not a localizer; `fakeclf models list`"):
        open_localizer("other")
    with pytest.raises(FakeclfError, match="did you mean 'mine'"):
        open_localizer("mien")


def test_bad_settings_are_one_line() -> None:
    network = local_network()
    with pytest.raises(FakeclfError, match="do not get ahead"):
        Localizer(network, tile=64, overlap=64)
    with pytest.raises(FakeclfError, match="between 0 and 1; received 2"):
        Localizer(network, threshold=2)
    with pytest.raises(FakeclfError, match="gives no mask"):
        Localizer(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(1, 1)]))
    for wrong in (picture(20, 20).astype("float32"), picture(20, 20)[..., 0], picture(20, 20)[:0]):
        with pytest.raises(ValueError, match="uint8"):
            Localizer(network)(wrong)


def test_a_network_that_cannot_take_a_size_is_one_line() -> None:
    pictures = keras.Input((None, None, 3))
    halved = keras.layers.Conv2D(3, 2, strides=2)(pictures)
    network = localizer(pictures, keras.layers.Add()([ResizeBy(2)(halved), pictures]), "even_only")
    with pytest.raises(FakeclfError, match="even_only at 31 x 20 pixels fails") as caught:
        Localizer(network)(picture(20, 31))
    assert "\n" not in str(caught.value)


MEASURE = """
import json, re, sys, time
from pathlib import Path
import keras, numpy as np
from segmentation.localize import Localizer
from segmentation.models.frame import localizer, picture_input

def peak():  # ru_maxrss would begin with that of the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024 / 1e9

height, width = int(sys.argv[1]), int(sys.argv[2])
pictures, x = picture_input(8)
x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
located = Localizer(localizer(pictures, keras.layers.Conv2D(1, 3, padding="same")(x), "tiny"))
pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
located(pixels[:1024, :1100])
before = peak()
start = time.perf_counter()
found = located(pixels)
print(json.dumps({
    "gigabytes": peak(),
    "growth": peak() - before,
    "seconds": time.perf_counter() - start, "tiles": found.tiles, "shape": found.mask.shape,
}))
"""


def test_24_megapixels_in_under_3_gigabytes() -> None:
    """A process of its own, since only a process has a highest memory use."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "4000", "6000"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["shape"] == [4000, 6000] and measured["tiles"] == 35
    assert measured["gigabytes"] < 3
    # Beyond what one tile needs, little more than the mask: 4 bytes a pixel. The whole would take 8 maps of as many.
    assert measured["growth"] < 0.3
