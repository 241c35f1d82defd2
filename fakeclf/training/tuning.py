"""Search over a recipe's settings with hyperopt's tree-structured Parzen estimator; a killed search goes on.

Every finished trial is written to ``trials.jsonl`` as one line of plain JSON (never a pickle), and the point of trial n
is drawn from the trials before it and from (seed, n) alone. So a search that was killed and resumed proposes the same
points as one that ran through.

Reference: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"; report "Inpainting Image Detection"
(2023), which tunes with hyperopt.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakeclf.atomic import replace_file
from fakeclf.config import Recipe, to_mapping
from fakeclf.errors import FakeclfError
from fakeclf.training.space import Space, with_values

if TYPE_CHECKING:
    import keras

    from fakeclf.data.datasets import Dataset

SCHEMA = 1
RANDOM_TRIALS = 10
"""Trials drawn at random before the estimator has enough to go by."""

Objective = Callable[[Recipe, Path], float]
"""``objective(recipe, trial_folder)`` -> validation loss, the smaller the better."""


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes:
        best: the best trial's settings, recipe key -> plain value.
        recipe: the recipe with them applied.
        trials: in order, each ``number`` (from 1), ``status`` (ok | fail), ``loss`` (None where it failed), ``params``,
            ``seconds`` and ``reason`` (one line, None where it did not fail).
        table: the trials as text, best first.
    """

    best: dict[str, Any]
    recipe: Recipe
    trials: list[dict[str, Any]]
    table: str


def tune(
    recipe: Recipe,
    objective: Objective,
    run: Path,
    *,
    trials: int,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> Search:
    """Search ``recipe.search`` for the settings with the smallest loss.

    A trial that raises, or whose loss is no finite number, is recorded with its reason, and the search goes on.
    Ctrl-C stops it between two trials' records: what is done is kept, and the same call goes on from there.

    Args:
        recipe: the settings that stay, and in ``search`` the space; see ``fakeclf.training.space``.
        objective: called with the trial's recipe and a folder of its own below ``run``.
        run: gets ``trials.jsonl``, ``trials.txt`` (the table), ``trials.png`` and ``trials/NNNN/``.
        trials: how many in all, those of an earlier, killed search included.
        seed: of the points.
        about: what else must be the same for trials to be comparable (data digest, member hashes); plain values.
        say: called with one line a trial; None prints it.

    Raises:
        FakeclfError: for a wrong space, if ``run`` holds another search's trials, or if every trial failed.
    """
    space = Space(recipe)
    journal = Journal(recipe, run, trials=trials, seed=seed, about=about, say=say)
    for number in range(len(journal.documents), trials):
        journal.add(_one_trial(number, journal.documents, space, recipe, objective, run, seed))
    return journal.search()


class Journal:
    """The finished trials of a search, on disk after each of them; the same files whatever engine draws the points.

    Args:
        recipe, run, trials, seed, about, say: as of :func:`tune`.

    Attributes:
        documents: hyperopt's document of each finished trial, plain values, numbered from 1 as they finished.

    Raises:
        FakeclfError: ``run`` holds another search's trials, or fewer than one is asked for.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: Path,
        *,
        trials: int,
        seed: int,
        about: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if trials < 1:
            raise FakeclfError(f"a search needs at least one trial; received {trials}")
        self.recipe, self.run, self.total = recipe, run, trials
        self.path = run / "trials.jsonl"
        self._identity = {"schema": SCHEMA, "search_seed": seed, **to_mapping(recipe), **(about or {})}
        self.documents = _read_journal(self.path, json.loads(json.dumps(self._identity)))
        self._say = say or partial(print, flush=True)
        self._started, self._before = time.monotonic(), len(self.documents)

    def add(self, document: dict[str, Any]) -> None:
        """Write a trial that has just finished, and say so."""
        self.documents.append(document)
        _write_journal(self.path, self._identity, self.documents)
        with replace_file(self.run / "trials.txt") as beside:
            beside.write_text(format_table(self._results()) + "\n", encoding="utf-8")
        done = len(self.documents)
        left = (time.monotonic() - self._started) / (done - self._before) * (self.total - done)
        self._say(f"trial {done}/{self.total}: {_outcome(document['result'])}, about {left:.0f} s left")

    def search(self) -> Search:
        """What came out of it, drawn into ``trials.png``.

        Raises:
            FakeclfError: every trial failed.
        """
        done = self._results()
        good = [trial for trial in done if trial["status"] == "ok"]
        if not good:
            raise FakeclfError(
                f"all {len(done)} trials failed, the last one with: {done[-1]['reason']}; "
                f"correct the recipe or its search space and remove {self.path}"
            )
        from fakeclf import plots

        plots.trials(done, self.run / "trials.png")
        best = min(good, key=lambda trial: trial["loss"])["params"]
        return Search(best, with_values(self.recipe, best), done, format_table(done))

    def _results(self) -> list[dict[str, Any]]:
        return [document["result"] for document in self.documents]


def evaluate(objective: Objective, recipe: Recipe, params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One trial in ``folder``, whatever comes of it: ``status``, ``loss``, ``params``, ``seconds``, ``reason``."""
    started = time.monotonic()
    loss, reason = None, None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        loss = float(objective(with_values(recipe, params), folder))
        if not math.isfinite(loss):
            loss, reason = None, f"the loss is {loss}"
    except Exception as error:
        # Also out of memory and the like: one bad point must not end a search of a night.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    seconds = round(time.monotonic() - started, 3)
    return {"status": "fail" if reason else "ok", "loss": loss, "params": params, "seconds": seconds, "reason": reason}


def history_of(documents: list[dict[str, Any]]) -> Any:
    """hyperopt's ``Trials`` of a journal's documents."""
    from hyperopt import trials_from_docs

    return trials_from_docs([_with_times(document) for document in documents])


def plain_document(document: dict[str, Any]) -> dict[str, Any]:
    """hyperopt's document of a trial as JSON can hold it: its times as text, no NumPy types."""
    return json.loads(json.dumps(document, default=_plain))


def training_objective(
    dataset: Dataset,
    *,
    strategy: str = "auto",
    memory_fraction: float | None = None,
    build: Callable[[Recipe], Callable[[], keras.Model]] | None = None,
) -> Objective:
    """An objective that trains on ``dataset`` and returns the kept epoch's validation loss.

    A trial that was killed resumes within its training. The weights of finished trials are removed: the best settings
    are trained again in a run of their own.

    Args:
        dataset: with a validation part.
        strategy, memory_fraction: see ``fakeclf.training.strategy.place``.
        build: recipe -> what makes its model; None = the recipe's registered model.
    """

    def objective(recipe: Recipe, folder: Path) -> float:
        import keras

        from fakeclf.training import trainer

        result = trainer.train(
            recipe,
            dataset,
            folder,
            strategy=strategy,
            memory_fraction=memory_fraction,
            build=build(recipe) if build else None,
        )
        loss = result.history["val_loss"][result.best_epoch]
        del result
        keras.backend.clear_session(free_memory=True)
        # The resume point goes first: it must never name weights that are not there.
        for leftover in (folder / "resume.json", *folder.glob("*.weights.h5")):
            leftover.unlink(missing_ok=True)
        return float(loss)

    return objective


def format_table(trials: list[dict[str, Any]]) -> str:
    """Trials as aligned text, best first, failed ones last with their reasons."""
    keys = list(trials[0]["params"]) if trials else []
    ordered = sorted(trials, key=lambda trial: (trial["status"] != "ok", trial["loss"] or 0.0, trial["number"]))
    rows = [["trial", "loss", "seconds", *keys]]
    for trial in ordered:
        loss = "failed" if trial["status"] != "ok" else f"{trial['loss']:.5f}"
        values = [_short(trial["params"][key]) for key in keys]
        rows.append([str(trial["number"]), loss, f"{trial['seconds']:.1f}", *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    reasons = [f"trial {trial['number']} failed: {trial['reason']}" for trial in ordered if trial["reason"]]
    return "\n".join([*lines, *reasons])


def _one_trial(
    number: int,
    documents: list[dict[str, Any]],
    space: Space,
    recipe: Recipe,
    objective: Objective,
    run: Path,
    seed: int,
) -> dict[str, Any]:
    """Propose a point, evaluate it, return hyperopt's document of it (with ``datetime`` values as text)."""
    import numpy as np
    from hyperopt import fmin, tpe
    from hyperopt.exceptions import AllTrialsFailed

    def outcome(point: dict[str, Any]) -> dict[str, Any]:
        made = evaluate(objective, recipe, space.settings(point), run / "trials" / f"{number + 1:04d}")
        if made["loss"] is None:
            del made["loss"]  # hyperopt takes a loss for a number
        return {**made, "number": number + 1}

    # Trials are rebuilt from their documents before every trial, also where nothing was resumed: one way, one result.
    history = history_of(documents)
    # fmin ends by looking for the best trial; that there is none yet is no error here.
    with suppress(AllTrialsFailed):
        fmin(
            outcome,
            space.expressions(),
            algo=partial(tpe.suggest, n_startup_jobs=RANDOM_TRIALS, verbose=False),
            max_evals=number + 1,
            trials=history,
            rstate=np.random.default_rng([seed, number]),
            show_progressbar=False,
            verbose=False,
            return_argmin=False,
        )
    document = plain_document(history.trials[-1])
    document["result"].setdefault("loss", None)
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.item()


def _with_times(document: dict[str, Any]) -> dict[str, Any]:
    times = {key: document[key] and datetime.fromisoformat(document[key]) for key in ("book_time", "refresh_time")}
    return {**document, **times}


def _read_journal(path: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        header, *documents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        numbers = [document["result"]["number"] for document in documents]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FakeclfError(f"{path} is no list of trials ({error}); remove it to search anew") from error
    if numbers != list(range(1, len(numbers) + 1)):
        raise FakeclfError(f"{path} lacks trials (found numbers {numbers}); remove it to search anew")
    different = (
        [key for key in identity if header.get(key) != identity[key]] if isinstance(header, dict) else ["header"]
    )
    if different:
        raise FakeclfError(
            f"{path.parent} holds a search with another {', '.join(different)}; "
            f"take another run folder, or remove {path} to search anew"
        )
    return documents


def _write_journal(path: Path, identity: dict[str, Any], documents: list[dict[str, Any]]) -> None:
    with replace_file(path) as beside:
        lines = [json.dumps(line, allow_nan=False) for line in (identity, *documents)]
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _outcome(trial: dict[str, Any]) -> str:
    return f"failed ({trial['reason']})" if trial["reason"] else f"loss {trial['loss']:.5f}, {trial['seconds']:.1f} s"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
