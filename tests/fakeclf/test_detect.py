"""Detection: masks of files, folders and globs, records, errors that do not stop the run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakeclf import bundle, detect, images
from fakeclf.errors import FakeclfError


@pytest.fixture
def bright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``saved_models/localizer`` takes what is bright for inpainted; the test runs beside it."""
    import keras

    from segmentation.models.frame import localizer, picture_input

    monkeypatch.chdir(tmp_path)
    pictures, x = picture_input()
    convolution = keras.layers.Conv2D(1, 1)
    network = localizer(pictures, convolution(x), "bright")
    convolution.set_weights([np.full((1, 1, 3, 1), 20 / 3), np.array([-10.0])])
    card = bundle.Card("localizer", "localizer", "test", "segmentation.models.frame", threshold=0.7)
    return bundle.save(network, card, tmp_path / "saved_models" / "localizer", float16=False)


def expected(pixels: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(10 - 20 * pixels.mean(-1) / 255))


def put(path: Path, seed: int = 0, size: tuple[int, int] = (30, 40)) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    pixels[5:15, 10:20] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    images.save(path, pixels)
    return pixels


def run(*inputs: str | Path, **options: object) -> list[detect.Detection]:
    number, records = detect.detect_all(inputs, **options)
    found = list(records)
    assert len(found) == number
    return found


def test_one_file(bright: Path, tmp_path: Path) -> None:
    pixels = put(tmp_path / "a.png")
    found = detect.detect("a.png")
    np.testing.assert_allclose(found.mask, expected(pixels), atol=1e-4)
    np.testing.assert_array_equal(found.binary, found.mask >= 0.7)
    assert found.area == pytest.approx(found.binary.mean()) and found.max == pytest.approx(found.mask.max())
    assert found.score == pytest.approx(np.sort(found.mask.ravel())[-12:].mean(), abs=1e-5)
    assert found.score_from == "mean of the top 1 %"
    assert (found.path, found.size, found.threshold, found.tiles) == ("a.png", (40, 30), 0.7, 1)
    assert found.sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert found.model == "localizer" and found.model_sha256 == bundle.sha256(bright / "model.keras")
    assert found.mask_path is None and not (tmp_path / "detected").exists()


def test_an_array_and_an_open_localizer(bright: Path, tmp_path: Path) -> None:
    pixels = put(tmp_path / "a.png")
    localizer = detect.open_localizer()
    found = detect.detect(pixels, models=localizer, threshold=0.2, out="out")
    assert found.path is None and found.threshold == 0.2 and found.area == pytest.approx((found.mask >= 0.2).mean())
    np.testing.assert_array_equal(images.read("out/picture.binary.png")[..., 0], found.binary * 255)


def test_the_networks_own_score_is_taken(bright: Path, tmp_path: Path) -> None:
    import keras

    from segmentation.localize import Localizer
    from segmentation.models.frame import localizer, picture_input

    pictures, x = picture_input()
    logits = keras.layers.Conv2D(1, 1)(x)
    score = keras.layers.Activation("sigmoid")(keras.layers.GlobalAveragePooling2D()(logits))
    localizer = Localizer(localizer(pictures, logits, "scored", score=score))
    found = detect.detect(put(tmp_path / "a.png"), models=localizer)
    assert found.score_from == "head" and 0 < found.score < 1
    assert found.model == "scored" and found.model_sha256 == ""


def test_what_is_written(bright: Path, tmp_path: Path) -> None:
    pixels = put(tmp_path / "photos" / "deep" / "a.png")
    (found,) = run("photos")
    stem = "detected/photos/deep/a.png"
    paths = [f"{stem}.mask.png", f"{stem}.binary.png", f"{stem}.overlay.png"]
    assert [found.mask_path, found.binary_path, found.overlay_path] == paths
    with Image.open(paths[0]) as mask, Image.open(paths[1]) as binary, Image.open(paths[2]) as overlay:
        assert mask.mode == binary.mode == "L" and mask.size == (40, 30)
        np.testing.assert_allclose(np.asarray(mask), 255 * expected(pixels), atol=0.51)
        np.testing.assert_array_equal(np.asarray(binary), np.where(expected(pixels) >= 0.7, 255, 0))
        assert overlay.mode == "RGB" and (np.asarray(overlay) != pixels).any()
    assert found.mask is None
    (line,) = Path("detected/detections.jsonl").read_text().splitlines()
    assert json.loads(line) == found.to_json()
    assert json.loads(line)["size"] == [40, 30] and json.loads(line)["error"] is None


def test_masks_are_upright(bright: Path, tmp_path: Path) -> None:
    pixels = put(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = detect.detect("turned.png", out="out")
    assert found.size == (30, 40) and found.mask.shape == (40, 30)
    np.testing.assert_allclose(found.mask, expected(np.rot90(pixels, -1)), atol=1e-4)
    assert images.read(found.mask_path).shape == (40, 30, 3)


def test_files_folders_and_globs_each_picture_once(bright: Path, tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/b.jpg", "photos/in/c.png", "other/d.png", "loose.webp", "[e].png"):
        put(tmp_path / name)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    found = run("photos", "photos/a.png", tmp_path / "photos" / "b.jpg", "oth*/*", "loose.webp", "[e].png", "**/c.png")
    assert all(record.error is None for record in found)
    assert [Path(record.path).name for record in found] == ["a.png", "b.jpg", "c.png", "d.png", "loose.webp", "[e].png"]


def test_the_same_name_twice_keeps_both(bright: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("x/a.png", "y/a.png", "y/a.jpg", "z/x/a.png")):
        put(tmp_path / name, seed=number)
    found = run("x/a.png", "y/a.png", "y/a.jpg", "x", "z/x")
    assert len(found) == 4 and len({record.mask_path for record in found}) == 4
    masks = [images.read(record.mask_path).tobytes() for record in found]
    assert len(set(masks)) == 4


def test_output_is_not_fed_back(bright: Path, tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "kept.mask.png")  # of the user's own
    first = run(".")
    inside = run(".", "*.png", "detected/**/*.png")
    elsewhere = run(".", out="detected2")
    for found in (first, inside, elsewhere):
        assert [Path(record.path).name for record in found if not record.error] == ["a.png", "kept.mask.png"]
    # The very folder of the pictures can hold the output, too.
    put(tmp_path / "flat" / "a.png")
    for _ in range(2):
        (record,) = run("flat", out="flat")
        assert record.error is None


def test_a_file_that_fails_does_not_stop_the_run(bright: Path, tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png")
    put(tmp_path / "photos" / "z.png")
    (tmp_path / "photos" / "broken.png").write_bytes((tmp_path / "photos" / "a.png").read_bytes()[:500])
    (tmp_path / "empty").mkdir()
    found = run("photos", "absent.png", "empty", "no*.png")
    assert [record.error is None for record in found] == [True, False, True, False, False, False]
    errors = [record.error for record in found if record.error]
    for error, hint in zip(
        errors, ("broken.png: ", "there is no such file", "no pictures", "no pictures"), strict=True
    ):
        assert hint in error and "\n" not in error
    broken = found[1]
    assert broken.sha256 and broken.mask_path is None and broken.area is None and broken.seconds is not None
    assert len((tmp_path / "detected" / "detections.jsonl").read_text().splitlines()) == 6
    with pytest.raises(FakeclfError, match="the mask was not kept"):
        _ = found[0].binary
    with pytest.raises(FakeclfError, match="broken.png"):
        detect.detect("photos/broken.png")


def test_a_picture_whose_output_cannot_be_written_fails_alone(bright: Path, tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png")
    put(tmp_path / "photos" / "b.png")
    (tmp_path / "detected" / "photos" / "a.png.mask.png").mkdir(parents=True)
    first, second = run("photos")
    assert first.error.startswith("cannot write") and first.mask_path is None and second.error is None


def test_mistakes_are_named(bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.png")
    (tmp_path / "a-file").write_text("")
    with pytest.raises(FakeclfError, match="cannot write to a-file/out"):
        detect.detect_all(["a.png"], out="a-file/out")
    with pytest.raises(FakeclfError, match="did you mean 'localizer'"):
        detect.detect_all(["a.png"], models="localiser")
    with pytest.raises(FakeclfError, match="received 1.5"):
        detect.detect("a.png", threshold=1.5)
    with pytest.raises(FakeclfError, match="not a localizer"):
        detect.detect("a.png", models="small-autoencoder")
    assert not (tmp_path / "detected").exists()
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path / "nothing")
    bright.rename(bright.with_name("mine"))
    with pytest.raises(FakeclfError, match="no bundle 'localizer', which is the default; name one with --models: mine"):
        detect.detect("a.png")
    (bright.with_name("mine") / "card.json").unlink()
    with pytest.raises(FakeclfError, match="fakeclf train"):
        detect.detect("a.png")
