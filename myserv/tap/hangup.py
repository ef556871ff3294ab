"""
SIGHUP: read again what may have changed on disk.

twistd leaves this signal alone, and a process has one handler for it however
many servers a C{.tac} file makes.  Once it is handled, it ends the process no more: not
before a server serves, and not while one drains.
"""

from __future__ import annotations

import signal
import threading
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
        self._before: Any = signal.SIG_DFL
        self._isExpected = False
        self._isEarly = False

    def expect(self) -> None:
        """
        Handle the signal from now on: one that comes before there is a server is for the
        first that wants to know of it.
        """
        # Elsewhere no handler can be installed, and there is no twistd.
        if threading.current_thread() is threading.main_thread():
            self._isExpected = True
            self._handle()

    def add(self, reactor: Any, reload: Callable[[], None]) -> None:
        """
        Have something called, in the reactor, when the signal comes.

        Signals that come faster than every L{INTERVAL} are taken together.

        Args:
            reactor: Where to call it.
            reload: What to call.
        """
        if not self._listening:
            self._handle()
        listening = _Listening(reactor, reload)
        self._listening.append(listening)
        if self._isEarly:
            reactor.callFromThread(listening.schedule)
        self._isExpected = self._isEarly = False

    def remove(self, reload: Callable[[], None]) -> None:
        """
        Have it called no longer; one that was not added is no error.

        What handled the signal before does so again, unless that was the system, which
        would end the process: a server may still drain.
        """
        gone = [each for each in self._listening if each.reload == reload]
        for each in gone:
            each.cancel()
            self._listening.remove(each)
        if gone and not self._listening and self._before not in (signal.SIG_DFL, None):
            signal.signal(signal.SIGHUP, self._before)

    def _handle(self) -> None:
        if signal.getsignal(signal.SIGHUP) != self._received:
            self._before = signal.signal(signal.SIGHUP, self._received)

    def _received(self, number: int, frame: object) -> None:
        self._isEarly = self._isExpected
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
