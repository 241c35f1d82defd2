"""The search of ``fakeclf.training.tuning`` over many machines: Ray Tune runs the trials, hyperopt draws the points.

The journal is the same, so a search may go on with the other engine. Trials are numbered as they finish; until then a
trial works in ``trials/running-N``. What a killed search had begun and not finished is begun anew.

Reference: Liaw et al. 2018, "Tune: A Research Platform for Distributed Model Selection and Training", arXiv:1807.05118.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fakeclf.cluster import connected
from fakeclf.config import Recipe
from fakeclf.training.space import Space
from fakeclf.training.tuning import (
    RANDOM_TRIALS,
    Journal,
    Objective,
    Search,
    evaluate,
    history_of,
    plain_document,
)

TRIES = 3
"""How often a trial is begun whose worker is lost; within its folder the training goes on."""


def ray_tune(
    recipe: Recipe,
    objective: Objective,
    run: Path,
    *,
    trials: int,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> Search:
    """``fakeclf.training.tuning.tune`` on a Ray cluster: one trial a GPU, or one a machine where there are none.

    Which point comes when depends on which trials finish first, unless only one runs at a time.

    Args:
        recipe, trials, seed, about, say: as of ``tune``.
        objective: as of ``tune``; it is sent to the workers, with what it holds.
        run: as of ``tune``; a folder that every machine sees.

    Raises:
        FakeclfError: as ``tune``, and if Ray is not installed or cannot be reached.
    """
    space = Space(recipe)
    run = run.resolve()
    journal = Journal(recipe, run, trials=trials, seed=seed, about=about, say=say)
    left = trials - len(journal.documents)
    if left > 0:
        for unfinished in (run / "trials").glob("running-*"):
            shutil.rmtree(unfinished)
        (run / "trials").mkdir(parents=True, exist_ok=True)
        with connected() as ray:
            _fit(ray, space, recipe, objective, journal, left, seed)
    return journal.search()


def _fit(ray: Any, space: Space, recipe: Recipe, objective: Objective, journal: Journal, left: int, seed: int) -> None:
    from ray import tune

    here = os.getcwd()

    def trial(config: dict[str, Any]) -> dict[str, Any]:
        os.chdir(here)  # the objective may hold relative paths
        folder = Path(config.pop("folder"))
        outcome = evaluate(objective, recipe, space.settings(config), folder)
        # Ray flattens what is nested and warns of a missing loss.
        return {"loss": float("nan") if outcome["loss"] is None else outcome["loss"], "outcome": json.dumps(outcome)}

    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends it at once, as it ends the local engine
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the newer reporter prints a banner at any verbosity
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what failed is said by the journal, in a line
    records = journal.run / "ray"
    shutil.rmtree(records, ignore_errors=True)
    try:
        tune.Tuner(
            tune.with_resources(trial, _share(ray)),
            tune_config=tune.TuneConfig(
                search_alg=_search_algorithm(space, journal, seed), num_samples=left, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(records),
                failure_config=tune.FailureConfig(max_failures=TRIES - 1),
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(records, ignore_errors=True)


def _share(ray: Any) -> dict[str, float]:
    """What one trial takes of the cluster."""
    if ray.cluster_resources().get("GPU", 0) >= 1:
        return {"cpu": 1, "gpu": 1}
    machines = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return {"cpu": min(processors for processors in machines if processors > 0)}


def _search_algorithm(space: Space, journal: Journal, seed: int) -> Any:
    from ray.tune.search.hyperopt import HyperOptSearch

    class JournalSearch(HyperOptSearch):
        """Ray's hyperopt, which begins with the journal's trials and adds those that finish."""

        def __init__(self) -> None:
            super().__init__(space.expressions(), metric="loss", mode="min", n_initial_points=RANDOM_TRIALS)
            done = len(journal.documents)
            # Drawn anew at each start: the points of the trials that are done must not come again.
            random = np.random.RandomState([seed, done])
            self.set_state({"hyperopt_trials": history_of(journal.documents), "rstate": random.get_state()})
            self.begun: dict[str, tuple[Path, dict[str, Any]]] = {}

        def suggest(self, trial_id: str) -> dict[str, Any]:
            point = super().suggest(trial_id)
            assert point is not None  # the space has no end
            document = self.get_state()["hyperopt_trials"].trials[-1]
            folder = journal.run / "trials" / f"running-{len(self.begun) + 1}"
            self.begun[trial_id] = folder, document
            return {**point, "folder": str(folder)}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            folder, document = self.begun[trial_id]
            if result and "outcome" in result and not error:
                outcome = json.loads(result["outcome"])
            else:
                params = space.settings({key: values[0] for key, values in document["misc"]["vals"].items()})
                reason = f"its worker was lost {TRIES} times"
                outcome = {"status": "fail", "loss": None, "params": params, "seconds": 0.0, "reason": reason}
            super().on_trial_complete(trial_id, result, error=outcome["status"] != "ok")
            number = len(journal.documents) + 1
            kept = journal.run / "trials" / f"{number:04d}"
            shutil.rmtree(kept, ignore_errors=True)
            if folder.is_dir():
                os.replace(folder, kept)
            journal.add(_numbered(document, {**outcome, "number": number}))

        def save(self, checkpoint_path: str) -> None:
            """Nothing: a search goes on from the journal."""

    return JournalSearch()


def _numbered(document: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """hyperopt's document of a finished trial, numbered as it finished: what comes later counts on from there."""
    tid = result["number"] - 1
    misc = document["misc"]
    index = {key: [tid] for key in misc["idxs"]}
    return plain_document(
        {**document, "state": 2, "tid": tid, "result": result, "misc": {**misc, "tid": tid, "idxs": index}}
    )
