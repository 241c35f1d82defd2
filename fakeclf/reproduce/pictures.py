"""Makes the pictures of a scale, each kind once, below one folder; goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fakeclf import protocol
from fakeclf.atomic import replace_file, replace_folder
from fakeclf.data.regenerated import PARTS, photo_splits, read_manifest
from fakeclf.errors import FakeclfError
from fakeclf.registry import resolve
from fakeclf.reproduce.experiments import Source
from fakeclf.reproduce.grid import digest

PHOTOS = "photos"
DIVIDES = "+*,:"
"""What divides the parts of a data set's name, and so can be in no path."""
DRAWN, FIXED = 19, 1
"""Universal training: of twenty crops, so many with masks drawn anew. Fixed ones are what a threshold is chosen on."""


class Pictures:
    """Pictures by what they are.

    Args:
        folder: where they are made.
        take: how many photographs of each part are used, unless a source says otherwise.
        given: folders of the user's, by name; ``photos`` among them, where photographs are needed.
        data_dir: home of the data sets.
        say: called with a line for every photograph that is skipped.
    """

    def __init__(
        self,
        folder: Path,
        take: Mapping[str, int],
        given: Mapping[str, str],
        data_dir: Path | None,
        say: Callable[[str], None],
    ) -> None:
        self.folder, self.take, self.given = folder.absolute(), take, dict(given)
        self.data_dir, self.say = data_dir, say
        if any(sign in str(self.folder) for sign in DIVIDES):
            raise FakeclfError(
                f"--out {folder} holds one of {DIVIDES}, which divide names of data sets; choose another"
            )

    def mixture(self, sources: Sequence[Source]) -> str:
        """A data set's name, as ``load`` of the kind takes it: all sources alike often."""
        places = [self.place(source) for source in sources]
        if not any(source.drawn for source in sources):
            return "+".join(places)
        parts = []
        for source, place in zip(sources, places, strict=True):
            whole = f"{place}*{DRAWN + FIXED}"
            parts.append(f"ut:{place}*{DRAWN}+{place}*{FIXED}" if source.drawn else whole)
        return "+".join(parts)

    def place(self, source: Source) -> str:
        """The name or folder of one source, made if need be.

        Raises:
            FakeclfError: it cannot be made; the message says why.
        """
        if source.data:
            return self.given[source.data]
        if source.dataset:
            return self._thinned(source.dataset, source.every) if source.every > 1 else source.dataset
        photos = self._photographs(source)
        if source.regenerate:
            return self._regenerated(photos, source.regenerate)
        return self._forged(photos, source.forge)

    def _forged(self, photos: Path, arguments: Mapping[str, Any]) -> str:
        named = "-".join(text.replace(":", "-").replace("+", "-") for text in arguments["sources"])
        out = self.folder / f"{named}-{digest([photos.name, arguments])}"
        if not read_manifest(out).get("complete"):
            forge = resolve("segmentation.forgeries.forge:forge")
            # In this process: a pool would load every source once more.
            forge(photos, out, workers=1, data_dir=self.data_dir, say=self.say, **arguments)
        return str(out)

    def _regenerated(self, photos: Path, arguments: Mapping[str, Any]) -> str:
        from fakeclf.data.regenerated import make

        out = self.folder / f"regenerated-{digest([photos.name, arguments])}"
        if not read_manifest(out).get("complete"):
            make(photos, out, data_dir=self.data_dir, say=self.say, **arguments)
        return str(out)

    def _thinned(self, name: str, every: int) -> str:
        """A copy of a data set with every so manieth picture of each class of train and test."""
        from fakeclf.data import datasets

        out = self.folder / f"{name}-every-{every}"
        if out.is_dir():
            return str(out)
        loaded = datasets.load(name, validation=0.0, data_dir=self.data_dir, fetch=False)
        with replace_folder(out) as new:
            for part, examples in (("train", loaded.train), ("test", loaded.test)):
                for label, word in enumerate(datasets.LABELS):
                    (new / part / word).mkdir(parents=True)
                    some = [example.path for example in examples if example.label == label][::every]
                    for number, path in enumerate(some):
                        shutil.copyfile(path, new / part / word / f"{word}-{number:06}{Path(path).suffix}")
        return str(out)

    def _photographs(self, source: Source) -> Path:
        """A folder with train, val and test, of as many photographs as are taken, evenly spaced."""
        take = source.take or self.take
        if source.photos == PHOTOS and PHOTOS not in self.given:
            from fakeclf.data.sample import copy_photographs

            root = self.folder / "photographs"
            if not root.is_dir():
                copy_photographs(root)
        else:
            root = Path(self.given[source.photos])
        if not take:
            return root
        out = self.folder / f"{source.photos}-{'-'.join(str(take.get(part, 0)) for part in PARTS)}"
        if out.is_dir():
            return out
        splits = photo_splits(root)
        with replace_folder(out) as new:
            for part, paths in splits.items():
                for place in protocol.spaced(len(paths), take.get(part, 0)) if take.get(part) else ():
                    inside = paths[place].relative_to(root)
                    link = new / part / Path(*inside.parts[1:] if inside.parts[0] == part else inside.parts)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(paths[place].resolve())
        return out


def remember(folder: Path, given: Mapping[str, str]) -> None:
    """Write which folders the work in ``folder`` is made from, or check that they are the same as before.

    Raises:
        FakeclfError: one of them was another; what was made from it would pass for this one's.
    """
    path = folder / "given.json"
    before: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in sorted(set(before) & set(given)):
        if before[name] != given[name]:
            raise FakeclfError(
                f"{folder} was begun with {name} at {before[name]}; give the same, or choose another --out"
            )
    with replace_file(path) as beside:
        beside.write_text(json.dumps({**before, **given}, indent=1) + "\n", encoding="utf-8")
