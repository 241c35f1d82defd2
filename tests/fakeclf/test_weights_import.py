"""Files of weights, as published ones are laid out, made on the spot; the published files themselves are not here."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from fakeclf import bundle, registry, weights_import
from fakeclf.errors import FakeclfError
from fakeclf.models import taesd
from fakeclf.models.autoencoder import open_autoencoder

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.normal(size=(1, 5, 6, 4)).astype("float32")


def one_line(error: pytest.ExceptionInfo[FakeclfError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def torch_conv(x: np.ndarray, weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """PyTorch's Conv2d, term by term: x (c, h, w), weight (out, in / groups, h, w), no padding."""
    out, into, height, width = weight.shape
    made = np.zeros((out, x.shape[1] - height + 1, x.shape[2] - width + 1))
    for o in range(out):
        first = o // (out // groups) * into
        for row, column in np.ndindex(made.shape[1:]):
            made[o, row, column] = (
                weight[o] * x[first : first + into, row : row + height, column : column + width]
            ).sum()
    return made


def torch_conv_transpose(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """PyTorch's ConvTranspose2d: weight (in, out, h, w); each pixel adds a scaled kernel to the output."""
    into, out, height, width = weight.shape
    made = np.zeros((out, (x.shape[1] - 1) * stride + height, (x.shape[2] - 1) * stride + width))
    for c, row, column in np.ndindex(x.shape):
        top, left = row * stride, column * stride
        made[:, top : top + height, left : left + width] += x[c, row, column] * weight[c]
    return made


@pytest.mark.parametrize(
    ("kind", "layer", "shape", "oracle"),
    [
        ("conv", lambda: keras.layers.Conv2D(3, (3, 2), use_bias=False), (3, 4, 3, 2), torch_conv),
        (
            "depthwise",
            lambda: keras.layers.DepthwiseConv2D((3, 2), use_bias=False),
            (4, 1, 3, 2),
            lambda x, weight: torch_conv(x, weight, groups=4),
        ),
        (
            "conv_transpose",
            lambda: keras.layers.Conv2DTranspose(3, (3, 2), strides=2, use_bias=False),
            (4, 3, 3, 2),
            lambda x, weight: torch_conv_transpose(x, weight, 2),
        ),
    ],
)
def test_a_layer_with_torch_weights_computes_what_torch_does(kind, layer, shape, oracle) -> None:
    built = layer()
    built.build(PICTURE.shape)
    weight = RANDOM.normal(size=shape).astype("float32")
    weights_import.fill([("w", built.kernel, kind)], {"w": weight}, model="m", source="f")
    expected = oracle(PICTURE[0].transpose(2, 0, 1), weight).transpose(1, 2, 0)
    np.testing.assert_allclose(np.asarray(built(PICTURE))[0], expected, atol=1e-4)


def test_dense_and_bayar_weights_are_turned() -> None:
    dense, bayar = keras.Variable(np.zeros((2, 3))), keras.Variable(np.zeros((8, 1, 3)))
    arrays = {"d": RANDOM.normal(size=(3, 2)), "b": RANDOM.normal(size=(1, 3, 8))}
    weights_import.fill([("d", dense, "dense"), ("b", bayar, "bayar")], arrays, model="m", source="f")
    np.testing.assert_allclose(np.asarray(dense)[1, 2], arrays["d"][2, 1], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(bayar)[5, 0, 1], arrays["b"][0, 1, 5], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("b"), r"f\.pth lacks 1 of the arrays of net \(b\)"),
        (lambda arrays: arrays.update(c=np.zeros(2)), r"unknown 1 of the arrays it holds \(c\)"),
        (
            lambda arrays: arrays.update(a=np.zeros((3, 2, 1, 1))),
            r"a has shape \(3, 2, 1, 1\), where net has \(2, 3, 1, 1",
        ),
        (lambda arrays: arrays.update(a=np.zeros(6)), r"a has shape \(6,\), where net has \(2, 3, 1, 1\)"),
        (lambda arrays: arrays.update(b=np.array([1, np.inf])), "b holds infinite values or NaN"),
        (lambda arrays: arrays.update(b=np.array([1, 1e39])), "b holds infinite values or NaN"),
        (lambda arrays: arrays.update(b=np.array(["x", "y"])), "b holds <U1, no numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_named_and_nothing_is_loaded(change, message) -> None:
    kernel, bias = keras.Variable(np.zeros((1, 1, 3, 2))), keras.Variable(np.zeros(2))
    arrays = {"a": np.ones((2, 3, 1, 1)), "b": np.ones(2)}
    change(arrays)
    with pytest.raises(FakeclfError, match=message) as error:
        weights_import.fill([("a", kernel, "conv"), ("b", bias, "vector")], arrays, model="net", source="f.pth")
    one_line(error)
    assert not np.asarray(kernel).any() and not np.asarray(bias).any()


def test_counters_of_batch_norms_and_named_arrays_may_be_spare() -> None:
    variable = keras.Variable(np.zeros(2))
    arrays = {"a": np.ones(2, "float16"), "bn.num_batches_tracked": np.int64(7), "old": np.zeros(3)}
    weights_import.fill([("a", variable, "vector")], arrays, model="m", source="f", ignore=["old"])
    np.testing.assert_array_equal(np.asarray(variable), 1)


def test_what_data_parallel_puts_before_names_is_cut(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", **{"module.a": np.ones(2), "module.module.b": np.zeros(1)})
    np.savez(tmp_path / "some.npz", **{"module.a": np.ones(2), "b": np.zeros(1)})
    assert set(weights_import.read_tensors(tmp_path / "all.npz")) == {"a", "module.b"}
    assert set(weights_import.read_tensors(tmp_path / "some.npz")) == {"module.a", "b"}


@pytest.mark.parametrize("inside", ["", "model_weights"])
def test_a_keras_2_file_is_read_in_the_order_of_its_lists(tmp_path: Path, inside: str) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        root = file.create_group(inside) if inside else file
        # Long lists are cut into numbered pieces.
        root.attrs["layer_names0"] = [b"z", b"nothing"]
        root.attrs["layer_names1"] = [b"a"]
        for layer, weights in {"z": ["z/kernel:0", "z/bias:0"], "nothing": [], "a": ["inner/kernel:0"]}.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for number, name in enumerate(weights):
                group[name] = np.full(2, number, "float32")
    arrays = weights_import.read_tensors(tmp_path / "w.h5")
    assert list(arrays) == ["z/z/kernel", "z/z/bias", "a/inner/kernel"]
    np.testing.assert_array_equal(arrays["z/z/bias"], 1)


def test_files_that_cannot_be_read_are_named_in_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", a=RANDOM.normal(size=500))
    with h5py.File(tmp_path / "keras3.h5", "w") as file:
        file["layers/a"] = np.zeros(3)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:900])
    (tmp_path / "cut.h5").write_bytes((tmp_path / "keras3.h5").read_bytes()[:1000])
    np.savez(tmp_path / "empty.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    (tmp_path / "w.docx").touch()
    for name, problem in {
        "cut.npz": "no readable .npz file",
        "cut.h5": "no readable Keras 2 .h5 file",
        "keras3.h5": "lacks the list layer_names",
        "empty.npz": "holds no arrays",
        "objects.npz": "no readable .npz file",
        "missing.pth": "there is no file",
        "w.docx": "allowed: .pth",
    }.items():
        with pytest.raises(FakeclfError, match=problem) as error:
            weights_import.read_tensors(tmp_path / name)
        assert name in one_line(error)


@pytest.mark.parametrize(("package", "suffix"), [("torch", ".pth"), ("safetensors", ".safetensors")])
def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path, monkeypatch, package, suffix) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"w{suffix}").touch()
    with pytest.raises(FakeclfError, match=f"can only be read with {package}; install it with: pip install") as error:
        weights_import.read_tensors(tmp_path / f"w{suffix}")
    one_line(error)


class Code:
    """What a harmful pickle holds: something to call while it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_files_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reading PyTorch's files needs torch, an extra")
    tensors = {"module.a": torch.arange(3.0), "module.b": torch.full((2,), 0.5, dtype=torch.bfloat16)}
    torch.save(tensors, tmp_path / "plain.pth")
    torch.save({"epoch": 3, "optimizer": {}, "state_dict": tensors}, tmp_path / "checkpoint.pth")
    torch.save(tensors, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("plain.pth", "checkpoint.pth", "old.pt"):
        arrays = weights_import.read_tensors(tmp_path / name)
        np.testing.assert_array_equal(arrays["a"], [0, 1, 2])
        np.testing.assert_array_equal(arrays["b"], np.float32([0.5, 0.5]))

    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "other.pth")
    torch.save({"a": Code(tmp_path / "ran")}, tmp_path / "code.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    for source in ("plain.pth", "old.pt"):
        whole = (tmp_path / source).read_bytes()
        (tmp_path / f"cut-{source}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").touch()
    for name, problem in {
        "list.pth": "is no state dictionary, it holds list",
        "other.pth": "is no state dictionary, it holds a mapping with 'epoch', 'loss'",
        "code.pth": "mkdir besides tensors, which could run code.* refused",
        "pickle.pth": "could run code.* refused",
        "module.pth": "Linear besides tensors, which could run code.* refused",
        "cut-plain.pth": "no readable PyTorch file",
        "cut-old.pt": "no readable PyTorch file",
        "text.pth": "no readable PyTorch file|is broken",
        "empty.pth": "no readable PyTorch file",
    }.items():
        with pytest.raises(FakeclfError, match=problem) as error:
            weights_import.read_tensors(tmp_path / name)
        assert name in one_line(error)
    assert not (tmp_path / "ran").exists()


def test_safetensors_are_read(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy", reason="reading .safetensors needs that package")
    package.save_file({"a": np.arange(3, dtype="float16")}, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(weights_import.read_tensors(tmp_path / "w.safetensors")["a"], [0, 1, 2])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-2])
    with pytest.raises(FakeclfError, match="no readable safetensors file"):
        weights_import.read_tensors(tmp_path / "cut.safetensors")


def test_every_importer_is_there_and_can_tell_its_own() -> None:
    importers = weights_import.importable()
    assert set(taesd.VARIANTS) <= set(importers)
    assert {spec.name for spec in registry.models() if spec.importer} <= set(importers)
    for target in importers.values():
        assert callable(registry.resolve(target))
        assert registry.resolve(target.partition(":")[0] + ":recognise")({"a": np.zeros(3)}) is None


def test_models_without_published_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match="did you mean 'iid-net'"):
        weights_import.import_bundle("iidnet", tmp_path / "w.npz")
    with pytest.raises(FakeclfError, match="'densenet121' can be imported; allowed: .*taesd"):
        weights_import.import_bundle("densenet121", tmp_path / "w.npz")
    with pytest.raises(FakeclfError, match="one word"):
        weights_import.import_bundle("iid-net", tmp_path / "w.npz", bundle_name="../x")


@pytest.fixture(scope="module")
def autoencoder() -> tuple[keras.Model, dict[str, np.ndarray]]:
    """TAESD with random weights, and these under the names and in the layout of the PyTorch modules."""
    model, arrays = taesd.build(variant="taesd"), {}
    for part in ("encoder", "decoder"):
        for layer in model.get_layer(part).layers:
            for variable in layer.weights:
                if variable.name == "kernel":
                    arrays[f"{part}.{layer.name}.weight"] = np.asarray(variable).transpose(3, 2, 0, 1)
                else:
                    variable.assign(np.random.default_rng(1).normal(0, 0.1, variable.shape))
                    arrays[f"{part}.{layer.name}.bias"] = np.asarray(variable)
    return model, arrays


def save_part(path: Path, arrays: dict[str, np.ndarray], part: str) -> Path:
    np.savez(path, **{name[8:]: array for name, array in arrays.items() if name.startswith(part)})
    return path


def as_diffusers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names of ``AutoencoderTiny``: the layers of a part in ``layers``, the decoder's counted without its first."""
    named = {}
    for name, array in arrays.items():
        part, number, rest = name.split(".", 2)
        named[f"{part}.layers.{int(number) - (part == 'decoder')}.{rest}"] = array
    return named


@pytest.mark.parametrize("way", ["two files", "one file", "diffusers"])
def test_an_autoencoder_becomes_a_bundle(autoencoder, tmp_path: Path, way: str) -> None:
    model, arrays = autoencoder
    if way == "two files":
        # The order does not matter: the parts are told apart by what they hold.
        parts = (save_part(tmp_path / f"taesd_{part}.npz", arrays, part) for part in ("decoder", "encoder"))
        file = ",".join(map(str, parts))
    else:
        file = str(tmp_path / "both.npz")
        np.savez(file, **(as_diffusers(arrays) if way == "diffusers" else arrays))
    folder, notes = weights_import.import_bundle("taesd", file, bundle_name="small", out=tmp_path)
    assert folder == tmp_path / "small" and not notes and not bundle.verify(folder)
    card = bundle.read_card(folder)
    assert (card.kind, card.model, card.limits) == ("autoencoder", "taesd", [weights_import.LIMIT])
    first = Path(file.split(",")[0])
    assert first.name in card.trained_on["imported"] and bundle.sha256(first) in card.trained_on["sha256"]
    picture = RANDOM.uniform(0, 255, (1, 9, 16, 3)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(open_autoencoder(folder).model(picture)), np.asarray(model(picture)), atol=1e-3
    )


def test_files_of_another_or_half_an_autoencoder_are_told(autoencoder, tmp_path: Path) -> None:
    _, arrays = autoencoder
    encoder = save_part(tmp_path / "encoder.npz", arrays, "encoder")
    decoder = save_part(tmp_path / "decoder.npz", arrays, "decoder")
    np.savez(tmp_path / "iid.npz", **{"bayar_conv.weight": np.zeros(1), "decision.15.weight": np.zeros(1)})
    for name, file, problem in (
        ("taesd", f"{encoder}", "nothing but the encoder; give both files as ENCODER,DECODER"),
        ("taesd", f"{encoder},{encoder}", "once more; give one encoder and one decoder"),
        ("taef1", f"{encoder},{decoder}", "has shape .*; the file looks like weights of taesd or taesdxl"),
        ("taesd", str(tmp_path / "iid.npz"), "holds no autoencoder .*; the file looks like weights of iid-net"),
    ):
        with pytest.raises(FakeclfError, match=problem) as error:
            weights_import.import_bundle(name, file, out=tmp_path / "models")
        one_line(error)
    with pytest.raises(FakeclfError, match="taesd takes no 'size'"):
        weights_import.import_bundle("taesd", encoder, out=tmp_path, settings={"size": 3})
    assert not (tmp_path / "models").exists()
    assert taesd.recognise(weights_import.read_tensors(decoder)) == "taesd or taesdxl"
