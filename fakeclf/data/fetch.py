"""Data sets from the network or from a disk into the data folder: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

from fakeclf.atomic import replace_folder
from fakeclf.data import archives, cifake, deepfakeart
from fakeclf.data.datasets import data_home
from fakeclf.data.download import DownloadFailed, download
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest

ORIGIN = "origin.json"
"""In the folder of an imported data set: where it came from, the archive's size and SHA-256, and counts."""

_PLACES = {"cifake": cifake.place, "deepfakeart": deepfakeart.place}


def fetch(name: str, data_dir: str | Path | None = None, *, force: bool = False, complete: bool = True) -> Path:
    """Download a data set, check it and unpack it; returns its folder. One that is there is left alone.

    A broken download is taken up again where it stopped. ``FAKECLF_CIFAKE_URL`` names another place to get CIFAKE
    from.

    Args:
        data_dir: default :func:`~fakeclf.data.datasets.data_home`.
        force: download anew and replace.
        complete: whether anything less than the whole data set is refused.

    Raises:
        FakeclfError: not to be had by download, no network, or not what it should be; says how to import instead.
    """
    home = _home(data_dir)
    if name == "deepfakeart":
        raise FakeclfError(
            f"deepfakeart cannot be downloaded freely; get it from its authors ({deepfakeart.HOME}), "
            f"then {how_to_import(name)}"
        )
    if name != "cifake":
        raise FakeclfError(f"{name!r} is not downloaded; only cifake is; {closest(name, ['cifake'])}")
    target = home / name
    if target.exists() and not force:
        return target
    archive = home / "downloads" / f"{name}.zip"
    try:
        if not archive.is_file():
            download(os.environ.get("FAKECLF_CIFAKE_URL") or cifake.URL, archive)
        path = import_dataset(name, archive, home, force=force, complete=complete)
    except archives.BadArchive as error:
        archive.unlink(missing_ok=True)
        raise FakeclfError(f"{error}; the download was thrown away; else {how_to_import(name)}") from error
    except DownloadFailed as error:
        raise FakeclfError(f"{error}; or get it elsewhere and {how_to_import(name)}") from error
    archive.unlink()
    return path


def import_dataset(
    name: str,
    archive_or_folder: str | Path,
    data_dir: str | Path | None = None,
    *,
    force: bool = False,
    complete: bool = True,
) -> Path:
    """Take over a data set that is on disk already; returns its folder, DATA/NAME.

    The pictures are found however deep their layout lies in the archive (zip, tar, compressed tar) or folder. Only
    pictures that belong to the data set are written.

    Args:
        data_dir: default :func:`~fakeclf.data.datasets.data_home`.
        force: replace one that is there.
        complete: whether anything less than the whole of CIFAKE is refused.

    Raises:
        FakeclfError: unknown data set; it is there already; the archive is damaged, unsafe or holds something else.
    """
    if name not in _PLACES:
        raise FakeclfError(f"{name!r} cannot be imported; {closest(name, _PLACES)}; folders of your own need no import")
    source = Path(archive_or_folder).expanduser()
    target = _home(data_dir) / name
    origin: dict[str, object] = {"dataset": name, "from": source.name}
    counts: Counter[str] = Counter()
    with replace_folder(target, force=force) as beside:
        for where, content in archives.pictures(source, _PLACES[name]):
            if name == "cifake":
                cifake.check(where, content)
            folder = where.rpartition("/")[0]
            if not counts[folder]:
                (beside / folder).mkdir(parents=True)
            _write(f"{beside}/{where}", content)
            counts[folder] += 1
        if name == "cifake":
            cifake.check_counts(counts, complete)
            origin["pictures"] = dict(counts)
        else:
            origin["pictures"] = deepfakeart.tidy(beside)
        if source.is_file():
            origin |= {"bytes": source.stat().st_size, "sha256": sha256(source)}
        (beside / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    return target


def how_to_import(name: str) -> str:
    """The command that takes over what was got by other means."""
    return f"run: fakeclf data import {name} ARCHIVE-OR-FOLDER"


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: str, content: bytes) -> None:
    try:
        with open(path, "xb") as file:
            file.write(content)
    except FileExistsError:
        where = "/".join(path.split("/")[-2:])
        raise archives.BadArchive(f"two pictures would go to {where}; import one of the folders they are in") from None


def _home(data_dir: str | Path | None) -> Path:
    return Path(data_dir).expanduser().absolute() if data_dir is not None else data_home()
