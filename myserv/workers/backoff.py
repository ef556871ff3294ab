"""
How soon a worker that died is replaced.
"""

from __future__ import annotations

from typing import Final

FIRST_WAIT: Final = 0.1
"""Seconds until the second replacement."""

LONGEST_WAIT: Final = 10.0
"""Seconds between two replacements, at most."""

STABLE: Final = 10.0
"""Seconds after which a death has nothing to do with the start."""


class Backoff:
    """
    The waits of one place: none, then longer and longer while those who take it die young.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def died(self, age: float) -> float:
        """
        The one in this place died.

        Args:
            age: Seconds since it was started.

        Returns:
            Seconds until the next may be started.
        """
        if age >= STABLE:
            self._next = 0.0
        wait = self._next
        self._next = min(LONGEST_WAIT, 2 * wait) or FIRST_WAIT
        return wait
