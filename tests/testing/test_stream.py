"""The endpoint in memory: opening, accepting, closing."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import (
    IListeningPort,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from myserv.testing import (
    SOCKET_BUFFER,
    LoggedFailures,
    MemoryEndpoint,
    MemoryPeer,
    MemoryPort,
    SteppedReactor,
)


class Open:
    """An endpoint that is open, and the protocols that it built."""

    def __init__(self, **arguments: Any) -> None:
        self.reactor = SteppedReactor()
        self.endpoint = MemoryEndpoint(self.reactor, **arguments)
        self.protocols: list[Any] = []
        self.factory = Factory.forProtocol(self._build)
        self.port = self.listen()

    def _build(self) -> Protocol:
        protocol = Protocol()
        self.protocols.append(protocol)
        return protocol

    def listen(self) -> MemoryPort:
        ports: list[Any] = []
        self.endpoint.listen(self.factory).addCallback(ports.append)
        port: MemoryPort = ports[0]
        return port

    def connect(self, address: Any = None) -> tuple[MemoryPeer, Any]:
        peer = self.endpoint.connect(address)
        self.reactor.settle()
        return peer, self.protocols[-1].transport


def failure(deferred: Deferred[Any]) -> Any:
    """The exception that a Deferred failed with."""
    failures: list[Any] = []
    deferred.addErrback(failures.append)
    return failures[0].value


def test_interfaces() -> None:
    """Endpoint, port and transport provide what Twisted's do."""
    memory = Open()
    _, transport = memory.connect()
    assert verifyObject(IStreamServerEndpoint, memory.endpoint)
    assert verifyObject(IListeningPort, memory.port)
    assert ITCPTransport.providedBy(transport)
    assert memory.port.getHost() == IPv4Address("TCP", "198.51.100.1", 7000)
    assert "198.51.100.1:7000" in repr(memory.port)
    memory.port.startListening()


def test_nothingHappensAtOnce() -> None:
    """A peer reaches the server only when the reactor moves."""
    memory = Open()
    peer = memory.endpoint.connect()
    assert memory.protocols == []
    memory.reactor.advance(0)
    memory.protocols[0].transport.write(b"hello")
    assert peer.received == b""
    memory.reactor.advance(0)
    assert peer.received == b"hello"


def test_addresses() -> None:
    """Each peer has an address of its own, or the one that it was given."""
    memory = Open()
    first, transport = memory.connect()
    second, _ = memory.connect()
    assert first.address != second.address
    assert transport.getPeer() == first.address
    assert transport.getHost() == memory.endpoint.address
    assert transport.getHandle().getpeername() == (first.address.host, first.address.port)
    _, transport = memory.connect(IPv4Address("TCP", "203.0.113.9", 9))
    assert transport.getPeer() == IPv4Address("TCP", "203.0.113.9", 9)


def test_ipv6() -> None:
    """An endpoint may be an IPv6 one."""
    memory = Open(address=IPv6Address("TCP", "2001:db8::1", 7000))
    _, transport = memory.connect(IPv6Address("TCP", "2001:db8::2", 50000))
    assert transport.getPeer() == IPv6Address("TCP", "2001:db8::2", 50000)
    assert transport.getHost() == IPv6Address("TCP", "2001:db8::1", 7000)


def test_listenTwice() -> None:
    """An open endpoint is in use."""
    memory = Open()
    assert isinstance(failure(memory.endpoint.listen(memory.factory)), CannotListenError)


def test_connectToClosed() -> None:
    """A closed endpoint refuses."""
    with pytest.raises(Refused):
        MemoryEndpoint(SteppedReactor()).connect()


def test_pausedPort() -> None:
    """Arrivals wait while the port is paused."""
    memory = Open()
    memory.port.stopReading()
    peer = memory.endpoint.connect()
    peer.send(b"early")
    memory.reactor.settle()
    assert memory.protocols == []
    memory.port.startReading()
    memory.reactor.settle()
    assert len(memory.protocols) == 1
    assert peer.unread == 0


def test_stopListening() -> None:
    """Connections live on, whoever waits is reset, and it can open again."""
    memory = Open()
    _, transport = memory.connect()
    memory.port.stopReading()
    waiting = memory.endpoint.connect()
    stopped: list[object] = []
    memory.port.stopListening().addCallback(stopped.append)
    assert stopped == []
    memory.reactor.settle()
    assert stopped == [None]
    assert waiting.aborted
    assert transport.connected
    memory.port.stopListening().addCallback(stopped.append)
    assert stopped == [None, None]
    memory.listen()
    memory.connect()


def test_factoryStartsAndStops() -> None:
    """The factory hears of the port's opening and closing."""
    memory = Open()
    assert memory.factory.numPorts == 1
    memory.port.stopListening()
    memory.reactor.settle()
    assert memory.factory.numPorts == 0


def test_factoryBuildsNothing() -> None:
    """As with a real port, the socket is closed."""
    memory = Open()
    memory.factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
    peer = memory.endpoint.connect()
    memory.reactor.settle()
    assert peer.closed
    assert not peer.aborted


def test_factoryRaises(loggedErrors: LoggedFailures) -> None:
    """As with a real port, it is logged."""
    memory = Open()
    memory.factory.buildProtocol = lambda addr: 1 // 0  # type: ignore[method-assign, assignment, return-value]
    memory.endpoint.connect()
    memory.reactor.settle()
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def test_take() -> None:
    """What was taken is not there again, and still counts."""
    memory = Open()
    peer, transport = memory.connect()
    transport.write(b"one")
    memory.reactor.settle()
    assert peer.take() == b"one"
    assert peer.take() == b""
    assert peer.bytesReceived == 3


def test_slowReader() -> None:
    """What is not read waits in the socket, up to its size, and then above it."""
    memory = Open()
    peer, transport = memory.connect()
    peer.pauseReading()
    transport.write(b"x" * (SOCKET_BUFFER + 1))
    memory.reactor.settle()
    assert peer.received == b""
    assert memory.reactor.getWriters() == [transport]
    assert peer.read(2) == b"xx"
    memory.reactor.settle()
    assert memory.reactor.getWriters() == []
    assert peer.received == b"xx"
    peer.resumeReading()
    assert len(peer.received) == SOCKET_BUFFER + 1


def test_window() -> None:
    """The socket may be made smaller."""
    memory = Open()
    peer, transport = memory.connect()
    peer.pauseReading(window=1)
    transport.write(b"abc")
    memory.reactor.settle()
    assert peer.read(10) == b"a"
    memory.reactor.settle()
    assert peer.read(10) == b"b"
    peer.resumeReading()
    memory.reactor.settle()
    assert peer.received == b"abc"


def test_closedIsSeenAfterTheLastByte() -> None:
    """A slow reader does not know that the server closed until it has read."""
    memory = Open()
    peer, transport = memory.connect()
    peer.pauseReading()
    transport.write(b"bye")
    transport.loseConnection()
    memory.reactor.settle()
    assert not peer.closed
    assert not peer.writeClosed
    assert "open" in repr(peer)
    peer.resumeReading()
    assert peer.closed
    assert "closed" in repr(peer)


def test_answersTheEnd() -> None:
    """A client closes when it has read the server's end, unless it stays."""
    memory = Open()
    peer, transport = memory.connect()
    peer.pauseReading()
    transport.write(b"bye")
    transport.loseWriteConnection()
    memory.reactor.settle()
    assert transport.connected
    peer.resumeReading()
    assert peer.writeClosed
    assert not peer.closed
    peer.send(b"too late")
    memory.reactor.settle()
    assert peer.closed
    assert not transport.connected


def test_stay() -> None:
    """A client may have more to say after the server's end."""
    memory = Open()
    peer, transport = memory.connect()
    peer.stay()
    transport.loseWriteConnection()
    memory.reactor.settle()
    assert peer.writeClosed
    assert not peer.closed
    peer.send(b"still here")
    memory.reactor.settle()
    assert peer.unread == 0
    peer.close()
    memory.reactor.settle()
    assert peer.closed


def test_abortedIsSeenAtOnce() -> None:
    """A reset throws away what was not read."""
    memory = Open()
    peer, transport = memory.connect()
    peer.pauseReading()
    transport.write(b"bye")
    memory.reactor.settle()
    transport.abortConnection()
    memory.reactor.settle()
    peer.resumeReading()
    assert peer.aborted
    assert not peer.closed
    assert peer.received == b""
    assert "aborted" in repr(peer)


def test_sendAfterTheEnd() -> None:
    """A peer keeps its word; what it sends to a closed server is lost."""
    memory = Open()
    peer, transport = memory.connect()
    transport.loseConnection()
    memory.reactor.settle()
    peer.send(b"lost")
    assert peer.unread == 0
    for leave in (MemoryPeer.closeWrite, MemoryPeer.close, MemoryPeer.abort):
        peer, _ = memory.connect()
        leave(peer)
        with pytest.raises(RuntimeError):
            peer.send(b"more")
        memory.reactor.settle()


def test_writeToPeerThatLeft() -> None:
    """The first bytes go nowhere, the next find the connection reset."""
    memory = Open()
    peer, transport = memory.connect()
    transport.stopReading()
    peer.close()
    transport.write(b"nowhere")
    memory.reactor.settle()
    assert transport.connected
    transport.write(b"reset")
    memory.reactor.settle()
    assert not transport.connected


def test_socketWouldBlock() -> None:
    """The socket says so as a real one does."""
    memory = Open()
    peer, transport = memory.connect()
    wire = transport.getHandle()
    with pytest.raises(BlockingIOError):
        wire.recv(1)
    peer.pauseReading(window=1)
    assert wire.send(b"ab") == 1
    with pytest.raises(BlockingIOError):
        wire.send(b"b")
    assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 0
