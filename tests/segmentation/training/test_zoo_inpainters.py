from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakeclf import bundle, images
from fakeclf.cli.main import main
from fakeclf.training import zoo
from segmentation.forgeries.inpainters import open_source
from segmentation.models import inpainter
from segmentation.training import zoo_inpainters
from segmentation.training.zoo_inpainters import Inpainters


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five coloured pictures; networks are tiny, and a "minute" is some ten steps."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index in range(5):
        part = "train" if index < 3 else "val"
        images.save(tmp_path / "photos" / part / f"{index}.png", random.integers(0, 255, (32, 40, 3)).astype(np.uint8))
    monkeypatch.setattr(zoo_inpainters, "WIDTHS", (0.25,))
    monkeypatch.setattr(zoo_inpainters, "BLOCKS", (1,))
    monkeypatch.setattr(zoo_inpainters, "CROP", 24)
    monkeypatch.setattr(Inpainters, "seconds_a_step", lambda *args: 6.0)
    return tmp_path / "photos"


def test_draws_repeat_and_take_turns() -> None:
    family = Inpainters()
    drawn = [family.draw(number) for number in range(8)]
    assert drawn == [family.draw(number) for number in range(8)]
    assert [one["upsampler"] for one in drawn[:4]] == list(inpainter.UPSAMPLERS)
    assert len({(one["upsampler"], one["stride"]) for one in drawn}) == 8
    assert {one["loss"] for one in drawn} == {"l1", "l2"}
    for name in ("gated", "colours", "noise"):
        assert len({one[name] for one in drawn}) == 2


@pytest.mark.parametrize("number", range(4))
def test_a_member_is_trained_as_it_was_drawn_and_fills_holes(photos: Path, number: int, monkeypatch) -> None:
    monkeypatch.setattr(Inpainters, "texture", (0.0, 100.0))
    (member,) = zoo.train_zoo(
        photos, of="inpainters", count=1, seed=number, minutes=1, least=-100, say=lambda line: None
    )
    card = bundle.read_card(member.name)
    args = card.trained_on["recipe"]["model_args"]
    assert (member.name, card.kind, args["steps"]) == (f"zoo-inpainter-{number:02d}", "inpainter", 10)
    assert {name: args[name] for name in member.drawn} == member.drawn
    (result,) = card.results
    assert member.decibels == pytest.approx(result["psnr"] - result["blurred_psnr"])
    picture, hole = np.full((21, 30, 3), 90, np.uint8), np.zeros((21, 30), bool)
    hole[5:12, 8:20] = True
    source = open_source(member.name)
    assert not source.whole_frame
    filled = source.fill(picture, hole, np.random.default_rng(0))
    np.testing.assert_array_equal(filled[~hole], picture[~hole])


def test_a_blur_does_not_pass(photos: Path, monkeypatch) -> None:
    """What has learnt nothing paints the smooth fill, which has no texture."""
    monkeypatch.setattr(zoo_inpainters, "LEARNING_RATE", 1e-9)
    said: list[str] = []
    with pytest.raises(zoo.FakeclfError, match="only 0 of 2 members passed; zoo-inpainter-00: texture 0.0"):
        zoo.train_zoo(photos, of="inpainters", count=1, minutes=1, say=said.append)
    assert not list(Path("saved_models").iterdir())


def test_the_command_says_what_the_figure_is(photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(Inpainters, "texture", (0.0, 100.0))
    options = ["--of", "inpainters", "--count", "1", "--minutes", "1", "--psnr", "-50", "--out", "models"]
    assert main(["zoo", str(photos), *options]) == 0
    printed = capsys.readouterr()
    assert "PSNR over a blur's, dB" in printed.out and "zoo-inpainter-00" in printed.out
    assert "nearest" in printed.out and Path("models/zoo-inpainter-00/card.json").is_file()
