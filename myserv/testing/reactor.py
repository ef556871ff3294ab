"""
A reactor that moves only when a test says so.

Its time is a Clock's and its sockets are in memory; everything above them, the
transports included, is Twisted's own code, so a protocol meets here what it
meets on a real reactor, in the same order, every time.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet, IReactorTime
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

SETTLE_TURNS: Final = 200
"""How often L{SteppedReactor.settle} goes round before it takes what it sees
for a protocol that never rests, a generator of characters say."""

_log = Logger()


@implementer(IReactorTime, IReactorFDSet)
class SteppedReactor(Clock):
    """
    A C{Clock} that serves sockets as well.

    Use it as the clock that it is: L{advance} moves time and lets everything
    happen that is due, L{settle} lets happen what needs no time.  Nothing ever
    happens inside C{callLater}, C{write} or a peer's C{send}.
    """

    def __init__(self) -> None:
        super().__init__()
        # Dictionaries for their order: a test runs the same way every time.
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}

    # IReactorFDSet

    def addReader(self, reader: Any) -> None:
        """
        Tell a descriptor when its socket has something to read.
        """
        self._readers[reader] = None

    def addWriter(self, writer: Any) -> None:
        """
        Tell a descriptor when its socket takes more.
        """
        self._writers[writer] = None

    def removeReader(self, reader: Any) -> None:
        """
        Stop telling a descriptor of what there is to read.
        """
        self._readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        """
        Stop telling a descriptor that its socket takes more.
        """
        self._writers.pop(writer, None)

    def getReaders(self) -> list[Any]:
        """
        The descriptors that want to read.
        """
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        """
        The descriptors that want to write.
        """
        return list(self._writers)

    def removeAll(self) -> list[Any]:
        """
        Forget every descriptor, and say which they were.
        """
        removed = list(self._readers | self._writers)
        self._readers.clear()
        self._writers.clear()
        return removed

    # Moving.

    def advance(self, amount: float = 0.0) -> None:
        """
        Move time forward, from one delayed call to the next.

        Unlike a plain C{Clock}'s, a call sees the time that it was due at, and
        the sockets are served in between.

        Args:
            amount: Seconds.
        """
        end = self.rightNow + amount
        quiet = self.settle()
        while quiet and self.calls and self.calls[0].getTime() <= end:
            self.rightNow = max(self.rightNow, self.calls[0].getTime())
            quiet = self.settle()
        self.rightNow = end
        if not quiet:
            self.settle()

    def settle(self, turns: int = SETTLE_TURNS) -> bool:
        """
        Let everything happen that needs no time.

        Args:
            turns: The most iterations of the reactor.

        Returns:
            Whether there is nothing left to happen.
        """
        return any(not self.turn() for _ in range(turns))

    def turn(self) -> bool:
        """
        Run one iteration, as a reactor's: due calls first, then the sockets.

        Returns:
            Whether anything happened.
        """
        due = [call for call in self.calls if call.getTime() <= self.rightNow]
        for call in due:
            # An earlier one may have cancelled or postponed it.
            if call in self.calls and call.getTime() <= self.rightNow:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        # Asked before any is served, as epoll is: what a read makes writable
        # is written in the next iteration.
        ready = [
            (
                each,
                each in self._readers and each.socket.readable,
                each in self._writers and each.socket.writable,
            )
            for each in {**self._readers, **self._writers}
        ]
        served = False
        for descriptor, canRead, canWrite in ready:
            if canRead or canWrite:
                served = True
                self._serve(descriptor, canRead, canWrite)
        return bool(due) or served

    def _serve(self, descriptor: Any, canRead: bool, canWrite: bool) -> None:
        # The order and the outcome are those of Twisted's poll reactors.
        why: BaseException | None = None
        wasRead = False
        try:
            if canRead and descriptor in self._readers:
                wasRead = True
                why = descriptor.doRead()
            if not why and canWrite and descriptor in self._writers:
                wasRead = False
                why = descriptor.doWrite()
        except Exception as error:  # noqa: BLE001 - as a reactor: it costs one descriptor
            _log.failure("{descriptor!r} raised", descriptor=descriptor)
            why = error
        if not why:
            return
        self.removeReader(descriptor)
        if (
            wasRead
            and isinstance(why, ConnectionDone)
            and IHalfCloseableDescriptor.providedBy(descriptor)
        ):
            descriptor.readConnectionLost(Failure(why))
            return
        self.removeWriter(descriptor)
        descriptor.connectionLost(Failure(why))
