"""
The reactor: what it makes and when it calls.

Connections, listening ports and UDP ports are this package's own.  What else there
is - processes, threads, DNS, serial lines - is Twisted's C{AsyncioSelectorReactor},
put right where it relies on asyncio's own loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

try:
    import uvloop
except ImportError:
    raise ImportError(
        "the uvloop reactor needs uvloop, which is not installed: pip install uvloop"
    ) from None
from twisted.internet import error
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python import context, log
from twisted.python.failure import Failure

from myserv.reactor.children import ChildSignals, watchChild
from myserv.reactor.client import TCPConnector
from myserv.reactor.datagram import UDPPort
from myserv.reactor.listening import AdoptedUNIXPort, TCPPort, UNIXPort
from myserv.reactor.opening import Opening, adoptTCP, adoptUNIX
from myserv.reactor.watching import Watching

_LONGEST: Final = 86_400.0
"""Seconds that the loop's timer is set for at most.  Later calls have it set again."""

_MOMENT: Final = 0.0001
"""Seconds that are waited for without sleeping, because the loop sleeps a millisecond at
least.  Twisted polls files ten times as often."""

_NO_CONTEXT: Final = contextvars.Context()

_STREAM_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class UVLoopReactor(AsyncioSelectorReactor):
    """
    A reactor that runs on a uvloop loop.

    @ivar eventLoop: The loop.
    @ivar contexts: Twisted's stack of contexts, of the thread that the reactor is in.
    @ivar base: The C{contextvars} context of all calls but those of connections: what was
        set before L{run}.
    @ivar openings: Connections whose protocols are to be introduced in the next turn.
    @ivar natives: The connections and ports that are open and not watched through
        L{addReader}.
    """

    _log = Logger()

    def __init__(self, eventLoop: asyncio.AbstractEventLoop | None = None) -> None:
        """
        Args:
            eventLoop: A uvloop loop; a new one if there is none.
        """
        self.eventLoop: asyncio.AbstractEventLoop = eventLoop or uvloop.new_event_loop()
        self.eventLoop.set_exception_handler(self._raised)
        self.natives: set[Any] = set()
        self.openings: deque[Sequence[Opening]] = deque()
        self.base = contextvars.copy_context()
        self.contexts = context.theContextTracker.currentContext().contexts
        self._timer: asyncio.Handle | None = None
        self._armedFor = math.inf
        super().__init__(self.eventLoop)
        self._watching = Watching(self)
        # What the parent class goes through.
        self._readers, self._writers = self._watching.readers, self._watching.writers

    def _raised(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # What nobody else caught. uvloop names the exception where there is one.
        exception = context.get("exception")
        said = context.get("message") or "a callback of the event loop raised"
        if exception is None:
            self._log.error("{said}", said=said)
        else:
            failure = Failure(exception, type(exception), exception.__traceback__)
            self._log.failure("{said}", failure, said=said)

    # Streams.

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        Listen on a TCP port.

        Args:
            port: Its number, or a C{Binding}.
            factory: Builds the protocols.
            backlog: How many connections may wait in the kernel.
            interface: The address to bind; empty for every IPv4 address.

        Returns:
            The port; C{stopReading} and C{startReading} pause and resume it.

        Raises:
            twisted.internet.error.CannotListenError: The system refused.
        """
        opened = TCPPort(port, factory, backlog, interface, self)
        opened.startListening()
        return opened

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0
    ) -> IListeningPort:
        """
        Listen on a UNIX socket; the arguments are those of C{IReactorUNIX}.
        """
        opened = UNIXPort(address, factory, backlog, mode, self, wantPID)
        opened.startListening()
        return opened

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> IConnector:
        """
        Connect to a TCP port; the arguments are those of C{IReactorTCP}.
        """
        connector = TCPConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: Any, factory: Any
    ) -> IListeningPort:
        """
        Listen on a socket that listens already; its descriptor is duplicated.

        Raises:
            twisted.internet.error.UnsupportedAddressFamily: Neither IP nor UNIX.
        """
        if addressFamily not in _STREAM_FAMILIES:
            raise error.UnsupportedAddressFamily(addressFamily)
        if addressFamily == socket.AF_UNIX:
            opened: Any = UNIXPort._fromListeningDescriptor(self, fileDescriptor, factory)
        else:
            opened = TCPPort._fromListeningDescriptor(self, fileDescriptor, addressFamily, factory)
        opened.startListening()
        port: IListeningPort = opened
        return port

    def adoptUNIXSocket(
        self, sock: socket.socket, factory: Any, closed: Callable[[], None]
    ) -> IListeningPort:
        """
        Listen on a UNIX socket that listens already, and leave its file alone.

        Beside Twisted's interfaces, whose C{adoptStreamPort} changes the file's mode and
        removes it in the end.

        Args:
            sock: Does not block; it is the port's own from now on.
            factory: Builds the protocols.
            closed: Called when the port closes, and if it cannot open.
        """
        opened: Any = AdoptedUNIXPort(sock, factory, self, closed)
        opened.startListening()
        port: IListeningPort = opened
        return port

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any) -> Any:
        """
        Take over a connected socket; its descriptor is duplicated.

        Returns:
            The transport, C{None} if the factory built no protocol.

        Raises:
            twisted.internet.error.UnsupportedAddressFamily: Neither IP nor UNIX.
        """
        if addressFamily not in _STREAM_FAMILIES:
            raise error.UnsupportedAddressFamily(addressFamily)
        adopt = adoptUNIX if addressFamily == socket.AF_UNIX else adoptTCP
        return adopt(self, fileDescriptor, addressFamily, factory)

    # Datagrams.

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> IListeningPort:
        """
        Receive datagrams; the arguments are those of C{IReactorUDP}.
        """
        opened = UDPPort(port, protocol, interface, maxPacketSize, self)
        opened.startListening()
        return opened

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: Any, protocol: Any, maxPacketSize: int = 8192
    ) -> IListeningPort:
        """
        Receive datagrams on a socket that is bound already; its descriptor is
        duplicated.

        Raises:
            twisted.internet.error.UnsupportedAddressFamily: Not IP.
        """
        if addressFamily not in (socket.AF_INET, socket.AF_INET6):
            raise error.UnsupportedAddressFamily(addressFamily)
        opened: Any = UDPPort._fromListeningDescriptor(
            self, fileDescriptor, addressFamily, protocol, maxPacketSize
        )
        opened.startListening()
        port: IListeningPort = opened
        return port

    # Whom it watches.

    def watch(self, add: Callable[..., Any], number: int, call: Callable[[], object]) -> None:
        """
        Have the loop watch a descriptor, and call something in the context L{base}.

        Args:
            add: The loop's C{add_reader} or C{add_writer}.
            number: The descriptor.
            call: What to call.
        """
        # The loop keeps the context in which it is told so, for as long as it watches.
        _NO_CONTEXT.run(add, number, self._callInBase, call)

    def _callInBase(self, call: Callable[[], object]) -> None:
        self.base.run(call)

    def addReader(self, reader: Any) -> None:
        """
        Watch what is read from.
        """
        if reader in self.natives:
            reader.startReading()
        elif reader not in self._continuousPolling._readers:
            try:
                self._watching.addReader(reader)
            except PermissionError:
                # A file, which is always ready, and which epoll does not take.
                self._continuousPolling.addReader(reader)

    def addWriter(self, writer: Any) -> None:
        """
        Watch what is written to.
        """
        if writer not in self._continuousPolling._writers:
            try:
                self._watching.addWriter(writer)
            except PermissionError:
                self._continuousPolling.addWriter(writer)

    def removeReader(self, reader: Any) -> None:
        """
        Watch it no more.
        """
        if reader in self.natives:
            reader.stopReading()
        else:
            self._continuousPolling.removeReader(reader)
            self._watching.removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        """
        Watch it no more.
        """
        self._continuousPolling.removeWriter(writer)
        self._watching.removeWriter(writer)

    def removeAll(self) -> list[Any]:
        """
        Watch nothing and nobody any more.

        Returns:
            Whoever was read from, or had something to write.
        """
        natives = [each for each in self.natives if each.reading or each.getWriteBufferSize()]
        for each in natives:
            each.stopReading()
        self.natives.clear()
        for stream in [stream for openings in self.openings for stream, _ in openings]:
            try:
                stream.giveUp()
            except BaseException:  # noqa: BLE001 - the bug of a client's factory
                log.err()
        return natives + list(super().removeAll())

    def getReaders(self) -> list[Any]:
        """
        Everything that is read from.
        """
        return [each for each in self.natives if each.reading] + list(super().getReaders())

    def getWriters(self) -> list[Any]:
        """
        Everything that waits to be written to.
        """
        writing = [each for each in self.natives if each.getWriteBufferSize()]
        return writing + list(super().getWriters())

    # Time.

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall:
        """
        Call something later: not before its time, and a millisecond after it at most
        when there is nothing else to do.
        """
        call = ReactorBase.callLater(self, delay, callable, *args, **kw)
        self._arm(delay)
        return call

    def _moveCallLaterSooner(self, delayedCall: Any) -> None:
        ReactorBase._moveCallLaterSooner(self, delayedCall)
        self._arm(delayedCall.getTime() - self.seconds())

    def _arm(self, delay: float) -> None:
        # By the clock that the loop has: the one that callers have may be set.
        when = time.monotonic() + delay
        if when >= self._armedFor:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armedFor = when
        if delay <= _MOMENT:
            self._timer = self.eventLoop.call_soon(self._due, context=self.base)
        else:
            # uvloop rounds to milliseconds: half of all calls would come too early.
            seconds = math.ceil(min(delay, _LONGEST) * 1000) / 1000
            self._timer = self.eventLoop.call_later(seconds, self._due, context=self.base)

    def _due(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armedFor = math.inf
        self.runUntilCurrent()
        # What was just called may have armed the timer for something of its own, which
        # need not be what comes next.
        delay = self.timeout()
        if delay is not None:
            self._arm(delay)

    def _reschedule(self) -> None:
        # What the parent class calls; L{_arm} has done it.
        pass

    # Threads and signals.

    def installWaker(self) -> None:
        """
        Nothing to do: uvloop can be woken as it is.
        """

    def wakeUp(self) -> None:
        """
        Have the loop see to what other threads have asked for.
        """
        if not self.eventLoop.is_closed():
            self.eventLoop.call_soon_threadsafe(self._due, context=self.base)

    def callFromThread(  # type: ignore[override] # its parents do not agree either
        self, f: Callable[..., Any], *args: object, **kwargs: object
    ) -> None:
        """
        Have the reactor's thread call something; in the order in which it was asked.
        """
        ReactorBase.callFromThread(self, f, *args, **kwargs)

    def spawnProcess(self, *args: Any, **kwargs: Any) -> Any:
        """
        Start a process; the arguments are those of C{IReactorProcess}.
        """
        spawned: Any = super().spawnProcess(*args, **kwargs)
        if spawned.pid is not None:
            # It may have ended, and been reaped.
            watchChild(spawned.pid, self)
        return spawned

    def _signalsFactory(self) -> ChildSignals:
        return ChildSignals(ReactorBase._signalsFactory(self), self.eventLoop)

    # Its life.

    def run(self, installSignalHandlers: bool = True) -> None:
        """
        Run until L{stop}.

        Raises:
            RuntimeError: A loop of asyncio's runs in this thread, perhaps this one.
        """
        isFirst = not self._started and not self._startedBefore
        if isFirst and asyncio._get_running_loop() is not None:
            raise RuntimeError("the reactor cannot run within a running loop of asyncio's")
        self.contexts = context.theContextTracker.currentContext().contexts
        self.base = contextvars.copy_context()
        self.startRunning(installSignalHandlers=installSignalHandlers)
        try:
            while self._started:
                self._runLoop()
        finally:
            self._signals.uninstall()
            self._justStopped = False
        log.msg("Main loop terminated.")

    def _runLoop(self) -> None:
        try:
            self.eventLoop.run_forever()
        except BaseException:
            # A signal's handler, perhaps. As on Twisted's reactors, only stop() ends it.
            log.err(None, "Unexpected error in main loop.")
            if self.eventLoop.is_running() or self.eventLoop.is_closed():
                # It cannot go on, and never will.
                raise
            # It may have been raised where the timer is set again.
            self._armedFor = math.inf
            self._arm(0)
        else:
            if self.running and self._started:
                # Somebody has stopped the loop itself.
                self.stop()

    def iterate(self, delay: float = 0.0) -> None:
        """
        Run for a while; not from within the running loop, which uvloop cannot do.

        Args:
            delay: Seconds; 0 does what is due and what has arrived.
        """
        self._due()
        if delay:
            self.eventLoop.call_later(delay, self.eventLoop.stop)
        else:
            self.eventLoop.call_soon(self.eventLoop.stop)
        self.eventLoop.run_forever()


def install() -> UVLoopReactor:
    """
    Make this reactor C{twisted.internet.reactor}; see L{myserv.reactor.install}.

    It is here, too, because programs look for it beside a reactor's class.
    """
    reactor = UVLoopReactor()
    try:
        installReactor(reactor)
    except BaseException:
        reactor.eventLoop.close()
        raise
    asyncio.set_event_loop(reactor.eventLoop)
    return reactor
