"""``sample``: a few hundred crops to try the tool with; it needs no download and proves nothing.

REAL are crops of the photographs that scikit-learn, scikit-image and matplotlib bring with them; FAKE are the same
crops of their round trips through the shipped small autoencoder. Both are written as JPEG of quality 95. The parts
share no photograph, but eight photographs are no measure of any detector: figures on this set say that the tool
works, no more.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fakeclf import images
from fakeclf.atomic import replace_folder
from fakeclf.data import folders
from fakeclf.data.datasets import Dataset, Example, data_home
from fakeclf.data.regenerated import MANIFEST, read_manifest
from fakeclf.errors import FakeclfError

AUTOENCODER = "small-autoencoder"
CROP = 64
QUALITY = 95
FLATTEST = 6.0
"""Crops whose grey values spread less than this (standard deviation) show nothing to learn from."""

PHOTOGRAPHS = {
    "train": (
        ("sklearn", "datasets/images/china.jpg"),
        ("skimage", "data/astronaut.png"),
        ("skimage", "data/coffee.png"),
        ("skimage", "data/motorcycle_left.png"),
    ),
    "val": (("skimage", "data/chelsea.png"), ("skimage", "data/rocket.jpg")),
    "test": (("sklearn", "datasets/images/flower.jpg"), ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")),
}


def load(*, validation: float = 0.2, seed: int = 0, data_dir: str | Path | None = None, fetch: bool = True) -> Dataset:
    """The sample, made in DATA/sample on first use (some ten seconds); the source of a crop is its photograph.

    The parts are fixed, so ``validation``, ``seed`` and ``fetch`` (nothing is downloaded) change nothing.

    Raises:
        FakeclfError: a photograph is not where its package should bring it, or the autoencoder is missing.
    """
    home = Path(data_dir) if data_dir is not None else data_home()
    folder = home / "sample"
    if not up_to_date(folder):
        make(folder)
    note = f"tiny, to try the tool: {CROP}x{CROP} crops of 8 photographs, both classes JPEG quality {QUALITY}"
    found = folders.load(folder, validation=validation, seed=seed, data_dir=home)
    return replace(
        found,
        train=_by_photograph(found.train),
        validation=_by_photograph(found.validation),
        test=_by_photograph(found.test),
        note=f"{note}; {found.note}",
    )


def up_to_date(folder: Path) -> bool:
    """Whether ``folder`` holds the sample as the autoencoder at hand would make it."""
    from fakeclf import bundle

    manifest = read_manifest(folder)
    return bool(manifest) and manifest == _manifest(bundle.read_card(AUTOENCODER).files.get("model.keras", ""))


def make(folder: Path) -> Path:
    """Write FOLDER/{train,val,test}/{FAKE,REAL}/PHOTOGRAPH-ROW-COLUMN.jpg, in place of what was there."""
    from fakeclf.models.autoencoder import open_autoencoder

    photographs = {part: [_brought(*where) for where in places] for part, places in PHOTOGRAPHS.items()}
    opened = open_autoencoder(AUTOENCODER)
    with replace_folder(folder, force=True) as new:
        for part, paths in photographs.items():
            for path in paths:
                photograph = images.read(path)
                trip = np.asarray(opened.model.predict_on_batch(photograph[None].astype(np.float32)))[0]
                trip = np.rint(trip).astype(np.uint8)
                for top, left in corners(photograph):
                    name = f"{path.stem}-{top}-{left}.jpg"
                    for label, picture in (("FAKE", trip), ("REAL", photograph)):
                        crop = picture[top : top + CROP, left : left + CROP]
                        images.save(new / part / label / name, crop, quality=QUALITY)
        (new / MANIFEST).write_text(json.dumps(_manifest(opened.sha256), indent=1) + "\n", encoding="utf-8")
    return folder


def copy_photographs(folder: str | Path) -> Path:
    """Copy the photographs, as their packages bring them, to FOLDER/{train,val,test}: something to forge.

    Raises:
        FakeclfError: FOLDER is there already, or a photograph is not where its package should bring it.
    """
    photographs = {part: [_brought(*where) for where in places] for part, places in PHOTOGRAPHS.items()}
    with replace_folder(folder) as new:
        for part, paths in photographs.items():
            (new / part).mkdir()
            for path in paths:
                shutil.copyfile(path, new / part / path.name)
    return Path(folder)


def corners(photograph: np.ndarray) -> list[tuple[int, int]]:
    """Upper left corners of the crops side by side in (h, w, 3), without those that are almost flat."""
    height, width = photograph.shape[:2]
    places = [(top, left) for top in range(0, height - CROP + 1, CROP) for left in range(0, width - CROP + 1, CROP)]
    return [
        (top, left)
        for top, left in places
        if photograph[top : top + CROP, left : left + CROP].mean(axis=2).std() >= FLATTEST
    ]


def _by_photograph(examples: tuple[Example, ...]) -> tuple[Example, ...]:
    return tuple(replace(example, source=example.source.split("-")[0]) for example in examples)


def _manifest(sha256: str) -> dict:
    return {
        "autoencoder": AUTOENCODER,
        "autoencoder_sha256": sha256,
        "codec": ["JPEG", QUALITY],
        "crop": CROP,
        "flattest": FLATTEST,
        "photographs": {part: [Path(file).name for _, file in places] for part, places in PHOTOGRAPHS.items()},
    }


def _brought(package: str, file: str) -> Path:
    spec = find_spec(package)  # finds the folder without importing the package
    where = Path(spec.origin).parent / file if spec and spec.origin else None
    if where is None or not where.is_file():
        raise FakeclfError(
            f"the photograph {file} of {package} is not installed; reinstall it: pip install --force-reinstall "
            + {"sklearn": "scikit-learn", "skimage": "scikit-image"}.get(package, package)
        )
    return where
