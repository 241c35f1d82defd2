"""Pictures a second of `fakeclf train` against the 2023 report's own script: same network, same pictures, one run.

    python benchmarks/training.py PICTURES [--forged FORGED] [--model densenet121] [--size 32] [--batch 32] [--rounds 3]

PICTURES is a folder with FAKE/ and REAL/. The report's script is Keras' ImageDataGenerator behind a Python generator
that skips what cannot be read, `fit` with Adam, a second generator for validation, EarlyStopping, ReduceLROnPlateau and
TensorBoard with histograms, in float32. Ours is `fakeclf.training.trainer.train`, which is what the command runs: as
the recipe report_cifake says, and "plain", without validation, log and checkpoints. Network, input size, batch,
augmentation and optimiser are the same on both sides.

Every training lives in a thread of its own and goes on for one epoch of ``--steps`` batches a turn, so that the sides
alternate and each is built and traced once. The epoch in which that happens is not counted, nor are the first steps
of the others, which use up what was drawn ahead while other trainings had their turn. "Whole epochs" have validation
(a quarter as many pictures), logs and saves too. Figures are medians over the rounds; processor time is of all threads.
With FORGED, a folder of pairs with a training part (`fakeclf forge`), the crops of a localizer are drawn alone too,
beside the training of the recipe localizer.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from machine import machine
from turns import Training

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CLASSES = ("FAKE", "REAL")
HELD_OUT = 0.2
PASS_SECONDS = 3.0
LOCALIZER_PAIRS = 256
REPORT, PLAIN, RECIPE = "report's script", "ours, plain", "ours, its recipe in float32"
FAST, AVERAGED, UNWARPED, LOCALIZER = "ours, its recipe in bfloat16", "with EMA", "without augmentation", "localizer"
Fit = Callable[[Training], Any]
Drawn = dict[str, Callable[[], Iterator[Any]]]


def staged(folder: Path, root: Path, count: int) -> tuple[Any, int]:
    """``count`` pictures of ``folder`` to train on and those held out, linked to from ``root/train`` and ``root/held``;
    and how many the folder holds."""
    from fakeclf.data.datasets import Dataset, Example
    from fakeclf.images import find

    each, held = -(-count // 2), -(-round(count * HELD_OUT / (1 - HELD_OUT)) // 2)
    examples: dict[str, list[Any]] = {"train": [], "held": []}
    whole = 0
    for label, word in enumerate(CLASSES):
        paths = find(folder / word)
        whole += len(paths)
        for part, chosen in (("train", paths[:each]), ("held", paths[each : each + held])):
            (root / part / word).mkdir(parents=True)
            for path in chosen:
                link = root / part / word / path.name
                link.symlink_to(path.absolute())
                examples[part].append(Example(str(link), label, path.stem))
    return Dataset("pictures", root, tuple(examples["train"]), tuple(examples["held"]), (), ""), whole


def generator(pictures: Path, size: int, batch: int, augmented: bool) -> Iterator[Any]:
    """The report's: ImageDataGenerator, behind a generator that skips what cannot be read."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    shift: dict[str, Any] = {"width_shift_range": 0.1, "height_shift_range": 0.1, "fill_mode": "nearest"}
    warp = {"rotation_range": 20, "zoom_range": 0.2, "shear_range": 0.2, "horizontal_flip": True, **shift}
    flow = ImageDataGenerator(rescale=1 / 255, **(warp if augmented else {})).flow_from_directory(
        pictures, target_size=(size, size), batch_size=batch, class_mode="binary", classes=list(CLASSES), seed=0
    )
    while True:
        with contextlib.suppress(OSError):
            yield next(flow)


def theirs(recipe: Any, dataset: Any, run: Path) -> Fit:
    """The report's script, on the recipe's network without the layers that bring pictures to size and range."""
    import keras

    from fakeclf.training.trainer import build_model

    def fit(training: Training) -> None:
        model = build_model(recipe)
        model = keras.Model(model.get_layer("rescale").output, model.output)
        model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["accuracy"])
        callbacks = [
            keras.callbacks.EarlyStopping("loss", patience=1000),
            keras.callbacks.ReduceLROnPlateau("loss", patience=2, factor=0.1, min_lr=1e-6),
            keras.callbacks.TensorBoard(run / "tensorboard", histogram_freq=1),
        ]
        model.fit(
            generator(dataset.root / "train", recipe.input_size, training.batch, augmented=True),
            steps_per_epoch=training.steps,
            validation_data=generator(dataset.root / "held", recipe.input_size, training.batch, augmented=False),
            validation_steps=-(-len(dataset.validation) // training.batch),
            epochs=1000,
            callbacks=[training.callback(), *map(training.timed, callbacks)],
            verbose=0,
        )

    return fit


def ours(recipe: Any, dataset: Any, run: Path, callbacks: Sequence[str] | None = ()) -> Fit:
    """The trainer, with the ``callbacks`` of these classes alone (None: all); made before any of them runs."""
    from fakeclf.training import trainer

    callbacks_for = trainer.callbacks_for

    def fit(training: Training) -> None:
        def chosen(*arguments: Any, **options: Any) -> Any:
            everything, point = callbacks_for(*arguments, **options)
            stay = [each for each in everything if callbacks is None or type(each).__name__ in callbacks]
            return [training.callback(), *map(training.timed, stay)], point

        # Each training asks for its callbacks in its own first turn, so no other reads this meanwhile.
        trainer.callbacks_for = chosen
        trainer.train(recipe, dataset, run)

    return fit


def classifiers(dataset: Any, options: argparse.Namespace, runs: Path) -> tuple[dict[str, Fit], Drawn]:
    """What trains a classifier, by the name of its row; and the batches of both sides, drawn alone."""
    from fakeclf.config import read_recipe
    from fakeclf.training.feed import ClassifierFeed
    from fakeclf.training.trainer import precision_policy

    shipped = read_recipe("report_cifake")
    recipe = dataclasses.replace(
        shipped,
        model=options.model,
        input_size=options.size,
        batch_size=options.batch,
        weights="none",
        epochs=options.rounds + 2,
        precision="float32",
        stopping=dataclasses.replace(shipped.stopping, patience=1000),
    )
    averaged = dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, ema=0.998))
    unchecked = dataclasses.replace(dataset, validation=())
    fits = {
        REPORT: theirs(recipe, dataset, runs / "report"),
        PLAIN: ours(recipe, unchecked, runs / "plain"),
        RECIPE: ours(recipe, dataset, runs / "recipe", None),
        AVERAGED: ours(averaged, unchecked, runs / "averaged", ["SwapEMAWeights"]),
        UNWARPED: ours(dataclasses.replace(recipe, augmentation=None), unchecked, runs / "unwarped"),
    }
    if precision_policy("auto") == "mixed_bfloat16":
        fits[FAST] = ours(dataclasses.replace(recipe, precision="bfloat16"), dataset, runs / "fast", None)
    return fits, {
        "report's generator": lambda: generator(dataset.root / "train", options.size, options.batch, True),
        "our batches": lambda: iter(ClassifierFeed(recipe, unchecked).training(range(200), [])),
    }


def localizer(folder: Path, options: argparse.Namespace, run: Path) -> tuple[Training, Drawn]:
    """The training of the recipe localizer, and its crops, drawn alone."""
    from fakeclf.config import read_recipe
    from segmentation import datasets
    from segmentation.training.feed import LocalizerFeed

    pairs = datasets.load(folder)
    some = pairs.train[:: max(1, len(pairs.train) // LOCALIZER_PAIRS)]
    pairs = dataclasses.replace(pairs, train=some, validation=(), weights=())
    shipped, steps = read_recipe("localizer"), max(4, options.steps // 4)

    def recipe(degrade: float) -> Any:
        crops = {"degrade": degrade, "degrade_from": 0.0, "epoch_pictures": steps * shipped.batch_size}
        return dataclasses.replace(shipped, epochs=1000, localizing=dataclasses.replace(shipped.localizing, **crops))

    def drawn(degrade: float) -> Callable[[], Iterator[Any]]:
        # Degradation grows over the epochs; in the last it is nearly what the recipe says.
        return lambda: iter(LocalizerFeed(recipe(degrade), pairs).training(range(900, 1000), ["mask"]))

    degrade = shipped.localizing.degrade
    sides = {"localizer's crops": drawn(0.0), f"localizer's crops, degraded by {degrade}": drawn(degrade)}
    return Training(ours(recipe(0.0), pairs, run), steps, shipped.batch_size), sides


def drawn_alone(make: Callable[[], Iterator[Any]], count: int) -> tuple[float, float]:
    """Pictures a second drawn alone: over the first ``count``, files read, and in the seconds after them."""
    paces: list[float] = []
    stream, started, pictures = make(), time.perf_counter(), 0
    for batch, *_ in stream:
        pictures += len(batch)
        spent = time.perf_counter() - started
        if not paces and pictures >= count or len(paces) == 1 and spent >= PASS_SECONDS:
            paces.append(pictures / spent)
            started, pictures = time.perf_counter(), 0
        if len(paces) == 2:
            break
    return paces[0], paces[-1]


def against_report(trainings: dict[str, Training]) -> Iterator[list[str]]:
    base = trainings[REPORT].paces()
    for name in (REPORT, PLAIN, RECIPE, FAST):
        if name in trainings:
            steps, whole, processor = trainings[name].paces()
            row = [name, f"{steps:.0f}", f"{steps / base[0]:.2f}", f"{processor:.2f}", f"{base[2] / processor:.2f}"]
            # Plain epochs leave out what the report's have.
            yield [*row, *(["", ""] if name == PLAIN else [f"{whole:.0f}", f"{whole / base[1]:.2f}"])]
        else:
            yield [name, "not measured: this machine has no fast bfloat16", *[""] * 5]


def features(trainings: dict[str, Training], whole: int) -> Iterator[list[str]]:
    """What each step and, in an epoch of the whole folder, each epoch takes longer by a feature."""

    def row(name: str, every: str, seconds: float, off: float, on: float) -> list[str]:
        return [name, every, f"{seconds:.3f}", f"{off:.0f}", f"{on:.0f}", f"{1 - on / off:.1%}"]

    plain, averaged, unwarped = (trainings[name].paces()[0] for name in (PLAIN, AVERAGED, UNWARPED))
    recipe = trainings[RECIPE]
    yield row("EMA of the weights", "step", recipe.batch / averaged - recipe.batch / plain, plain, averaged)
    yield row("augmentation", "step", recipe.batch / plain - recipe.batch / unwarped, unwarped, plain)
    shown = whole * (1 - HELD_OUT)
    longer = shown / (recipe.steps * recipe.batch)
    for name, seconds in {
        f"validation on {whole * HELD_OUT:,.0f}": recipe.seconds("validation") * longer,
        "checkpoint to resume at": recipe.seconds("ResumePoint"),
        "checkpoint to keep, if the best": recipe.seconds("KeepWeights"),
        "TensorBoard with histograms": recipe.seconds("TensorBoard"),
        "EMA: swapping the weights": trainings[AVERAGED].seconds("SwapEMAWeights"),
    }.items():
        yield row(name, f"epoch of {shown:,.0f}", seconds, plain, shown / (shown / plain + seconds))


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="PICTURES")
    parser.add_argument("--forged", type=Path)
    parser.add_argument("--model", default="densenet121")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        dataset, whole = staged(options.folder, Path(scratch) / "pictures", options.steps * options.batch)
        if len(dataset.train) < options.steps * options.batch or not dataset.validation:
            parser.error(f"{options.folder} must hold FAKE/ and REAL/ with enough pictures; lower --steps or --batch")
        # The trainer's lines would stand between the rows.
        with open(os.devnull, "w", encoding="utf-8") as quiet, contextlib.redirect_stdout(quiet):
            trainings, alone = measured(dataset, options, Path(scratch))
    what = f"{options.model} at {options.size} px, batch {options.batch}"
    print(f"{what}, {options.rounds} rounds of {options.steps} steps; {machine()} before")
    table("pictures a second|times|cpu ms a picture|saves|over whole epochs|times", against_report(trainings))
    table("every|seconds|pictures a second without|with|cost", features(trainings, whole))
    table("first pass, pictures a second|later passes|its training takes|times that, at least", alone)


def measured(dataset: Any, options: argparse.Namespace, scratch: Path) -> tuple[dict[str, Training], list[list[str]]]:
    """All trainings, measured in turn, and the rows of the batches drawn alone."""
    fits, sides = classifiers(dataset, options, scratch)
    trainings = {name: Training(fit, options.steps, options.batch) for name, fit in fits.items()}
    fastest = FAST if FAST in trainings else PLAIN
    drawn = [(*side, len(dataset.train), user) for side, user in zip(sides.items(), (REPORT, fastest), strict=True)]
    if options.forged:
        trainings[LOCALIZER], crops = localizer(options.forged, options, scratch / "localizer")
        drawn += [(*side, LOCALIZER_PAIRS, LOCALIZER) for side in crops.items()]
    for number in range(options.rounds + 1):
        for name, training in trainings.items():
            started = time.perf_counter()
            training.epoch()
            print(f"epoch {number}: {name}, {time.perf_counter() - started:.1f} s", file=sys.stderr)
    for training in trainings.values():
        training.end()
    alone = [[drawn_alone(make, count) for _, make, count, _ in drawn] for _ in range(options.rounds)]
    rows = []
    for (name, _, _, user), figures in zip(drawn, zip(*alone, strict=True), strict=True):
        first, later = (statistics.median(values) for values in zip(*figures, strict=True))
        takes = trainings[user].paces()[0]
        rows.append([name, f"{first:,.0f}", f"{later:,.0f}", f"{takes:,.0f}", f"{min(first, later) / takes:.1f}"])
    return trainings, rows


def table(head: str, rows: Iterator[list[str]] | list[list[str]]) -> None:
    print(f"\n| | {head.replace('|', ' | ')} |\n|" + " --- |" * (head.count("|") + 2))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
