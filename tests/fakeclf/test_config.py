"""Recipes: shipped ones are whole, and every slip is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from fakeclf import config, registry
from fakeclf.config import Recipe, read_recipe, with_settings
from fakeclf.errors import FakeclfError


@pytest.mark.parametrize("name", config.recipe_names())
def test_shipped_recipes_are_whole(name: str) -> None:
    recipe = read_recipe(name)
    text, _ = config._recipe_text(name)
    assert text.startswith("# fakeclf "), "the header comment gives the command"
    if recipe.model != "ensemble":
        spec = registry.model(recipe.model)
        assert (recipe.input_size or spec.input_size) >= spec.min_size
    assert config.from_mapping(Recipe, config.to_mapping(recipe), "again") == recipe


def test_settings() -> None:
    recipe = with_settings(
        Recipe(),
        ["epochs=3", "optimizer.learning_rate=1e-2", "augmentation=null", "model_args.stem=full", "input_size=48"],
    )
    assert (recipe.epochs, recipe.optimizer.learning_rate, recipe.augmentation) == (3, 0.01, None)
    assert recipe.model_args == {"stem": "full"} and recipe.input_size == 48
    assert with_settings(recipe, ["augmentation.flip=true"]).augmentation is not None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epoch=3", "unknown key 'epoch'; did you mean 'epochs'"),
        ("optimizer.learningrate=3", "did you mean 'learning_rate'"),
        ("optimiser.name=sgd", "did you mean 'optimizer'"),
        ("epochs=many", "epochs must be a whole number; received 'many'"),
        ("epochs=1.5", "whole number"),
        ("optimizer.learning_rate=fast", "must be a number"),
        ("optimizer.name=lion", r"adam \| adamw \| sgd"),
        ("augmentation.flip=3", "true or false"),
        ("optimizer=3", "a group of keys"),
        ("epochs", "key=value"),
        ("weights=[", "not a YAML value"),
    ],
)
def test_slips_are_named(setting: str, message: str) -> None:
    with pytest.raises(FakeclfError, match=message) as caught:
        with_settings(Recipe(), [setting])
    assert "\n" not in str(caught.value)


def test_recipe_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: xception\nepochs: 2\n")
    assert read_recipe(tmp_path / "mine.yaml").epochs == 2
    for text, message in (("- a", "mapping"), ("a: [", "not valid YAML"), ("epochs: '2'", "whole number")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(FakeclfError, match=message):
            read_recipe(tmp_path / "bad.yaml")
    with pytest.raises(FakeclfError, match="cannot read"):
        read_recipe(tmp_path / "missing.yaml")
    with pytest.raises(FakeclfError, match="did you mean 'cifake'"):
        read_recipe("cifak")


@dataclass(frozen=True)
class Part:
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    named: dict[str, Part]


def test_lists_and_named_groups_are_checked_to_the_bottom() -> None:
    values = {"parts": [{"words": ["a", "b"]}, {}], "named": {"one": {"words": ["c"]}}}
    made = config.from_mapping(Whole, values, "here")
    assert made == Whole((Part(("a", "b")), Part()), {"one": Part(("c",))})
    for wrong, message in (
        ({**values, "parts": {"words": []}}, "here: parts must be a list; received"),
        ({**values, "parts": [{"words": [1]}]}, r"here: parts\[0\].words\[0\] must be text; received 1"),
        ({**values, "named": {"one": {"wrods": []}}}, "unknown key 'named.one.wrods'; did you mean 'words'"),
        ({**values, "named": {"one": 3}}, "here: named.one must be a group of keys; received 3"),
    ):
        with pytest.raises(FakeclfError, match=message):
            config.from_mapping(Whole, wrong, "here")
