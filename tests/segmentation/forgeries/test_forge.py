"""The forge: from photographs to pairs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakeclf import images
from fakeclf.data.regenerated import photo_splits
from fakeclf.errors import FakeclfError
from segmentation.forgeries import forge as forging
from segmentation.forgeries import names, pairs
from segmentation.forgeries.compose import paste
from segmentation.forgeries.forge import Forged, forge


class Flat:
    """A source that fills with one colour; ``flat:200`` fills with 200, ``whole:9`` brightens all of the frame."""

    in_process = True

    def __init__(self, text: str) -> None:
        kind, _, level = text.partition(":")
        self.name, self.whole_frame, self.level = text.replace(":", "-"), kind == "whole", int(level)
        self.settings = {"level": (self.level,)}
        self.filled = 0

    def fill(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        self.filled += 1
        if self.level == 99:
            raise FakeclfError("nothing to go by")
        noise = random.integers(0, 2, picture.shape, np.uint8)
        if self.whole_frame:
            return np.minimum(picture, 240) + np.uint8(self.level) + noise
        assert mask.dtype == bool
        return np.where(mask[..., None], np.uint8(self.level) + noise, picture).astype(np.uint8)


@pytest.fixture(autouse=True)
def flat_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pairs.open_source

    def open_flat(text: str, **options: Any) -> Any:
        return Flat(text) if text.startswith(("flat:", "whole:")) else opened(text, **options)

    monkeypatch.setattr(pairs, "open_source", open_flat)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for index in range(8):
        pixels = random.integers(0, 256, (48 + index, 61, 3), np.uint8)
        images.save(tmp_path / "photos" / f"p{index}.png", pixels)
    return tmp_path / "photos"


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Callable[..., Forged]:
    def make(out: str = "out", **options: Any) -> Forged:
        return forge(options.pop("photos", photos), tmp_path / out, **{"sources": ["flat:200"], "say": print} | options)

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def test_pairs_and_what_is_kept_of_them(run: Callable[..., Forged], photos: Path, tmp_path: Path) -> None:
    made = run(sources=["flat:200", "whole:5"], per_photo=2, area=(0.05, 0.3))
    records = names.find_records(made.folder)
    assert len(records) == 32 and {name: row.pairs for name, row in made.generators.items()} == {
        "flat-200": 16,
        "whole-5": 16,
    }
    kept = manifest(made.folder)
    assert kept["complete"] and kept["settings"]["seed"] == 0 and kept["settings"]["area"] == [0.05, 0.3]
    assert kept["generators"]["whole-5"] == {"source": "whole:5", "whole_frame": True, "settings": {"level": [5]}}
    assert len(kept["pairs"]) == 32
    by_photo: dict[str, set[str]] = {}
    for record in kept["pairs"]:
        by_photo.setdefault(record["photo"], set()).add(record["split"])
        found = records[f"{record['split']}/{record['generator']}/{record['id']}"]
        assert set(found) == set(record["sha256"]) == set(forging.VARIANTS)
        for variant, path in found.items():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"][variant]
        pixels = {variant: images.read(path) for variant, path in found.items()}
        mask = pixels["mask"][..., 0]
        assert 0.05 <= record["area"] <= 0.3 and record["area"] == pytest.approx(np.mean(mask >= 128), abs=1e-5)
        assert record["mask"] in ("strokes", "rectangles", "blobs")
        # Cut, not resampled: the photograph's own pixels.
        whole = images.read(photos / record["photo"])
        height, width = pixels["original"].shape[:2]
        assert (height, width) == (whole.shape[0] // 8 * 8, 56)
        assert np.array_equal(pixels["original"], whole[:height, :width])
        assert np.array_equal(pixels["realfake"], paste(pixels["original"], pixels["inpainted"], mask))
        if record["generator"] == "flat-200":
            assert np.all(np.isin(pixels["inpainted"][mask > 0], (200, 201)))
    assert all(len(parts) == 1 for parts in by_photo.values()) and len(by_photo) == 8
    assert {part for parts in by_photo.values() for part in parts} == {"train", "val", "test"}
    assert len({record["sha256"]["mask"] for record in kept["pairs"]}) == 32
    areas = [record["area"] for record in kept["pairs"] if record["generator"] == "flat-200"]
    assert made.generators["flat-200"].area == pytest.approx(np.mean(areas))


def test_the_photographs_own_parts_are_kept(run: Callable[..., Forged], photos: Path) -> None:
    for part, index in (("train", 0), ("train", 1), ("test", 2), ("test", 1)):
        images.save(photos / "own" / part / f"p{index}.png", images.read(photos / f"p{index}.png"))
    made = run(photos=photos / "own")
    found = {(record["split"], record["photo"]) for record in manifest(made.folder)["pairs"]}
    assert found == {(part, f"{part}/p{i}.png") for part, i in (("train", 0), ("train", 1), ("test", 2), ("test", 1))}
    assert len({record["id"] for record in manifest(made.folder)["pairs"]}) == 4


def test_photographs_of_one_name_get_ids_of_their_own(run: Callable[..., Forged], photos: Path) -> None:
    images.save(photos / "deep" / "p0.png", images.read(photos / "p0.png"))
    images.save(photos / "deep_p0.png", images.read(photos / "p1.png"))
    (photos / "P1.jpg").write_bytes(images.encode_jpeg(images.read(photos / "p2.png")))
    identities = [record["id"] for record in manifest(run().folder)["pairs"]]
    assert len(identities) == 11 == len({identity.lower() for identity in identities})


def test_neither_order_nor_company_changes_a_byte(run: Callable[..., Forged], tmp_path: Path) -> None:
    run("a", sources=["flat:200", "whole:5"])
    run("b", sources=["whole:5"])
    run("c", sources=["whole:5", "flat:200"])
    assert files(tmp_path / "a") == files(tmp_path / "c")
    alone = {name: data for name, data in files(tmp_path / "b").items() if name != "manifest.json"}
    assert alone.items() <= files(tmp_path / "a").items()
    run("d", sources=["whole:5"], seed=1)
    masks = [{path.name: path.read_bytes() for path in (tmp_path / out).rglob("*.mask.png")} for out in ("b", "d")]
    assert masks[0].keys() == masks[1].keys() and not masks[0].items() & masks[1].items()


def test_several_processes_do_the_same(run: Callable[..., Forged], photos: Path, tmp_path: Path) -> None:
    run("one", sources=["copy", "flat:200"], workers=1)
    made = run("two", sources=["copy", "flat:200"], workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert made.generators["copy"].pairs == 8 == made.generators["flat-200"].pairs


def test_finished_pairs_are_skipped_and_missing_ones_made_again(
    run: Callable[..., Forged], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(run().folder)
    written: list[str] = []
    encoded = pairs.Plan.encoded
    monkeypatch.setattr(
        pairs.Plan, "encoded", lambda self, variant, pixels: written.append(variant) or encoded(self, variant, pixels)
    )
    run()
    assert not written
    lost = next((tmp_path / "out").rglob("*.mask.png"))
    lost.unlink()
    run()
    assert sorted(written) == sorted(forging.VARIANTS) and files(tmp_path / "out") == before


def test_pairs_that_the_manifest_missed_are_found_by_their_files(
    run: Callable[..., Forged], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(run().folder)
    kept = manifest(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(kept | {"pairs": kept["pairs"][:2], "complete": False}))
    monkeypatch.setattr(Flat, "fill", lambda *_: pytest.fail("a finished pair was made again"))
    run()
    assert files(tmp_path / "out") == before


def test_more_sources_and_photographs_can_be_added(run: Callable[..., Forged], photos: Path) -> None:
    seed = 3
    first = manifest(run(seed=seed).folder)
    random = np.random.default_rng(1)
    for index in range(20):
        images.save(photos / f"new{index}.png", random.integers(0, 256, (40, 40, 3), np.uint8))
    made = run(sources=["whole:5"], seed=seed)
    assert {name: row.pairs for name, row in made.generators.items()} == {"flat-200": 8, "whole-5": 28}
    parts: dict[str, set[str]] = {}
    for record in manifest(made.folder)["pairs"]:
        parts.setdefault(record["photo"], set()).add(record["split"])
    # A photograph stays in its part, though a split of all 28 puts some elsewhere.
    anew = {path.name: part for part, paths in photo_splits(photos, seed=seed).items() for path in paths}
    assert any(anew[record["photo"]] != record["split"] for record in first["pairs"])
    assert all(len(found) == 1 for found in parts.values())
    assert all(parts[record["photo"]] == {record["split"]} for record in first["pairs"])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"area": (0.1, 0.2)}, "area"),
        ({"masks": "blobs"}, "masks 'mix', not 'blobs'"),
        ({"per_photo": 2}, "per_photo"),
        ({"format": "jpeg:90"}, "format"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(
    other: dict[str, Any], says: str, run: Callable[..., Forged], tmp_path: Path
) -> None:
    before = files(run().folder)
    with pytest.raises(FakeclfError, match=f"out was made with {says}"):
        run(**other)
    assert files(tmp_path / "out") == before


def test_a_source_that_changed_is_refused(run: Callable[..., Forged], monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(Flat, "whole_frame", True, raising=False)
    made = Flat.__init__

    def changed(self: Flat, text: str) -> None:
        made(self, text)
        self.settings = {"level": (7,)}

    monkeypatch.setattr(Flat, "__init__", changed)
    with pytest.raises(FakeclfError, match=r"flat-200's level \[200\], not \[7\]"):
        run()


def test_a_folder_with_something_else_is_left_alone(run: Callable[..., Forged], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(FakeclfError, match="holds something else"):
        run()
    (tmp_path / "out" / "manifest.json").write_text('{"autoencoder": "taef2"}')
    with pytest.raises(FakeclfError, match="holds something else"):
        run()


def test_fakefake_is_the_round_trip_pasted(run: Callable[..., Forged]) -> None:
    made = run(autoencoder="whole:9", variants=("mask", "original", "fakefake"))
    for record in names.find_records(made.folder).values():
        pixels = {variant: images.read(path).astype(int) for variant, path in record.items()}
        assert set(pixels) == {"mask", "original", "fakefake"}
        changed = pixels["fakefake"] != pixels["original"]
        assert not changed[pixels["mask"] == 0].any()
        assert np.all(
            np.isin((pixels["fakefake"] - np.minimum(pixels["original"], 240))[pixels["mask"] == 255], (9, 10))
        )


@pytest.mark.parametrize(
    ("format", "suffixes"), [("png", {".png"}), ("webp", {".webp"}), ("jpeg:90", {".jpg", ".png"})]
)
def test_formats(format: str, suffixes: set[str], run: Callable[..., Forged]) -> None:
    made = run(format=format)
    found = names.find_records(made.folder)
    assert {path.suffix for record in found.values() for path in record.values()} == suffixes
    plain = names.find_records(run("plain").folder)
    for key, record in found.items():
        assert np.array_equal(images.read(record["mask"]), images.read(plain[key]["mask"]))
        same = np.array_equal(images.read(record["realfake"]), images.read(plain[key]["realfake"]))
        assert same == (format != "jpeg:90")


def test_long_sides_are_cut(run: Callable[..., Forged]) -> None:
    made = run(size=40)
    assert {images.read(r["original"]).shape for r in names.find_records(made.folder).values()} == {(40, 40, 3)}


def test_photographs_can_be_made_smaller_first(run: Callable[..., Forged]) -> None:
    sizes = [images.read(path).shape[:2] for path in run(shrink=(0.7, 0.95)).folder.rglob("*.original.png")]
    assert all(height % 8 == width % 8 == 0 and 32 <= height <= 48 and 40 <= width <= 56 for height, width in sizes)
    assert len(set(sizes)) > 1
    other = run("other", shrink=(0.7, 0.95), sources=["flat:200", "flat:100"]).folder
    assert files(other / "train" / "flat-200") == files(run(shrink=(0.7, 0.95)).folder / "train" / "flat-200")


def test_photographs_can_be_made_softer_first(run: Callable[..., Forged]) -> None:
    def steps(folder: Path) -> dict[str, float]:
        found = {path.name: images.read(path).astype(float) for path in folder.rglob("*.original.png")}
        return {name: float(np.abs(np.diff(pixels, axis=1)).mean()) for name, pixels in found.items()}

    sharp, soft = steps(run("sharp").folder), steps(run("soft", soften=(0.4, 0.5)).folder)
    assert sharp.keys() == soft.keys() and all(soft[name] < 0.7 * sharp[name] for name in sharp)


def test_photographs_can_be_reworked_first(run: Callable[..., Forged]) -> None:
    def originals(made: Forged) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (made.folder / "train" / "flat-200").glob("*.original.png")}

    plain, reworked = originals(run("plain")), originals(run("reworked", rework=True))
    assert plain.keys() == reworked.keys() and not set(plain.values()) & set(reworked.values())
    # Every source gets the same photographs, at every call.
    assert originals(run("again", rework=True, sources=["whole:5", "flat:200"])) == reworked
    with pytest.raises(FakeclfError, match="was made with rework True, not False"):
        run("reworked")


def test_a_folder_from_before_a_setting_is_gone_on_with(run: Callable[..., Forged]) -> None:
    before = run().folder / "manifest.json"
    settings = json.loads(before.read_text())
    del settings["settings"]["rework"]
    before.write_text(json.dumps(settings))
    assert run(sources=["flat:200", "flat:100"]).generators.keys() == {"flat-200", "flat-100"}


def test_what_cannot_be_used_is_named_once_and_skipped(run: Callable[..., Forged], photos: Path) -> None:
    images.save(photos / "small.png", np.zeros((31, 200, 3), np.uint8))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    said: list[str] = []
    made = run(sources=["flat:200", "whole:5", "flat:99"], per_photo=2, say=said.append)
    assert len(said) == 10 and sum("small.png: smaller than 32" in line for line in said) == 1
    assert sum("broken.jpg" in line for line in said) == 1
    assert sum("p3.png: nothing to go by" in line for line in said) == 1
    assert {name: row.pairs for name, row in made.generators.items()} == {"flat-200": 16, "whole-5": 16, "flat-99": 0}
    assert len(manifest(made.folder)["skipped"]) == 10


def test_nothing_left_is_an_error(run: Callable[..., Forged], photos: Path) -> None:
    with pytest.raises(FakeclfError, match="none of 8 photographs .* the first: .*nothing to go by"):
        run(sources=["flat:99"])


def test_broken_masks_stop_the_work_and_missing_ones_do_not(run: Callable[..., Forged], tmp_path: Path) -> None:
    box = {"image_id": 0, "category_id": 1, "bbox": [8, 8, 20, 20], "segmentation": [[8, 8, 28, 8, 28, 28, 8, 28]]}
    content = {"images": [{"id": 0, "file_name": "p3.png", "height": 51, "width": 61}], "annotations": [box]}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    said: list[str] = []
    made = run(masks=f"coco:{tmp_path / 'coco.json'}", say=said.append)
    assert made.generators["flat-200"].pairs == 1 and len(said) == 7 and "names no photograph" in said[0]
    assert [record["mask"] for record in manifest(made.folder)["pairs"]] == ["coco"]
    box |= {"bbox": [1], "segmentation": [[1]]}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(FakeclfError, match="annotation None of .* cannot be read"):
        run("other", masks=f"coco:{tmp_path / 'coco.json'}")


def test_a_source_that_changes_the_size_is_refused(run: Callable[..., Forged], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flat, "fill", lambda self, picture, mask, random: picture[:-1])
    with pytest.raises(FakeclfError, match=r"flat-200 gave uint8 \(47, 56, 3\) for a picture of \(48, 56, 3\)"):
        run()


def test_a_full_disk_is_one_line_and_finished_pairs_are_kept(
    run: Callable[..., Forged], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files(run("whole").folder)
    written, replace = [], os.replace

    def full_after_some(source: Path, target: Path) -> None:
        if len(written) >= 15:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_after_some)
        with pytest.raises(FakeclfError, match="No space left on device; free some space") as caught:
            run()
    assert "\n" not in str(caught.value)
    left = files(tmp_path / "out")
    # One file is the manifest of the beginning; three pairs are whole, of the fourth two files.
    assert len(left) == 15 and not any(Path(name).name.startswith(".") for name in left)
    assert all(left[name] == whole[name] for name in left if name != "manifest.json")
    untouched = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("p*.png")}
    made = run()
    assert made.generators["flat-200"].pairs == 8 and files(tmp_path / "out") == whole
    assert sum(path.stat().st_mtime_ns == then for path, then in untouched.items()) >= 12


def test_a_full_disk_in_another_process(
    run: Callable[..., Forged], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("out", sources=["copy"], per_photo=1)
    for path in (tmp_path / "out" / "train" / "copy").iterdir():
        path.unlink()
    (tmp_path / "out" / "train" / "copy").rmdir()
    (tmp_path / "out" / "train" / "copy").write_text("in the way")
    with pytest.raises(FakeclfError, match="cannot write .*free some space or choose another folder"):
        run("out", sources=["copy"], per_photo=1, workers=2)
    assert not manifest(tmp_path / "out")["complete"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sources": []}, "no source of forged pixels"),
        ({"sources": ["teleo"]}, "did you mean 'telea'"),
        ({"sources": ["flat:200", "flat:200"]}, "both called flat-200"),
        ({"variants": ["masks"]}, "did you mean 'mask'"),
        ({"variants": ["mask", "mask"]}, "each once"),
        ({"variants": []}, "each once"),
        ({"variants": ["fakefake"]}, "need each other"),
        ({"autoencoder": "whole:5"}, "need each other"),
        ({"autoencoder": "flat:5", "variants": ["fakefake", "mask"]}, "fills holes"),
        ({"format": "tiff"}, "jpeg:QUALITY"),
        ({"format": "jpeg:0"}, "jpeg:QUALITY"),
        ({"size": 16}, "at least 32"),
        ({"shrink": (0.9, 0.5)}, "shrink must be"),
        ({"soften": (0.5, 1.5)}, "soften must be"),
        ({"per_photo": 0}, "per_photo must be 1"),
        ({"workers": 0}, "workers must be 1"),
        ({"area": (0.5, 0.1)}, "area must be"),
        ({"photos": "nowhere"}, "nowhere"),
    ],
)
def test_bad_arguments_are_named(
    options: dict[str, Any], says: str, run: Callable[..., Forged], tmp_path: Path
) -> None:
    with pytest.raises(FakeclfError, match=says):
        run(**options)
    assert not (tmp_path / "out").exists()


def test_which_sources_need_keras() -> None:
    assert not forging.needs_keras("telea") and not forging.needs_keras("onnx:file.onnx")
    assert forging.needs_keras("taef2") and forging.needs_keras("small-autoencoder")
