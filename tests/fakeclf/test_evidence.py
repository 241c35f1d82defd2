"""The evidence in words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fakeclf.evidence import sentences
from fakeclf.verdict import Verdict, Vote


def vote(model: str, p_fake: float, says: str | None, no_vote: str = "") -> Vote:
    return Vote(model, "classifier", p_fake=p_fake, says=says, threshold=0.8, real_below=0.3, no_vote=no_vote)


def test_the_deciding_vote_comes_first_and_silence_is_explained() -> None:
    votes = [vote("calm", 0.1, "real"), vote("alarmed", 0.95, "fake"), vote("blind", 0.5, None, "it is too small")]
    said = sentences(Verdict(None, verdict="fake", extent="whole", votes=votes, stable="stable"), votes[1])
    assert said[0] == "alarmed gives P(FAKE) 0.950, at or above 0.800, from where on it says fake."
    assert said[1] == "calm gives P(FAKE) 0.100, below 0.300, where it says real."
    assert "whole picture" in said[2] and said[3] == "blind has no vote: it is too small."
    assert "stays the same" in said[4] and len(said) == 5


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (slice(0, 30), slice(0, 20), "in one place in the upper left"),
        (slice(35, 65), slice(40, 60), "in one place in the middle"),
        (slice(35, 65), slice(80, 100), "in one place in the right"),
        (slice(80, 100), slice(40, 60), "in one place in the lower middle"),
    ],
)
def test_where_it_is_marked(rows: slice, columns: slice, words: str) -> None:
    mask = np.zeros((100, 100), np.float32)
    mask[rows, columns] = 1
    mask[99, 99] = 1  # a speck, which is no place
    votes = [vote("m", 0.9, "fake")]
    said = sentences(
        Verdict(None, verdict="fake", extent="local", votes=votes, mask=mask, pixel_threshold=0.5), votes[0]
    )
    assert f"{mask.mean():.1%} of the picture is marked as repainted, {words}." in said


def test_what_a_verdict_does_not_mean_is_said() -> None:
    assert "no proof" in sentences(Verdict(None, verdict="real", votes=[vote("m", 0.1, "real")]), None)[-1]
    assert "nothing for it or against it" in sentences(Verdict(None, verdict="cannot tell"), None)[-1]
    unsure = vote("m", 0.5, "unsure")
    said = sentences(Verdict(None, verdict="unsure", votes=[unsure], stable="flips", flips_after=["jpeg:85"]), unsure)
    assert "between 0.300 and 0.800" in said[0] and "(jpeg:85)" in said[1] and "do not rely on it" in said[1]


def test_a_trace_of_the_file_is_lost_by_saving_it_again() -> None:
    of_all = vote("m", 0.9, "fake")
    of_a_part = dataclasses.replace(of_all, kind="localizer")
    verdict = Verdict(None, verdict="fake", votes=[of_a_part], stable="flips", flips_after=["jpeg:85"])
    said = sentences(verdict, of_a_part, "A part went without.")
    assert said[-2] == "A part went without." and "judge the file as it came" in said[-1] and "(jpeg:85)" in said[-1]
    assert "do not rely on it" in sentences(verdict, of_a_part)[-1]
    assert "do not rely on it" in sentences(verdict, of_all, "A part went without.")[-1]


def test_what_the_localizer_remarked_is_said_whatever_the_verdict() -> None:
    real = vote("m", 0.1, "real")
    said = sentences(Verdict(None, verdict="real", votes=[real]), real, "Something is missing.")
    assert said[1] == "Something is missing."
