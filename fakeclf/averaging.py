"""The mean of two networks' weights: what a training on new pictures taught, with less of what was known forgotten.

Only where one was trained on from the other (or both from a third) lie both in one valley of the loss; the means of
strangers' weights know nothing.

Reference: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fakeclf import bundle
from fakeclf.errors import FakeclfError


def average(
    before: str, after: str, *, share: float = 0.5, name: str, out: str | Path = "saved_models", force: bool = False
) -> Path:
    """Make the bundle ``name`` of ``1 - share`` times the weights of ``before`` and ``share`` times those of ``after``.

    Its card is that of ``after``, threshold and limits too, without what was measured: results, calibration and reach.
    ``trained_on["averaged"]`` names both, with share and sha256.

    Args:
        before, after: bundles, by name or by path, of one architecture.
        share: of ``after``, between 0 and 1.
        name: of the bundle in folder ``out``, replaced only with ``force``.

    Raises:
        FakeclfError: a bundle is missing, an ensemble, or of another architecture; a share that is none.
    """
    if not 0 < share < 1:
        raise FakeclfError(f"share must be above 0 and below 1; received {share:g}")
    cards = [bundle.read_card(one) for one in (before, after)]
    for one, card in zip((before, after), cards, strict=True):
        if card.members:
            raise FakeclfError(f"{one} is an ensemble, whose members have weights of their own; average those")
    models = [bundle.load(one) for one in (before, after)]
    shapes = [[tuple(weight.shape) for weight in model.weights] for model in models]
    if cards[0].model != cards[1].model or shapes[0] != shapes[1]:
        raise FakeclfError(
            f"{before} ({cards[0].model}, {cards[0].parameters:,} parameters) and {after} ({cards[1].model}, "
            f"{cards[1].parameters:,}) are not of one architecture; average a network with one "
            "that was trained on from it"
        )
    mean = [
        (1 - share) * first + share * second
        for first, second in zip(models[0].get_weights(), models[1].get_weights(), strict=True)
    ]
    models[1].set_weights(mean)
    averaged = [
        {"name": card.name, "share": part, "sha256": bundle.sha256(bundle.find(one) / "model.keras")}
        for one, card, part in zip((before, after), cards, (1 - share, share), strict=True)
    ]
    card = replace(
        cards[1],
        name=name,
        trained_on={**cards[1].trained_on, "averaged": averaged},
        results=[],
        calibration=None,
        reach=None,
        litert=None,
        files={},
    )
    return bundle.save(models[1], card, Path(out) / name, force=force)
