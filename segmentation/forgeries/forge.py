"""From a folder of photographs to a data set of forged pictures with masks.

OUT/{train,val,test}/GENERATOR/ID.VARIANT.SUFFIX, see ``names``; what comes from one photograph is in one part. All
chance of a pair comes from the seed, the photograph, the generator and the pair's number, so neither the order of the
work nor the number of processes changes a byte.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from fakeclf import bundle
from fakeclf.data.progress import Progress
from fakeclf.data.regenerated import SMALLEST, photo_splits
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from segmentation.forgeries import names
from segmentation.forgeries.inpainters import expanded, source_names
from segmentation.forgeries.manifest import Manifest, Row
from segmentation.forgeries.pairs import Done, Forger, Photograph, Plan, Task

VARIANTS = ("original", "mask", "inpainted", "realfake")
"""What is written unless something else is asked for."""


@dataclass(frozen=True)
class Forged:
    """What ``forge`` left behind: the folder, a row a generator, and why photographs were skipped."""

    folder: Path
    generators: dict[str, Row]
    skipped: list[str]


def forge(
    photos: str | Path,
    out: str | Path,
    *,
    sources: Sequence[str],
    masks: str | Sequence[str] = "mix",
    area: tuple[float, float] = (0.02, 0.4),
    per_photo: int = 1,
    size: int | None = None,
    shrink: tuple[float, float] | None = None,
    soften: tuple[float, float] | None = None,
    rework: bool = False,
    variants: Sequence[str] = VARIANTS,
    autoencoder: str | None = None,
    format: str = "png",
    workers: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Forged:
    """Forge pictures from the photographs below ``photos``; goes on where it was stopped.

    Run again with further ``sources`` or photographs, it adds to the folder; a photograph keeps the part it was in.

    Args:
        photos: its train/, val/, test/ folders are kept apart if it has them; else it is split by file, seeded.
        sources: what makes the forged pixels, see ``inpainters.open_source``; ``zoo-*`` stands for all the bundles it
            fits.
        masks: where masks come from, see ``masks.mask_source``; of several, one is chosen each time.
        area: smallest and largest share of the picture that a mask covers.
        per_photo: pairs of each photograph and source.
        size: longer sides are cut, around the centre, to this many pixels; None cuts only to multiples of 8.
        shrink: each photograph is first made smaller by a factor drawn from this range (Lanczos). None leaves its
            pixels as they are; a smaller copy has lost the traces of its own codec, as pictures on the web have.
        soften: each photograph is then made smaller by a factor drawn from this range and enlarged back to its size,
            with a little grain: as smooth as film scans and pictures straight from a sensor, which JPEG photographs and
            shrunk ones are not. None leaves it as it is.
        rework: each photograph is then denoised, turned, resized, sharpened, saved again, as is drawn for it, see
            ``histories.reworked``.
        variants: which of ``names.VARIANTS`` are written; ``fakefake`` needs ``autoencoder``.
        autoencoder: a source that regenerates whole frames, for ``fakefake``.
        format: ``png``, ``webp`` (both without loss) or ``jpeg:QUALITY`` (masks are PNG even so).
        workers: processes for sources and masks that hold no network; default: one a processor.
        data_dir: where to look for brought weights; default: the data folder.
        say: called with one line for every photograph that is skipped.

    Raises:
        FakeclfError: an argument is wrong, no photograph could be used, ``out`` was made with other settings, or the
            disk is full; finished pairs are kept.
    """
    out, photos, sources = Path(out), Path(photos), expanded(sources)
    of_masks = masks if isinstance(masks, str) else tuple(masks)
    brought = None if data_dir is None else str(data_dir)
    plan = Plan(
        out=out,
        masks=of_masks,
        area=(area[0], area[1]),
        size=size,
        shrink=None if shrink is None else (shrink[0], shrink[1]),
        soften=None if soften is None else (soften[0], soften[1]),
        rework=rework,
        variants=tuple(variants),
        autoencoder=autoencoder,
        format=format,
        seed=seed,
        data_dir=brought,
    )
    _check(plan, sources, per_photo, workers)
    splits = photo_splits(photos, seed=seed)
    forger = Forger(plan)
    opened = _by_generator(forger, sources)
    used = {name: (text, forger.source(text)) for name, text in opened.items()}
    manifest = Manifest(plan, photos, per_photo, used, forger.autoencoder)
    photographs = _photographs(photos, splits, manifest)
    tasks, finished = _tasks(photographs, opened, per_photo, manifest, forger)
    manifest.write()

    apart = [task for task in tasks if not forger.in_process(task.source)]
    processes = min(workers or _processors(), len(apart))
    here = tasks if processes < 2 else [task for task in tasks if forger.in_process(task.source)]
    total = finished + sum(len(task.numbers) for task in tasks)
    skipped: dict[str, str] = {}
    seconds: dict[str, float] = defaultdict(float)
    try:
        working = closing(_all_done(plan, forger, apart if processes >= 2 else [], here, processes))
        with Progress("forge", total, "pairs", done=finished) as progress, working as all_done:
            for done in all_done:
                manifest.add(done.records)
                seconds[done.generator] += done.seconds
                if done.skipped and done.photo not in skipped:
                    skipped[done.photo] = done.skipped[0]
                    say(f"skipped {done.skipped[0]}")
                progress.to(progress.done + len(done.records))
                manifest.write_now_and_then(skipped.values())
    except BaseException:
        # On a full disk this fails as well; what is finished is found again by its files.
        with suppress(FakeclfError):
            manifest.write(skipped.values())
        raise
    manifest.write(skipped.values(), complete=True)
    rows = manifest.rows(seconds)
    if not any(row.pairs for row in rows.values()):
        why = next(iter(skipped.values()))
        raise FakeclfError(f"none of {len(photographs)} photographs in {photos} could be forged; the first: {why}")
    return Forged(out, rows, list(skipped.values()))


def needs_keras(text: str) -> bool:
    """Whether to open the source of that name imports Keras; only networks of this project do."""
    bundles = {name for name, _ in bundle.names()}
    return ":" not in text and (text in bundles or text not in source_names())


def _check(plan: Plan, sources: Sequence[str], per_photo: int, workers: int | None) -> None:
    if not sources:
        raise FakeclfError(f"no source of forged pixels is named; some are: {', '.join(source_names())}")
    for variant in plan.variants:
        if variant not in names.VARIANTS:
            raise FakeclfError(f"there is no variant {variant!r}; {closest(variant, names.VARIANTS)}")
    if len(set(plan.variants)) < max(1, len(plan.variants)):
        raise FakeclfError(f"variants must be some of {', '.join(names.VARIANTS)}, each once")
    if ("fakefake" in plan.variants) != (plan.autoencoder is not None):
        raise FakeclfError(
            "the variant fakefake and an autoencoder need each other; name both, such as fakefake and taef2, or neither"
        )
    kind, _, quality = plan.format.partition(":")
    if plan.format not in ("png", "webp") and not (kind == "jpeg" and quality.isdecimal() and 1 <= int(quality) <= 100):
        raise FakeclfError(f"format must be png, webp or jpeg:QUALITY (1 to 100); received {plan.format!r}")
    for what, factors in (("shrink", plan.shrink), ("soften", plan.soften)):
        if factors is not None and not 0 < factors[0] <= factors[1] <= 1:
            raise FakeclfError(f"{what} must be two factors between 0 and 1, the smaller first; received {factors}")
    if plan.size is not None and plan.size < SMALLEST:
        raise FakeclfError(f"size must be at least {SMALLEST} pixels; received {plan.size}")
    for what, value in (("per_photo", per_photo), ("workers", 1 if workers is None else workers)):
        if value < 1:
            raise FakeclfError(f"{what} must be 1 or more; received {value}")


def _by_generator(forger: Forger, sources: Sequence[str]) -> dict[str, str]:
    """Opens every source; its text by the name of its folder."""
    found: dict[str, str] = {}
    for text in sources:
        name = forger.source(text).name
        if name in found:
            raise FakeclfError(f"the sources {found[name]!r} and {text!r} are both called {name}; name one of them")
        found[name] = text
    return found


def _photographs(photos: Path, splits: dict[str, list[Path]], manifest: Manifest) -> list[Photograph]:
    """Every photograph with its part and an ID: its path below the part, with a hash if that is shared or long."""
    given = (photos / "train").is_dir()
    found: list[tuple[Path, str, str, str]] = []
    for part, paths in splits.items():
        for path in paths:
            name = path.relative_to(photos).as_posix()
            below = path.relative_to(photos / part if given else photos).with_suffix("")
            found.append((path, name, part, "_".join(below.parts).replace(".", "_")))
    # Some file systems take a.png and A.png for one file.
    same = Counter(identity.casefold() for *_, identity in found)
    photographs = []
    for path, name, part, identity in found:
        if same[identity.casefold()] > 1 or len(identity.encode(errors="surrogateescape")) > 150:
            identity = identity[:50] + "-" + hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
        # More photographs make a new split; those that were forged before must not change sides.
        photographs.append(Photograph(path, name, manifest.parts.get(name, part), identity))
    return photographs


def _tasks(
    photographs: list[Photograph], opened: dict[str, str], per_photo: int, manifest: Manifest, forger: Forger
) -> tuple[list[Task], int]:
    """What is still to be made, and how many pairs are finished."""
    tasks, finished = [], 0
    for generator, text in opened.items():
        for photo in photographs:
            task, missing = Task(photo, text, generator, ()), []
            for number in range(per_photo):
                if not manifest.has(photo, generator, number):
                    record = forger.found(task, number)
                    if record is None:
                        missing.append(number)
                        continue
                    manifest.add([record])
                finished += 1
            if missing:
                tasks.append(Task(photo, text, generator, tuple(missing)))
    return tasks, finished


def _all_done(plan: Plan, forger: Forger, apart: list[Task], here: list[Task], processes: int) -> Generator[Done]:
    """Does tasks, those of ``apart`` in other processes and those of ``here`` in this one after them."""
    if apart:
        # A forked copy of a process that has threads, as TensorFlow's, may hang.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(processes, context, initializer=_start, initargs=(plan,))
        try:
            for future in as_completed([pool.submit(_do, task) for task in apart]):
                yield future.result()
        except BrokenProcessPool:
            raise FakeclfError(
                "a process of the forge ended early, for want of memory perhaps, or because a script calls forge "
                'outside of `if __name__ == "__main__":`; finished pairs are kept; run it again, with fewer workers'
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    yield from map(forger.do, here)


_forger: Forger | None = None


def _start(plan: Plan) -> None:
    """In a new process: open what it needs. Ctrl-C is the main process' affair."""
    global _forger
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _forger = Forger(plan)


def _do(task: Task) -> Done:
    assert _forger is not None
    return _forger.do(task)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
