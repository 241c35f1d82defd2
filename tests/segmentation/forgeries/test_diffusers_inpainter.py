"""The call to diffusers, against a stand-in: the package itself and its models are too large to test with."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakeclf.errors import FakeclfError
from segmentation.forgeries import diffusers_inpainter
from segmentation.forgeries.inpainters import open_source


class Pipeline:
    """Paints the whole frame 255 - picture and keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.device = ""
        self.bars: dict[str, Any] = {}
        self.flagged: list[bool] | None = [False]
        self.smaller = False

    def to(self, device: str) -> Pipeline:
        self.device = device
        return self

    def set_progress_bar_config(self, **options: Any) -> None:
        self.bars = options

    def __call__(self, **arguments: Any) -> SimpleNamespace:
        self.calls.append(arguments)
        painted = Image.fromarray(255 - np.asarray(arguments["image"]))
        if self.smaller:
            painted = painted.resize((8, 8))
        return SimpleNamespace(images=[painted], nsfw_content_detected=self.flagged)


class Generator:
    def __init__(self, device: str) -> None:
        self.device, self.seed = device, -1

    def manual_seed(self, seed: int) -> Generator:
        self.seed = seed
        return self


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    made = Pipeline()

    def from_pretrained(model: str, torch_dtype: str) -> Pipeline:
        if model == "nobody/nothing":
            raise OSError("nobody/nothing is not a local folder\nand is not a valid model identifier")
        made.calls.append({"model": model, "dtype": torch_dtype})
        return made

    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: False),
        float16="half",
        float32="single",
        Generator=Generator,
        __version__="0",
    )
    diffusers = SimpleNamespace(
        AutoPipelineForInpainting=SimpleNamespace(from_pretrained=from_pretrained), __version__="1"
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    return made


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def hole(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[5:15, 8:20] = True
    return mask


def test_the_pipeline_sees_multiples_of_eight_and_its_answer_is_cut_back(pipeline: Pipeline) -> None:
    source = open_source("diffusers:maker/model-2")
    assert (source.name, source.whole_frame, source.in_process) == ("diffusers-model-2", False, True)
    assert pipeline.calls.pop() == {"model": "maker/model-2", "dtype": "single"} and pipeline.device == "cpu"
    assert pipeline.bars == {"disable": True}
    picture, mask = photo(30, 45), hole(30, 45)
    filled = source.fill(picture, mask, np.random.default_rng(0))
    call = pipeline.calls[0]
    assert (call["width"], call["height"]) == call["image"].size == call["mask_image"].size == (48, 32)
    np.testing.assert_array_equal(np.asarray(call["image"])[:30, :45], picture)
    np.testing.assert_array_equal(np.asarray(call["mask_image"])[:30, :45], mask * np.uint8(255))
    assert call["prompt"] == "" and call["output_type"] == "pil"
    assert {key: call[key] for key in ("num_inference_steps", "guidance_scale", "strength")} == {
        key: source.settings[key] for key in ("num_inference_steps", "guidance_scale", "strength")
    }
    np.testing.assert_array_equal(filled, np.where(mask[..., None], 255 - picture, picture))
    np.testing.assert_array_equal(source.frame(picture, mask, np.random.default_rng(0)), 255 - picture)


def test_its_noise_comes_from_the_random_generator(pipeline: Pipeline) -> None:
    source = open_source("diffusers:maker/model")
    pipeline.calls.clear()
    for seed in (4, 4, 5):
        source.fill(photo(16, 24), hole(16, 24), np.random.default_rng(seed))
    seeds = [call["generator"].seed for call in pipeline.calls]
    assert seeds[0] == seeds[1] != seeds[2] and min(seeds) >= 0


def test_of_a_large_picture_it_sees_a_window(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers_inpainter, "LARGEST", 32)
    source = open_source("diffusers:maker/model")
    pipeline.calls.clear()
    picture, mask = photo(40, 90), hole(40, 90)
    filled = source.fill(picture, mask, np.random.default_rng(0))
    assert pipeline.calls[0]["image"].size == (32, 32)
    np.testing.assert_array_equal(filled, np.where(mask[..., None], 255 - picture, picture))


def test_what_goes_wrong_is_said_in_one_line(pipeline: Pipeline) -> None:
    with pytest.raises(FakeclfError, match="cannot open 'nobody/nothing'") as caught:
        open_source("diffusers:nobody/nothing")
    assert "\n" not in str(caught.value)
    source = open_source("diffusers:maker/model")
    pipeline.flagged = [True]
    with pytest.raises(FakeclfError, match="safety checker"):
        source.fill(photo(16, 24), hole(16, 24), np.random.default_rng(0))
    pipeline.flagged, pipeline.smaller = None, True
    with pytest.raises(FakeclfError, match="8 x 8 pixels of 24 x 16"):
        source.fill(photo(16, 24), hole(16, 24), np.random.default_rng(0))


def test_without_diffusers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(FakeclfError, match=r"pip install 'fakeclf\[diffusers\]'"):
        open_source("diffusers:maker/model")
