"""From a recipe to a bundle at mask level: localizers on pairs of picture and mask, inpainters on photographs."""

from __future__ import annotations

from pathlib import Path

from fakeclf import bundle, calibration, plots
from fakeclf.bundle import Card
from fakeclf.config import Recipe
from fakeclf.data import degrade
from fakeclf.registry import model as model_spec
from fakeclf.training.job import Job, Plan, photograph_facts, photograph_settings, remember_recipe, trained_on
from segmentation import datasets

EVALUATED = 200


def train_localizer(recipe: Recipe, plan: Plan) -> Job:
    """Train a localizer, choose its threshold on the validation pairs and calibrate its picture score there.

    The threshold is the one with the best mean F1 of validation pairs among those that leave at most 2 % of the pixels
    of their untouched originals above it. What learns from pictures that are saved again is validated on such.
    """
    from fakeclf.training.trainer import train
    from segmentation.calibration import picture_scores
    from segmentation.evaluate import choose_threshold, evaluate
    from segmentation.localize import OVERLAP, TILE, Localizer

    dataset = datasets.load(
        recipe.dataset, validation=recipe.validation, seed=recipe.seed, variant=recipe.localizing.variant
    )
    learnt = datasets.without(dataset, recipe.localizing.leave_out)
    remember_recipe(plan.run, recipe, plan.resume)
    result = train(recipe, dataset, plan.run, **plan.how())
    spec = model_spec(recipe.model)
    card = Card(
        name=plan.name,
        kind="localizer",
        model=spec.name,
        module=spec.builder.partition(":")[0],
        input={"size": None, "view": "whole", "range": [0, 255], "colour": "RGB", "tile": TILE, "overlap": OVERLAP},
        classes=[],
        output="mask: P(inpainted) of each pixel, the picture's size",
        trained_on={
            **trained_on(recipe, dataset, result),
            "generators": sorted({pair.generator for pair in learnt.train if pair.generator}),
        },
        limits=["it knows the traces of the generators it was trained on; what others leave it may not see"],
    )
    locate = Localizer(result.model, name=plan.name)
    # What was left out of the training is measured too, but has no say in the threshold.
    forged = [pair for pair in dataset.validation if not pair.drawn]
    table = f"{plan.name}: nothing to validate on but whole frames; measure it on pairs with `fakeclf evaluate`"
    drawn = plan.run / "plots"
    plots.learning_curves(result.history, drawn / "learning_curves.png")
    if any(pair.label == 0 for pair in forged):
        edges = recipe.localizing.edges
        known = [pair for pair in learnt.validation if not pair.drawn]
        codec = degrade.parse(degrade.SAVED_AGAIN) if card.for_saved_again else None
        card.threshold = choose_threshold(locate, known, edges=edges, limit=EVALUATED, seed=recipe.seed, codec=codec)
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
            codec=codec,
        )
        card.results.append(found.to_json())
        truth, p_real, notes = picture_scores(found, recipe.localizing.leave_out)
        card.calibration = calibration.for_card(truth, p_real, data=found.data, notes=notes)
        found.save(drawn)
        table = found.to_table()
    saved = bundle.save(result.model, card, plan.folder, force=plan.force, plots=drawn)
    return Job(saved, card, table, saved / "plots")


def train_inpainter(recipe: Recipe, plan: Plan) -> Job:
    """Train an inpainter on a folder of photographs (``recipe.dataset``) and measure its fills."""
    from segmentation.training.inpainter_training import train_inpainter as train

    result = train(recipe.dataset, plan.run, **photograph_settings(recipe, plan))
    drawn = plan.run / "plots"
    plots.learning_curves({"loss": [point["loss"] for point in result.history]}, drawn / "learning_curves.png")
    protocol = [
        "one seeded hole a picture, at most 256 pixels around its middle; figures are of the hole's pixels alone",
        "blurred: the same figures of a blur of what surrounds the hole, for comparison",
        "texture: median ratio of mean local variance (7x7, grey) inside the hole, fill to photograph",
    ]
    card = Card(
        name=plan.name,
        kind="inpainter",
        model=recipe.model,
        module=model_spec(recipe.model).builder.partition(":")[0],
        output="the picture with its holes filled, 0-255, same size",
        **photograph_facts(recipe, result),
        results=[
            {
                "data": Path(recipe.dataset).name,
                "split": part,
                **{name: round(value, 3) for name, value in figures.items()},
                "protocol": protocol,
            }
            for part, figures in result.figures.items()
        ],
        limits=["made to leave an inpainter's traces at little cost; its fills do not deceive people"],
    )
    saved = bundle.save(result.model, card, plan.folder, force=plan.force, plots=drawn)
    rows = [
        f"{part:6}" + "".join(f"  {name} {value:.3g}" for name, value in figures.items())
        for part, figures in result.figures.items()
    ]
    return Job(saved, card, "\n".join([f"{plan.name} after {result.steps:,} steps", *rows]), saved / "plots")
