"""File names of forged pairs, ``ID.VARIANT.SUFFIX``, as in the report "Inpainting Image Detection" (2023).

Of one ID there are up to five pictures: ``original``; ``mask``, white = inpainted; ``inpainted``, a generator's raw
output; ``realfake``, that output pasted into the original through the mask; and ``fakefake``, the original's round
trip through an autoencoder, pasted likewise.
"""

from __future__ import annotations

from pathlib import Path

from fakeclf import images
from fakeclf.errors import FakeclfError

VARIANTS = ("original", "mask", "inpainted", "realfake", "fakefake")


def file_name(identity: str, variant: str, suffix: str) -> str:
    """``identity.variant.suffix``.

    Args:
        identity: may hold dots, but no slash.
        variant: one of :data:`VARIANTS`.
        suffix: with its dot, such as ``.png``.

    Raises:
        ValueError: no such variant, or a slash in ``identity``.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}. Received: variant={variant!r}")
    if not identity or "/" in identity:
        raise ValueError(f"identity must be a file name without folder. Received: identity={identity!r}")
    return f"{identity}.{variant}{suffix}"


def split_name(name: str) -> tuple[str, str] | None:
    """ID and variant of a file name; None where it is none of these names."""
    identity, _, variant = Path(name).stem.rpartition(".")
    variant = variant.lower()
    if not identity or variant not in VARIANTS or Path(name).suffix.lower() not in images.SUFFIXES:
        return None
    return identity, variant


def find_records(folder: str | Path) -> dict[str, dict[str, Path]]:
    """All records below ``folder``, sorted; files with other names are passed over.

    Returns:
        For each record its files by variant. The key is the ID, behind the folders below ``folder`` that the record
        lies in: ``train/telea/photo-0``.

    Raises:
        FakeclfError: ``folder`` cannot be read, or one variant of a record is there twice, in two formats.
    """
    folder = Path(folder)
    records: dict[str, dict[str, Path]] = {}
    for path in images.find(folder):
        found = split_name(path.name)
        if found is None:
            continue
        identity, variant = found
        record = records.setdefault((path.parent.relative_to(folder) / identity).as_posix(), {})
        if variant in record:
            raise FakeclfError(f"{record[variant]} and {path.name} are the same picture twice; remove one of them")
        record[variant] = path
    return dict(sorted(records.items()))
