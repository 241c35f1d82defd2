"""Train the small inpainter on crops of photographs with drawn holes: ``train_inpainter`` reads from top to bottom.

The loss is the mean error within holes (around them the picture is kept as it is) plus an adversarial one: the
error alone is least for a smear, which the adversary tells from texture at a glance. Where there is no hole the
adversary is not asked (Zeng et al. 2021, arXiv:2104.01431).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fakeclf.atomic import replace_file
from fakeclf.data.degrade import parse
from fakeclf.data.regenerated import photo_splits
from fakeclf.errors import FakeclfError
from fakeclf.models import discriminator
from fakeclf.registry import closest
from fakeclf.registry import model as model_spec
from fakeclf.training.adversarial import AdversarialPair, median, texture_ratio
from fakeclf.training.stepwise import processor_seconds, random_crops, readable, run_steps, spread
from segmentation.forgeries.masks import MaskSource, mask_source

AREA = (0.02, 0.4)
"""Smallest and largest share of a picture that a hole covers."""
DEPTH = 4
"""Layers of the discriminator that halve the sides."""
LOSSES: dict[str, Callable[[Any], Any]] = {"l1": ops.abs, "l2": lambda error: 10.0 * ops.square(error)}
"""Of an error in [-1, 1]; squares are so much smaller that the adversary would else decide alone."""


@dataclass(frozen=True)
class InpainterRun:
    """A finished (or stopped) training: the float32 model, its steps and seconds, figures by part, history of losses.

    ``figures``: part -> what ``fill_figures`` measured there.
    """

    model: keras.Model
    steps: int
    seconds: float
    figures: dict[str, dict[str, float]]
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
    architecture: dict[str, Any]
    adversary: float
    game: str
    error: float
    loss: str
    masks: str
    jpeg: int | None


def train_inpainter(
    photos: str | Path,
    run_folder: str | Path,
    *,
    steps: int = 2400,
    seed: int = 0,
    batch_size: int = 8,
    crop: int = 128,
    learning_rate: float = 1e-3,
    precision: str = "mixed_bfloat16",
    adversary: float = 0.1,
    game: str = "hinge",
    error: float = 1.0,
    loss: str = "l1",
    masks: str = "mix",
    jpeg: int | None = None,
    minutes: float | None = None,
    resume: bool = True,
    measure: Sequence[str] = ("val",),
    measure_at_most: int | None = None,
    say: Callable[[str], None] = print,
    **architecture: Any,
) -> InpainterRun:
    """Train the inpainter and measure its fills.

    Args:
        photos: folder of photographs; its train/ val/ test/ sub-folders if it has them, else split by file, seeded.
        run_folder: gets ``settings.json``, ``last.weights.h5`` (optimisers too), ``history.json`` and ``model.keras``.
        steps: optimiser steps of ``batch_size`` crops of ``crop`` pixels; the learning rate falls along a cosine.
        precision: Keras dtype policy; bfloat16 about halves the time on processors that have it.
        adversary: weight of the loss against a patch discriminator that sees the pasted picture and the hole.
        game: see ``fakeclf.training.adversarial``.
        error: weight of the mean error, pictures in [0, 1].
        loss: that error: ``l1``, absolute, or ``l2``, squared and times ten.
        masks: how holes are drawn, see ``segmentation.forgeries.masks.mask_source``.
        jpeg: quality at which photographs are saved before crops are cut along their blocks of 8 pixels: fills get
            blocks of their own, as those of generators that learnt from JPEG files. None = as they are, cut anywhere.
        minutes: stop after this long, as if the run had been interrupted; ``resume`` goes on from there.
        measure: the parts whose fills are measured at the end, see ``fill_figures``.
        measure_at_most: this many of each part, evenly spread over it; None = all.
        say: called with one line of progress at each checkpoint.
        architecture: arguments of ``segmentation.models.inpainter.build``, such as ``width``.

    Raises:
        FakeclfError: no photographs large enough, unknown masks, loss, game or architecture, a ``jpeg`` outside 1 to
            100, or ``run_folder`` holds a run with other settings.
    """
    run_folder = Path(run_folder)
    settings = _Settings(
        steps=steps,
        batch_size=batch_size,
        crop=crop,
        seed=seed,
        learning_rate=learning_rate,
        precision=precision,
        architecture=architecture,
        adversary=float(adversary),
        game=game,
        error=float(error),
        loss=loss,
        masks=masks,
        jpeg=jpeg,
    )
    splits = photo_splits(photos, seed=seed)
    keras.utils.set_random_seed(seed)
    pair, draw = _pair(settings), _batches(settings, splits["train"])
    history = run_steps(pair, run_folder, asdict(settings), draw, steps=steps, minutes=minutes, resume=resume, say=say)

    finished = model_spec("inpainter").build(**architecture)
    finished.get_layer("network").set_weights(pair.generator.get_weights())
    with replace_file(run_folder / "model.keras") as beside:
        finished.save(beside)
    return InpainterRun(
        finished,
        steps=int(history[-1]["step"]),
        seconds=history[-1]["seconds"],
        figures={
            part: fill_figures(finished, spread(splits[part], measure_at_most), masks)
            for part in measure
            if part in splits
        },
        pictures={part: len(paths) for part, paths in splits.items()},
        history=history,
    )


def seconds_a_step(
    photos: str | Path,
    *,
    seed: int,
    batch_size: int,
    crop: int,
    precision: str,
    adversary: float,
    game: str,
    loss: str,
    **architecture: Any,
) -> float:
    """Processor time of a step of such a ``train_inpainter``, seconds; see ``stepwise.processor_seconds``."""
    settings = _Settings(
        steps=100,
        batch_size=batch_size,
        crop=crop,
        seed=seed,
        learning_rate=1e-3,
        precision=precision,
        architecture=architecture,
        adversary=adversary,
        game=game,
        error=1.0,
        loss=loss,
        masks="mix",
        jpeg=None,
    )
    return processor_seconds(_pair(settings), _batches(settings, photo_splits(photos, seed=seed)["train"]))


def fill_figures(
    model: keras.Model, paths: list[Path], masks: str = "mix", *, largest: int = 256, seed: int = 0
) -> dict[str, float]:
    """How good fills are, beside those of a blur of what surrounds the hole (``blurred_fill``).

    Args:
        model: as ``segmentation.models.inpainter.build`` makes it.
        paths: photographs; of each the middle, at most ``largest`` pixels a side, gets one seeded hole.

    Returns:
        Over the holes: mean "psnr" (dB) and "l1" (0-255), median "texture" (``texture_ratio``); the same with
        "blurred_" before it; "pictures", their number.
    """
    holes_from = mask_source(masks, area=AREA)
    found: dict[str, list[float]] = {
        f"{way}{name}": [] for way in ("", "blurred_") for name in ("psnr", "l1", "texture")
    }
    for index, path in enumerate(paths):
        picture = readable(path)
        if picture is None:
            continue
        top, left = (max(side - largest, 0) // 2 for side in picture.shape[:2])
        picture = picture[top : top + largest, left : left + largest]
        hole = _hole(holes_from, picture, path.stem, np.random.default_rng([seed, index]))
        inputs = {"pictures": picture[None].astype("float32"), "holes": hole[None]}
        made = np.rint(np.asarray(model.predict_on_batch(inputs))[0])
        for way, fill in (("", made), ("blurred_", blurred_fill(picture, hole))):
            error = (fill - picture)[hole[..., 0] > 0].astype(np.float64)
            found[f"{way}psnr"].append(10 * np.log10(255**2 / max(float(np.mean(error**2)), 1e-10)))
            found[f"{way}l1"].append(float(np.mean(np.abs(error))))
            found[f"{way}texture"].append(texture_ratio(picture, fill, hole[..., 0] > 0))
    figures = {name: median(values) if "texture" in name else float(np.mean(values)) for name, values in found.items()}
    return figures | {"pictures": float(len(found["psnr"]))}


def blurred_fill(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill with weighted means of what surrounds the hole, wider ones further in; (h, w, 3) float 0-255."""
    from skimage.filters import gaussian

    kept = 1.0 - hole.astype(np.float64)
    filled, missing = picture * kept, kept[..., 0] == 0
    for width in (2, 4, 8, 16, 32, 64, 128):
        weight = gaussian(kept, width, channel_axis=-1, mode="reflect")
        around = gaussian(picture * kept, width, channel_axis=-1, mode="reflect") / np.maximum(weight, 1e-12)
        reached = missing & (weight[..., 0] > 0.05)
        filled[reached] = around[reached]
        missing &= ~reached
    filled[missing] = picture[kept[..., 0] == 1].mean(axis=0)
    return filled


def _pair(settings: _Settings) -> _Filling:
    if settings.loss not in LOSSES:
        raise FakeclfError(f"there is no loss {settings.loss!r}; {closest(settings.loss, LOSSES)}")
    whole = model_spec("inpainter").build(precision=settings.precision, **settings.architecture)
    multiple = whole.get_layer("pad").multiple
    if settings.crop % multiple:
        raise FakeclfError(f"this inpainter is trained on crops of a multiple of {multiple} px; got {settings.crop}")
    critic = discriminator.build(4, depth=DEPTH, precision=settings.precision)
    pair = _Filling(
        whole.get_layer("network"),
        critic,
        game=settings.game,
        weight=settings.adversary,
        error=settings.error,
        loss=LOSSES[settings.loss],
    )
    pair.compile(settings.learning_rate, settings.steps)
    return pair


def _batches(settings: _Settings, paths: list[Path]) -> Callable[[int], tuple[Any, Any]]:
    holes_from = mask_source(settings.masks, area=AREA)
    blocks: dict[str, Any] = {}
    if settings.jpeg is not None:
        saved = parse(f"jpeg:{settings.jpeg}").apply
        blocks = {"read": lambda path: None if (picture := readable(path)) is None else saved(picture), "corners": 8}

    def draw(step: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        random = np.random.default_rng([settings.seed, step])
        pictures = random_crops(paths, random, settings.batch_size, settings.crop, **blocks)
        holes = np.stack([_hole(holes_from, picture, f"{step}", random) for picture in pictures])
        pictures = pictures.astype(np.float32) / 255
        return (pictures, holes), pictures

    return draw


class _Filling(AdversarialPair):
    """Inputs are (pictures, holes); D sees the filled picture and the hole, and is asked about the hole alone."""

    def __init__(self, *args: Any, error: float, loss: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error, self.loss_of = error, loss

    def distance(self, inputs: Any, truth: Any, made: Any) -> Any:
        holes, error = inputs[1], ops.mean(self.loss_of(made - truth), axis=-1, keepdims=True)
        return self.error * ops.sum(error * holes) / (ops.sum(holes) + 1.0)

    def shown(self, inputs: Any, pictures: Any) -> Any:
        return ops.concatenate([pictures, inputs[1]], axis=-1)

    def counted(self, inputs: Any, judged: Any) -> Any:
        """The share of each patch's own square that is hole: elsewhere real and filled pictures are the same."""
        square = 2**DEPTH
        return ops.average_pool(inputs[1], square, square, padding="same")


def _hole(source: MaskSource, picture: np.ndarray, name: str, random: np.random.Generator) -> np.ndarray:
    return (source.draw(picture, name, random) >= 128).astype(np.float32)[..., None]
