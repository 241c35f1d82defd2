"""What every registered localizer has to do, narrow and on small pictures."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fakeclf import registry
from fakeclf.training.trainer import with_policy
from segmentation.training.objective import objective

NAMES = [spec.name for spec in registry.models("localizer")]
WIDTH = 0.0625


@pytest.fixture(scope="module", params=NAMES)
def spec(request: pytest.FixtureRequest) -> registry.ModelSpec:
    return registry.model(request.param)


@pytest.fixture(scope="module")
def model(spec: registry.ModelSpec) -> keras.Model:
    keras.utils.set_random_seed(0)
    return spec.build(64, width=WIDTH)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype("float32")


@pytest.mark.parametrize("size", [(64, 64), (71, 90), (97, 64)])
def test_the_mask_has_the_size_of_the_picture(model: keras.Model, size: tuple[int, int]) -> None:
    made = model(picture(*size))
    mask = np.asarray(made["mask"])
    assert mask.shape == (1, *size, 1) and mask.dtype == np.float32
    assert np.all((mask >= 0) & (mask <= 1))
    if "score" in made:
        assert made["score"].shape == (1, 1) and 0 <= float(made["score"][0, 0]) <= 1


def test_training_moves_the_weights(spec: registry.ModelSpec) -> None:
    keras.utils.set_random_seed(1)
    learner = with_policy("mixed_bfloat16", lambda: spec.build(64, width=WIDTH))
    mask = np.zeros((2, 64, 64, 1), "float32")
    mask[:, 16:48, 16:48] = 1
    targets = {"mask": mask, "edge": mask, "score": np.ones((2, 1), "float32")}
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=False, **objective(spec.loss, learner.output_names))
    learner.optimizer.build(learner.trainable_variables)  # else the step is traced twice
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in learner.trainable_weights]
    shown = np.concatenate([picture(64, 64), picture(64, 64)[:, ::-1]])
    for _ in range(3):
        # Some gates open only after the first step: an attention's weight that starts at zero, for one.
        loss = learner.train_on_batch(shown, {name: targets[name] for name in learner.output_names})
    assert np.all(np.isfinite(np.hstack(loss)))
    still = [
        weight.path
        for weight, old in zip(learner.trainable_weights, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(weight), old)
    ]
    # A network as narrow as this has a relu or two that never open, and ManTra-Net's least deviation only acts where a
    # map is flat; a branch that is cut off has many weights.
    assert len(still) <= max(1, 0.03 * len(before)), still


def test_a_saved_model_is_the_same_model(model: keras.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    shown = picture(64, 80)
    np.testing.assert_allclose(model(shown)["mask"], again(shown)["mask"], atol=1e-6)


def test_one_graph_serves_all_sizes(model: keras.Model) -> None:
    call = tf.function(
        lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)]
    )
    for size in ((64, 96), (75, 64)):
        shown = picture(*size)
        np.testing.assert_allclose(call(shown)["mask"], model(shown)["mask"], atol=1e-4)


def test_a_size_below_the_least_is_refused(spec: registry.ModelSpec) -> None:
    with pytest.raises(Exception, match="at least"):
        spec.build(8)
