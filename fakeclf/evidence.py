"""The evidence behind a verdict in words, a sentence each, for somebody who reads no cards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fakeclf.verdict import Verdict, Vote

_LIMITS = {
    "real": "This means that none of the models that could judge the picture found traces it knows; it is no proof of "
    "a real picture.",
    "cannot tell": "No model could judge this picture, which says nothing for it or against it.",
    "unsure": "The probability lies where the deciding model errs too often to be called either way.",
}
_SPECKS = 0.002  # of the picture: smaller spots are not counted as places


def sentences(verdict: Verdict, decisive: Vote | None, remark: str = "") -> list[str]:
    """What was found, and what it rests on.

    Args:
        verdict: with its votes, and its mask where there is one.
        decisive: the vote that decided; None where none could.
        remark: of the localizer whose mask is shown, on a trace of this very file.
    """
    said = []
    if decisive is not None:
        said.append(_of_vote(decisive))
    said += [_of_vote(vote) for vote in verdict.votes if vote.says is not None and vote is not decisive]
    if verdict.verdict == "fake" and verdict.mask is not None:
        said += _of_mask(verdict.binary)
    if remark:
        said.append(remark)
    if verdict.extent == "whole":
        said.append("The traces are of the whole picture rather than of one part of it.")
    said += [f"{vote.model} has no vote: {vote.no_vote}." for vote in verdict.votes if vote.no_vote]
    by_localizer = decisive is not None and decisive.kind == "localizer"
    if verdict.stable == "flips" and verdict.verdict == "fake" and by_localizer and remark:
        said.append(
            f"Saved or resized again ({', '.join(verdict.flips_after)}) the picture loses that trace, and the verdict "
            "with it: judge the file as it came, no copy of it."
        )
    elif verdict.stable == "flips":
        said.append(
            f"The verdict changes when the picture is changed a little ({', '.join(verdict.flips_after)}); "
            "do not rely on it."
        )
    elif verdict.stable == "stable":
        said.append("The verdict stays the same when the picture is saved as JPEG 85 and when it is resized by 0.75.")
    return said + [_LIMITS[word] for word in (verdict.verdict,) if word in _LIMITS]


def _of_vote(vote: Vote) -> str:
    assert vote.p_fake is not None and vote.threshold is not None and vote.real_below is not None
    numbers = f"{vote.model} gives P(FAKE) {vote.p_fake:.3f}"
    if vote.says == "fake":
        return f"{numbers}, at or above {vote.threshold:.3f}, from where on it says fake."
    if vote.says == "real":
        return f"{numbers}, below {vote.real_below:.3f}, where it says real."
    return f"{numbers}, between {vote.real_below:.3f} and {vote.threshold:.3f}, where it is unsure."


def _of_mask(marked: np.ndarray) -> list[str]:
    """How much is marked, in how many places, and where the largest of them is."""
    from scipy import ndimage

    area = float(marked.mean())
    if not area:
        return ["No pixel reaches the localizer's threshold."]
    places, number = ndimage.label(marked)
    sizes = np.bincount(places.ravel())[1:]
    shown = int(np.sum(sizes >= _SPECKS * marked.size)) or 1
    rows, columns = ndimage.find_objects(places, max_label=number)[int(np.argmax(sizes))]
    where = _third(rows, marked.shape[0], ("upper", "middle", "lower"))
    side = _third(columns, marked.shape[1], ("left", "middle", "right"))
    place = (
        "the middle"
        if where == side == "middle"
        else f"the {where} {side}".replace("middle left", "left").replace("middle right", "right")
    )
    part = "one place" if shown == 1 else f"{shown} places, the largest"
    return [f"{area:.1%} of the picture is marked as repainted, in {part} in {place}."]


def _third(span: slice, whole: int, words: Sequence[str]) -> str:
    return words[min(2, int(3 * (span.start + span.stop) / 2 / whole))]
