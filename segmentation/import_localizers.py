"""Published weights of localizers; see ``fakeclf.weights_import``.

What can be imported: the state dictionaries of IID-Net (its authors' ``GIID_weights.pth``), NIX-Net (the 2023
re-implementation), MVSS-Net (its authors') and torchvision's ``fcn_resnet50``; and ManTra-Net's Keras 2 ``.h5``. Names
and shapes follow from the authors' code. Their files are not part of this project, and no test reads one.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf.bundle import Card
from fakeclf.errors import FakeclfError
from fakeclf.registry import model as model_spec
from fakeclf.weights_import import Imported, fill, misfit, read_tensors
from segmentation.localize import OVERLAP, TILE

REQUIRED: dict[str, dict[str, Any]] = {"iid-net": {"bayar": "published"}}
"""Arguments without which a model computes something else than what its published weights were trained in."""

_NIX_SIZES = {384: "40M", 768: "60M", 1792: "85M"}  # by the channels that the last block joins
_MANTRA = ((5, 5, 3, 3), (7, 7, 64, 32), (7, 7, 8, 32), (7, 7, 8, 1))


def import_torch(name: str, files: Sequence[Path], settings: dict[str, Any]) -> Imported:
    """A localizer from a state dictionary of PyTorch.

    Args:
        name: of the model, which has ``torch_weights``.
        files: one file.
        settings: arguments of the model's builder, such as ``size``.

    Raises:
        FakeclfError: the file holds something else, or an argument is wrong.
    """
    arrays, source = _read(name, files)
    for key, value in REQUIRED.get(name, {}).items():
        if settings.setdefault(key, value) != value:
            raise FakeclfError(
                f"the published weights of {name} need {key}={value}; received {settings[key]!r}; leave it out"
            )
    spec = model_spec(name)
    code = importlib.import_module(spec.builder.partition(":")[0])
    model = spec.build(**settings)
    unused = getattr(code, "UNUSED_TENSORS", ())
    fill(code.torch_weights(model), arrays, model=_called(name, settings), source=source, ignore=unused)
    present = [tensor for tensor in unused if tensor in arrays]
    notes = [f"left out, as the network does not use them: {', '.join(present)}"] if present else []
    return Imported(model, _card(name, code.__name__, settings), notes)


def import_fcn(name: str, files: Sequence[Path], settings: dict[str, Any]) -> Imported:
    """FCN-ResNet50 from torchvision's state dictionary; arguments and errors as ``import_torch``.

    ``settings`` may also hold ``head``: ``keep``, or ``drop`` to leave out the last convolution, as that of the network
    for COCO's 21 classes, and take the rest to start a training with. The auxiliary head is left out unless
    ``auxiliary`` is true.
    """
    head = settings.pop("head", "keep")
    if head not in ("keep", "drop"):
        raise FakeclfError(f"head must be keep or drop; received {head!r}")
    arrays, source = _read(name, files)
    last = ("classifier.4.", "aux_classifier.4.")
    classes = arrays.get("classifier.4.weight")
    if head == "keep" and classes is not None and classes.ndim == 4 and len(classes) != 1:
        raise FakeclfError(
            f"{source} tells {len(classes)} classes apart, {name} one from the rest; "
            "to start a training with all but the last layer pass --set head=drop"
        )
    spec = model_spec(name)
    code = importlib.import_module(spec.builder.partition(":")[0])
    model = spec.build(**settings)
    notes, dropped = [], []
    if not settings.get("auxiliary"):
        dropped = [tensor for tensor in arrays if tensor.startswith("aux_classifier.")]
        notes = ["left out: the auxiliary head, which --set auxiliary=true would keep"] if dropped else []
    slots = list(code.torch_weights(model))
    card = _card(name, code.__name__, settings)
    if head == "drop":
        slots = [slot for slot in slots if not slot[0].startswith(last)]
        dropped += [tensor for tensor in arrays if tensor.startswith(last)]
        notes.append("left out: the last layer, which starts at random; train with start_from before using it")
        card.limits.insert(0, "its last layer is untrained: masks mean nothing before a training that starts from it")
        card.trained_on["head"] = "dropped"
    fill(slots, arrays, model=_called(name, settings), source=source, ignore=dropped)
    return Imported(model, card, notes)


def import_mantra(name: str, files: Sequence[Path], settings: dict[str, Any]) -> Imported:
    """ManTra-Net from its authors' Keras 2 file; arguments and errors as ``import_torch``.

    Arrays are found by the names that the authors' code gives to layers and weights; where the file has others, by
    their order, which is how that code loads them. Every shape is checked. SRM filters among the arrays must be the
    ones built in. The published network of index 4 has the windows 7, 15 and 31; the others need
    ``windows=[7, 15, 31, 63]``, which no array tells.
    """
    from segmentation.models import mantra_net, mantra_published

    arrays, source = _read(name, files)
    settings = {"gates": "hard", **settings}
    model = model_spec(name).build(**settings)
    srm = mantra_published.fixed_filters(model)
    fixed = [key for key, array in arrays.items() if array.shape == srm.shape]
    for key in fixed:
        if not np.allclose(arrays[key], srm, atol=1e-4):
            raise FakeclfError(f"{source}: {key} holds other SRM filters than ManTra-Net's; bring the published file")
    wanted = mantra_published.stored_names(model)
    names = [key for key in arrays if key not in fixed]
    if len(names) != len(wanted):
        raise misfit(f"{source} holds {len(names)} trained arrays, {name} has {len(wanted)}", arrays, name)
    matched = mantra_published.match(names, [own for own, _ in wanted])
    slots = [(key, variable, "keras") for key, (_, variable) in zip(matched, wanted, strict=True)]
    fill(slots, arrays, model=name, source=source, ignore=fixed)
    return Imported(model, _card(name, mantra_net.__name__, settings))


def recognise(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The localizer whose published weights arrays look like; None for none of them."""
    if "bayar_conv.weight" in arrays and "decision.15.weight" in arrays:
        return "iid-net"
    if "constrain_conv.kernel" in arrays:
        return "mvss-net"
    if "classifier.0.weight" in arrays and "backbone.layer4.2.conv3.weight" in arrays:
        return "fcn-resnet50"
    if "conv_4.conv1.0.weight" in arrays and "upsample_3.conv.weight" in arrays:
        size = _NIX_SIZES.get(len(arrays["conv_4.conv1.0.weight"]))
        return _called("nix-net", {"size": size}) if size else "nix-net"
    if {array.shape for array in arrays.values()}.issuperset(_MANTRA):
        return "mantra-net"
    return None


def _read(name: str, files: Sequence[Path]) -> tuple[dict[str, np.ndarray], Path]:
    if len(files) != 1:
        raise FakeclfError(f"the weights of {name} are one file; received {len(files)}")
    return read_tensors(files[0]), files[0]


def _called(name: str, settings: Mapping[str, Any]) -> str:
    """The model in messages: NIX-Net's sizes have the same names of arrays and other shapes."""
    return f"nix-net with --set size={settings.get('size', '40M')}" if name == "nix-net" else name


def _card(name: str, module: str, settings: Mapping[str, Any]) -> Card:
    return Card(
        name="",
        kind="localizer",
        model=name,
        module=module,
        input={
            "size": None,
            "view": "whole",
            "range": [0, 255],
            "colour": "RGB",
            "tile": TILE,
            "overlap": OVERLAP,
        },
        classes=[],
        output="mask: P(inpainted) of each pixel, the picture's size",
        trained_on={"arguments": dict(settings)} if settings else {},
    )
