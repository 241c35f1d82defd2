"""ONNX inpainters of every common signature, built here from a few nodes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import open_source
from segmentation.forgeries.onnx_inpainter import OnnxInpainter

onnx = pytest.importorskip("onnx", reason="onnx is a test extra; without it there are no models to test with")
pytest.importorskip("onnxruntime", reason="onnxruntime is an extra")

FLOAT, UINT8, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.BOOL
GREY = {"unit": 0.5, "signed": 0.0, "bytes": 127.0}


def write(path: Path, inputs: list[tuple], nodes: list[tuple], output: tuple, **constants: Any) -> str:
    """Write a model; inputs and output are (name, type, shape), nodes (operator, inputs, output, attributes)."""
    value, helper = onnx.helper.make_tensor_value_info, onnx.helper
    graph = helper.make_graph(
        [helper.make_node(operator, takes, [gives], **attributes) for operator, takes, gives, attributes in nodes],
        "inpainter",
        [value(*one) for one in inputs],
        [value(*output)],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)


def two_inputs(
    path: Path,
    *,
    scale: str = "unit",
    result: str | None = None,
    known: bool = False,
    last: bool = False,
    kind: int = FLOAT,
    mask_kind: int = FLOAT,
    size: tuple[Any, Any] = ("h", "w"),
    full: int = 1,
) -> str:
    """Known pixels come back, a little shrunk towards grey as by a network; the hole comes out grey."""

    def shape(channels: int) -> list[Any]:
        return [1, *size, channels] if last else [1, channels, *size]

    nodes = [
        ("Cast", ["mask"], "marked", {"to": FLOAT}),
        ("Div", ["marked", "full"], "one", {}),
        ("Sub", ["one_constant", "one"], "rest", {}),
        ("Identity", ["one" if known else "rest"], "keep", {}),
        ("Cast", ["image"], "colours", {"to": FLOAT}),
        ("Clip", ["colours", "low", "high"], "clipped", {}),
        ("Sub", ["clipped", "grey"], "around", {}),
        ("Mul", ["around", "keep"], "kept", {}),
        ("Add", ["kept", "grey"], "filled", {}),
        ("Mul", ["filled", "gain"], "scaled", {}),
        ("Cast", ["scaled"], "result", {"to": UINT8 if kind == UINT8 else FLOAT}),
    ]
    low, high = {"unit": (0, 1), "signed": (-1, 1), "bytes": (0, 255)}[scale]
    return write(
        path,
        [("image", kind, shape(3)), ("mask", mask_kind, shape(1))],
        nodes,
        ("result", UINT8 if kind == UINT8 else FLOAT, shape(3)),
        full=np.float32(full),
        one_constant=np.float32(1),
        low=np.float32(low),
        high=np.float32(high),
        grey=np.float32(GREY[scale]),
        gain=np.float32(255 if result == "bytes" else 1),
    )


def migan(path: Path, size: Any = 64) -> str:
    """One input of [mask - 0.5, picture * mask], mask 1 where known, colours in [-1, 1]."""
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Split", ["input", "parts"], ["mask", "picture"], axis=1),
            helper.make_node("Add", ["mask", "half"], ["known"]),
            helper.make_node("Mul", ["picture", "known"], ["result"]),
        ],
        "migan",
        [helper.make_tensor_value_info("input", FLOAT, [1, 4, size, size])],
        [helper.make_tensor_value_info("result", FLOAT, [1, 3, size, size])],
        [
            onnx.numpy_helper.from_array(np.array([1, 3], np.int64), "parts"),
            onnx.numpy_helper.from_array(np.float32(0.5), "half"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def photo(height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def hole(height: int = 50, width: int = 70) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[12:25, 30:47] = True
    return mask


@pytest.mark.parametrize(
    ("options", "convention"),
    [
        ({}, ("unit", "unit", "hole", 1)),
        ({"known": True}, ("unit", "unit", "known", 1)),
        ({"last": True}, ("unit", "unit", "hole", 1)),
        ({"result": "bytes"}, ("unit", "bytes", "hole", 1)),
        ({"scale": "signed"}, ("signed", "signed", "hole", 1)),
        ({"scale": "signed", "known": True, "last": True}, ("signed", "signed", "known", 1)),
        ({"scale": "bytes"}, ("bytes", "bytes", "hole", 1)),
        ({"scale": "bytes", "kind": UINT8, "mask_kind": UINT8, "full": 255}, ("bytes", "bytes", "hole", 255)),
        ({"scale": "bytes", "kind": UINT8, "mask_kind": UINT8, "known": True}, ("bytes", "bytes", "known", 1)),
        ({"scale": "bytes", "kind": UINT8, "mask_kind": BOOL, "last": True}, ("bytes", "bytes", "hole", 1)),
        ({"size": (64, 80)}, ("unit", "unit", "hole", 1)),
    ],
)
def test_two_inputs_of_any_convention(tmp_path: Path, options: dict[str, Any], convention: tuple) -> None:
    source = open_source("onnx:" + two_inputs(tmp_path / "fill.onnx", **options))
    assert isinstance(source, OnnxInpainter)
    found = source.convention
    assert (found.picture, found.result, found.mask, found.full) == convention
    filled = source.fill(photo(), hole(), np.random.default_rng(0))
    assert np.abs(filled[hole()].astype(int) - 127).max() <= 1
    np.testing.assert_array_equal(filled[~hole()], photo()[~hole()])
    frame = source.frame(photo(), hole(), np.random.default_rng(0))
    assert np.abs(frame[~hole()].astype(int) - photo()[~hole()]).max() <= 1


def test_one_input_of_four_channels_as_migan_has_it(tmp_path: Path) -> None:
    source = open_source("onnx:" + migan(tmp_path / "migan.onnx"))
    assert isinstance(source, OnnxInpainter)
    assert (source.convention.picture, source.convention.mask, source.convention.order) == (
        "signed",
        "known",
        "mask first",
    )
    assert (source.name, source.whole_frame, source.in_process) == ("onnx-migan", False, True)
    assert source.settings["size"] == [64, 64] and len(source.settings["sha256"]) == 64
    # Wider than the model: a window of its size around the hole.
    filled = source.fill(photo(64, 120), hole(64, 120), np.random.default_rng(0))
    assert np.abs(filled[hole(64, 120)].astype(int) - 127).max() <= 1
    np.testing.assert_array_equal(filled[~hole(64, 120)], photo(64, 120)[~hole(64, 120)])


def test_the_same_pixels_come_again(tmp_path: Path) -> None:
    path = two_inputs(tmp_path / "fill.onnx")
    one, other = (open_source(f"onnx:{path}").fill(photo(), hole(), np.random.default_rng(s)) for s in (0, 1))
    np.testing.assert_array_equal(one, other)


def identity(path: Path, inputs: list[tuple], output: tuple, nodes: list[tuple] | None = None, **constants: Any) -> str:
    return write(path, inputs, nodes or [("Identity", [inputs[0][0]], "result", {})], output, **constants)


def test_other_inputs_are_answered_with_what_was_found_and_what_is_allowed(tmp_path: Path) -> None:
    picture, result = ("image", FLOAT, [1, 3, "h", "w"]), ("result", FLOAT, [1, 3, "h", "w"])
    cases = {
        r"image tensor\(float\)\[1, 3, 'h', 'w'\]; allowed are two 4-D inputs": [picture],
        r"mask tensor\(float\)\[1, 1, 'h', 'w'\], more .*one input of 4 channels": [
            picture,
            ("mask", FLOAT, [1, 1, "h", "w"]),
            ("more", FLOAT, [1, 1, "h", "w"]),
        ],
        r"mask tensor\(int64\)": [picture, ("mask", onnx.TensorProto.INT64, [1, 1, "h", "w"])],
    }
    for message, inputs in cases.items():
        path = identity(tmp_path / "other.onnx", inputs, result)
        with pytest.raises(FakeclfError, match=message) as caught:
            open_source(f"onnx:{path}")
        assert "\n" not in str(caught.value)


def test_a_model_that_answers_with_another_size_is_refused(tmp_path: Path) -> None:
    inputs = [("image", FLOAT, [1, 3, "h", "w"]), ("mask", FLOAT, [1, 1, "h", "w"])]
    nodes = [("AveragePool", ["image"], "result", {"kernel_shape": [2, 2], "strides": [2, 2]})]
    path = identity(tmp_path / "half.onnx", inputs, ("result", FLOAT, [1, 3, "a", "b"]), nodes)
    with pytest.raises(FakeclfError, match=r"answers float32 \(1, 3, 128, 128\) to 256 x 256 pixels"):
        open_source(f"onnx:{path}")


def test_a_model_that_gives_nothing_back_is_refused(tmp_path: Path) -> None:
    inputs = [("image", FLOAT, [1, 3, "h", "w"]), ("mask", FLOAT, [1, 1, "h", "w"])]
    nodes = [("Mul", ["image", "zero"], "result", {})]
    path = identity(tmp_path / "black.onnx", inputs, ("result", FLOAT, [1, 3, "h", "w"]), nodes, zero=np.float32(0))
    with pytest.raises(FakeclfError, match="under no convention"):
        open_source(f"onnx:{path}")


def test_a_picture_and_a_mask_of_different_fixed_sizes_are_refused(tmp_path: Path) -> None:
    inputs = [("image", FLOAT, [1, 3, 32, 32]), ("mask", FLOAT, [1, 1, 16, 16])]
    path = identity(tmp_path / "sizes.onnx", inputs, ("result", FLOAT, [1, 3, 32, 32]))
    with pytest.raises(FakeclfError, match="different sizes"):
        open_source(f"onnx:{path}")


def test_a_file_that_is_no_model_or_not_there_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all")
    with pytest.raises(FakeclfError, match="broken.onnx is no ONNX model"):
        open_source(f"onnx:{broken}")
    with pytest.raises(FakeclfError, match="there is no file .*missing.onnx"):
        open_source(f"onnx:{tmp_path / 'missing.onnx'}")


def test_without_onnxruntime_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FakeclfError, match=r"pip install 'fakeclf\[onnx\]'"):
        open_source("onnx:any.onnx")
