"""The space of a search: which keys of a recipe vary, and between what.

A recipe's ``search`` maps keys to one rule each:

    optimizer.learning_rate: {loguniform: [1.0e-4, 1.0e-2]}     between, evenly in the logarithm
    model_args.dropout:      {uniform: [0.2, 0.6]}              between, evenly
    batch_size:              {quniform: [16, 128, 16]}          from, to, step
    model_args.head:         {choice: [report, pool]}           one of
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fakeclf.config import Recipe, from_mapping, to_mapping
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest

RULES = {
    "choice": "a list of values, at least one",
    "uniform": "[low, high], low < high",
    "loguniform": "[low, high], 0 < low < high",
    "quniform": "[low, high, step], low < high, both multiples of the step",
}
_FIXED = ("dataset", "validation", "search")


class Space:
    """The checked space of a recipe, as hyperopt expressions; ``settings`` turns its points into recipe settings.

    Args:
        recipe: its ``search`` defines the space; the other keys are what the settings are applied to.

    Raises:
        FakeclfError: naming the key whose rule, bounds or values are wrong, or if there is nothing to search.
    """

    def __init__(self, recipe: Recipe) -> None:
        if not recipe.search:
            raise FakeclfError(
                "the recipe has no search space; add for example "
                "search: {optimizer.learning_rate: {loguniform: [1.0e-4, 1.0e-2]}}"
            )
        self.rules = {key: _checked_rule(key, definition) for key, definition in recipe.search.items()}
        for key, (rule, values) in self.rules.items():
            for value in values if rule == "choice" else [_whole(rule, values, bound) for bound in values[:2]]:
                with_values(recipe, {key: value})

    def expressions(self) -> dict[str, Any]:
        """Key -> hyperopt expression. A choice is drawn as a position, so its values may be anything, lists too."""
        from hyperopt import hp

        made = {}
        for key, (rule, values) in self.rules.items():
            if rule == "choice":
                made[key] = hp.choice(key, list(range(len(values))))
            elif rule == "loguniform":
                made[key] = hp.loguniform(key, math.log(values[0]), math.log(values[1]))
            else:
                made[key] = getattr(hp, rule)(key, *values)
        return made

    def settings(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A drawn point as plain settings: values in their bounds, whole numbers as ``int``, no NumPy types."""
        plain = {}
        for key, (rule, values) in self.rules.items():
            if rule == "choice":
                plain[key] = values[int(point[key])]
            else:
                # exp(log(high)) may pass high in the last digit.
                plain[key] = _whole(rule, values, min(max(float(point[key]), values[0]), values[1]))
        return plain


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """``recipe`` with dotted keys set to Python values, checked as a recipe file is.

    Raises:
        FakeclfError: naming an unknown key or a value of the wrong type.
    """
    mapping = to_mapping(recipe)
    for key, value in values.items():
        *groups, last = key.split(".")
        inner: Any = mapping
        for group in groups:
            if isinstance(inner, dict) and group in inner and inner[group] is None:
                inner[group] = {}
            if not isinstance(inner, dict) or not isinstance(inner.get(group), dict):
                raise FakeclfError(f"search: unknown key {key!r}; {closest(group, inner)}")
            inner = inner[group]
        inner[last] = value
    return from_mapping(Recipe, mapping, "search")


def _checked_rule(key: str, definition: Any) -> tuple[str, list[Any]]:
    if not isinstance(key, str) or key.split(".")[0] in _FIXED:
        raise FakeclfError(
            f"search: {key} cannot vary; the trials of a search are compared on one data set, split in one way"
        )
    if not isinstance(definition, Mapping) or len(definition) != 1:
        raise FakeclfError(f"search: {key} takes one rule, {' | '.join(RULES)}; received {definition!r}")
    ((rule, values),) = definition.items()
    if rule not in RULES:
        raise FakeclfError(f"search: {key} has an unknown rule {rule!r}; {closest(rule, RULES)}")
    if rule == "choice":
        good = isinstance(values, list | tuple) and len(values) > 0
        if good:
            return rule, list(values)
    else:
        numbers = _numbers(values)
        good = len(numbers) == (3 if rule == "quniform" else 2) and numbers[0] < numbers[1]
        if rule == "loguniform":
            good = good and numbers[0] > 0
        if rule == "quniform":
            good = good and numbers[2] > 0 and all(_is_multiple(bound, numbers[2]) for bound in numbers[:2])
        if good:
            return rule, numbers
    raise FakeclfError(f"search: {key}: {rule} takes {RULES[rule]}; received {values!r}")


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list | tuple) or any(isinstance(value, bool) for value in values):
        return []
    try:
        # YAML 1.1 reads 1e-4 (no dot) as text.
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def _is_multiple(value: float, step: float) -> bool:
    return math.isclose(value / step, round(value / step), abs_tol=1e-9)


def _whole(rule: str, values: list[float], value: float) -> float | int:
    whole = rule == "quniform" and all(number.is_integer() for number in values)
    return round(value) if whole else value
