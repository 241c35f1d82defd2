"""Models that have a say: opened by name, and the votes that follow from what they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakeclf import bundle, voters
from fakeclf.errors import FakeclfError
from fakeclf.reach import Reach
from fakeclf.voters import open_voters
from tests.fakeclf.voting import bright, brightness, calibration, classifier, localizer


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``saved_models/cifake-robust``: the mean brightness of a picture as P(REAL), uncalibrated."""
    import keras

    from fakeclf.models.layers import picture_input

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path / "nothing")
    pictures, x = picture_input(8, "resize")
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    dense = keras.layers.Dense(1, activation="sigmoid")
    network = keras.Model(pictures, dense(pooled))
    dense.set_weights([np.full((3, 1), 4 / 3), np.array([-2.0])])
    card = bundle.Card("cifake-robust", "classifier", "test", "fakeclf.models.layers", threshold=0.6)
    card.input = {"sizes": {"smallest": 8, "largest": 64}}
    return bundle.save(network, card, tmp_path / "saved_models" / "cifake-robust", float16=False)


def test_a_bundle_is_opened_by_name_and_once(saved: Path) -> None:
    (voter,) = open_voters()
    assert voter.name == "cifake-robust" and voter.reach == Reach(8, 64) and voter.calibration is None
    assert open_voters(["cifake-robust", saved])[0] is voter and len(open_voters("cifake-robust,cifake-robust")) == 1
    for size in ((20, 30), (9, 50)):
        raw, mask, *_ = voter.look(np.full((*size, 3), 255, np.uint8))
        assert raw == pytest.approx(1 - 1 / (1 + np.exp(-2)), abs=1e-5) and mask is None
    assert voter.vote(0.7).says == "fake" and voter.vote(0.5).says == "real"  # the card's threshold, no band
    bundle.set_calibration("cifake-robust", calibration(0.9, 0.2).to_json())
    (voter,) = open_voters("cifake-robust")
    assert [voter.vote(raw).says for raw in (0.95, 0.5, 0.1)] == ["fake", "unsure", "real"]


def test_what_cannot_vote_is_named(saved: Path) -> None:
    with pytest.raises(FakeclfError, match="did you mean 'cifake-robust'"):
        open_voters("cifake-robus")
    with pytest.raises(FakeclfError, match="no model is named"):
        open_voters([""])
    card = bundle.read_card("cifake-robust")
    card.kind = "autoencoder"
    bundle._write_card(card, saved)
    with pytest.raises(FakeclfError, match="is of kind autoencoder; classifiers, ensembles and localizers"):
        open_voters("cifake-robust")
    (saved / "card.json").unlink()
    with pytest.raises(FakeclfError, match="none of the default models is there"):
        open_voters()


def test_who_has_no_vote_and_why() -> None:
    small = np.zeros((8, 8, 3), np.uint8)
    seen = voters.Traces()
    assert classifier(brightness).no_vote((8, 8), seen) == ""
    assert "32 x 32" in classifier(brightness, reach=Reach(32, 32)).no_vote((8, 8), seen)
    assert "not calibrated" in localizer(bright, calibrated=False).no_vote((8, 8), seen)
    silent = classifier(brightness).vote(brightness(small), "too small")
    assert silent.says is None and silent.no_vote == "too small" and silent.p_fake == pytest.approx(0, abs=1e-6)
