"""Holes filled with pixels of the same picture."""

from __future__ import annotations

import numpy as np
import pytest

from segmentation.forgeries.patch import CopyMove, PatchFill


def hole(shape: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def addressed(height: int, width: int) -> np.ndarray:
    """A picture each of whose pixels holds its own address in red and green; blue has something to look at."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([down, right, 100 + 80 * np.sin(down / 3) * np.sin(right / 4)], axis=-1).astype(np.uint8)


MASKS = {
    "box": hole((72, 90), slice(20, 50), slice(30, 66)),
    "border": hole((72, 90), slice(50, 72), slice(0, 30)),
    "strokes": hole((72, 90), slice(10, 14), slice(5, 85)) | hole((72, 90), slice(5, 70), slice(40, 45)),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(
    "source", [PatchFill(), PatchFill(comparisons=20_000), CopyMove()], ids=["patch", "hasty", "copy"]
)
def test_every_pixel_is_a_copy_of_a_known_one_and_most_move_with_their_neighbours(
    source: PatchFill | CopyMove, mask: np.ndarray
) -> None:
    picture = addressed(*mask.shape)
    filled = source.fill(picture, mask, np.random.default_rng(0))
    rows, columns = np.nonzero(mask)
    from_row, from_column = filled[mask][:, 0].astype(int), filled[mask][:, 1].astype(int)
    np.testing.assert_array_equal(filled[mask], picture[from_row, from_column], err_msg="a colour was mixed")
    assert not mask[from_row, from_column].any(), "copied out of the hole"
    shift = np.full((*mask.shape, 2), 999)
    shift[rows, columns] = np.stack([from_row - rows, from_column - columns], axis=1)
    both = mask[:, 1:] & mask[:, :-1]
    together = (shift[:, 1:] == shift[:, :-1]).all(axis=-1)[both].mean()
    assert together > 0.5, f"only {together:.0%} of neighbours come from neighbours"


def test_patch_continues_a_texture() -> None:
    down, right = np.mgrid[0:96, 0:120]
    stripes = np.where((down + 2 * right) % 12 < 5, 200, 60)
    picture = np.repeat(stripes[..., None], 3, axis=-1).astype(np.uint8)
    mask = hole((96, 120), slice(30, 64), slice(40, 80))
    filled = PatchFill().fill(picture, mask, np.random.default_rng(0))
    assert (filled == picture)[mask].mean() > 0.9
    # Guessing would be right in about half of the pixels.
    assert (np.random.default_rng(0).permutation(picture[mask]) == picture[mask]).mean() < 0.7


def test_patch_keeps_to_its_number_of_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    from segmentation.forgeries import patch

    spent: list[int] = []
    real = patch._Field.searched

    def counted(field: patch._Field, *arguments: object) -> np.ndarray:
        spent.append(field.cost)
        return real(field, *arguments)

    monkeypatch.setattr(patch._Field, "searched", counted)
    mask = hole((200, 240), slice(20, 180), slice(30, 200))
    picture = np.random.default_rng(0).integers(0, 256, (200, 240, 3)).astype(np.uint8)
    for allowed in (1_000_000, 100_000):
        spent.clear()
        PatchFill(comparisons=allowed).fill(picture, mask, np.random.default_rng(0))
        assert 0 < sum(spent) <= allowed


@pytest.mark.parametrize("source", [PatchFill(), CopyMove()], ids=["patch", "copy"])
@pytest.mark.parametrize("known", [(slice(7, 9), slice(4, 6)), (slice(0, 20), slice(0, 3)), (slice(3, 4), slice(5, 6))])
def test_what_little_is_known_is_copied(source: PatchFill | CopyMove, known: tuple[slice, slice]) -> None:
    picture = addressed(20, 20)
    mask = ~hole((20, 20), *known)
    filled = source.fill(picture, mask, np.random.default_rng(0))
    assert {tuple(pixel) for pixel in filled[mask]} <= {tuple(pixel) for pixel in picture[~mask]}


def test_copy_moves_one_region_that_continues_the_surroundings() -> None:
    right = np.arange(90) % 6
    picture = np.tile((right * 40)[None, :, None], (80, 1, 3)).astype(np.uint8)
    mask = hole((80, 90), slice(25, 50), slice(20, 50))
    filled = CopyMove().fill(picture, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(filled, picture)


def test_copy_differs_from_draw_to_draw() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    mask = hole((60, 60), slice(20, 35), slice(20, 35))
    one, other = (CopyMove().fill(picture, mask, np.random.default_rng(seed)) for seed in (0, 1))
    assert (one != other).any()
