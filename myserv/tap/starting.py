"""
SIGTERM before the reactor handles it: the server ends as soon as it can do so in order.

The system would end the process in the middle of its start: with its pid file and its
sockets left behind, and with the twistd that an operator has typed still waiting for a
word of the daemon that it made.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, Final

from myserv.tap.hangup import HANG_UP
from myserv.tap.mistakes import Refused, oneLinePerMistake

NUMBER: Final = signal.SIGTERM
"""The signal."""

STOPPED: Final = "it was stopped before it served"
"""Why a server has not started."""


class Starting:
    """
    A start that a signal can end.

    @ivar isEnding: The signal has come.
    """

    def __init__(self) -> None:
        self.isEnding = False
        self._reactor: Any = None
        self._before: Any = None
        self._process = 0
        self._hasSomethingToRemove = False

    def begin(self, reactor: Any) -> None:
        """
        Take the signal from now on, until a reactor runs.

        Args:
            reactor: The one that will.
        """
        isMain = threading.current_thread() is threading.main_thread()
        # A program that has a handler of its own knows what to do.
        isFree = signal.getsignal(NUMBER) == signal.SIG_DFL
        if not isMain or not isFree or getattr(reactor, "running", False):
            return
        self.isEnding = self._hasSomethingToRemove = False
        self._reactor = reactor
        self._process = os.getpid()
        self._before = signal.signal(NUMBER, self._received)
        reactor.callWhenRunning(self._running)

    def open(self) -> None:
        """
        Something begins that is not to be left behind.
        """
        self._hasSomethingToRemove = True

    def end(self) -> None:
        """
        Take the signal no more, where no reactor took it over.
        """
        if signal.getsignal(NUMBER) == self._received:
            signal.signal(NUMBER, self._before)

    def _received(self, number: int, frame: object) -> None:
        if os.getpid() == self._process and not self._hasSomethingToRemove:
            # Nothing is there yet; perhaps this is the parent of a daemon.
            self._die()
        elif self.isEnding:
            # What starts hangs.
            raise Refused(STOPPED)
        else:
            self.isEnding = True

    def _running(self) -> None:
        self.end()
        if self.isEnding:
            # Those who wait for the reactor to run may have a handler to install.
            self._reactor.callLater(0, os.kill, os.getpid(), NUMBER)

    def _die(self) -> None:
        signal.signal(NUMBER, signal.SIG_DFL)
        os.kill(os.getpid(), NUMBER)


STARTING: Final = Starting()
"""That of this process."""


@contextlib.contextmanager
def making() -> Iterator[None]:
    """
    Make a server for twistd: signals are taken from now on, and an operator's mistake
    ends the program with a line.
    """
    HANG_UP.expect()
    with oneLinePerMistake():
        yield
    # Not before: twistd --reactor may still have had another to install.
    from twisted.internet import reactor

    STARTING.begin(reactor)
