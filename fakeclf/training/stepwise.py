"""Trainings counted in steps on crops of photographs, resumable, every batch drawn from the seed and the step alone.

So a run that was stopped and resumed sees the pictures that it would have seen without the stop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fakeclf import images
from fakeclf.atomic import replace_file
from fakeclf.errors import FakeclfError

CROPS_OF_ONE_PHOTO = 2
CHECKPOINT_EVERY = 100

History = list[dict[str, float]]


def run_steps(
    model: keras.Model,
    run_folder: Path,
    settings: dict[str, Any],
    draw: Callable[[int], tuple[Any, Any]],
    *,
    steps: int,
    minutes: float | None = None,
    resume: bool = True,
    say: Callable[[str], None] = print,
) -> History:
    """Train ``model`` in place, from where an earlier run in the same folder was stopped.

    Args:
        model: compiled, its optimisers built: what is resumed are its weights and theirs.
        run_folder: gets ``settings.json``, ``last.weights.h5`` and ``history.json`` every ``CHECKPOINT_EVERY`` steps.
        settings: all that decides the run; must be as they were where a run is resumed.
        draw: gives the inputs and targets of a step, counted from 0; called in another thread, one step ahead.
        minutes: stop after this long, as if the run had been interrupted.
        say: called with one line of progress at each checkpoint.

    Returns:
        A point for each checkpoint: "step", "seconds" and the mean since the last of whatever the model reports.

    Raises:
        FakeclfError: ``run_folder`` holds a run with other settings.
    """
    history = _start_or_resume(model, run_folder, settings, resume)
    begun, before = time.monotonic(), history[-1]["seconds"] if history else 0.0
    done = int(history[-1]["step"]) if history else 0
    figures: list[dict[str, Any]] = []
    for step, (inputs, targets) in _ahead(draw, done, steps):
        model.reset_metrics()  # a compiled model's figures are else means since its first step
        figures.append(model.train_on_batch(inputs, targets, return_dict=True))
        seconds = before + time.monotonic() - begun
        out_of_time = minutes is not None and seconds - before >= 60 * minutes
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps or out_of_time:
            means = {name: float(np.mean([point[name] for point in figures])) for name in figures[0]}
            history.append({"step": step + 1, **means, "seconds": seconds})
            figures.clear()
            _checkpoint(run_folder, model, history)
            left = (seconds - before) / (step + 1 - done) * (steps - step - 1)
            shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            say(f"step {step + 1}/{steps}  {shown}  {seconds:.0f} s, {left:.0f} s left")
        if out_of_time:
            break
    return history


def falling_rate(learning_rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A cosine from ``learning_rate`` to a hundredth of it, after at most 50 steps of warming up."""
    warm_up = min(50, steps // 10)
    return keras.optimizers.schedules.CosineDecay(
        0.1 * learning_rate,
        decay_steps=steps - warm_up,
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )


def random_crops(
    paths: list[Path],
    random: np.random.Generator,
    count: int,
    crop: int,
    *,
    read: Callable[[Path], np.ndarray | None] | None = None,
    corners: int = 1,
) -> np.ndarray:
    """``count`` crops, ``CROPS_OF_ONE_PHOTO`` of each photograph drawn, half of them mirrored.

    Args:
        read: gives a photograph's pixels, None where there are none to be had; default: ``readable``.
        corners: crops begin at multiples of it, pixels.

    Returns:
        uint8 (count, crop, crop, 3).

    Raises:
        FakeclfError: no photographs, or too few that are large enough.
    """
    if not paths:
        raise FakeclfError("no photographs to train on; name a folder of JPEG or PNG photographs")
    crops: list[np.ndarray] = []
    for _ in range(100 * count):
        picture = (read or readable)(paths[random.integers(len(paths))])
        if picture is None or min(picture.shape[:2]) < crop:
            continue
        for _ in range(CROPS_OF_ONE_PHOTO):
            top, left = (corners * random.integers((side - crop) // corners + 1) for side in picture.shape[:2])
            piece = picture[top : top + crop, left : left + crop]
            crops.append(piece[:, ::-1] if random.random() < 0.5 else piece)
        if len(crops) >= count:
            return np.stack(crops[:count])
    raise FakeclfError(f"too few photographs of at least {crop}x{crop} pixels; add larger ones, or lower the crop")


def spread(paths: list[Path], most: int | None) -> list[Path]:
    """At most ``most`` of the paths, evenly spread over them; None = all."""
    return paths if most is None or len(paths) <= most else [paths[k * len(paths) // most] for k in range(most)]


def processor_seconds(model: keras.Model, draw: Callable[[int], tuple[Any, Any]]) -> float:
    """Processor time of a training step, seconds: the median of five, drawing the batch included.

    It does not depend on what else the machine is doing, as the time on the clock does.
    """
    taken = []
    for step in range(6):
        begun = time.process_time()
        model.train_on_batch(*draw(step))
        taken.append(time.process_time() - begun)
    # The first one is spent on tracing.
    return float(np.median(taken[1:]))


def readable(path: Path) -> np.ndarray | None:
    """The picture, or None where the file is damaged or no picture."""
    try:
        return images.read(path)
    except images.UnreadablePicture:
        return None


def _start_or_resume(model: keras.Model, run_folder: Path, settings: dict[str, Any], resume: bool) -> History:
    saved, last, history = (run_folder / name for name in ("settings.json", "last.weights.h5", "history.json"))
    if resume and saved.exists() and last.exists() and history.exists():
        if json.loads(saved.read_text()) != settings:
            raise FakeclfError(
                f"{run_folder} holds a training with other settings ({saved.name}); "
                "use the same settings to go on with it, or another run folder"
            )
        model.load_weights(last)
        return json.loads(history.read_text())
    with replace_file(saved) as beside:
        beside.write_text(json.dumps(settings, indent=1))
    return []


def _checkpoint(run_folder: Path, model: keras.Model, history: History) -> None:
    with replace_file(run_folder / "last.weights.h5") as beside:
        model.save_weights(beside)
    with replace_file(run_folder / "history.json") as beside:
        beside.write_text(json.dumps(history, indent=1))


def _ahead(draw: Callable[[int], tuple[Any, Any]], start: int, steps: int) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Yield (step, batch), drawing the next batch while the current one is trained on."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw, start)
        for step in range(start, steps):
            batch = coming.result()
            if step + 1 < steps:
                coming = pool.submit(draw, step + 1)
            yield step, batch
