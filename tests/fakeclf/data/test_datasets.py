"""Data sets are found, split by source picture, and split the same way the next time."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeclf import images
from fakeclf.data import datasets
from fakeclf.data.datasets import LABELS, Example
from fakeclf.data.splits import hold_out
from fakeclf.errors import FakeclfError

JPEG = images.encode_jpeg(np.full((8, 8, 3), 90, np.uint8))
PARTS = ("train", "validation", "test")


def fill(folder: Path, names: list[str], words: tuple[str, ...] = LABELS) -> Path:
    for word in words:
        for name in names:
            path = folder / word / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(JPEG)
    return folder


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"{number:04}.jpg" for number in range(start, start + count)]


def small_cifake(home: Path) -> Path:
    names = ["0000.jpg", *(f"0000 ({n}).jpg" for n in range(2, 21))]
    fill(home / "cifake" / "train", names)
    fill(home / "cifake" / "test", names[:5])
    return home


def sources(examples) -> set[str]:
    return {example.source for example in examples}


def test_folder_is_split_by_source_into_three(tmp_path):
    folder = fill(tmp_path / "mine", numbered(50))
    loaded = datasets.load(folder, data_dir=tmp_path)
    assert (loaded.name, loaded.root) == ("mine", folder)
    assert [len(getattr(loaded, part)) for part in PARTS] == [64, 16, 20]
    found = [sources(getattr(loaded, part)) for part in PARTS]
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    assert set.union(*found) == {f"{number:04}" for number in range(50)}
    for part in PARTS:
        for example in getattr(loaded, part):
            assert Path(example.path).is_file() and Path(example.path).is_absolute()
            assert Path(example.path).parent.name == LABELS[example.label]
    assert loaded.note == "test: 20% of sources; validation: 20% of train sources, seed 0"


def test_pairs_stay_together_and_classes_stay_balanced(tmp_path):
    folder = fill(tmp_path / "mine", numbered(40))
    fill(folder, [f"made by b {name}" for name in numbered(20)], ("FAKE",))
    loaded = datasets.load(folder, data_dir=tmp_path)
    for part in PARTS:
        paired = [e for e in getattr(loaded, part) if not e.source.startswith("made")]
        assert sources(e for e in paired if e.label) == sources(e for e in paired if not e.label)
    assert sum(e.source.startswith("made") for e in loaded.test) == 4


def test_seed_picks_validation_and_never_the_test(tmp_path):
    folder = fill(tmp_path / "mine", numbered(60))
    first, again, other = (datasets.load(folder, seed=seed, data_dir=tmp_path) for seed in (0, 0, 1))
    assert first == again
    assert first.test == other.test
    assert sources(first.validation) != sources(other.validation)


def test_without_validation(tmp_path):
    loaded = datasets.load(fill(tmp_path / "mine", numbered(10)), validation=0, data_dir=tmp_path)
    assert [len(getattr(loaded, part)) for part in PARTS] == [16, 0, 4]


def test_manifest_is_what_counts(tmp_path, caplog):
    folder = fill(tmp_path / "mine", numbered(20))
    first = datasets.load(folder, data_dir=tmp_path / "home")
    (path,) = (tmp_path / "home" / "manifests").iterdir()
    content = json.loads(path.read_text())
    assert content["files"] == 40
    assert content["held_out"]["validation"] == sorted(sources(first.validation))
    chosen = sorted(sources(first.train))[:2]
    content["held_out"]["validation"] = chosen
    path.write_text(json.dumps(content))
    assert sorted(sources(datasets.load(folder, data_dir=tmp_path / "home").validation)) == chosen
    assert not caplog.records


def test_changed_files_make_a_new_split_with_a_warning(tmp_path, caplog):
    folder = fill(tmp_path / "mine", numbered(30))
    first = datasets.load(folder, data_dir=tmp_path)
    fill(folder, numbered(1, 90))
    with caplog.at_level(logging.WARNING):
        second = datasets.load(folder, data_dir=tmp_path)
    assert "changed since" in caplog.text and "60 then, 62 now" in caplog.text
    assert len(sources(first.test) ^ sources(second.test)) <= 2  # a new picture moves hardly any other
    caplog.clear()
    assert datasets.load(folder, data_dir=tmp_path) == second
    assert not caplog.records


def test_damaged_manifest_is_written_anew(tmp_path, caplog):
    folder = fill(tmp_path / "mine", numbered(10))
    first = datasets.load(folder, data_dir=tmp_path)
    (path,) = (tmp_path / "manifests").iterdir()
    path.write_text("{")
    assert datasets.load(folder, data_dir=tmp_path) == first
    assert "cannot be read" in caplog.text
    assert json.loads(path.read_text())["files"] == 20


def test_data_folder_that_cannot_be_written_is_no_obstacle(tmp_path, caplog):
    folder = fill(tmp_path / "mine", numbered(10))
    (tmp_path / "file").write_text("")
    loaded = datasets.load(folder, data_dir=tmp_path / "file")
    assert loaded == datasets.load(folder, data_dir=tmp_path)
    assert "not remembered" in caplog.text


def test_parts_that_are_given_are_kept(tmp_path, caplog):
    root = tmp_path / "mine"
    fill(root / "Train", numbered(20), ("fake", "Real"))
    fill(root / "valid", numbered(3, 100), ("fake", "real"))
    fill(root / "TEST", numbered(4, 200), ("FAKE", "real"))
    loaded = datasets.load(root, data_dir=tmp_path)
    assert [len(getattr(loaded, part)) for part in PARTS] == [40, 6, 8]
    assert {e.label for e in loaded.test} == {0, 1}
    assert loaded.note == "test: as given; validation: as given"
    assert not (tmp_path / "manifests").exists() and not caplog.records


def test_train_alone_gives_up_a_test(tmp_path):
    fill(tmp_path / "mine" / "train", numbered(50))
    loaded = datasets.load(tmp_path / "mine", data_dir=tmp_path)
    assert [len(getattr(loaded, part)) for part in PARTS] == [64, 16, 20]


def test_test_alone(tmp_path):
    fill(tmp_path / "mine" / "test", numbered(5))
    loaded = datasets.load(tmp_path / "mine", data_dir=tmp_path)
    assert [len(getattr(loaded, part)) for part in PARTS] == [0, 0, 10]


def test_names_in_train_and_test_are_said(tmp_path, caplog):
    fill(tmp_path / "mine" / "train", numbered(20))
    fill(tmp_path / "mine" / "test", numbered(5, 18))
    datasets.load(tmp_path / "mine", data_dir=tmp_path)
    assert "2 file names (such as '0018') are in train and in test" in caplog.text


def make_bad(tmp_path: Path, kind: str) -> Path:
    root = tmp_path / "mine"
    root.mkdir()
    if kind == "one class":
        fill(root, numbered(3), ("REAL",))
    elif kind == "empty class":
        fill(root, numbered(3), ("REAL",))
        (root / "FAKE").mkdir()
        (root / "FAKE" / "notes.txt").write_text("x")
    elif kind == "other folders":
        fill(root, numbered(3), ("cats", "dogs"))
    elif kind == "deeper":
        fill(root / "DATASET", numbered(3))
    elif kind == "both levels":
        fill(root, numbered(3))
        fill(root / "train", numbered(3))
    elif kind == "class missing in a part":
        fill(root / "train", numbered(9))
        fill(root / "test", numbered(3), ("FAKE",))
    elif kind == "twice":
        fill(root, numbered(3), ("FAKE", "fake", "REAL"))
    elif kind == "too few":
        fill(root, numbered(2))
    return root


@pytest.mark.parametrize(
    "kind, words",
    [
        ("one class", r"must hold FAKE/ and REAL/; found REAL/"),
        ("empty class", r"FAKE holds no pictures .* found 1 files"),
        ("empty", r"is no data set: found nothing"),
        ("other folders", r"found cats/, dogs/"),
        ("deeper", r"found DATASET/; did you mean .*DATASET\?"),
        ("both levels", r"both train/ and FAKE/"),
        ("class missing in a part", r"test must hold FAKE/ and REAL/; found FAKE/"),
        ("twice", r"both FAKE/ and fake/"),
        ("too few", r"too few different pictures"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(tmp_path, kind, words):
    with pytest.raises(FakeclfError, match=words) as caught:
        datasets.load(make_bad(tmp_path, kind), data_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, words",
    [
        ("cifak", "did you mean 'cifake'"),
        ("/nowhere/at/all", "no data set or folder"),
        ("cifake+", "empty name"),
        ("cifake+cifake", "names 'cifake' twice"),
        (__file__, "is a file"),
    ],
)
def test_names_that_are_none(tmp_path, name, words):
    with pytest.raises(FakeclfError, match=words):
        datasets.load(name, data_dir=tmp_path, fetch=False)


@pytest.mark.parametrize("validation", [-0.1, 1, 20])
def test_validation_is_a_share(tmp_path, validation):
    with pytest.raises(FakeclfError, match="below 1"):
        datasets.load("cifake", validation=validation, data_dir=tmp_path)


def test_cifake_keeps_its_test_and_each_file_is_a_source(tmp_path, caplog):
    loaded = datasets.load("cifake", data_dir=small_cifake(tmp_path), fetch=False)
    assert [len(getattr(loaded, part)) for part in PARTS] == [32, 8, 10]
    assert all("/test/" in example.path for example in loaded.test)
    assert sum(example.label for example in loaded.validation) == 4
    every = [example.source for part in PARTS for example in getattr(loaded, part)]
    assert len(set(every)) == len(every) == 50
    assert "train/FAKE/0000 (2).jpg" in every
    assert "incomplete: 50 of 120,000" in loaded.note and "incomplete" in caplog.text


def test_cifake_with_a_missing_folder_and_without_any(tmp_path):
    with pytest.raises(FakeclfError, match="data fetch cifake, or run: fakeclf data import cifake"):
        datasets.load("cifake", data_dir=tmp_path, fetch=False)
    fill(tmp_path / "cifake" / "train", numbered(2))
    with pytest.raises(FakeclfError, match="test/FAKE/ is missing"):
        datasets.load("cifake", data_dir=tmp_path, fetch=False)


def small_deepfakeart(home: Path, count: int = 25) -> Path:
    for number in range(count):
        record = home / "deepfakeart" / f"record{number}"
        record.mkdir(parents=True)
        for name in ("original", "inpainting", "mask") + (("group",) if number % 2 else ()):
            (record / f"{name}.jpg").write_bytes(JPEG)
    return home


def test_deepfakeart_is_split_by_record(tmp_path, caplog):
    (small_deepfakeart(tmp_path) / "deepfakeart" / "record3" / "inpainting.jpg").unlink()
    loaded = datasets.load("deepfakeart", data_dir=tmp_path)
    assert [len(getattr(loaded, part)) for part in PARTS] == [30, 8, 10]
    for part in PARTS:
        by_label = [sources(e for e in getattr(loaded, part) if e.label == label) for label in (0, 1)]
        assert by_label[0] == by_label[1]
    names = {(Path(e.path).name, e.label) for e in loaded.train}
    assert names == {("inpainting.jpg", 0), ("original.jpg", 1)}
    assert "24 of 5,063 records" in loaded.note
    assert "1 records have no original" in caplog.text


def test_deepfakeart_has_to_be_got_elsewhere(tmp_path):
    with pytest.raises(FakeclfError, match=r"github.com/h-aboutalebi/DeepfakeArt.*then run: fakeclf data import"):
        datasets.load("deepfakeart", data_dir=tmp_path)


def test_sum_of_data_sets(tmp_path):
    small_cifake(tmp_path)
    folder = fill(tmp_path / "my+own", numbered(20))
    small_deepfakeart(tmp_path)
    one, two = (datasets.load(name, data_dir=tmp_path) for name in ("cifake", "deepfakeart"))
    both = datasets.load("cifake+deepfakeart", data_dir=tmp_path)
    assert (both.name, both.root) == ("cifake+deepfakeart", tmp_path)
    for part in PARTS:
        joined = getattr(both, part)
        assert [(e.path, e.label) for e in joined] == [
            (e.path, e.label) for e in getattr(one, part) + getattr(two, part)
        ]
        assert {e.source.partition("/")[0] for e in joined} == {"cifake", "deepfakeart"}
    assert both.note == f"cifake: {one.note}; deepfakeart: {two.note}"
    assert datasets.load(folder, data_dir=tmp_path).name == "my+own"


def test_data_home(monkeypatch, tmp_path):
    monkeypatch.setenv("FAKECLF_DATA", str(tmp_path / "here"))
    assert datasets.data_home() == tmp_path / "here"
    monkeypatch.delenv("FAKECLF_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.data_home() == tmp_path / "fakeclf"


def test_data_dir_may_be_text(tmp_path):
    assert len(datasets.load("cifake", data_dir=str(small_cifake(tmp_path))).train) == 32


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abcdef0123", min_size=1, max_size=6), st.sampled_from([(0,), (1,), (0, 1)]), min_size=1),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_held_out_share_of_every_kind_of_source(labels, share, seed):
    examples = [Example(f"{s}{n}", n, s) for s, found in labels.items() for n in found]
    held = hold_out(examples, share, seed)
    assert held == hold_out(reversed(examples), share, seed)
    for kind in set(labels.values()):
        of_kind = {source for source, found in labels.items() if found == kind}
        count = len(held & of_kind)
        assert abs(count - share * len(of_kind)) <= 1
        assert count < len(of_kind) and (count > 0 or len(of_kind) == 1)
