"""What is known of a forged data set: ``manifest.json`` beside its pictures."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakeclf import __version__
from fakeclf.atomic import replace_file
from fakeclf.data.regenerated import MANIFEST, read_manifest
from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import Source
from segmentation.forgeries.pairs import Photograph, Plan

SAVE_EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Row:
    """A generator: pairs in the folder, their mean mask area (share of the picture), seconds of work this time."""

    pairs: int
    area: float
    seconds: float


class Manifest:
    """OUT/manifest.json: settings, generators, and a record of every pair.

    Args:
        plan: what the pairs are made by.
        photos: the folder of all photographs.
        per_photo: pairs of each photograph and generator.
        generators: text and opened source by name of the generator's folder.
        autoencoder: what makes the fakefake pictures, if they are made.

    Raises:
        FakeclfError: the folder holds something else, or was made with other settings.
    """

    def __init__(
        self,
        plan: Plan,
        photos: Path,
        per_photo: int,
        generators: dict[str, tuple[str, Source]],
        autoencoder: Source | None = None,
    ) -> None:
        self.plan, self._written = plan, time.monotonic()
        self.settings = {
            "photos": str(photos.resolve()),
            "masks": plan.masks if isinstance(plan.masks, str) else list(plan.masks),
            "area": list(plan.area),
            "per_photo": per_photo,
            "size": plan.size,
            "shrink": None if plan.shrink is None else list(plan.shrink),
            "soften": None if plan.soften is None else list(plan.soften),
            "rework": plan.rework,
            "variants": list(plan.variants),
            "autoencoder": plan.autoencoder,
            "autoencoder_settings": None if autoencoder is None else _as_json(autoencoder.settings),
            "format": plan.format,
            "seed": plan.seed,
        }
        before = read_manifest(plan.out)
        if "settings" not in before and plan.out.is_dir() and any(plan.out.iterdir()):
            raise FakeclfError(f"{plan.out} holds something else; choose a new folder")
        # Folders that are older than the setting do not have it.
        self._same("", {"rework": False} | before.get("settings", self.settings), self.settings)
        self.generators = dict(before.get("generators", {}))
        for name, (text, source) in generators.items():
            about: dict[str, Any] = {
                "source": text,
                "whole_frame": source.whole_frame,
                "settings": _as_json(source.settings),
            }
            known = self.generators.get(name, about)
            self._same(f"{name}'s ", known["settings"], about["settings"])
            self._same(f"{name}'s ", known, about)
            self.generators[name] = about
        self.records: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.add(before.get("pairs", []))
        self.parts = {record["photo"]: record["split"] for record in self.records.values()}

    def _same(self, where: str, before: dict[str, Any], now: dict[str, Any]) -> None:
        for key, value in now.items():
            if before.get(key) != value:
                raise FakeclfError(
                    f"{self.plan.out} was made with {where}{key} {before.get(key)!r}, not {value!r}; "
                    "use the same settings to go on with it, or another folder"
                )

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Take over records of pairs, in place of those of the same pairs."""
        for record in records:
            self.records[record["photo"], record["generator"], record["number"]] = record

    def has(self, photo: Photograph, generator: str, number: int) -> bool:
        """Whether a pair is finished; one whose files have gone since is not."""
        record = self.records.get((photo.name, generator, number))
        if record is None:
            return False
        paths = (self.plan.path(photo.part, generator, record["id"], variant) for variant in self.plan.variants)
        if all(path.is_file() for path in paths):
            return True
        del self.records[photo.name, generator, number]
        return False

    def rows(self, seconds: Mapping[str, float]) -> dict[str, Row]:
        """A row a generator, with its ``seconds``."""
        areas: dict[str, list[float]] = defaultdict(list)
        for record in self.records.values():
            areas[record["generator"]].append(record["area"])
        return {
            name: Row(len(areas[name]), sum(areas[name]) / max(1, len(areas[name])), seconds.get(name, 0.0))
            for name in self.generators
        }

    def write_now_and_then(self, skipped: Iterable[str]) -> None:
        """``write``, if the last time is a while ago."""
        if time.monotonic() - self._written > SAVE_EVERY_SECONDS:
            self.write(skipped)

    def write(self, skipped: Iterable[str] = (), complete: bool = False) -> None:
        """Write the file, in an order that does not depend on that of the work."""
        order = sorted(self.records.values(), key=lambda r: (r["split"], r["generator"], r["photo"], r["number"]))
        content = {
            "version": __version__,
            "settings": self.settings,
            "complete": complete,
            "generators": dict(sorted(self.generators.items())),
            "skipped": sorted(skipped),
            "pairs": order,
        }
        with replace_file(self.plan.out / MANIFEST) as beside:
            beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self._written = time.monotonic()


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """As they come back from the file: tuples as lists, keys as text."""
    return json.loads(json.dumps(settings))
