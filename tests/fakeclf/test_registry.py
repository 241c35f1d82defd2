"""Names lead to code that is there, and only to this project's."""

from __future__ import annotations

import pytest

from fakeclf import registry
from fakeclf.errors import FakeclfError


def test_every_target_exists() -> None:
    for target in [spec.builder for spec in registry.models()] + [spec.loader for spec in registry.datasets()]:
        assert callable(registry.resolve(target)), target


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(FakeclfError, match="did you mean 'xception'"):
        registry.model("exception")
    with pytest.raises(FakeclfError, match="allowed: .*densenet121"):
        registry.model("zzz")
    with pytest.raises(FakeclfError, match="did you mean 'cifake'"):
        registry.dataset("cifak")


@pytest.mark.parametrize("target", ["os:system", "fakeclfx.models:build", "fakeclf.models.nothing:build"])
def test_only_our_own_modules_are_imported(target: str) -> None:
    with pytest.raises(FakeclfError):
        registry.resolve(target)
