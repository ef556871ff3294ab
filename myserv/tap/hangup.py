"""
SIGHUP: read again what may have changed on disk.

twistd leaves this signal alone, and a process has one handler for it however
many servers a C{.tac} file makes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

INTERVAL: Final = 1.0
"""Seconds between two reloads at least: each stops the reactor for as long as the
files take to read, and a script gone wild must not starve the peers."""


class HangUp:
    """
    Those who want to know of SIGHUP.
    """

    def __init__(self) -> None:
        self._listening: list[_Listening] = []
        self._before: Any = None

    def add(self, reactor: Any, reload: Callable[[], None]) -> None:
        """
        Have something called, in the reactor, when the signal comes.

        Signals that come faster than every L{INTERVAL} are taken together.

        Args:
            reactor: Where to call it.
            reload: What to call.
        """
        if not self._listening:
            self._before = signal.signal(signal.SIGHUP, self._received)
        self._listening.append(_Listening(reactor, reload))

    def remove(self, reload: Callable[[], None]) -> None:
        """
        Have it called no longer; one that was not added is no error.
        """
        gone = [each for each in self._listening if each.reload == reload]
        for each in gone:
            each.cancel()
            self._listening.remove(each)
        if gone and not self._listening:
            signal.signal(signal.SIGHUP, self._before)

    def _received(self, number: int, frame: object) -> None:
        for each in self._listening:
            # A signal comes at any moment, in the middle of anything.
            each.reactor.callFromThread(each.schedule)


class _Listening:
    """One who wants to know."""

    def __init__(self, reactor: Any, reload: Callable[[], None]) -> None:
        self.reactor = reactor
        self.reload = reload
        self._next = 0.0
        self._timer: IDelayedCall | None = None
        self._cancelled = False

    def schedule(self) -> None:
        """Reload now, or when it may be done again."""
        if self._timer is None and not self._cancelled:
            wait = max(0.0, self._next - self.reactor.seconds())
            self._timer = self.reactor.callLater(wait, self._run)

    def _run(self) -> None:
        self._timer = None
        self.reload()
        self._next = self.reactor.seconds() + INTERVAL

    def cancel(self) -> None:
        """Reload no more."""
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


HANG_UP: Final = HangUp()
"""That of this process."""
