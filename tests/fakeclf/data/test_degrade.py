"""Degradations: each does what its name says, masks go along, mistakes are named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeclf import images
from fakeclf.data import degrade
from fakeclf.data.degrade import Degradation, parse, random_degradation
from fakeclf.errors import FakeclfError

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
GREY = np.full((64, 64, 3), 128, np.uint8)
EVERY = (*degrade.ROBUSTNESS, "scale:0.75")


def test_the_list_is_that_of_the_protocol() -> None:
    assert " ".join(degrade.ROBUSTNESS) == (
        "jpeg:95 jpeg:85 jpeg:75 jpeg:50 webp:80 resize:0.75 resize:0.5 blur:1 blur:2 noise:0.02 noise:0.05 "
        "gamma:0.8 gamma:1.25 crop:0.8"
    )
    assert [parse(text).name for text in EVERY] == list(EVERY)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    steps=st.lists(st.sampled_from(EVERY), min_size=1, max_size=3),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_any_size_keeps_type_and_the_mask_keeps_up(height: int, width: int, steps: list[str], seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    before = picture.copy()
    degradation = parse("|".join(steps))
    result, mask = degradation.apply(picture, seed, mask=np.zeros((height, width), bool))
    assert result.dtype == np.uint8 and result.shape[2] == 3 and mask.dtype == bool
    assert result.shape[:2] == mask.shape
    assert result.shape == picture.shape or not degradation.keeps_size
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(result, degradation.apply(picture, seed))


@pytest.mark.parametrize("text", EVERY)
def test_each_changes_the_picture(text: str) -> None:
    result = parse(text).apply(PICTURE)
    assert result.shape != PICTURE.shape or np.mean(result != PICTURE) > 0.3


def test_codecs_are_those_of_the_files() -> None:
    jpeg = images.read(images.encode_jpeg(PICTURE, 75))
    np.testing.assert_array_equal(parse("jpeg:75").apply(PICTURE), jpeg)
    np.testing.assert_array_equal(parse("webp:80").apply(PICTURE), images.read(images.encode_webp(PICTURE, 80)))
    np.testing.assert_array_equal(parse("jpeg:75|webp:50").apply(PICTURE), images.read(images.encode_webp(jpeg, 50)))


@pytest.mark.parametrize("sigma", [1, 2])
def test_blur_spreads_a_point_by_its_sigma(sigma: int) -> None:
    picture = np.zeros((41, 41, 3), np.uint8)
    picture[18:23, 18:23] = 255  # a point alone would be rounded away
    blurred = parse(f"blur:{sigma}").apply(picture)[..., 1].astype(float)
    place = np.arange(41) - 20
    variance = (blurred.sum(0) * place**2).sum() / blurred.sum()
    # The square's own variance, (25 - 1) / 12 = 2, is added; rounding cuts the tails a little.
    assert variance == pytest.approx(2 + sigma**2, rel=0.05)


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_noise_has_its_size_and_its_seed(share: float) -> None:
    noise = parse(f"noise:{share}")
    difference = noise.apply(GREY, 1).astype(float) - 128
    assert difference.std() == pytest.approx(255 * share, rel=0.05) and abs(difference.mean()) < 0.5
    assert abs(np.corrcoef(difference[..., 0].ravel(), difference[..., 1].ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(noise.apply(GREY), noise.apply(GREY, 0))
    assert (noise.apply(GREY, 1) != noise.apply(GREY, 2)).any()
    generator = np.random.default_rng(5)
    assert (noise.apply(GREY, generator) != noise.apply(GREY, generator)).any()


def test_gamma_is_a_power() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    expected = np.rint(255 * (np.arange(256) / 255) ** 0.8).reshape(16, 16)
    np.testing.assert_array_equal(parse("gamma:0.8").apply(ramp)[..., 2], expected)


def test_resizing_loses_the_finest_detail_and_keeps_the_rest_in_place() -> None:
    finest = ((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8)[..., np.newaxis].repeat(3, 2)
    assert parse("resize:0.5").apply(finest).std() < 0.1 * finest.std()
    ramp = np.linspace(0, 255, 64).astype(np.uint8)[np.newaxis, :, np.newaxis].repeat(64, 0).repeat(3, 2)
    assert np.abs(parse("resize:0.5").apply(ramp).astype(int) - ramp)[:, 8:-8].max() <= 2


@pytest.mark.parametrize(("text", "shape"), [("scale:0.75", (48, 72)), ("crop:0.8", (51, 77)), ("crop:0.5", (32, 48))])
def test_the_mask_stays_on_what_it_marks(text: str, shape: tuple[int, int]) -> None:
    mask = np.zeros((64, 96), np.uint8)
    mask[10:40, 31:70] = 255
    picture = mask[..., np.newaxis].repeat(3, 2)
    degradation = parse(text)
    moved, moved_mask = degradation.apply(picture, mask=mask)
    assert moved_mask.shape == shape and not degradation.keeps_size
    assert np.mean((moved[..., 0] >= 128) == (moved_mask >= 128)) > 0.97
    assert set(np.unique(moved_mask)) == {0, 255}
    _, column = degradation.apply(picture, mask=mask[..., np.newaxis].astype(np.float32))
    np.testing.assert_array_equal(column[..., 0], moved_mask)


def test_a_mask_stays_where_pixels_do() -> None:
    mask = np.random.default_rng(0).integers(0, 256, (40, 56), np.uint8)
    degradation = parse("resize:0.5|blur:1|noise:0.02|jpeg:80")
    assert degradation.keeps_size
    np.testing.assert_array_equal(degradation.apply(PICTURE, mask=mask)[1], mask)


def test_crop_is_the_centre() -> None:
    np.testing.assert_array_equal(parse("crop:0.5").apply(PICTURE), PICTURE[10:30, 14:42])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("jpg:90", "did you mean 'jpeg'"),
        ("frobnicate:1", "allowed: blur, crop"),
        ("", "allowed: blur, crop"),
        ("jpeg:90|", "allowed: blur, crop"),
        ("jpeg", "as in jpeg:90"),
        ("jpeg:high", "as in jpeg:90"),
        ("noise:nan", "as in noise:0.02"),
        ("jpeg:101", "nearest allowed is jpeg:100"),
        ("jpeg:0", "nearest allowed is jpeg:1"),
        ("webp:80.4", "nearest allowed is webp:80"),
        ("resize:1.5", "nearest allowed is resize:1"),
        ("crop:0", "nearest allowed is crop:0.05"),
        ("blur:-1", "nearest allowed is blur:0.1"),
        ("gamma:inf", "nearest allowed is gamma:10"),
    ],
)
def test_mistakes_are_named(text: str, hint: str) -> None:
    with pytest.raises(FakeclfError, match=hint) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(FakeclfError, match="mask is 40 x 56, its picture 56 x 40"):
        parse("blur:1").apply(PICTURE, mask=np.zeros((56, 40)))
    with pytest.raises(ValueError, match="uint8"):
        parse("blur:1").apply(PICTURE.astype(np.float32))


def test_random_degradations_keep_size_and_can_be_written_down() -> None:
    random = np.random.default_rng(0)
    drawn = [random_degradation(random, 1.0) for _ in range(400)]
    done = [degradation for degradation in drawn if degradation is not None]
    assert 0.7 < len(done) / len(drawn) < 0.9
    kinds = [tuple(kind for kind, _ in degradation.steps) for degradation in done]
    assert {kind for steps in kinds for kind in steps} == {"jpeg", "webp", "resize", "blur", "noise", "gamma"}
    assert ("jpeg", "jpeg") in kinds and max(map(len, kinds)) <= 3
    for degradation, steps in zip(done, kinds, strict=True):
        assert parse(degradation.name) == degradation and degradation.keeps_size
        last = [kind in ("jpeg", "webp") for kind in steps]
        assert last == sorted(last)  # what compresses comes last


def test_strength_ramps_share_and_severity() -> None:
    def share_and_quality(strength: float) -> tuple[float, float]:
        random = np.random.default_rng(1)
        drawn = [random_degradation(random, strength) for _ in range(500)]
        steps = [step for degradation in drawn if degradation for step in degradation.steps]
        return len([d for d in drawn if d]) / 500, min(value for kind, value in steps if kind == "jpeg")

    assert [random_degradation(np.random.default_rng(seed), 0) for seed in range(20)] == [None] * 20
    weak, strong = share_and_quality(0.3), share_and_quality(1.0)
    assert weak[0] == pytest.approx(0.24, abs=0.06) and strong[0] == pytest.approx(0.8, abs=0.06)
    assert weak[1] >= 85 and 50 <= strong[1] < 60
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(FakeclfError, match="between 0 and 1"):
            random_degradation(np.random.default_rng(0), bad)


def test_random_degradations_repeat_with_their_seed() -> None:
    def chain(seed: int) -> list[Degradation | None]:
        random = np.random.default_rng(seed)
        return [random_degradation(random, 0.7) for _ in range(20)]

    assert chain(3) == chain(3) != chain(4)


def test_saving_is_jpeg_of_a_drawn_quality() -> None:
    random = np.random.default_rng(0)
    drawn = [degrade.random_saving(random, 0.5) for _ in range(400)]
    qualities = [one.steps[0][1] for one in drawn if one is not None]
    assert {one.steps[0][0] for one in drawn if one is not None} == {"jpeg"} and 0.4 < len(qualities) / 400 < 0.6
    assert (min(qualities), max(qualities)) == (83, 98)
    assert degrade.random_saving(random, 0.0) is None
