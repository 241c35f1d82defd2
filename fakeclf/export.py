"""Write networks for other runtimes, LiteRT, SavedModel and ONNX; each file is held against Keras before it is kept.

    exported = to_litert(model, "cifake.tflite", weights="float16")
    print(exported.difference)

Pictures of several sizes, odd, oblong and tiny ones, go through both; a file whose outputs differ by more than its
limit is not kept. A SavedModel or ONNX file takes whole pictures of any size. So does the LiteRT file of a localizer;
that of a classifier begins behind ``FitToSize``: LiteRT has no anti-aliased resize, pictures of all sizes can then
share a batch, and sizes known beforehand let it plan its work once. ``fakeclf.runtime`` does that first step.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf import bundle, parity, registry, runtime
from fakeclf.atomic import replace_file, replace_folder
from fakeclf.errors import FakeclfError
from fakeclf.models.ensemble import Frozen
from fakeclf.models.layers import PadToMultiple
from fakeclf.registry import closest

FORMATS = {"litert": ".tflite", "saved-model": "", "onnx": ".onnx"}
OPSET = 18  # of ONNX


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file, or the folder of a SavedModel.
        difference: largest difference of a probability from Keras', over all pictures of the check.
        size: bytes.
        weights: as which they are stored.
        input: what a LiteRT file takes: ``size`` and ``view`` for a classifier (float32 pictures as ``runtime.fit``
            makes them), ``stride`` for a localizer (uint8 pictures of any size), nothing for an ensemble's head.
    """

    path: Path
    difference: float
    size: int
    weights: str = "float32"
    input: dict[str, Any] = field(default_factory=dict)


def export(
    name: str | Path, to: str, out: str | Path | None = None, *, weights: str | None = None, force: bool = False
) -> Exported:
    """Export a bundle.

    Args:
        name: name or folder of the bundle.
        to: ``litert``, ``saved-model`` or ``onnx``.
        out: file or folder to write; default: for LiteRT into the bundle itself, where ``fakeclf.runtime`` finds it,
            else the bundle's name in the current folder.
        weights: of LiteRT, see ``to_litert``; default: see ``into_bundle``.
        force: replace what is at ``out``; a bundle's own LiteRT file is always replaced.

    Raises:
        FakeclfError: unknown format or weights, no such bundle, ``out`` exists, or the export is refused.
    """
    if to not in FORMATS:
        raise FakeclfError(f"there is no format {to!r}; {closest(to, FORMATS)}")
    if weights is not None and to != "litert":
        raise FakeclfError(f"weights={weights} is for litert alone; {to} keeps float32; leave it out")
    card = bundle.read_card(name)
    if not registry.kind(card.kind).look:
        raise FakeclfError(f"{card.name} is of kind {card.kind}; classifiers, ensembles and localizers can be exported")
    if to == "litert" and out is None:
        return into_bundle(name, weights)
    if to == "litert" and card.members:
        members = ", ".join(member["name"] for member in card.members)
        raise FakeclfError(f"LiteRT runs an ensemble member by member; export {members}, or take saved-model or onnx")
    path = Path(out) if out is not None else Path(card.name + (FORMATS[to] or "_saved_model"))
    if path.exists() and not force:
        raise FakeclfError(f"{path} exists already; choose another name, or pass --force to replace it")
    model = bundle.load(name)
    if to == "litert":
        return to_litert(model, path, weights=weights or "float16")
    return to_saved_model(model, path, force=force) if to == "saved-model" else to_onnx(model, path)


def into_bundle(name: str | Path, weights: str | None = None) -> Exported:
    """Write a bundle's own LiteRT file, ``model.tflite``, and note it in the card; an ensemble's is its head's.

    Args:
        name: name or folder of the bundle.
        weights: see ``to_litert``; default: float16, and float32 where those differ too much from Keras, or gain
            nothing (an ensemble's head).

    Raises:
        FakeclfError: see ``to_litert``; the bundle is then as it was.
    """
    folder = bundle.find(name)
    card = bundle.read_card(folder)
    model, path = bundle.load_own(folder, card), folder / runtime.FILE
    if weights is None and card.members:
        weights = "float32"
    try:
        made = to_litert(model, path, weights=weights or "float16")
    except parity.Differs:
        if weights is not None:
            raise
        made = to_litert(model, path, weights="float32")
    told = {"weights": made.weights, "difference": float(f"{made.difference:.2g}"), **made.input}
    bundle.set_litert(folder, runtime.FILE, told)
    return made


def to_litert(model: keras.Model, path: str | Path, *, weights: str = "float16") -> Exported:
    """Write ``model`` as a LiteRT file of built-in operations alone, for ``fakeclf.runtime``.

    Args:
        model: a classifier that begins with ``FitToSize``, a localizer, or an ensemble's head.
        path: of the file; one that is there is replaced.
        weights: ``float32``; ``float16``, half the size; or ``int8``, a quarter (kernels alone, scaled by channel).

    Raises:
        FakeclfError: LiteRT cannot express the network, or its outputs differ too much.
    """
    if weights not in parity.LIMITS:
        raise FakeclfError(f"there are no weights {weights!r}; {closest(weights, parity.LIMITS)}")
    function, shape, made = _litert_form(model)
    content = _converted(function, shape, "uint8" if "stride" in made else "float32", weights, model.name)
    program = runtime.Program(content)

    def run(values: np.ndarray) -> dict[str, Any]:
        if "view" in made:
            return {"p_real": runtime.Classifier(program, made["size"], made["view"])(values)}
        return program(values[np.newaxis] if values.ndim == 3 else values)

    difference = parity.difference(model, run, parity.LIMITS[weights], f"LiteRT with {weights} weights")
    with replace_file(path) as beside:
        beside.write_bytes(content)
    return Exported(Path(path), difference, len(content), weights, made)


def to_saved_model(model: keras.Model, path: str | Path, *, force: bool = False) -> Exported:
    """Write ``model`` as a TensorFlow SavedModel folder; ``serve`` takes float32 pictures (b, h, w, 3), 0-255.

    Raises:
        FakeclfError: ``path`` exists and ``force`` is false, or the outputs differ too much.
    """
    tf = _tensorflow()
    with replace_folder(path, force) as beside:
        archive = keras.export.ExportArchive()
        spec = tf.TensorSpec(model.inputs[0].shape, tf.float32, name="pictures")
        # It finds the variables of the function by itself; of a model, as by `model.export`, it writes them twice.
        archive.add_endpoint("serve", lambda pictures: model(pictures, training=False), input_signature=[spec])
        archive.write_out(beside, verbose=False)
        loaded = tf.saved_model.load(str(beside))  # it owns the variables, and must outlive its function

        def run(values: np.ndarray) -> dict[str, Any]:
            return parity.named(loaded.serve(parity.batch(values)))

        difference = parity.difference(model, run, parity.LIMITS["float32"], "SavedModel")
        size = sum(file.stat().st_size for file in beside.rglob("*") if file.is_file())
    return Exported(Path(path), difference, size)


def to_onnx(model: keras.Model, path: str | Path) -> Exported:
    """Write ``model`` as an ONNX file; its input ``pictures`` is float32 (b, h, w, 3), 0-255, any size.

    Raises:
        FakeclfError: a package is missing, ONNX cannot express the network, or the outputs differ too much.
    """
    tf = _tensorflow()
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise FakeclfError(f"ONNX needs {error.name}, which is not installed: pip install 'fakeclf[onnx]'") from error
    portable = _with_matrices(model)
    function = tf.function(lambda pictures: parity.kept(portable(pictures)))
    spec = tf.TensorSpec(model.inputs[0].shape, tf.float32, name="pictures")
    try:
        graph, _ = tf2onnx.convert.from_function(function, input_signature=[spec], opset=OPSET)
        content = graph.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of its many conversion rules raises what it likes
        raise FakeclfError(
            f"ONNX cannot express {model.name}: {parity.line(error)}; take litert or saved-model"
        ) from error
    names = [output.name for output in session.get_outputs()]

    def run(values: np.ndarray) -> dict[str, Any]:
        return dict(zip(names, session.run(names, {"pictures": parity.batch(values)}), strict=True))

    difference = parity.difference(model, run, parity.LIMITS["float32"], "ONNX")
    with replace_file(path) as beside:
        beside.write_bytes(content)
    return Exported(Path(path), difference, len(content))


def _litert_form(model: keras.Model) -> tuple[Callable[[Any], dict[str, Any]], tuple, dict[str, Any]]:
    """What of ``model`` goes into a LiteRT file: a function, the shape of its input, and ``Exported.input``."""
    if len(model.inputs) != 1:
        raise FakeclfError(f"{model.name} has {len(model.inputs)} inputs; a LiteRT file is made of networks with one")
    shape = tuple(model.inputs[0].shape)
    layers = {layer.name for layer in model.layers}
    fit = parity.fit_of(model)
    if fit is not None:
        behind = keras.Model(fit.output, model.output)
        return (
            lambda pictures: parity.kept(behind(pictures, training=False)),
            (None, fit.size, fit.size, 3),
            {"size": fit.size, "view": fit.view},
        )
    if len(shape) == 2:
        return lambda members: parity.kept(model(members, training=False)), shape, {}
    if not isinstance(model.output, dict) or "mask" not in model.output:
        raise FakeclfError(f"{model.name} is no classifier that begins with FitToSize, no localizer and no head")
    if {"core", "residual"} <= layers:
        raise FakeclfError(f"{model.name} looks at a whole picture before its tiles, two parts; run it in Keras")
    strides = [layer.multiple for layer in model.layers if isinstance(layer, PadToMultiple)]
    return (
        lambda pictures: parity.kept(model(ops.cast(pictures, "float32"), training=False)),
        shape,
        {"stride": int(np.lcm.reduce([1, *strides]))},
    )


def _converted(function: Callable, shape: tuple, dtype: str, weights: str, name: str) -> bytes:
    """``function`` of one input as the content of a LiteRT file.

    Raises:
        FakeclfError: it needs operations that LiteRT does not have; the message names them.
    """
    tf = _tensorflow()
    from tensorflow.lite.python.convert_phase import ConverterError
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec(shape, dtype, name="pictures" if len(shape) == 4 else "members")
    traced = tf.function(function).get_concrete_function(spec)
    # Constants first: LiteRT would keep variables as such, and fold no batch norm into its convolution.
    frozen = convert_variables_to_constants_v2(traced)
    outputs = sorted(traced.structured_outputs)
    module = tf.Module()
    named = tf.function(lambda values: dict(zip(outputs, frozen(values), strict=True)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([named.get_concrete_function(spec)], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # without the large "flex" library
    if weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    except ConverterError as error:
        missing = sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))
        reason = f"it has no {', '.join(missing)}" if missing else parity.line(error)
        raise FakeclfError(f"LiteRT cannot express {name}: {reason}; take saved-model, or run it in Keras") from error


def _with_matrices(model: keras.Model) -> Callable[[Any], Any]:
    """``model`` with its ``FitToSize`` written as two products of matrices, for ONNX has no anti-aliased resize."""
    members = [layer.layer for layer in model.layers if isinstance(layer, Frozen)]
    if members:
        head, parts = model.layers[-1], [_with_matrices(member) for member in members]
        return lambda pictures: head(ops.concatenate([part(pictures) for part in parts], axis=-1), training=False)
    fit = parity.fit_of(model)
    if fit is None:
        return lambda pictures: model(pictures, training=False)
    behind = keras.Model(fit.output, model.output)
    return lambda pictures: behind(_fit(pictures, fit.size, fit.view), training=False)


def _fit(pictures: Any, size: int, view: str) -> Any:
    batch, height, width, colours = ops.shape(pictures)
    if view == "crop":
        side = ops.minimum(ops.minimum(height, width), size)
        top, left = (height - side) // 2, (width - side) // 2
        pictures = pictures[:, top : top + side, left : left + side, :]
        height = width = side
    rows = ops.matmul(_triangles(height, size), ops.reshape(pictures, (batch, height, width * colours)))
    columns = ops.matmul(_triangles(width, size), ops.reshape(rows, (batch * size, width, colours)))
    return ops.reshape(columns, (batch, size, size, colours))


def _triangles(old: Any, new: int) -> Any:
    """(new, old): row i holds the weights of the inputs around output i, a triangle that widens as pictures shrink."""
    step = ops.cast(old, "float32") / new
    centres = (ops.arange(new, dtype="float32")[:, None] + 0.5) * step
    places = ops.cast(ops.arange(old), "float32")[None, :] + 0.5
    weights = ops.maximum(1.0 - ops.abs(places - centres) / ops.maximum(step, 1.0), 0.0)
    return weights / ops.sum(weights, axis=1, keepdims=True)


def _tensorflow() -> Any:
    if keras.backend.backend() != "tensorflow":
        raise FakeclfError(f"exports need Keras on TensorFlow, not {keras.backend.backend()}; set KERAS_BACKEND")
    import tensorflow as tf

    return tf
