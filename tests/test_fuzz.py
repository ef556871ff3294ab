"""The mutators that C{make fuzz} runs for long, each for a moment."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tests.fuzz

MUTATORS = [
    each.name for each in pkgutil.iter_modules(tests.fuzz.__path__) if not each.name.startswith("_")
]


@pytest.mark.parametrize("name", MUTATORS)
def test_aMoment(name: str) -> None:
    """No input raises, hangs or leaves anything behind."""
    importlib.import_module(f"tests.fuzz.{name}").run(200, 7)
