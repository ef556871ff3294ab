"""Datagrams in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface.verify import verifyObject

from myserv.interfaces import IDatagramServerEndpoint
from myserv.testing import (
    MAX_DATAGRAM,
    MemoryDatagramEndpoint,
    SteppedReactor,
)


class Recorder(DatagramProtocol):
    """Writes down what it receives."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.stopped = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))

    def stopProtocol(self) -> None:
        self.stopped = True


class Open:
    """An endpoint that is open."""

    def __init__(self, **arguments: Any) -> None:
        self.reactor = SteppedReactor()
        self.endpoint = MemoryDatagramEndpoint(self.reactor, **arguments)
        self.protocol = Recorder()
        self.port: Any = None
        self.endpoint.listen(self.protocol).addCallback(lambda port: setattr(self, "port", port))


def test_interfaces() -> None:
    """Endpoint and port provide what they should."""
    memory = Open()
    assert verifyObject(IDatagramServerEndpoint, memory.endpoint)
    assert verifyObject(IListeningPort, memory.port)
    assert IUDPTransport.providedBy(memory.port)
    assert memory.port.getHost() == IPv4Address("UDP", "198.51.100.1", 7000)
    memory.port.setBroadcastAllowed(True)
    assert memory.port.getBroadcastAllowed()


def test_peers() -> None:
    """A peer's datagrams come from its address, and its answers reach it."""
    memory = Open()
    first, second = memory.endpoint.peer(), memory.endpoint.peer()
    first.sendDatagram(b"one")
    second.sendDatagram(b"two")
    assert memory.protocol.received == []
    memory.reactor.settle()
    assert memory.protocol.received == [(b"one", first.address), (b"two", second.address)]
    memory.port.write(b"answer", second.address)
    memory.port.writeSequence([b"an", b"other"], second.address)
    assert first.received == []
    assert second.take() == [b"answer", b"another"]
    assert second.take() == []
    assert memory.endpoint.peer(first.address) is first
    assert repr(first.address) in repr(first)


@pytest.mark.parametrize("address", [None, "", b"", "/run/client", ("203.0.113.9", 7)])
def test_anySource(address: Any) -> None:
    """A datagram may say that it comes from anywhere."""
    memory = Open()
    memory.endpoint.peer(address).sendDatagram(b"")
    memory.reactor.settle()
    assert memory.protocol.received == [(b"", address)]


def test_strangers() -> None:
    """What is sent to nobody we know is remembered."""
    memory = Open()
    memory.port.write(b"out", ("203.0.113.9", 9))
    memory.port.write(b"path", "/run/client")
    assert memory.endpoint.sent == [(b"out", ("203.0.113.9", 9)), (b"path", "/run/client")]


def test_largest() -> None:
    """The largest datagram comes whole, and no larger one can be sent."""
    memory = Open()
    peer = memory.endpoint.peer()
    peer.sendDatagram(b"x" * MAX_DATAGRAM)
    memory.reactor.settle()
    assert memory.protocol.received == [(b"x" * MAX_DATAGRAM, peer.address)]
    with pytest.raises(MessageLengthError):
        peer.sendDatagram(b"x" * (MAX_DATAGRAM + 1))
    for address in (peer.address, "/run/client"):
        with pytest.raises(MessageLengthError):
            memory.port.write(b"x" * (MAX_DATAGRAM + 1), address)


def test_writeError() -> None:
    """Sending fails while it is told to."""
    memory = Open()
    peer = memory.endpoint.peer()
    memory.endpoint.writeError = PermissionError(1, "no")
    for address in (peer.address, "/run/client"):
        with pytest.raises(PermissionError):
            memory.port.write(b"x", address)
    memory.endpoint.writeError = None
    memory.port.write(b"x", peer.address)
    assert peer.received == [b"x"]


def test_connected() -> None:
    """A connected port hears and answers one peer only."""
    memory = Open()
    peer, other = memory.endpoint.peer(("192.0.2.9", 9)), memory.endpoint.peer()
    memory.port.connect("192.0.2.9", 9)
    peer.sendDatagram(b"heard")
    other.sendDatagram(b"unheard")
    memory.reactor.settle()
    assert memory.protocol.received == [(b"heard", peer.address)]
    memory.port.write(b"answer")
    assert peer.received == [b"answer"]


def test_stopListening() -> None:
    """A closed endpoint loses datagrams silently, and opens again."""
    memory = Open()
    failures: list[Any] = []
    memory.endpoint.listen(Recorder()).addErrback(failures.append)
    assert failures[0].check(CannotListenError)
    peer = memory.endpoint.peer()
    memory.port.stopListening()
    memory.reactor.settle()
    assert memory.protocol.stopped
    peer.sendDatagram(b"lost")
    memory.endpoint.listen(memory.protocol)
    peer.sendDatagram(b"seen")
    memory.reactor.settle()
    assert memory.protocol.received == [(b"seen", peer.address)]


def test_paused() -> None:
    """Datagrams wait while the port does not read."""
    memory = Open()
    memory.port.stopReading()
    memory.endpoint.peer(("192.0.2.9", 9)).sendDatagram(b"x")
    memory.reactor.settle()
    assert memory.protocol.received == []
    memory.port.startReading()
    memory.reactor.settle()
    assert len(memory.protocol.received) == 1


def test_socketWouldBlock() -> None:
    """The socket says so as a real one does."""
    memory = Open()
    with pytest.raises(BlockingIOError):
        memory.port.socket.recvfrom(1)
    assert memory.port.socket.fileno() == -1
