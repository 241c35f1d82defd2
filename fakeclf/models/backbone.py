"""A ``keras.applications`` network without its top, its weights chosen by name and its lower layers frozen."""

from __future__ import annotations

from pathlib import Path

import keras

from fakeclf.errors import FakeclfError


def backbone(name: str, size: int, weights: str = "none", fine_tune_from: int | None = None) -> keras.Model:
    """Build ``keras.applications.NAME`` for (size, size, 3) inputs, without its classification top.

    Args:
        name: as in ``keras.applications``, for example ``DenseNet121``.
        size: side of the input, pixels.
        weights: ``imagenet`` (Keras downloads them once), ``none`` or the path of a ``.weights.h5`` / ``.h5`` file.
        fine_tune_from: layers below this index are frozen, batch norms included; None trains all.

    Raises:
        FakeclfError: if the weights cannot be had or do not fit, or the index is beyond the last layer.
    """
    build = getattr(keras.applications, name)
    # Some applications rescale their input themselves; ours is in [0, 1] for all of them.
    options = {"include_preprocessing": False} if name.startswith(("EfficientNetV2", "ConvNeXt")) else {}
    try:
        network = build(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=(size, size, 3),
            **options,
        )
    except Exception as error:
        if weights != "imagenet":
            raise
        raise FakeclfError(
            f"the ImageNet weights of {name} could not be downloaded ({_first_line(error)}); "
            "use weights=none, or weights=PATH with a file you have"
        ) from error
    if weights not in ("imagenet", "none"):
        load_weights(network, weights)
    if fine_tune_from is not None:
        freeze_below(network, fine_tune_from)
    return network


def load_weights(network: keras.Model, path: str) -> None:
    """Load ``path`` into ``network``.

    Raises:
        FakeclfError: if the file is missing or belongs to another network.
    """
    if not Path(path).is_file():
        raise FakeclfError(f"there is no weights file {path!r}; use weights=imagenet, weights=none or an existing file")
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise FakeclfError(f"{path} does not fit {network.name}: {_first_line(error)}") from error


def freeze_below(network: keras.Model, index: int) -> None:
    """Freeze ``network.layers[:index]``, really: a frozen batch norm neither learns nor moves its statistics.

    Raises:
        FakeclfError: if ``index`` lies outside the network.
    """
    if not 0 <= index <= len(network.layers):
        raise FakeclfError(f"fine_tune_from={index} is outside {network.name}; it has {len(network.layers)} layers")
    for layer in network.layers[:index]:
        layer.trainable = False


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
