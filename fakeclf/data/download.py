"""One file over HTTP: resumed where it broke, checked, and put in place only when whole."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

from fakeclf.data.progress import Progress
from fakeclf.errors import FakeclfError

ATTEMPTS = 5
"""How often in a row a transfer may break without a single byte gained."""

_BLOCK = 1 << 20
_SECONDS_WITHOUT_AN_ANSWER = 60


class DownloadFailed(FakeclfError):
    """The file could not be had, or is not what it should be."""


class _Broken(Exception):
    """The transfer stopped; what has come is kept, and it may be tried again."""


def download(
    url: str, target: str | Path, size: int | None = None, sha256: str | None = None, *, pause: float = 1.0
) -> Path:
    """Download ``url`` to ``target``; what has come so far lies in ``target.part`` and is taken up by the next call.

    The server's ETag is kept beside the part, so that halves of two different files are never put together.

    Args:
        size: bytes the file must have.
        sha256: 64 hexadecimal digits it must hash to.
        pause: seconds to wait before a second attempt; doubled for each further one.

    Raises:
        DownloadFailed: no network, refused by the server, no space, or another size or hash than asked for (nothing
            is kept then).
    """
    target = Path(target)
    if not url.startswith(("http://", "https://")):
        raise DownloadFailed(f"cannot download {url!r}; it must begin with https:// or http://")
    part = target.with_name(target.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        failures = 0
        while True:
            before = _size(part)
            try:
                _transfer(url, part, size)
                break
            except _Broken as error:
                failures = failures + 1 if _size(part) <= before else 1
                if failures >= ATTEMPTS:
                    raise DownloadFailed(
                        f"the download of {url} broke {failures} times ({error}); run the command again to go on "
                        f"from {_size(part):,} bytes"
                    ) from error
                time.sleep(pause * 2 ** (failures - 1))
        _check(url, part, size, sha256)
        os.replace(part, target)
        _stamp(part).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadFailed(f"cannot write {part}: {error.strerror or error}; what has come so far is kept") from error
    return target


def _transfer(url: str, part: Path, size: int | None) -> None:
    """One request; returns when the file is whole, raises ``_Broken`` when it is worth another try."""
    have = _size(part)
    stamp = _read_stamp(part)
    if have and stamp.get("url", url) != url:
        part.unlink()
        have = 0
    headers = {"User-Agent": "fakeclf", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if stamp.get("etag"):
            headers["If-Range"] = stamp["etag"]
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_SECONDS_WITHOUT_AN_ANSWER
        ) as response:
            if response.status == 206 and _first_byte(response.headers) != have:
                part.unlink(missing_ok=True)
                raise _Broken("the server sent another piece than was asked for")
            if response.status != 206:  # the whole file: no resuming here, or the file has changed since
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length and length.isdigit() else None
            _check_room(url, part, total, have, size)
            _write_stamp(part, url, response.headers)
            with (
                open(part, "ab" if have else "wb") as file,
                Progress(f"downloading {part.stem}", total, "B", have) as bar,
            ):
                while block := response.read(_BLOCK):
                    file.write(block)
                    have += len(block)
                    bar.to(have)
            if total is not None and have < total:
                raise _Broken(f"{have:,} of {total:,} bytes came")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing beyond what we have: whole already, or of another file
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return
            part.unlink(missing_ok=True)
            raise _Broken("the part on disk does not fit") from error
        if error.code in (408, 429) or error.code >= 500:
            raise _Broken(f"HTTP {error.code} {error.reason}") from error
        raise DownloadFailed(f"{url} was refused: HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if have:  # it was there a moment ago
            raise _Broken(str(error.reason)) from error
        raise DownloadFailed(f"cannot reach {url} ({error.reason}); check the network") from error
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error


def _check_room(url: str, part: Path, total: int | None, have: int, size: int | None) -> None:
    if total is None:
        return
    if size is not None and total != size:
        part.unlink(missing_ok=True)
        raise DownloadFailed(f"{url} has {total:,} bytes, and should have {size:,}; not downloaded")
    free = shutil.disk_usage(part.parent).free
    if total - have > free:
        raise DownloadFailed(
            f"{part.parent} has {free / 1e6:,.0f} MB free, and {(total - have) / 1e6:,.0f} MB are needed"
        )


def _check(url: str, part: Path, size: int | None, sha256: str | None) -> None:
    if size is not None and _size(part) != size:
        problem = f"has {_size(part):,} bytes, and should have {size:,}"
    elif sha256 is not None:
        with open(part, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        problem = "" if found == sha256.lower() else f"has SHA-256 {found}, and should have {sha256.lower()}"
    else:
        problem = ""
    if problem:
        part.unlink()
        _stamp(part).unlink(missing_ok=True)
        raise DownloadFailed(f"what came from {url} {problem}; it was thrown away")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _first_byte(headers: Message) -> int:
    first = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _stamp(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_stamp(part: Path) -> dict[str, str]:
    try:
        stamp = json.loads(_stamp(part).read_text(encoding="utf-8"))
        return stamp if isinstance(stamp, dict) else {}
    except (OSError, ValueError):
        return {}


def _write_stamp(part: Path, url: str, headers: Message) -> None:
    etag = headers.get("ETag", "")
    # A weak ETag promises the same meaning, not the same bytes.
    stamp = {"url": url, "etag": "" if etag.startswith("W/") else etag}
    _stamp(part).write_text(json.dumps(stamp), encoding="utf-8")
