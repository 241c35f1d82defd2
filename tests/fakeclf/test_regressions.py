"""Misjudged pictures: kept beside their model, shown to it again, and not lost when it is built anew."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle, calibration, cases, images, last_layer, registry, regressions
from fakeclf.errors import FakeclfError
from fakeclf.voters import Voter, open_voters

GLOW = 8.0  # how strongly the classifier below takes light for real


def light(name: str = "light", glow: float = GLOW, **fields: object) -> Path:
    """``saved_models/NAME``: P(FAKE) = 1 / (1 + exp(glow * (mean - 0.5))), the mean of a picture in [0, 1]."""
    pictures = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))
    last = keras.layers.Dense(1, activation="sigmoid")
    network = keras.Model(pictures, last(pooled))
    last.set_weights([np.full((3, 1), glow / 3), np.array([-glow / 2])])
    card = bundle.Card(name, "classifier", "light", "fakeclf.models.layers", **fields)
    return bundle.save(network, card, Path("saved_models") / name, force=True)


def bright() -> Path:
    """``saved_models/bright``: a calibrated localizer that takes what is bright for inpainted."""
    from segmentation.models.frame import localizer, picture_input

    pictures, x = picture_input()
    convolution = keras.layers.Conv2D(1, 1)
    network = localizer(pictures, convolution(x), "bright")
    convolution.set_weights([np.full((1, 1, 3, 1), 20 / 3), np.array([-10.0])])
    scores = np.linspace(0.01, 0.99, 40)
    fitted = calibration.fit(scores < 0.5, 1 - scores, data="made", split="validation").to_json()
    card = bundle.Card("bright", "localizer", "test", "segmentation.models.frame", calibration=fitted)
    return bundle.save(network, card, Path("saved_models") / "bright", float16=False)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def voter() -> Voter:
    return opened(light())


def opened(folder: Path) -> Voter:
    (voter,) = open_voters(folder)
    return voter


def put(name: str, level: int = 60, size: tuple[int, int] = (16, 20)) -> np.ndarray:
    """A picture about as bright as ``level``, 0-255, with a white corner of a quarter of its height and width."""
    pixels = np.random.default_rng(level).integers(level - 20, level + 21, (*size, 3)).astype(np.uint8)
    pixels[: size[0] // 4, : size[1] // 4] = 255
    images.save(name, pixels)
    return pixels


def states(folder: Path) -> list[str]:
    return [outcome.state for outcome in regressions.replay(folder)]


def test_the_picture_and_what_was_said_of_it_are_kept(voter: Voter) -> None:
    pixels = put("Dusk.JPG")
    content = Path("Dusk.JPG").read_bytes()
    outcome = regressions.add(voter, "Dusk.JPG", "real", note="evening")
    assert outcome.state == "known" and outcome.verdict == "fake"
    (case,) = cases.read("saved_models/light")
    assert case == outcome.case
    assert case.sha256 == hashlib.sha256(content).hexdigest()
    (kept,) = Path("saved_models/light/regressions/pictures").iterdir()
    assert kept.name == f"{case.sha256}.jpg" and kept.read_bytes() == content
    assert (case.name, case.truth, case.kind, case.note) == ("Dusk.JPG", "real", "picture", "evening")
    assert case.model_sha256 == bundle.sha256(voter.folder / "model.keras") and case.right_since is None
    expected = 1 / (1 + np.exp(GLOW * (images.read(content).mean() / 255 - 0.5)))
    assert pixels.mean() < 100 and case.p_fake == pytest.approx(expected, abs=5e-3)
    (line,) = Path("saved_models/light/regressions/cases.jsonl").read_text().splitlines()
    assert json.loads(line)["verdict"] == "fake"
    assert bundle.verify("light") == []  # the card's hashes know nothing of it


def test_known_then_right_then_a_regression(voter: Voter) -> None:
    put("dark.png")
    put("white.png", 230)
    regressions.add(voter, "dark.png", "real")
    right = regressions.add(voter, "white.png", "real")
    assert right.state == "right" and right.case.right_since
    assert states(voter.folder) == ["known", "right"]
    assert cases.read(voter.folder)[0].right_since is None
    # Built anew, upside down: what was wrong is right, and the other way round. No case is lost.
    light(glow=-GLOW)
    assert states(voter.folder) == ["right", "regression"]
    assert all(case.right_since for case in cases.read(voter.folder))
    light()
    for _ in range(2):  # it stays one until it is right again
        found = list(regressions.replay(voter.folder))
        assert [outcome.state for outcome in found] == ["regression", "right"]
    assert found[0].p_fake == pytest.approx(found[0].case.p_fake)
    assert found[0].to_json()["verdict_now"] == "fake" and "features" not in found[0].to_json()


def test_a_picture_that_is_fake_must_be_called_so(voter: Voter) -> None:
    put("white.png", 230)
    put("dark.png")
    assert regressions.add(voter, "white.png", "fake").state == "known"
    assert regressions.add(voter, "dark.png", "fake").state == "right"
    assert states(voter.folder) == ["known", "right"]
    # Out of reach is neither: it is not called fake any more.
    card = bundle.read_card(voter.folder)
    light(reach={"smallest": 100}, threshold=card.threshold)
    assert [outcome.verdict for outcome in regressions.replay(voter.folder)] == ["cannot tell"] * 2
    assert states(voter.folder) == ["known", "regression"]


def test_adding_again_updates_the_case(voter: Voter) -> None:
    put("a.png")
    Path("b.jpeg").write_bytes(Path("a.png").read_bytes())  # the same file under another name
    put("c.png", 50)
    regressions.add(voter, "a.png", "real", note="first")
    regressions.add(voter, "c.png", "real")
    regressions.add(voter, "b.jpeg", "real", note="second")
    first, second = cases.read(voter.folder)
    assert (first.name, first.note, second.name) == ("b.jpeg", "second", "c.png")
    pictures = voter.folder / "regressions" / "pictures"
    assert {path.name for path in pictures.iterdir()} == {f"{first.sha256}.jpeg", f"{second.sha256}.png"}
    # Once right, a note does not make it softer; another truth is another test.
    light(glow=-GLOW)
    assert states(voter.folder) == ["right", "right"]
    worse = opened(light())
    assert regressions.add(worse, "a.png", "real", note="third").state == "regression"
    assert regressions.add(worse, "a.png", "fake").state == "right"
    light(glow=-GLOW)
    assert states(voter.folder) == ["regression", "right"]


def test_features_stand_for_the_picture(voter: Voter) -> None:
    pixels = put("secret.png")
    regressions.add(voter, "secret.png", "real")
    outcome = regressions.add(voter, "secret.png", "real", features_only=True)
    folder = voter.folder / "regressions"
    assert list((folder / "pictures").iterdir()) == []
    assert "secret" not in (folder / "cases.jsonl").read_text()
    (case,) = cases.read(voter.folder)
    assert case.kind == "features" and outcome.state == "known"
    np.testing.assert_allclose(last_layer.features(voter.folder, pixels), pixels.mean((0, 1)) / 255, rtol=1e-3)
    (again,) = regressions.replay(voter.folder)
    assert again.state == "known" and again.p_fake == pytest.approx(case.p_fake, abs=5e-3)
    # Another calibration is the same network; another network is not.
    p_real = np.linspace(0.001, 0.6, 50)
    bundle.set_calibration("light", calibration.fit(p_real > 0.05, p_real, data="made", split="validation").to_json())
    (again,) = regressions.replay(voter.folder)
    assert again.state == "right" and again.p_fake < 0.5
    light(glow=GLOW / 2)
    (again,) = regressions.replay(voter.folder)
    assert again.state == "changed" and again.verdict is None and "changed since" in again.why


def test_features_of_a_registered_model_are_found_by_structure() -> None:
    network = registry.model("residual-cnn").build(32, width=4)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.2, weight.shape) for weight in network.get_weights()])
    card = bundle.Card("net", "classifier", "residual-cnn", "fakeclf.models.residual_cnn")
    voter = opened(bundle.save(network, card, "saved_models/net"))
    pixels = put("a.png", size=(40, 50))
    values = last_layer.features(voter.folder, pixels)
    assert values.shape == (8,) and values.dtype == np.float16
    raw = voter.look(pixels).raw
    assert abs(raw - 0.5) > 0.01 and last_layer.p_fake(voter.folder, values) == pytest.approx(raw, abs=1e-3)


def test_features_are_refused_where_they_do_not_suffice(voter: Voter) -> None:
    put("a.png")
    with pytest.raises(FakeclfError, match="mask needs the picture"):
        regressions.add(opened(bright()), "a.png", "real", features_only=True)
    # No Dense layer at all, and one whose input is beyond float16.
    pictures = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(1, 1)(pictures))
    network = keras.Model(pictures, keras.layers.Activation("sigmoid")(pooled))
    card = bundle.Card("flat", "classifier", "test", "fakeclf.models.layers")
    flat = opened(bundle.save(network, card, "saved_models/flat"))
    with pytest.raises(FakeclfError, match="flat has no last layer.*keep the picture"):
        regressions.add(flat, "a.png", "real", features_only=True)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1e4)(pictures))
    last = keras.layers.Dense(1, activation="sigmoid")
    network = keras.Model(pictures, last(pooled))
    last.set_weights([np.full((3, 1), 1e-7), np.zeros(1)])
    huge = opened(bundle.save(network, bundle.Card("huge", "classifier", "test", card.module), "saved_models/huge"))
    with pytest.raises(FakeclfError, match="rounded features; keep the picture"):
        regressions.add(huge, "a.png", "real", features_only=True)
    assert not (huge.folder / "regressions").exists()


def test_a_localizer_is_held_to_the_area_it_marks() -> None:
    voter = opened(bright())
    put("a.png", 100)
    with pytest.raises(FakeclfError, match="at most 1; received 2"):
        regressions.add(voter, "a.png", "real", area_below=2)
    outcome = regressions.add(voter, "a.png", "real", area_below=0.05)
    assert outcome.area == pytest.approx(1 / 16) and not outcome.case.met_by("real", outcome.area)
    assert outcome.case.met_by("real", 0.04) and not outcome.case.met_by("fake", 0.04)
    assert states(voter.folder) == ["known"]
    # Another requirement is another test: at 10 % only the picture's score is in the way, if anything.
    again = regressions.add(voter, "a.png", "real", area_below=0.1)
    assert again.case.met_by("unsure", again.area) and len(cases.read(voter.folder)) == 1
    for wrong in ({"truth": "fake", "area_below": 0.1}, {"truth": "maybe"}):
        with pytest.raises(FakeclfError, match="truth"):
            regressions.add(voter, "a.png", **wrong)
    with pytest.raises(FakeclfError, match="asked of a localizer.*light is of kind classifier"):
        regressions.add(opened(light()), "a.png", "real", area_below=0.1)


def test_a_picture_that_is_damaged_does_not_stop_the_others(voter: Voter) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        put(name, 40 + number)
        regressions.add(voter, name, "real")
    pictures = voter.folder / "regressions" / "pictures"
    first, second, _ = cases.read(voter.folder)
    (pictures / f"{first.sha256}.png").write_bytes(b"other")
    (pictures / f"{second.sha256}.png").unlink()
    found = list(regressions.replay(voter.folder))
    assert [outcome.state for outcome in found] == ["damaged", "damaged", "known"]
    assert "has changed since it was added" in found[0].why and "missing" in found[1].why


def test_features_that_are_damaged_are_told(voter: Voter) -> None:
    put("a.png")
    regressions.add(voter, "a.png", "real", features_only=True)
    path = voter.folder / "regressions" / "cases.jsonl"
    kept = json.loads(path.read_text())
    for features, hint in (
        ("?", "features are damaged"),
        ("AA==", "features are damaged"),
        ("AAAAAA==", "there are 2"),
    ):
        path.write_text(json.dumps({**kept, "features": features}) + "\n")
        (outcome,) = regressions.replay(voter.folder)
        assert outcome.state == "damaged" and hint in outcome.why


def test_what_is_added_during_a_replay_is_not_lost(voter: Voter) -> None:
    put("dark.png")
    put("black.png", 30)
    for name in ("dark.png", "black.png"):
        regressions.add(voter, name, "real")
    light(glow=-GLOW)
    running = regressions.replay(voter.folder)
    next(running)
    put("late.png", 45)
    regressions.add(opened(voter.folder), "late.png", "real", note="late")
    assert [outcome.state for outcome in running] == ["right"]
    kept = cases.read(voter.folder)
    assert [case.name for case in kept] == ["dark.png", "black.png", "late.png"]
    assert all(case.right_since for case in kept)


def test_removing(voter: Voter) -> None:
    put("a.png")
    put("b.png", 50)
    for name in ("a.png", "b.png"):
        regressions.add(voter, name, "real")
    first, second = cases.read(voter.folder)
    assert cases.find(voter.folder, "a.png") == cases.find(voter.folder, first.sha256[:8].upper()) == [first]
    cases.remove(voter.folder, first)
    assert cases.read(voter.folder) == [second]
    assert [path.name for path in (voter.folder / "regressions/pictures").iterdir()] == [f"{second.sha256}.png"]


def test_what_cannot_be_added(voter: Voter, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.png")
    Path("text.png").write_text("no picture")
    for path, hint in (("absent.png", "no such file"), ("text.png", "text.png: .*not a picture"), (".", "is a folder")):
        with pytest.raises(FakeclfError, match=hint):
            regressions.add(voter, path, "real")
    small = opened(light("small", reach={"smallest": 8, "largest": 16}))
    with pytest.raises(regressions.NoVote, match="a.png: small cannot judge it: .*not 20 x 16"):
        regressions.add(small, "a.png", "real")
    if os.geteuid() == 0:  # to whom every folder is open
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:
        voter.folder.chmod(0o555)
    with pytest.raises(FakeclfError, match="light cannot be written to; copy it .*FAKECLF_MODELS"):
        regressions.add(voter, "a.png", "real")
    voter.folder.chmod(0o755)
    assert not (voter.folder / "regressions").exists() and not (small.folder / "regressions").exists()


@pytest.mark.parametrize(
    "change", [{"sha256": "../../x"}, {"truth": "maybe"}, {"kind": "both"}, {"surplus": 1}, {"sha256": "*"}]
)
def test_lines_are_checked(voter: Voter, change: dict) -> None:
    put("a.png")
    regressions.add(voter, "a.png", "real")
    path = voter.folder / "regressions" / "cases.jsonl"
    good = path.read_text()
    path.write_text(good + json.dumps(json.loads(good) | change) + "\n")
    with pytest.raises(FakeclfError, match="cases.jsonl, line 2 is no case"):
        cases.read(voter.folder)
    path.write_text(good + good[:40])
    with pytest.raises(FakeclfError, match="line 2"):
        list(regressions.replay(voter.folder))
