"""
A server under attack: the scenarios of tests/soak with fewer clients and seconds, judged
by what becomes of the server and of the others, and not by how fast that was.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.soak.ground import Ground

pytestmark = pytest.mark.wire

SCENARIOS = [
    "readers",
    "handshakes",
    "descriptors",
    "storm",
    "garbage",
    "log",
    "slowloris",
    "scanners",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_attacked(name: str, tmp_path: Path) -> None:
    """Nothing is lost, nothing grows without bound, and nothing raises."""
    scenario = importlib.import_module(f"tests.soak.{name}")
    told: list[str] = []
    with Ground(tmp_path, isTimed=False, tell=told.append) as ground:
        scenario.run(ground, scenario.QUICK)
    assert told
    assert ground.failures == [], "\n".join(told)
