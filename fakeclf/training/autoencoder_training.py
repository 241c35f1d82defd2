"""Train the small autoencoder on crops of photographs: ``train_autoencoder`` reads from top to bottom.

The plain loss is the mean absolute error plus that of the differences between neighbouring pixels, which keeps edges
sharp where the plain error would blur them. The adversarial one is that of NIX-Net's universal training set: the
autoencoder is the generator of a GAN, held to the photograph by a small multiple of the Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.atomic import replace_file
from fakeclf.data.regenerated import photo_splits, psnr
from fakeclf.errors import FakeclfError
from fakeclf.models import discriminator, small_autoencoder
from fakeclf.training.adversarial import AdversarialPair, median, texture_ratio
from fakeclf.training.stepwise import CROPS_OF_ONE_PHOTO, falling_rate, random_crops, readable, run_steps

__all__ = ["CROPS_OF_ONE_PHOTO", "AutoencoderRun", "photo_splits", "train_autoencoder"]

DISTANCE_WEIGHT = 0.1
"""Of the Euclidean distance in the adversarial loss, as in the NIX-Net paper."""


@dataclass(frozen=True)
class AutoencoderRun:
    """A finished (or stopped) training: the float32 model, its steps and seconds, figures by part, history of losses.

    ``psnr`` is in dB; ``texture`` is the local variance of round trips as a share of that of the photographs.
    """

    model: keras.Model
    steps: int
    seconds: float
    psnr: dict[str, float]
    texture: dict[str, float]
    pictures: dict[str, int]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class _Settings:
    steps: int
    batch_size: int
    crop: int
    seed: int
    learning_rate: float
    precision: str
    width: int
    start: str | None
    adversary: float
    game: str


def train_autoencoder(
    photos: str | Path,
    run_folder: str | Path,
    *,
    steps: int = 1600,
    seed: int = 0,
    batch_size: int = 16,
    crop: int = 128,
    learning_rate: float = 2e-3,
    precision: str = "mixed_bfloat16",
    width: int = 64,
    start: str | Path | None = None,
    adversary: float = 0.0,
    game: str = "log",
    minutes: float | None = None,
    resume: bool = True,
    measure: tuple[str, ...] = ("val",),
    say: Callable[[str], None] = print,
) -> AutoencoderRun:
    """Train the small autoencoder and measure its round trips.

    Args:
        photos: folder of photographs; its train/ val/ test/ sub-folders if it has them, else split by file, seeded.
        run_folder: gets ``settings.json``, ``last.weights.h5`` (optimisers too), ``history.json`` and ``model.keras``.
        steps: optimiser steps of ``batch_size`` crops of ``crop`` pixels; the learning rate falls along a cosine.
        precision: Keras dtype policy; bfloat16 about halves the time on processors that have it.
        start: bundle of such an autoencoder to begin with; None = fresh weights.
        adversary: weight of the adversarial loss; with 0 the loss is ``error_and_edges``, else ``adversary`` times the
            generator's loss plus 0.1 ||G(I) - I||, the norm over a whole crop in [0, 1].
        game: see ``fakeclf.training.adversarial``; "log" is the paper's.
        minutes: stop after this long, as if the run had been interrupted; ``resume`` goes on from there.
        measure: the parts whose round trips are measured at the end, whole pictures.
        say: called with one line of progress at each checkpoint.

    Raises:
        FakeclfError: no photographs large enough, ``run_folder`` holds a run with other settings, or ``start`` is no
            autoencoder of this width.

    Reference: Li et al. 2021 (NIX-Net).
    """
    run_folder = Path(run_folder)
    began_as = None if start is None else str(start)
    settings = _Settings(
        steps, batch_size, crop, seed, learning_rate, precision, width, began_as, float(adversary), game
    )
    splits = photo_splits(photos, seed=seed)
    keras.utils.set_random_seed(seed)
    network = _network(settings)

    def draw(step: int) -> tuple[np.ndarray, np.ndarray]:
        batch = random_crops(splits["train"], np.random.default_rng([seed, step]), batch_size, crop).astype(np.float32)
        return batch, batch / 255

    trained = _compiled(network, settings)
    history = run_steps(
        trained, run_folder, asdict(settings), draw, steps=steps, minutes=minutes, resume=resume, say=say
    )

    finished = _whole_model(network, width)
    with replace_file(run_folder / "model.keras") as beside:
        finished.save(beside)
    measured = {part: mean_figures(finished, splits[part]) for part in measure if part in splits}
    return AutoencoderRun(
        finished,
        steps=int(history[-1]["step"]),
        seconds=history[-1]["seconds"],
        psnr={part: figures["psnr"] for part, figures in measured.items()},
        texture={part: figures["texture"] for part, figures in measured.items()},
        pictures={part: len(paths) for part, paths in splits.items()},
        history=history,
    )


@keras.saving.register_keras_serializable(package="fakeclf")
def error_and_edges(truth, predicted):
    """Mean absolute error plus that of the horizontal and vertical differences; pictures in [0, 1]."""
    error = ops.cast(predicted, "float32") - ops.cast(truth, "float32")
    down, right = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
    return ops.mean(ops.abs(error)) + ops.mean(ops.abs(down)) + ops.mean(ops.abs(right))


def euclidean(truth: Any, made: Any) -> Any:
    """||made - truth||, over all values of a picture, mean over the batch."""
    error = ops.cast(made, "float32") - ops.cast(truth, "float32")
    return ops.mean(ops.sqrt(ops.sum(ops.square(error), axis=(1, 2, 3)) + 1e-12))


def mean_figures(model: keras.Model, paths: list[Path]) -> dict[str, float]:
    """Over whole readable pictures, of round trips rounded to 8 bits: mean "psnr" in dB, median "texture" ratio."""
    psnrs, textures = [], []
    for path in paths:
        picture = readable(path)
        if picture is None:
            continue
        trip = np.rint(np.asarray(model.predict_on_batch(picture[None].astype("float32")))[0]).astype(np.uint8)
        psnrs.append(psnr(picture, trip))
        textures.append(texture_ratio(picture, trip))
    return {"psnr": float(np.mean(psnrs)), "texture": median(textures)}


class _Autoencoding(AdversarialPair):
    def distance(self, inputs: Any, truth: Any, made: Any) -> Any:
        return DISTANCE_WEIGHT * euclidean(truth, made)


def _network(settings: _Settings) -> keras.Model:
    """Encoder and decoder without the clip at the end of the finished model, whose gradient is zero out of range."""
    pictures = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32")(pictures)
    encoder = small_autoencoder.build_encoder(settings.width, settings.precision)
    decoder = small_autoencoder.build_decoder(settings.width, settings.precision)
    network = keras.Model(pictures, decoder(encoder(scaled)))
    if settings.start is not None:
        from fakeclf.models.autoencoder import open_autoencoder

        try:
            _copy(open_autoencoder(settings.start).model, network)
        except ValueError:
            raise FakeclfError(
                f"{settings.start} is no small autoencoder of width {settings.width}; give the start's own width"
            ) from None
    return network


def _compiled(network: keras.Model, settings: _Settings) -> keras.Model:
    if not settings.adversary:
        rate = falling_rate(settings.learning_rate, settings.steps)
        network.compile(keras.optimizers.Adam(rate, clipnorm=1.0), error_and_edges, jit_compile=False)
        network.optimizer.build(network.trainable_variables)
        return network
    critic = discriminator.build(precision=settings.precision)
    pair = _Autoencoding(network, critic, game=settings.game, weight=settings.adversary)
    pair.compile(settings.learning_rate, settings.steps)
    return pair


def _whole_model(trained: keras.Model, width: int) -> keras.Model:
    model = small_autoencoder.build(width=width)
    _copy(trained, model)
    return model


def _copy(source: keras.Model, target: keras.Model) -> None:
    for part in ("encoder", "decoder"):
        target.get_layer(part).set_weights(source.get_layer(part).get_weights())
