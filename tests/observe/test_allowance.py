"""How many lines of a kind, and of all kinds, are granted."""

from __future__ import annotations

import pytest

from myserv.observe.allowance import Allowance, Rate

PLENTY = Rate(1000, 1000.0)


@pytest.mark.parametrize("now", [0.0, 12345.678, 1e9 / 3])
def test_burstThenRate(now: float) -> None:
    """A kind has as many at once as its burst, then one an interval, at any time of day."""
    allowance = Allowance(Rate(3, 2.0), PLENTY)
    assert [allowance.take("a", now) for _ in range(5)] == [True] * 3 + [False] * 2
    assert not allowance.take("a", now + 0.2)
    assert [allowance.take("a", now + 0.5) for _ in range(2)] == [True, False]
    assert [allowance.take("a", now + 1.5) for _ in range(3)] == [True, True, False]


def test_fullAgain() -> None:
    """What was not asked for does not add up beyond the burst."""
    allowance = Allowance(Rate(2, 1.0), PLENTY)
    assert allowance.take("a", 0.0)
    assert [allowance.take("a", 1000.0) for _ in range(3)] == [True, True, False]


def test_kindsApart() -> None:
    """One kind takes nothing from another."""
    allowance = Allowance(Rate(1, 1.0), PLENTY)
    assert allowance.take("a", 0.0)
    assert not allowance.take("a", 0.0)
    assert allowance.take("b", 0.0)


def test_together() -> None:
    """All kinds together have a burst and a rate; what is refused costs its kind nothing."""
    allowance = Allowance(Rate(1, 0.01), Rate(2, 1.0))
    assert [allowance.take(kind, 0.0) for kind in "abc"] == [True, True, False]
    assert allowance.take("c", 1.0)
    assert not allowance.take("d", 1.0)


def test_kindsBeyondShare() -> None:
    """Kinds for which there is no room are taken for one."""
    allowance = Allowance(Rate(1, 1.0), PLENTY, most=2)
    assert [allowance.take(kind, 0.0) for kind in "abcd"] == [True, True, True, False]
    assert not allowance.take("e", 0.5)


def test_kindsAreForgotten() -> None:
    """A kind whose burst is whole again makes room."""
    allowance = Allowance(Rate(1, 1.0), PLENTY, most=2)
    assert [allowance.take(kind, 0.0) for kind in "ab"] == [True, True]
    assert [allowance.take(kind, 1.5) for kind in "cd"] == [True, True]
    assert [allowance.take(kind, 1.5) for kind in "ef"] == [True, False]


def test_memory() -> None:
    """However many kinds there are, it keeps few of them."""
    allowance = Allowance(Rate(1, 0.001), PLENTY, most=8)
    for number in range(1000):
        allowance.take(f"kind {number}", number / 10)
    assert len(allowance._full) <= 9
