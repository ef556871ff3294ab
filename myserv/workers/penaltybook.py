"""
What misbehaviour has cost, as the supervisor remembers it for workers to come.
"""

from __future__ import annotations

from typing import Any, Final

MAXIMUM_PEERS: Final = 65_536
"""Peers that are remembered; a worker remembers as many unless it is told otherwise."""


class PenaltyBook:
    """
    By peer, when its penalties will have worn off.
    """

    def __init__(self, maximum: float) -> None:
        """
        Args:
            maximum: Seconds that a peer collects at most.
        """
        self.maximum = maximum
        self._until: dict[int, float] = {}

    def add(self, key: int, seconds: float, now: float) -> None:
        """
        A peer was penalized.

        Args:
            key: The peer's number.
            seconds: What it cost.
            now: What time it is.
        """
        until = max(now, self._until.pop(key, now)) + seconds
        # At the end: those that were penalized last are remembered.
        self._until[key] = min(until, now + self.maximum)
        if len(self._until) > MAXIMUM_PEERS:
            self._until = {each: end for each, end in self._until.items() if end > now}
            while len(self._until) > MAXIMUM_PEERS:
                del self._until[next(iter(self._until))]

    def left(self, now: float) -> list[tuple[int, float]]:
        """
        Say what has not worn off: pairs of a peer's number and seconds.
        """
        return [(key, until - now) for key, until in self._until.items() if until > now]

    def restore(self, penalties: Any, now: float) -> None:
        """
        Remember what another book said was left.
        """
        for key, seconds in penalties:
            self._until[key] = now + seconds
