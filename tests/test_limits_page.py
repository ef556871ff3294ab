"""The page about limits knows all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from myserv.limits import Limits, PenaltyLimits
from myserv.options.declare import OptionSpec, describe

PAGE = Path(__file__).parents[1] / "docs" / "discussion" / "limits.md"


@pytest.mark.parametrize(
    "spec", [*describe(Limits), *describe(PenaltyLimits)], ids=lambda s: s.name
)
def test_named(spec: OptionSpec) -> None:
    """Every limit has its place on the page."""
    assert f"`{spec.name}`" in PAGE.read_text()


@pytest.mark.parametrize("spec", describe(Limits), ids=lambda s: s.name)
def test_default(spec: OptionSpec) -> None:
    """What the page says of a default is so."""
    row = re.search(rf"^\| `{spec.name}` \|(.*)$", PAGE.read_text(), re.MULTILINE)
    if row is not None and spec.default and not isinstance(spec.default, bool):
        assert spec.defaultText in row[1].replace("65,535", "65535B")
