"""
What is still ending while the server goes on.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed


class Endings:
    """
    Things that were asked to end and may take their time.
    """

    def __init__(self) -> None:
        self._pending: set[Deferred[Any]] = set()
        self._waiting: list[Deferred[None]] = []

    def add(self, ending: Deferred[Any]) -> None:
        """
        Wait for one more.

        Args:
            ending: Fires when it has ended, however.
        """
        self._pending.add(ending)
        ending.addBoth(self._ended, ending)

    def _ended(self, result: object, ending: Deferred[Any]) -> None:
        self._pending.discard(ending)
        if not self._pending:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

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
