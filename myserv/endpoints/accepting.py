"""
Ports that accept connections: TCP, UNIX and inherited sockets alike.

Twisted's accept up to hundreds of connections at a time while the established
ones wait, go on when they were told to stop in the middle, and turn arrivals away
with three log lines each when descriptors run out.  These accept a few at a time,
stop when they are told to, and leave what cannot be accepted in the kernel's queue.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    ILoggingContext,
    IProtocolFactory,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.pausing import PausingDescriptor
from myserv.endpoints.prompt import TCPTransport

ACCEPTS_PER_TURN: Final = 16
"""Connections accepted before those that are established have their turn again;
Twisted begins with 100 and goes up, libuv and nginx (multi_accept off) take one."""

ACCEPT_PAUSE: Final = 0.5
"""Seconds for which nothing is accepted after the system had no descriptor or no
memory for a connection; nginx's are 0.5 (accept_mutex_delay), Ranch's 0.1."""

_THEIR_OWN: Final = frozenset(
    {
        # What became of one arrival (accept(2)); the next may be a better one.
        errno.ECONNABORTED,
        errno.EINTR,
        errno.EPERM,  # a firewall's
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)

_RESET: Final = struct.pack("ii", 1, 0)
_NUMERIC: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV

_log = Logger()


def _nothing() -> None:
    """Nobody wants to know that the port has closed."""


@implementer(IListeningPort)
class AcceptingPort(PausingDescriptor):
    """
    A port around a socket that listens already.

    Factories may have a method C{acceptFailed(error: OSError, wait: float)}: it is
    told why nothing is accepted for so many seconds.

    A protocol whose class has a true attribute C{closesAtOnce} turns its peer
    away: the connection is reset and there is no transport, hence no
    C{makeConnection} and no C{connectionLost}.

    @ivar factory: Builds the protocols.
    @ivar socket: The socket.
    """

    kind = "TCP"
    transport: Any = TCPTransport

    def __init__(
        self,
        sock: socket.socket,
        factory: IProtocolFactory,
        reactor: Any,
        closed: Callable[[], None] = _nothing,
        *,
        shared: bool = True,
    ) -> None:
        """
        Args:
            sock: The socket, which does not block.
            factory: Builds the protocols.
            reactor: Watches the socket.
            closed: Called when the port closes.
            shared: Others may hold the socket, too, and want to keep it.
        """
        super().__init__(reactor)
        self._clock = reactor
        self.socket = sock
        self.factory = factory
        self._closed = closed
        self._shared = shared
        self._number = 0

    def __repr__(self) -> str:
        name = f"on {self._describe()}" if self.connected else "(not listening)"
        return f"<{type(self).__name__} of {type(self.factory).__name__} {name}>"

    def _describe(self) -> str:
        return str(self.socket.getsockname()[1])

    def logPrefix(self) -> str:
        """
        What log lines call it.
        """
        if ILoggingContext.providedBy(self.factory):
            return self.factory.logPrefix()
        return type(self.factory).__name__

    def buildAddress(self, address: Any) -> IAddress:
        """
        Make an address for protocols of one of the system's.
        """
        if len(address) == 2:
            return IPv4Address("TCP", *address)
        host, port, flow, scope = address
        if scope:
            # It is nobody's address without the interface that it is reached by.
            host = socket.getnameinfo(address, _NUMERIC)[0]
        return IPv6Address("TCP", host, port, flow, scope)

    def getHost(self) -> IAddress:
        """
        The address that it listens at.
        """
        return self.buildAddress(self.socket.getsockname())

    # From start to end.

    def startListening(self) -> None:
        """
        Let the reactor watch the socket.
        """
        log.msg(f"{self.logPrefix()} starting on {self._describe()}")
        try:
            self._prepare()
            self.factory.doStart()
        except BaseException:
            self.socket.close()
            self._closed()
            raise
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.connected = 1
        self.startReading()

    def _prepare(self) -> None:
        # Connections have it from here.  What is sent at once may be the first of
        # several pieces, and must not keep the next waiting for an acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def stopListening(self) -> Deferred[None] | None:
        """
        Accept nothing more, and close.

        Returns:
            Fires when it has closed; C{None} if it has before.
        """
        self.disconnecting = 1
        self.stopReading()
        if not self.connected:
            return None
        return deferLater(self._clock, 0, self.connectionLost, Failure(CONNECTION_DONE))

    def loseConnection(self) -> None:
        """
        See L{stopListening}.
        """
        self.stopListening()

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the socket.
        """
        if not self.connected:
            return
        name = self._describe()
        super().connectionLost(reason)
        self.endPause()
        del self.fileno
        if not self._shared:
            # It ends at once, though a child may hold it for a moment longer; or it
            # has ended already.
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._closed()
        log.msg(f"({self.kind} Port {name} Closed)")
        try:
            self.factory.doStop()
        finally:
            self.disconnecting = 0

    # Accepting.

    def doRead(self) -> None:
        """
        Somebody wants to connect.
        """
        accept = self.socket.accept
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _THEIR_OWN:
                    continue
                self._failed(error)
                return
            self._accepted(sock, address)
            if not self._reads:
                return

    def _failed(self, error: OSError) -> None:
        # Whoever waits goes on waiting; asking again at once would change nothing.
        self.pauseReading(ACCEPT_PAUSE)
        acceptFailed = getattr(self.factory, "acceptFailed", None)
        try:
            if acceptFailed is not None:
                acceptFailed(error, ACCEPT_PAUSE)
                return
        except BaseException:  # noqa: BLE001 - a bug that must not close the port
            _log.failure("acceptFailed raised")
        _log.warn(
            "nothing can be accepted for {seconds} seconds: {reason}",
            seconds=ACCEPT_PAUSE,
            reason=error.strerror,
        )

    def _accepted(self, sock: socket.socket, address: Any) -> None:
        transport = None
        try:
            peer = self.buildAddress(address)
            protocol: Any = self.factory.buildProtocol(peer)
            if protocol is None:
                sock.close()
                return
            if getattr(type(protocol), "closesAtOnce", False):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()
                return
            number = self._number
            self._number = number + 1
            transport = self.transport(sock, protocol, address, peer, self, number)
            transport.start()
        except BaseException:  # noqa: BLE001 - a bug that costs this arrival only
            _log.failure("a connection could not be started")
            if transport is None:
                sock.close()
            else:
                transport.abortConnection()
