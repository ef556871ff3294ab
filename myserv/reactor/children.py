"""
How the reactor hears that a child process has ended.

Twisted has C{SIGCHLD} write to a pipe of its own (C{signal.set_wakeup_fd}).  There
is one such descriptor in a process, and while uvloop runs it is uvloop's: it wakes
the loop, which has Python call the handlers.  So a plain handler does here.

But as long as asyncio has children of its own C{SIGCHLD} is uvloop's, and it is nobody's
when the last of these has ended.  So each of Twisted's is watched by a descriptor
(pidfd_open(2)) where there are such; the signal is for where there are none.
"""

from __future__ import annotations

import asyncio
import os
import signal
from types import FrameType
from typing import Any, Protocol

from twisted.internet import process


class SignalHandling(Protocol):
    """What Twisted's reactors do when they start and stop."""

    def install(self) -> None:
        """Set the handlers."""

    def uninstall(self) -> None:
        """Put back what was there."""


class ChildSignals:
    """
    The reactor's signals, C{SIGCHLD} among them.
    """

    def __init__(self, others: SignalHandling, loop: asyncio.AbstractEventLoop) -> None:
        """
        Args:
            others: Those that ask the reactor to stop.
            loop: Where ended processes are reaped.
        """
        self._others = others
        self._loop = loop
        self._installed = False

    def install(self) -> None:
        """
        Set the handlers, and reap who has ended before that.
        """
        self._others.install()
        signal.signal(signal.SIGCHLD, self._childEnded)
        # A system call goes on where it was: few programs expect to be interrupted.
        signal.siginterrupt(signal.SIGCHLD, False)
        self._installed = True
        process.reapAllProcesses()

    def uninstall(self) -> None:
        """
        Give C{SIGCHLD} back to the system.
        """
        if self._installed:
            self._installed = False
            self._others.uninstall()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _childEnded(self, number: int, frame: FrameType | None) -> None:
        # Python calls this between any two bytecodes: the work waits for its turn.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(process.reapAllProcesses)


def watchChild(pid: int, reactor: Any) -> None:
    """
    Reap Twisted's processes when one of them ends.

    Args:
        pid: That one.
        reactor: A L{myserv.reactor.core.UVLoopReactor}.
    """
    loop = reactor.eventLoop
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # An older kernel, another system, or no descriptor is left; or it has ended.
        loop.call_soon(process.reapAllProcesses)
        return

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        process.reapAllProcesses()

    reactor.watch(loop.add_reader, descriptor, ended)
