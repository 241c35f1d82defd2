from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from fakeclf import images
from fakeclf.data import codec, datasets, sample
from fakeclf.errors import FakeclfError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def data(home):
    return datasets.load("sample", data_dir=home)


def test_parts_share_no_photograph_and_classes_are_even(data):
    sources = [{example.source for example in part} for part in (data.train, data.validation, data.test)]
    assert sum(len(part) for part in sources) == len(sources[0] | sources[1] | sources[2]) == 8
    for part in (data.train, data.validation, data.test):
        labels = Counter(example.label for example in part)
        assert labels[0] == labels[1] >= 50


def test_both_classes_have_one_codec_and_size(data):
    heads = [codec.header(example.path) for example in (*data.train[::9], *data.test[::9])]
    assert len({(head.format, head.tables, head.subsampling, head.width, head.height) for head in heads}) == 1
    assert heads[0].width == sample.CROP


def test_fakes_show_the_same_but_have_lost_fine_detail(data):
    """What a classifier can learn here: the round trip keeps the picture and smooths what is smallest in it."""
    fakes, reals = ([e.path for e in data.test if e.label == label] for label in (0, 1))
    smoother = []
    for fake, real in zip(fakes, reals, strict=True):
        one, other = images.read(fake).astype(float), images.read(real).astype(float)
        assert np.abs(one.mean() - other.mean()) < 8
        smoother.append(np.abs(np.diff(one, axis=0)).mean() < np.abs(np.diff(other, axis=0)).mean())
    assert np.mean(smoother) > 0.9


def test_it_is_made_once_and_again_when_the_autoencoder_is_another(data, home):
    folder = home / "sample"
    made = (folder / "manifest.json").stat().st_mtime_ns
    datasets.load("sample", data_dir=home, fetch=False)
    assert (folder / "manifest.json").stat().st_mtime_ns == made
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"autoencoder_sha256": "another"}))
    assert not sample.up_to_date(folder)


def test_flat_crops_are_left_out():
    picture = np.zeros((2 * sample.CROP, sample.CROP + 3, 3), np.uint8)
    picture[sample.CROP :: 2] = 200
    assert sample.corners(picture) == [(sample.CROP, 0)]


def test_its_photographs_can_be_had_whole_to_forge(tmp_path):
    folder = sample.copy_photographs(tmp_path / "photographs")
    copied = {part: sorted(path.name for path in (folder / part).iterdir()) for part in sample.PHOTOGRAPHS}
    assert copied == {
        part: sorted(file.rpartition("/")[2] for _, file in places) for part, places in sample.PHOTOGRAPHS.items()
    }
    assert images.read(folder / "val" / "chelsea.png").shape == (300, 451, 3)
    with pytest.raises(FakeclfError, match="photographs"):
        sample.copy_photographs(folder)  # what lies there is not replaced
