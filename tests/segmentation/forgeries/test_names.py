"""File names of forged pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries import names


@pytest.mark.parametrize("identity", ["photo-0", "IMG.2023.01", "ünï cödé", "a.mask"])
@pytest.mark.parametrize("variant", names.VARIANTS)
def test_a_name_can_be_taken_apart_again(identity: str, variant: str) -> None:
    name = names.file_name(identity, variant, ".webp")
    assert name == f"{identity}.{variant}.webp"
    assert names.split_name(name) == (identity, variant)


def test_other_names_are_none_of_these() -> None:
    for name in ("photo.webp", "photo.final.webp", ".mask.webp", "photo.mask.txt", "photo.mask", "manifest.json"):
        assert names.split_name(name) is None
    assert names.split_name("ID.Mask.PNG") == ("ID", "mask")


@pytest.mark.parametrize(("identity", "variant"), [("photo", "masks"), ("a/b", "mask"), ("", "mask")])
def test_what_makes_no_name_is_refused(identity: str, variant: str) -> None:
    with pytest.raises(ValueError, match="Received"):
        names.file_name(identity, variant, ".png")


def test_records_are_found_below_folders_and_in_any_format(tmp_path: Path) -> None:
    files = ("b.original.webp", "b.mask.webp", "train/telea/a-0.mask.png", "train/telea/a-0.realfake.jpg")
    for file in (*files, "train/patch/a-0.mask.png", "train/readme.png", "train/.a.mask.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    found = names.find_records(tmp_path)
    assert list(found) == ["b", "train/patch/a-0", "train/telea/a-0"]
    assert {variant: path.name for variant, path in found["b"].items()} == {
        "original": "b.original.webp",
        "mask": "b.mask.webp",
    }
    assert found["train/telea/a-0"]["realfake"] == tmp_path / "train/telea/a-0.realfake.jpg"


def test_one_picture_in_two_formats_is_refused(tmp_path: Path) -> None:
    for suffix in ("png", "webp"):
        (tmp_path / f"a.mask.{suffix}").write_bytes(b"")
    with pytest.raises(FakeclfError, match="twice"):
        names.find_records(tmp_path)
