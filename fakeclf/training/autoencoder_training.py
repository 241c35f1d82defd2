"""Train the small autoencoder on crops of photographs: ``train_autoencoder`` reads from top to bottom.

The loss is the mean absolute error plus that of the differences between neighbouring pixels, which keeps edges sharp
where the plain error would blur them. Every batch is drawn from (seed, step) alone, so a run that was stopped and
resumed sees the pictures that it would have seen without the stop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from fakeclf import images
from fakeclf.atomic import replace_file
from fakeclf.data.regenerated import photo_splits, psnr
from fakeclf.errors import FakeclfError
from fakeclf.models import small_autoencoder

CROPS_OF_ONE_PHOTO = 2
CHECKPOINT_EVERY = 100


@dataclass(frozen=True)
class AutoencoderRun:
    """A finished (or stopped) training: the float32 model, its steps, seconds, PSNR and history of losses."""

    model: keras.Model
    steps: int
    seconds: float
    psnr: dict[str, float]
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
    minutes: float | None = None,
    resume: bool = True,
    measure: tuple[str, ...] = ("val",),
    say: Callable[[str], None] = print,
) -> AutoencoderRun:
    """Train the small autoencoder and measure its round trips.

    Args:
        photos: folder of photographs; its train/ val/ test/ sub-folders if it has them, else split by file, seeded.
        run_folder: gets ``settings.json``, ``last.keras`` (with the optimiser), ``history.json``, ``model.keras``.
        steps: optimiser steps of ``batch_size`` crops of ``crop`` pixels; the learning rate falls along a cosine.
        precision: Keras dtype policy; bfloat16 about halves the time on processors that have it.
        minutes: stop after this long, as if the run had been interrupted; ``resume`` goes on from there.
        measure: the parts whose PSNR (dB, mean over whole pictures) is measured at the end.
        say: called with one line of progress every ``CHECKPOINT_EVERY`` steps.

    Raises:
        FakeclfError: no photographs large enough, or ``run_folder`` holds a run with other settings.
    """
    run_folder = Path(run_folder)
    settings = _Settings(steps, batch_size, crop, seed, learning_rate, precision, width)
    splits = photo_splits(photos, seed=seed)
    model, history = _start_or_resume(run_folder, settings, resume)
    begun, before = time.monotonic(), history[-1]["seconds"] if history else 0.0
    done = int(history[-1]["step"]) if history else 0
    losses: list[float] = []

    for step, batch in _ahead(splits["train"], settings, done):
        losses.append(float(model.train_on_batch(batch, batch / 255)))
        seconds = before + time.monotonic() - begun
        out_of_time = minutes is not None and seconds - before >= 60 * minutes
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps or out_of_time:
            history.append({"step": step + 1, "loss": float(np.mean(losses)), "seconds": seconds})
            losses.clear()
            _checkpoint(run_folder, model, history)
            left = seconds / (step + 1) * (steps - step - 1)
            say(f"step {step + 1}/{steps}  loss {history[-1]['loss']:.4f}  {seconds:.0f} s, {left:.0f} s left")
        if out_of_time:
            break

    finished = _whole_model(model, width)
    with replace_file(run_folder / "model.keras") as beside:
        finished.save(beside)
    measured = {part: mean_psnr(finished, splits[part]) for part in measure if part in splits}
    return AutoencoderRun(
        finished,
        steps=int(history[-1]["step"]),
        seconds=history[-1]["seconds"],
        psnr=measured,
        pictures={part: len(paths) for part, paths in splits.items()},
        history=history,
    )


@keras.saving.register_keras_serializable(package="fakeclf")
def error_and_edges(truth, predicted):
    """Mean absolute error plus that of the horizontal and vertical differences; pictures in [0, 1]."""
    error = ops.cast(predicted, "float32") - ops.cast(truth, "float32")
    down, right = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
    return ops.mean(ops.abs(error)) + ops.mean(ops.abs(down)) + ops.mean(ops.abs(right))


def mean_psnr(model: keras.Model, paths: list[Path]) -> float:
    """Mean over whole readable pictures of the PSNR (dB) between picture and round trip, rounded to 8 bits."""
    values = []
    for path in paths:
        picture = _picture(path)
        if picture is None:
            continue
        trip = np.asarray(model.predict_on_batch(picture[None].astype("float32")))[0]
        values.append(psnr(picture, np.rint(trip).astype(np.uint8)))
    return float(np.mean(values))


def _start_or_resume(run_folder: Path, settings: _Settings, resume: bool) -> tuple[keras.Model, list[dict]]:
    saved, last, history = (run_folder / name for name in ("settings.json", "last.keras", "history.json"))
    if resume and saved.exists() and last.exists() and history.exists():
        if json.loads(saved.read_text()) != asdict(settings):
            raise FakeclfError(
                f"{run_folder} holds a training with other settings ({saved.name}); "
                "use the same settings to go on with it, or another run folder"
            )
        return keras.saving.load_model(last), json.loads(history.read_text())
    with replace_file(saved) as beside:
        beside.write_text(json.dumps(asdict(settings), indent=1))
    keras.utils.set_random_seed(settings.seed)
    # Without the clip at the end of the finished model, whose gradient is zero for what lies outside the range.
    pictures = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32")(pictures)
    encoder = small_autoencoder.build_encoder(settings.width, settings.precision)
    decoder = small_autoencoder.build_decoder(settings.width, settings.precision)
    model = keras.Model(pictures, decoder(encoder(scaled)))
    warm_up = min(50, settings.steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        0.1 * settings.learning_rate,
        decay_steps=settings.steps - warm_up,
        alpha=0.01,
        warmup_target=settings.learning_rate,
        warmup_steps=warm_up,
    )
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), error_and_edges, jit_compile=False)
    return model, []


def _ahead(paths: list[Path], settings: _Settings, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (step, batch), decoding the next batch while the current one is trained on."""
    usable = list(paths)
    if not usable:
        raise FakeclfError("no photographs to train on; name a folder of JPEG or PNG photographs")
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(_draw, usable, settings, start)
        for step in range(start, settings.steps):
            batch = coming.result()
            coming = pool.submit(_draw, usable, settings, step + 1)
            yield step, batch


def _draw(paths: list[Path], settings: _Settings, step: int) -> np.ndarray:
    """The batch of one step: random crops, half of them mirrored, float32 0-255 (batch_size, crop, crop, 3)."""
    random, crop = np.random.default_rng([settings.seed, step]), settings.crop
    crops: list[np.ndarray] = []
    for _ in range(100 * settings.batch_size):
        picture = _picture(paths[random.integers(len(paths))])
        if picture is None or min(picture.shape[:2]) < crop:
            continue
        for _ in range(CROPS_OF_ONE_PHOTO):
            top, left = (random.integers(side - crop + 1) for side in picture.shape[:2])
            piece = picture[top : top + crop, left : left + crop]
            crops.append(piece[:, ::-1] if random.random() < 0.5 else piece)
        if len(crops) >= settings.batch_size:
            return np.stack(crops[: settings.batch_size]).astype(np.float32)
    raise FakeclfError(f"too few photographs of at least {crop}x{crop} pixels; add larger ones, or lower the crop")


def _picture(path: Path) -> np.ndarray | None:
    try:
        return images.read(path)
    except images.UnreadablePicture:
        return None


def _checkpoint(run_folder: Path, model: keras.Model, history: list[dict]) -> None:
    with replace_file(run_folder / "last.keras") as beside:
        model.save(beside)
    with replace_file(run_folder / "history.json") as beside:
        beside.write_text(json.dumps(history, indent=1))


def _whole_model(trained: keras.Model, width: int) -> keras.Model:
    model = small_autoencoder.build(width=width)
    for part in ("encoder", "decoder"):
        model.get_layer(part).set_weights(trained.get_layer(part).get_weights())
    return model
