"""One forged pair: cut the photograph, draw the mask, fill, paste, write. Knows nothing of folders full of them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import images
from fakeclf.atomic import replace_file
from fakeclf.data.regenerated import SMALLEST, cut
from fakeclf.errors import FakeclfError
from segmentation.forgeries import histories, names
from segmentation.forgeries.compose import paste
from segmentation.forgeries.inpainters import Source, open_source
from segmentation.forgeries.masks import NoMask, area_of, mask_source


class _NoPair(FakeclfError):
    """There is no pair of this one photograph and number; others may have one."""


@dataclass(frozen=True)
class Plan:
    """All that a process must know to do its part; see ``forge.forge`` for what the fields mean."""

    out: Path
    masks: str | tuple[str, ...]
    area: tuple[float, float]
    size: int | None
    shrink: tuple[float, float] | None
    soften: tuple[float, float] | None
    rework: bool
    variants: tuple[str, ...]
    autoencoder: str | None
    format: str
    seed: int
    data_dir: str | None

    def path(self, part: str, generator: str, identity: str, variant: str) -> Path:
        """Where a picture of a pair is kept."""
        suffix = {"png": ".png", "webp": ".webp"}.get(self.format, ".png" if variant == "mask" else ".jpg")
        return self.out / part / generator / names.file_name(identity, variant, suffix)

    def encoded(self, variant: str, pixels: np.ndarray) -> bytes:
        """A picture of a pair as the bytes of its file; masks are kept without loss."""
        if self.format == "webp":
            return images.encode_webp(pixels, lossless=True)
        if self.format == "png" or variant == "mask":
            return images.encode_png(pixels)
        return images.encode_jpeg(pixels, quality=int(self.format.partition(":")[2]))


@dataclass(frozen=True)
class Photograph:
    """``name`` is its path below the folder of all photographs; ``identity``, without folder, is its alone."""

    path: Path
    name: str
    part: str
    identity: str


@dataclass(frozen=True)
class Task:
    """The pairs of one photograph and one source that are still to be made."""

    photograph: Photograph
    source: str
    generator: str
    numbers: tuple[int, ...]


@dataclass
class Done:
    """What became of a task: a record a pair, for the manifest, and reasons why there are no more of them."""

    photo: str
    generator: str
    records: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Forger:
    """Does tasks, in this process or in one of several.

    Raises:
        FakeclfError: masks or sources cannot be opened, or ``autoencoder`` is none.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.masks = mask_source(plan.masks, plan.area)
        self.sources: dict[str, Source] = {}
        self.autoencoder = None if plan.autoencoder is None else self.source(plan.autoencoder)
        if self.autoencoder is not None and not self.autoencoder.whole_frame:
            raise FakeclfError(
                f"{plan.autoencoder} fills holes; fakefake needs an autoencoder, such as taef2 or small-autoencoder"
            )

    def source(self, text: str) -> Source:
        """The source of that name, opened once."""
        if text not in self.sources:
            self.sources[text] = open_source(text, data_dir=self.plan.data_dir)
        return self.sources[text]

    def in_process(self, text: str) -> bool:
        """Whether pairs of this source can be made in the main process only."""
        networks = self.masks.in_process or (self.autoencoder is not None and self.autoencoder.in_process)
        return networks or self.source(text).in_process

    def do(self, task: Task) -> Done:
        """Make and write pairs; what is wrong with the photograph alone is a reason, not an error.

        Raises:
            FakeclfError: a file cannot be written, as on a full disk, or the source of masks is broken.
        """
        begun, done = time.monotonic(), Done(task.photograph.name, task.generator)
        try:
            original = self._original(task.photograph)
        except FakeclfError as error:
            done.skipped.append(str(error))
            return done
        for number in task.numbers:
            try:
                files, about = self._made(task, number, original)
            except (NoMask, _NoPair) as error:
                done.skipped.append(str(error))
                continue
            done.records.append(self._written(task, number, files, about))
        done.seconds = time.monotonic() - begun
        return done

    def found(self, task: Task, number: int) -> dict[str, Any] | None:
        """The record of a pair whose files are all there; None where one is missing.

        Each file appears whole or not at all, and always with the same bytes, so files are proof enough.
        """
        photo, plan = task.photograph, self.plan
        identity = pair_identity(photo, number)
        paths = {variant: plan.path(photo.part, task.generator, identity, variant) for variant in plan.variants}
        if "mask" not in paths or not all(path.is_file() for path in paths.values()):
            return None
        area = area_of(images.read(paths["mask"])[..., 0])
        files = {variant: hashlib.sha256(path.read_bytes()).hexdigest() for variant, path in paths.items()}
        return self._record(task, number, {"mask": self._drawer(task, number)[0].kind, "area": area}, files)

    def _original(self, photo: Photograph) -> np.ndarray:
        original = images.read(photo.path)
        if min(original.shape[:2]) < SMALLEST:
            raise FakeclfError(f"{photo.path}: smaller than {SMALLEST} pixels")
        if self.plan.shrink is not None:
            original = histories.smaller(original, self._random(photo.name, "shrink").uniform(*self.plan.shrink))
        if self.plan.soften is not None:
            random = self._random(photo.name, "soften")
            original = histories.softer(original, random.uniform(*self.plan.soften), random)
        if self.plan.rework:
            original = histories.reworked(original, self._random(photo.name, "rework"))
        return cut(original, self.plan.size or max(original.shape))

    def _drawer(self, task: Task, number: int) -> tuple[Any, np.random.Generator]:
        random = self._random(task.photograph.name, task.generator, str(number))
        return self.masks.pick(random), random

    def _random(self, *about: str) -> np.random.Generator:
        key = "\0".join((str(self.plan.seed), *about))
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))

    def _made(self, task: Task, number: int, original: np.ndarray) -> tuple[dict[str, bytes], dict[str, Any]]:
        """The files of a pair by variant, and what the manifest says of its mask."""
        drawer, random = self._drawer(task, number)
        mask = drawer.draw(original, task.photograph.name, random)
        pixels = {"original": original, "mask": mask}
        try:
            if {"inpainted", "realfake"} & set(self.plan.variants):
                pixels["inpainted"] = _filled(self.source(task.source), original, mask, random)
                pixels["realfake"] = paste(original, pixels["inpainted"], mask)
            if self.autoencoder is not None:
                pixels["fakefake"] = paste(original, _filled(self.autoencoder, original, mask, random), mask)
            files = {variant: self.plan.encoded(variant, pixels[variant]) for variant in self.plan.variants}
        except FakeclfError as error:
            raise _NoPair(f"{task.photograph.path}: {error}") from error
        return files, {"mask": drawer.kind, "area": area_of(mask)}

    def _written(self, task: Task, number: int, files: dict[str, bytes], about: dict[str, Any]) -> dict[str, Any]:
        photo = task.photograph
        for variant, data in files.items():
            path = self.plan.path(photo.part, task.generator, pair_identity(photo, number), variant)
            with replace_file(path) as beside:
                beside.write_bytes(data)
        hashes = {variant: hashlib.sha256(data).hexdigest() for variant, data in files.items()}
        return self._record(task, number, about, hashes)

    def _record(self, task: Task, number: int, about: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
        return {
            "id": pair_identity(task.photograph, number),
            "photo": task.photograph.name,
            "split": task.photograph.part,
            "generator": task.generator,
            "number": number,
            "mask": about["mask"],
            "area": round(about["area"], 5),
            "sha256": files,
        }


def pair_identity(photo: Photograph, number: int) -> str:
    """The ID of a photograph's pair of that number, the same for every generator."""
    return f"{photo.identity}-{number}"


def _filled(source: Source, original: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    # What is grey in the mask shows both pictures, so all of it must be filled.
    frame = source.fill(original, mask > 0, random)
    if frame.shape != original.shape or frame.dtype != np.uint8:
        raise FakeclfError(f"{source.name} gave {frame.dtype} {frame.shape} for a picture of {original.shape}")
    return frame
