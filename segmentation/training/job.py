"""From a recipe to a bundle at mask level: localizers on pairs of picture and mask, inpainters on photographs."""

from __future__ import annotations

from fakeclf import bundle, plots
from fakeclf.bundle import Card
from fakeclf.config import Recipe
from fakeclf.registry import model as model_spec
from fakeclf.training.job import Job, Plan, remember_recipe, trained_on
from segmentation import datasets

TILE = {"size": 1024, "overlap": 128}
EVALUATED = 200


def train_localizer(recipe: Recipe, plan: Plan) -> Job:
    """Train a localizer and choose its threshold on the validation pairs.

    The threshold is the one with the best mean F1 of validation pairs among those that leave at most 2 % of the pixels
    of their untouched originals above it.
    """
    from fakeclf.training.trainer import train
    from segmentation.evaluate import choose_threshold, evaluate
    from segmentation.localize import Localizer

    dataset = datasets.load(
        recipe.dataset, validation=recipe.validation, seed=recipe.seed, variant=recipe.localizing.variant
    )
    remember_recipe(plan.run, recipe, plan.resume)
    result = train(recipe, dataset, plan.run, **plan.how())
    spec = model_spec(recipe.model)
    card = Card(
        name=plan.name,
        kind="localizer",
        model=spec.name,
        module=spec.builder.partition(":")[0],
        input={"size": None, "view": "whole", "range": [0, 255], "colour": "RGB", "tile": TILE},
        classes=[],
        output="mask: P(inpainted) of each pixel, the picture's size",
        trained_on={
            **trained_on(recipe, dataset, result),
            "generators": sorted({pair.generator for pair in dataset.train if pair.generator}),
        },
        limits=["it knows the traces of the generators it was trained on; what others leave it may not see"],
    )
    locate = Localizer(result.model, name=plan.name)
    forged = [pair for pair in dataset.validation if not pair.drawn]
    table = f"{plan.name}: nothing to validate on but whole frames; measure it on pairs with `fakeclf evaluate`"
    drawn = plan.run / "plots"
    plots.learning_curves(result.history, drawn / "learning_curves.png")
    if any(pair.label == 0 for pair in forged):
        edges = recipe.localizing.edges
        card.threshold = choose_threshold(locate, forged, edges=edges, limit=EVALUATED, seed=recipe.seed)
        found = evaluate(
            locate,
            forged,
            threshold=card.threshold,
            fixed_by="the best F1 on these pairs with at most 2 % of untouched pixels above it",
            edges=edges,
            data=recipe.dataset,
            split="validation",
            name=plan.name,
            limit=EVALUATED,
            seed=recipe.seed,
        )
        card.results.append(found.to_json())
        found.save(drawn)
        table = found.to_table()
    saved = bundle.save(result.model, card, plan.folder, force=plan.force, plots=drawn)
    return Job(saved, card, table, saved / "plots")
