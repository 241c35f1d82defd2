"""Drawn masks: area, edges, repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries import masks
from segmentation.forgeries.masks import Blobs, FreeForm, NoMask, Rectangles, Strokes, area_of, mask_source, soften

KINDS = ("strokes", "rectangles", "blobs", "mix", "free-form")


def draw(kind: str, seed: int, size: tuple[int, int] = (48, 64), area: tuple[float, float] = (0.02, 0.4)) -> np.ndarray:
    return mask_source(kind, area).draw(np.zeros((*size, 3), np.uint8), "photo", np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("area", [(0.02, 0.4), (0.005, 0.02), (0.3, 0.35), (0.6, 0.9)])
def test_the_area_is_inside_the_range(kind: str, area: tuple[float, float]) -> None:
    found = [draw(kind, seed, area=area) for seed in range(10)]
    for mask in found:
        assert mask.dtype == np.uint8 and mask.shape == (48, 64)
        assert area[0] <= np.mean(mask >= 128) <= area[1]
        assert mask.max() == 255
    assert len({mask.tobytes() for mask in found}) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_areas_fill_the_range(kind: str) -> None:
    found = np.array([area_of(draw(kind, seed)) for seed in range(60)])
    assert found.min() < 0.1 and found.max() > 0.3 and 0.15 < found.mean() < 0.28


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_alone(kind: str) -> None:
    assert np.array_equal(draw(kind, 3), draw(kind, 3))
    assert not np.array_equal(draw(kind, 3), draw(kind, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 32), (33, 257), (400, 40)])
def test_pictures_of_any_shape_get_a_mask(kind: str, size: tuple[int, int]) -> None:
    assert draw(kind, 0, size).shape == size


def test_only_rectangles_have_grey_edges() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    for source in (Strokes(), Blobs(), FreeForm()):
        assert set(np.unique(source.draw(picture, "", np.random.default_rng(0)))) == {0, 255}
    assert len(np.unique(Rectangles().draw(picture, "", np.random.default_rng(0)))) > 20
    assert set(np.unique(Rectangles(edge=0).draw(picture, "", np.random.default_rng(0)))) == {0, 255}


def test_a_wider_brush_makes_wider_strokes() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)

    def share_of_edge(width: float) -> float:
        mask = Strokes((0.1, 0.3), width=(width, width)).draw(picture, "", np.random.default_rng(0)) > 0
        return float(np.mean(mask[:, 1:] != mask[:, :-1]) / mask.mean())

    assert share_of_edge(0.03) > 2 * share_of_edge(0.12)


def test_fewer_cells_make_fewer_blobs() -> None:
    from skimage.measure import label

    picture = np.zeros((128, 128, 3), np.uint8)

    def blobs(cells: int) -> float:
        source = Blobs((0.2, 0.3), cells=(cells, cells))
        return np.mean([label(source.draw(picture, "", np.random.default_rng(seed))).max() for seed in range(8)])

    assert blobs(8) > 2 * blobs(2)


def test_free_form_lies_between_rectangles_and_strokes() -> None:
    """Rectangles alone, or strokes alone, would lie on one side of it."""
    from skimage.measure import perimeter

    picture = np.zeros((128, 128, 3), np.uint8)

    def edge(source: masks.MaskSource) -> float:
        drawn = (source.draw(picture, "", np.random.default_rng(seed)) >= 128 for seed in range(20))
        return float(np.mean([perimeter(mask) / mask.sum() for mask in drawn]))

    found = edge(FreeForm((0.5, 0.6)))
    assert edge(Rectangles((0.5, 0.6), count=1)) < found < edge(Strokes((0.5, 0.6)))


def test_blurred_edges_lie_where_the_hard_edge_was() -> None:
    hard = np.zeros((96, 96), np.uint8)
    hard[20:70, 30:80] = 255
    soft = soften(hard)
    row = soft[45].astype(float)
    # A step blurred by a Gaussian of 3 pixels falls from 84 % to 16 % within 6 pixels.
    assert 5 <= np.count_nonzero((row[20:40] > 0.16 * 255) & (row[20:40] < 0.84 * 255)) <= 7
    assert abs(area_of(soft) - area_of(hard)) < 0.02 and soft[45, 55] == 255 and soft[45, 10] == 0


def test_thin_shapes_keep_something_certain() -> None:
    thin = np.zeros((64, 64), np.uint8)
    thin[30:34, 10:50] = 255
    assert (soften(thin) == 255).sum() >= 0.1 * (thin == 255).sum()


def test_a_mixture_draws_all_its_kinds_and_says_which() -> None:
    mix = mask_source("mix")
    picked = {mix.pick(np.random.default_rng(seed)).kind for seed in range(30)}
    assert mix.kind == "mix" and picked == {"strokes", "rectangles", "blobs"}
    two = mask_source(["strokes", "blobs"])
    assert {two.pick(np.random.default_rng(seed)).kind for seed in range(30)} == {"strokes", "blobs"}
    assert mask_source(["strokes"]).kind == "strokes" and not mix.in_process


def test_an_area_that_never_comes_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_ATTEMPTS", 3)
    with pytest.raises(NoMask, match=r"photo: no strokes of 1e-06 to 1\.1e-06 of 64 x 48 pixels"):
        draw("strokes", 0, area=(1e-6, 1.1e-6))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stroke", "did you mean 'strokes'"),
        ("shapes", "shapes:FOLDER"),
        ("coco:", "coco:FILE"),
        ("strokes:3", "did you mean 'strokes'"),
        ([], "no masks are named"),
    ],
)
def test_other_names_are_refused(text: str | list[str], says: str) -> None:
    with pytest.raises(FakeclfError, match=says):
        mask_source(text)


@pytest.mark.parametrize("area", [(0.0, 0.4), (0.4, 0.2), (0.2, 1.0), (float("nan"), 0.4)])
def test_a_range_that_is_none_is_refused(area: tuple[float, float]) -> None:
    with pytest.raises(FakeclfError, match="area must be"):
        mask_source("mix", area)
