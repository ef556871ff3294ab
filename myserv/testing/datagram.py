"""
Datagrams in memory: an endpoint, and the clients that send to it.

As with streams only the socket is ours: the port is Twisted's own
C{twisted.internet.udp.Port}.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from zope.interface import implementer

from myserv.interfaces import IDatagramServerEndpoint
from myserv.testing.reactor import SteppedReactor
from myserv.testing.stream import FIRST_PEER_PORT, PEER_HOST, SERVER_ADDRESS

MAX_DATAGRAM: Final = 65_507
"""Bytes in the largest UDP datagram over IPv4 (65,535 less two headers)."""

DatagramAddress = tuple[str, int] | str | bytes | None
"""A source: host and port, the path of a UNIX socket, or none."""

NEW_PORT: Final = (PEER_HOST, -1)
"""Stands for an address that no other client has."""

_RECEIVE_SIZE: Final = 65_536


class MemoryDatagramSocket:
    """
    The server's socket: as much of one as a port uses.
    """

    def __init__(self, endpoint: MemoryDatagramEndpoint) -> None:
        self._endpoint = endpoint
        self._options: dict[tuple[int, int], Any] = {}
        self.incoming: deque[tuple[bytes, DatagramAddress]] = deque()
        self.writable = False
        self.connectedTo: DatagramAddress = None

    @property
    def readable(self) -> bool:
        """C{recvfrom} would not block."""
        return bool(self.incoming)

    def bind(self, address: tuple[str, int]) -> None:
        """
        It is bound to its endpoint.
        """

    def connect(self, address: tuple[str, int]) -> None:
        """
        Exchange datagrams with one peer only.
        """
        self.connectedTo = address

    def close(self) -> None:
        """
        Let go of the endpoint; what was not read is lost.
        """
        self._endpoint.socket = None

    def fileno(self) -> int:
        """
        It is not a file.
        """
        return -1

    def getsockname(self) -> tuple[str, int]:
        """
        Where the endpoint is.
        """
        return self._endpoint.address

    def recvfrom(self, count: int) -> tuple[bytes, DatagramAddress]:
        """
        Read one datagram.

        Raises:
            BlockingIOError: There is none.
        """
        if not self.incoming:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        data, source = self.incoming.popleft()
        return data[:count], source

    def sendto(self, data: bytes, destination: DatagramAddress) -> int:
        """
        Send one datagram.

        Raises:
            OSError: It is too large, or the endpoint was told to fail.
        """
        if self._endpoint.writeError is not None:
            raise self._endpoint.writeError
        if len(data) > MAX_DATAGRAM:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        self._endpoint.deliver(bytes(data), destination)
        return len(data)

    def send(self, data: bytes) -> int:
        """
        Send one datagram to the peer that the socket is connected to.
        """
        return self.sendto(data, self.connectedTo)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """
        Remember an option.
        """
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> Any:
        """
        The value of an option; 0 where it was never set.
        """
        return self._options.get((level, option), 0)


class MemoryDatagramPort(Port):
    """
    An open L{MemoryDatagramEndpoint}.
    """

    def __init__(
        self,
        memorySocket: MemoryDatagramSocket,
        protocol: DatagramProtocol,
        reactor: SteppedReactor,
    ) -> None:
        host, number = memorySocket.getsockname()
        super().__init__(
            number, protocol, interface=host, maxPacketSize=_RECEIVE_SIZE, reactor=reactor
        )
        self._memorySocket = memorySocket

    def createInternetSocket(self) -> Any:
        """
        The socket that L{startListening} binds.
        """
        return self._memorySocket

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram, to a path too: UNIX sockets have a port of their own.
        """
        if addr is None or isinstance(addr, tuple):
            super().write(datagram, addr)
            return
        try:
            self.socket.sendto(datagram, addr)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise MessageLengthError("message too long") from error
            raise


class MemoryDatagramPeer:
    """
    A client, as a test sees it.

    @ivar address: What its datagrams say they come from.
    @ivar received: The datagrams that were sent to that address.
    """

    def __init__(self, endpoint: MemoryDatagramEndpoint, address: DatagramAddress) -> None:
        self._endpoint = endpoint
        self.address = address
        self.received: list[bytes] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address!r}>"

    def sendDatagram(self, data: bytes) -> None:
        """
        Send one datagram; the server reads it when the reactor moves.

        It is lost where the endpoint is not open, and nobody is told.

        Raises:
            MessageLengthError: No datagram can be that large.
        """
        if len(data) > MAX_DATAGRAM:
            raise MessageLengthError("message too long")
        socket = self._endpoint.socket
        if socket is not None and socket.connectedTo in (None, self.address):
            socket.incoming.append((data, self.address))

    def take(self) -> list[bytes]:
        """
        The datagrams received since the last time this was called.
        """
        taken, self.received = self.received, []
        return taken


@implementer(IDatagramServerEndpoint)
class MemoryDatagramEndpoint:
    """
    A place to receive datagrams that only its peers reach.

    @ivar address: Where it is: host and port.
    @ivar socket: The socket while it is open.
    @ivar sent: Every datagram that was sent through it, and where to.
    @ivar writeError: Set an C{OSError} here, and every datagram fails with it.
    """

    def __init__(
        self,
        reactor: SteppedReactor,
        address: tuple[str, int] = (SERVER_ADDRESS.host, SERVER_ADDRESS.port),
    ) -> None:
        self._reactor = reactor
        self._peers: dict[DatagramAddress, MemoryDatagramPeer] = {}
        self._peerPorts = itertools.count(FIRST_PEER_PORT)
        self.address = address
        self.socket: MemoryDatagramSocket | None = None
        self.sent: list[tuple[bytes, DatagramAddress]] = []
        self.writeError: OSError | None = None

    def listen(self, protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Open it.

        Returns:
            Fires with a L{MemoryDatagramPort}, or fails with
            C{CannotListenError} where it is open already.
        """
        return maybeDeferred(self._listen, protocol)

    def _listen(self, protocol: DatagramProtocol) -> MemoryDatagramPort:
        if self.socket is not None:
            inUse = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            raise CannotListenError(*self.address, inUse)
        self.socket = MemoryDatagramSocket(self)
        port = MemoryDatagramPort(self.socket, protocol, self._reactor)
        port.startListening()
        return port

    def peer(self, address: DatagramAddress = NEW_PORT) -> MemoryDatagramPeer:
        """
        Make a client.

        Args:
            address: What its datagrams say they come from, true or not:
                C{(host, port)}, a path, or C{None} for a UNIX socket without a
                name.  A new port of a test host when omitted.  Asked for the
                same address again this returns the same client.
        """
        if address == NEW_PORT:
            address = (PEER_HOST, next(self._peerPorts))
        known = self._peers.get(address)
        if known is None:
            known = self._peers[address] = MemoryDatagramPeer(self, address)
        return known

    def deliver(self, data: bytes, destination: DatagramAddress) -> None:
        """
        Hand a sent datagram to the client at its destination, if there is one.
        """
        self.sent.append((data, destination))
        peer = self._peers.get(destination)
        if peer is not None:
            peer.received.append(data)
