from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle, images
from fakeclf.data import codec, regenerated
from fakeclf.errors import FakeclfError
from fakeclf.models import small_autoencoder


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
    keras.utils.set_random_seed(0)
    card = bundle.Card("tiny", "autoencoder", "small-autoencoder", "fakeclf.models.autoencoder")
    return bundle.save(small_autoencoder.build(width=4), card, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 2), ("test", 2)):
        for index in range(count):
            size = (45, 59, 3) if index % 2 else (67, 35, 3)
            picture = random.integers(0, 256, size, dtype=np.uint8)
            images.save(folder / part / f"{part}{index}.jpg", picture, quality=80 + index)
    (folder / "train" / "broken.jpg").write_bytes(b"\xff\xd8\xff cut")
    images.save(folder / "train" / "tiny.png", np.zeros((8, 99, 3), np.uint8))
    return folder


@pytest.fixture(scope="module")
def made(photos, autoencoder, tmp_path_factory) -> tuple[regenerated.Made, list[str]]:
    said: list[str] = []
    out = tmp_path_factory.mktemp("home") / "regenerated"
    return regenerated.make(photos, out, autoencoder=autoencoder, batch_size=2, say=said.append), said


def files(folder: Path, label: str) -> dict[str, Path]:
    found = images.find(folder)
    return {f"{path.parent.parent.name}/{path.name}": path for path in found if path.parent.name == label}


def test_every_photograph_becomes_a_pair_of_one_codec_and_size(made):
    folder = made[0].folder
    fakes, reals = files(folder, "FAKE"), files(folder, "REAL")
    assert made[0].pairs == {"train": 5, "val": 2, "test": 2}
    assert fakes.keys() == reals.keys() and len(fakes) == 9
    headers = {path: codec.header(path) for path in [*fakes.values(), *reals.values()]}
    assert len({(head.format, head.tables, head.subsampling, head.metadata) for head in headers.values()}) == 1
    for name, fake in fakes.items():
        assert (headers[fake].width, headers[fake].height) in {(56, 40), (32, 64)}
        assert headers[fake].width == headers[reals[name]].width
        assert not np.array_equal(images.read(fake), images.read(reals[name]))


def test_real_is_the_photograph_cut_and_encoded_again(made, photos):
    photograph = regenerated.cut(images.read(photos / "test" / "test1.jpg"), 1024)
    expected = images.read(images.encode_jpeg(photograph, quality=95, subsampling="4:2:0"))
    np.testing.assert_array_equal(images.read(made[0].folder / "test" / "REAL" / "test1.jpg"), expected)


def test_what_cannot_be_used_is_said_and_left_out(made):
    assert len(made[0].skipped) == 2
    assert any("broken.jpg" in line for line in made[1]) and any("tiny.png" in line for line in made[1])


def test_the_manifest_says_what_made_it(made, autoencoder):
    manifest = regenerated.read_manifest(made[0].folder)
    assert manifest["autoencoder_sha256"] == bundle.read_card(autoencoder).files["model.keras"]
    assert manifest["codec"] == ["JPEG", 95] and manifest["complete"]
    assert len(manifest["psnr"]) == 9 and manifest["mean_psnr"] == made[0].psnr


def test_it_resumes_and_leaves_finished_files_alone(made, photos, autoencoder):
    folder = made[0].folder
    lost = folder / "train" / "FAKE" / "train3.jpg"
    content = lost.read_bytes()
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in images.find(folder) if path.stem != "train3"}
    again = regenerated.make(photos, folder, autoencoder=autoencoder, batch_size=2, say=lambda line: None)
    assert lost.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.psnr == made[0].psnr
    with pytest.raises(FakeclfError, match="codec"):
        regenerated.make(photos, folder, autoencoder=autoencoder, codec=("JPEG", 90))


def test_it_does_not_write_into_a_folder_of_something_else(photos, autoencoder, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FakeclfError, match="something else"):
        regenerated.make(photos, tmp_path, autoencoder=autoencoder)


@pytest.mark.parametrize("wrong", [("JPEG", 0), ("GIF", 5), ("WEBP", None)])
def test_a_wrong_codec_names_the_right_ones(photos, autoencoder, tmp_path, wrong):
    with pytest.raises(FakeclfError, match="JPEG or WEBP"):
        regenerated.make(photos, tmp_path / "out", autoencoder=autoencoder, codec=wrong)


def test_png_and_the_largest_size(photos, autoencoder, tmp_path):
    regenerated.make(
        photos, tmp_path / "out", autoencoder=autoencoder, codec=("PNG", None), largest=40, say=lambda line: None
    )
    real = images.read(tmp_path / "out" / "val" / "REAL" / "val0.png")
    photograph = images.read(photos / "val" / "val0.jpg")
    np.testing.assert_array_equal(real, photograph[:40, :32])


def test_the_loader_keeps_a_photograph_in_one_part(made):
    data = regenerated.load(validation=0.2, seed=0, data_dir=made[0].folder.parent)
    assert data.name == "regenerated" and "tiny" in data.note and "JPEG quality 95" in data.note
    sources = [{example.source for example in part} for part in (data.train, data.validation, data.test)]
    assert [len(part) for part in (data.train, data.validation, data.test)] == [10, 4, 4]
    assert not sources[0] & sources[1] and not sources[0] & sources[2] and not sources[1] & sources[2]


def test_where_there_is_none_it_says_how_to_make_it(tmp_path):
    with pytest.raises(FakeclfError, match="fakeclf data make regenerated PHOTOS"):
        regenerated.load(data_dir=tmp_path)


def test_a_plain_folder_is_split_by_file_and_the_same_way_every_time(tmp_path):
    for index in range(20):
        images.save(tmp_path / f"{index}.png", np.zeros((8, 8, 3), np.uint8))
    splits = regenerated.photo_splits(tmp_path, seed=1)
    assert {part: len(paths) for part, paths in splits.items()} == {"train": 14, "val": 3, "test": 3}
    assert len({path for paths in splits.values() for path in paths}) == 20
    assert splits == regenerated.photo_splits(tmp_path, seed=1) != regenerated.photo_splits(tmp_path, seed=2)
    with pytest.raises(FakeclfError, match="at least 3"):
        (tmp_path / "few").mkdir()
        regenerated.photo_splits(tmp_path / "few")


def test_photographs_of_one_name_do_not_overwrite_each_other(autoencoder, tmp_path):
    for name in ("a/1.png", "b/1.png", "c/2.png"):
        images.save(tmp_path / "photos" / "train" / name, np.full((32, 32, 3), ord(name[0]), np.uint8))
    made = regenerated.make(tmp_path / "photos", tmp_path / "out", autoencoder=autoencoder, say=lambda line: None)
    assert made.pairs == {"train": 3}
