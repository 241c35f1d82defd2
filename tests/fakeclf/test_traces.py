"""What pixels tell of their past, on photographs that scikit-image brings."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from skimage import data

from fakeclf import images, traces
from fakeclf.data import degrade
from fakeclf.data.codec import jpeg_quality


@pytest.fixture(scope="module", params=["astronaut", "coffee"])
def lossless(request: pytest.FixtureRequest) -> np.ndarray:
    photograph = getattr(data, request.param)()
    # Half the size has lost whatever compression the file went through.
    return degrade.parse("scale:0.5").apply(photograph)


@pytest.mark.parametrize("quality", [95, 85, 75, 50])
def test_the_last_jpeg_quality_is_found(lossless: np.ndarray, quality: int) -> None:
    found = traces.read(images.read(images.encode_jpeg(lossless, quality)))
    assert found.jpeg_quality is not None and abs(found.jpeg_quality - quality) <= 2 and found.jpeg_grid == (0, 0)


@pytest.mark.parametrize("preset", ["low", "medium", "high", "maximum", "web_medium", "web_high", "web_very_high"])
def test_an_editor_that_brings_its_own_tables(lossless: np.ndarray, preset: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(lossless).save(stream, "JPEG", quality=preset)  # Photoshop's, as Pillow knows them
    nearest, exact = jpeg_quality(tuple(Image.open(stream).quantization[0]))
    found = traces.read(images.read(stream.getvalue()))
    assert not exact and found.jpeg_tables == "other" and found.jpeg_grid == (0, 0)
    assert found.jpeg_quality is not None and abs(found.jpeg_quality - nearest) <= 2


def test_saved_twice_is_no_table_of_its_own(lossless: np.ndarray) -> None:
    first = images.read(images.encode_jpeg(lossless, 60))
    found = traces.read(images.read(images.encode_jpeg(first, 90)))
    assert found.jpeg_quality == 90 and found.jpeg_tables == "libjpeg"


def test_no_compression_no_quality(lossless: np.ndarray) -> None:
    found = traces.read(lossless)
    assert found.jpeg_quality is None and found.jpeg_tables is None and found.jpeg_grid is None


@pytest.mark.parametrize(("row", "column"), [(3, 5), (1, 0), (0, 7)])
def test_a_crop_moves_the_grid(lossless: np.ndarray, row: int, column: int) -> None:
    saved = images.read(images.encode_jpeg(lossless, 70))
    assert traces.read(saved[row:, column:]).jpeg_grid == ((8 - row) % 8, (8 - column) % 8)


def test_smoothing_takes_bandwidth(lossless: np.ndarray) -> None:
    left = [traces.read(degrade.parse(f"blur:{sigma}").apply(lossless)).bandwidth for sigma in (1, 2, 4)]
    before = traces.read(lossless).bandwidth
    assert before is not None and before > 0.9 and before > left[0] > left[1] > left[2] > 0


def test_noise_is_measured() -> None:
    flat = np.full((200, 300, 3), 128.0)
    noisy = flat + np.random.default_rng(0).normal(0, 6, (200, 300, 1))
    assert traces.read(np.rint(noisy).astype(np.uint8)).noise == pytest.approx(6, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 80), st.integers(1, 80)).flatmap(lambda size: arrays.arrays(np.uint8, (*size, 3))))
def test_any_picture_has_an_answer(pixels: np.ndarray) -> None:
    found = traces.read(pixels)
    small = min(pixels.shape[:2]) < 8
    assert (found.bandwidth is None) == small and (found.noise is None) == small
    assert small or 0 < found.bandwidth <= 1
    assert set(found.to_json()) == {"jpeg_quality", "jpeg_tables", "jpeg_grid", "bandwidth", "noise"}
