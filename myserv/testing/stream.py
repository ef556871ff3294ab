"""
Connections in memory: an endpoint, and the clients that connect to it.

Only the sockets are ours.  The transport that a protocol is given is Twisted's
own C{twisted.internet.tcp.Server}, so buffering, producers, half-closing and
the order of every callback are the real ones.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections import deque
from typing import Any, Final

from twisted.internet import error
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.tcp import Server
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.testing.reactor import SteppedReactor

SOCKET_BUFFER: Final = 64 * 1024
"""Bytes that a memory socket takes on behalf of a peer that does not read, as
the kernel would; what is written beyond waits in the transport."""

SERVER_ADDRESS: Final = IPv4Address("TCP", "198.51.100.1", 7000)
"""Where a memory endpoint is (TEST-NET-2 of RFC 5737)."""

PEER_HOST: Final = "192.0.2.1"
"""Where its peers are unless they say otherwise (TEST-NET-1 of RFC 5737)."""

FIRST_PEER_PORT: Final = 49152
"""Peers count from the first ephemeral port of RFC 6335."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

# Nobody must mistake one for a descriptor of this process.
_descriptors = itertools.count(1 << 30)

_log = Logger()

StreamAddress = IPv4Address | IPv6Address


class MemorySocket:
    """
    The server's end of a connection: as much of a socket as a transport uses.
    """

    def __init__(self, local: StreamAddress, remote: StreamAddress) -> None:
        self._local = local
        self._remote = remote
        self._options: dict[tuple[int, int], Any] = {}
        self._fileno = next(_descriptors)
        # From the peer.
        self.incoming = bytearray()
        self.peerEnded = False
        self.peerReset = False
        self.peerGone = False
        # To the peer: what it reads goes from the one to the other.
        self.outgoing = bytearray()
        self.delivered = bytearray()
        self.deliveredCount = 0
        self.peerReading = True
        self.window = SOCKET_BUFFER
        self.peerAnswersEnd = True
        self.ended = False
        self.closed = False
        self.reset = False

    @property
    def readable(self) -> bool:
        """C{recv} would not block."""
        return bool(self.incoming) or self.peerEnded or self.peerReset

    @property
    def writable(self) -> bool:
        """C{send} would not block."""
        return self.peerReset or self.peerGone or len(self.outgoing) < self.window

    def recv(self, count: int) -> bytes:
        """
        Read what there is.

        Raises:
            BlockingIOError: There is nothing yet.
            ConnectionResetError: The peer aborted.
        """
        if self.incoming:
            data = bytes(self.incoming[:count])
            del self.incoming[:count]
            return data
        if self.peerReset:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if self.peerEnded:
            return b""
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))

    def send(self, data: bytes | memoryview) -> int:
        """
        Write what fits.

        Raises:
            BlockingIOError: The peer does not read.
            BrokenPipeError: The peer is gone.
        """
        if self.peerReset:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self.peerGone:
            # The kernel takes the bytes; the peer's answers with a reset.
            self.peerReset = True
            return len(data)
        room = self.window - len(self.outgoing)
        if room <= 0:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        self.outgoing += data[:room]
        if self.peerReading:
            self.deliver(len(self.outgoing))
        return min(room, len(data))

    def deliver(self, count: int) -> bytes:
        """
        Let the peer read what there is.

        Args:
            count: The most bytes.
        """
        data = bytes(self.outgoing[:count])
        del self.outgoing[:count]
        self.delivered += data
        self.deliveredCount += len(data)
        self._answerEnd()
        return data

    def shutdown(self, how: int) -> None:
        """
        End our half of the connection.
        """
        self.ended = True
        self._answerEnd()

    def _answerEnd(self) -> None:
        if self.ended and self.peerAnswersEnd and not self.outgoing:
            self.peerEnded = True

    def close(self) -> None:
        """
        End the connection, with a reset where C{SO_LINGER} asks for one.
        """
        self.closed = True
        linger = self._options.get((socket.SOL_SOCKET, socket.SO_LINGER))
        if linger == _RESET_ON_CLOSE:
            self.reset = True
            self.outgoing.clear()
        self.ended = True

    def setblocking(self, flag: bool) -> None:
        """
        There is nothing to block on.
        """

    def fileno(self) -> int:
        """
        A number that no open file has.
        """
        return self._fileno

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """
        Remember an option.
        """
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        """
        The value of an option; 0 where it was never set.
        """
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            # Of Linux's struct tcp_info what a server asks: tcpi_bytes_acked.
            return struct.pack("=120xQ", self.deliveredCount)[:size]
        return self._options.get((level, option), 0)

    def getsockname(self) -> tuple[Any, ...]:
        """
        The address of this end.
        """
        return addressTuple(self._local)

    def getpeername(self) -> tuple[Any, ...]:
        """
        The address of the other end.
        """
        return addressTuple(self._remote)


def addressTuple(address: StreamAddress) -> tuple[Any, ...]:
    """
    Write an address as the C{socket} module does.
    """
    if isinstance(address, IPv6Address):
        return (address.host, address.port, address.flowInfo, address.scopeID)
    return (address.host, address.port)


class MemoryPeer:
    """
    A client, as a test sees it.

    It reads whatever the server sends as soon as it is sent, unless
    L{pauseReading} was called, and when it has read the end it closes, as most
    clients do, unless L{stay} was called.  Nothing that it does reaches the
    server before the reactor moves.

    @ivar address: Where it connects from.
    """

    def __init__(self, wire: MemorySocket, address: StreamAddress) -> None:
        self._wire = wire
        self._writing = True
        self.address = address

    def __repr__(self) -> str:
        state = "aborted" if self.aborted else "closed" if self.closed else "open"
        return f"<{type(self).__name__} {self.address.host}:{self.address.port} {state}>"

    # What it has seen.

    @property
    def received(self) -> bytes:
        """
        What it read and has not taken.
        """
        return bytes(self._wire.delivered)

    @property
    def bytesReceived(self) -> int:
        """
        How much it has read in all, taken or not.
        """
        return self._wire.deliveredCount

    def take(self) -> bytes:
        """
        What it read since the last time this was called.
        """
        data = self.received
        self._wire.delivered.clear()
        return data

    @property
    def writeClosed(self) -> bool:
        """
        It has read all that the server will ever send.
        """
        return self._wire.ended and not self._wire.reset and not self._wire.outgoing

    @property
    def closed(self) -> bool:
        """
        The server closed the connection, and it has read everything.
        """
        return self.writeClosed and self._wire.closed

    @property
    def aborted(self) -> bool:
        """
        The server cut the connection.
        """
        return self._wire.reset

    @property
    def unread(self) -> int:
        """
        The number of bytes it sent that the server has not read yet.
        """
        return len(self._wire.incoming)

    # What it does.

    def send(self, data: bytes) -> None:
        """
        Send bytes; the server reads them when the reactor moves.

        Bytes sent one call after the other arrive as one piece, as on a wire.

        Raises:
            RuntimeError: It ended its half itself.
        """
        if not self._writing:
            raise RuntimeError(f"{self!r} said that it would send no more")
        if not self._wire.closed and not self._wire.peerEnded:
            self._wire.incoming += data

    def stay(self) -> None:
        """
        Do not close when the server has sent its last.
        """
        self._wire.peerAnswersEnd = False

    def closeWrite(self) -> None:
        """
        Send no more, and go on reading.
        """
        self._writing = False
        self._wire.peerEnded = True

    def close(self) -> None:
        """
        Leave in an orderly way.
        """
        if self._wire.outgoing:
            # What a kernel does when a program leaves bytes unread.
            self.abort()
            return
        self.closeWrite()
        self._wire.peerGone = True

    def abort(self) -> None:
        """
        Reset the connection.
        """
        self._writing = False
        self._wire.outgoing.clear()
        self._wire.peerReset = True

    def pauseReading(self, window: int = SOCKET_BUFFER) -> None:
        """
        Be a slow reader: what the server sends waits, first in the socket,
        then in its transport.

        Args:
            window: Bytes that the socket takes meanwhile, at least one.
        """
        self._wire.peerReading = False
        self._wire.window = window

    def resumeReading(self) -> None:
        """
        Read everything again.
        """
        self._wire.peerReading = True
        self._wire.window = SOCKET_BUFFER
        self._wire.deliver(len(self._wire.outgoing))

    def read(self, count: int) -> bytes:
        """
        Read a little although reading is paused.

        Args:
            count: The most bytes to read.

        Returns:
            What was read; it is in L{received} too.
        """
        return self._wire.deliver(count)


@implementer(IStreamServerEndpoint)
class MemoryEndpoint:
    """
    A place to listen that only L{connect} reaches.

    @ivar address: Where it is.
    @ivar port: The port while it is open.
    """

    def __init__(self, reactor: SteppedReactor, address: StreamAddress = SERVER_ADDRESS) -> None:
        self._reactor = reactor
        self._peerPorts = itertools.count(FIRST_PEER_PORT)
        self.address = address
        self.port: MemoryPort | None = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Open it.

        Returns:
            Fires with a L{MemoryPort}, or fails with C{CannotListenError}
            where it is open already.
        """
        return maybeDeferred(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> MemoryPort:
        if self.port is not None:
            inUse = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            raise error.CannotListenError(self.address.host, self.address.port, inUse)
        factory.doStart()
        self.port = MemoryPort(self, factory, self._reactor)
        self.port.startReading()
        return self.port

    def connect(self, address: StreamAddress | None = None) -> MemoryPeer:
        """
        Connect a client.

        Args:
            address: Where it claims to come from; a new port of L{PEER_HOST}
                when omitted.

        Returns:
            The client, which the server accepts when the reactor moves, or
            later: a suspended port leaves arrivals waiting.

        Raises:
            ConnectionRefusedError: The endpoint is not open.
        """
        if self.port is None:
            raise error.ConnectionRefusedError
        if address is None:
            address = IPv4Address("TCP", PEER_HOST, next(self._peerPorts))
        wire = MemorySocket(self.address, address)
        self.port.socket.backlog.append((wire, address))
        return MemoryPeer(wire, address)


class _Backlog:
    """A listening socket: those that wait to be accepted."""

    writable = False

    def __init__(self) -> None:
        self.backlog: deque[tuple[MemorySocket, StreamAddress]] = deque()

    @property
    def readable(self) -> bool:
        """Somebody waits."""
        return bool(self.backlog)


@implementer(IListeningPort)
class MemoryPort(FileDescriptor):
    """
    An open L{MemoryEndpoint}, which behaves as the server's own ports do.
    """

    _isAccepting = False

    def __init__(
        self, endpoint: MemoryEndpoint, factory: IProtocolFactory, reactor: SteppedReactor
    ) -> None:
        super().__init__(reactor)
        self._clock = reactor
        self.socket = _Backlog()
        self.connected = 1
        self._endpoint = endpoint
        self._factory = factory
        self._sessions = itertools.count()
        # What the transport's repr shows.
        self._realPortNumber = endpoint.address.port

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint.address.host}:{self._realPortNumber}>"

    def startListening(self) -> None:
        """
        It has listened since it was made.
        """

    def getHost(self) -> StreamAddress:
        """
        Where it listens.
        """
        return self._endpoint.address

    def startReading(self) -> None:
        """
        Accept, from the next turn on.
        """
        self._isAccepting = True
        super().startReading()

    def stopReading(self) -> None:
        """
        Accept nobody more, and not even the next of those who wait.
        """
        self._isAccepting = False
        super().stopReading()

    def doRead(self) -> None:
        """
        Accept everyone who waits.
        """
        backlog = self.socket.backlog
        while backlog and self._isAccepting:
            wire, address = backlog.popleft()
            try:
                protocol = self._factory.buildProtocol(address)
                if protocol is None:
                    wire.close()
                    continue
                transport = Server(
                    wire,  # type: ignore[arg-type]  # as much of a socket as it uses
                    protocol,
                    addressTuple(address),
                    self,  # type: ignore[arg-type]  # as much of a port as it uses
                    next(self._sessions),
                    self.reactor,
                )
                protocol.makeConnection(transport)
            except Exception:  # noqa: BLE001 - what a factory raises is its own affair
                # As a real port: logged, and this round of accepting is over.
                _log.failure("{port!r} could not accept", port=self)
                return

    def stopListening(self) -> Deferred[None]:
        """
        Close.

        Returns:
            Fires when it is closed.
        """
        self.stopReading()
        if not self.connected:
            return succeed(None)
        return deferLater(self._clock, 0, self.connectionLost, Failure(error.ConnectionDone()))

    def connectionLost(self, reason: Failure) -> None:
        """
        It is closed: whoever still waited is reset.
        """
        super().connectionLost(reason)
        self._endpoint.port = None
        for wire, _ in self.socket.backlog:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            wire.close()
        self._factory.doStop()
