from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from fakeclf.models import taesd
from fakeclf.models.autoencoder import open_autoencoder

LATENTS = {"taef2": 32, "taesd": 4, "taesdxl": 4, "taesd3": 16, "taef1": 16}


def random_weights(latents: int, pool: bool) -> dict[str, np.ndarray]:
    """Arrays by the names and shapes of the PyTorch modules, written down without looking at the Keras model."""
    random, arrays = np.random.default_rng(0), {}

    def conv(name: str, out: int, into: int, kernel: int = 3, bias: bool = True) -> None:
        scale = 1 / np.sqrt(into * kernel * kernel)
        arrays[f"{name}.weight"] = random.normal(0, scale, (out, into, kernel, kernel)).astype(np.float16)
        if bias:
            arrays[f"{name}.bias"] = random.normal(0, 0.1, out).astype(np.float16)

    def block(name: str, pooled: bool) -> None:
        for index in (0, 2, 4):
            conv(f"{name}.conv.{index}", 64, 64)
        if pooled:
            conv(f"{name}.pool.0", 256, 64, 1, bias=False)
            arrays[f"{name}.pool.1.weight"] = random.normal(1, 0.1, 256).astype(np.float16)
            arrays[f"{name}.pool.1.bias"] = random.normal(0, 0.1, 256).astype(np.float16)
            conv(f"{name}.pool.3", 64, 256, 1, bias=False)

    conv("encoder/0", 64, 3)
    for index in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13):
        block(f"encoder/{index}", pool and index > 10)
    for index in (2, 6, 10):
        conv(f"encoder/{index}", 64, 64, bias=False)
    conv("encoder/14", latents, 64)
    conv("decoder/1", 64, latents)
    for index in (3, 4, 5, 8, 9, 10, 13, 14, 15, 18):
        block(f"decoder/{index}", pool and index < 6)
    for index in (7, 12, 17):
        conv(f"decoder/{index}", 64, 64, bias=False)
    conv("decoder/19", 3, 64)
    return arrays


class Oracle:
    """The network in NumPy, channels first, from the published description alone."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def conv(self, x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        kernel = self.arrays[f"{name}.weight"]
        pad = kernel.shape[2] // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
        out = np.tensordot(kernel, windows[:, ::stride, ::stride], axes=((1, 2, 3), (0, 3, 4)))
        return out + self.arrays.get(f"{name}.bias", np.zeros(len(out)))[:, None, None]

    def block(self, x: np.ndarray, name: str) -> np.ndarray:
        if f"{name}.pool.0.weight" in self.arrays:
            y = self.conv(x, f"{name}.pool.0")
            grouped = y.reshape(4, -1)
            grouped = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(grouped.var(1, keepdims=True) + 1e-5)
            scale, shift = (self.arrays[f"{name}.pool.1.{kind}"][:, None, None] for kind in ("weight", "bias"))
            x = x + self.conv(np.maximum(grouped.reshape(y.shape) * scale + shift, 0), f"{name}.pool.3")
        y = x
        for index in (0, 2, 4):
            y = self.conv(y if index == 0 else np.maximum(y, 0), f"{name}.conv.{index}")
        return np.maximum(x + y, 0)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        x = self.block(self.conv(picture, "encoder/0"), "encoder/1")
        for down in (2, 6, 10):
            x = self.conv(x, f"encoder/{down}", stride=2)
            for index in range(down + 1, down + 4):
                x = self.block(x, f"encoder/{index}")
        return self.conv(x, "encoder/14")

    def decode(self, latents: np.ndarray) -> np.ndarray:
        x = np.maximum(self.conv(np.tanh(latents / 3) * 3, "decoder/1"), 0)
        for index in (3, 4, 5):
            x = self.block(x, f"decoder/{index}")
        for conv, blocks in ((7, (8, 9, 10)), (12, (13, 14, 15)), (17, (18,))):
            x = self.conv(x.repeat(2, axis=1).repeat(2, axis=2), f"decoder/{conv}")
            for index in blocks:
                x = self.block(x, f"decoder/{index}")
        return self.conv(x, "decoder/19")


@pytest.fixture(scope="module")
def taef2(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray], object]:
    arrays = random_weights(32, pool=True)
    path = tmp_path_factory.mktemp("weights") / "taef2.npz"
    np.savez(path, **arrays)
    return path, arrays, taesd.build(variant="taef2", weights=path)


def test_taef2_has_158_arrays_and_its_parameters(taef2):
    _, arrays, model = taef2
    assert len(arrays) == 158
    assert model.count_params() == sum(array.size for array in arrays.values()) == 2_677_027


def test_taef2_is_the_published_network(taef2):
    _, arrays, model = taef2
    picture = np.random.default_rng(1).random((3, 16, 24))
    oracle = Oracle(arrays)
    latents = oracle.encode(picture)
    found = np.asarray(model.get_layer("encoder")(picture.transpose(1, 2, 0)[None].astype("float32")))
    np.testing.assert_allclose(found[0].transpose(2, 0, 1), latents, rtol=1e-3, atol=1e-3)
    found = np.asarray(model.get_layer("decoder")(latents.transpose(1, 2, 0)[None].astype("float32")))
    np.testing.assert_allclose(found[0].transpose(2, 0, 1), oracle.decode(latents), rtol=1e-3, atol=1e-3)


def test_any_size_is_reflected_to_a_multiple_of_8_and_cut_back(taef2):
    model = taef2[2]
    picture = np.random.default_rng(2).uniform(0, 255, (1, 13, 21, 3)).astype("float32")
    found = np.asarray(model(picture))
    padded = np.pad(picture, ((0, 0), (0, 3), (0, 3), (0, 0)), mode="reflect")
    assert found.shape == picture.shape
    assert found.min() >= 0 and found.max() <= 255
    np.testing.assert_allclose(found, np.asarray(model(padded))[:, :13, :21], atol=1e-2)


def test_every_variant_has_its_own_latents():
    assert {name: variant.latent_channels for name, variant in taesd.VARIANTS.items()} == LATENTS
    assert [name for name, variant in taesd.VARIANTS.items() if variant.pool] == ["taef2"]


@pytest.mark.parametrize("variant", ["taesdxl", "taef1"])
def test_the_relatives_without_pool_read_their_weights(variant, tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **random_weights(LATENTS[variant], pool=False))
    model = taesd.build(variant=variant, weights=path)
    assert model.get_layer("encoder")(np.zeros((1, 8, 16, 3), "float32")).shape == (1, 1, 2, LATENTS[variant])
    assert model(np.zeros((1, 9, 8, 3), "float32")).shape == (1, 9, 8, 3)
    assert taesd.VARIANTS[taesd.variant_of(path)] == taesd.VARIANTS[variant]


def test_a_file_of_weights_opens_by_its_shapes(taef2):
    path, _, model = taef2
    opened = open_autoencoder(path)
    assert opened.name == "taef2" and len(opened.sha256) == 64
    picture = np.full((1, 8, 8, 3), 99, "float32")
    np.testing.assert_allclose(np.asarray(opened.model(picture)), np.asarray(model(picture)), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("encoder/3.conv.2.bias"), "lacks 1 of the arrays.*encoder/3.conv.2.bias"),
        (lambda arrays: arrays.update({"encoder/99.weight": np.zeros(3)}), "unknown 1 of the arrays.*encoder/99"),
        (lambda arrays: arrays.update({"encoder/14.weight": np.zeros((31, 64, 3, 3))}), "encoder/14.weight has shape"),
    ],
)
def test_weights_that_do_not_fit_are_named(taef2, tmp_path, change, message):
    _, arrays, model = taef2
    changed = dict(arrays)
    change(changed)
    np.savez(tmp_path / "changed.npz", **changed)
    before = model.get_weights()[0].copy()
    with pytest.raises(FakeclfError, match=message):
        taesd.load_weights_npz(model, tmp_path / "changed.npz")
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_what_is_no_npz_is_refused_in_one_line(taef2, tmp_path):
    model = taef2[2]
    (tmp_path / "text.npz").write_text("not weights")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "cut.npz").write_bytes(taef2[0].read_bytes()[:5000])
    for name in ("text.npz", "one.npz", "cut.npz", "missing.npz"):
        with pytest.raises(FakeclfError, match=name) as error:
            taesd.load_weights_npz(model, tmp_path / name)
        assert "\n" not in str(error.value)


def test_weights_are_found_by_variable_or_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FAKECLF_TAEF2", raising=False)
    with pytest.raises(FakeclfError, match="FAKECLF_TAEF2"):
        taesd.weights_path("taef2", tmp_path)
    kept = tmp_path / "autoencoders" / "taef2.npz"
    kept.parent.mkdir()
    kept.touch()
    assert taesd.weights_path("taef2", tmp_path) == kept
    (tmp_path / "elsewhere.npz").touch()
    monkeypatch.setenv("FAKECLF_TAEF2", str(tmp_path / "elsewhere.npz"))
    assert taesd.weights_path("taef2", tmp_path) == tmp_path / "elsewhere.npz"


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(FakeclfError, match="taesdxl"):
        taesd.build(variant="taesd9")
