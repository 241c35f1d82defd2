"""Published weights into bundles: read files of tensors, fit them to a model, write model and card.

    import_bundle("iid-net", "GIID_weights.pth")         # -> saved_models/iid-net

Every model that can be filled names an importer in the registry, ``"module:function"``, called as
``importer(name, files, settings) -> Imported``; its module also has ``recognise(arrays)``, which names the model whose
arrays they look like, so that a file given to the wrong model can be put right. No file is ever unpickled into
anything but tensors.
"""

from __future__ import annotations

import importlib
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import bundle
from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest, models, resolve

LAYOUTS: dict[str, tuple[int, ...] | None] = {
    "conv": (2, 3, 1, 0),
    "conv_transpose": (2, 3, 1, 0),
    "depthwise": (2, 3, 0, 1),
    "dense": (1, 0),
    "bayar": (2, 0, 1),
    "vector": None,
    "keras": None,
}
"""How the axes of a stored array become those of a Keras variable. PyTorch's layouts: ``conv`` (out, in, h, w),
``conv_transpose`` (in, out, h, w), ``depthwise`` (channels, 1, h, w), ``dense`` (out, in), ``bayar`` (in, out, places),
``vector`` as it is; ``keras`` is Keras' own."""

LIMIT = "weights as published; not measured here"
"""What the card of every imported bundle says."""

_AUTOENCODERS = dict.fromkeys(("taef2", "taesd", "taesdxl", "taesd3", "taef1"), "fakeclf.models.taesd:import_weights")
"""Not in the registry: they are brought, never trained here."""

_INSIDE = ("state_dict", "model_state_dict", "model", "net", "generator", "params")
"""Where checkpoints keep the state dictionary beside an optimizer's and the like."""

_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    struct.error,
    zlib.error,
)


@dataclass
class Imported:
    """What an importer makes of files.

    Attributes:
        model: the Keras model, filled.
        card: its card; name, origin and hashes are filled in by ``import_bundle``.
        notes: what the user should know, one line each.
    """

    model: Any
    card: Card
    notes: list[str] = field(default_factory=list)


def importable() -> dict[str, str]:
    """Names of the models that can be imported, and their importers."""
    return {spec.name: spec.importer for spec in models() if spec.importer} | _AUTOENCODERS


def import_bundle(
    name: str,
    file: str | Path,
    *,
    bundle_name: str | None = None,
    out: str | Path = "saved_models",
    force: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Path, list[str]]:
    """Turn published weights into a bundle.

    Args:
        name: of the model, one of ``importable``.
        file: with the weights: ``.pth``, ``.pt`` or another of PyTorch's, ``.safetensors``, ``.npz`` or Keras 2's
            ``.h5``; several as ``"ENCODER,DECODER"``.
        bundle_name: of the bundle; default: ``name``.
        out: the folder that gets the folder of the bundle.
        force: replace a bundle of that name.
        settings: arguments of the model's builder, such as ``{"size": "60M"}``.

    Returns:
        The bundle's folder, and notes, one line each.

    Raises:
        FakeclfError: an unknown model, a file that cannot be read or holds other weights, a bundle that is there.
    """
    importers = importable()
    if name not in importers:
        # The name of another model is no misspelling.
        known = name in [spec.name for spec in models()]
        allowed = f"allowed: {', '.join(importers)}" if known else closest(name, importers)
        raise FakeclfError(f"no published weights of {name!r} can be imported; {allowed}")
    bundle_name = bundle_name or name
    if bundle_name != Path(bundle_name).name or bundle_name.startswith("."):
        raise FakeclfError(f"--name names a folder below --out: one word, without / and leading dot; {bundle_name!r}")
    folder = Path(out) / bundle_name
    if folder.exists() and not force:
        raise FakeclfError(f"{folder} exists already; choose another --name, or pass --force to replace it")
    files = [Path(file)] if Path(file).is_file() else [Path(part) for part in str(file).split(",") if part]
    made = resolve(importers[name])(name, files, dict(settings or {}))
    made.card.name = folder.name
    made.card.trained_on = {
        "imported": ", ".join(path.name for path in files),
        "sha256": ", ".join(bundle.sha256(path) for path in files),
        **made.card.trained_on,
    }
    made.card.limits = [*made.card.limits, LIMIT]
    # In float32: halving would round what was published.
    return bundle.save(made.model, made.card, folder, force=force, float16=False), made.notes


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, in its order; ``module.`` before every name, as DataParallel leaves it, is cut.

    Args:
        path: a file of PyTorch (``.pth``, ``.pt``, ``.ckpt``, ``.bin``, ``.tar``; needs torch), ``.safetensors``
            (needs that package), ``.npz``, or ``.h5`` of Keras 2, whose names are ``LAYER/WEIGHT``.

    Raises:
        FakeclfError: no such file, another kind of file, a broken one, or one that holds no arrays by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FakeclfError(f"there is no file {path}; give a file of published weights")
    if path.suffix.lower() not in _READERS:
        raise FakeclfError(f"{path} is no file of weights by its name; allowed: {', '.join(_READERS)}")
    arrays = _READERS[path.suffix.lower()](path)
    if not arrays:
        raise FakeclfError(f"{path} holds no arrays; give a file of published weights")
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def fill(
    slots: Iterable[tuple[str, Any, str]],
    arrays: Mapping[str, np.ndarray],
    *,
    model: str,
    source: str | Path,
    ignore: Collection[str] = (),
) -> None:
    """Give variables the values of the arrays of their names; all or none.

    Args:
        slots: name, Keras variable and layout, one of ``LAYOUTS``, of each array that must be there.
        arrays: by name, in the stored layout.
        model: what messages call the model, in the words of ``recognise``.
        source: what messages call the file.
        ignore: names that may be there and have no variable; ``*.num_batches_tracked`` always may.

    Raises:
        FakeclfError: arrays are missing, unknown, of another shape or hold something else than finite numbers. The
            message names the first ones, and the model that the arrays look like.
    """
    wanted = {name: (variable, LAYOUTS[layout]) for name, variable, layout in slots}
    lacking = [name for name in wanted if name not in arrays]
    if lacking:
        raise misfit(f"{source} lacks {len(lacking)} of the arrays of {model} {_first(lacking)}", arrays, model)
    spare = {*wanted, *ignore}
    unknown = [name for name in arrays if name not in spare and not name.endswith(".num_batches_tracked")]
    if unknown:
        problem = f"{source} does not fit {model}, to which are unknown {len(unknown)} of the arrays it holds"
        raise misfit(f"{problem} {_first(unknown)}", arrays, model)
    values = {}
    for name, (variable, axes) in wanted.items():
        shape = tuple(variable.shape)
        stored = shape if axes is None else tuple(shape[axes.index(axis)] for axis in range(len(axes)))
        if arrays[name].shape != stored:
            problem = f"{source}: {name} has shape {arrays[name].shape}, where {model} has {stored}"
            raise misfit(problem, arrays, model)
        values[name] = _numbers(arrays[name], name, source)
    for name, (variable, axes) in wanted.items():
        variable.assign(values[name] if axes is None else values[name].transpose(axes))


def misfit(problem: str, arrays: Mapping[str, np.ndarray], model: str) -> FakeclfError:
    """The error for arrays that do not fit ``model``: what is wrong, and which model they look like."""
    likely = likely_model(arrays)
    if likely is None or likely == model.split()[0] or model in likely.split(" or "):
        return FakeclfError(f"{problem}; bring the published weights of {model}")
    return FakeclfError(f"{problem}; the file looks like weights of {likely}: import it as that")


def likely_model(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The model that arrays look like by their names and shapes; None if they look like none that is known."""
    modules = dict.fromkeys(target.partition(":")[0] for target in importable().values())
    found = (resolve(f"{module}:recognise")(arrays) for module in modules)
    return next((name for name in found if name), None)


def _numbers(array: np.ndarray, name: str, source: str | Path) -> np.ndarray:
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise FakeclfError(
            f"{source}: {name} holds {array.dtype}, no numbers; bring the weights as they were published"
        )
    with np.errstate(over="ignore"):
        numbers = array.astype("float32")
    if not np.isfinite(numbers).all():
        raise FakeclfError(f"{source}: {name} holds infinite values or NaN; such weights are spoilt, bring others")
    return numbers


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    torch = _package("torch", path, "pip install 'fakeclf[torch]'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            tensors = _state_dict(loaded, torch.Tensor)
            if tensors is not None:
                return {name: _array(tensor) for name, tensor in tensors.items()}
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL\s+(\S+)", str(error))
        what = f"holds {named[1]} besides tensors" if named else "is broken, or holds something else than tensors"
        raise FakeclfError(
            f"{path} {what}, which could run code when it is loaded; refused: bring a state dictionary alone"
        ) from None
    except _UNREADABLE as error:
        raise _broken(path, "PyTorch", error) from None
    held = type(loaded).__name__
    if isinstance(loaded, Mapping):
        held = "a mapping with " + (", ".join(map(repr, list(loaded)[:4])) or "nothing")
    raise FakeclfError(f"{path} is no state dictionary, it holds {held}; save model.state_dict() and give that")


def _state_dict(loaded: Any, tensor: type) -> dict[str, Any] | None:
    """The mapping of names to tensors that was saved, or that lies in what was saved."""
    inside = [loaded.get(key) for key in _INSIDE] if isinstance(loaded, Mapping) else []
    for tensors in (loaded, *inside):
        if isinstance(tensors, Mapping) and all(
            isinstance(name, str) and isinstance(value, tensor) for name, value in tensors.items()
        ):
            return dict(tensors)
    return None


def _array(tensor: Any) -> np.ndarray:
    # NumPy has no bfloat16.
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    package = _package("safetensors", path, "pip install safetensors")
    load = importlib.import_module("safetensors.numpy").load_file
    try:
        return dict(load(path))
    except (package.SafetensorError, *_UNREADABLE) as error:
        raise _broken(path, "safetensors", error) from None


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError("it holds one array without a name")
        with stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, *_UNREADABLE) as error:
        raise _broken(path, ".npz", error) from None


def _read_keras(path: Path) -> dict[str, np.ndarray]:
    """The weights that ``save_weights`` or ``save`` of Keras 2 wrote, in the order of layers and weights."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            arrays = {}
            for layer in _listed(layers, "layer_names"):
                for weight in _listed(layers[layer], "weight_names"):
                    arrays[f"{layer}/{weight.removesuffix(':0')}"] = layers[layer][weight][()]
    except _UNREADABLE as error:
        raise _broken(path, "Keras 2 .h5", error) from None
    return arrays


def _listed(group: Any, key: str) -> list[str]:
    """An attribute with names, which Keras cuts into numbered pieces where it is long."""
    if key in group.attrs:
        found = list(group.attrs[key])
    elif f"{key}0" in group.attrs:
        pieces = (group.attrs[f"{key}{number}"] for number in range(sum(name.startswith(key) for name in group.attrs)))
        found = [name for piece in pieces for name in piece]
    else:
        raise ValueError(f"it lacks the list {key}")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _package(name: str, path: Path, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise FakeclfError(f"{path.name} can only be read with {name}; install it with: {install}") from None


def _broken(path: Path, kind: str, error: Exception) -> FakeclfError:
    told = " ".join(str(error).split()).split(". ")[0][:150]
    reason = f"{type(error).__name__}: {told}" if told else type(error).__name__
    return FakeclfError(f"{path} is no readable {kind} file ({reason}); fetch it again, or give another")


def _first(names: Sequence[str]) -> str:
    return f"({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"


_READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    **dict.fromkeys((".pth", ".pt", ".ckpt", ".bin", ".tar"), _read_torch),
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    **dict.fromkeys((".h5", ".hdf5"), _read_keras),
}
