"""Search for an architecture of IID-Net: train a supernet, rank genotypes with its weights, train some alone.

What is chosen here, where the papers leave a choice:

- Each step trains one genotype, drawn uniformly. The optimiser is Adam without its first moment, so that a step moves
  the weights on its path and no others; the learning rate falls along a cosine. Stand-alone trainings do the same.
- Batch norms behind a slot serve all of its operations, and their running averages mix those of all genotypes. So means
  and variances are taken anew for each genotype, over the same few batches of training crops, before it is scored.
- The score is the pixel AUC of a validation crop, mean over the crops; the same crops for every genotype.

References: Guo et al. 2020, arXiv:1904.00420 (uniform sampling; statistics anew for each genotype); Bender et al. 2018,
"Understanding and Simplifying One-Shot Architecture Search", ICML (the same trouble with batch norm, and that scores of
shared weights predict stand-alone ones); Wu & Zhou 2021, IID-Net, doi:10.1109/TCSVT.2021.3075039.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fakeclf.atomic import replace_file
from fakeclf.config import Recipe
from fakeclf.training import tuning
from segmentation.models import iid_supernet
from segmentation.models.iid_cells import PUBLISHED
from segmentation.training.one_shot import Bench, Journal

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ranked:
    """A genotype in the ranking.

    Attributes:
        place: from 1, the best.
        genotype: as ``model_args.genotype`` takes it.
        score: mean pixel AUC with the supernet's weights.
        alone: the same of a network of that genotype, trained alone; None where it was not.
    """

    place: int
    genotype: str
    score: float
    alone: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished search.

    Attributes:
        ranking: best first; the published genotype is among them.
        folder: where ``ranking.json`` and ``ranking.csv`` lie.
        crops: validation crops behind each score.
    """

    ranking: list[Ranked]
    folder: Path
    crops: int

    @property
    def best(self) -> Ranked:
        return self.ranking[0]

    @property
    def published(self) -> Ranked:
        return next(row for row in self.ranking if row.genotype == PUBLISHED)

    def correlation(self) -> dict[str, float] | None:
        """Spearman's rho between shared and stand-alone scores.

        Returns:
            ``rho``, ``p`` (two-sided), the 95 % interval ``low`` to ``high`` of Bonett & Wright 2000 ("Sample size
            requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65), and ``n``;
            None where fewer than four were trained alone, or all scores are alike.
        """
        from scipy.stats import spearmanr

        both = [(row.score, row.alone) for row in self.ranking if row.alone is not None]
        if len(both) < 4 or any(len(set(scores)) == 1 for scores in zip(*both, strict=True)):
            return None
        shared, alone = zip(*both, strict=True)
        rho, p = (float(value) for value in spearmanr(shared, alone))
        middle = np.arctanh(np.clip(rho, -1 + 1e-9, 1 - 1e-9))
        half = 1.96 * np.sqrt((1 + rho**2 / 2) / (len(both) - 3))
        return {
            "rho": rho,
            "p": p,
            "low": float(np.tanh(middle - half)),
            "high": float(np.tanh(middle + half)),
            "n": len(both),
        }


def search(
    recipe: Recipe,
    out: str | Path,
    *,
    steps: int = 1000,
    genotypes: int = 100,
    driver: Literal["sample", "hyperopt"] = "sample",
    crops: int = 128,
    stand_alone: int = 0,
    stand_alone_steps: int | None = None,
    say: Say = print,
) -> Outcome:
    """Search, or go on with a search in the same folder; nothing that is done is done again.

    Args:
        recipe: of ``iid-net``: data set, crop and batch size, loss, learning rate, width, seed.
        out: gets ``supernet/`` and ``alone/``, which both drivers share, and ``sample/`` or ``hyperopt/`` with the
            ranking.
        steps: of the supernet's training.
        genotypes: how many are tried; the published one is scored besides.
        driver: ``sample`` draws them uniformly; ``hyperopt`` proposes each from the scores before it, and may propose
            one again.
        crops: validation crops that a genotype is scored on, at most.
        stand_alone: how many of the ranked genotypes are trained alone: the published one, and others at even distances
            from the best to the worst.
        stand_alone_steps: of each of these; default: ``steps``.
        say: called with a line of progress now and then.

    Raises:
        FakeclfError: for settings that cannot be, no pairs to train or validate on, or if ``out`` holds another search.
    """
    bench = Bench(recipe, Path(out), steps, stand_alone_steps or steps, crops, say)
    journal = Journal(bench.out / driver, bench.settings)
    say(f"published genotype: AUC {journal.score(PUBLISHED, bench.shared_score):.4f}")
    tried = (_sample if driver == "sample" else _propose)(recipe, journal, bench, genotypes, say)
    scores = {genotype: journal.scores[genotype] for genotype in [PUBLISHED, *tried]}
    order = sorted(scores, key=lambda genotype: (-scores[genotype], genotype))
    chosen = _spread(order, stand_alone)
    alone = {
        genotype: bench.stand_alone_score(genotype, f"stand-alone {number}/{len(chosen)}")
        for number, genotype in enumerate(chosen, start=1)
    }
    rows = [Ranked(place, name, scores[name], alone.get(name)) for place, name in enumerate(order, start=1)]
    outcome = Outcome(rows, journal.folder, bench.settings["crops"])
    _write(outcome, bench.settings)
    return outcome


def _sample(recipe: Recipe, journal: Journal, bench: Bench, count: int, say: Say) -> list[str]:
    """Genotypes drawn uniformly, all of them scored."""
    drawn = [iid_supernet.sample(np.random.default_rng([recipe.seed, 4, number])) for number in range(count)]
    todo = [genotype for genotype in drawn if genotype not in journal.scores]
    started = time.monotonic()
    for number, genotype in enumerate(todo, start=1):
        score = journal.score(genotype, bench.shared_score)
        left = (time.monotonic() - started) / number * (len(todo) - number)
        say(f"genotype {count - len(todo) + number}/{count}: AUC {score:.4f}, about {left:.0f} s left")
    return drawn


def _propose(recipe: Recipe, journal: Journal, bench: Bench, count: int, say: Say) -> list[str]:
    """The genotypes that hyperopt tried, all of them scored."""
    keys = [f"slot{place}" for place in range(iid_supernet.PATH)]
    space = {f"model_args.{key}": {"choice": names} for key, names in zip(keys, iid_supernet.slots(), strict=True)}

    def objective(tried: Recipe, folder: Path) -> float:
        folder.rmdir()
        genotype = iid_supernet.genotype_of([tried.model_args[key] for key in keys])
        return 1 - journal.score(genotype, bench.shared_score)

    found = tuning.tune(
        dataclasses.replace(recipe, search=space),
        objective,
        journal.folder,
        trials=count,
        seed=recipe.seed,
        about={"supernet": bench.settings},
        say=say,
    )
    good = [trial["params"] for trial in found.trials[:count] if trial["status"] == "ok"]
    return [iid_supernet.genotype_of([params[f"model_args.{key}"] for key in keys]) for params in good]


def _spread(order: Sequence[str], count: int) -> list[str]:
    """The published genotype and ``count`` - 1 others, evenly from the first to the last."""
    others = [genotype for genotype in order if genotype != PUBLISHED]
    places = np.linspace(0, len(others) - 1, max(0, min(count - 1, len(others)))).round().astype(int)
    return [PUBLISHED, *(others[place] for place in places)] if count else []


def _write(outcome: Outcome, settings: Mapping[str, Any]) -> None:
    rows = [dataclasses.asdict(row) for row in outcome.ranking]
    kept = {"settings": settings, "correlation": outcome.correlation(), "ranking": rows}
    with replace_file(outcome.folder / "ranking.json") as beside:
        beside.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    with replace_file(outcome.folder / "ranking.csv") as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
