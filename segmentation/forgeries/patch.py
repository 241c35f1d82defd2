"""Holes filled with pixels of the same picture: patch-based completion, and copy-move.

References: Criminisi, Perez & Toyama 2004, "Region filling and object removal by exemplar-based image inpainting",
doi:10.1109/TIP.2004.833105; Wexler, Shechtman & Irani 2007, "Space-time completion of video",
doi:10.1109/TPAMI.2007.60; Barnes et al. 2009, "PatchMatch", doi:10.1145/1531326.1531330.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from segmentation.forgeries.inpainters import HoleSource

_RADII = ((4, 2), (2, 1), (1, 1), (0, 1))
"""Radius of a patch and distance of its samples, the first that the known part of a picture has room for."""
_LEAST_SOURCES = 64
_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))
_DRAWN = 4
_TRIES = 1 + 2 * len(_STEPS) + _DRAWN
"""Comparisons of one pixel in one search: the place held, two strides of neighbours, drawn places."""


class PatchFill(HoleSource):
    """Every pixel of the hole belongs to a patch that stands elsewhere in the picture.

    From coarse to fine, each hole pixel holds the place of the known patch that looks most like its surroundings.
    Places are found as in PatchMatch (neighbours pass them on, others are tried at random), and the hole is painted
    with the mean of the overlapping patches before the next round. At full scale the best of the overlapping patches
    is copied as it is, so no pixel is mixed. A fixed number of comparisons bounds the time: of large holes the finest
    scales only enlarge the places found before, which still are copies.
    """

    name = "patch"

    def __init__(self, comparisons: int = 2_500_000) -> None:
        self.settings: dict[str, Any] = {"comparisons": comparisons, "patch": 2 * _RADII[0][0] + 1}

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The picture with its hole filled by copies."""
        radius, step = _room_for(mask)
        budget = self.settings["comparisons"]
        scales = _pyramid(picture, mask, radius, budget)
        field = _Field.over(*scales.pop(), radius, step)
        places = field.drawn(random)
        field.paint_from_around()
        # The coarsest scale is cheap and decides what goes where.
        rounds, far = max(1, min(6, budget // 2 // field.cost)), True
        while True:
            for _ in range(rounds):
                places = field.searched(places, random, far)
                field.paint(places)
            budget -= rounds * field.cost
            if not scales:
                return field.copied(places, picture)
            smaller, field = field, _Field.over(*scales.pop(), radius, step)
            places = field.enlarged(places, smaller)
            most, share = (4, budget // 2) if scales else (2, budget)
            rounds, far = max(0, min(most, share // field.cost)), False
            if rounds:
                field.paint(places)


class CopyMove(HoleSource):
    """Every part of the hole is covered with one other region of the picture, moved there as it is.

    Of drawn shifts the one is taken that covers most of what is still open with known pixels, and among equals the one
    that continues the surroundings best. What no shift covers takes the nearest known pixel.
    """

    name = "copy"

    def __init__(self, tries: int = 64, rounds: int = 12) -> None:
        self.settings: dict[str, Any] = {"tries": tries, "rounds": rounds}

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The picture with its hole filled by copies."""
        frame = picture.copy()
        known = ~mask
        parts, count = ndimage.label(mask)
        # Of a mask in very many parts only the largest get a region of their own.
        large = np.argsort(-np.bincount(parts.ravel(), minlength=count + 1)[1:])[: self.settings["rounds"]] + 1
        for part in large:
            self._cover(frame, picture, known, parts == part, random)
        self._cover(frame, picture, known, ~np.isin(parts, [0, *large]), random)
        return frame

    def _cover(
        self, frame: np.ndarray, picture: np.ndarray, known: np.ndarray, part: np.ndarray, random: np.random.Generator
    ) -> None:
        rows, columns = np.nonzero(part)
        if not rows.size:
            return
        around = np.nonzero(ndimage.binary_dilation(part, iterations=2) & known)
        ring = _thinned(around[0], around[1])
        for _ in range(self.settings["rounds"]):
            some = _thinned(rows, columns)
            shifts = _shifts(known, *some, self.settings["tries"], random)
            covered = [np.count_nonzero(_known_at(known, some[0] + down, some[1] + right)) for down, right in shifts]
            best = [shift for shift, cover in zip(shifts, covered, strict=True) if cover == max(covered)]
            down, right = min(best, key=lambda shift: _mismatch(picture, known, ring, shift))
            cover = _known_at(known, rows + down, columns + right)
            frame[rows[cover], columns[cover]] = picture[rows[cover] + down, columns[cover] + right]
            rows, columns = rows[~cover], columns[~cover]
            if not rows.size:
                return
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        frame[rows, columns] = picture[tuple(nearest[:, rows, columns])]


@dataclass
class _Field:
    """One scale of a picture, and the patches of its hole pixels.

    Attributes:
        values: float32 (h, w, 3), the hole painted with what is known of it so far.
        number: int32 (h, w) with a margin: running number of a hole pixel, -1 elsewhere.
        rows, columns: of the hole pixels, (n,).
        valid: bool (h, w): a whole known patch lies around it.
        margin: pixels around ``number`` and ``trust``: the radius of a patch, at least 1.
        samples: (s, 2), the places of a patch that are compared.
        trust: float32 (h, w) with a margin: 1 where known, falling towards the middle of the hole.
        distance: (n,), of each hole pixel's patch to the one it holds; infinite before the first search.
    """

    values: np.ndarray
    number: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    valid: np.ndarray
    margin: int
    samples: np.ndarray
    trust: np.ndarray
    distance: np.ndarray

    @classmethod
    def over(cls, values: np.ndarray, hole: np.ndarray, radius: int, step: int) -> _Field:
        rows, columns = np.nonzero(hole)
        number = np.full(hole.shape, -1, np.int32)
        number[rows, columns] = np.arange(rows.size, dtype=np.int32)
        margin = max(radius, 1)
        axis = np.arange(-radius, radius + 1, step)
        trust = np.maximum(0.8 ** ndimage.distance_transform_edt(hole), 0.05).astype(np.float32)
        return cls(
            values=values.copy(),
            number=np.pad(number, margin, constant_values=-1),
            rows=rows,
            columns=columns,
            valid=_sources(hole, radius),
            margin=margin,
            samples=np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2),
            trust=np.pad(trust, margin, mode="edge"),
            distance=np.full(rows.size, np.inf, np.float32),
        )

    @property
    def cost(self) -> int:
        """Comparisons of one search."""
        return self.rows.size * _TRIES

    def drawn(self, random: np.random.Generator) -> np.ndarray:
        """A place for each hole pixel, (n, 2) rows and columns, by chance."""
        places = np.argwhere(self.valid)
        return places[random.integers(0, len(places), self.rows.size)]

    def enlarged(self, places: np.ndarray, smaller: _Field) -> np.ndarray:
        """Places found at half this scale, at this one."""
        parent = smaller.number[self.rows // 2 + smaller.margin, self.columns // 2 + smaller.margin]
        return 2 * places[parent] + np.stack([self.rows % 2, self.columns % 2], axis=1)

    def paint_from_around(self) -> None:
        """Paint the hole with the nearest known pixels, softened."""
        hole = self.number[self._inner][..., None] >= 0
        nearest = ndimage.distance_transform_edt(hole[..., 0], return_distances=False, return_indices=True)
        soft = ndimage.gaussian_filter(self.values[tuple(nearest)], (2, 2, 0), mode="nearest")
        self.values = np.where(hole, soft, self.values)

    def paint(self, places: np.ndarray) -> None:
        """Paint each hole pixel with the mean of the patches that lie over it, the good ones counting more."""
        source = self.values
        scale = np.median(self.distance[np.isfinite(self.distance)]) if np.isfinite(self.distance).any() else 1.0
        weight = np.where(np.isfinite(self.distance), np.exp(-self.distance / (scale + 1e-3)), 1.0) + 1e-4
        total = np.zeros((self.rows.size, 3), np.float32)
        weights = np.zeros(self.rows.size, np.float32)
        for down, right in self.samples:
            owner = self.number[self.rows - down + self.margin, self.columns - right + self.margin]
            over = np.flatnonzero(owner >= 0)
            owner = owner[over]
            place = places[owner]
            total[over] += weight[owner, None] * source[place[:, 0] + down, place[:, 1] + right]
            weights[over] += weight[owner]
        painted = source.copy()
        painted[self.rows, self.columns] = total / weights[:, None]
        self.values = painted

    def searched(self, places: np.ndarray, random: np.random.Generator, far: bool) -> np.ndarray:
        """Better places: those of the neighbours moved along, and drawn ones.

        Args:
            far: draw from the whole picture first; else only near the place held.
        """
        padded = np.pad(self.values, ((self.margin,) * 2, (self.margin,) * 2, (0, 0)), mode="edge")
        width = padded.shape[1]
        flat = padded.reshape(-1, 3)
        inside = (self.samples[:, 0] + self.margin) * width + self.samples[:, 1] + self.margin
        own = (self.rows * width + self.columns)[:, None] + inside
        target, trust = flat[own], self.trust.reshape(-1)[own]
        trust /= trust.sum(axis=1, keepdims=True)

        def compare(which: np.ndarray, tried: np.ndarray) -> np.ndarray:
            found = flat[(tried[:, 0] * width + tried[:, 1])[:, None] + inside]
            found -= target[which]
            return np.einsum("nsc,nsc,ns->n", found, found, trust[which], optimize=False)

        places = places.copy()
        everyone = np.arange(self.rows.size)
        self.distance = compare(everyone, places)

        def improve(which: np.ndarray, tried: np.ndarray) -> None:
            height, breadth = self.valid.shape
            in_picture = (tried >= 0).all(axis=1) & (tried[:, 0] < height) & (tried[:, 1] < breadth)
            which, tried = which[in_picture], tried[in_picture]
            new = self.valid[tried[:, 0], tried[:, 1]] & (tried != places[which]).any(axis=1)
            which, tried = which[new], tried[new]
            distance = compare(which, tried)
            better = distance < self.distance[which]
            places[which[better]], self.distance[which[better]] = tried[better], distance[better]

        for stride in (min(4, self.margin), 1):
            for down, right in _STEPS:
                down, right = stride * down, stride * right
                owner = self.number[self.rows + down + self.margin, self.columns + right + self.margin]
                which = np.flatnonzero(owner >= 0)
                improve(which, places[owner[which]] - np.array([down, right]))
        reach = max(self.valid.shape) if far else 16
        for _ in range(_DRAWN):
            improve(everyone, places + random.integers(-reach, reach + 1, places.shape))
            reach = max(reach // 3, 1)
        return places

    def copied(self, places: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """``picture`` with each hole pixel from the best of the patches that lie over it."""
        best = np.full(self.rows.size, np.inf, np.float32)
        come_from = places.copy()
        for down, right in self.samples[np.argsort(np.abs(self.samples).sum(axis=1), kind="stable")]:
            owner = self.number[self.rows - down + self.margin, self.columns - right + self.margin]
            over = np.flatnonzero(owner >= 0)
            owner = owner[over]
            better = self.distance[owner] < best[over]
            over, owner = over[better], owner[better]
            best[over] = self.distance[owner]
            come_from[over] = places[owner] + np.array([down, right])
        frame = picture.copy()
        frame[self.rows, self.columns] = picture[come_from[:, 0], come_from[:, 1]]
        return frame

    @property
    def _inner(self) -> tuple[slice, slice]:
        height, width = self.valid.shape
        return slice(self.margin, self.margin + height), slice(self.margin, self.margin + width)


def _sources(hole: np.ndarray, radius: int) -> np.ndarray:
    """Where whole known patches lie, bool (h, w)."""
    return ndimage.minimum_filter(~hole, size=2 * radius + 1, mode="constant", cval=False)


def _room_for(hole: np.ndarray) -> tuple[int, int]:
    """The first of ``_RADII`` of which the picture has enough known patches, or any at all."""
    for least in (_LEAST_SOURCES, 1):
        for radius, step in _RADII:
            if np.count_nonzero(_sources(hole, radius)) >= least:
                return radius, step
    return _RADII[-1]


def _pyramid(picture: np.ndarray, hole: np.ndarray, radius: int, budget: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(values, hole) from full scale downwards, halved while the hole is deep or large and known patches are left."""
    scales = [(picture.astype(np.float32), hole)]
    while radius:
        values, hole = scales[-1]
        if np.count_nonzero(hole) * _TRIES < budget // 4 and ndimage.distance_transform_edt(hole).max() <= radius:
            break
        edges = ((0, hole.shape[0] % 2), (0, hole.shape[1] % 2))
        values, hole = np.pad(values, (*edges, (0, 0)), mode="edge"), np.pad(hole, edges, mode="edge")
        quarters = [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]
        # A pixel is known only if all four below it are.
        hole = np.logical_or.reduce([hole[quarter] for quarter in quarters])
        values = np.mean([values[quarter] for quarter in quarters], axis=0, dtype=np.float32)
        if np.count_nonzero(_sources(hole, radius)) < _LEAST_SOURCES:
            break
        scales.append((values, hole))
    return scales


def _shifts(
    known: np.ndarray, rows: np.ndarray, columns: np.ndarray, tries: int, random: np.random.Generator
) -> list[tuple[int, int]]:
    """Drawn shifts: half keep the box around the pixels in the picture, half bring some pixel to a known one."""
    half = tries // 2
    down = random.integers(-rows.min(), known.shape[0] - rows.max(), half)
    right = random.integers(-columns.min(), known.shape[1] - columns.max(), half)
    pixel = random.integers(0, rows.size, half)
    places = np.flatnonzero(known)
    place = places[random.integers(0, places.size, half)]
    down = np.append(down, place // known.shape[1] - rows[pixel])
    right = np.append(right, place % known.shape[1] - columns[pixel])
    return list(zip(down.tolist(), right.tolist(), strict=True))


def _thinned(rows: np.ndarray, columns: np.ndarray, most: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """An even choice of about ``most`` of the places."""
    stride = max(1, rows.size // most)
    return rows[::stride], columns[::stride]


def _known_at(known: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whether each place is in the picture and known."""
    inside = (rows >= 0) & (columns >= 0) & (rows < known.shape[0]) & (columns < known.shape[1])
    found = np.zeros(rows.shape, bool)
    found[inside] = known[rows[inside], columns[inside]]
    return found


def _mismatch(picture: np.ndarray, known: np.ndarray, ring: tuple[np.ndarray, ...], shift: tuple[int, int]) -> float:
    """Mean difference between the pixels around a part and those around where it would come from."""
    rows, columns = ring[0] + shift[0], ring[1] + shift[1]
    there = _known_at(known, rows, columns)
    if not there.any():
        return np.inf
    around = picture[ring[0][there], ring[1][there]].astype(np.int16)
    return float(np.abs(around - picture[rows[there], columns[there]]).mean())
