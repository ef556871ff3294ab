"""
Counting what is thrown away, and telling of it rarely.
"""

from __future__ import annotations

from typing import Final

from myserv.events import DatagramsDropped, Peer
from myserv.interfaces import IListenerContext

REPORT_INTERVAL: Final = 10.0
"""Seconds between two events about datagrams dropped for one reason: a flood
must not become a flood of events."""


class Drops:
    """
    The datagrams that one part of a listener threw away.

    @ivar total: How many there have been, by reason.
    """

    def __init__(self, context: IListenerContext) -> None:
        """
        Args:
            context: The listener.
        """
        self._context = context
        self._unreported: dict[str, _Unreported] = {}
        self.total: dict[str, int] = {}

    def add(self, reason: str, peer: Peer, count: int = 1) -> None:
        """
        One was thrown away, or several.

        Args:
            reason: Why: one of a few texts, with nothing of the peer's in it.
            peer: Where it came from or was to go; of several, one of them.
            count: How many.
        """
        self.total[reason] = self.total.get(reason, 0) + count
        drops = self._unreported.setdefault(reason, _Unreported())
        drops.count += count
        drops.peer = peer
        now = self._context.reactor.seconds()
        if drops.told is None or now - drops.told >= REPORT_INTERVAL:
            drops.told = now
            self._report(reason, drops)

    def report(self) -> None:
        """
        Tell of those that no event has told of.
        """
        for reason, drops in self._unreported.items():
            if drops.count:
                self._report(reason, drops)

    def _report(self, reason: str, drops: _Unreported) -> None:
        context = self._context
        context.emit(
            DatagramsDropped(context.service, context.endpoint, reason, drops.count, drops.peer)
        )
        drops.count = 0


class _Unreported:
    """Datagrams dropped for one reason since the last event about it."""

    def __init__(self) -> None:
        self.count = 0
        self.peer: Peer = None
        self.told: float | None = None
