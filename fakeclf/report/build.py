"""Verdicts to one HTML file that holds everything it shows.

The page is written piece by piece while the verdicts come: each leaves two data blocks, its record and its thumbnails,
and is forgotten. What is said of all of them together is counted on the way and stands behind them. A script of the
page itself then makes table and details out of the blocks; it only ever sets text, so nothing that a file name or a
picture's metadata holds can become markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from fakeclf import __version__, images
from fakeclf.atomic import replace_file
from fakeclf.errors import FakeclfError
from fakeclf.verdict import VERDICTS, Verdict, Vote

SHOWN = ("picture", "overlay", "mask", "heat", "reliability", "residual")
"""Thumbnails of one picture, in the order they are shown."""

LARGE = 500
"""So many pictures get large thumbnails; the page of 5,000 must still open."""

_SIDES = (240, 160)  # of a thumbnail, pixels: large, small
_BYTES = {True: (6000, 2300), False: (2500, 800)}  # most bytes of picture and overlay, and of the others: large, small
_QUALITIES = (60, 45, 30, 15, 5)
_LONGEST = 2000  # characters of one text; metadata may hold a whole workflow
_MOST = 60  # entries of one list or dictionary
_DEEPEST = 10  # lists and dictionaries inside each other
# Would reorder, hide or break what stands around them: controls, marks of direction and of width zero, half pairs.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


@dataclass
class _Model:
    """A model that was asked, over all pictures."""

    first: Vote
    voted: int = 0
    decided: int = 0

    @property
    def version(self) -> str:
        return self.first.sha256[:12]


@dataclass
class _Tally:
    """What is said of all pictures together, counted while they pass."""

    verdicts: Counter[str] = field(default_factory=Counter)
    flips: int = 0
    tried: int = 0
    models: dict[tuple[str, str], _Model] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.verdicts.values())

    def add(self, verdict: Verdict) -> None:
        self.verdicts[verdict.verdict if verdict.verdict in VERDICTS else "error"] += 1
        self.flips += verdict.stable == "flips"
        self.tried += verdict.stable is not None
        for vote in verdict.votes:
            model = self.models.setdefault((vote.model, vote.sha256), _Model(vote))
            if vote.threshold is not None and model.first.threshold is None:
                model.first = vote
            model.voted += vote.says is not None
            model.decided += vote.model == verdict.decided_by


def write(
    path: str | Path,
    verdicts: Iterable[Verdict],
    *,
    title: str = "fakeclf report",
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of ``verdicts``; the file appears whole or not at all.

    Thumbnails are made of the files that a verdict names (of ``pixels`` where it has them), one at a time; a file that
    is missing or cannot be read leaves an empty place. Of the first 500 pictures they are at most 240 pixels a side,
    of later ones 160. Nothing of a verdict is kept, so memory does not grow with their number.

    Args:
        path: the HTML file; its folder is made if it is not there.
        verdicts: in the order in which the table first shows them; gone through once.
        title: heading of the page.
        facts: what else is to be known of the run, name to value, as ``{"Command": "fakeclf detect photos"}``.

    Returns:
        ``path``.

    Raises:
        FakeclfError: ``path`` cannot be written to.
    """
    path = Path(path)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_seen
    )
    tally = _Tally()
    css, script = _part("report.css"), _part("detail.js") + _part("report.js")
    pieces = environment.from_string(_part("template.html.j2")).generate(
        title=title,
        facts=dict(facts or {}),
        made=f"{datetime.now().astimezone():%Y-%m-%d %H:%M (UTC%z)}",
        version=__version__,
        css=css,
        script=script,
        policy=_policy(css, script),
        blocks=_blocks(verdicts, tally),
        tally=tally,
        verdicts=VERDICTS,
    )
    with replace_file(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces)
    return path


def _blocks(verdicts: Iterable[Verdict], tally: _Tally) -> Iterator[tuple[str, str]]:
    """Record and thumbnails of each picture, as JSON that is safe inside a script element."""
    for number, verdict in enumerate(verdicts):
        tally.add(verdict)
        yield _json(_plain(verdict.to_json())), _json(_thumbnails(verdict, large=number < LARGE))


def _thumbnails(verdict: Verdict, large: bool) -> dict[str, str]:
    """Data URIs by name; "" for one that cannot be read, no entry for one that never was."""
    sources: dict[str, str | np.ndarray | None] = {
        name: getattr(verdict, f"{name}_path") for name in SHOWN if name != "picture"
    }
    sources["picture"] = verdict.path if verdict.pixels is None else verdict.pixels
    if verdict.area == 0:
        sources["overlay"] = None  # nothing is marked: it is the picture once more
    found = {}
    for name in SHOWN:
        source = sources[name]
        if source is not None:
            most = _BYTES[name in ("picture", "overlay")][0 if large else 1]
            try:
                pixels = images.read(source) if isinstance(source, str) else source
                found[name] = _thumbnail(pixels, _SIDES[0 if large else 1], most)
            except FakeclfError:
                found[name] = ""
    return found


def _thumbnail(pixels: np.ndarray, side: int, most: int) -> str:
    """A WebP data URI of at most ``most`` bytes and ``side`` pixels a side: coarser, then smaller, until it fits."""
    while True:
        small = Image.fromarray(pixels)
        small.thumbnail((side, side), reducing_gap=2.0)
        for quality in _QUALITIES:
            data = images.encode_webp(np.asarray(small), quality)
            if len(data) <= most:
                return "data:image/webp;base64," + base64.b64encode(data).decode()
        side //= 2


def _plain(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON can hold it and a page can show it: nothing endless, no NaN, nothing unseen."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {_seen(str(key))[:200]: _plain(item, depth + 1) for key, item in list(value.items())[:_MOST]}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        cut = [f"… and {len(value) - _MOST:,} more"] if len(value) > _MOST else []
        return [_plain(item, depth + 1) for item in value[:_MOST]] + cut
    text = "…" if isinstance(value, Mapping | list | tuple) else _seen(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text) - _LONGEST:,} more characters)"


def _seen(value: Any) -> Any:
    """A text with its unseen characters spelt out, as ``[U+202E]``; anything else, and markup of our own, as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", value)


def _json(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # all beyond ASCII is escaped
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(css: str, script: str) -> str:
    """What the browser may do with the page: show data URIs, and run these two texts and no other."""
    style, code = (
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'" for text in (css, script)
    )
    rules = (
        "default-src 'none'",
        "img-src data:",
        f"style-src {style}",
        f"script-src {code}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    )
    return "; ".join(rules)


def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
