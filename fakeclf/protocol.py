"""How a figure was measured, in a few plain lines that go wherever the figure goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fakeclf import registry

if TYPE_CHECKING:
    from fakeclf.data.codec import Header
    from fakeclf.data.datasets import Example

HEADERS = 200
"""Files of each class of each data set whose size and codec are looked at."""


def classification_lines(
    *,
    data: str,
    split: str,
    fakes: int,
    reals: int,
    unreadable: int,
    threshold: float,
    fixed_by: str,
    resamples: int,
    seed: int,
) -> list[str]:
    """The lines that belong to every figure of ``metrics.classification``."""
    return [
        f"pictures: {split} split of {data}, {fakes:,} FAKE and {reals:,} REAL; "
        f"{unreadable:,} unreadable, left out of every figure",
        f"threshold: fixed, a picture is called FAKE where P(FAKE) >= {threshold:g}; given by {fixed_by}",
        "averaging: every picture counts once, pooled over all pictures",
        "class: FAKE is positive in AP, F1, precision and recall; balanced accuracy is the mean of both classes",
        "AUC, AP and EER: on raw scores, not on thresholded ones; the score is the classifier's output, not a mask's",
        "loss: binary cross-entropy in nats, without penalties on weights",
        "ECE: 15 equal bins of P(FAKE) against the share that is FAKE",
        f"intervals: 95 %, bootstrap over pictures (percentiles), {resamples:,} resamples, seed {seed}",
    ]


def about_data(name: str) -> list[str]:
    """What the classes of a registered data set are; nothing for a folder."""
    known = {spec.name: spec for spec in registry.datasets()}
    return [f"{part}: {known[part].description}" for part in name.split("+") if part in known]


def read_headers(examples: Sequence[Example], parts: Sequence[str]) -> dict[tuple[str, str], list[Header]]:
    """Headers of up to ``HEADERS`` files of each (data set, class), evenly spaced; what cannot be read is left out."""
    from fakeclf import images
    from fakeclf.data import codec
    from fakeclf.data.datasets import LABELS

    groups: dict[tuple[str, str], list[Example]] = {}
    for example, part in zip(examples, parts, strict=True):
        groups.setdefault((part, LABELS[example.label]), []).append(example)
    headers: dict[tuple[str, str], list[Header]] = {}
    for key, group in sorted(groups.items()):
        headers[key] = []
        for place in spaced(len(group), HEADERS):
            try:
                headers[key].append(codec.header(group[place].path))
            except images.UnreadablePicture:
                continue  # counted and named where the picture itself is read
    return headers


def size_and_codec_lines(headers: dict[tuple[str, str], list[Header]]) -> list[str]:
    """Size and codec of both classes of each data set, and whether they are the same."""
    lines = []
    for part in sorted({part for part, _ in headers}):
        found = {label: group for (of, label), group in headers.items() if of == part and group}
        said = {label: f"{_sizes(group)}, {_codecs(group)}" for label, group in found.items()}
        looked = sum(map(len, found.values()))
        if len(said) == 2 and len(set(said.values())) == 1:
            lines.append(f"size and codec, {part}: both classes {said['FAKE']} (of {looked:,} files looked at)")
        elif said:
            classes = "; ".join(f"{label} {words}" for label, words in said.items())
            warning = "; THE CLASSES DIFFER, so size or codec may give them away" if len(said) == 2 else ""
            lines.append(f"size and codec, {part}: {classes} (of {looked:,} files looked at){warning}")
    return lines


def spaced(size: int, number: int) -> np.ndarray:
    """At most ``number`` places among ``size``, evenly spaced, the first and, for two and more, the last among them."""
    return np.unique(np.linspace(0, size - 1, min(size, number)).round().astype(int))


def _sizes(headers: Sequence[Header]) -> str:
    sizes = Counter((header.width, header.height) for header in headers)
    if len(sizes) <= 3:
        return " or ".join(f"{width}x{height}" for width, height in sorted(sizes))
    width, height = zip(*sizes, strict=True)
    return f"{min(width)}-{max(width)} x {min(height)}-{max(height)}"


def _codecs(headers: Sequence[Header]) -> str:
    from fakeclf.data.codec import jpeg_quality

    words = []
    for name, number in Counter(header.format for header in headers).most_common():
        qualities = [jpeg_quality(h.tables[0])[0] for h in headers if h.format == name and h.tables]
        low_high = f"{min(qualities)}-{max(qualities)}" if len(set(qualities)) > 1 else f"{qualities[:1] or ''}"
        quality = f" quality {low_high.strip('[]')}" if qualities else ""
        share = f" ({number / len(headers):.0%})" if number < len(headers) else ""
        words.append(name + quality + share)
    return ", ".join(words)
