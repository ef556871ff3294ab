"""
What is still ending while the server goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed


class Drainable(Protocol):
    """A listener or a service."""

    def drain(self, deadline: float | None = None) -> Deferred[Any]:
        """End; by this deadline, if it is earlier than that of before."""


class Endings:
    """
    Listeners and services that were asked to end, and take their time.
    """

    def __init__(self) -> None:
        self._pending: list[Drainable] = []
        self._waiting: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[Drainable]:
        """Go through those that are left."""
        return iter(list(self._pending))

    def add(self, ending: Drainable, ended: Deferred[Any]) -> None:
        """
        Wait for one more.

        Args:
            ending: What was asked to end.
            ended: Fires when it has, however.
        """
        self._pending.append(ending)
        ended.addBoth(self._ended, ending)

    def _ended(self, result: object, ending: Drainable) -> None:
        self._pending.remove(ending)
        if not self._pending:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def drain(self, deadline: float | None) -> Deferred[None]:
        """
        Let each of them end by a deadline.

        Args:
            deadline: Seconds; C{None}: each has its own.

        Returns:
            See L{wait}.
        """
        if deadline is not None:
            for each in self:
                each.drain(deadline)
        return self.wait()

    def wait(self) -> Deferred[None]:
        """
        Say when nothing is left.

        Returns:
            Fires then.  To cancel it cancels nothing else.
        """
        if not self._pending:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting
