"""Files of the published files' names and shapes, of narrow networks; the published files themselves are not here."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from fakeclf import bundle, registry
from fakeclf.errors import FakeclfError
from fakeclf.weights_import import LIMIT, import_bundle, read_tensors
from segmentation import import_localizers
from segmentation.localize import open_localizer
from segmentation.models import iid_net, mantra_net

TO_TORCH = {"conv": (3, 2, 0, 1), "depthwise": (2, 3, 0, 1), "bayar": (1, 2, 0)}
"""How Keras' axes are ordered in PyTorch, by layout; others are the same in both."""

GENES = "01 03 00 | 02 00 00 " + 8 * "| 03 03 03 "
NARROW: dict[str, dict[str, Any]] = {
    "iid-net": {"width": 0.05, "genotype": GENES, "bayar": "published"},
    "nix-net": {"width": 0.03},
    "mvss-net": {"width": 0.02},
    "fcn-resnet50": {"width": 0.03},
}
SPARE = {
    "iid-net": {"att.local_att.weight": (13, 1, 5, 5), "median.weight": (1, 1, 5, 5)},
    "nix-net": {},
    "mvss-net": {"model.fc.weight": (1000, 41), "model.fc.bias": (1000,)},
    "fcn-resnet50": {"aux_classifier.0.weight": (8, 31, 3, 3), "aux_classifier.4.bias": (1,)},
}
"""What the published files hold besides."""

PICTURE = np.random.default_rng(0).integers(0, 256, (1, 24, 20, 3)).astype("float32")


def module_of(name: str) -> Any:
    return importlib.import_module(registry.model(name).builder.partition(":")[0])


@functools.cache
def narrow(name: str) -> keras.Model:
    """A narrow network with random weights; tests leave them as they are."""
    random, model = np.random.default_rng(1), registry.model(name).build(**NARROW[name])
    for _, variable, layout in module_of(name).torch_weights(model):
        if layout == "vector":
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def state_of(name: str) -> dict[str, np.ndarray]:
    """The weights of ``narrow(name)`` as a state dictionary, and what the published file holds besides."""
    state = {}
    for tensor, variable, layout in module_of(name).torch_weights(narrow(name)):
        value = np.asarray(variable)
        state[tensor] = value.transpose(TO_TORCH[layout]) if layout in TO_TORCH else value
        if tensor.endswith("running_var"):
            state[tensor.replace("running_var", "num_batches_tracked")] = np.int64(5)
    return state | {spare: np.zeros(shape, "float32") for spare, shape in SPARE[name].items()}


@pytest.mark.parametrize("name", NARROW)
def test_a_state_dictionary_becomes_a_bundle(name: str, tmp_path: Path) -> None:
    model, state = narrow(name), state_of(name)
    prefix = "module." if name == "iid-net" else ""
    np.savez(tmp_path / "weights.npz", **{prefix + tensor: value for tensor, value in state.items()})
    settings = {key: value for key, value in NARROW[name].items() if key != "bayar"}
    folder, notes = import_bundle(name, tmp_path / "weights.npz", out=tmp_path, settings=settings)
    assert bool(notes) == bool(SPARE[name])
    card = bundle.read_card(folder)
    assert (card.name, card.kind, card.model, card.threshold) == (name, "localizer", name, 0.5)
    assert card.module == module_of(name).__name__ and card.limits == [LIMIT]
    assert card.trained_on["imported"] == "weights.npz"
    assert card.trained_on["sha256"] == bundle.sha256(tmp_path / "weights.npz")
    assert card.trained_on["arguments"] == NARROW[name]
    assert card.parameters == model.count_params() and not bundle.verify(folder)
    loaded = bundle.load(folder)
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    np.testing.assert_allclose(np.asarray(loaded(PICTURE)["mask"]), np.asarray(model(PICTURE)["mask"]), atol=1e-5)
    if name == "iid-net":
        assert isinstance(loaded.get_layer("bayar_conv"), iid_net.PublishedBayarConv2D)
        found = open_localizer(folder)(PICTURE[0].astype("uint8"))
        np.testing.assert_allclose(found.mask, np.asarray(model(PICTURE)["mask"])[0, :, :, 0], atol=1e-5)


def test_iid_net_is_not_imported_with_another_bayar_layer(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.zeros(1))
    with pytest.raises(FakeclfError, match="need bayar=published; received 'all'"):
        import_bundle("iid-net", tmp_path / "weights.npz", out=tmp_path, settings={"bayar": "all"})


def test_a_head_for_other_classes_can_be_dropped(tmp_path: Path) -> None:
    model, state = narrow("fcn-resnet50"), state_of("fcn-resnet50")
    width = state["classifier.4.weight"].shape[1]
    state |= {"classifier.4.weight": np.ones((21, width, 1, 1), "float32"), "classifier.4.bias": np.ones(21, "float32")}
    np.savez(tmp_path / "coco.npz", **state)
    with pytest.raises(FakeclfError, match="tells 21 classes apart.*pass --set head=drop"):
        import_bundle("fcn-resnet50", tmp_path / "coco.npz", out=tmp_path, settings=NARROW["fcn-resnet50"])
    with pytest.raises(FakeclfError, match="head must be keep or drop; received 'none'"):
        import_bundle("fcn-resnet50", tmp_path / "coco.npz", out=tmp_path, settings={"head": "none"})
    folder, notes = import_bundle(
        "fcn-resnet50", tmp_path / "coco.npz", out=tmp_path, settings={**NARROW["fcn-resnet50"], "head": "drop"}
    )
    assert any("start_from" in note for note in notes) and any("auxiliary" in note for note in notes)
    card = bundle.read_card(folder)
    assert "untrained" in card.limits[0] and card.limits[1] == LIMIT
    assert card.trained_on["head"] == "dropped" and "head" not in card.trained_on["arguments"]
    loaded = bundle.load(folder)
    ours, theirs = (
        {tensor: np.asarray(variable) for tensor, variable, _ in module_of("fcn-resnet50").torch_weights(network)}
        for network in (loaded, model)
    )
    for tensor in ours:
        if not tensor.startswith("classifier.4."):
            np.testing.assert_array_equal(ours[tensor], theirs[tensor])


def test_a_file_of_another_model_or_size_is_told(tmp_path: Path) -> None:
    nix = state_of("nix-net")
    sixty = nix | {"conv_4.conv1.0.weight": np.zeros((768, 768, 3, 3), "float16")}
    marks = {
        "iid-net": ["bayar_conv.weight", "decision.15.weight"],
        "mvss-net": ["constrain_conv.kernel"],
        "fcn-resnet50": ["classifier.0.weight", "backbone.layer4.2.conv3.weight"],
    }
    files = {name: {tensor: np.zeros(1) for tensor in held} for name, held in marks.items()}
    files |= {"sixty": sixty, "spare": nix | {"extra": np.zeros(1)}}
    for name, state in files.items():
        np.savez(tmp_path / f"{name}.npz", **state)
    lacking = "lacks 194 of the arrays of nix-net with --set size=40M .*; the file looks like weights of"
    for model, file, problem in (
        ("nix-net", "iid-net", f"{lacking} iid-net: import it as that"),
        ("nix-net", "mvss-net", f"{lacking} mvss-net:"),
        (
            "mantra-net",
            "fcn-resnet50",
            "2 trained arrays, mantra-net has 35; the file looks like weights of fcn-resnet50:",
        ),
        ("nix-net", "sixty", "has shape .*; the file looks like weights of nix-net with --set size=60M:"),
        ("nix-net", "spare", r"unknown 1 of the arrays it holds \(extra\); bring"),
    ):
        with pytest.raises(FakeclfError, match=problem) as error:
            import_bundle(model, tmp_path / f"{file}.npz", out=tmp_path, settings={"width": 0.03})
        assert "\n" not in str(error.value)
    with pytest.raises(FakeclfError, match="are one file; received 2"):
        import_bundle("nix-net", f"{tmp_path / 'a.pth'},{tmp_path / 'b.pth'}", out=tmp_path)


WIDTH = 0.05


@pytest.fixture(scope="module")
def mantra() -> tuple[keras.Model, dict[str, np.ndarray]]:
    """A narrow ManTra-Net, and its arrays under the authors' names, in the order in which Keras 2 writes them."""
    random = np.random.default_rng(2)
    model = mantra_net.build(width=WIDTH, gates="hard")
    arrays: dict[str, np.ndarray] = {}

    def add(name: str, layer: str, *parts: str) -> None:
        for part in parts:
            arrays[f"{name}/{part}"] = np.asarray(getattr(model.get_layer(layer), part))

    for layer in model.layers:
        for variable in layer.weights:
            if variable.name in ("bias", "moving_mean"):
                variable.assign(random.normal(0, 0.2, variable.shape))
            elif variable.name == "moving_variance":
                variable.assign(random.uniform(0.001, 0.01, variable.shape))
    arrays["b1c1/regular_kernel"] = np.asarray(model.get_layer("plain").kernel)
    arrays["b1c1/bayar_kernel"] = np.asarray(model.get_layer("bayar").kernel)
    names = ["b1c2", "b2c1", "b2c2", "b3c1", "b3c2", "b3c3", "b4c1", "b4c2", "b4c3", "b5c1", "b5c2"]
    for number, name in enumerate(names, start=1):
        add(name, f"conv{number}", "kernel", "bias")
    add("transform", "transform", "kernel", "bias")
    add("outlierTrans", "project", "kernel")
    add("bnorm", "project_norm", "moving_mean", "moving_variance")
    arrays["glbStd/min_std"] = np.full((1, 1, 1, 64), 2e-5, "float32")
    add("cLSTM", "near_to_far", "kernel", "recurrent_kernel", "bias")
    add("pred", "logits", "kernel", "bias")
    return model, arrays


def save_h5(path: Path, arrays: dict[str, np.ndarray], names: list[str] | None = None) -> Path:
    """As ``save_weights`` of Keras 2 does: the extractor is one nested model, so one group."""
    nested = [name for name in arrays if name.startswith("b1") or name[0] == "b" and name[2] == "c"]
    nested += [name for name in arrays if name.startswith("transform")]
    groups: dict[str, list[str]] = {"img_in": [], "Featex": nested}
    for name in arrays:
        if name not in nested:
            groups.setdefault(name.partition("/")[0], []).append(name)
    called = dict(zip(arrays, names or arrays, strict=True))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in groups]
        for layer, members in groups.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{called[name]}:0".encode() for name in members]
            for name in members:
                group[f"{called[name]}:0"] = arrays[name]
    return path


@pytest.mark.parametrize("named", ["by name, rotated", "by order"])
def test_mantra_net_is_read_from_keras_2(mantra, tmp_path: Path, named: str) -> None:
    model, arrays = mantra
    if named == "by order":
        file = save_h5(tmp_path / "w.h5", arrays, [f"layer_{number}/weight" for number in range(len(arrays))])
    else:
        # Keras 2 puts frozen layers of a nested model behind the others; some versions also store fixed filters.
        first = [name for name in arrays if name.startswith(("b1", "b2"))]
        turned = {name: arrays[name] for name in arrays if name not in first} | {name: arrays[name] for name in first}
        file = save_h5(tmp_path / "w.h5", turned | {"b1c1/srm": model.get_layer("srm").kernel})
    folder, _ = import_bundle("mantra-net", file, out=tmp_path, settings={"width": WIDTH})
    card = bundle.read_card(folder)
    assert (card.kind, card.model, card.module) == ("localizer", "mantra-net", mantra_net.__name__)
    loaded = bundle.load(folder)
    assert loaded.get_layer("near_to_far").gates == "hard"
    model.get_layer("differences").floor.assign(arrays["glbStd/min_std"])
    pictures = np.random.default_rng(3).uniform(0, 255, (1, 20, 24, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(loaded(pictures)["mask"]), np.asarray(model(pictures)["mask"]), atol=1e-5)
    loaded.get_layer("near_to_far").gates = "sigmoid"
    assert np.abs(np.asarray(loaded(pictures)["mask"]) - np.asarray(model(pictures)["mask"])).max() > 1e-4


def test_other_keras_2_files_are_refused(mantra, tmp_path: Path) -> None:
    model, arrays = mantra
    one_less = {name: value for name, value in arrays.items() if name != "b3c2/bias"}
    wide = arrays | {"b3c2/bias": np.zeros(7, "float32")}
    other_srm = arrays | {"b1c1/srm": model.get_layer("srm").kernel[::-1, :, ::-1] + 1}
    for changed, problem in (
        (one_less, "holds 34 trained arrays, mantra-net has 35; bring the published weights of mantra-net"),
        (wide, r"Featex/b3c2/bias has shape \(7,\)"),
        (other_srm, "b1c1/srm holds other SRM filters"),
    ):
        with pytest.raises(FakeclfError, match=problem) as error:
            import_bundle("mantra-net", save_h5(tmp_path / "w.h5", changed), out=tmp_path, settings={"width": WIDTH})
        assert "\n" not in str(error.value)
    with pytest.raises(FakeclfError, match="mantra-net takes no 'size'"):
        import_bundle("mantra-net", tmp_path / "w.h5", out=tmp_path, settings={"size": 1})
    with pytest.raises(FakeclfError, match="the file looks like weights of mantra-net"):
        import_bundle("nix-net", save_h5(tmp_path / "w.h5", arrays), out=tmp_path, settings={"width": 0.03})


def test_full_width_sizes_are_recognised() -> None:
    def marks(join: int) -> dict[str, np.ndarray]:
        return {"conv_4.conv1.0.weight": np.zeros((join, 1, 1, 1)), "upsample_3.conv.weight": np.zeros(1)}

    found = [import_localizers.recognise(marks(join)) for join in (384, 768, 1792, 7)]
    assert found == [f"nix-net with --set size={size}" for size in ("40M", "60M", "85M")] + ["nix-net"]


def test_a_state_dictionary_saved_by_pytorch_is_the_same(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reading PyTorch's files needs torch, an extra")
    state = state_of("nix-net")
    torch.save({f"module.{name}": torch.tensor(value) for name, value in state.items()}, tmp_path / "weights.pth")
    stored = read_tensors(tmp_path / "weights.pth")
    assert set(stored) == set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(stored[name], value)
