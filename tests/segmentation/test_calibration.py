"""Scores of whole pictures from a localizer: which pictures, which score, and into a card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fakeclf import calibration, images
from segmentation import metrics
from segmentation.calibration import picture_scores
from segmentation.datasets import Pair
from segmentation.evaluate import evaluate

GENERATORS = {"telea": 60, "lama": 30}
"""How much redder than the rest what each inpainted is."""


@dataclass
class Found:
    mask: np.ndarray
    score: float | None = None


def redness(picture: np.ndarray) -> np.ndarray:
    return picture[..., 0].astype(np.float32) / 255


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of 24 x 32 pixels in a validation part; each original is there once and was forged twice."""
    folder = tmp_path_factory.mktemp("forged")
    random = np.random.default_rng(0)
    mask = np.zeros((24, 32), np.uint8)
    mask[4:16, 6:20] = 255
    for k in range(12):
        original = random.integers(60, 160, (24, 32, 3)).astype(np.uint8)
        for generator, redder in GENERATORS.items():
            at = folder / "val" / generator
            filled = np.where(mask[..., None] > 0, original + np.array([redder, 0, 0]), original).astype(np.uint8)
            images.save(at / f"{k}.original.png", original)
            images.save(at / f"{k}.mask.png", mask)
            images.save(at / f"{k}.realfake.png", filled)
    return folder


@pytest.fixture(scope="module")
def pairs(forged: Path) -> list[Pair]:
    pairs = []
    for k in range(12):
        original = str(forged / "val" / "telea" / f"{k}.original.png")
        for generator in GENERATORS:
            at = forged / "val" / generator
            pairs.append(Pair(str(at / f"{k}.realfake.png"), str(at / f"{k}.mask.png"), original, str(k), generator))
    return pairs


def test_forged_pictures_are_fake_and_originals_real_each_once(pairs: list[Pair]) -> None:
    truth, p_real, notes = picture_scores(evaluate(lambda picture: Found(redness(picture)), pairs))
    assert ((truth == 0).sum(), (truth == 1).sum()) == (24, 12)
    paths = [pair.image for pair in pairs] + list(dict.fromkeys(pair.original for pair in pairs))
    expected = [metrics.top_share(redness(images.read(path))) for path in paths]
    assert sorted(1 - p_real[truth == 0]) == pytest.approx(sorted(expected[:24]))
    assert sorted(1 - p_real[truth == 1]) == pytest.approx(sorted(expected[24:]))
    assert "highest 1 %" in notes[0]


def test_the_networks_own_score_goes_first(pairs: list[Pair]) -> None:
    found = evaluate(lambda picture: Found(redness(picture), float(redness(picture).mean())), pairs)
    truth, p_real, notes = picture_scores(found)
    means = [redness(images.read(pair.image)).mean() for pair in pairs]
    assert sorted(1 - p_real[truth == 0]) == pytest.approx(sorted(means), abs=1e-6)
    assert "own score" in notes[0]


def test_generators_kept_for_tests_are_left_out(pairs: list[Pair]) -> None:
    found = evaluate(lambda picture: Found(redness(picture)), pairs)
    truth, p_real, notes = picture_scores(found, "lama, other")
    assert ((truth == 0).sum(), (truth == 1).sum(), len(p_real)) == (12, 12, 24)
    assert notes[1] == "generators left out, as in its training: lama, other"


def test_a_saved_localizer_is_calibrated(forged: Path, tmp_path: Path) -> None:
    import keras

    from fakeclf import bundle

    pictures = keras.Input((None, None, 3))
    red = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(pictures, {"mask": red(pictures)})
    red.set_weights([np.array([0.1, 0, 0], np.float32).reshape(1, 1, 3, 1), np.array([-16], np.float32)])
    recipe = {"seed": 0, "validation": 0.2, "localizing": {"leave_out": "lama"}}
    card = bundle.Card("red", "localizer", "red", "fakeclf.models.layers", threshold=0.3)
    card.trained_on = {"recipe": recipe}
    bundle.save(model, card, tmp_path / "red", float16=False)
    found = calibration.calibrate(tmp_path / "red", str(forged))
    kept = bundle.read_card(tmp_path / "red")
    assert kept.calibration == found.to_json() and kept.threshold == 0.3
    assert (found.fakes, found.split, found.data) == (12, "validation", forged.name)
    assert found.recall == 1 and found.false_positives_reached == 0  # the originals are not as red
    assert any("left out, as in its training: lama" in line for line in found.protocol)
    assert found.loss_after < found.loss_before
    recipe["localizing"]["degrade_as"] = "saved again"
    card.name = "saved"
    bundle.save(model, card, tmp_path / "saved", float16=False)
    assert calibration.calibrate(tmp_path / "saved", str(forged)).data == f"{forged.name} after jpeg:90"
