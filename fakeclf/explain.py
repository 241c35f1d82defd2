"""What a classifier looked at, and the noise that forensic networks look at, as pictures for people.

    heat = grad_cam(bundle.load("cifake"), pixels)      # float32 (height, width), in [0, 1]
    shown = heat_overlay(pixels, heat)                  # uint8 (height, width, 3)
    noise = residual(pixels)                            # uint8 (height, width, 3)

A heat map shows which places raise the score of a classifier. It is coarse, a few cells a side, and proves nothing: a
network that is wrong has one as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage

from fakeclf.errors import FakeclfError

if TYPE_CHECKING:
    import keras

TARGETS = ("FAKE", "REAL")

THIRD_ORDER = np.array(
    [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]], np.int16
)
"""Twelve times the third-order square filter of the spatial rich model (Fridrich & Kodovsky 2012, "KV")."""

_BAND = 256  # rows that are coloured at a time, to hold little


def grad_cam(network: keras.Model, pixels: np.ndarray, *, target: str = "FAKE") -> np.ndarray:
    """Where a picture has what raises a classifier's score: Grad-CAM on its last feature maps.

    The maps are found by structure: from the output back, through inner models, the first that have more than one
    place and that all paths to the output pass through. Their mean gradients weigh them; what is left above zero is
    brought to the picture's size. The score is the logit, since the gradient of a sure probability vanishes.

    Args:
        network: a classifier, RGB 0-255 (b, h, w, 3) to P(REAL), (b, 1); any functional or sequential Keras model. Of
            an ensemble, the mean of its members that have feature maps is taken.
        pixels: uint8 RGB (height, width, 3), of any size that the network takes.
        target: ``FAKE`` shows what speaks for machine-made, ``REAL`` what speaks against it.

    Returns:
        float32 (height, width) in [0, 1], a member's highest value being 1; all 0 where nothing speaks for ``target``,
        and in those parts that a network with ``view="crop"`` does not see.

    Raises:
        FakeclfError: for an unknown target, a network that is no classifier or has no feature maps (as one that looks
            at frequencies), or on another backend than TensorFlow.
        ValueError: ``pixels`` is no uint8 (h, w, 3).

    Reference: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
    localization", arXiv:1610.02391.
    """
    import keras

    if target not in TARGETS:
        raise FakeclfError(f"target must be {' or '.join(TARGETS)}; received {target!r}")
    if keras.backend.backend() != "tensorflow":
        raise FakeclfError(
            f"Grad-CAM needs TensorFlow's gradients, and Keras runs on {keras.backend.backend()}; "
            "set KERAS_BACKEND=tensorflow"
        )
    pixels = _checked(pixels)
    outputs = getattr(network, "outputs", None) or []
    if len(outputs) != 1 or tuple(outputs[0].shape) != (None, 1):
        raise FakeclfError(f"{network.name} is no classifier; Grad-CAM explains models that give P(REAL), (None, 1)")
    members = _members(network)
    if not members:
        return _heat(network, pixels, target)
    heats: list[np.ndarray] = []
    refused: list[FakeclfError] = []
    for member in members:
        try:
            heats.append(grad_cam(member, pixels, target=target))
        except FakeclfError as error:
            refused.append(error)
    if not heats:
        raise refused[0]
    return np.mean(heats, axis=0)


def heat_overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture in grey under the colours of a heat map, from blue (0) to yellow (1).

    Cividis rises evenly in lightness and looks nearly the same with every kind of colour blindness (Nuñez et al. 2018,
    doi:10.1371/journal.pone.0199239). As the picture gives its colours away, each colour that is seen means heat. The
    map covers 35 % where it is 0, 60 % where it is 1, so that the picture can be read beneath.

    Args:
        pixels: uint8 RGB (height, width, 3).
        heat: (height, width), in [0, 1].

    Returns:
        uint8 RGB of the same size, a new array.

    Raises:
        FakeclfError: the heat map has another size than the picture.
        ValueError: ``pixels`` is no uint8 (h, w, 3).
    """
    from matplotlib import colormaps

    pixels = _checked(pixels)
    if heat.shape != pixels.shape[:2]:
        raise FakeclfError(
            f"the heat is of shape {heat.shape}, its picture {pixels.shape}; both must have the same height and width"
        )
    steps = np.linspace(0, 1, 256, dtype=np.float32)
    shares = 0.35 + 0.25 * steps
    colours = 255 * shares[:, np.newaxis] * colormaps["cividis"](steps)[:, :3].astype(np.float32)
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    drawn = np.empty_like(pixels)
    for top in range(0, len(drawn), _BAND):
        band = slice(top, top + _BAND)
        level = np.rint(255 * np.clip(heat[band], 0, 1)).astype(np.uint8)
        grey = (1 - shares[level]) * (pixels[band] @ luma)
        drawn[band] = np.rint(grey[..., np.newaxis] + colours[level])
    return drawn


def residual(pixels: np.ndarray) -> np.ndarray:
    """What is left of a picture when all that its neighbours foretell is taken away: noise, around mid-grey.

    Each colour goes through ``THIRD_ORDER`` / 12, the border mirrored: of the filters that Trace-Net and ManTra-Net
    start from, the one that treats all directions alike and leaves least of what the picture shows. Where a decoder or
    an editor has been, the noise is often flatter, or of another grain.

    Four robust standard deviations (1.4826 times the median size of the residual, of all colours together) fill the
    range and what exceeds them, edges mostly, is clipped, as in those networks: the gain is 127 / (4 * deviation) grey
    values for each of the picture's own. Deviations below 0.25 count as 0.25, so the gain is at most 127, and
    what has no noise at all stays grey. Two pictures in one array have one gain and can be compared.

    Args:
        pixels: uint8 RGB (height, width, 3).

    Returns:
        uint8 RGB of the same size, 128 where the residual is 0.

    Raises:
        ValueError: ``pixels`` is no uint8 (h, w, 3).
    """
    pixels = _checked(pixels)
    found = np.empty(pixels.shape, np.int16)
    for channel in range(3):
        ndimage.correlate(pixels[..., channel], THIRD_ORDER, output=found[..., channel], mode="reflect")
    deviation = 1.4826 * float(np.median(np.abs(found))) / 12
    gain = np.float32(127 / (4 * max(deviation, 0.25)) / 12)
    shown = np.empty_like(pixels)
    for top in range(0, len(shown), _BAND):
        band = slice(top, top + _BAND)
        shown[band] = np.rint(np.clip(128 + gain * found[band], 0, 255))
    return shown


class _Step(NamedTuple):
    """One layer at work: what it was called with and what it made of that."""

    layer: Any
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    output: Any

    @property
    def given(self) -> list[Any]:
        """The tensors among what it was called with."""
        import keras

        return [value for value in keras.tree.flatten((self.inputs, self.options)) if keras.ops.is_tensor(value)]


def _heat(network: keras.Model, pixels: np.ndarray, target: str) -> np.ndarray:
    import keras
    import tensorflow as tf

    steps = _run(network, tf.cast(pixels[np.newaxis], tf.float32))
    number = _last_maps(network.name, steps)
    maps = steps[number].output
    # A tape over the whole network would also go back to the picture, in many times the time and memory.
    with tf.GradientTape() as tape:
        tape.watch(maps)
        now = {id(maps): maps}
        for step in steps[number + 1 :]:
            inputs, options = keras.tree.map_structure(lambda x: now.get(id(x), x), (step.inputs, step.options))
            last = step._replace(inputs=inputs, options=options, output=step.layer(*inputs, **options))
            now[id(step.output)] = last.output
        score = _logit(last) if target == "REAL" else -_logit(last)
    weights = tf.reduce_mean(tf.cast(tape.gradient(score, maps), tf.float32), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1, keepdims=True))
    return _on_picture(heat, pixels.shape[:2], steps)


def _run(network: keras.Model, pictures: Any) -> list[_Step]:
    """Run a network layer by layer, those of inner models too; the last step gives the output."""
    import keras

    steps: list[_Step] = []

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        inner = _inside(layer)
        if isinstance(inner, keras.Model) and getattr(inner, "inputs", None):
            return through(inner, keras.tree.flatten(inputs))
        if "training" in inspect.signature(layer.call).parameters:
            options["training"] = False
        step = _Step(layer, inputs, options, layer(*inputs, **options))
        if not any(value is step.output for value in step.given):  # a dropout, say, hands on what it gets
            steps.append(step)
        return step.output

    def through(model: keras.Model, inputs: list[Any]) -> Any:
        # Keras has no public way to see what each layer is given. A plain model of the same graph stands for
        # sequential ones as well.
        return keras.Model(model.inputs, model.outputs)._run_through_graph(inputs, call_fn=call)[0]

    through(network, [pictures])
    return steps


def _last_maps(name: str, steps: list[_Step]) -> int:
    """Number of the step that gives the last feature maps of more than one place on the only way to the output."""
    import keras

    from fakeclf.models.layers import Spectrum

    if any(isinstance(step.layer, Spectrum) for step in steps):
        raise FakeclfError(f"{name} looks at a picture's spectrum: its features are frequencies, not places")
    for number in _narrows(steps):
        layer, output = steps[number].layer, steps[number].output
        spatial = len(output.shape) == 4 and output.shape[1] > 1 and output.shape[2] > 1
        # A padded map has another extent than the picture, and the one before it says the same.
        if spatial and not isinstance(layer, keras.layers.ZeroPadding2D):
            if any(getattr(step.layer, "weights", ()) for step in steps[: number + 1]):
                return number
            break
    raise FakeclfError(f"{name} has no feature maps of this picture: nothing it has learned has a height and a width")


def _narrows(steps: list[_Step]) -> Iterator[int]:
    """Numbers of the steps whose output alone leads on to that of the last, from there back."""
    made = {id(step.output): number for number, step in enumerate(steps)}
    open_ends = {id(steps[-1].output)}
    while known := [made[end] for end in open_ends if end in made]:
        last = max(known)
        if len(open_ends) == 1:
            yield last
        open_ends.remove(id(steps[last].output))
        open_ends.update(id(value) for value in steps[last].given)


def _logit(step: _Step) -> Any:
    """Log-odds of the probability that a step gave, (1, 1): from before its sigmoid, if it has one."""
    import keras
    from keras import ops

    layer = step.layer
    if getattr(layer, "activation", None) is keras.activations.sigmoid:
        x = ops.cast(step.inputs[0], "float32")
        if isinstance(layer, keras.layers.Activation):
            return x
        if isinstance(layer, keras.layers.Dense):
            x = ops.matmul(x, ops.cast(layer.kernel, "float32"))
            return x if layer.bias is None else x + ops.cast(layer.bias, "float32")
    held = ops.clip(ops.cast(step.output, "float32"), 1e-7, 1 - 1e-7)
    return ops.log(held) - ops.log1p(-held)


def _on_picture(heat: Any, size: tuple[int, ...], steps: list[_Step]) -> np.ndarray:
    """Heat (1, h, w, 1) laid on the part of a picture of ``size`` that the network saw, its highest value 1."""
    from fakeclf.models.layers import FitToSize, resize_bilinear

    height, width = size
    rows, columns = slice(0, height), slice(0, width)
    fit = next((step.layer for step in steps if isinstance(step.layer, FitToSize)), None)
    if fit is not None and fit.view == "crop":
        side = min(height, width, fit.size)
        top, left = (height - side) // 2, (width - side) // 2
        rows, columns = slice(top, top + side), slice(left, left + side)
    laid = np.zeros((height, width), np.float32)
    laid[rows, columns] = resize_bilinear(heat, rows.stop - rows.start, columns.stop - columns.start)[0, ..., 0]
    highest = laid.max()
    return laid / highest if highest > 0 else np.zeros_like(laid)


def _members(network: keras.Model) -> list[keras.Model]:
    """The classifiers that an ensemble asks: inner models from pictures to a probability."""
    import keras

    inner = [_inside(layer) for layer in network.layers]
    return [
        model
        for model in inner
        if isinstance(model, keras.Model)
        and len(getattr(model, "inputs", None) or []) == len(getattr(model, "outputs", None) or []) == 1
        and len(model.inputs[0].shape) == 4
        and tuple(model.outputs[0].shape) == (None, 1)
    ]


def _inside(layer: Any) -> Any:
    from fakeclf.models.ensemble import Frozen

    return layer.layer if isinstance(layer, Frozen) else layer


def _checked(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels must be uint8 of shape (h, w, 3). Received: {pixels.dtype} of shape {pixels.shape}")
    return pixels
