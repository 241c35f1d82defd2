"""The file itself: complete, closed to the outside, harmless, and small while it is made."""

from __future__ import annotations

import base64
import gc
import json
import re
import time
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakeclf import images, report
from fakeclf.errors import FakeclfError
from fakeclf.report import build
from fakeclf.verdict import Verdict, Vote

VOID = {"meta", "link", "input", "br", "img"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "</script x",
    "<!-- <script x",
    "]]>&amp;\"'><img src=x onerror=alert(1)>",
    "line\u2028paragraph\u2029end",
    "photo\u202egpj.exe",
    "caf\u00e9 \u0633\u0644\u0627\u0645 \u65e5\u672c.png",
    "not utf-8 \udcff.jpg",
    "{{ 7 * 7 }} {% raw %} ${1}",
]


class Page(HTMLParser):
    """What a browser would find: elements in order, each closed; data blocks by class; text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[Any]] = {"record": [], "thumbnails": []}
        self.text = ""
        self._inside: str | None = None
        self.raw = path.read_text(encoding="utf-8")
        self.feed(self.raw)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        self.text += " "
        self._inside = dict(attrs).get("class") if tag == "script" else None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside in self.blocks:
            self.blocks[self._inside].append(json.loads(data))
        elif self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def noisy(path: Path, height: int = 60, width: int = 90) -> str:
    images.save(path, np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    return str(path)


def vote(name: str = "localizer", says: str | None = "fake", **values: Any) -> Vote:
    return Vote(name, "localizer", "ab12" * 16, 0.9, 0.9, says, 0.8, 0.6, **values)


def image(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return images.read(base64.b64decode(data, validate=True))


def test_it_holds_what_the_verdicts_hold(tmp_path: Path) -> None:
    verdict = Verdict(
        noisy(tmp_path / "a.png"), "ff" * 32, (90, 60), "fake", 0.9, "local", 0.1, "flips", ["jpeg:85"], "localizer"
    )
    verdict.votes = [vote(), vote("cifake", None, no_vote="it judges pictures of 32 x 32 pixels alone")]
    verdict.why, verdict.provenance, verdict.traces = ["Because."], {"camera": "none"}, {"jpeg_quality": 90}
    path = report.write(tmp_path / "r.html", [verdict], title="a <title>", facts={"Command": "fakeclf detect a.png"})
    assert path == tmp_path / "r.html"
    page = Page(path)
    assert page.blocks["record"] == [verdict.to_json()]
    assert "a <title>" in page.text and "fakeclf detect a.png" in page.words
    assert "1 picture was looked at: 1 fake." in page.words
    assert "1 was also saved again and resized; 1 of them got another verdict then." in page.words
    assert "localizer localizer ab12ab12ab12 60.0 % 80.0 % 1 1" in page.words
    assert "cifake localizer ab12ab12ab12 60.0 % 80.0 % 0 0" in page.words


def test_counts_of_all_verdicts(tmp_path: Path) -> None:
    words = ["fake"] * 3 + ["real"] * 2 + ["unsure", "cannot tell", None]
    page = Page(report.write(tmp_path / "r.html", [Verdict(f"{word}.jpg", verdict=word) for word in words]))
    said = (
        "8 pictures were looked at: 3 fake, 1 unsure, 2 real, 1 cannot tell, 1 could not be read or judged because of"
    )
    assert said in page.words and len(page.blocks["record"]) == 8


def test_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    names = [f"https://example.org/{text}" for text in HOSTILE]
    verdicts = [Verdict(name, why=[name], verdict="real", votes=[vote(name)]) for name in names]
    page = Page(report.write(tmp_path / "r.html", verdicts, facts={"Where": "https://example.org"}))
    for tag, values in page.elements:
        for name, value in values.items():
            assert not re.search(r"//", value or ""), (tag, name, value)
            assert name not in ("style", "background", "srcset", "action") and not name.startswith("on")
        if "src" in values or tag in ("iframe", "object", "embed", "base", "form"):
            raise AssertionError((tag, values))
        assert tag != "link" or values == {"rel": "icon", "href": "data:,"}
    own = "".join(map(build._part, ("report.css", "report.js", "detail.js", "template.html.j2")))
    assert "http:" not in own and "https:" not in own and "@import" not in own and "url(" not in own


def test_the_policy_names_the_very_texts(tmp_path: Path) -> None:
    page = Page(report.write(tmp_path / "r.html", []))
    (policy,) = [
        values["content"] for _, values in page.elements if values.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.raw, re.DOTALL)
        digest = base64.b64encode(build.hashlib.sha256(text.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    plain = Page(
        report.write(tmp_path / "p.html", [Verdict("a", why=["b"], votes=[vote("c")])] * len(HOSTILE), facts={"d": "e"})
    )
    verdicts = [Verdict(text, why=[text], votes=[vote("c")], provenance={text: [text]}) for text in HOSTILE]
    page = Page(report.write(tmp_path / "r.html", verdicts, title="".join(HOSTILE), facts={HOSTILE[2]: HOSTILE[0]}))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not re.search("[\u2028-\u202e\x00-\x08]", page.raw)
    blocks = re.findall(r'<script type="application/json" class="\w+">(.*?)</script>', page.raw)
    assert len(blocks) == 2 * len(HOSTILE) and not any(re.search("[<>&]", block) for block in blocks)
    found = [record["path"] for record in page.blocks["record"]]
    assert found[:4] == HOSTILE[:4] and found[6] == HOSTILE[6] and found[8] == HOSTILE[8]
    assert found[4] == "line[U+2028]paragraph[U+2029]end" and found[5] == "photo[U+202E]gpj.exe"
    assert found[7] == "not utf-8 [U+DCFF].jpg"
    assert HOSTILE[0] in page.text and "{{ 7 * 7 }}" in page.text


def test_what_json_cannot_hold_and_what_is_endless(tmp_path: Path) -> None:
    nest: list[Any] = []
    for _ in range(5000):
        nest = [nest]
    odd = {
        "nan": float("nan"),
        "long": "x" * 100_000,
        "many": list(range(1000)),
        "path": Path("a"),
        "deep": {"b": (1, 2)},
        "nest": nest,
    }
    page = Page(report.write(tmp_path / "r.html", [Verdict("a.jpg", provenance=odd)]))
    found = page.blocks["record"][0]["provenance"]
    assert found["nan"] is None and found["path"] == "a" and found["deep"] == {"b": [1, 2]}
    assert json.dumps(found["nest"]).count("[") == 8
    assert len(found["long"]) < 2100 and found["long"].endswith("… (98,000 more characters)")
    assert found["many"][:60] == list(range(60)) and found["many"][60:] == ["… and 940 more"]


def test_thumbnails_are_small(tmp_path: Path) -> None:
    hard = noisy(tmp_path / "hard.png", 700, 1000)
    verdict = Verdict(
        hard, area=0.5, overlay_path=hard, mask_path=hard, heat_path=hard, reliability_path=hard, residual_path=hard
    )
    for large, side, most in ((True, 240, (6000, 2500)), (False, 160, (2300, 800))):
        found = build._thumbnails(verdict, large)
        assert list(found) == list(build.SHOWN)
        for name, uri in found.items():
            pixels = image(uri)
            assert max(pixels.shape[:2]) <= side and abs(pixels.shape[1] / pixels.shape[0] - 10 / 7) < 0.1
            assert len(base64.b64decode(uri.partition(",")[2])) <= most[name not in ("picture", "overlay")]
    flat = Verdict(None, pixels=np.full((3, 500, 3), (200, 30, 30), np.uint8))
    pixels = image(build._thumbnails(flat, True)["picture"])
    assert pixels.shape == (2, 240, 3) and np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


def test_files_that_cannot_be_shown_leave_a_gap(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    verdicts = [
        Verdict(str(tmp_path / "gone.jpg"), area=0.2, overlay_path=str(tmp_path), mask_path="nul\0l.png"),
        Verdict(str(tmp_path / "broken.jpg"), error="cannot be decoded"),
        Verdict(None),
        Verdict(noisy(tmp_path / "a.png"), area=0.0, overlay_path=noisy(tmp_path / "o.png")),
    ]
    found = Page(report.write(tmp_path / "r.html", verdicts)).blocks["thumbnails"]
    assert found[:3] == [{"picture": "", "overlay": "", "mask": ""}, {"picture": ""}, {}]
    assert list(found[3]) == ["picture"], "with nothing marked, the overlay is the picture once more"


def test_nothing_of_a_verdict_is_kept(tmp_path: Path) -> None:
    alive: weakref.WeakSet[Verdict] = weakref.WeakSet()
    most = 0

    class Counted(Verdict):
        __hash__ = object.__hash__

    def stream() -> Iterator[Verdict]:
        nonlocal most
        for number in range(300):
            verdict = Counted(f"{number}.jpg", verdict="real", pixels=np.zeros((50, 50, 3), np.uint8))
            alive.add(verdict)
            gc.collect(0)
            most = max(most, len(alive))
            yield verdict

    given = stream()
    page = Page(report.write(tmp_path / "r.html", given))
    assert len(page.blocks["record"]) == 300 and list(given) == [] and most <= 3


def test_five_thousand_pictures_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest thumbnails that are allowed, of four kinds, in every record."""

    def largest(verdict: Verdict, large: bool) -> dict[str, str]:
        place = 0 if large else 1
        return {name: "A" * (4 * build._BYTES[name in ("picture", "overlay")][place] // 3) for name in build.SHOWN[:4]}

    monkeypatch.setattr(build, "_thumbnails", largest)
    votes = [vote(f"model-{number}", "real") for number in range(3)]
    why = ["localizer gives P(FAKE) 0.942, at or above 0.860, from where on it says fake."] * 5
    start = time.perf_counter()
    path = report.write(
        tmp_path / "r.html",
        (
            Verdict(f"/home/a/photos/{n:05}.jpg", "0" * 64, (9, 9), "real", 0.1, votes=votes, why=why)
            for n in range(5000)
        ),
    )
    size, seconds = path.stat().st_size / 1e6, time.perf_counter() - start
    print(f"5,000 pictures: {size:.1f} MB in {seconds:.1f} s")
    assert 30 < size < 60


def test_no_pictures_at_all(tmp_path: Path) -> None:
    page = Page(report.write(tmp_path / "r.html", iter(())))
    assert "No pictures were looked at, so there is nothing to show." in page.words
    assert page.blocks == {"record": [], "thumbnails": []} and "table" not in dict(page.elements)


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def failing() -> Iterator[Verdict]:
        yield Verdict("a.jpg")
        raise FakeclfError("no more")

    path = tmp_path / "r.html"
    path.write_text("old")
    with pytest.raises(FakeclfError, match="no more"):
        report.write(path, failing())
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(FakeclfError, match="cannot write"):
        report.write(tmp_path / "file" / "r.html", [])
    assert report.write(tmp_path / "new" / "r.html", []).is_file()
