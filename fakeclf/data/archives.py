"""Pictures out of a zip, a tar or a folder, one by one.

Nothing is unpacked to where an archive says. The caller decides by the name what it wants and where it puts it; links,
devices, owners and modes are never taken over, and a name that climbs out of its folder ends the import.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from fakeclf import images
from fakeclf.data.progress import Progress
from fakeclf.errors import FakeclfError

LARGEST_FILE = 512 * 2**20
"""Bytes; a member of an archive that unpacks to more is no picture but a trap."""

Place = Callable[[tuple[str, ...]], str | None]
"""From the parts of a path to where that picture goes (parts joined by ``/``), or ``None`` to leave it out."""


class BadArchive(FakeclfError):
    """An archive that is damaged, of another kind, unsafe, or does not hold what it should."""


def pictures(source: Path, place: Place) -> Iterator[tuple[str, bytes]]:
    """Yield (place, content) of every picture of an archive or folder that ``place`` gives a place.

    Args:
        source: ``.zip``, ``.tar``, ``.tar.gz``, ``.tar.bz2``, ``.tar.xz`` (told by content) or a folder.

    Raises:
        BadArchive: damaged, encrypted, no such archive, or a path that leaves its folder.
    """
    if source.is_dir():
        yield from _of_folder(source, place)
        return
    try:
        with open(source, "rb") as file:
            kind = _of_zip if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06") else _of_tar
        with Progress(f"unpacking {source.name}", source.stat().st_size) as progress:
            yield from kind(source, place, progress)
            progress.to(source.stat().st_size)
    except FileNotFoundError:
        raise FakeclfError(f"there is no file or folder {source}") from None
    except tarfile.ReadError as error:
        what = "is cut short or damaged" if "unexpected end" in str(error) else "is no zip or tar archive"
        raise BadArchive(f"{source} {what} ({error}); allowed: .zip, .tar, .tar.gz, .tar.bz2, .tar.xz") from error
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        OSError,
        ValueError,
        NotImplementedError,  # zipfile's, of a compression method that it does not know
    ) as error:
        raise BadArchive(f"{source} is cut short or damaged ({error}); get it again") from error


def _of_folder(source: Path, place: Place) -> Iterator[tuple[str, bytes]]:
    found = images.find(source)
    with Progress(f"copying {source.name}", len(found), "files") as progress:
        for number, path in enumerate(found, 1):
            where = place(path.relative_to(source).parts)
            if where is not None:
                try:
                    content = path.read_bytes()
                except OSError as error:
                    raise FakeclfError(f"cannot read {path}: {error.strerror}") from error
                yield where, content
            progress.to(number)


def _of_zip(source: Path, place: Place, progress: Progress) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            where = _placed(source, member.filename, member.file_size, place)
            if where is None or stat.S_ISLNK(member.external_attr >> 16):
                continue
            if member.flag_bits & 1:
                raise BadArchive(f"{source} is encrypted; unpack it and import the folder")
            content = archive.read(member)
            progress.to(member.header_offset)
            yield where, content


def _of_tar(source: Path, place: Place, progress: Progress) -> Iterator[tuple[str, bytes]]:
    # As a stream: members in the order they lie, each decompressed once.
    with open(source, "rb") as file, _decompressed(file) as unpacked:
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # else it keeps 120,000 of them
                where = _placed(source, member.name, member.size, place)
                content = archive.extractfile(member) if where is not None and member.isfile() else None
                if where is not None and content is not None:
                    data = content.read()
                    progress.to(file.tell())
                    yield where, data
            end = archive.offset + tarfile.BLOCKSIZE
        # tarfile takes an archive that breaks off between two members for a whole one.
        while unpacked.read(1 << 20):
            pass
        if unpacked.tell() < end:
            raise EOFError("the end of the archive is missing")


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(file))
    return cast("IO[bytes]", lzma.LZMAFile(file)) if start == b"\xfd7zXZ\0" else file


def _placed(source: Path, name: str, size: int, place: Place) -> str | None:
    # Plain strings: pathlib would take longer than unpacking does.
    slashes = name.replace("\\", "/")
    parts = tuple(part for part in slashes.split("/") if part not in ("", "."))
    if slashes.startswith("/") or ".." in parts or parts and parts[0].endswith(":"):
        raise BadArchive(
            f"{source} is unsafe: its member {name!r} lies outside of the archive's own folder; not imported"
        )
    if not parts or slashes.endswith("/") or any(part.startswith(".") for part in parts):
        return None
    where = place(parts) if os.path.splitext(parts[-1])[1].lower() in images.SUFFIXES else None
    if where is not None and size > LARGEST_FILE:
        raise BadArchive(f"{source} is unsafe: its member {name!r} would take {size / 2**20:,.0f} MB; not imported")
    return where
