"""Crops for a localizer: the right pixels under the right mask, the same again when a run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fakeclf import config, images
from fakeclf.errors import FakeclfError
from segmentation import datasets
from segmentation.training.feed import CropReader, LocalizerFeed

RECIPE = config.with_settings(
    config.Recipe(),
    ["model=trace-net", "input_size=32", "batch_size=4", "epochs=4", "loss=bce", "localizing.flips=none"],
)


def with_(*settings: str) -> config.Recipe:
    return config.with_settings(RECIPE, list(settings))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Originals that are dark, generated frames that are bright."""
    root = tmp_path_factory.mktemp("frames")
    for part in ("train", "val"):
        for number in range(6):
            dark = np.random.default_rng(number).integers(20, 60, (48, 64, 3)).astype(np.uint8)
            images.save(root / part / "bright" / f"{number}.original.png", dark)
            images.save(root / part / "bright" / f"{number}.inpainted.png", dark + 150)
    return root


@pytest.fixture(scope="module")
def pasted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished composites with a mask in one corner."""
    root = tmp_path_factory.mktemp("pasted")
    for part in ("train", "val"):
        for number in range(4):
            dark = np.random.default_rng(number).integers(20, 60, (64, 64, 3)).astype(np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            mask[50:60, 48:60] = 255
            images.save(root / part / "fill" / f"{number}.original.png", dark)
            images.save(root / part / "fill" / f"{number}.mask.png", mask)
            images.save(root / part / "fill" / f"{number}.realfake.png", np.where(mask[..., None] > 0, 250, dark))
    return root


def streamed(feed: LocalizerFeed, epochs: range, outputs: tuple[str, ...] = ("mask",)) -> list:
    return [
        (shown.numpy(), {k: v.numpy() for k, v in truth.items()}) for shown, truth in feed.training(epochs, outputs)
    ]


def test_masks_lie_where_generated_pixels_are(frames: Path) -> None:
    feed = LocalizerFeed(RECIPE, datasets.load(f"ut:{frames}"))
    assert feed.steps == 1
    for shown, truth in streamed(feed, range(4)):
        assert shown.shape == (4, 32, 32, 3) and truth["mask"].shape == (4, 32, 32, 1)
        bright, inside = shown.mean(-1) > 100, truth["mask"][..., 0] == 1
        assert inside.any()
        # Grey edges are half and half; nothing certain is dark, and nothing far from it is bright.
        assert bright[inside].all()
        assert inside[bright].mean() > 0.7


def test_masks_of_several_kinds_are_named_with_commas(frames: Path) -> None:
    large = with_("localizing.masks=blobs,free-form", "localizing.smallest=0.6", "localizing.largest=0.9")
    feed = LocalizerFeed(large, datasets.load(f"ut:{frames}"))
    shares = np.concatenate([truth["mask"].mean((1, 2, 3)) for _, truth in streamed(feed, range(4))])
    assert shares.min() >= 0.6 and shares.max() <= 0.9
    with pytest.raises(FakeclfError, match="did you mean 'blobs'"):
        LocalizerFeed(with_("localizing.masks=strokes,blob"), datasets.load(f"ut:{frames}"))


def test_pasted_pairs_show_their_hole_and_its_mask(pasted: Path) -> None:
    feed = LocalizerFeed(RECIPE, datasets.load(pasted))
    checked = list(feed.checking(["mask"]))
    assert sum(len(shown) for shown, _ in checked) == 4
    for shown, truth in checked:
        np.testing.assert_array_equal(shown.numpy()[..., 0] == 250, truth["mask"].numpy()[..., 0] == 1)
        assert truth["mask"].numpy().any((1, 2, 3)).all()


def test_a_resumed_run_sees_the_same_crops(frames: Path) -> None:
    feed = LocalizerFeed(
        with_("localizing.flips=dihedral", "localizing.epoch_pictures=8"), datasets.load(f"ut:{frames}")
    )
    whole, rest = streamed(feed, range(3)), streamed(feed, range(2, 3))
    assert len(whole) == 6 and len(rest) == 2
    for (one, _), (other, _) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(whole[0][0] - whole[2][0]).max() > 0


def test_outputs_get_their_targets(pasted: Path) -> None:
    feed = LocalizerFeed(with_("localizing.pristine=0.5", "localizing.epoch_pictures=16"), datasets.load(pasted))
    scores = []
    for _, truth in streamed(feed, range(1), ("mask", "edge", "score")):
        assert set(truth) == {"mask", "edge", "score"}
        np.testing.assert_array_equal(truth["score"][:, 0], truth["mask"].max((1, 2, 3)))
        scores += list(truth["score"][:, 0])
    assert set(scores) == {0.0, 1.0}


def test_generators_can_be_balanced(frames: Path, pasted: Path) -> None:
    both = datasets.load(f"ut:{frames}+{pasted}")
    feed = LocalizerFeed(with_("localizing.balance=true"), both)
    shares: dict[str, float] = {}
    for pair, weight in zip(both.train, feed.weights, strict=True):
        shares[pair.generator] = shares.get(pair.generator, 0) + weight
    assert shares == {"bright": pytest.approx(1), "fill": pytest.approx(1), "": pytest.approx(1)}


def test_post_processing_begins_late_and_grows(frames: Path) -> None:
    feed = LocalizerFeed(with_("localizing.degrade=0.8", "localizing.degrade_from=0.5"), datasets.load(f"ut:{frames}"))
    assert [round(feed._strength(progress), 6) for progress in (0, 0.5, 0.75, 1)] == [0, 0, 0.4, 0.8]


def test_what_is_saved_again_keeps_the_grid_it_was_cut_on(tmp_path: Path) -> None:
    places = np.indices((96, 96)).sum(0).astype(np.uint8)
    for part in ("train", "val"):
        for ending in ("original", "inpainted"):
            images.save(tmp_path / part / "bright" / f"{part}.{ending}.png", np.stack([places] * 3, -1))
    settings = ["localizing.flips=none", "localizing.degrade=1", "localizing.degrade_as=saved again"]
    reader = CropReader(32, with_(*settings))
    (pair,) = datasets.load(f"ut:{tmp_path}").train
    corners = {int(reader.crop(pair, np.random.default_rng(seed), 1.0, 0.0)[0][0, 0, 0]) for seed in range(40)}
    assert len(corners) > 5 and all(corner % 8 == 0 for corner in corners)
    apart = [np.diff(_one(reader, pair, seed, 1.0).astype(float)[:, 0, 0]) for seed in range(20)]
    assert any(np.ptp(steps) > 0 for steps in apart)  # a ramp that a codec has been through is no longer even
    checked = LocalizerFeed(with_(*settings), datasets.load(f"ut:{tmp_path}"))
    assert checked.settings.degrade_as == "saved again" and len(list(checked.checking(["mask"]))) == 1


@pytest.fixture
def ramp(tmp_path: Path) -> datasets.Pair:
    places = np.indices((96, 96)).sum(0).astype(np.uint8)
    for ending, lift in (("original", 0), ("inpainted", 40)):
        images.save(tmp_path / "train" / "bright" / f"0.{ending}.png", np.stack([places + lift] * 3, -1))
    (pair,) = datasets.load(f"ut:{tmp_path}", validation=0).train
    return pair


@pytest.mark.parametrize(("kind", "on_grid"), [("saved again", True), ("cut and saved", False), ("saved twice", False)])
def test_crops_that_are_saved_lie_on_the_grid_or_off_it(ramp: datasets.Pair, kind: str, on_grid: bool) -> None:
    reader = CropReader(32, with_("localizing.flips=none", "localizing.degrade=1", f"localizing.degrade_as={kind}"))
    firsts = [_one(reader, ramp, seed, 0.0) for seed in range(40)]
    assert {made.shape for made in firsts} == {(32, 32, 3)}
    assert all(made[0, 0, 0] % 8 == 0 for made in firsts) == on_grid
    assert len({int(made[0, 0, 0]) for made in firsts}) > 5


def test_what_is_saved_twice_goes_through_two_codecs_and_its_mask_is_cut_with_it(
    ramp: datasets.Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[int, ...]] = []
    written = images.encode_jpeg
    monkeypatch.setattr(
        images, "encode_jpeg", lambda picture, quality: saved.append(picture.shape) or written(picture, quality)
    )
    reader = CropReader(32, with_("localizing.flips=none", "localizing.degrade=1", "localizing.degrade_as=saved twice"))
    made = reader.crop(ramp, np.random.default_rng(3), 0.0, 1.0)
    assert made is not None and saved == [(40, 40, 3), (32, 32, 3)]
    picture, mask = made
    inside, outside = (picture[..., 0][mask[..., 0] == value] for value in (1, 0))
    assert mask.shape == (32, 32, 1) and inside.mean() > outside.mean() + 20  # still where the brighter pixels are


def _one(reader: CropReader, pair: datasets.Pair, seed: int, strength: float) -> np.ndarray:
    made = reader.crop(pair, np.random.default_rng(seed), 1.0, strength)
    assert made is not None
    return made[0]


def test_broken_and_small_pictures_are_skipped_and_named(frames: Path, tmp_path: Path) -> None:
    for number in range(3):
        images.save(tmp_path / "train" / "tiny" / f"{number}.original.png", np.zeros((20, 20, 3), np.uint8))
        images.save(tmp_path / "train" / "tiny" / f"{number}.inpainted.png", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(FakeclfError, match="smaller than the crop"):
        LocalizerFeed(RECIPE, datasets.load(f"ut:{tmp_path}", validation=0))
    feed = LocalizerFeed(
        with_("localizing.epoch_pictures=16"), datasets.load(f"ut:{frames}+ut:{tmp_path}", validation=0)
    )
    assert len(streamed(feed, range(1))) == 4
    assert feed.unreadable and all("smaller than the crop of 32" in reason for reason in feed.unreadable.values())


def test_a_set_without_training_pairs_is_refused(frames: Path) -> None:
    import dataclasses

    with pytest.raises(FakeclfError, match="no training pairs"):
        LocalizerFeed(RECIPE, dataclasses.replace(datasets.load(f"ut:{frames}"), train=()))


def test_turns_move_picture_and_mask_alike(pasted: Path) -> None:
    reader = CropReader(64, with_("localizing.flips=dihedral"))
    pair = next(pair for pair in datasets.load(pasted).train if pair.mask)
    places = set()
    for seed in range(24):
        shown, mask = reader.crop(pair, np.random.default_rng(seed), 0.0, 0.0)
        np.testing.assert_array_equal(shown[..., 0] == 250, mask[..., 0] == 1)
        places.add(mask.tobytes())
    assert len(places) == 8


def test_a_generator_can_be_left_out(frames: Path, pasted: Path) -> None:
    feed = LocalizerFeed(with_("localizing.leave_out=fill"), datasets.load(f"ut:{frames}+{pasted}"))
    assert {pair.generator for pair in (*feed.learning, *feed.held_out)} == {"bright", ""}
    assert "fill" not in {pair.generator for pair in feed.held_out}
