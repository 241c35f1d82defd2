"""Means of weights: against NumPy, and what is refused."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle
from fakeclf.averaging import average
from fakeclf.cli.main import main
from fakeclf.errors import FakeclfError

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def kept(name: str, *, seed: int = 0, units: int = 3, **values) -> Path:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(units, 3), keras.layers.BatchNormalization()]
    )
    for weight in model.weights:
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape))
    card = bundle.Card(
        name=name, kind="classifier", model=values.pop("model", "tiny"), module="fakeclf.models.layers", **values
    )
    return bundle.save(model, card, Path("saved_models") / name, float16=False)


def test_weights_are_the_weighted_mean_and_what_was_measured_is_gone():
    kept("before", seed=1)
    kept("after", seed=2, threshold=0.3, limits=["faces"], results=[{"split": "test"}], reach={"sides": 1})
    assert main(["models", "average", "before", "after", "--share", "0.75", "--name", "mean"]) == 0
    first, second, mean = (bundle.load(name).get_weights() for name in ("before", "after", "mean"))
    for a, b, got in zip(first, second, mean, strict=True):
        np.testing.assert_allclose(got, 0.25 * a + 0.75 * b, atol=2e-3)  # kept as float16
    card = bundle.read_card("mean")
    assert (card.name, card.threshold, card.limits, card.results, card.reach) == ("mean", 0.3, ["faces"], [], None)
    assert [(one["name"], one["share"]) for one in card.trained_on["averaged"]] == [("before", 0.25), ("after", 0.75)]
    assert card.trained_on["averaged"][1]["sha256"] == bundle.sha256(bundle.find("after") / "model.keras")
    with pytest.raises(FakeclfError, match="mean"):
        average("before", "after", name="mean")
    average("before", "after", name="mean", force=True)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_is_between(share: float):
    with pytest.raises(FakeclfError, match="share must be above 0 and below 1"):
        average("before", "after", share=share, name="mean")


def test_strangers_and_ensembles_are_refused():
    kept("before")
    kept("wider", units=4)
    kept("other", model="another")
    kept("joined", members=[{"name": "before", "sha256": "0"}])
    for other in ("wider", "other"):
        with pytest.raises(FakeclfError, match=f"before .* and {other} .* are not of one architecture"):
            average("before", other, name="mean")
    with pytest.raises(FakeclfError, match="joined is an ensemble"):
        average("before", "joined", name="mean")
    assert not Path("saved_models/mean").exists()
