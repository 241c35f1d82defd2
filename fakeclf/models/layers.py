"""Preprocessing that travels inside the saved model, so that a user can never mismatch it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.errors import FakeclfError


@keras.saving.register_keras_serializable("fakeclf")
class FitToSize(keras.layers.Layer):
    """Bring pictures of any size to ``size`` x ``size`` pixels.

    Args:
        size: side of the output, pixels.
        view: ``resize`` squashes the whole picture (bilinear, anti-aliased when it shrinks); ``crop`` cuts the centre
            out and so leaves the traces in the pixels untouched; what is smaller than ``size`` is enlarged first.

    Input shape: (batch, height, width, channels), any value range, sizes may be unknown.
    Output shape: (batch, size, size, channels), same range.
    """

    def __init__(self, size: int, view: str = "resize", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if view not in ("resize", "crop"):
            raise ValueError(f"view must be 'resize' or 'crop'. Received: view={view!r}")
        self.size = size
        self.view = view

    def call(self, pictures: Any) -> Any:
        if tuple(pictures.shape[1:3]) == (self.size, self.size):
            return pictures
        if self.view == "crop":
            height, width = ops.shape(pictures)[1], ops.shape(pictures)[2]
            side = ops.minimum(ops.minimum(height, width), self.size)
            top, left = (height - side) // 2, (width - side) // 2
            pictures = pictures[:, top : top + side, left : left + side, :]
        return resize_bilinear(pictures, self.size, self.size)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.size, self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "view": self.view}


@keras.saving.register_keras_serializable("fakeclf")
class Spectrum(keras.layers.Layer):
    """Logarithm of the mean power of each frequency, over all windows of a picture.

    Decoders that enlarge in steps of two leave power at multiples of 1/8 of the sampling rate, and too little or too
    much of it in the highest frequencies. In pixels that is faint everywhere; in the spectrum it is in one place.
    The orthonormal DCT-II stands for the Fourier transform, as in Frank et al. 2020, "Leveraging frequency analysis for
    deep fake image recognition", arXiv:2003.08685; averaging windows is Welch's method (1967).

    Args:
        window: side of a window, pixels; a multiple of 8 puts the decoder's lines on single frequencies.

    Input shape: (batch, height, width, channels), sides known and multiples of ``window``, values about one.
    Output shape: (batch, window, window, channels), about zero mean and unit variance for residuals of photographs.
    """

    def __init__(self, window: int = 72, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        height, width = input_shape[1:3]
        if not height or not width or height % self.window or width % self.window:
            raise ValueError(f"sides must be multiples of {self.window}. Received: input_shape={input_shape}")
        self.windows = (height // self.window, width // self.window, input_shape[3])

    def call(self, pictures: Any) -> Any:
        down, right, channels = self.windows
        x = ops.reshape(pictures, (-1, down, self.window, right, self.window, channels))
        basis = ops.convert_to_tensor(_dct_basis(self.window), x.dtype)
        x = ops.einsum("ki,lj,bminjc->bmnklc", basis, basis, x)
        power = ops.mean(ops.square(x), axis=(1, 2))
        # Centre and spread of log power as photographs' residuals have them.
        return (ops.log(power + 1e-3) + 1.3) / 1.5

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.window, self.window, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window}


@keras.saving.register_keras_serializable(package="fakeclf")
class PadToMultiple(keras.layers.Layer):
    """Reflect a picture over its lower and right edge until both sides are multiples of ``multiple``.

    The reflection is written as an index, so it also works for pictures smaller than the padding (a 1-pixel side
    is repeated) and for sizes known only at run time.

    Input shape: (batch, height, width, channels). Output shape: the same with both sides rounded up.
    """

    def __init__(self, multiple: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, pictures):
        for axis in (1, 2):
            side = ops.shape(pictures)[axis]
            # Of positive numbers: ONNX divides towards zero.
            padded = (side + self.multiple - 1) // self.multiple * self.multiple
            period = ops.maximum(2 * (side - 1), 1)
            step = ops.arange(padded, dtype="int32") % period
            pictures = ops.take(pictures, ops.minimum(step, side - 1 - (step - (side - 1))), axis=axis)
        return pictures

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, self._round_up(height), self._round_up(width), channels

    def _round_up(self, side: int | None) -> int | None:
        return None if side is None else -(-side // self.multiple) * self.multiple

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"multiple": self.multiple}


@keras.saving.register_keras_serializable(package="fakeclf")
class CropLike(keras.layers.Layer):
    """Cut the first input, from its upper left corner, to the height and width of the second.

    Input shape: two tensors (batch, height, width, channels). Output shape: the first with the second's sides.
    """

    def call(self, pictures, like):
        _, height, width, _ = ops.shape(like)
        return pictures[:, :height, :width, :]

    def compute_output_shape(self, pictures_shape, like_shape):
        return pictures_shape[0], like_shape[1], like_shape[2], pictures_shape[3]


@keras.saving.register_keras_serializable("fakeclf")
class EnlargeBilinear(keras.layers.Layer):
    """Enlarge by a whole factor, bilinear with half-pixel centres; ``UpSampling2D`` needs sizes known beforehand.

    Input shape: (batch, h, w, c). Output shape: (batch, factor * h, factor * w, c).
    """

    def __init__(self, factor: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        _, height, width, _ = ops.shape(x)
        return resize_bilinear(x, height * self.factor, width * self.factor, antialias=False)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        sides = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


# Under the name that saved models know it by.
@keras.saving.register_keras_serializable("segmentation")
class PixelShuffle(keras.layers.Layer):
    """Enlarge by ``factor``, each output block of factor x factor pixels taken from the channels of one position.

    The order of the channels is that of TensorFlow's ``depth_to_space``: row in the block, column in the block, output
    channel. (PyTorch's ``PixelShuffle`` has the output channel first.)

    Input shape: (batch, h, w, c * factor²), any size. Output shape: (batch, factor * h, factor * w, c).

    Reference: Shi et al. 2016, arXiv:1609.05158.
    """

    def __init__(self, factor: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if not channels or channels % self.factor**2:
            raise ValueError(f"channels must be a multiple of {self.factor**2}. Received: input_shape={input_shape}")

    def call(self, x: Any) -> Any:
        return ops.depth_to_space(x, self.factor, data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        sides = [None if side is None else side * self.factor for side in (height, width)]
        return (batch, *sides, None if channels is None else channels // self.factor**2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def _dct_basis(size: int) -> np.ndarray:
    """Rows of the orthonormal DCT-II, (frequency, position)."""
    position, frequency = np.arange(size), np.arange(size)[:, np.newaxis]
    basis = np.cos(np.pi * (2 * position + 1) * frequency / (2 * size)) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis.astype("float32")


def resize_bilinear(pictures: Any, height: Any, width: Any, antialias: bool = True) -> Any:
    """Bilinear resize of (batch, h, w, c), half-pixel centres; ``h`` and ``w`` may be unknown at tracing time."""
    if keras.backend.backend() == "tensorflow":
        # keras.ops.image.resize needs static sizes inside tf.function and in export.
        import tensorflow as tf

        dtype = pictures.dtype
        return tf.cast(tf.image.resize(pictures, (height, width), "bilinear", antialias=antialias), dtype)
    return ops.image.resize(pictures, (height, width), "bilinear", antialias=antialias, data_format="channels_last")


def picture_input(size: int, view: str, front: str = "picture") -> tuple[Any, Any]:
    """The start of every classifier: ``(input, x)``, RGB 0-255 of any size in, (size, size, 3) out.

    Args:
        size: side of ``x``, pixels.
        view: see ``FitToSize``.
        front: ``picture`` gives values in [0, 1]. ``residual`` gives them less their 3x3 mean, brought to about one:
            most of what a picture shows is gone, and what a decoder left stands out. Fixed high-pass filters in front
            of a network are the practice of steganalysis (Fridrich & Kodovsky 2012). ``spectrum`` is the residual's
            power at each frequency over all windows of 72 px, (72, 72, 3); ``size`` must be a multiple of 72.
    """
    if front not in ("picture", "residual", "spectrum"):
        raise FakeclfError(f"front must be picture, residual or spectrum; received {front!r}")
    if front == "spectrum" and size % 72:
        raise FakeclfError(f"front=spectrum needs an input_size that is a multiple of 72, as 216; received {size}")
    pictures = keras.Input((None, None, 3), name="pictures")
    # In float32 whatever the policy: bfloat16 would round away the last bit of a pixel, which traces live in.
    x = FitToSize(size, view, name="fit", dtype="float32")(pictures)
    x = keras.layers.Rescaling(1 / 255, name="rescale", dtype="float32")(x)
    if front != "picture":
        mean = keras.layers.AveragePooling2D(3, strides=1, padding="same", name="local_mean", dtype="float32")(x)
        x = keras.layers.Subtract(name="residual", dtype="float32")([x, mean])
        # Residuals of photographs are a few hundredths of the range.
        x = keras.layers.Rescaling(16.0, name="gain", dtype="float32")(x)
    if front == "spectrum":
        x = Spectrum(72, name="spectrum", dtype="float32")(x)
    return pictures, x
