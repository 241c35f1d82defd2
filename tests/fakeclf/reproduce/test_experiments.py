"""Experiments as data: every file is right at every scale, trainings are shared, nothing goes by a name it has not."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fakeclf import registry
from fakeclf.errors import FakeclfError
from fakeclf.reproduce import experiments, grid
from fakeclf.reproduce.experiments import SCALES, Source, read, read_scale
from fakeclf.reproduce.grid import Cell, expand, trainings
from fakeclf.reproduce.rows import Printed
from fakeclf.reproduce.runner import needs

OWN = ["ablations", "holes", "untrained", "variety"]
TABLES = (
    ["classifier_test", "classifier_training", "iid_ten_inpainters"]
    + [f"irl_table{number}" for number in (1, 2, 3, 4)]
    + ["mpdl_mask_handling", *(f"mpdl_table{number}" for number in (2, 3, 4, 5, 6, 7)), "nix_table1", "nix_table2"]
)
NAMES = sorted([*OWN, *TABLES])
TINY = {
    "report": "none",
    "title": "tiny",
    "printed": "mpdl_table3",
    "models": {"FCN": {"model": "fcn-resnet50"}},
    "grids": [{"pictures": ["dataset1"], "train": ["realfake", "fakefake"], "test": ["realfake"]}],
    "metrics": {"IoU": "iou"},
}


def cells(name: str, scale: str = "small", seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return expand(read(name), read_scale(scale), seeds)


def find(name: str, scale: str = "small", **labels: str) -> Cell:
    (found,) = [cell for cell in cells(name, scale) if labels.items() <= cell.labels.items()]
    return found


def written(folder: Path, **changes: object) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def test_the_tables_of_all_reports_are_there_and_our_own() -> None:
    assert experiments.names() == NAMES
    assert [name for name in NAMES if not read(name).printed] == OWN


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_is_right_at_every_scale(name: str, scale: str) -> None:
    found = cells(name, scale)
    assert found and len({tuple(cell.labels.values()) for cell in found}) == len(found)
    for training in trainings(found).values():
        spec = registry.models()[0] if training.members else registry.model(training.recipe.model)
        assert training.sources and (training.recipe.input_size or spec.input_size) >= spec.min_size
    for cell in found:
        assert sum(bool(given) for source in cell.tests for given in _ways(source)) == len(cell.tests)


def _ways(source: Source) -> tuple[object, ...]:
    return source.data, source.dataset, source.forge, source.regenerate


def test_every_model_takes_what_its_rows_say() -> None:
    for scale in SCALES:
        for name in NAMES:
            for training in trainings(cells(name, scale)).values():
                if not training.members:
                    builder = registry.resolve(registry.model(training.recipe.model).builder)
                    assert set(training.recipe.model_args) <= set(inspect.signature(builder).parameters)


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_figure_has_its_row_and_column(name: str) -> None:
    experiment, table = read(name), experiments.printed_tables()[read(name).printed]
    printed, found = Printed(experiment, table), set()
    for labels in grid.rows(experiment):
        for epoch in range(1, printed.epochs(labels) + 1) if experiment.measure == "history" else [0]:
            where = {**labels, "epoch": str(epoch)} if epoch else labels
            found |= {(str(where), key) for key in experiment.metrics if printed.of(where, key) is not None}
    columns = table.get("columns") or list(table["rows"][0])
    figures = sum(column in experiment.metrics for column in columns)
    assert len(found) == figures * len(table["rows"])


def test_printed_figures_are_those_of_the_reports() -> None:
    tables = experiments.printed_tables()
    assert [len(tables[name]["rows"]) for name in ("nix_table1", "nix_table2", "irl_table1")] == [90, 18, 9]
    assert ["NIX-Net", "UT", "celeba", "CA", 91.59] in tables["nix_table1"]["rows"]
    assert ["LDICN", "GC", "places2", "GL", 70.55] in tables["nix_table1"]["rows"]
    assert ["without fusion module 3", "GC", 81.44] in tables["nix_table2"]["rows"]
    assert ["== 255", 0.944] in tables["mpdl_mask_handling"]["rows"]
    assert ["inpainted", "fakefake", 0.027] in tables["mpdl_table4"]["rows"]
    assert ["IRL-Net", "EC", 87.5, 89.44, 95.91, 83.79] in tables["irl_table2"]["rows"]
    assert ["deepfakeart", 4, 0.4153, 0.8147, 0.5438, 0.7636, 0.1] in tables["classifier_training"]["rows"]
    assert all(table["source"] for name, table in tables.items() if name != "about")


@pytest.mark.parametrize("scale", ["small", "full"])
def test_tables_share_their_trainings(scale: str) -> None:
    grey = find("mpdl_mask_handling", scale, model="== 255")
    realfake = find("mpdl_table3", scale, train="realfake", test="realfake")
    assert grey.training.id == realfake.training.id and grey.id == realfake.id
    assert find("mpdl_mask_handling", scale, model="> 0").training.id != grey.training.id
    unt = find("nix_table1", scale, model="NIX-Net", train="UT", test="CA", pictures="places2")
    assert find("nix_table2", scale, model="full", test="CA").id == unt.id
    assert find("irl_table3", scale, model="early").id == find("irl_table4", scale, model="with attention").id
    assert (
        find("mpdl_table2", scale, model="60M").id == find("mpdl_table6", scale, train="realfake", test="realfake").id
    )
    four, seven = (trainings(cells(f"mpdl_table{number}", scale)) for number in (4, 7))
    assert set(seven) < set(four)
    assert {cell.training.id for cell in cells("classifier_test", scale)} == {
        cell.training.id for cell in cells("classifier_training", scale)
    }


def test_a_training_is_what_it_is_made_of() -> None:
    one, other = cells("mpdl_table3", seeds=(0, 1))[:2]
    assert (one.seed, other.seed) == (0, 1) and one.labels == other.labels
    assert one.training.id != other.training.id and one.id != other.id
    scale = read_scale("small")
    fewer = expand(read("mpdl_table3"), replace(scale, settings={}))[0]
    assert fewer.training.id != one.training.id
    test_only = expand(read("mpdl_table3"), replace(scale, limit=7))[0]
    assert test_only.training.id == one.training.id and test_only.id != one.id
    ensemble = find("classifier_test", model="ensemble").training
    assert [member.id for member in ensemble.members] == [cell.training.id for cell in cells("classifier_test")[:2]]


def test_the_size_of_the_small_scale_is_known() -> None:
    for names, counted in ((TABLES, (133, 47)), (OWN, (199, 49))):
        found = [cell for name in names for cell in cells(name)]
        assert (len({cell.id for cell in found}), len(trainings(found))) == counted


def test_a_row_may_hold_against_the_scale() -> None:
    base = find("ablations", model="as it is", test="patch").training.recipe
    small, longer = (
        find("ablations", model=name, test="patch").training.recipe for name in ("crops of 64", "twice the steps")
    )
    assert (base.input_size, small.input_size) == (96, 64) and small.model_args == base.model_args
    assert longer.localizing.epoch_pictures == 2 * (base.localizing.epoch_pictures or 0)


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_nothing_goes_under_the_name_of_what_it_stands_for(scale: str) -> None:
    theirs = {"GL", "CA", "GC", "EC", "SH", "LB", "RN", "TE", "NS", "PM", "SG", "cifake", "deepfakeart", "MVSS-Net"}
    for name in NAMES:
        for cell in cells(name, scale):
            own = {cell.own["model"], *cell.own["train"].split("+"), *cell.own["test"].split("+")}
            assert not own & theirs
    ten = [cell.own["test"] for cell in cells("iid_ten_inpainters")]
    assert len(set(ten)) == 10 and ten[0] == cells("iid_ten_inpainters")[0].own["train"]


def test_the_full_scale_is_the_reports_own() -> None:
    unt = find("nix_table1", "full", model="NIX-Net", train="GC+UT", pictures="celeba", test="GL")
    recipe = unt.training.recipe
    assert (recipe.input_size, recipe.epochs, recipe.loss, recipe.optimizer.learning_rate) == (256, 100, "focal", 1e-4)
    assert unt.threshold == 0.5 and unt.limit is None and unt.name.startswith("NIX-Net/GC+UT of gan-autoencoder/GL")
    assert unt.needs() == {"celeba", "celeba-gc", "celeba-gl"}
    fcn = find("mpdl_table7", "full", train="fakefake", test="realfake sd 2.1")
    assert fcn.training.recipe.localizing.variant == "fakefake" and fcn.tests[0].variant == "realfake"
    assert needs([fcn], read_scale("full")) == [
        "--data dataset2=FOLDER",
        "--data fcn-coco=FOLDER",
        "--data sd21=FOLDER",
    ]
    assert not find("classifier_test", "full", model="ensemble").training.frozen
    assert find("classifier_test", "full", model="DenseNet121").training.recipe.weights == "imagenet"


def test_the_card_gives_the_threshold_below_full() -> None:
    assert {cell.threshold for cell in cells("nix_table1")} == {None}
    assert {cell.limit for cell in cells("nix_table1")} == {120}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modles": {}}, "unknown key 'modles'; did you mean 'models'?"),
        ({"grids": [{"tests": ["realfake"]}]}, "unknown key 'grids[0].tests'; did you mean 'test'?"),
        ({"models": {"FCN": {"modle": "x"}}}, "unknown key 'models.FCN.modle'; did you mean 'model'?"),
        ({"grids": {"test": ["realfake"]}}, "grids must be a list"),
        ({"models": {"FCN": {"model": "fcn-resnet5"}}}, "did you mean 'fcn-resnet50'?"),
        ({"models": {"FCN": {"model": "fcn-resnet50", "set": {"epoch": 3}}}}, "did you mean 'epochs'?"),
        ({"grids": [{"pictures": ["dataset1"], "test": ["realfaek"]}]}, "did you mean 'dataset1/realfake'?"),
        ({"grids": [{"models": ["FNC"], "pictures": ["dataset1"], "test": ["realfake"]}]}, "did you mean 'FCN'?"),
        ({"at": {"smal": {}}}, "did you mean 'small'?"),
        ({"at": {"small": {"trian": ["realfake"]}}}, "did you mean 'train'?"),
        ({"at": {"small": {"train": ["realfak"]}}}, "did you mean 'realfake'?"),
        ({"measure": "histroy"}, "measure must be test | history"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_right_one(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(FakeclfError) as raised:
        expand(read(written(tmp_path, **changes)), read_scale("small"))
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_unknown_names_are_answered(tmp_path: Path) -> None:
    with pytest.raises(FakeclfError, match="did you mean 'mpdl_table3'"):
        read("mpdl_tabel3")
    with pytest.raises(FakeclfError, match="did you mean 'small'"):
        read_scale("smal")
    (tmp_path / "bad.yaml").write_text("models: [")
    with pytest.raises(FakeclfError, match="cannot read"):
        read(tmp_path / "bad.yaml")


def test_cells_are_chosen_by_either_name(tmp_path: Path) -> None:
    found = cells("nix_table1")
    assert len(grid.selected(found, None)) == 45
    assert {cell.labels["train"] for cell in grid.selected(found, "nix-net*/gl/")} == {"GL"}
    assert {cell.own["test"] for cell in grid.selected(found, "ldicn*/navier-stokes/seed 0")} == {"navier-stokes"}
    with pytest.raises(FakeclfError, match="names no cell of 45"):
        grid.selected(found, "MVSS")


def test_cells_are_plain_enough_to_be_hashed() -> None:
    for cell in cells("nix_table1"):
        assert json.loads(json.dumps(grid.about(cell.tests[0]))) == grid.about(cell.tests[0])
