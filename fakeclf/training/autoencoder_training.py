"""Train an autoencoder on crops of photographs: ``train_autoencoder`` reads from top to bottom.

The usual loss, ``l1``, is the mean absolute error plus that of the differences between neighbouring pixels, which keeps
edges sharp where the plain error would blur them; ``l2`` is the same of squares. The adversarial one is that of
NIX-Net's universal training set: the autoencoder is the generator of a GAN, held to the photograph by a small multiple
of the Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.any_size import any_size
from fakeclf.atomic import replace_file
from fakeclf.data.regenerated import photo_splits, psnr
from fakeclf.errors import FakeclfError
from fakeclf.models import discriminator
from fakeclf.registry import closest
from fakeclf.registry import model as model_spec
from fakeclf.training.adversarial import AdversarialPair, median, texture_ratio
from fakeclf.training.stepwise import (
    CROPS_OF_ONE_PHOTO,
    falling_rate,
    processor_seconds,
    random_crops,
    readable,
    run_steps,
    spread,
)

__all__ = ["CROPS_OF_ONE_PHOTO", "AutoencoderRun", "photo_splits", "seconds_a_step", "train_autoencoder"]

DISTANCE_WEIGHT = 0.1
"""Of the Euclidean distance in the adversarial loss, as in the NIX-Net paper."""


@dataclass(frozen=True)
class AutoencoderRun:
    """A finished (or stopped) training: the float32 model, its steps and seconds, figures by part, history of losses.

    ``psnr`` is in dB; ``texture`` is the local variance of round trips as a share of that of the photographs; both over
    ``measured`` of the ``pictures`` there are.
    """

    model: keras.Model
    steps: int
    seconds: float
    psnr: dict[str, float]
    texture: dict[str, float]
    pictures: dict[str, int]
    measured: dict[str, int]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class _Settings:
    steps: int
    batch_size: int
    crop: int
    seed: int
    learning_rate: float
    precision: str
    model: str
    architecture: dict[str, Any]
    loss: str
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
    model: str = "small-autoencoder",
    loss: str = "l1",
    start: str | Path | None = None,
    adversary: float = 0.0,
    game: str = "log",
    minutes: float | None = None,
    resume: bool = True,
    measure: Sequence[str] = ("val",),
    measure_at_most: int | None = None,
    say: Callable[[str], None] = print,
    **architecture: Any,
) -> AutoencoderRun:
    """Train an autoencoder and measure its round trips.

    Args:
        photos: folder of photographs; its train/ val/ test/ sub-folders if it has them, else split by file, seeded.
        run_folder: gets ``settings.json``, ``last.weights.h5`` (optimisers too), ``history.json`` and ``model.keras``.
        steps: optimiser steps of ``batch_size`` crops of ``crop`` pixels; the learning rate falls along a cosine.
        precision: Keras dtype policy; bfloat16 about halves the time on processors that have it.
        model: registered name of an autoencoder.
        loss: one of ``LOSSES``.
        start: bundle of such an autoencoder to begin with; None = fresh weights.
        adversary: weight of the adversarial loss; above 0, it and 0.1 ||G(I) - I||, the norm over a whole crop in
            [0, 1], take the place of ``loss``.
        game: see ``fakeclf.training.adversarial``; "log" is the paper's.
        minutes: stop after this long, as if the run had been interrupted; ``resume`` goes on from there.
        measure: the parts whose round trips are measured at the end, whole pictures.
        measure_at_most: this many of each part, evenly spread over it; None = all.
        say: called with one line of progress at each checkpoint.
        architecture: arguments of the model's builder, such as ``width``.

    Raises:
        FakeclfError: no photographs large enough, ``run_folder`` holds a run with other settings, ``start`` is no
            autoencoder of this architecture, an argument is unknown, or ``crop`` does not suit the model.

    Reference: Li et al. 2021 (NIX-Net).
    """
    run_folder = Path(run_folder)
    began_as = None if start is None else str(start)
    settings = _Settings(
        steps=steps,
        batch_size=batch_size,
        crop=crop,
        seed=seed,
        learning_rate=learning_rate,
        precision=precision,
        model=model,
        architecture=architecture,
        loss=loss,
        start=began_as,
        adversary=float(adversary),
        game=game,
    )
    splits = photo_splits(photos, seed=seed)
    keras.utils.set_random_seed(seed)
    network = _network(settings)
    trained, draw = _compiled(network, settings), _batches(settings, splits["train"])
    history = run_steps(
        trained, run_folder, asdict(settings), draw, steps=steps, minutes=minutes, resume=resume, say=say
    )

    finished = model_spec(model).build(**architecture)
    _copy(network, finished)
    with replace_file(run_folder / "model.keras") as beside:
        finished.save(beside)
    chosen = {part: spread(splits[part], measure_at_most) for part in measure if part in splits}
    figures = {part: mean_figures(finished, paths) for part, paths in chosen.items()}
    return AutoencoderRun(
        finished,
        steps=int(history[-1]["step"]),
        seconds=history[-1]["seconds"],
        psnr={part: found["psnr"] for part, found in figures.items()},
        texture={part: found["texture"] for part, found in figures.items()},
        pictures={part: len(paths) for part, paths in splits.items()},
        measured={part: len(paths) for part, paths in chosen.items()},
        history=history,
    )


@keras.saving.register_keras_serializable(package="fakeclf")
def error_and_edges(truth: Any, predicted: Any) -> Any:
    """Mean absolute error plus that of the horizontal and vertical differences; pictures in [0, 1]."""
    return sum(ops.mean(ops.abs(part)) for part in _errors(truth, predicted))


@keras.saving.register_keras_serializable(package="fakeclf")
def squared_error_and_edges(truth: Any, predicted: Any) -> Any:
    """The same of squares, differences times ten: theirs are so much smaller that fine detail would come last."""
    error, down, right = (ops.mean(ops.square(part)) for part in _errors(truth, predicted))
    return error + 10.0 * (down + right)


def _errors(truth: Any, predicted: Any) -> tuple[Any, Any, Any]:
    error = ops.cast(predicted, "float32") - ops.cast(truth, "float32")
    return error, error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]


@keras.saving.register_keras_serializable(package="fakeclf")
def ssim_and_error(truth: Any, predicted: Any) -> Any:
    """0.84 (1 - SSIM) + 0.16 of the mean absolute error; pictures in [0, 1], sides of at least 7.

    SSIM over even windows of 7x7, each colour by itself; alone, it lets the colours drift.

    References: Wang et al. 2004, doi:10.1109/TIP.2003.819861; Zhao et al. 2017, arXiv:1511.08861 (the mixture).
    """
    truth, predicted = ops.cast(truth, "float32"), ops.cast(predicted, "float32")

    def mean(x: Any) -> Any:
        return ops.average_pool(x, 7, strides=1, padding="valid", data_format="channels_last")

    ours, theirs = mean(predicted), mean(truth)
    products = mean(ops.concatenate([ops.square(predicted), ops.square(truth), predicted * truth], axis=-1))
    own, other, shared = ops.split(products, 3, axis=-1)
    own, other, shared = own - ops.square(ours), other - ops.square(theirs), shared - ours * theirs
    likeness = (2 * ours * theirs + 0.01**2) / (ops.square(ours) + ops.square(theirs) + 0.01**2)
    likeness = likeness * (2 * shared + 0.03**2) / (own + other + 0.03**2)
    return 0.84 * (1.0 - ops.mean(likeness)) + 0.16 * ops.mean(ops.abs(predicted - truth))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "l1": error_and_edges,
    "l2": squared_error_and_edges,
    "ssim": ssim_and_error,
}


def euclidean(truth: Any, made: Any) -> Any:
    """||made - truth||, over all values of a picture, mean over the batch."""
    error = ops.cast(made, "float32") - ops.cast(truth, "float32")
    return ops.mean(ops.sqrt(ops.sum(ops.square(error), axis=(1, 2, 3)) + 1e-12))


def mean_figures(model: keras.Model, paths: list[Path]) -> dict[str, float]:
    """Over whole readable pictures, of round trips rounded to 8 bits: mean "psnr" in dB, median "texture" ratio."""
    run = any_size(model)
    psnrs, textures = [], []
    for path in paths:
        picture = readable(path)
        if picture is None:
            continue
        trip = np.rint(run(picture[None])[0]).astype(np.uint8)
        psnrs.append(psnr(picture, trip))
        textures.append(texture_ratio(picture, trip))
    return {"psnr": float(np.mean(psnrs)), "texture": median(textures)}


class _Autoencoding(AdversarialPair):
    def distance(self, inputs: Any, truth: Any, made: Any) -> Any:
        return DISTANCE_WEIGHT * euclidean(truth, made)


def seconds_a_step(
    photos: str | Path,
    *,
    seed: int,
    batch_size: int,
    crop: int,
    precision: str,
    model: str,
    loss: str = "l1",
    adversary: float = 0.0,
    **architecture: Any,
) -> float:
    """Processor time of a step of such a ``train_autoencoder``, seconds; see ``stepwise.processor_seconds``."""
    settings = _Settings(
        steps=100,
        batch_size=batch_size,
        crop=crop,
        seed=seed,
        learning_rate=1e-3,
        precision=precision,
        model=model,
        architecture=architecture,
        loss=loss,
        start=None,
        adversary=adversary,
        game="log",
    )
    draw = _batches(settings, photo_splits(photos, seed=seed)["train"])
    return processor_seconds(_compiled(_network(settings), settings), draw)


def _network(settings: _Settings) -> keras.Model:
    """Encoder and decoder without the clip at the end of the finished model, whose gradient is zero out of range."""
    if settings.loss not in LOSSES:
        raise FakeclfError(f"there is no loss {settings.loss!r}; {closest(settings.loss, LOSSES)}")
    whole = model_spec(settings.model).build(precision=settings.precision, **settings.architecture)
    multiple = whole.get_layer("pad").multiple
    if settings.crop % multiple:
        raise FakeclfError(f"{settings.model} is trained on crops of a multiple of {multiple} px; got {settings.crop}")
    pictures = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32")(pictures)
    network = keras.Model(pictures, whole.get_layer("decoder")(whole.get_layer("encoder")(scaled)))
    if settings.start is not None:
        from fakeclf.models.autoencoder import open_autoencoder

        try:
            _copy(open_autoencoder(settings.start).model, network)
        except ValueError:
            what = ", ".join(f"{name} {value}" for name, value in settings.architecture.items()) or "the usual size"
            raise FakeclfError(
                f"{settings.start} is no {settings.model.replace('-', ' ')} of {what}; give the start's own"
            ) from None
    return network


def _compiled(network: keras.Model, settings: _Settings) -> keras.Model:
    if not settings.adversary:
        rate = falling_rate(settings.learning_rate, settings.steps)
        network.compile(keras.optimizers.Adam(rate, clipnorm=1.0), LOSSES[settings.loss], jit_compile=False)
        network.optimizer.build(network.trainable_variables)
        return network
    critic = discriminator.build(precision=settings.precision)
    pair = _Autoencoding(network, critic, game=settings.game, weight=settings.adversary)
    pair.compile(settings.learning_rate, settings.steps)
    return pair


def _batches(settings: _Settings, paths: list[Path]) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    def draw(step: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([settings.seed, step])
        batch = random_crops(paths, random, settings.batch_size, settings.crop).astype(np.float32)
        return batch, batch / 255

    return draw


def _copy(source: keras.Model, target: keras.Model) -> None:
    for part in ("encoder", "decoder"):
        target.get_layer(part).set_weights(source.get_layer(part).get_weights())
