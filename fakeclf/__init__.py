"""Is a picture real or machine-made, and which part of it was repainted?

Image level. Names are loaded when first used: importing ``fakeclf`` imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "FakeclfError": "fakeclf.errors",
    "detect": "fakeclf.detection",
    "load": "fakeclf.bundle",
    "read_card": "fakeclf.bundle",
    "train": "fakeclf.training.trainer",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fakeclf' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
