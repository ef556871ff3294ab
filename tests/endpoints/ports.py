"""A reactor and sockets that do what a test says, for ports and their transports."""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import Any

from twisted.internet.task import Clock


def failing(number: int) -> OSError:
    """What a system call fails with."""
    return OSError(number, os.strerror(number))


FULL = failing(errno.EAGAIN)
"""There is nothing to be had, or no room."""


class WatchingReactor(Clock):
    """
    Remembers whom it watches.

    @ivar reading: Those that want to read.
    @ivar writing: Those that want to write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reading: set[Any] = set()
        self.writing: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        """As C{IReactorFDSet.addReader}."""
        self.reading.add(reader)

    def removeReader(self, reader: Any) -> None:
        """As C{IReactorFDSet.removeReader}."""
        self.reading.discard(reader)

    def addWriter(self, writer: Any) -> None:
        """As C{IReactorFDSet.addWriter}."""
        self.writing.add(writer)

    def removeWriter(self, writer: Any) -> None:
        """As C{IReactorFDSet.removeWriter}."""
        self.writing.discard(writer)


class ScriptedSocket:
    """
    Does what it was told.

    @ivar incoming: What C{recv}, C{recvfrom} and C{accept} return, or raise; then
        there is nothing.
    @ivar outcomes: What becomes of each C{send} and C{sendto}: a number of bytes
        taken, or an error; then all is taken.
    @ivar sent: What was taken.
    @ivar options: What C{setsockopt} was called with.
    @ivar closed: Whether it is.
    """

    def __init__(self, *incoming: Any, name: Any = ("10.0.0.1", 7)) -> None:
        self.incoming = deque(incoming)
        self.outcomes: deque[Any] = deque()
        self.sent: list[Any] = []
        self.options: list[Any] = []
        self.name = name
        self.pending = 0
        self.closed = False
        self.ended = False
        self.connected: Any = None
        self.blocking = True
        self.buffer = 0

    def _take(self) -> Any:
        outcome = self.incoming.popleft() if self.incoming else FULL
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def recv(self, size: int) -> Any:
        """As C{socket.recv}."""
        return self._take()

    def recvfrom(self, size: int) -> Any:
        """As C{socket.recvfrom}."""
        return self._take()

    def accept(self) -> Any:
        """As C{socket.accept}."""
        return self._take()

    def _outcome(self, default: int) -> int:
        if self.closed:
            raise failing(errno.EBADF)
        outcome = self.outcomes.popleft() if self.outcomes else default
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, int)
        return outcome

    def send(self, data: Any) -> int:
        """As C{socket.send}."""
        taken = self._outcome(len(data))
        self.sent.append(bytes(data[:taken]))
        return taken

    def sendto(self, data: bytes, address: Any) -> int:
        """As C{socket.sendto}."""
        taken = self._outcome(len(data))
        self.sent.append((data, address))
        return taken

    def connect(self, address: Any) -> None:
        """As C{socket.connect}."""
        self.connected = address

    def setblocking(self, flag: bool) -> None:
        """As C{socket.setblocking}."""
        self.blocking = flag

    def setsockopt(self, *option: Any) -> None:
        """As C{socket.setsockopt}."""
        self.options.append(option)

    def getsockopt(self, level: int, option: int) -> int:
        """As C{socket.getsockopt}: the size of the buffer, or what is pending."""
        if self.pending:
            number, self.pending = self.pending, 0
            return number
        return self.buffer

    def getsockname(self) -> Any:
        """As C{socket.getsockname}."""
        return self.name

    def fileno(self) -> int:
        """As C{socket.fileno}."""
        return 5

    def shutdown(self, how: int) -> None:
        """As C{socket.shutdown}."""
        self.ended = True

    def close(self) -> None:
        """As C{socket.close}."""
        self.closed = True
