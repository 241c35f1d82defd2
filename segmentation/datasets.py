"""Pictures with masks by name: lists of files in three parts that share no source photograph.

What ``load`` is told, apart from a plain folder, begins with the layout of the files:

    FOLDER                    found out: the 2023 names, or ``images/`` and ``masks/`` inside
    ut:FOLDER                 universal training: frames (ID.inpainted) pasted into ID.original, masks drawn anew
    mpdl:FOLDER               the 2023 names, ID.original, ID.mask, ID.inpainted, ID.realfake, ID.fakefake
    pairs:PICTURES,MASKS      two folders, files of the same name belong together
    npy:FILE                  a NumPy array of paths, (n, 2): picture and mask, as IID-Net's lists

``+`` joins several, ``*3`` behind one gives it three times the weight of the others in training:
``ut:forged/autoencoder*2+mpdl:forged/telea``. Where a folder of the path is called ``train``, ``val`` or ``test``, that
is the part; else the photographs are split by a seeded hash of their names.

Reference: the 2023 names are those of Adler et al. 2023, which re-implements NIX-Net.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf import images
from fakeclf.data.splits import TEST_SEED, TEST_SHARE, hold_out
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from segmentation.forgeries.names import VARIANTS, find_records

PART_OF = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and what is known of which of its pixels were inpainted.

    Attributes:
        image: path of the picture to look at. With ``drawn`` it is a whole generated frame instead, which is pasted
            into ``original`` through a mask drawn anew at each visit.
        mask: path of its mask, 8-bit, white = inpainted; None: nothing was inpainted (pristine), or ``drawn``.
        original: path of the untouched picture of the same size, where there is one.
        source: name of the photograph; all that was made from one is in one part.
        generator: what made the inpainted pixels ("telea", "taef2", ...); "" for pristine pictures.
        drawn: see ``image``.
        forged_here: a manifest of ``fakeclf forge`` names it, so its mask is the right way round, however large.
    """

    image: str
    mask: str | None
    original: str | None = None
    source: str = ""
    generator: str = ""
    drawn: bool = False
    forged_here: bool = False

    @property
    def label(self) -> int:
        """0 = FAKE, 1 = REAL, as at the image level."""
        return 0 if self.mask or self.drawn else 1


@dataclass(frozen=True)
class PairSet:
    """A data set of pairs, split.

    Attributes:
        name: as typed; for a folder, its last part.
        train, validation, test: the parts; any of them may be empty.
        weights: weight of each training pair in the mixture, in the order of ``train``; empty = all alike.
        note: how the split came about.
    """

    name: str
    train: tuple[Pair, ...] = ()
    validation: tuple[Pair, ...] = ()
    test: tuple[Pair, ...] = ()
    weights: tuple[float, ...] = ()
    note: str = ""


def load(
    name: str | Path,
    *,
    validation: float = 0.2,
    seed: int = 0,
    data_dir: str | Path | None = None,
    variant: str = "auto",
) -> PairSet:
    """Load pairs of picture and mask; see the head of this module for what ``name`` may be.

    Args:
        name: one or several data sets.
        validation: share of the training photographs held out where no folder is called ``val``.
        seed: of that split; the test part never depends on it.
        data_dir: not used: pairs are named by their folders.
        variant: ``inpainted``, ``realfake`` or ``fakefake``: which file of a record is looked at; ``auto`` takes the
            first that is there of realfake, fakefake, inpainted.

    Raises:
        FakeclfError: no such folder, no pairs in it, or a mixture that cannot be read.
    """
    members = [_weighted(part) for part in str(name).split("+")]
    sets = [_load_one(text, validation, seed, variant) for text, _ in members]
    weights = [weight for _, weight in members]
    if len(sets) == 1:
        return sets[0]
    # A weight is a member's share of the crops, however many pairs it has.
    of_pair = [weight / len(member.train) for member, weight in zip(sets, weights, strict=True) for _ in member.train]
    return PairSet(
        name="+".join(member.name for member in sets),
        train=tuple(pair for member in sets for pair in member.train),
        validation=tuple(pair for member in sets for pair in member.validation),
        test=tuple(pair for member in sets for pair in member.test),
        weights=tuple(of_pair),
        note="; ".join(f"{member.name}: {member.note}" for member in sets),
    )


def _weighted(text: str) -> tuple[str, float]:
    text, star, weight = text.strip().partition("*")
    try:
        value = float(weight) if star else 1.0
    except ValueError:
        value = 0.0
    if not text or not value > 0:
        raise FakeclfError(f"{text}{star}{weight!r} is no part of a mixture; write FOLDER or FOLDER*2, joined by +")
    return text, value


def _load_one(text: str, validation: float, seed: int, variant: str) -> PairSet:
    layout, colon, rest = text.partition(":")
    if not colon:
        layout, rest = "", text
    readers: dict[str, Callable[[str, str], list[tuple[Pair, str]]]] = {
        "": _plain,
        "ut": _universal,
        "mpdl": _records,
        "pairs": _two_folders,
        "npy": _list,
    }
    if layout not in readers:
        raise FakeclfError(
            f"there is no layout {layout!r} of pairs; {closest(layout, [key for key in readers if key])}"
        )
    found = readers[layout](rest, variant)
    if not found:
        raise FakeclfError(
            f"there are no pairs of picture and mask in {rest}; see the layouts of segmentation.datasets"
        )
    return _split(Path(rest.partition(",")[0]).name or text, found, validation, seed)


def _plain(folder: str, variant: str) -> list[tuple[Pair, str]]:
    root = _folder(folder)
    for pictures, masks in (("images", "masks"), ("pictures", "masks"), ("image", "mask")):
        if (root / pictures).is_dir() and (root / masks).is_dir():
            return _two_folders(f"{root / pictures},{root / masks}", variant)
    return _records(folder, variant)


def _records(folder: str, variant: str) -> list[tuple[Pair, str]]:
    """Forged pairs, and each original once as a pristine picture."""
    if variant != "auto" and variant not in VARIANTS:
        raise FakeclfError(f"there is no variant {variant!r} of a record; {closest(variant, VARIANTS)}")
    wanted = [variant] if variant != "auto" else ["realfake", "fakefake", "inpainted"]
    root = _folder(folder)
    found: list[tuple[Pair, str]] = []
    pristine: dict[tuple[str, str], Pair] = {}
    for name, files, source, generator, forged_here in _described(root):
        shown = next((files[kind] for kind in wanted if kind in files), None)
        original = str(files["original"]) if "original" in files else None
        if shown is not None and "mask" in files:
            mask = str(files["mask"])
            pair = Pair(str(shown), mask, original, source, generator, forged_here=forged_here)
            found.append((pair, _part(shown, root)))
        if original is not None:
            pristine.setdefault((source, _part(root / name, root)), Pair(original, None, None, source))
    return [*found, *((pair, part) for (_, part), pair in pristine.items())]


def _universal(folder: str, variant: str) -> list[tuple[Pair, str]]:
    """Whole frames and their originals; no masks are needed."""
    root = _folder(folder)
    found = []
    for name, files, source, generator, _ in _described(root):
        if "original" in files and "inpainted" in files:
            frame, original = str(files["inpainted"]), str(files["original"])
            found.append((Pair(frame, None, original, source, generator, drawn=True), _part(root / name, root)))
    return found


def _described(root: Path) -> Iterator[tuple[str, dict[str, Path], str, str, bool]]:
    """Each record of a folder: its name, files by variant, photograph, generator, and whether a manifest names it.

    Photograph and generator come from the manifest, where there is one; else from the name and the innermost folder
    that is no part.
    """
    known = _manifest(root)
    for name, files in sorted(find_records(root).items()):
        *above, identity = name.split("/")
        about = known.get(name, {})
        generator = next((part for part in reversed(above) if part not in PART_OF), root.name)
        yield name, files, about.get("photo", identity), about.get("generator", generator), name in known


def _two_folders(text: str, variant: str) -> list[tuple[Pair, str]]:
    pictures, comma, masks = text.partition(",")
    if not comma:
        raise FakeclfError(f"pairs: takes two folders, pairs:PICTURES,MASKS; received {text!r}")
    root, of_masks = _folder(pictures), _folder(masks)
    by_name = {path.relative_to(of_masks).with_suffix("").as_posix(): path for path in images.find(of_masks)}
    found = []
    for path in images.find(root):
        name = path.relative_to(root).with_suffix("").as_posix()
        mask = by_name.get(name) or by_name.get(f"{name}_mask")
        if mask is not None:
            found.append((Pair(str(path), str(mask), None, name, root.parent.name), _part(path, root.parent)))
    return found


def _list(file: str, variant: str) -> list[tuple[Pair, str]]:
    path = Path(file).expanduser()
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FakeclfError(f"cannot read {path}: {error}; it must be a .npy array of text, (n, 2)") from error
    if rows.dtype.kind not in "US" or rows.ndim != 2 or rows.shape[1] != 2:
        raise FakeclfError(f"{path} holds {rows.dtype} of shape {rows.shape}; it must be text of shape (n, 2)")
    found = []
    for row in rows.astype(str):
        picture, mask = (str(path.parent / name) for name in row)
        found.append((Pair(picture, mask, None, Path(picture).stem, path.stem), _part(Path(picture), path.parent)))
    return found


def _split(name: str, found: Sequence[tuple[Pair, str]], validation: float, seed: int) -> PairSet:
    parts: dict[str, list[Pair]] = {"train": [], "validation": [], "test": []}
    for pair, part in found:
        parts[part or "train"].append(pair)
    said = [f"{part}: its own folder" for part in ("validation", "test") if parts[part]]
    if not any(part for _, part in found):
        held = hold_out(parts["train"], TEST_SHARE, TEST_SEED)
        parts["test"] = [pair for pair in parts["train"] if pair.source in held]
        parts["train"] = [pair for pair in parts["train"] if pair.source not in held]
        said.append(f"test: {TEST_SHARE:.0%} of photographs")
    if parts["train"] and not parts["validation"] and validation > 0:
        held = hold_out(parts["train"], validation, seed)
        parts["validation"] = [pair for pair in parts["train"] if pair.source in held]
        parts["train"] = [pair for pair in parts["train"] if pair.source not in held]
        said.append(f"validation: {validation:.0%} of train photographs, seed {seed}")
    train, held_out, test = (tuple(parts[part]) for part in ("train", "validation", "test"))
    return PairSet(name, train, held_out, test, note=", ".join(said))


def _part(path: Path, root: Path) -> str:
    """The part a file belongs to by the folders between it and ``root``, or "" """
    try:
        folders = path.relative_to(root).parts[:-1]
    except ValueError:
        folders = path.parts[:-1]
    return next((PART_OF[part] for part in folders if part in PART_OF), "")


def _folder(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise FakeclfError(
            f"there is no folder {text}; name one with pairs of picture and mask (`fakeclf forge` makes them)"
        )
    return path


def _manifest(root: Path) -> dict[str, dict[str, Any]]:
    """What the manifest of a forged folder says of each record, by name; empty where there is none."""
    path = root / "manifest.json"
    if not path.is_file():
        return {}
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"]
        return {f"{pair['split']}/{pair['generator']}/{pair['id']}": pair for pair in pairs}
    except (ValueError, KeyError, TypeError) as error:
        raise FakeclfError(f"{path} is no manifest of forged pairs ({error}); forge them again") from error


def without(pairs: PairSet, generators: str) -> PairSet:
    """``pairs`` without some generators in train and validation, for tests on what was left out.

    Args:
        pairs: the data set.
        generators: their names, separated by commas; none leaves all as it is.

    Raises:
        FakeclfError: there is no such generator in the data set; the message names the nearest.
    """
    named = {name.strip() for name in generators.split(",") if name.strip()}
    known = {pair.generator for part in (pairs.train, pairs.validation, pairs.test) for pair in part if pair.generator}
    for name in sorted(named - known):
        raise FakeclfError(f"leave_out: {pairs.name} has no generator {name!r}; {closest(name, known)}")
    keep = [pair.generator not in named for pair in pairs.train]
    return replace(
        pairs,
        train=tuple(pair for pair, kept in zip(pairs.train, keep, strict=True) if kept),
        weights=tuple(weight for weight, kept in zip(pairs.weights, keep, strict=False) if kept),
        validation=tuple(pair for pair in pairs.validation if pair.generator not in named),
    )
