"""What every localizer shares: RGB pictures of any size in, a mask of the same size out, all preprocessing inside."""

from __future__ import annotations

from typing import Any

import keras

from fakeclf.models.layers import CropLike, PadToMultiple


def picture_input(multiple: int = 1, scale: str = "unit", order: str = "RGB") -> tuple[Any, Any]:
    """The start of a localizer: ``(pictures, x)``.

    Args:
        multiple: ``x`` is padded below and right by reflection until both sides are multiples of it.
        scale: ``unit`` brings 0-255 to [0, 1], ``signed`` to [-1, 1], ``bytes`` leaves 0-255.
        order: ``RGB`` or ``BGR``, of the channels of ``x``.

    Returns:
        The input, (batch, height, width, 3) RGB 0-255 of unknown size, and what the network sees, float32 whatever the
        dtype policy (bfloat16 would round away the last bit of a pixel, which traces live in).
    """
    pictures = keras.Input((None, None, 3), name="pictures")
    x = pictures
    if order == "BGR":
        x = ReverseChannels(name="bgr", dtype="float32")(x)
    if scale == "unit":
        x = keras.layers.Rescaling(1 / 255, name="rescale", dtype="float32")(x)
    elif scale == "signed":
        x = keras.layers.Rescaling(1 / 127.5, -1.0, name="rescale", dtype="float32")(x)
    elif scale != "bytes":
        raise ValueError(f"scale must be unit, signed or bytes. Received: scale={scale!r}")
    if multiple > 1:
        x = PadToMultiple(multiple, name="pad", dtype="float32")(x)
    return pictures, x


def localizer(pictures: Any, logits: Any, name: str, **others: Any) -> keras.Model:
    """The end of a localizer: sigmoid of the logits, cropped to the picture.

    Args:
        pictures: the input of ``picture_input``.
        logits: (batch, h, w, 1), at least as large as the picture, from its upper left corner.
        name: of the model.
        others: further outputs by name, such as ``score``, (batch, 1): P(FAKE) of the picture.

    Returns:
        A model whose output is a dictionary: ``mask``, (batch, height, width, 1), P(inpainted) of each pixel, float32,
        and ``others``.
    """
    probabilities = keras.layers.Activation("sigmoid", name="probabilities", dtype="float32")(logits)
    mask = CropLike(name="mask", dtype="float32")(probabilities, pictures)
    return keras.Model(pictures, {"mask": mask, **others}, name=name)


def channels(count: int, width: float, multiple: int = 1) -> int:
    """``count`` channels scaled by the width factor: at least ``multiple``, and a multiple of it."""
    return max(multiple, int(round(count * width / multiple)) * multiple)


@keras.saving.register_keras_serializable("segmentation")
class ReverseChannels(keras.layers.Layer):
    """RGB to BGR and back. Shapes (batch, h, w, c) in and out."""

    def call(self, x: Any) -> Any:
        return x[..., ::-1]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape
