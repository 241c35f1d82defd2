"""One verdict a picture: which models are asked, what follows, what is written."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fakeclf
from fakeclf import images
from fakeclf.data import degrade
from fakeclf.detection import Settings, detect, look
from fakeclf.errors import FakeclfError
from fakeclf.reach import Reach
from fakeclf.voters import Looked
from tests.fakeclf.voting import bright, brightness, classifier, localizer


def picture(level: int = 40, spot: int | None = 250, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Noise around ``level`` with a spot of a quarter of the area in the upper left."""
    pixels = np.random.default_rng(0).integers(level - 10, level + 11, (*size, 3)).astype(np.uint8)
    if spot is not None:
        pixels[: size[0] // 2, : size[1] // 2] = spot
    return pixels


def test_a_localizer_says_where() -> None:
    pixels = picture()
    found = detect(pixels, models=[localizer(bright)])
    np.testing.assert_allclose(found.mask, bright(pixels), atol=1e-6)
    assert (found.verdict, found.extent, found.decided_by, found.stable) == ("fake", "local", "localizer", "stable")
    assert found.area == pytest.approx(0.25) and found.pixel_threshold == 0.5 and found.size == (80, 60)
    assert found.p_fake == pytest.approx(250 / 255, abs=1e-6) and found.path is None and found.seconds > 0
    assert "25.0% of the picture is marked as repainted, in one place in the upper left." in found.why
    assert fakeclf.detect is detect


def test_a_classifier_says_whole() -> None:
    found = detect(picture(240, None), models=[classifier(brightness), localizer(lambda pixels: 0 * bright(pixels))])
    assert (found.verdict, found.extent, found.decided_by, found.area) == ("fake", "whole", "classifier", 0.0)
    assert [vote.says for vote in found.votes] == ["fake", "real"]


def test_calibration_is_applied_and_what_it_was_is_kept() -> None:
    found = detect(picture(25, None), models=[classifier(brightness, temperature=0.5)])
    raw = brightness(picture(25, None))
    assert found.votes[0].raw == pytest.approx(raw)
    assert found.p_fake == pytest.approx(raw**2 / (raw**2 + (1 - raw) ** 2)) and found.verdict == "real"


def test_a_model_measured_on_jpeg_has_no_vote_on_other_losses(tmp_path: Path) -> None:
    measured, any_codec = localizer(bright, reach=Reach(jpeg_quality=90)), localizer(bright, "other")
    for name, options in (("lossy", {"quality": 90}), ("lossless", {"lossless": True})):
        images.save(tmp_path / f"{name}.webp", picture(), **options)
    Image.fromarray(picture()).quantize(256).save(tmp_path / "moving.gif")
    for name, why in (("lossy.webp", "WebP's lossy compression"), ("moving.gif", "a palette of at most 256 colours")):
        found = detect(tmp_path / name, models=[measured])
        assert found.verdict == "cannot tell" and found.mask is not None
        assert found.votes[0].no_vote.startswith(f"its file went through {why}, and what it looks for was measured on")
        assert detect(tmp_path / name, models=[any_codec]).verdict == "fake"
    assert detect(tmp_path / "lossless.webp", models=[measured]).verdict == "fake"
    assert detect(picture(), models=[measured]).verdict == "fake"


def test_out_of_reach_is_cannot_tell_and_not_real() -> None:
    asked = []

    def score(pixels: np.ndarray) -> float:
        asked.append(pixels.shape)
        return 0.0

    found = detect(picture(), models=[classifier(score, reach=Reach(32, 32))])
    assert (found.verdict, found.extent, found.p_fake, found.stable) == ("cannot tell", None, None, None)
    assert not asked and "32 x 32 pixels alone" in found.votes[0].no_vote
    assert any("has no vote" in sentence for sentence in found.why)
    # A localizer's mask can still be looked at; it has no say.
    found = detect(picture(), models=[localizer(bright, reach=Reach(1000))])
    assert found.verdict == "cannot tell" and found.area == pytest.approx(0.25) and found.votes[0].p_fake is not None
    found = detect(picture(), models=[localizer(bright, calibrated=False)])
    assert found.verdict == "cannot tell" and "fakeclf models calibrate" in found.votes[0].no_vote


def test_the_mask_is_that_of_a_localizer_with_a_vote() -> None:
    blind = localizer(lambda pixels: 0 * bright(pixels), "blind", reach=Reach(1000))
    found = detect(picture(), models=[blind, localizer(bright, "seeing")])
    assert found.area == pytest.approx(0.25) and found.decided_by == "seeing"


def test_the_picture_s_own_compression_chooses_the_localizer() -> None:
    asked: list[str] = []

    def noting(name: str, value: float) -> Callable[[np.ndarray], np.ndarray]:
        def mask(pixels: np.ndarray) -> np.ndarray:
            asked.append(name)
            return np.full(pixels.shape[:2], value)

        return mask

    untouched = localizer(noting("untouched", 0.0), "untouched", reach=Reach(jpeg_quality=96))
    saved = localizer(noting("saved", 1.0), "saved", reach=Reach(jpeg_quality=80, highest_jpeg_quality=95))
    noise = np.random.default_rng(0).normal(0, 20, (128, 128, 3))
    photograph = np.clip(np.rint(120 + noise), 0, 255).astype(np.uint8)
    for seen, name, verdict in (
        ("", "untouched", "real"),
        ("jpeg:90", "saved", "fake"),
        ("jpeg:50", "untouched", None),
    ):
        asked.clear()
        changed = degrade.parse(seen).apply(photograph) if seen else photograph
        found = detect(changed, models=[untouched, saved], stability=False)
        assert asked == [name] and found.verdict == (verdict or "cannot tell")
        assert found.area == (1.0 if name == "saved" else 0.0)
    # Where both could judge, the one for saved pictures alone does, whichever comes first.
    reaching = localizer(noting("reaching", 0.0), "reaching", reach=Reach(jpeg_quality=85))
    for models in ([reaching, saved], [saved, reaching]):
        asked.clear()
        found = detect(degrade.parse("jpeg:90").apply(photograph), models=models, stability=False)
        assert asked == ["saved"] and found.verdict == "fake"
        assert "saved is the one for pictures saved as JPEG 90" in {vote.no_vote for vote in found.votes}


def test_what_saving_again_changes_flips() -> None:
    def is_sharp(pixels: np.ndarray) -> float:
        return 0.99 if np.abs(np.diff(pixels.astype(int), axis=1)).mean() > 60 else 0.01

    striped = np.full((60, 80, 3), 60, np.uint8)
    striped[:, ::2] = 140  # which JPEG keeps and resizing smooths
    found = detect(striped, models=[classifier(is_sharp)])
    assert found.verdict == "fake" and found.stable == "flips" and found.flips_after == ["resize:0.75"]
    assert any("do not rely on it" in sentence for sentence in found.why)
    quick = detect(striped, models=[classifier(is_sharp)], stability=False)
    assert quick.verdict == "fake" and quick.stable is None


def test_copies_are_looked_at_as_the_look_at_the_picture_said() -> None:
    voter, seen = classifier(brightness), []

    def again(pixels: np.ndarray) -> Looked:
        seen.append(pixels.shape)
        return Looked(0.0)

    bright_picture = picture(240, None)
    assert detect(bright_picture, models=[voter]).stable == "stable" and not seen
    said = dataclasses.replace(voter, look=lambda pixels: voter.look(pixels)._replace(again=again))
    found = detect(bright_picture, models=[said])
    assert found.verdict == "fake" and len(found.flips_after) == len(seen) == 2


def test_a_file_its_png_copy_and_its_pixels_give_the_same(tmp_path: Path) -> None:
    voters = [classifier(brightness), localizer(bright)]
    images.save(tmp_path / "a.jpg", picture(), quality=80)
    pixels = images.read(tmp_path / "a.jpg")
    images.save(tmp_path / "a.png", pixels)
    found = [detect(source, models=voters) for source in (tmp_path / "a.jpg", str(tmp_path / "a.png"), pixels)]
    for other in found[1:]:
        assert (other.p_fake, other.verdict, other.area) == (found[0].p_fake, found[0].verdict, found[0].area)
        assert other.traces == found[0].traces and other.votes == found[0].votes
    assert found[0].sha256 == hashlib.sha256((tmp_path / "a.jpg").read_bytes()).hexdigest()
    assert found[0].provenance["format"] == "JPEG" and found[2].provenance == {}


def test_what_is_written_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "turned.png", exif=exif)
    found = detect(tmp_path / "turned.png", models=[localizer(bright)], threshold=0.9, out=tmp_path / "out")
    upright = bright(np.rot90(picture(), -1))
    assert found.size == (60, 80) and found.pixel_threshold == 0.9
    with Image.open(found.mask_path) as mask, Image.open(found.binary_path) as binary:
        assert mask.mode == binary.mode == "L"
        np.testing.assert_allclose(np.asarray(mask), 255 * upright, atol=0.51)
        np.testing.assert_array_equal(np.asarray(binary), np.where(upright >= 0.9, 255, 0))
    assert (images.read(found.overlay_path) != np.rot90(picture(), -1)).any()
    assert found.reliability_path is None and found.heat_path is None
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"turned.png.{name}.png" for name in ("mask", "binary", "overlay")
    }


def test_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    for path, words in (
        (tmp_path / "broken.png", "not a picture"),
        (tmp_path, "is a folder"),
        ("absent.png", "no such"),
    ):
        with pytest.raises(FakeclfError, match=words):
            detect(path, models=[localizer(bright)])
    with pytest.raises(FakeclfError, match="received 1.5"):
        Settings(pixel_threshold=1.5)


def test_maps_are_made_when_asked(tmp_path: Path) -> None:
    found = look(picture(), [localizer(bright)], Settings(reliability=True, explain=True, stability=False))
    assert found.reliability.shape == (60, 80) and found.reliability.min() >= 0 and found.reliability.max() <= 1
    assert found.residual.shape == (60, 80, 3) and found.heat is None
