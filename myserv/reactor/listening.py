"""
Listening ports: accept in batches, pause, and rest when the system has no more room.

What opens and closes a port is Twisted's; this replaces how it accepts.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import lru_cache
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from socket import socket as Socket
from typing import Any, Final, cast

from twisted.internet import tcp, unix
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

from myserv.reactor.opening import Opening, begin, finishSoon
from myserv.reactor.server import TCPServerStream, unixServerStream
from myserv.reactor.sockets import Descriptor
from myserv.reactor.stream import RESET, Stream
from myserv.reactor.stream import address as addressOf

BATCH: Final = 16
"""Connections accepted in one turn of the loop, at most: about as long as a hundred
messages take, so those who are connected wait that long for a storm of others."""

REST: Final = 0.5
"""Seconds that a port accepts nothing after the system ran out of descriptors or
memory, or refused for another reason that does not pass with one peer; nginx's
figure."""

LOG_INTERVAL: Final = 1.0
"""Seconds between two log lines about that, at least."""

_PASSING: Final = {
    # The peer is gone, or a firewall does not want it: accept(2).
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
}

_log: Final = Logger()


@lru_cache
def _closesAtOnce(protocol: Any) -> bool:
    # To look for what is not there costs a hundredth of a connection.
    return bool(getattr(protocol, "closesAtOnce", False))


class _Said:
    """When something was last logged, by any port."""

    at = float("-inf")
    since = 0


class AcceptingPort:
    """
    How a port accepts; mixed into Twisted's ports.

    Factories may have a method C{acceptFailed(error: OSError, wait: float)}: it is
    told why nothing is accepted for so many seconds.

    A protocol whose class has a true attribute C{closesAtOnce} turns its peer away: the
    connection is reset and there is no transport, hence no C{makeConnection} and no
    C{connectionLost}.

    @ivar reading: It accepts, or would if it did not rest.
    """

    reading = False

    # Twisted's.
    reactor: Any
    factory: Any
    socket: Any
    sessionno: int
    addressFamily: Any
    numberAccepts: int

    # The subclasses'.
    _buildAddr: Callable[[Any], Any]
    _open: Callable[[Descriptor, Any, Any, Any, int, list[Opening]], None]

    _watched = -1
    _resting: IDelayedCall | None = None
    _batch = 1

    def startReading(self) -> None:
        """
        Accept, from now on or again: what waited in the kernel comes first.
        """
        self.reading = True
        self.reactor.natives.add(self)
        if self._resting is None and self._watched < 0:
            self._watched = self.socket.fileno()
            self.reactor.watch(self.reactor.eventLoop.add_reader, self._watched, self.doRead)

    def stopReading(self) -> None:
        """
        Accept nothing more, at once; what arrives waits in the kernel.
        """
        self.reading = False
        self._unwatch()

    def _unwatch(self) -> None:
        if self._watched >= 0:
            self.reactor.eventLoop.remove_reader(self._watched)
            self._watched = -1

    def stopWriting(self) -> None:
        """
        Nothing: a port does not write.
        """

    def getWriteBufferSize(self) -> int:
        """
        Nothing: a port does not write.
        """
        return 0

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Close the port.
        """
        self._acceptNoMore()
        super().connectionLost(reason)  # type: ignore[misc]

    def _acceptNoMore(self) -> None:
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        self.stopReading()
        self.reactor.natives.discard(self)

    def doRead(self) -> None:
        """
        Somebody waits: accept a few.
        """
        openings: list[Opening] = []
        try:
            accepted = self._acceptBatch(openings)
        except BaseException:  # noqa: BLE001 - as Twisted: the factory's bug costs nobody else
            _log.failure("{factory}: could not accept", factory=self.factory)
            accepted = 0
        # One by one while they come one by one: to find out that nobody else waits
        # costs as much as half a connection.
        self._batch = min(2 * accepted, BATCH) if accepted >= self._batch else max(accepted, 1)
        if openings:
            finishSoon(self.reactor, openings)

    def _acceptBatch(self, openings: list[Opening]) -> int:
        accepted = 0
        accept = self.socket._accept  # accept() without its object
        family = int(self.addressFamily)
        while accepted < self._batch and self.reading:
            try:
                number, peer = accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in _PASSING:
                    self._rest(error)
                    break
                accepted += 1
                continue
            accepted += 1
            self._accepted(Descriptor(number, family), peer, openings)
        return accepted

    def _accepted(self, descriptor: Descriptor, peer: Any, openings: list[Opening]) -> None:
        try:
            addr = self._buildAddr(peer)
            protocol = self.factory.buildProtocol(addr)
        except BaseException:
            descriptor.destroy()
            raise
        if protocol is None:
            descriptor.destroy()
        elif _closesAtOnce(cast(Any, type(protocol))):
            descriptor.socket.setsockopt(SOL_SOCKET, SO_LINGER, RESET)
            descriptor.destroy()
        else:
            number = self.sessionno
            self.sessionno = number + 1
            self._open(descriptor, protocol, addr, peer, number, openings)

    def _rest(self, error: OSError) -> None:
        self._unwatch()
        self._resting = self.reactor.callLater(REST, self._rested)
        heard = getattr(self.factory, "acceptFailed", None)
        if heard is not None:
            heard(error, REST)
            return
        _Said.since += 1
        now = self.reactor.seconds()
        if now - _Said.at >= LOG_INTERVAL:
            _log.error(
                "{port!r} cannot accept: {error}; it tries again in {rest} s"
                " ({since} times since this was last said)",
                port=self,
                error=error,
                rest=REST,
                since=_Said.since,
            )
            _Said.at = now
            _Said.since = 0

    def _rested(self) -> None:
        self._resting = None
        if self.reading:
            self.startReading()


class TCPPort(AcceptingPort, tcp.Port):
    """
    A TCP port.
    """

    def startReading(self) -> None:
        """
        Accept, from now on or again.
        """
        # Connections have it from here, which saves each of them asking for it.
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        super().startReading()

    def _buildAddr(self, address: Any) -> Any:
        return addressOf(address)

    def _open(
        self,
        descriptor: Descriptor,
        protocol: Any,
        addr: Any,
        peer: Any,
        number: int,
        openings: list[Opening],
    ) -> None:
        stream = TCPServerStream(descriptor, protocol, addr, self, number, self.reactor)
        openings.append(begin(stream))


class UNIXPort(AcceptingPort, unix.Port):
    """
    A UNIX port.
    """

    def _buildAddr(self, address: Any) -> Any:
        return UNIXAddress(address)

    def _open(
        self,
        descriptor: Descriptor,
        protocol: Any,
        addr: Any,
        peer: Any,
        number: int,
        openings: list[Opening],
    ) -> None:
        def open_(stream: Stream) -> None:
            openings.append(begin(stream))

        unixServerStream(descriptor, protocol, peer, self, number, self.reactor, open_)


class AdoptedUNIXPort(UNIXPort):
    """
    A port around a UNIX socket that listens already, and whose file is not ours:
    neither its mode is changed nor is it removed.
    """

    # Others may hold it, too.
    _shouldShutdown = False

    def __init__(self, sock: Socket, factory: Any, reactor: Any, closed: Callable[[], None]):
        """
        Args:
            sock: Does not block.
            factory: Builds the protocols.
            reactor: Where it listens.
            closed: Called when the port closes.
        """
        super().__init__(sock.getsockname(), factory, reactor=reactor)
        self.socket = sock
        self._closed = closed

    def _buildAddr(self, address: Any) -> UNIXAddress:
        # Most peers have no name, and an empty one is none.
        return UNIXAddress(address or None)

    def startListening(self) -> None:
        """
        Accept connections.
        """
        log.msg(f"{self._getLogPrefix(self.factory)} starting on {self.socket.getsockname()!r}")
        try:
            self.factory.doStart()
        except BaseException:
            self.socket.close()
            self._closed()
            raise
        self.connected = True
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.startReading()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Close the port.
        """
        self._acceptNoMore()
        try:
            # Not as unix.Port, which removes the file.
            tcp.Port.connectionLost(self, reason)
        finally:
            self._closed()
