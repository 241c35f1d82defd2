"""Masks of the objects that a detector finds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries import onnx_detector
from segmentation.forgeries.masks import NoMask, area_of, mask_source


def picture() -> np.ndarray:
    return np.zeros((64, 64, 3), np.uint8)


class FakeSession:
    """Stands in for onnxruntime's session: gives what it was made with, keeps what it was shown."""

    def __init__(self, outputs: list[np.ndarray], size: tuple[Any, Any] = (64, 64), **other: Any) -> None:
        self.outputs, self.shown = outputs, np.zeros(0)
        self.input = SimpleNamespace(name="images", type="tensor(float)", shape=[1, 3, *size])
        self.input.__dict__.update(other)

    def get_inputs(self) -> list[Any]:
        return [self.input]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="o", type="tensor(float)", shape=list(o.shape)) for o in self.outputs]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.shown = feed["images"]
        return self.outputs


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def open_with(session: FakeSession) -> Any:
        monkeypatch.setattr(onnx_detector, "_session", lambda file: (session, (RuntimeError,)))
        return mask_source("detector:yolo.onnx", (0.01, 0.9))

    return open_with


def boxes(*rows: tuple[float, ...], classes: int = 3, more: int = 0) -> np.ndarray:
    """(1, 4 + classes + more, 40) of (x, y, w, h, class, score, weights ...)."""
    table = np.zeros((40, 4 + classes + more), np.float32)
    for row, (x, y, w, h, label, score, *weights) in zip(table, rows, strict=False):
        row[:4], row[4 + int(label)], row[4 + classes :] = (x, y, w, h), score, weights
    return table.T[None]


def test_boxes_are_brought_back_to_the_picture(opened: Callable[..., Any]) -> None:
    # 64 x 128 is seen at half size, with 16 grey rows above and below.
    session = FakeSession([boxes((32, 32, 16, 8, 1, 0.9), (10, 40, 6, 6, 2, 0.1))])
    shown = np.full((64, 128, 3), 255, np.uint8)
    mask = opened(session).draw(shown, "a", np.random.default_rng(0))
    wanted = np.zeros((64, 128), bool)
    wanted[24:40, 48:80] = True
    assert ((mask >= 128) != wanted).mean() < 0.005
    assert session.shown.shape == (1, 3, 64, 64) and session.shown.dtype == np.float32
    assert np.all(session.shown[0, :, 16:48] == 1) and np.allclose(session.shown[0, :, :16], 114 / 255)


def test_of_two_boxes_of_one_object_the_better_stays(opened: Callable[..., Any]) -> None:
    rows = (
        (32, 32, 20, 20, 0, 0.9),
        (33, 32, 20, 20, 0, 0.8),
        (32, 32, 20, 20, 1, 0.7),
        (32, 32, 20, 20, 1, np.nan),
    )
    detector = opened(FakeSession([boxes(*rows)]))
    found, prototypes = detector._found(detector.session.outputs)
    assert [(one.label, round(one.score, 1)) for one in found] == [(0, 0.9), (1, 0.7)] and prototypes is None


def test_boxes_that_were_chosen_already(opened: Callable[..., Any]) -> None:
    rows = np.zeros((1, 5, 6), np.float32)
    rows[0, 0] = (16, 16, 48, 40, 0.8, 5)
    mask = opened(FakeSession([rows])).draw(picture(), "a", np.random.default_rng(0))
    assert (mask[18:38, 18:46] >= 128).all() and abs(area_of(mask) - 32 * 24 / 64**2) < 0.02


def test_segments_are_weighted_sums_within_their_boxes(opened: Callable[..., Any]) -> None:
    prototypes = np.full((1, 2, 16, 16), -1, np.float32)
    prototypes[0, 0, :, :8], prototypes[0, 1, :8] = 1, 1
    session = FakeSession([boxes((32, 32, 48, 48, 0, 0.9, 2.0, 1.0), more=2), prototypes])
    detector = opened(session)
    found = [detector.draw(picture(), "a", np.random.default_rng(seed)) >= 128 for seed in range(10)]
    box, left = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    box[8:56, 8:56], left[8:56, 8:32] = True, True
    near = [[(mask != wanted).mean() < 0.02 for wanted in (box, left)] for mask in found]
    assert all(any(one) for one in near) and np.any(near, axis=0).all()


def test_nothing_found_is_no_mask(opened: Callable[..., Any]) -> None:
    with pytest.raises(NoMask, match="no object"):
        opened(FakeSession([boxes()])).draw(picture(), "a", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"shape": [1, 64, 64, 3]}, r"takes images: tensor\(float\) \[1, 64, 64, 3\]"),
        ({"shape": [8, 3, 64, 64]}, "one picture"),
        ({"type": "tensor(uint8)"}, "uint8"),
        ({"shape": [1, 3, 8, 8]}, "at least 32"),
    ],
)
def test_other_inputs_are_refused(other: dict[str, Any], says: str, opened: Callable[..., Any]) -> None:
    with pytest.raises(FakeclfError, match=says):
        opened(FakeSession([boxes()], **other))


def test_free_sizes_are_640(opened: Callable[..., Any]) -> None:
    assert opened(FakeSession([boxes()], size=("height", None))).size == (640, 640)


@pytest.mark.parametrize("outputs", [[np.zeros((1, 1000))], [np.zeros((1, 7, 40))] * 2, [np.zeros((1, 7, 40))] * 3, []])
def test_other_outputs_are_refused(outputs: list[np.ndarray], opened: Callable[..., Any]) -> None:
    with pytest.raises(FakeclfError, match="layout of YOLOv8"):
        opened(FakeSession(outputs))


def test_the_layout_of_older_models_is_refused(opened: Callable[..., Any]) -> None:
    with pytest.raises(FakeclfError, match=r"\(1, 40, 8\)") as caught:
        opened(FakeSession([np.zeros((1, 40, 8), np.float32)])).draw(picture(), "a", np.random.default_rng(0))
    assert not isinstance(caught.value, NoMask)


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FakeclfError, match=r"pip install 'fakeclf\[onnx\]'"):
        mask_source("detector:yolo.onnx")


def test_a_real_model_and_files_that_are_none(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    path = tmp_path / "yolo.onnx"
    with pytest.raises(FakeclfError, match="there is no file"):
        mask_source(f"detector:{path}")
    path.write_bytes(b"no model")
    with pytest.raises(FakeclfError, match="no ONNX model") as caught:
        mask_source(f"detector:{path}")
    assert "\n" not in str(caught.value)
    # Gives the same boxes whatever it is shown: they hang on the picture by a sum that is multiplied by zero.
    helper, rows = onnx.helper, boxes((32, 32, 32, 16, 1, 0.9))
    kind = onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceSum", ["images"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["none"]),
        helper.make_node("Add", ["rows", "none"], ["found"]),
    ]
    values = [
        onnx.numpy_helper.from_array(rows, "rows"),
        onnx.numpy_helper.from_array(np.float32(0).reshape(()), "zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", kind, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("found", kind, rows.shape)],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    mask = mask_source(f"detector:{path}").draw(picture(), "a", np.random.default_rng(0))
    wanted = np.zeros((64, 64), bool)
    wanted[24:40, 16:48] = True
    assert ((mask >= 128) != wanted).mean() < 0.02
