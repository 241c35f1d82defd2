"""Sheets: panels show the pixels they are given, in their place, whatever the size; the same input, the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from fakeclf import images
from fakeclf.errors import FakeclfError
from segmentation import sheets
from segmentation.sheets import GAP, LINE, PANEL, Sample


def sample(height: int = 48, width: int = 60, caption: str = "telea, IoU 0.512") -> Sample:
    rng = np.random.default_rng(height)
    truth = np.zeros((height, width), bool)
    truth[height // 4 : height // 2, width // 4 : width // 2] = True
    p = np.clip(truth * 0.6 + rng.random((height, width)) * 0.4, 0, 1).astype(np.float32)
    return Sample(rng.integers(0, 256, (height, width, 3), np.uint8), truth, p, caption)


def panel(pixels: np.ndarray, column: int, height: int, width: int, row: int = 0) -> np.ndarray:
    top = GAP + LINE + LINE + row * (height + LINE + GAP)
    left = GAP + column * (PANEL + GAP)
    return pixels[top : top + height, left : left + width]


def test_panels_are_picture_truth_and_mask_enlarged_by_a_whole_factor() -> None:
    one = sample(48, 60)
    drawn = sheets.draw([one])
    assert drawn.dtype == np.uint8 and drawn.shape == (GAP + LINE + LINE + 192 + GAP, 3 * PANEL + 4 * GAP, 3)
    np.testing.assert_array_equal(panel(drawn, 0, 192, 240)[::4, ::4], one.picture)
    np.testing.assert_array_equal(panel(drawn, 0, 192, 240)[3::4, 3::4], one.picture)
    np.testing.assert_array_equal(panel(drawn, 1, 192, 240)[1::4, 1::4, 0], one.truth * 255)
    grey = panel(drawn, 2, 192, 240)[1::4, 1::4]
    away = np.ones_like(one.truth)
    away[10:26, 13:32] = False  # the outline
    np.testing.assert_array_equal(grey[away], np.rint(one.mask[away] * 255).astype(np.uint8)[:, None].repeat(3, 1))


def test_truth_is_outlined_in_the_mask_and_nowhere_else() -> None:
    drawn = panel(sheets.draw([sample(48, 60)]), 2, 192, 240)
    orange = (drawn == sheets.ORANGE).all(axis=2)
    assert orange[48, 70] and orange[47, 70] and orange[95, 70] and orange[96, 70]
    assert not orange[50:94, 62:118].any() and not orange[:47].any() and not orange[97:].any()


def test_rows_stand_below_each_other_under_their_captions() -> None:
    some = [sample(48, 60), sample(50, 40), sample(24, 60, caption="")]
    drawn = sheets.draw(some)
    assert drawn.shape[0] == GAP + LINE + sum(LINE + height + GAP for height in (192, 200, 96))
    second = panel(drawn[LINE + 192 + GAP :], 0, 200, 160)
    np.testing.assert_array_equal(second[::4, ::4], some[1].picture)

    def dark(top: int) -> int:
        return int((drawn[top : top + LINE - 2].mean(axis=2) < 128).sum())

    first = GAP + LINE
    assert dark(first) > 50 and dark(first + LINE + 192 + GAP) > 50
    assert dark(first + 2 * (LINE + GAP) + 192 + 200) == 0


def test_large_pictures_are_shrunk_and_small_says_so() -> None:
    large = sample(600, 900)
    small = large.small()
    assert small.picture.shape == (160, 240, 3) and small.truth.shape == small.mask.shape == (160, 240)
    assert small.truth.dtype == bool
    assert small.truth.mean() == pytest.approx(large.truth.mean(), abs=0.01)
    assert small.mask.mean() == pytest.approx(large.mask.mean(), abs=0.005)
    np.testing.assert_array_equal(sheets.draw([large]), sheets.draw([small]))
    assert sample(40, 40).small().picture.shape == (40, 40, 3)
    assert sample(3, 2000).small().picture.shape == (1, 240, 3)


def test_protocol_lines_stand_at_the_foot_and_long_text_stays_on_the_paper() -> None:
    plain = sheets.draw([sample()])
    long = "pictures: " + "forged and pristine ones of many generators, " * 12
    drawn = sheets.draw([sample(caption="a name without end " * 20)], [long, "seed 0"])
    assert drawn.shape[0] >= plain.shape[0] + 5 * LINE
    words = sheets._wrapped([long, "seed 0"], ImageFont.load_default(12), 3 * PANEL + 2 * GAP)
    assert " ".join(words).split() == [*long.split(), "seed", "0"] and len(words) > 5
    assert (drawn[plain.shape[0] :].mean(axis=2) < 128).sum() > 500
    assert (drawn[:, : GAP - 1] == 255).all()
    assert (drawn[:, -GAP + 2 :] == 255).all()


def test_writes_a_png_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    sheets.sheet([sample()], tmp_path / "a.png", ["seed 0"])
    sheets.sheet([sample()], tmp_path / "b.png", ["seed 0"])
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), sheets.draw([sample()], ["seed 0"]))


def test_colours_differ_in_lightness() -> None:
    # Relative luminance (WCAG): orange stands apart from black and white for any eye.
    channel = (np.array(sheets.ORANGE) / 255) ** 2.2
    luminance = float(channel @ [0.2126, 0.7152, 0.0722])
    assert (luminance + 0.05) / 0.05 > 3 and 1.05 / (luminance + 0.05) > 2


def test_what_is_no_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        sheets.draw([])
    one = sample()
    with pytest.raises(ValueError, match=r"one height and width.*\(47, 60\)"):
        sheets.draw([Sample(one.picture, one.truth[:-1], one.mask)])
    (tmp_path / "file").write_text("")
    with pytest.raises(FakeclfError, match="cannot write"):
        sheets.sheet([one], tmp_path / "file" / "sheet.png")


def test_masks_of_several_models_stand_side_by_side() -> None:
    one = sample(48, 60)
    other = Sample(one.picture, one.truth, one.mask, one.caption, (1 - one.mask, one.mask))
    heads = ["picture", "truth", "first", "second", "third"]
    drawn = sheets.draw([other], heads=heads)
    assert drawn.shape[1] == 5 * (PANEL + GAP) + GAP
    alone = sheets.draw([one])
    np.testing.assert_array_equal(panel(drawn, 2, 192, 240), panel(alone, 2, 192, 240))
    np.testing.assert_array_equal(panel(drawn, 4, 192, 240), panel(alone, 2, 192, 240))
    inverted = panel(drawn, 3, 192, 240)[1::4, 1::4, 0]
    assert inverted[0, 0] == round(255 * (1 - one.mask[0, 0]))
    white = np.ones((480, 600))
    large = Sample(np.zeros((480, 600, 3), np.uint8), white > 1, white, "", (white,))
    assert [mask.shape for mask in (large.small().mask, *large.small().others)] == [(192, 240)] * 2
    with pytest.raises(ValueError, match="needs 3 panels"):
        sheets.draw([other])
