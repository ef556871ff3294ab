"""How soon a worker that died is replaced."""

from __future__ import annotations

from myserv.workers.backoff import LONGEST_WAIT, STABLE, Backoff


def test_theFirstTimeAtOnce() -> None:
    """Then longer and longer, up to a limit, while they die young."""
    backoff = Backoff()
    waits = [backoff.died(1) for _ in range(10)]
    assert waits == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_WAIT, LONGEST_WAIT]


def test_oneThatHasServedForAWhile() -> None:
    """Its death has nothing to do with those before."""
    backoff = Backoff()
    for _ in range(5):
        backoff.died(0)
    assert backoff.died(STABLE) == 0
    assert backoff.died(STABLE / 2) == 0.1
