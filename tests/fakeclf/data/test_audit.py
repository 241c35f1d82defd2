"""The audit finds what tells the classes apart besides the pictures, and finds nothing where there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fakeclf.data.audit import audit, telling
from fakeclf.data.datasets import LABELS, Example
from fakeclf.errors import FakeclfError

COUNT = 60
RANDOM = np.random.default_rng(0)


def data_set(folder: Path, fake: dict, real: dict, count: int = COUNT) -> Path:
    """FAKE/ and REAL/ of noise, saved with these options; ``size`` may be a function of the number."""
    for word, options in zip(LABELS, (fake, real), strict=True):
        (folder / word).mkdir(parents=True)
        for number in range(count):
            chosen = {"kind": "JPEG", "size": 16, "mode": "RGB", "quality": 90, **options}
            size, kind, mode = (chosen.pop(key) for key in ("size", "kind", "mode"))
            side = size(number) if callable(size) else size
            pixels = RANDOM.integers(0, 256, (side, 16, 3), dtype=np.uint8)
            path = folder / word / f"{number:04}.{kind.lower()}"
            Image.fromarray(pixels).convert(mode).save(path, kind, **chosen)
    return folder


def check(folder: Path, **options):
    return audit(folder, data_dir=folder.parent / "home", **options)


def told(found) -> set[str]:
    return {feature.name for feature in found.features if feature.telling}


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0131] = "Camera 1.0"
    return tags


def test_like_classes_give_no_warning(tmp_path):
    found = check(data_set(tmp_path / "mine", {}, {}))
    assert found.warnings == () and found.together == 0.5
    assert {feature.score for feature in found.features} == {0.5}
    assert found.pictures == found.headers_read == {"FAKE": COUNT, "REAL": COUNT}
    assert "Nothing but the pictures themselves" in found.to_table()


@pytest.mark.parametrize(
    "fake, real, telling_features",
    [
        ({"quality": 95}, {"quality": 75}, {"JPEG tables"}),
        ({"subsampling": 0}, {"subsampling": 2}, {"chroma subsampling"}),
        ({"progressive": True}, {}, {"JPEG scans"}),
        ({"size": 16}, {"size": 24}, {"size"}),
        ({"size": 16}, {"size": lambda number: 20 + number}, {"size"}),
        ({"mode": "L"}, {"mode": "L", "kind": "PNG"}, {"format", "JPEG tables", "JPEG scans", "metadata"}),
        ({"mode": "L"}, {"mode": "RGB", "subsampling": 0}, {"colour mode", "chroma subsampling", "JPEG tables"}),
        ({}, {"icc_profile": b"x" * 200}, {"metadata"}),
        ({}, {"comment": b"made by hand"}, {"metadata"}),
        ({}, {"exif": exif()}, {"metadata", "software"}),
    ],
)
def test_what_differs_is_found(tmp_path, fake, real, telling_features):
    found = check(data_set(tmp_path / "mine", fake, real))
    assert told(found) == telling_features
    assert all(feature.score > 0.95 for feature in found.features if feature.telling)
    assert len(found.warnings) == len(telling_features) + 1
    assert all(f"{name} alone" in " ".join(found.warnings) for name in telling_features)


def test_values_of_one_picture_each_are_not_learnt_by_heart(tmp_path):
    sizes = RANDOM.permutation(2 * COUNT)
    found = check(
        data_set(tmp_path / "mine", {"size": lambda n: 16 + sizes[n]}, {"size": lambda n: 16 + sizes[COUNT + n]})
    )
    assert not told(found)


def test_table_and_json(tmp_path):
    found = check(data_set(tmp_path / "mine", {"quality": 95}, {"quality": 75}))
    table = found.to_table()
    assert "quality 95" in table and "quality 75" in table and "warning: JPEG tables alone" in table
    content = json.loads(json.dumps(found.to_json()))
    assert content["dataset"] == "mine" and content["features"][0]["shares"]["FAKE"] == {"JPEG": 1.0}


def test_sample_is_seeded_and_no_larger_than_asked(tmp_path):
    folder = data_set(tmp_path / "mine", {"size": lambda n: 16 + n}, {})
    one, again, other = (check(folder, per_class=20, seed=seed) for seed in (0, 0, 1))
    assert one.headers_read == {"FAKE": 20, "REAL": 20}
    assert one == again and one.features != other.features


def test_identical_files(tmp_path):
    folder = tmp_path / "mine"
    data_set(folder / "train", {}, {}, 10)
    data_set(folder / "test", {}, {}, 10)
    first = folder / "train" / "FAKE" / "0000.jpeg"
    (folder / "train" / "REAL" / "copy.jpeg").write_bytes(first.read_bytes())
    (folder / "test" / "FAKE" / "copy.jpeg").write_bytes((folder / "train" / "FAKE" / "0001.jpeg").read_bytes())
    found = audit(folder, data_dir=tmp_path)
    assert found.identical_across_classes == 1
    assert found.identical_across_parts["train and test"] + found.identical_across_parts["validation and test"] == 1
    assert any("both classes, byte for byte" in warning for warning in found.warnings)
    assert any("too good" in warning for warning in found.warnings)


def test_unreadable_files_are_counted_and_named(tmp_path):
    folder = data_set(tmp_path / "mine", {}, {})
    (folder / "FAKE" / "0003.jpeg").write_text("no picture")
    found = check(folder)
    assert len(found.unreadable) == 1 and "0003.jpeg" in found.warnings[0]
    assert found.headers_read["FAKE"] == COUNT - 1


def test_headers_are_enough(tmp_path):
    folder = data_set(tmp_path / "mine", {"size": 64}, {"size": 64})
    for path in folder.rglob("*.jpeg"):
        path.write_bytes(path.read_bytes()[:700])
    assert check(folder).headers_read == {"FAKE": COUNT, "REAL": COUNT}


def test_no_such_data_set(tmp_path):
    with pytest.raises(FakeclfError):
        audit("cifake", data_dir=tmp_path)


def rows(values: list[tuple[int, object]]) -> list[tuple[Example, object]]:
    return [(Example("", label, str(number)), value) for number, (label, value) in enumerate(values)]


VALUES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_telling_does_not_depend_on_names_of_values_or_classes(values):
    score = telling(rows(values))
    assert 0 <= score <= 1
    assert telling(rows([(label, f"name {value}") for label, value in values])) == pytest.approx(score)
    assert telling(rows([(1 - label, value) for label, value in values])) == pytest.approx(score)
    assert telling(rows([(label, 0) for label, _ in values])) == 0.5


def test_telling_is_balanced():
    uneven = [(0, "a")] * 90 + [(1, "a")] * 9 + [(1, "b")]
    assert telling(rows(uneven)) < 0.6
    assert telling(rows([(0, "a")] * 90 + [(1, "b")] * 10)) == 1.0


def test_png_with_text(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("parameters", "steps: 20")
    png = {"kind": "PNG"}
    found = check(data_set(tmp_path / "mine", png | {"pnginfo": text}, png))
    assert told(found) == {"metadata"}
    assert "text:parameters 100%" in found.to_table()
