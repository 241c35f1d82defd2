"""Masks with the shapes of objects."""

from __future__ import annotations

import builtins
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakeclf import images
from fakeclf.data.regenerated import cut
from fakeclf.errors import FakeclfError
from segmentation.forgeries.masks import NoMask, area_of, mask_source
from segmentation.forgeries.object_masks import choose

RUNS = r"01l8h0cG00\OE;;EE;;EE;;900000000000000li0]OgVO00000000000000000oN"
"""Written by pycocotools for :func:`ragged`."""


def picture(height: int = 64, width: int = 64) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def ragged() -> np.ndarray:
    mask = np.zeros((40, 50), bool)
    mask[5:30, 7:20], mask[10:14, 9:12], mask[33:39, 40:50], mask[0, 0] = True, False, True, True
    return mask


def disc(size: int = 40) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.where((x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 5) ** 2, 255, 0).astype(np.uint8)


class TestShapes:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        images.save(tmp_path / "disc.png", disc())
        bar = np.zeros((30, 60), np.uint8)
        bar[10:14, 5:55] = 255
        images.save(tmp_path / "deep" / "bar.png", bar)
        return tmp_path

    def test_shapes_are_scaled_into_the_range_and_placed(self, folder: Path) -> None:
        source = mask_source(f"shapes:{folder}", (0.05, 0.3))
        found = [source.draw(picture(48, 80), "a", np.random.default_rng(seed)) for seed in range(12)]
        assert all(mask.shape == (48, 80) and set(np.unique(mask)) == {0, 255} for mask in found)
        areas = [area_of(mask) for mask in found]
        assert min(areas) >= 0.05 and max(areas) <= 0.3 and np.std(areas) > 0.02
        assert len({mask.tobytes() for mask in found}) == 12
        again = mask_source(f"shapes:{folder}", (0.05, 0.3)).draw(picture(48, 80), "a", np.random.default_rng(3))
        assert np.array_equal(again, found[3])

    def test_the_shape_is_kept(self, folder: Path) -> None:
        (folder / "deep" / "bar.png").unlink()
        source = mask_source(f"shapes:{folder}", (0.04, 0.05))
        mask = source.draw(picture(200, 200), "a", np.random.default_rng(1)) == 255
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert abs(box.shape[0] - box.shape[1]) <= 1 and abs(box.mean() - (disc()[13:28, 13:28] > 0).mean()) < 0.02

    def test_black_shapes_on_white_are_taken_with_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for index in range(3):
            images.save(tmp_path / f"{index}.png", 255 - disc())
        with caplog.at_level(logging.WARNING):
            source = mask_source(f"shapes:{tmp_path}", (0.05, 0.1))
            found = [source.draw(picture(), "a", np.random.default_rng(seed)) for seed in range(4)]
        assert len(caplog.records) == 1 and "inverted" in caplog.text
        assert all(0.05 <= area_of(mask) <= 0.1 for mask in found)

    def test_files_that_are_no_masks_are_left_out_once(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        images.save(folder / "black.png", np.zeros((20, 20), np.uint8))
        (folder / "broken.png").write_bytes(b"no picture")
        source = mask_source(f"shapes:{folder}")
        with caplog.at_level(logging.WARNING):
            for seed in range(20):
                source.draw(picture(), "a", np.random.default_rng(seed))
        assert len(caplog.records) == 2 and "all black" in caplog.text and "broken.png" in caplog.text

    def test_no_shapes_at_all_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FakeclfError, match="holds no mask files"):
            mask_source(f"shapes:{tmp_path}")
        images.save(tmp_path / "black.png", np.zeros((20, 20), np.uint8))
        with pytest.raises(FakeclfError, match="none of the 1 files"):
            mask_source(f"shapes:{tmp_path}").draw(picture(), "a", np.random.default_rng(0))


class TestCoco:
    @staticmethod
    def content() -> dict[str, Any]:
        box = {
            "id": 1,
            "image_id": 7,
            "category_id": 3,
            "bbox": [8, 16, 24, 32],
            "segmentation": [[8, 16, 32, 16, 8, 48]],
        }
        runs = {
            "id": 2,
            "image_id": 8,
            "category_id": 4,
            "bbox": [0, 0, 50, 40],
            "segmentation": {"size": [40, 50], "counts": RUNS},
        }
        photos = [
            {"id": 7, "file_name": "a.jpg", "height": 64, "width": 64},
            {"id": 8, "file_name": "sub/b.jpg", "height": 40, "width": 50},
            {"id": 9, "file_name": "c.jpg", "height": 64, "width": 64},
        ]
        return {
            "images": photos,
            "annotations": [box, runs],
            "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        }

    @staticmethod
    def opened(folder: Path, content: Any, area: tuple[float, float] = (0.02, 0.9)) -> Any:
        (folder / "instances.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return mask_source(f"coco:{folder / 'instances.json'}", area)

    def test_boxes_and_segments_come_in_turn(self, tmp_path: Path) -> None:
        source = self.opened(tmp_path, self.content())
        box, triangle = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
        box[16:48, 8:32] = True
        for row in range(16, 48):
            triangle[row, 8 : 8 + round(24 * (48 - row - 0.5) / 32)] = True
        found = [source.draw(picture(), "some/a.jpg", np.random.default_rng(seed)) >= 128 for seed in range(12)]
        near = [min((mask != wanted).mean() for wanted in (box, triangle)) for mask in found]
        boxes = sum((mask != box).mean() < 0.02 for mask in found)
        assert max(near) < 0.02 and 0 < boxes < 12

    def test_run_lengths_packed_and_plain(self, tmp_path: Path) -> None:
        content = self.content()
        plain = ragged().ravel(order="F")
        edges = np.flatnonzero(np.diff(plain)) + 1
        counts = [0, *np.diff([0, *edges, plain.size]).tolist()]
        for segment in (RUNS, counts):
            content["annotations"][1] |= {"bbox": [0, 0, 0, 0], "segmentation": {"size": [40, 50], "counts": segment}}
            source = self.opened(tmp_path, content)
            masks = []
            for seed in range(8):
                try:
                    masks.append(source.draw(picture(40, 50), "b.jpg", np.random.default_rng(seed)))
                except NoMask:  # the empty box
                    continue
            # Blurring rounds corners and fills the small hole.
            assert masks and all(((mask >= 128) != ragged()).mean() < 0.04 for mask in masks)

    def test_a_cut_photograph_gets_its_part_of_the_mask(self, tmp_path: Path) -> None:
        content = self.content()
        content["images"][0] |= {"height": 200, "width": 300}
        content["annotations"][0] |= {
            "bbox": [120, 60, 50, 40],
            "segmentation": [[120, 60, 170, 60, 170, 100, 120, 100]],
        }
        whole = np.zeros((200, 300, 3), np.uint8)
        whole[60:100, 120:170] = 255
        part = cut(whole, 128)
        mask = self.opened(tmp_path, content).draw(part, "a.jpg", np.random.default_rng(0))
        assert mask.shape == part.shape[:2] and ((mask >= 128) != (part[..., 0] == 255)).mean() < 0.005

    def test_photographs_without_a_fitting_object_have_no_mask(self, tmp_path: Path) -> None:
        source = self.opened(tmp_path, self.content(), (0.001, 0.01))
        for name, says in (("a.jpg", "covers"), ("c.jpg", "no object"), ("z.jpg", "names no photograph")):
            with pytest.raises(NoMask, match=says):
                source.draw(picture(), name, np.random.default_rng(0))
        with pytest.raises(NoMask, match="turned or resized"):
            source.draw(picture(80, 64), "a.jpg", np.random.default_rng(0))

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("{", "as JSON"),
            ([], "no COCO annotation file"),
            ({"images": []}, "'annotations'"),
            ({"images": [{"id": 1}], "annotations": []}, "'file_name'"),
        ],
    )
    def test_other_files_are_refused(self, content: Any, says: str, tmp_path: Path) -> None:
        with pytest.raises(FakeclfError, match=says):
            self.opened(tmp_path, content)
        with pytest.raises(FakeclfError, match="cannot read"):
            mask_source(f"coco:{tmp_path / 'none.json'}")

    @pytest.mark.parametrize(
        "segment", [{"size": [40, 50], "counts": [1, 2]}, {"size": [4, 5], "counts": [20]}, [[1, 2, 3]]]
    )
    def test_a_broken_annotation_is_named(self, segment: Any, tmp_path: Path) -> None:
        content = self.content()
        content["annotations"][1] |= {"bbox": None, "segmentation": segment}
        with pytest.raises(FakeclfError, match="annotation 2 of .* cannot be read") as caught:
            self.opened(tmp_path, content).draw(picture(40, 50), "b.jpg", np.random.default_rng(0))
        assert not isinstance(caught.value, NoMask)


def test_classes_are_drawn_before_objects() -> None:
    objects = {"crowd": [np.eye(32, dtype=bool)[[index] * 32] for index in range(9)], "one": [np.ones((32, 32), bool)]}
    objects["one"][0][:16] = False
    drawn = [
        choose(objects, lambda mask: mask, "a", "x", (0.01, 0.9), np.random.default_rng(seed)) for seed in range(60)
    ]
    halves = sum(0.45 < area_of(mask) < 0.55 for mask in drawn)
    assert 18 <= halves <= 42  # one class of two, though it has one object of ten
    # All nine objects of the class at once are among the choices.
    assert any(0.25 < area_of(mask) < 0.3 for mask in drawn)


class TestMaskFormer:
    def test_without_transformers_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.partition(".")[0] == "transformers":
                raise ImportError("No module named 'transformers'")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(FakeclfError, match=r"pip install 'fakeclf\[transformers\]'"):
            mask_source("maskformer")

    def test_segments_of_a_class_become_masks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def pipeline(task: str, model: str) -> Callable[[Image.Image], list[dict[str, Any]]]:
            if model == "none":
                raise OSError("none is not a local folder\nand more lines")
            asked.append((task, model))
            return lambda shown: [{"label": "cat", "score": 0.9, "mask": Image.fromarray(disc(shown.width))}]

        monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(pipeline=pipeline))
        source = mask_source("maskformer:some/model")
        mask = source.draw(picture(), "a", np.random.default_rng(0))
        assert asked == [("image-segmentation", "some/model")] and source.in_process
        assert ((mask >= 128) != (disc(64) == 255)).mean() < 0.02
        with pytest.raises(FakeclfError, match="cannot open the model 'none'") as caught:
            mask_source("maskformer:none")
        assert "\n" not in str(caught.value)
