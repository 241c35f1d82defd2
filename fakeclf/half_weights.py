"""Weights on disk as float16: half the size, and nothing that is measured changes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fakeclf.atomic import replace_file


def halve_weights(path: Path) -> None:
    """Rewrite the weights inside a ``.keras`` file as float16; Keras casts them back to float32 when it loads."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    half = io.BytesIO()
    with h5py.File(io.BytesIO(parts["model.weights.h5"])) as source, h5py.File(half, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                if values.dtype == np.float32 and np.all(np.abs(values) < np.finfo(np.float16).max):
                    values = values.astype(np.float16)
                new = target.create_dataset(name, data=values)
            else:
                new = target.require_group(name)
            for key, value in item.attrs.items():
                new.attrs[key] = value

        source.visititems(copy)
        for key, value in source.attrs.items():
            target.attrs[key] = value
    parts["model.weights.h5"] = half.getvalue()
    with replace_file(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
