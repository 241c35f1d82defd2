"""How the figures of masks were measured, in a few plain lines that go wherever the figures go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

EDGES = {
    "grey": "inpainted where the mask is at least half white (>= 128 of 255), grey edges being kept in training",
    "any": "inpainted where the mask is above 0",
    "full": "inpainted where the mask is 255",
}
SAME = 0.5  # mean difference, of 255, below which only a codec lies between two pictures


def mask_lines(
    *,
    data: str,
    split: str,
    generators: Mapping[str, int],
    pristine: int,
    unreadable: int,
    failed: int,
    threshold: float,
    fixed_by: str,
    score_from: str,
    pooled_error: float,
    resamples: int,
    seed: int,
) -> list[str]:
    """The lines that belong to every evaluation of masks."""
    forged = ", ".join(f"{name} {number:,}" for name, number in generators.items())
    return [
        f"pictures: {split} split of {data}, {sum(generators.values()):,} forged"
        + (f" ({forged})" if forged else "")
        + f" and {pristine:,} pristine, each once; {unreadable:,} unreadable files and {failed:,} other failures, left "
        "out of every figure",
        "forged pictures alone give the mask's figures; pristine ones give the mean positive area and the picture AUC",
        f"threshold: fixed, a pixel is called inpainted where P(inpainted) >= {threshold:g}; given by {fixed_by}",
        "averaging: per picture, then mean; beside it all pixels together (pooled); in a mean of generators each "
        "generator counts once",
        "class: inpainted is positive in IoU, F1, precision, recall, AUC and AP; both IoU is the mean of both classes",
        "maps: none inverted, no border and no pixel ignored",
        f"picture score: {score_from}; its AUC, AP and EER are on raw scores, forged against pristine",
        "pixel AUC and AP: of raw probabilities; per picture exact, by ranking; pooled from 65,536 bins"
        + ("" if np.isnan(pooled_error) else f", off by at most {pooled_error:.1g}"),
        "all-positive: the IoU of calling every pixel inpainted, which is the share of the hole",
        "control: AUC of the pristine original's mask against the forgery's truth; above 0.5 is content, not forgery",
        f"intervals: 95 %, bootstrap over pictures (percentiles), {resamples:,} resamples, seed {seed}; of a mean of "
        "generators within each generator",
    ]


def edges_line(edges: str) -> str:
    """How the truth is read from a mask's grey values."""
    return f"truth: {EDGES[edges]}"


def paste_line(changed: Sequence[float]) -> str:
    """Pasted back through the mask or regenerated as a whole: measured where the masks are black.

    Args:
        changed: mean absolute difference from the original there, 0-255, a value a picture; NaN where unknown.
    """
    known = np.asarray(changed, float)
    known = known[~np.isnan(known)]
    if not known.size:
        return "pasted back or whole frame: unknown, there are no originals to compare with"
    equal, close = int(np.sum(known == 0)), int(np.sum((known > 0) & (known < SAME)))
    other = known.size - equal - close
    return (
        f"pasted back or whole frame: where the mask is black, {equal:,} of {known.size:,} pictures equal their "
        f"originals, {close:,} differ by less than {SAME:g} of 255 on average, {other:,} by more (the whole frame "
        f"regenerated, or another codec); median {np.median(known):.2f}"
    )


def codec_line(codec: str) -> str:
    """What pictures went through before the localizer saw them."""
    if not codec:
        return "codec: pictures as they are in their files, nothing applied"
    return f"codec: {codec}, applied to every picture, forged and pristine alike, before the localizer sees it"
