"""What this machine offers: versions, devices, memory, missing packages, and bundles with their checks.

Everything is what was really found: versions come from the installed metadata, devices from TensorFlow itself, and
``nvidia-smi`` stands beside them because a card can be there that TensorFlow cannot use.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from fakeclf.errors import FakeclfError

EXTRAS = {
    "gpu": "training on NVIDIA cards",
    "c2pa": "reading content credentials",
    "opencv": "the forgeries telea and navier-stokes",
    "onnx": "ONNX inpainters and detectors, exporting to ONNX",
    "torch": "reading the authors' PyTorch weights",
    "ray": "more than one machine: --engine ray",
    "test": "running the tests",
}
"""What each optional group of packages is for."""

_SHOWN = ("fakeclf", "tensorflow", "keras", "numpy", "pillow", "scikit-learn", "scikit-image", "hyperopt", "click")
_GIB = 2**30


@dataclass
class Findings:
    """What ``examine`` found. Sizes are in bytes; ``problems`` holds what stops work, one line each."""

    versions: dict[str, str] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    cores: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    bundles: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The findings as plain dictionaries and lists."""
        return asdict(self)


def examine() -> Findings:
    """Look at this machine. Imports TensorFlow (for the devices) and reads every bundle (for the hashes)."""
    found = Findings()
    found.versions = {"python": platform.python_version()} | {name: _version(name) for name in _SHOWN}
    found.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found.memory = _memory()
    found.cards = _cards()
    found.missing = {extra: lacking for extra in EXTRAS if (lacking := _lacking(extra))}
    found.problems += [f"{what}; {_install('')}" for what in _lacking("")]
    _look_at_devices(found)
    _look_at_data(found)
    _look_at_bundles(found)
    return found


def to_text(found: Findings) -> str:
    """The findings as lines for people."""
    lines = ["versions"]
    lines += [f"  {name:<14}{version}" for name, version in found.versions.items()]
    lines += ["devices TensorFlow can use"] + [f"  {device}" for device in found.devices or ["none"]]
    if found.cards:
        lines += ["nvidia-smi"] + [f"  {card}" for card in found.cards]
    lines += ["machine", f"  {'cores':<14}{found.cores}"]
    if found.memory:
        total, free = found.memory["total"] / _GIB, found.memory["available"] / _GIB
        lines.append(f"  {'memory':<14}{total:.1f} GiB, {free:.1f} GiB available")
    lines.append(f"  {'data':<14}{found.data['path']} ({found.data['free'] / _GIB:.1f} GiB free)")
    lines.append("bundles")
    for name, bundle in found.bundles.items():
        lines.append(f"  {name:<14} {'verified' if not bundle['problems'] else 'DAMAGED'}  {bundle['path']}")
    if not found.bundles:
        lines.append("  none yet; `fakeclf train` makes one")
    if found.missing:
        lines.append("not installed")
    for extra, packages in found.missing.items():
        lines.append(f"  {EXTRAS[extra]}: {', '.join(packages)}")
        lines.append(f"    {_install(extra)}")
    lines += [f"problem: {problem}" for problem in found.problems]
    return "\n".join(lines)


def _install(extra: str) -> str:
    # By path: no package index is asked for the name, where it could be anybody's.
    return "in the folder of the source: python -m pip install -e " + (f"'.[{extra}]'" if extra else ".")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _lacking(extra: str) -> list[str]:
    """Requirements of ``extra`` (``""``: of the package itself) that are absent or of another version."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("fakeclf") or []]
    except metadata.PackageNotFoundError:
        return [] if extra else ["fakeclf is not installed, only found in this folder"]
    lacking = []
    for want in wanted:
        if not _wanted_by(want, extra):
            continue
        version = _version(want.name)
        if version == "not installed" or not want.specifier.contains(version, prereleases=True):
            lacking.append(f"{want.name}{want.specifier} ({version})")
        elif want.extras:
            lacking += _lacking_parts(want)
    return lacking


def _lacking_parts(want: Requirement) -> list[str]:
    # tensorflow[and-cuda]: TensorFlow is there, but are the packages that this extra of its adds?
    parts = [Requirement(line) for line in metadata.requires(want.name) or []]
    return [
        part.name
        for part in parts
        if any(_wanted_by(part, extra) for extra in want.extras) and _version(part.name) == "not installed"
    ]


def _wanted_by(requirement: Requirement, extra: str) -> bool:
    """Whether ``extra`` alone asks for it; with ``""``, whether every installation does."""
    always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    if not extra or always:
        return not extra and always
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _memory() -> dict[str, int]:
    # What Linux counts as available includes caches it would give back; elsewhere there is no such count to show.
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
    return {"total": kib["MemTotal"] * 1024, "available": kib["MemAvailable"] * 1024}


def _cards() -> list[str]:
    command = ["nvidia-smi", "--query-gpu=index,name,memory.total,memory.free,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _look_at_devices(found: Findings) -> None:
    try:
        import tensorflow as tf
    except Exception as error:  # a broken installation fails in many ways, and all of them are the finding
        found.problems.append(f"TensorFlow cannot be imported: {' '.join(str(error).split())[:200]}")
        return
    for device in tf.config.list_physical_devices():
        short = device.name.removeprefix("/physical_device:")
        if device.device_type != "GPU":
            found.devices.append(short)
            continue
        details = tf.config.experimental.get_device_details(device)
        capability = ".".join(map(str, details.get("compute_capability", ()))) or "unknown"
        found.devices.append(f"{short}  {details.get('device_name', 'unnamed')}, compute capability {capability}")
    if found.cards and not any(device.startswith("GPU") for device in found.devices):
        found.problems.append(f"nvidia-smi lists a card that TensorFlow cannot use; {_install('gpu')}")


def _look_at_data(found: Findings) -> None:
    from fakeclf.data import datasets

    home = Path(datasets.data_home())
    there = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    found.data = {"path": str(home), "free": shutil.disk_usage(there).free}
    if not there.is_dir() or not os.access(there, os.W_OK):
        found.problems.append(f"cannot write data sets to {home}; set FAKECLF_DATA to another folder")


def _look_at_bundles(found: Findings) -> None:
    from fakeclf import bundle

    for name, path in bundle.names():
        try:
            problems = bundle.verify(path)
        except FakeclfError as error:
            problems = [str(error)]
        found.bundles[name] = {"path": str(path), "problems": problems}
        found.problems += [f"bundle {name}: {problem}" for problem in problems]
