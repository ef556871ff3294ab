"""
A question to a process of its own, which runs code that nobody here knows.

What that code starts meanwhile neither delays the answer nor outlives it: the process
is asked to begin with L{leadSession}, and everybody in its session is ended with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

T = TypeVar("T")

GRACE: Final = 1.0
"""Seconds that the last words of a process which has ended have to arrive: others may
still hold what they come through."""


def leadSession() -> None:
    """
    Let this process have a session, and so a process group, of its own.
    """
    # It has one if it was started that way.
    with contextlib.suppress(PermissionError):
        os.setsid()


def endSession(leader: int) -> None:
    """
    End every process of a session.

    Args:
        leader: Its first process, which called L{leadSession} if it came so far.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


class Inquiry(ProcessProtocol, Generic[T]):
    """
    Listens to the process.

    @ivar done: Fires once, with what the process has answered.  It can be cancelled.
    """

    def __init__(self, reactor: Any, timeLimit: float) -> None:
        """
        Args:
            reactor: Tells the time.
            timeLimit: Seconds that the process has.
        """
        self.done: Deferred[T] = Deferred(lambda _: self._abandon())
        self.timeLimit = timeLimit
        self._reactor = reactor
        self._process: Any = None
        self._pid = 0
        self._isOver = False
        self._timer: IDelayedCall = reactor.callLater(timeLimit, self._hasNoTimeLeft)

    def begin(self, process: Any) -> None:
        """
        The process runs.
        """
        self._process = process
        self._pid = process.pid

    def processExited(self, reason: Failure) -> None:
        """It is over, but for what it said last."""
        endSession(self._pid)
        if not self._isOver:
            self._timer.cancel()
            self._timer = self._reactor.callLater(GRACE, self._cutOff, reason)

    def processEnded(self, reason: Failure) -> None:
        """It is over, and everything that it said has arrived."""
        if self._end():
            self.answered(reason)

    def answered(self, reason: Failure) -> None:
        """
        Let L{done} fire with what it said.

        Args:
            reason: How it ended.
        """
        raise NotImplementedError

    def tookTooLong(self) -> None:
        """
        Let L{done} fire: there will be no answer.
        """
        raise NotImplementedError

    def neverBegan(self) -> None:
        """
        There is no process.
        """
        self._end()

    def _cutOff(self, reason: Failure) -> None:
        self._isOver = True
        self._process.loseConnection()
        self.answered(reason)

    def _hasNoTimeLeft(self) -> None:
        self._isOver = True
        self._kill()
        self.tookTooLong()

    def _abandon(self) -> None:
        if self._end():
            self._kill()

    def _end(self) -> bool:
        # Whether it was not over before.
        if self._isOver:
            return False
        self._isOver = True
        self._timer.cancel()
        return True

    def _kill(self) -> None:
        # It is not waited for: what it says now is of no interest.
        endSession(self._pid)
        self._process.loseConnection()
        with contextlib.suppress(ProcessExitedAlready):
            self._process.signalProcess("KILL")
