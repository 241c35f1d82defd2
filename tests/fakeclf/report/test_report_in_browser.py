"""The page in a real browser: what people see, click and search, and what the page must not do."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import skimage.data

from fakeclf import images, report
from fakeclf.registry import resolve
from fakeclf.verdict import Verdict, Vote

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=1</script>\u2028\u202egpj.exe'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of pictures that everybody with scikit-image has, with verdicts and masks that are made up."""
    folder = tmp_path_factory.mktemp("example")
    facts = {
        "Command": "fakeclf detect photos --why --report report.html",
        "Pictures": "scikit-image's own, and drawn ones",
    }
    return report.write(
        folder / "report.html", made_up(folder), title="fakeclf report: an example with made-up verdicts", facts=facts
    )


def made_up(folder: Path) -> Iterator[Verdict]:
    """Ten verdicts that no model gave: every word, every extent, provenance of two kinds, an error."""
    across, down = np.meshgrid(np.linspace(0, 1, 480), np.linspace(0, 1, 360))
    waves = np.stack([np.sin(9 * across + 5 * down), np.cos(7 * down), np.sin(6 * across * down)], axis=-1)
    drawn = np.rint(127.5 * (1 + 0.8 * waves)).astype(np.uint8)
    sky = np.stack([90 + 120 * down, 130 + 90 * down, 200 + 20 * down], axis=-1).astype(np.uint8)
    astronaut, coffee = skimage.data.astronaut(), skimage.data.coffee()
    chelsea, rocket = skimage.data.chelsea(), skimage.data.rocket()
    camera = {
        "format": "JPEG",
        "quality": 92,
        "tables": "own",
        "make": "Example",
        "model": "Example 100",
        "taken": "2024-05-31 17:45:00",
        "sentences": [
            "The file names the camera Example 100.",
            "It says that the picture was taken on 2024-05-31 17:45:00.",
            "It was saved with a maker's own tables, near libjpeg's quality 92 (4:2:0).",
        ],
    }
    program = {
        "format": "PNG",
        "software": [{"name": "Example Studio", "kind": "editor"}],
        "marks": [{"generator": "an example generator", "where": "PNG text chunk “parameters”"}],
        "sentences": [
            "Its PNG text chunk “parameters” holds the settings of an example generator. Such marks can be forged.",
            "The file names the program Example Studio.",
        ],
    }
    traces = {"jpeg_quality": 92, "jpeg_grid": [0, 0], "bandwidth": 0.81, "noise": 2.317}
    spot = np.exp(-((((across - 0.4) / 0.22) ** 2 + ((down - 0.52) / 0.26) ** 2) ** 3))
    two = np.maximum(spot[:, ::-1], np.exp(-((((across - 0.2) / 0.13) ** 2 + ((down - 0.25) / 0.15) ** 2) ** 3)))
    cases = [
        ("astronaut.png", astronaut, "real", 0.031, None, "stable", camera),
        ("coffee.png", coffee, "fake", 0.9962, spot, "stable", program),
        ("chelsea.png", chelsea, "fake", 0.942, two, "flips", {}),
        ("rocket.jpg", rocket, "unsure", 0.713, 0.7 * spot, "flips", camera),
        ("drawn/waves.png", drawn, "fake", 0.9991, np.ones_like(spot), "stable", program),
        ("drawn/sky.png", sky, "cannot tell", None, None, None, {}),
        ("small/astronaut-32.png", astronaut[96:352, 96:352][::8, ::8], "cannot tell", None, None, None, {}),
        ("small/coffee-crop.jpg", coffee[60:380, 120:440], "fake", 0.968, spot[:, ::-1], "stable", {}),
        ("small/chelsea-crop.jpg", chelsea[40:260, 100:400], "real", 0.118, None, "flips", camera),
        ("broken.jpg", None, None, None, None, None, {}),
    ]
    for name, pixels, word, p_fake, mask, stable, provenance in cases:
        path = folder / "photos" / name
        if pixels is None:
            path.write_bytes(b"\xff\xd8\xff\xe0 cut")
            yield Verdict(
                f"photos/{name}", error=f"photos/{name}: cannot be decoded (the file is cut short)", seconds=0.01
            )
            continue
        images.save(path, pixels)
        verdict = Verdict(f"photos/{name}", pixels=pixels, verdict=word, p_fake=p_fake, stable=stable, traces=traces)
        verdict.size, verdict.seconds, verdict.provenance = (pixels.shape[1], pixels.shape[0]), 1.9, provenance
        verdict.sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
        verdict.flips_after = ["jpeg:85", "resize:0.75"] if stable == "flips" else []
        if word == "cannot tell":
            why = "it judges pictures of at least 96 and at most 4,000 pixels a side with enough fine detail"
            verdict.votes = [Vote("localizer", "localizer", "5d1c0a9b2f" * 6, no_vote=why)]
            verdict.why = [
                f"localizer has no vote: {why}.",
                "No model could judge this picture, which says nothing for it or against it.",
            ]
            yield verdict
            continue
        votes(verdict, word, p_fake)
        verdict.area = 0.0
        if mask is not None:
            mask = np.asarray(resize(mask, pixels.shape[:2]), np.float32)
            verdict.area = float(np.mean(mask >= 0.75))
            verdict.extent = ("local" if verdict.area < 0.9 else "whole") if word == "fake" else None
            drawn_over = resolve("segmentation.overlay:overlay")(pixels, mask, 0.75)
            for kind, shown in (("mask", np.rint(255 * mask).astype(np.uint8)), ("overlay", drawn_over)):
                images.save(folder / f"{name}.{kind}.png", shown)
                setattr(verdict, f"{kind}_path", str(folder / f"{name}.{kind}.png"))
        yield verdict


def votes(verdict: Verdict, word: str, p_fake: float) -> None:
    """Two models, the first of which decides."""
    first = Vote("localizer", "localizer", "5d1c0a9b2f" * 6, p_fake, p_fake, word, 0.86, 0.55)
    other = Vote("regenerated", "classifier", "e07744b1c3" * 6, 0.6 * p_fake, 0.5, "real", 0.94, 0.7)
    asleep = Vote("cifake", "classifier", "9a31f6c2d8" * 6, no_vote="it judges pictures of 32 x 32 pixels alone")
    verdict.votes, verdict.decided_by, verdict.extent = (
        [first, other, asleep],
        "localizer",
        "none" if word == "real" else None,
    )
    verdict.why = [
        f"localizer gives P(FAKE) {p_fake:.3f}; it says fake from 0.860 on and real below 0.550.",
        f"regenerated gives P(FAKE) {0.6 * p_fake:.3f}, below 0.700, where it says real.",
    ]


def resize(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    rows = np.arange(size[0]) * values.shape[0] // size[0]
    return values[rows[:, None], np.arange(size[1]) * values.shape[1] // size[1]]


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """``visit(path, fragment="", **options)`` opens a page; what it asked for, and what it complained of, is kept."""
    opened: list[Any] = []

    def visit(path: Path, fragment: str = "", **options: Any) -> Any:
        page = browser.new_page(**{"viewport": DESKTOP, **options})
        opened.append(page)
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(path.as_uri() + fragment)
        return page

    yield visit
    for page in opened:
        outside = [unquote(url) for url in page.asked if not url.startswith(("data:", "file:"))]
        files = {url for url in page.asked if url.startswith("file:")}
        page.close()
        assert outside == [] and len(files) == 1, "the page asks for nothing but itself"
        assert page.complaints == []


def names(page: Any) -> list[str]:
    return page.locator("#rows .name a").all_inner_texts()


def cells(page: Any, label: str) -> list[str]:
    return page.locator(f'#rows [data-label="{label}"]').all_inner_texts()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("fragment", ["", "#picture-2"])
def test_nothing_sticks_out(visit: Any, example: Path, viewport: dict[str, int], fragment: str) -> None:
    page = visit(example, fragment, viewport=viewport)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    inside = page.evaluate("""() => [...document.querySelectorAll("#pictures *, dialog, dialog *")]
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
        .map((one) => one.outerHTML.slice(0, 80))""")
    assert inside == []
    assert page.locator("dialog[open]").count() == bool(fragment)


def test_it_sorts_with_what_is_unknown_at_the_end(visit: Any, example: Path) -> None:
    page = visit(example)
    as_given = names(page)
    assert as_given[0] == "astronaut.png" and as_given[-1] == "broken.jpg"
    heading = page.locator('#columns [data-key="p_fake"]')
    assert heading.get_attribute("aria-sort") == "none"
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = ["> 99.9 %", "99.6 %", "96.8 %", "94.2 %", "71.3 %", "11.8 %", "3.1 %", "–", "–", "–"]
    assert cells(page, "P(FAKE)") == falling
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert cells(page, "P(FAKE)") == falling[6::-1] + falling[7:]
    page.locator('#columns [data-key="name"] button').click()
    assert heading.get_attribute("aria-sort") == "none" and names(page) == sorted(as_given)
    page.locator('#columns [data-key="stable"] button').click()
    assert [text.strip() for text in cells(page, "If saved again")] == ["⇄ flips"] * 3 + ["stable"] * 4 + ["–"] * 3
    page.locator('#columns [data-key="size"] button').click()
    assert cells(page, "Size")[0] == "640 × 427" and cells(page, "Size")[-1] == "–"
    page.locator('#columns [data-key="verdict"] button').click()
    words = page.locator("#rows .verdict .word").all_inner_texts()
    assert words == ["fake"] * 4 + ["unsure"] + ["real"] * 2 + ["cannot tell"] * 2 + ["error"]


def test_it_filters_and_searches(visit: Any, example: Path) -> None:
    page = visit(example)
    button = page.locator("#filters button")
    assert button.all_text_contents() == ["fake 4", "unsure 1", "real 2", "cannot tell 2", "error 1", "⇄ flips only 3"]
    button.nth(0).click()
    assert len(names(page)) == 4 and button.nth(0).get_attribute("aria-pressed") == "true"
    button.nth(1).click()
    assert len(names(page)) == 5
    button.nth(5).click()
    assert names(page) == ["chelsea.png", "rocket.jpg"]
    assert page.locator("#status").inner_text() == "Showing 1 to 2 of 2, out of 10"
    page.locator("#search").fill("no such name")
    assert not page.locator("#table").is_visible()
    page.locator("#clear").click()
    assert len(names(page)) == 10
    page.locator("#search").fill("SMALL crop")
    assert names(page) == ["coffee-crop.jpg", "chelsea-crop.jpg"]


def test_a_picture_opens_and_closes(visit: Any, example: Path) -> None:
    page = visit(example)
    dialog = page.locator("#detail")
    link = page.locator("#rows .name a", has_text="chelsea.png")
    link.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible() and page.url.endswith("#picture-3")
    text = dialog.inner_text()
    for part in (
        "chelsea.png",
        "a part of the picture",
        "P(FAKE) 94.20 %",
        "quality 85 or resizing it to 75 %",
        "photos/chelsea.png",
        "Real below 55.0 %, unsure from 55.0 %, fake from 86.0 %.",
        "it judges pictures of 32 x 32 pixels alone",
        "decided",
    ):
        assert part in text
    assert page.locator("#detail figure img").count() == 3
    mark = page.locator(".vote .mark").first
    bar = page.locator(".vote .bar").first.bounding_box()
    place = mark.bounding_box()
    assert abs((place["x"] + place["width"] / 2 - bar["x"]) / bar["width"] - 0.942) < 0.01
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#picture-4") and "rocket.jpg" in dialog.inner_text()
    page.keyboard.press("Escape")
    page.wait_for_url(example.as_uri())
    assert not dialog.is_visible()
    page.go_forward()
    assert dialog.is_visible()
    page.go_back()
    assert not dialog.is_visible() and len(names(page)) == 10
    link.click()
    page.locator("#detail button", has_text="Close").click()
    page.wait_for_url(example.as_uri())
    assert not dialog.is_visible()


def test_a_picture_has_an_address(visit: Any, example: Path) -> None:
    page = visit(example, "#picture-2")
    assert "holds the settings of an example generator" in page.locator("#detail").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_url(example.as_uri())
    assert not page.locator("#detail").is_visible()
    page = visit(example, "#picture-999")
    assert not page.locator("#detail").is_visible()
    page = visit(example, "#picture-10")
    assert "the file is cut short" in page.locator("#detail").inner_text()


def test_a_verdict_is_told_without_colour(visit: Any, example: Path) -> None:
    page = visit(example)
    shapes = page.locator("#rows .verdict .word").evaluate_all(
        "all => all.map(one => [one.innerText, one.querySelector('.shape').innerHTML])"
    )
    assert len({drawn for _, drawn in shapes}) == len({said for said, _ in shapes}) == 5
    explained = page.locator(".words dt").evaluate_all(
        "all => all.map(one => [one.innerText.trim(), one.querySelector('.shape').innerHTML])"
    )
    assert len(explained) == 4 and dict(explained).items() <= dict(shapes).items()


def test_hostile_texts_run_nothing(visit: Any, tmp_path: Path) -> None:
    vote = Vote(HOSTILE, HOSTILE, HOSTILE, 0.9, 0.9, "fake", 0.5, 0.4)
    verdict = Verdict(f"{HOSTILE}/{HOSTILE}", HOSTILE, (8, 8), "fake", 0.9, "whole", 0.5, "flips", [HOSTILE], HOSTILE)
    verdict.votes, verdict.why, verdict.error, verdict.version = [vote], [HOSTILE], HOSTILE, HOSTILE
    verdict.provenance, verdict.traces = {HOSTILE: {HOSTILE: [HOSTILE]}, "sentences": [HOSTILE]}, {HOSTILE: HOSTILE}
    verdict.overlay_path = HOSTILE
    path = report.write(tmp_path / "r.html", [verdict], title=HOSTILE, facts={HOSTILE: HOSTILE})
    page = visit(path, "#picture-1")
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0 and page.locator("script").count() == 3
    shown = page.locator("#detail").inner_text()
    assert "<img src=x onerror=" in shown and "[U+202E]gpj.exe" in shown and "\u202e" not in page.content()


def test_the_policy_holds(visit: Any, example: Path) -> None:
    """Even a script that did get into the page could neither run nor ask for anything."""
    page = visit(example)
    failures: list[str] = []
    page.on("requestfailed", lambda request: failures.append(f"{request.url} {request.failure}"))
    page.evaluate("""() => {
        const script = document.createElement("script");
        try { script.textContent = "window.broken = 1"; document.body.append(script); } catch { /* refused at once */ }
        const image = document.createElement("img");
        image.src = "https://example.org/x.png";
        document.body.append(image);
    }""")
    page.wait_for_timeout(100)
    assert page.evaluate("window.broken") is None
    assert failures == ["https://example.org/x.png csp"]
    page.asked.remove("https://example.org/x.png")
    refused = [text for text in page.complaints if "Content Security Policy" in text or "TrustedScript" in text]
    assert len(refused) >= 2 and len(refused) == len(page.complaints)
    page.complaints.clear()


def test_no_pictures_at_all(visit: Any, tmp_path: Path) -> None:
    page = visit(report.write(tmp_path / "r.html", []), "#picture-1")
    assert "No pictures were looked at" in page.locator("main").inner_text()
    assert page.locator("table").count() == 0 and page.locator("#opening").count() == 0


def test_five_thousand_pictures(visit: Any, tmp_path: Path) -> None:
    def many() -> Iterator[Verdict]:
        for number in range(5000):
            p_fake = (number * 2654435761 % 5003) / 5003
            word = "fake" if p_fake > 0.9 else "unsure" if p_fake > 0.7 else "real"
            votes = [Vote(f"model-{part}", "classifier", "0" * 64, p_fake, p_fake, word, 0.9, 0.7) for part in range(3)]
            yield Verdict(f"folder/{number}.jpg", "0" * 64, (640, 480), word, p_fake, area=p_fake / 2, votes=votes)

    page = visit(report.write(tmp_path / "r.html", many()))
    assert len(names(page)) == 100 and page.locator("#status").inner_text() == "Showing 1 to 100 of 5,000"
    spent = []
    for key in ("p_fake", "name", "area", "verdict"):
        spent.append(
            page.evaluate(
                """(key) => {
            const start = performance.now();
            document.querySelector(`#columns [data-key="${key}"] button`).click();
            return performance.now() - start;
        }""",
                key,
            )
        )
    print("sorting 5,000 pictures, ms:", [round(one) for one in spent])
    assert max(spent) < 1000
    page.locator('#columns [data-key="p_fake"] button').click()
    assert cells(page, "P(FAKE)")[0] == "> 99.9 %"
    page.locator("#after").click()
    assert page.locator("#page").inner_text() == "Page 2 of 50" and len(names(page)) == 100
    page.locator("#search").fill("/4999.")
    assert names(page) == ["4999.jpg"]


@pytest.mark.parametrize("name, viewport", [("desktop", DESKTOP), ("phone", PHONE)])
def test_screenshots(visit: Any, example: Path, tmp_path: Path, name: str, viewport: dict[str, int]) -> None:
    """Kept where FAKECLF_SCREENSHOTS says, for the documentation."""
    folder = Path(os.environ.get("FAKECLF_SCREENSHOTS", tmp_path))
    phone = name == "phone"
    page = visit(example, viewport=viewport, is_mobile=phone, device_scale_factor=1 + phone)
    if phone:
        page.set_viewport_size({"width": 390, "height": 1900})
    page.screenshot(path=folder / f"report-{name}.png", full_page=not phone)
    pixels = images.read(folder / f"report-{name}.png")
    assert pixels.shape[1] == viewport["width"] * (1 + phone)
    assert len(np.unique(pixels.astype(int) @ [65536, 256, 1])) > 1000, "there are photographs on it"
