"""``regenerated``: a folder of photographs against their round trips through an autoencoder.

A latent-diffusion pipeline sends the whole frame through its decoder, so even pixels it did not mean to change carry
the decoder's traces. ``make`` leaves just that: REAL and FAKE show the same, only FAKE went through the autoencoder.
Both are cut to the same multiple of 8 pixels and written with the same codec at the same quality. A photograph that
was a JPEG before is thus decoded and encoded again: REAL carries its first codec's traces under those of the second,
FAKE only what the autoencoder kept of them. A detector may learn that too; photographs kept without loss have none.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fakeclf import images
from fakeclf.atomic import replace_file
from fakeclf.data import folders
from fakeclf.data.datasets import Dataset, Example, data_home
from fakeclf.data.progress import Progress
from fakeclf.data.splits import hold_out
from fakeclf.errors import FakeclfError

PARTS = ("train", "val", "test")
SUFFIX_OF = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
SMALLEST = 32
MANIFEST = "manifest.json"
SAVE_EVERY_SECONDS = 30


@dataclass(frozen=True)
class Made:
    """What ``make`` left behind: the folder, pairs a part, mean PSNR (dB) a part, and what was skipped and why."""

    folder: Path
    pairs: dict[str, int]
    psnr: dict[str, float]
    skipped: list[str]


def make(
    photos: str | Path,
    out: str | Path,
    *,
    autoencoder: str | Path = "taef2",
    codec: tuple[str, int | None] = ("JPEG", 95),
    largest: int = 1024,
    batch_size: int = 4,
    precision: str = "float32",
    seed: int = 0,
    data_dir: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Made:
    """Write OUT/{train,val,test}/{FAKE,REAL}/NAME.jpg from a folder of photographs; resumes where it was stopped.

    Args:
        photos: its train/, val/, test/ folders are kept apart if it has them; else it is split by file, seeded.
        autoencoder: variant of the TAESD family, ``.npz`` file, or bundle; see ``models.autoencoder.open_autoencoder``.
        codec: ("JPEG", quality), ("WEBP", quality) or ("PNG", None), for both classes; JPEG with 4:2:0 chroma.
        largest: longer sides are cut, around the centre, to this many pixels: memory grows with the area.
        batch_size: pictures of equal size that pass the autoencoder at once.
        say: called with one line for every file that is skipped.

    Returns:
        Made: counts, PSNR of the round trips before the codec, and skipped files.

    Raises:
        FakeclfError: no photographs, an unknown autoencoder or codec, or ``out`` was made with other settings.
    """
    from fakeclf.models.autoencoder import open_autoencoder

    out = Path(out)
    kind, quality = _checked_codec(codec)
    splits = photo_splits(photos, seed=seed)
    opened = open_autoencoder(autoencoder, data_dir=data_dir, precision=precision)
    settings = {
        "autoencoder": opened.name,
        "autoencoder_sha256": opened.sha256,
        "precision": precision,
        "codec": [kind, quality],
        "largest": largest,
        "seed": seed,
    }
    measured = _psnr_so_far(out, settings)
    skipped: list[str] = []
    jobs, finished = [], 0
    for part, paths in splits.items():
        for name, path in _names(paths, Path(photos)).items():
            targets = tuple(out / part / label / f"{name}{SUFFIX_OF[kind]}" for label in ("FAKE", "REAL"))
            if all(target.exists() for target in targets):
                finished += 1
            else:
                jobs.append(_Job(f"{part}/{name}", path, *targets))

    saved, total = time.monotonic(), finished + len(jobs)
    try:
        with Progress("regenerated", total, "photographs", done=finished) as progress:
            for batch in _batches(jobs, largest, batch_size, skipped, say):
                pictures = np.stack([picture for _, picture in batch])
                trips = np.rint(opened.model.predict_on_batch(pictures.astype(np.float32))).astype(np.uint8)
                for (job, picture), trip in zip(batch, trips, strict=True):
                    for target, pixels in ((job.fake, trip), (job.real, picture)):
                        images.save(target, pixels, **_options(kind, quality))
                    measured[job.name] = round(psnr(picture, trip), 3)
                progress.to(progress.done + len(batch))
                if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                    saved = time.monotonic()
                    _write_manifest(out, settings, measured, skipped, complete=False)
    except BaseException:
        _write_manifest(out, settings, measured, skipped, complete=False)
        raise
    _write_manifest(out, settings, measured, skipped, complete=True)
    pairs = {part: len(list((out / part / "FAKE").glob(f"*{SUFFIX_OF[kind]}"))) for part in splits}
    return Made(out, pairs, _mean_by_part(measured), skipped)


def load(*, validation: float = 0.2, seed: int = 0, data_dir: str | Path | None = None, fetch: bool = True) -> Dataset:
    """The pictures that ``make`` left in DATA/regenerated; the source of a picture is its photograph.

    The ``val`` folder is the validation part where there is one; else ``validation`` of the photographs of ``train``.

    Raises:
        FakeclfError: there is none yet; it has to be made from a folder of photographs.
    """
    home = Path(data_dir) if data_dir is not None else data_home()
    folder = home / "regenerated"
    if not (folder / "train").is_dir():
        raise FakeclfError(
            f"no data set 'regenerated' at {folder}; make it from a folder of photographs: "
            "fakeclf data make regenerated PHOTOS [--autoencoder taef2 | small-autoencoder | FILE.npz]"
        )
    manifest = read_manifest(folder)
    kind, quality = manifest.get("codec", ["an unknown codec", None])
    found = folders.load(folder, validation=validation, seed=seed, data_dir=home)
    made = (
        f"photographs against round trips through {manifest.get('autoencoder', 'an unknown autoencoder')}, "
        f"both then {kind}{f' quality {quality}' if quality else ''}"
        f"{'' if manifest.get('complete') else ' (unfinished)'}"
    )
    return replace(found, name="regenerated", note=f"{made}; {found.note}")


def photo_splits(photos: str | Path, *, seed: int = 0, share: float = 0.15) -> dict[str, list[Path]]:
    """Photographs by part: the folders train/, val/, test/ where ``photos`` has them, else a seeded split by file.

    Args:
        share: part of the files that goes to each of val and test in the seeded split.

    Raises:
        FakeclfError: no folder, or fewer than 3 photographs to split.
    """
    photos = Path(photos)
    if (photos / "train").is_dir():
        given = {part: images.find(photos / part) for part in PARTS if (photos / part).is_dir()}
        if not given["train"]:
            raise FakeclfError(f"{photos / 'train'} holds no photographs; put JPEG or PNG files there")
        return given
    found = images.find(photos)
    if len(found) < 3:
        raise FakeclfError(
            f"{photos} holds {len(found)} photographs; at least 3 are needed to have some to train, validate and test"
        )
    rest = [Example(str(path), 1, path.relative_to(photos).as_posix()) for path in found]
    splits: dict[str, list[Path]] = {}
    for part, of_the_rest in (("test", share), ("val", share / (1 - share)), ("train", 1.0)):
        held = hold_out(rest, of_the_rest, seed) if part != "train" else {example.source for example in rest}
        splits[part] = [Path(example.path) for example in rest if example.source in held]
        rest = [example for example in rest if example.source not in held]
    return {part: splits[part] for part in PARTS}


def read_manifest(folder: str | Path) -> dict:
    """The settings and figures a made data set was left with; empty where there are none."""
    try:
        return json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FakeclfError(f"cannot read {folder}/{MANIFEST} ({error}); delete {folder} and make it again") from None


def psnr(picture: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures of one shape, in dB; 100 for equal pictures."""
    error = np.mean((picture.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error > 0 else 100.0


@dataclass(frozen=True)
class _Job:
    name: str
    photo: Path
    fake: Path
    real: Path


def _names(paths: list[Path], photos: Path) -> dict[str, Path]:
    """A file name without suffix for every photograph: its stem, or its whole path where two share a stem."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_stem[path.stem].append(path)
    return {
        stem if len(same) == 1 else "_".join(path.relative_to(photos).parts).replace(".", "_"): path
        for stem, same in by_stem.items()
        for path in same
    }


def _batches(
    jobs: list[_Job], largest: int, batch_size: int, skipped: list[str], say: Callable[[str], None]
) -> Iterator[list[tuple[_Job, np.ndarray]]]:
    """Decode and cut; pictures of equal size wait for each other until a batch is full."""
    waiting: dict[tuple[int, ...], list[tuple[_Job, np.ndarray]]] = defaultdict(list)
    for job in jobs:
        try:
            picture = cut(images.read(job.photo), largest)
        except FakeclfError as error:
            skipped.append(str(error))
            say(f"skipped {error}")
            continue
        if min(picture.shape[:2]) < SMALLEST:
            skipped.append(f"{job.photo}: smaller than {SMALLEST} pixels")
            say(f"skipped {skipped[-1]}")
            continue
        group = waiting[picture.shape]
        group.append((job, picture))
        if len(group) == batch_size:
            yield waiting.pop(picture.shape)
    yield from waiting.values()


def cut(picture: np.ndarray, largest: int) -> np.ndarray:
    """Cut (h, w, 3) to multiples of 8, at most ``largest`` a side, around the centre.

    The upper left corner stays on the grid of 16 pixels of a JPEG with 4:2:0 chroma, so blocks old and new coincide.
    """
    for axis in (0, 1):
        side = picture.shape[axis]
        kept = min(side, largest) // 8 * 8
        start = (side - kept) // 2 // 16 * 16
        picture = picture.take(range(start, start + kept), axis=axis)
    return picture


def _checked_codec(codec: tuple[str, int | None]) -> tuple[str, int | None]:
    kind, quality = codec[0].upper(), codec[1]
    if kind not in SUFFIX_OF or (kind != "PNG" and not (isinstance(quality, int) and 1 <= quality <= 100)):
        raise FakeclfError(f"codec must be JPEG or WEBP with a quality of 1 to 100, or PNG; received {codec}")
    return kind, None if kind == "PNG" else quality


def _options(kind: str, quality: int | None) -> dict:
    if kind == "PNG":
        return {}
    return {"quality": quality} | ({"subsampling": "4:2:0"} if kind == "JPEG" else {})


def _mean_by_part(measured: dict[str, float]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in measured.items():
        values[name.split("/")[0]].append(value)
    return {part: round(float(np.mean(found)), 2) for part, found in sorted(values.items())}


def _psnr_so_far(out: Path, settings: dict) -> dict[str, float]:
    manifest = read_manifest(out)
    if not manifest:
        if out.is_dir() and any(out.iterdir()):
            raise FakeclfError(f"{out} holds something else; choose a new folder")
        return {}
    for key, value in settings.items():
        if manifest.get(key) != value:
            raise FakeclfError(
                f"{out} was made with {key} {manifest.get(key)!r}, not {value!r}; "
                "use the same settings to go on with it, or another folder"
            )
    return dict(manifest.get("psnr", {}))


def _write_manifest(
    out: Path, settings: dict, measured: dict[str, float], skipped: list[str], *, complete: bool
) -> None:
    values = settings | {
        "complete": complete,
        "mean_psnr": _mean_by_part(measured),
        "skipped": skipped,
        "psnr": dict(sorted(measured.items())),
    }
    with replace_file(out / MANIFEST) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
