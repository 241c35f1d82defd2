"""Round trips through autoencoders, and bundles of inpainters."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from fakeclf import bundle
from fakeclf.errors import FakeclfError
from fakeclf.models import small_autoencoder
from segmentation.forgeries import round_trip
from segmentation.forgeries.inpainters import open_source


def picture(height: int, width: int) -> np.ndarray:
    down, right = np.mgrid[0:height, 0:width]
    waves = [120 + 60 * np.sin(down / a) * np.cos(right / b) for a, b in ((9, 7), (5, 11), (13, 6))]
    return (np.stack(waves, axis=-1) + np.random.default_rng(0).normal(0, 5, (height, width, 3))).astype(np.uint8)


def saved(folder: Path, kind: str, model: keras.Model, module: str = "fakeclf.models.layers") -> str:
    return str(bundle.save(model, bundle.Card(folder.name, kind, folder.name, module), folder))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    model = small_autoencoder.build(width=8)
    return saved(tmp_path_factory.mktemp("bundles") / "tiny", "autoencoder", model, "fakeclf.models.small_autoencoder")


@pytest.fixture
def inpainter(tmp_path: Path) -> str:
    """Fills holes with grey of 90, and darkens what is known by a tenth."""
    pictures, holes = keras.Input((None, None, 3), name="pictures"), keras.Input((None, None, 1), name="holes")
    kept = keras.layers.Multiply()([keras.layers.Rescaling(0.9)(pictures), keras.layers.Rescaling(-1.0, 1.0)(holes)])
    whole = keras.layers.Add()([kept, keras.layers.Rescaling(90.0)(holes)])
    return saved(tmp_path / "grey", "inpainter", keras.Model({"pictures": pictures, "holes": holes}, whole))


def test_a_round_trip_is_what_the_autoencoder_gives(autoencoder: str) -> None:
    source = open_source(autoencoder)
    assert (source.name, source.whole_frame, source.in_process) == ("tiny", True, True)
    assert source.settings["autoencoder_sha256"] == bundle.sha256(Path(autoencoder) / "model.keras")
    seen = picture(45, 50)
    expected = bundle.load(autoencoder).predict_on_batch(seen[None].astype(np.float32))[0]
    np.testing.assert_array_equal(
        source.fill(seen, np.zeros((45, 50), bool), np.random.default_rng(0)), np.rint(expected).astype(np.uint8)
    )


def test_a_large_picture_passes_in_tiles_that_leave_no_trace(autoencoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = picture(100, 330)
    nothing = np.zeros((100, 330), bool)
    source = open_source(autoencoder)
    whole = source.fill(seen, nothing, np.random.default_rng(0)).astype(int)
    passed: list[tuple[int, ...]] = []
    real = source.run
    monkeypatch.setattr(source, "run", lambda batch: (passed.append(batch.shape), real(batch))[1])
    monkeypatch.setattr(round_trip, "TILE", 192)
    tiled = source.fill(seen, nothing, np.random.default_rng(0)).astype(int)
    assert len(passed) > 3 and max(shape[2] for shape in passed) <= 192
    # This network sees less far than the margin, so only rounding may differ.
    assert np.abs(tiled - whole).max() <= 1


def test_without_its_weights_an_autoencoder_of_the_taesd_family_says_where_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKECLF_TAEF2", raising=False)
    with pytest.raises(FakeclfError, match="put taef2.npz there"):
        open_source("taef2", data_dir=tmp_path)


def test_an_inpainter_fills_the_hole_and_its_frame_holds_what_it_made_of_the_rest(inpainter: str) -> None:
    source = open_source(inpainter)
    assert (source.name, source.whole_frame, source.in_process) == ("grey", False, True)
    seen, mask = picture(31, 42), np.zeros((31, 42), bool)
    mask[5:20, 10:30] = True
    filled = source.fill(seen, mask, np.random.default_rng(0))
    assert (filled[mask] == 90).all()
    np.testing.assert_array_equal(filled[~mask], seen[~mask])
    frame = source.frame(seen, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(frame[~mask], np.rint(np.float32(0.9) * seen[~mask]).astype(np.uint8))


def test_an_inpainter_sees_a_window_of_a_large_picture(inpainter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_trip, "TILE", 64)
    source = open_source(inpainter)
    seen, mask = picture(70, 150), np.zeros((70, 150), bool)
    mask[60:70, 100:130] = True
    frame = source.frame(seen, mask, np.random.default_rng(0))
    assert (frame[mask] == 90).all()
    np.testing.assert_array_equal(frame[:, :80], seen[:, :80])
    assert (frame[30:, 90:140] != seen[30:, 90:140]).mean() > 0.9


def test_a_bundle_that_only_calls_itself_an_inpainter_is_refused(tmp_path: Path) -> None:
    pictures = keras.Input((None, None, 3))
    name = saved(tmp_path / "other", "inpainter", keras.Model(pictures, keras.layers.Rescaling(1.0)(pictures)))
    with pytest.raises(FakeclfError, match="takes pictures and holes"):
        open_source(name)


def test_the_shipped_inpainter_takes_pictures_of_any_size_one_after_the_other() -> None:
    source = open_source("inpainter")
    for height, width in ((64, 64), (50, 64), (61, 43)):
        mask = np.zeros((height, width), bool)
        mask[20:34, 10:30] = True
        filled = source.fill(picture(height, width), mask, np.random.default_rng(0))
        assert filled.shape == (height, width, 3) and (filled[mask] != picture(height, width)[mask]).any()
