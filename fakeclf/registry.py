"""Names of models and data sets, and where their code lives.

Targets are kept as ``"module:function"`` strings, so that listing them imports no Keras, and so that ``fakeclf`` can
name what lives in ``segmentation`` without importing it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fakeclf.errors import FakeclfError

_PACKAGES = ("fakeclf.", "segmentation.")


@dataclass(frozen=True)
class ModelSpec:
    """What the trainer, the evaluator and the command line know of a model.

    Attributes:
        name: the name people type.
        kind: see ``Kind``.
        builder: ``"module:function"``; called as ``builder(input_size=..., **args)``, returns a Keras model that
            takes 0-255 RGB pictures of any size (an inpainter: those and holes).
        input_size: the size in pixels the model works at unless told otherwise.
        min_size: the smallest such size its strides allow.
        reference: the paper or report it comes from.
        args: fixed builder arguments (one builder can serve several names).
        loss: of localizers, by name, unless a recipe says otherwise; see ``segmentation.losses``.
        importer: ``"module:function"`` that fills the model with published weights, called as ``importer(name, files,
            settings)``; "" where there is none. See ``fakeclf.weights_import``.
    """

    name: str
    kind: str
    builder: str
    input_size: int
    min_size: int
    reference: str
    args: dict[str, Any] = field(default_factory=dict)
    loss: str = ""
    importer: str = ""

    def build(self, input_size: int | None = None, **args: Any) -> Any:
        """Build the model at ``input_size`` pixels (default: the spec's own).

        Raises:
            FakeclfError: if ``input_size`` is below the model's minimum, or an argument is unknown.
        """
        size = self.input_size if input_size is None else input_size
        if size < self.min_size:
            raise FakeclfError(
                f"{self.name} needs pictures of at least {self.min_size} px; received input_size={size}; "
                f"use {self.min_size} or more"
            )
        builder = resolve(self.builder)
        allowed = [name for name in inspect.signature(builder).parameters if name != "input_size"]
        for name in args:
            if name not in allowed:
                raise FakeclfError(f"{self.name} takes no {name!r}; {closest(name, allowed)}")
        return builder(input_size=size, **{**self.args, **args})


@dataclass(frozen=True)
class Kind:
    """What a kind of model has of its own; targets as ``"module:function"``.

    Attributes:
        name: ``classifier``, ``ensemble``, ``localizer``, ``autoencoder`` or ``inpainter``.
        train: ``train(recipe, *, name, runs, models, data_dir, ...) -> Job``, the way from a recipe to a bundle.
        load: ``load(name, *, validation, seed, data_dir, ...)``, its data sets; "" where they are plain photographs.
        feed: ``feed(recipe, dataset) -> Feed``, what the shared trainer learns from; "" where it has another trainer.
        evaluate: ``evaluate(bundle, dataset, *, split, threshold, limit, data_dir)``; "" where there is none.
        look: ``look(bundle) -> function`` from a picture, uint8 (h, w, 3), to its raw P(FAKE) and its mask (or None);
            "" for kinds that have no say in a verdict.
    """

    name: str
    train: str
    load: str = ""
    feed: str = ""
    evaluate: str = ""
    look: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """A data set by name: ``loader`` is ``"module:function"``, called as
    ``loader(validation=..., seed=..., data_dir=..., fetch=...)``."""

    name: str
    loader: str
    description: str
    licence: str


def _backbone(name: str, builder: str, size: int, least: int, reference: str, **args: Any) -> ModelSpec:
    return ModelSpec(name, "classifier", f"fakeclf.models.{builder}:build", size, least, reference, args)


def _localizer(name: str, builder: str, size: int, least: int, loss: str, reference: str) -> ModelSpec:
    target = f"segmentation.models.{builder}:build"
    return ModelSpec(name, "localizer", target, size, least, reference, loss=loss, importer=_IMPORTERS.get(name, ""))


_IMPORTERS = {
    "iid-net": "segmentation.import_localizers:import_torch",
    "nix-net": "segmentation.import_localizers:import_torch",
    "fcn-resnet50": "segmentation.import_localizers:import_fcn",
    "mantra-net": "segmentation.import_localizers:import_mantra",
    "mvss-net": "segmentation.import_localizers:import_torch",
}

_REPORT = "Inpainting Image Detection (report, 2023)"
_MODELS = {
    spec.name: spec
    for spec in (
        _backbone("densenet121", "densenet", 224, 32, f"{_REPORT}; Huang et al. 2017, arXiv:1608.06993"),
        _backbone("xception", "xception", 224, 71, f"{_REPORT}; Chollet 2017, arXiv:1610.02357"),
        _backbone("residual-cnn", "residual_cnn", 64, 32, "this project; Fridrich & Kodovsky 2012"),
        _backbone("densenet169", "applications", 224, 32, "arXiv:1608.06993", backbone="DenseNet169"),
        _backbone("densenet201", "applications", 224, 32, "arXiv:1608.06993", backbone="DenseNet201"),
        _backbone("resnet50", "applications", 224, 32, "arXiv:1512.03385", backbone="ResNet50"),
        _backbone("resnet101", "applications", 224, 32, "arXiv:1512.03385", backbone="ResNet101"),
        _backbone("resnet50v2", "applications", 224, 32, "arXiv:1603.05027", backbone="ResNet50V2"),
        _backbone("inceptionv3", "applications", 299, 75, "arXiv:1512.00567", backbone="InceptionV3"),
        _backbone("mobilenetv2", "applications", 224, 32, "arXiv:1801.04381", backbone="MobileNetV2"),
        _backbone("efficientnetb0", "applications", 224, 32, "arXiv:1905.11946", backbone="EfficientNetB0"),
        _backbone("efficientnetv2b0", "applications", 224, 32, "arXiv:2104.00298", backbone="EfficientNetV2B0"),
        _backbone("convnexttiny", "applications", 224, 32, "arXiv:2201.03545", backbone="ConvNeXtTiny"),
        _backbone("vgg16", "applications", 224, 32, "arXiv:1409.1556", backbone="VGG16"),
        ModelSpec(
            "small-autoencoder", "autoencoder", "fakeclf.models.small_autoencoder:build", 128, 32, "this project"
        ),
        ModelSpec("drawn-autoencoder", "autoencoder", "fakeclf.models.drawn_autoencoder:build", 64, 16, "this project"),
        ModelSpec("inpainter", "inpainter", "segmentation.models.inpainter:build", 128, 32, "this project"),
        _localizer("iid-net", "iid_net", 256, 32, "focal_bce", "Wu & Zhou 2021, IID-Net"),
        _localizer("nix-net", "nix_net", 256, 16, "focal", "Li et al. 2021, arXiv:2106.01532; Adler et al. 2023"),
        _localizer("irl-net", "irl_net", 256, 32, "focal_dice", "Daryani et al. 2023, IRL-Net"),
        _localizer("fcn-resnet50", "fcn_resnet50", 512, 32, "focal_alpha", "Long et al. 2015, arXiv:1411.4038"),
        _localizer("hp-fcn", "hp_fcn", 256, 32, "focal", "Li & Huang 2019, HP-FCN (LDICN)"),
        _localizer("mantra-net", "mantra_net", 256, 32, "bce", "Wu et al. 2019, ManTra-Net"),
        _localizer("mvss-net", "mvss_net", 512, 32, "mvss", "Dong et al. 2021, MVSS-Net, arXiv:2104.06832"),
        _localizer("trace-net", "trace_net", 192, 32, "bce_dice", "this project"),
    )
}

_KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "classifier",
            train="fakeclf.training.job:train_classifier",
            load="fakeclf.data.datasets:load",
            feed="fakeclf.training.feed:ClassifierFeed",
            evaluate="fakeclf.evaluate:evaluate",
            look="fakeclf.voters:look_classifier",
        ),
        Kind(
            "ensemble",
            train="fakeclf.training.ensembling:ensemble_bundle",
            load="fakeclf.data.datasets:load",
            evaluate="fakeclf.evaluate:evaluate",
            look="fakeclf.voters:look_classifier",
        ),
        Kind(
            "localizer",
            train="segmentation.training.job:train_localizer",
            load="segmentation.datasets:load",
            feed="segmentation.training.feed:LocalizerFeed",
            evaluate="segmentation.evaluate:evaluate_bundle",
            look="segmentation.looking:look_localizer",
        ),
        Kind("autoencoder", train="fakeclf.training.job:train_autoencoder"),
        Kind("inpainter", train="segmentation.training.job:train_inpainter"),
    )
}

_DATASETS = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            "cifake",
            "fakeclf.data.cifake:load",
            "120,000 pictures of 32x32: CIFAR-10 against Stable Diffusion 1.4 (Bird & Lotfi 2024)",
            "MIT",
        ),
        DatasetSpec(
            "deepfakeart",
            "fakeclf.data.deepfakeart:load",
            "inpainting part of DeepfakeArt: 5,063 records, original against Stable Diffusion 2",
            "see its authors' terms",
        ),
        DatasetSpec(
            "regenerated",
            "fakeclf.data.regenerated:load",
            "photographs against their autoencoder round trips, both through the same codec",
            "that of the photographs",
        ),
        DatasetSpec(
            "sample",
            "fakeclf.data.sample:load",
            "a few hundred crops, made on the spot, to try the tool",
            "BSD-3-Clause, PSF (as the packages that bring the photographs)",
        ),
    )
}


def models(kind: str | None = None) -> list[ModelSpec]:
    """All registered models, or those of one kind, in the order of registration."""
    return [spec for spec in _MODELS.values() if kind in (None, spec.kind)]


def model(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        FakeclfError: if there is none; the message names the nearest.
    """
    if name not in _MODELS:
        raise FakeclfError(f"there is no model {name!r}; {closest(name, _MODELS)}")
    return _MODELS[name]


def kind(name: str) -> Kind:
    """What a kind of model has of its own.

    Raises:
        FakeclfError: if there is no such kind.
    """
    if name not in _KINDS:
        raise FakeclfError(f"there is no kind of model {name!r}; {closest(name, _KINDS)}")
    return _KINDS[name]


def datasets() -> list[DatasetSpec]:
    """All registered data sets."""
    return list(_DATASETS.values())


def dataset(name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        FakeclfError: if there is none; the message names the nearest.
    """
    if name not in _DATASETS:
        raise FakeclfError(
            f"there is no data set or folder {name!r}; {closest(name, _DATASETS)}, "
            "or name a folder that holds FAKE/ and REAL/"
        )
    return _DATASETS[name]


def closest(name: str, allowed: Iterable[str]) -> str:
    """``did you mean 'x'?`` where something is near, and the allowed names where not."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return "allowed: " + ", ".join(sorted(allowed))


def resolve(target: str) -> Callable[..., Any]:
    """Import ``"module:function"``; only modules of this distribution are imported.

    Raises:
        FakeclfError: if the target lies outside ``fakeclf`` and ``segmentation`` or does not exist.
    """
    module, _, function = target.partition(":")
    if not module.startswith(_PACKAGES):
        raise FakeclfError(f"refused to import {target!r}; only {' and '.join(_PACKAGES)} modules are loaded by name")
    try:
        return getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise FakeclfError(f"{target!r} is not there ({error}); is the installation complete?") from error
