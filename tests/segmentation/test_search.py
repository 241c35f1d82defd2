"""The search for an architecture: paths through the supernet, its training and ranking, kills, the command."""

from __future__ import annotations

import csv
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import chisquare, spearmanr
from sklearn.metrics import roc_auc_score

from fakeclf import config, images
from fakeclf.cli.main import main
from fakeclf.errors import FakeclfError
from fakeclf.training import stepwise
from fakeclf.training.trainer import build_model
from segmentation import search
from segmentation.models import iid_net, iid_supernet
from segmentation.models.iid_cells import PUBLISHED, read_genotype
from segmentation.search import Outcome, Ranked
from segmentation.training import one_shot
from segmentation.training.objective import objective

WIDTH = 1 / 32


def a_genotype(seed: int) -> str:
    return iid_supernet.sample(np.random.default_rng(seed))


def fill(model: keras.Model) -> None:
    """All weights at random, statistics of batch norms too, so that no layer could be left out unnoticed."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        value = random.normal(0, 0.5, variable.shape)
        variable.assign(np.abs(value) + 0.5 if variable.name in ("moving_variance", "gamma") else value)


def shown(genotype: str, pictures: np.ndarray) -> dict[str, np.ndarray]:
    return {"pictures": pictures, "path": np.tile(iid_supernet.path_of(genotype), (len(pictures), 1))}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark noise with a smooth bright hole."""
    root = tmp_path_factory.mktemp("pairs")
    for part, count in (("train", 6), ("val", 4)):
        for number in range(count):
            random = np.random.default_rng(number)
            picture = random.integers(20, 120, (40, 40, 3)).astype(np.uint8)
            mask = np.zeros((40, 40), np.uint8)
            top, left = random.integers(4, 16, 2)
            mask[top : top + 14, left : left + 18] = 255
            images.save(root / part / "fill" / f"{number}.original.png", picture)
            images.save(root / part / "fill" / f"{number}.mask.png", mask)
            images.save(root / part / "fill" / f"{number}.realfake.png", np.where(mask[..., None] > 0, 140, picture))
    return root


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No graphs: to trace those of the supernet takes longer than the few steps of a test."""
    monkeypatch.setattr(one_shot, "CALIBRATION_BATCHES", 1)
    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        # Without graphs, weights off the path have no gradients rather than zeros.
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def recipe(pairs: Path) -> config.Recipe:
    settings = [f"dataset={pairs}", "input_size=32", "batch_size=2", "precision=float32", f"model_args.width={WIDTH}"]
    return config.with_settings(config.read_recipe("iid-net"), settings)


def quiet(line: str) -> None:
    pass


class Killed(Exception):
    """Stands for a kill: nothing in the search catches it."""


def killed_at(text: str) -> Callable[[str], None]:
    def say(line: str) -> None:
        if text in line:
            raise Killed

    return say


def test_every_operation_is_drawn_alike_often_where_it_may_stand() -> None:
    random = np.random.default_rng(0)
    drawn = [[name for cell in read_genotype(iid_supernet.sample(random)) for name in cell] for _ in range(2000)]
    for place, allowed in enumerate(iid_supernet.slots()):
        assert len(allowed) == (3 if place in (2, 5) else 4)
        counts = Counter(names[place] for names in drawn)
        assert set(counts) == set(allowed)
        assert chisquare([counts[name] for name in allowed]).pvalue > 1e-4
    # Slots are drawn independently of each other.
    both = Counter((names[3], names[4]) for names in drawn)
    assert len(both) == 16 and chisquare(list(both.values())).pvalue > 1e-4


def test_a_path_names_the_operations_of_its_genotype() -> None:
    assert iid_supernet.path_of(PUBLISHED).tolist()[:9] == [1, 3, 0, 2, 0, 0, 3, 2, 0]
    names = [name for cell in read_genotype(PUBLISHED) for name in cell]
    assert iid_supernet.genotype_of(names) == PUBLISHED


@pytest.mark.parametrize("genotype", [PUBLISHED, a_genotype(1)], ids=["published", "drawn"])
def test_a_path_computes_what_the_network_of_its_genotype_computes(genotype: str) -> None:
    supernet, alone = iid_supernet.build(width=WIDTH), iid_net.build(32, width=WIDTH, genotype=genotype)
    fill(supernet)
    path = iid_supernet.path_of(genotype)

    def counterpart(layer: keras.layers.Layer) -> keras.layers.Layer:
        found = supernet.get_layer(layer.name)
        return found.options[path[found.place]] if isinstance(found, iid_supernet.Choice) else found

    for layer in alone.layers:
        layer.set_weights(counterpart(layer).get_weights())
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    for training in (False, True):
        ours = np.asarray(supernet(shown(genotype, pictures), training=training)["mask"])
        theirs = np.asarray(alone(pictures, training=training)["mask"])
        assert np.ptp(theirs) > 1e-2
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # Statistics of batch norms have moved alike.
    for layer in alone.layers:
        for one, other in zip(layer.get_weights(), counterpart(layer).get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=layer.name)
    other = np.asarray(supernet(shown(a_genotype(2), pictures), training=False)["mask"])
    assert np.abs(other - np.asarray(alone(pictures, training=False)["mask"])).max() > 1e-3


def two_slots() -> keras.Model:
    """A supernet of two slots, to see what graphs make of it; those of the whole one take long to trace."""
    pictures = keras.Input((None, None, 3), name="pictures")
    path = keras.Input((iid_supernet.PATH,), name="path", dtype="int32")
    x = keras.layers.Conv2D(4, 1)(keras.layers.Rescaling(1 / 255)(pictures))
    for place in (0, 1):
        choice = iid_supernet.Choice(place, 4, 1, 2, name=f"slot{place}")
        x = keras.layers.BatchNormalization(name=f"behind{place}")(choice(x, path))
    masks = keras.layers.Conv2D(1, 1, activation="sigmoid")(x)
    return keras.Model({"pictures": pictures, "path": path}, {"mask": masks})


def options(model: keras.Model) -> dict[tuple[int, int], list[np.ndarray]]:
    """Weights and statistics by slot and operation."""
    choices = [model.get_layer(f"slot{place}") for place in (0, 1)]
    return {
        (choice.place, number): option.get_weights()
        for choice in choices
        for number, option in enumerate(choice.options)
    }


def changed(before: dict, after: dict) -> set[tuple[int, int]]:
    return {
        key for key in before if any(not np.array_equal(*both) for both in zip(before[key], after[key], strict=True))
    }


def test_a_step_moves_the_weights_on_its_path_and_no_others() -> None:
    model = two_slots()
    one_shot.compile_for_paths(model, objective("focal_bce", ["mask"]), 1e-2, 10)
    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    masks = (random.uniform(size=(2, 8, 8, 1)) > 0.5).astype("float32")
    # The next step has another path: what the first left in the optimiser must move nothing. 03 has no weights.
    for genotype, moved in (("00 01", {(0, 0), (1, 1)}), ("02 00", {(0, 2), (1, 0)}), ("01 03", {(0, 1)})):
        before = options(model)
        model.train_on_batch(shown(genotype + PUBLISHED[5:], pictures), {"mask": masks})
        assert changed(before, options(model)) == moved


def test_a_score_is_of_its_path_alone_whatever_was_scored_before() -> None:
    model = two_slots()
    fill(model)
    random = np.random.default_rng(0)
    batches = [random.uniform(0, 255, (2, 8, 8, 3)).astype("float32") for _ in range(3)]
    masks = (random.uniform(size=(2, 8, 8, 1)) > 0.5).astype("float32")
    scorer = one_shot.Scorer(model, batches, [(batches[0], masks)])
    one, other = (iid_supernet.path_of(names + PUBLISHED[5:]) for names in ("02 00", "01 03"))
    before = options(model)
    score = scorer.score(one)
    assert changed(before, options(model)) == {(0, 2), (1, 0)}
    assert scorer.score(other) != score == scorer.score(one)


def test_a_score_has_statistics_of_its_own_and_is_the_mean_auc_of_the_crops() -> None:
    pictures = keras.Input((None, None, 3))
    norm = keras.layers.BatchNormalization()
    masks = keras.layers.Conv2D(1, 1, activation="sigmoid")(norm(pictures))
    model = keras.Model(pictures, {"mask": masks})
    random = np.random.default_rng(0)
    calibration = [random.uniform(0, 255, (3, 8, 8, 3)).astype("float32") for _ in range(4)]
    validation = [
        (random.uniform(0, 255, (count, 8, 8, 3)).astype("float32"), random.integers(0, 2, (count, 8, 8, 1)) * 1.0)
        for count in (3, 2)
    ]
    scorer = one_shot.Scorer(model, calibration, validation)
    norm.moving_mean.assign([1e3, 0, -1e3])
    score = scorer.score()
    joined = np.concatenate(calibration)
    np.testing.assert_allclose(norm.moving_mean, joined.mean((0, 1, 2)), rtol=1e-4)
    within = np.mean([batch.var((0, 1, 2)) for batch in calibration], axis=0)
    np.testing.assert_allclose(norm.moving_variance, within, rtol=1e-4)
    assert norm.momentum == 0.99
    expected = [
        roc_auc_score(mask.ravel(), np.asarray(model(picture[None])["mask"]).ravel())
        for batch, truth in validation
        for picture, mask in zip(batch, truth, strict=True)
    ]
    assert score == pytest.approx(np.mean(expected), abs=5e-3)
    norm.moving_mean.assign([-1e3, 0, 1e3])
    assert scorer.score() == score


def made_up(genotype: str) -> float:
    """A score that a search can climb: the more separable convolutions, the better."""
    return 0.5 + sum(name == "00" for cell in read_genotype(genotype) for name in cell) / 100


@pytest.mark.parametrize("driver", ["sample", "hyperopt"])
def test_a_killed_ranking_goes_on_and_scores_nothing_twice(
    driver: str, recipe: config.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []

    def score(bench: one_shot.Bench, genotype: str) -> float:
        scored.append(genotype)
        return made_up(genotype)

    monkeypatch.setattr(one_shot.Bench, "shared_score", score)

    def run(folder: str, say: Callable[[str], None] = quiet, count: int = 8) -> Outcome:
        return search.search(recipe, tmp_path / folder, steps=2, genotypes=count, driver=driver, crops=4, say=say)

    whole = run("whole")
    assert len(whole.ranking) == len(set(scored)) == len(scored) == 9
    scored.clear()
    with pytest.raises(Killed):
        run("killed", killed_at(" 3/8"))
    assert len(scored) == 4
    resumed = run("killed")
    assert resumed.ranking == whole.ranking
    assert len(set(scored)) == len(scored) == 9
    assert [row.score for row in resumed.ranking] == sorted((made_up(name) for name in scored), reverse=True)
    assert resumed.published.score == made_up(PUBLISHED)
    # More genotypes: those that are known stay.
    assert len(run("killed", count=10).ranking) == 11 and len(set(scored)) == len(scored) == 11
    kept = json.loads((tmp_path / "killed" / driver / "ranking.json").read_text())
    assert [row["place"] for row in kept["ranking"]] == list(range(1, 12))
    assert run("killed", count=5).ranking[0].score <= whole.best.score


def test_another_seed_draws_other_genotypes(
    recipe: config.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shot.Bench, "shared_score", lambda bench, genotype: made_up(genotype))
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        seeded = config.with_settings(recipe, [f"seed={seed}"])
        found = search.search(seeded, tmp_path / str(number), steps=2, genotypes=6, crops=4, say=quiet)
        drawn.append([row.genotype for row in found.ranking])
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) & set(drawn[2]) == {PUBLISHED}


def test_a_folder_of_another_search_is_refused(
    recipe: config.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shot.Bench, "shared_score", lambda bench, genotype: made_up(genotype))
    search.search(recipe, tmp_path, steps=2, genotypes=1, crops=4, say=quiet)
    with pytest.raises(FakeclfError, match="another search|other settings"):
        search.search(recipe, tmp_path, steps=3, genotypes=1, crops=4, say=quiet)


@pytest.mark.parametrize("setting", ["model=trace-net", "model_args.genotype=published"])
def test_what_cannot_be_searched_is_refused(setting: str, recipe: config.Recipe, tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match=setting.split("=")[0]):
        search.search(config.with_settings(recipe, [setting]), tmp_path, say=quiet)


def test_a_killed_training_of_the_supernet_ends_as_if_it_had_not_been(
    recipe: config.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepwise, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(iid_supernet, "build", lambda width: two_slots())

    def run(folder: str, say: Callable[[str], None] = quiet) -> Outcome:
        return search.search(recipe, tmp_path / folder, steps=4, genotypes=3, crops=4, say=say)

    whole = run("whole")
    with pytest.raises(Killed):
        run("killed", killed_at("step 2/4"))
    lines: list[str] = []
    resumed = run("killed", lines.append)
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["3/4", "4/4"]
    assert [row.genotype for row in resumed.ranking] == [row.genotype for row in whole.ranking]
    np.testing.assert_allclose([row.score for row in resumed.ranking], [row.score for row in whole.ranking], atol=1e-3)


def test_those_trained_alone_are_the_published_one_and_others_from_best_to_worst() -> None:
    order = [a_genotype(number) for number in range(9)]
    order.insert(4, PUBLISHED)
    assert search._spread(order, 4) == [PUBLISHED, order[0], order[5], order[9]]
    assert search._spread(order, 0) == []
    assert len(search._spread(order, 99)) == 10


def test_the_rank_correlation_is_spearmans() -> None:
    shared, alone = [0.9, 0.8, 0.7, 0.6, 0.5], [0.7, 0.8, 0.6, 0.55, 0.5]
    rows = [Ranked(place, f"{place}", *pair) for place, pair in enumerate(zip(shared, alone, strict=True), start=1)]
    found = Outcome([*rows, Ranked(6, "not trained", 0.4)], Path(), 4).correlation()
    assert found is not None
    assert found["rho"] == pytest.approx(spearmanr(shared, alone).statistic) == pytest.approx(0.9)
    assert found["n"] == 5 and found["low"] < found["rho"] < found["high"] <= 1
    assert Outcome(rows[:3], Path(), 4).correlation() is None


@pytest.mark.usefixtures("eagerly")
def test_the_command_ranks_trains_alone_and_names_a_genotype_to_train(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "--dataset", str(pairs), "--out", str(tmp_path / "out"), "--width", str(WIDTH)]
    arguments += ["--steps", "2", "--genotypes", "2", "--crops", "4", "--stand-alone", "1", "--seed", "3"]
    arguments += ["--set", "input_size=32", "--set", "batch_size=2", "--set", "precision=float32"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "step 2/2" in printed and "genotype 2/2: AUC 0." in printed and "s left" in printed
    assert "no rank correlation" in printed
    with (tmp_path / "out" / "sample" / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and [row["place"] for row in rows] == ["1", "2", "3"]
    assert f"best:      {rows[0]['genotype']}" in printed
    (published,) = (row for row in rows if row["genotype"] == PUBLISHED)
    assert f"published: place {published['place']} of 3" in printed
    assert [bool(row["alone"]) for row in rows] == [row is published for row in rows]
    # What is printed can be trained.
    assert f"--set 'model_args.genotype={rows[0]['genotype']}'" in printed
    settings = [f"model_args.genotype={rows[0]['genotype']}", f"model_args.width={WIDTH}", "input_size=32"]
    model = build_model(config.with_settings(config.read_recipe("iid-net"), settings))
    assert model.count_params() == iid_net.build(32, width=WIDTH, genotype=rows[0]["genotype"]).count_params()
    # Once more: nothing is left to do.
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert "step" not in again and "genotype 2/2" not in again
    assert again.splitlines()[-1] == printed.splitlines()[-1]
