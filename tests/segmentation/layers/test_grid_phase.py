from __future__ import annotations

import numpy as np

from fakeclf import images
from segmentation.layers.grid_phase import GridPhase

SIDE = 128


def smooth(seed: int = 0) -> np.ndarray:
    """Soft shading with a little noise, uint8."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : SIDE + 16, 0 : SIDE + 16] / (SIDE + 16)
    shading = 128 + 60 * np.sin(3 * rows + random.uniform(0, 3)) * np.cos(4 * columns + random.uniform(0, 3))
    return np.clip(shading[..., None] + random.normal(0, 3, (SIDE + 16, SIDE + 16, 3)), 0, 255).astype(np.uint8)


def blocks(shift: int = 0, seed: int = 0) -> np.ndarray:
    """The same after JPEG, cut so that the grid begins at ``shift``; (1, side, side, 3) in [0, 1]."""
    made = images.read(images.encode_jpeg(smooth(seed), 60))
    return made[8 - shift :, 8 - shift :][:SIDE, :SIDE].astype("float32")[None] / 255


def found(picture: np.ndarray) -> np.ndarray:
    return np.asarray(GridPhase()(picture))[0]


def test_it_gives_forty_numbers_a_block() -> None:
    assert found(blocks()).shape == (SIDE // 8, SIDE // 8, 40)
    assert GridPhase().compute_output_shape((None, None, 64, 3)) == (None, None, 8, 40)


def test_a_grid_is_stronger_than_none() -> None:
    plain = smooth()[:SIDE, :SIDE].astype("float32")[None] / 255
    assert found(blocks())[..., -4:].mean() > 3 * found(plain)[..., -4:].mean()


def test_strength_does_not_depend_on_where_the_grid_begins() -> None:
    one, other = found(blocks())[..., -4:].mean(), found(blocks(3))[..., -4:].mean()
    assert abs(one - other) < 0.1 * one


def test_a_pasted_region_with_a_shifted_grid_disagrees() -> None:
    agreement = slice(4, 8)  # of the horizontal differences with the picture's, small window
    alone = found(blocks())[2:-2, 2:-2, agreement].mean(-1)
    mixed = blocks()
    mixed[:, :, 96:] = blocks(4, seed=1)[:, :, 96:]
    pasted = found(mixed)[2:-2, 13:-1, agreement].mean(-1)
    assert alone.mean() > 0 and pasted.mean() < 0.5 * alone.mean()
