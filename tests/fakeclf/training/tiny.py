"""A training small enough for tests, also run as a script: ``python tiny.py PICTURES RUN [key=value ...]``.

Options before ``--set`` settings: ``strategy=...``, ``slow=SECONDS`` (a pause after each epoch, to be killed in).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np

from fakeclf import config, images
from fakeclf.data import folders
from fakeclf.models.layers import picture_input
from fakeclf.training import callbacks, trainer

RECIPE = config.with_settings(
    config.Recipe(),
    [
        "model=densenet121",
        "input_size=16",
        "epochs=4",
        "batch_size=16",
        "precision=float32",
        "optimizer.learning_rate=0.03",
        "stopping.patience=0",
        "augmentation.rotation=0.0",
        "augmentation.zoom=0.0",
    ],
)


def make_pictures(folder: Path, count: int = 120) -> Path:
    """FAKE: fine noise on grey; REAL: smooth ramps. A small network tells them apart in a few steps."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 16)
    for number in range(count):
        colour = random.uniform(110, 140, 3)
        fake = colour + random.normal(0, 40, (16, 16, 3))
        real = colour + 40 * (ramp[:, None, None] * random.normal() + ramp[None, :, None] * random.normal())
        for label, picture in (("FAKE", fake), ("REAL", real)):
            images.save(folder / label / f"{label}{number}.png", np.clip(picture, 0, 255).astype(np.uint8))
    return folder


def build() -> keras.Model:
    pictures, x = picture_input(16, "resize")
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=0.8)(x))
    x = keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(pictures, keras.layers.Dense(1, activation="sigmoid", dtype="float32")(x))


def train(pictures: Path, run: Path, settings: list[str], **options: object) -> trainer.Result:
    recipe = config.with_settings(RECIPE, settings)
    dataset = folders.load(pictures, validation=0.25, seed=0, data_dir=pictures.parent / "home")
    return trainer.train(recipe, dataset, run, build=build, **options)  # type: ignore[arg-type]


def weights_sum(model: keras.Model) -> list[float]:
    """One number a weight, exact enough to tell two trainings apart."""
    return [float(np.sum(np.asarray(weight, np.float64) * 1.7)) for weight in model.get_weights()]


def main() -> None:
    pictures, run, *settings = sys.argv[1:]
    options = {}
    while settings and settings[0].startswith(("strategy=", "slow=")):
        key, _, value = settings.pop(0).partition("=")
        options[key] = value
    if options.get("strategy") == "mirrored":
        import tensorflow as tf

        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    if pause := float(options.pop("slow", 0)):
        write = callbacks.ResumePoint.on_epoch_end

        def slowly(self: callbacks.ResumePoint, epoch: int, logs: dict | None = None) -> None:
            write(self, epoch, logs)
            time.sleep(pause)

        callbacks.ResumePoint.on_epoch_end = slowly  # type: ignore[method-assign]
    result = train(Path(pictures), Path(run), settings, **options)
    print("RESULT " + json.dumps({"weights": weights_sum(result.model), "devices": result.devices}), flush=True)


if __name__ == "__main__":
    main()
