"""A little of what C{python -m tests.fuzz} does a lot of."""

from __future__ import annotations

import pytest

from tests.fuzz import proxy


@pytest.mark.parametrize("seed", range(4))
def test_mutatedHeaders(seed: int) -> None:
    """Nothing that a peer sends makes the server raise, hang or leak."""
    proxy.run(150, seed)
