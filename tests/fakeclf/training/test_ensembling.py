from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from fakeclf import bundle, metrics
from fakeclf.bundle import Card
from fakeclf.config import Recipe, read_recipe
from fakeclf.data import datasets
from fakeclf.errors import FakeclfError
from fakeclf.models.ensemble import build_head
from fakeclf.models.layers import picture_input
from fakeclf.training.ensembling import ensemble_bundle
from fakeclf.training.head import fit_head
from fakeclf.training.held_out import halves, load_parts
from fakeclf.training.member_outputs import Table, find_members, tabulate
from fakeclf.training.space import with_values

VALIDATION = 0.3


def make_folder(folder: Path, fake: dict[str, float], real: dict[str, float], count: int = 60) -> Path:
    """``count`` pictures a class, of two sizes; a class has a brightness or None for any, and a strength of noise."""
    rng = np.random.default_rng(len(folder.name))
    for label, kind in (("FAKE", fake), ("REAL", real)):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            level = kind.get("level") or rng.choice([70, 180])
            pixels = level + rng.normal(0, kind["noise"], (24 + 8 * (index % 2), 24, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / label / f"{label}{index:03}.png")
    return folder


def noise_classifier(size: int = 24, name: str = "tiny") -> keras.Model:
    """P(REAL) rises with the difference of neighbouring pixels."""
    pictures, x = picture_input(size, "crop")
    kernel = np.zeros((1, 2, 3, 2), "float32")
    kernel[0, 0, :, 0] = kernel[0, 1, :, 1] = 1 / 3
    kernel[0, 1, :, 0] = kernel[0, 0, :, 1] = -1 / 3
    x = layers.Conv2D(2, (1, 2), activation="relu", use_bias=False, kernel_initializer=lambda *_, **__: kernel)(x)
    return finished(pictures, x, np.array([[120.0], [120.0]]), -6.5, name)


def brightness_classifier(size: int = 16, name: str = "tiny") -> keras.Model:
    """P(REAL) rises with the mean brightness."""
    pictures, x = picture_input(size, "resize")
    return finished(pictures, x, np.full((3, 1), 4.0), -6.0, name)


def finished(pictures, x, weights: np.ndarray, bias: float, name: str) -> keras.Model:
    dense = layers.Dense(1, activation="sigmoid")
    model = keras.Model(pictures, dense(layers.GlobalAveragePooling2D()(x)), name=name)
    dense.set_weights([weights, np.array([bias])])
    return model


def save_member(name: str, model: keras.Model, dataset: Path | str, **recipe) -> None:
    # The initialiser is a plain function, which no file can hold.
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            layer.kernel_initializer = keras.initializers.Zeros()
    card = Card(
        name=name,
        kind="classifier",
        model="tiny",
        module="fakeclf.models.layers",
        input={"size": model.layers[1].size, "view": "crop", "sizes": {"smallest": 24, "largest": 32}},
        trained_on={"dataset": str(dataset), "recipe": {"seed": 0, "validation": VALIDATION, **recipe}},
        limits=["made for a test"],
    )
    bundle.save(model, card, Path("saved_models") / name, float16=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two data sets and three saved members; ``noise`` and ``brightness`` know one of the data sets each."""
    root = tmp_path_factory.mktemp("ensembling")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        noisy = make_folder(root / "noisy", {"noise": 2}, {"noise": 30})
        bright = make_folder(root / "brighter", {"noise": 13, "level": 70}, {"noise": 13, "level": 180})
        save_member("noise", noise_classifier(), noisy)
        save_member("brightness", brightness_classifier(), bright)
        save_member("other", brightness_classifier(8, "other"), bright, seed=1)
    return root


@pytest.fixture
def work(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def quick(epochs: int = 5) -> Recipe:
    return replace(read_recipe("ensemble"), epochs=epochs)


def both(work: Path) -> str:
    return f"{work / 'noisy'}+{work / 'brighter'}"


def test_the_report_head_on_two_members(work):
    before = {name: (Path("saved_models") / name / "model.keras").read_bytes() for name in ("noise", "brightness")}
    job = ensemble_bundle(["noise", "brightness"], name="two")
    card = bundle.read_card("two")
    assert bundle.verify("two") == [] and job.bundle == Path("saved_models/two")
    assert card.kind == "ensemble" and card.parameters > 3 and card.trained_on["dataset"] == both(work)
    assert card.members == [
        {"name": name, "sha256": bundle.sha256(Path("saved_models") / name / "model.keras")} for name in before
    ]
    assert (job.bundle / "model.keras").stat().st_size < 50_000
    assert all((Path("saved_models") / name / "model.keras").read_bytes() == data for name, data in before.items())

    # What is loaded is the head on the members' outputs.
    x = np.random.default_rng(0).uniform(0, 255, (5, 31, 45, 3)).astype("float32")
    together = np.concatenate([bundle.load(name).predict(x, verbose=0) for name in before], axis=1)
    head = bundle.load_keras(job.bundle / "model.keras")
    np.testing.assert_allclose(bundle.load("two").predict(x, verbose=0), head.predict(together, verbose=0), atol=1e-6)

    # Each member knows one data set; together they know both.
    (result,) = card.results
    assert result["split"] == "test" and result["pictures"] == 48 and set(result["parts"]) == set(both(work).split("+"))
    assert result["accuracy"] > 0.95 and min(part["accuracy"] for part in result["parts"].values()) > 0.9
    assert any("test pictures were looked at once" in line for line in result["protocol"])
    # Calibrated on what chose among heads: none of it did the head learn from.
    assert card.calibration["pictures"] == card.trained_on["pictures"]["check"] > 20
    assert card.calibration["data"] == both(work) and card.calibration["recall"] > 0.8
    assert "Beside its members" in job.table and (job.plots / "roc.png").is_file()
    json.dumps(card.to_json(), allow_nan=False)


def test_outputs_are_computed_once_and_a_changed_picture_is_noticed(work):
    ensemble_bundle(["noise", "brightness"], name="kept", recipe=quick())
    kept = {path: path.stat().st_mtime_ns for path in (work / "runs/kept/outputs").iterdir()}
    assert len(kept) == 3 * 2 * 2  # fit, check, test; two data sets; two members
    first = bundle.read_card("kept").results
    ensemble_bundle(["noise", "brightness"], name="kept", recipe=quick(), force=True)
    assert {path: path.stat().st_mtime_ns for path in (work / "runs/kept/outputs").iterdir()} == kept
    second = bundle.read_card("kept").results
    for results in (first, second):
        results[0].pop("seconds")
    assert first == second

    members = find_members(["noise", "brightness"])
    test = datasets.load(work / "noisy", validation=VALIDATION).test
    folder = work / "runs/changed"
    tabulate(members, {"noisy": test}, "test", folder)
    Path(test[0].path).touch()
    tabulate(members, {"noisy": test}, "test", folder)
    assert len(list(folder.iterdir())) == 4
    next(folder.iterdir()).write_bytes(b"broken")
    assert len(tabulate(members, {"noisy": test}, "test", folder)) == len(test)


def test_rows_are_the_pictures_in_order_and_unreadable_ones_are_left_out(work, tmp_path):
    examples = list(datasets.load(work / "noisy", validation=VALIDATION).test)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    examples.insert(3, replace(examples[0], path=str(broken)))
    table = tabulate(find_members(["noise", "brightness"]), {"noisy": examples}, "test", tmp_path / "outputs")
    good = [example for example in examples if example.path != str(broken)]
    assert table.unreadable == 1 and table.truth.tolist() == [example.label for example in good]
    for column, name in enumerate(("noise", "brightness")):
        member = bundle.load(name)
        for row, example in zip(table.p_real, good, strict=True):
            pixels = np.asarray(Image.open(example.path), "float32")[None]
            assert row[column] == pytest.approx(float(member(pixels)[0, 0]), abs=1e-5)


def test_a_search_chooses_members_and_head_and_goes_on(work):
    names = ["noise", "brightness", "other"]
    arguments = {"members": names, "name": "tuned", "say": lambda line: None, "recipe": quick()}
    ensemble_bundle(**arguments, tune=2)
    journal = work / "runs/tuned/trials.jsonl"
    begun = journal.read_text().splitlines()
    job = ensemble_bundle(**arguments, tune=5, force=True)
    assert journal.read_text().splitlines()[:3] == begun and len(journal.read_text().splitlines()) == 6
    card, trials = job.card, [json.loads(line)["result"] for line in journal.read_text().splitlines()[1:]]
    best = min(trials, key=lambda trial: trial["loss"])
    assert card.trained_on["settings"] == best["params"] and card.trained_on["trials"] == 5
    assert [member["name"] for member in card.members] == best["params"]["model_args.members"]
    assert min(card.trained_on["history"]["val_loss"]) == pytest.approx(best["loss"], abs=1e-4)
    assert "Trials" in job.table and (job.plots / "trials.png").is_file()
    assert bundle.load("tuned").predict(np.zeros((1, 20, 20, 3)), verbose=0).shape == (1, 1)
    with pytest.raises(FakeclfError, match="another dataset, pictures"):
        ensemble_bundle(**arguments, dataset=str(work / "noisy"), tune=5, force=True)


def test_a_fresh_search_forgets_the_old_trials(work):
    arguments = {"members": ["noise", "brightness"], "name": "fresh", "say": lambda line: None, "recipe": quick(1)}
    ensemble_bundle(**arguments, tune=2)
    ensemble_bundle(**arguments, tune=1, resume=False, force=True)
    assert len((work / "runs/fresh/trials.jsonl").read_text().splitlines()) == 1 + 1


def test_head_keeps_its_best_epoch_and_a_seed_repeats_it():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400)
    logits = np.stack([2 * truth - 1 + rng.normal(0, 1, 400), rng.normal(0, 1, 400)], axis=1)
    p_real = (1 / (1 + np.exp(-3 * logits))).astype("float32")
    fit = Table(p_real[:200], truth[:200], np.full(200, "a"), 0, [])
    check = Table(p_real[200:], truth[200:], np.full(200, "a"), 0, [])
    recipe = with_values(read_recipe("ensemble"), {"model_args.hidden_units": 8, "model_args.l2": 1e-3})
    head, losses = fit_head(recipe, fit, check)
    assert metrics.log_loss(check.truth, head.predict(check.p_real, verbose=0)) == pytest.approx(min(losses), abs=1e-6)
    assert min(losses) < 0.5 < metrics.log_loss(check.truth, build_head(2, seed=0).predict(check.p_real, verbose=0))
    again, repeated = fit_head(recipe, fit, check)
    np.testing.assert_allclose(losses, repeated, atol=1e-6)
    assert len(fit_head(with_values(recipe, {"stopping.patience": 1, "epochs": 500}), fit, check)[1]) < 200


def test_the_head_never_meets_what_a_member_was_trained_on(work):
    members = find_members(["noise", "brightness", "other"])
    parts = load_parts(both(work), members, Recipe(), None)
    for member, name, seed in ((members[0], "noisy", 0), (members[1], "brighter", 0), (members[2], "brighter", 1)):
        own = datasets.load(work / name, validation=VALIDATION, seed=seed)
        part = parts[str(work / name)]
        trained = {example.path for example in own.train}
        assert trained and not trained & {example.path for example in (*part.validation, *part.test)}, member.name
        assert not {e.path for e in part.train} & {e.path for e in (*part.validation, *part.test)}
    fit, check = halves(parts, 0)
    for name, part in parts.items():
        assert not {e.source for e in fit[name]} & {e.source for e in check[name]}
        assert len(fit[name]) + len(check[name]) == len(part.validation)


def test_trainable_members_learn_and_the_bundle_holds_everything(work):
    recipe = replace(
        read_recipe("ensemble_end_to_end"),
        input_size=32,
        epochs=1,
        batch_size=16,
        precision="float32",
        augmentation=None,
        search={"optimizer.learning_rate": {"choice": [0.01]}},
    )
    job = ensemble_bundle(["noise", "brightness"], name="whole", frozen=False, recipe=recipe, tune=1)
    model, card = bundle.load("whole"), bundle.read_card("whole")
    assert card.members == [] and [member["name"] for member in card.trained_on["members"]] == ["noise", "brightness"]
    assert card.parameters == model.count_params()
    assert card.results[0]["pictures"] == 48 and "whole on" in job.table
    assert card.trained_on["settings"] == {"optimizer.learning_rate": 0.01}
    assert not list((work / "runs/whole/trials").rglob("*.weights.h5"))
    old = bundle.load("brightness").get_weights()[-2]
    assert any(weight.shape == old.shape and not np.allclose(weight, old, atol=1e-3) for weight in model.get_weights())


def test_frozen_members_behind_an_augmentation(work):
    recipe = replace(read_recipe("ensemble_end_to_end"), input_size=32, epochs=1, batch_size=16, precision="float32")
    ensemble_bundle(["noise", "brightness"], str(work / "noisy"), name="warped", recipe=recipe)
    card = bundle.read_card("warped")
    assert card.parameters > 3 and len(card.members) == 2 and card.results[0]["pictures"] == 24


def test_no_names_stand_for_the_shipped_classifiers(work, monkeypatch):
    monkeypatch.setattr(bundle, "SHIPPED", work / "saved_models")
    classifiers = [name for name, folder in bundle.names() if bundle.read_card(folder).kind == "classifier"]
    assert [member.name for member in find_members([])] == classifiers and {"noise", "other"} <= set(classifiers)
    monkeypatch.setattr(bundle, "SHIPPED", work / "nothing")
    with pytest.raises(FakeclfError, match="two classifiers or more; received none"):
        find_members([])


def test_wrong_requests_are_named_before_the_work(work):
    def refused(message: str, names=("noise", "brightness"), **arguments):
        with pytest.raises(FakeclfError, match=message):
            ensemble_bundle(list(names), name="refused", **arguments)
        assert not Path("runs/refused").exists() and not Path("saved_models/refused").exists()

    def with_args(**args):
        return replace(read_recipe("ensemble"), model_args=args)

    refused("two classifiers or more; received noise", ["noise"])
    refused("each classifier once", ["noise", "saved_models/noise"])
    refused("no saved model 'nois'; did you mean 'noise'", ["nois", "brightness"])
    refused("'model_args.hidden'; did you mean 'hidden_units'", recipe=with_args(hidden=3))
    refused("fit_on must be validation or train", recipe=with_args(fit_on="test"))
    refused("'nose' is no member; did you mean 'noise'", recipe=with_args(members=["nose", "brightness"]))
    refused("two members or more", recipe=with_args(members=["noise"]))
    refused("0 <= dropout < 1", recipe=with_args(dropout=2.0))
    refused("model_args", recipe=with_args(hidden_units="many"))
    refused("no data set or folder 'nowhere'", dataset="nowhere")
    Path("saved_models/taken").mkdir(exist_ok=True)
    with pytest.raises(FakeclfError, match="exists already"):
        ensemble_bundle(["noise", "brightness"], name="taken")


def test_too_few_held_out_pictures_name_the_way_out(work, tmp_path):
    small = make_folder(tmp_path / "small", {"noise": 2}, {"noise": 30}, count=4)
    with pytest.raises(FakeclfError, match="fit_on=train"):
        ensemble_bundle(["noise", "brightness"], str(small), name="few")
    recipe = replace(read_recipe("ensemble"), model_args={"fit_on": "train"}, epochs=2)
    job = ensemble_bundle(["noise", "brightness"], str(small), name="few", recipe=recipe)
    assert job.card.trained_on["pictures"]["fit"] > job.card.trained_on["pictures"]["check"]
