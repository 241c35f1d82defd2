"""Write beside, then rename: a reader never sees a half-written file or folder."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fakeclf.errors import FakeclfError


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes the place of ``path``, on error it is removed.

    Raises:
        FakeclfError: if the folder cannot be written to (read-only, full, not a folder).
    """
    path = Path(path)
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink()


@contextmanager
def replace_folder(path: str | Path, force: bool = False) -> Iterator[Path]:
    """Yield a new empty folder beside ``path``; on success it becomes ``path``, on error it is removed.

    An existing ``path`` is only replaced with ``force``, and stays whole until the new folder is complete.

    Raises:
        FakeclfError: if ``path`` exists and ``force`` is false, or the folder cannot be written to.
    """
    path = Path(path)
    if path.exists() and not force:
        raise FakeclfError(f"{path} exists already; choose another name, or pass --force to replace it")
    beside, old = _beside(path), _beside(path)
    try:
        beside.mkdir(parents=True)
        yield beside
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(beside, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    # The name stays last: writers such as Keras and Pillow choose the format by its end.
    return path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")


def _cannot_write(path: Path, error: OSError) -> FakeclfError:
    return FakeclfError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder")
