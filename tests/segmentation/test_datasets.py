"""Pairs by name: every layout, the split by photograph, mixtures, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fakeclf import images
from fakeclf.errors import FakeclfError
from segmentation import datasets


def picture(path: Path, value: int = 100) -> None:
    images.save(path, np.full((16, 16, 3), value, np.uint8))


def mask(path: Path) -> None:
    grey = np.zeros((16, 16), np.uint8)
    grey[4:8, 4:8] = 255
    images.save(path, grey)


def records(root: Path, parts: tuple[str, ...] = ("train", "val", "test"), count: int = 3) -> Path:
    for part in parts:
        for generator in ("telea", "deep"):
            for number in range(count):
                at = root / part / generator
                for variant in ("original", "inpainted", "realfake"):
                    picture(at / f"{part}{number}.{variant}.png")
                mask(at / f"{part}{number}.mask.png")
    return root


def test_records_of_the_2023_names(tmp_path: Path) -> None:
    found = datasets.load(records(tmp_path / "forged"))
    forged = [pair for pair in found.train if pair.label == 0]
    assert len(forged) == 6 and {pair.generator for pair in forged} == {"telea", "deep"}
    assert all(pair.image.endswith(".realfake.png") and str(pair.original).endswith(".original.png") for pair in forged)
    pristine = [pair for pair in found.train if pair.label == 1]
    assert len(pristine) == 3 and all(pair.mask is None and pair.generator == "" for pair in pristine)
    assert len(found.validation) == len(found.test) == 9
    assert "its own folder" in found.note


def test_a_variant_can_be_asked_for(tmp_path: Path) -> None:
    root = records(tmp_path / "forged")
    found = datasets.load(f"mpdl:{root}", variant="inpainted")
    assert all(pair.image.endswith(".inpainted.png") for pair in found.train if pair.mask)
    with pytest.raises(FakeclfError, match="'fakefake'"):
        datasets.load(root, variant="fakefakes")


def test_the_universal_set_draws_its_masks(tmp_path: Path) -> None:
    found = datasets.load(f"ut:{records(tmp_path / 'forged')}")
    assert len(found.train) == 6
    assert all(pair.drawn and pair.mask is None and pair.label == 0 for pair in found.train)
    assert all(pair.image.endswith(".inpainted.png") for pair in found.train)


def test_a_manifest_knows_better_than_names(tmp_path: Path) -> None:
    root = records(tmp_path / "forged", parts=("train",), count=1)
    told = [{"id": "train0", "split": "train", "generator": name, "photo": "holiday.jpg"} for name in ("telea", "deep")]
    (root / "manifest.json").write_text(json.dumps({"pairs": told}))
    found = datasets.load(root, validation=0)
    assert len(found.train) == 3 and {pair.source for pair in found.train} == {"holiday.jpg"}
    assert [pair.forged_here for pair in found.train if pair.mask] == [True, True]
    assert not any(pair.forged_here for pair in datasets.load(records(tmp_path / "brought")).train)
    (root / "manifest.json").write_text('{"pairs": [{"id": 1}]}')
    with pytest.raises(FakeclfError, match="no manifest"):
        datasets.load(root)


def test_without_parts_photographs_are_split_and_stay_together(tmp_path: Path) -> None:
    for generator in ("a", "b"):
        for number in range(20):
            at = tmp_path / "set" / generator
            picture(at / f"{number}.original.png")
            picture(at / f"{number}.realfake.png")
            mask(at / f"{number}.mask.png")
    found = datasets.load(tmp_path / "set", validation=0.25)
    sources = [{pair.source for pair in part} for part in (found.train, found.validation, found.test)]
    assert [len(names) for names in sources] == [12, 4, 4]
    assert not sources[0] & sources[1] and not sources[0] & sources[2] and not sources[1] & sources[2]
    assert datasets.load(tmp_path / "set", validation=0.25) == found
    other = datasets.load(tmp_path / "set", validation=0.25, seed=1)
    assert {pair.source for pair in other.test} == sources[2]
    assert {pair.source for pair in other.validation} != sources[1]


def test_two_folders(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "images" / f"{number}.jpg")
        mask(tmp_path / "masks" / (f"{number}.png" if number % 2 else f"{number}_mask.png"))
    picture(tmp_path / "images" / "alone.png")
    by_name = datasets.load(f"pairs:{tmp_path / 'images'},{tmp_path / 'masks'}", validation=0.25)
    assert len([*by_name.train, *by_name.validation, *by_name.test]) == 4
    assert [pair.image for pair in datasets.load(tmp_path, validation=0.25).train] == [p.image for p in by_name.train]


def test_lists_of_paths(tmp_path: Path) -> None:
    rows = []
    for number in range(5):
        picture(tmp_path / f"{number}.png")
        mask(tmp_path / f"m{number}.png")
        rows.append((f"{number}.png", f"m{number}.png"))
    np.save(tmp_path / "val_list.npy", np.array(rows))
    found = datasets.load(f"npy:{tmp_path / 'val_list.npy'}")
    every = [*found.train, *found.validation, *found.test]
    assert len(every) == 5 and all(Path(pair.image).is_file() and Path(str(pair.mask)).is_file() for pair in every)
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for wrong in ("pickled.npy", "missing.npy"):
        with pytest.raises(FakeclfError, match="npy array"):
            datasets.load(f"npy:{tmp_path / wrong}")


def test_mixtures_have_weights(tmp_path: Path) -> None:
    one, other = records(tmp_path / "one"), records(tmp_path / "other", count=6)
    found = datasets.load(f"ut:{one}*3+{other}")
    of_one = [weight for pair, weight in zip(found.train, found.weights, strict=True) if pair.drawn]
    of_other = [weight for pair, weight in zip(found.train, found.weights, strict=True) if not pair.drawn]
    assert sum(of_one) == pytest.approx(3) and sum(of_other) == pytest.approx(1)
    left = datasets.without(found, "deep")
    assert len(left.train) == len(left.weights) < len(found.train)
    assert all(pair.generator != "deep" for pair in (*left.train, *left.validation))
    assert left.test == found.test and datasets.without(found, "") == found
    with pytest.raises(FakeclfError, match="did you mean 'deep'"):
        datasets.without(found, "telea, deeep")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no folder"),
        ("uts:folder", "did you mean 'ut'"),
        ("a*0+b", "no part of a mixture"),
        ("a*two", "no part of a mixture"),
        ("pairs:only", "two folders"),
    ],
)
def test_what_is_refused(name: str, message: str) -> None:
    with pytest.raises(FakeclfError, match=message):
        datasets.load(name)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match="no pairs"):
        datasets.load(tmp_path)
