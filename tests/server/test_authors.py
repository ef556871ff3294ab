"""What authors do to a connection that nobody has asked for."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import (
    LimitTotalConnectionsFactory,
    ThrottlingFactory,
    TimeoutFactory,
    WrappingFactory,
)
from zope.interface import alsoProvides

from myserv.discovery.registry import pluginOf
from myserv.events import ProtocolRaised
from myserv.server.connection import Connection
from myserv.testing import MemoryServer, hostPlugin


class Echo(Protocol):
    """Sends back."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


def hosting(protocol: Any) -> MemoryServer:
    """A server of a protocol, or of a factory."""
    factory = protocol if isinstance(protocol, Factory) else Factory.forProtocol(protocol)
    return hostPlugin(pluginOf(factory))


def connections(server: MemoryServer) -> list[Connection]:
    """Those that are open."""
    assert server.streamListener is not None
    return list(server.streamListener.connections)


def limited(factory: Any) -> Any:
    """Twisted's factory that counts, around another's protocol."""
    made: Any = LimitTotalConnectionsFactory()
    made.protocol = factory.protocol
    return made


@pytest.mark.parametrize(
    "wrap",
    [
        WrappingFactory,
        lambda inner: WrappingFactory(WrappingFactory(inner)),
        ThrottlingFactory,
        lambda inner: TimeoutFactory(inner, 5),
        limited,
    ],
)
def test_policies(wrap: Any) -> None:
    """
    A wrapper of Twisted's says that it provides what its transport does: half a
    connection closes all the same.
    """
    server = hosting(wrap(Factory.forProtocol(Echo)))
    for _ in range(3):
        peer = server.connect()
        peer.send(b"hello")
        server.settle()
        peer.closeWrite()
        server.settle()
        assert (peer.received, peer.closed) == (b"hello", True)
    # A throttle has calls of its own.
    server.advance(10)
    assert not server.observer.ofType(ProtocolRaised)


@pytest.mark.parametrize("during", ["connectionMade", "dataReceived"])
def test_halfClosesFromNowOn(during: str) -> None:
    """What a protocol declares later counts as well."""

    class Late(Echo):
        def connectionMade(self) -> None:
            if during == "connectionMade":
                alsoProvides(self, IHalfCloseableProtocol)

        def dataReceived(self, data: bytes) -> None:
            alsoProvides(self, IHalfCloseableProtocol)
            super().dataReceived(data)

        def readConnectionLost(self) -> None:
            self.transport.write(b" and goodbye")
            self.transport.loseConnection()

        def writeConnectionLost(self) -> None:
            """We have ended."""

    server = hosting(Late)
    for _ in range(2):
        peer = server.connect()
        peer.send(b"hello")
        server.settle()
        peer.closeWrite()
        server.settle()
        assert (peer.received, peer.closed) == (b"hello and goodbye", True)


def filled(server: MemoryServer) -> tuple[Any, Connection]:
    """A peer that does not read, and its connection, which is full."""
    peer = server.connect()
    server.settle()
    peer.pauseReading()
    [connection] = connections(server)
    connection.write(b"x" * 1_000_000)
    server.settle()
    assert connection.outflow.isFull
    return peer, connection


@pytest.mark.parametrize("goes", [True, False])
def test_overriddenWrite(goes: bool) -> None:
    """Who replaces C{write} and takes that back takes ours, too; nothing breaks."""
    server = hosting(Echo)
    peer, connection = filled(server)
    connection.write = lambda data: None  # type: ignore[method-assign]
    del connection.write
    if goes:
        connection.abortConnection()
    else:
        peer.resumeReading()
    server.settle()
    assert (connections(server) == []) is goes
    assert not connection.outflow.isFull
    assert not server.observer.ofType(ProtocolRaised)
    assert server.streamListener is not None
    assert server.streamListener.admission.connections == (0 if goes else 1)
    connection.abortConnection()
    server.settle()


def test_overriddenDataReceived() -> None:
    """The same, of what comes in."""
    server = hosting(Echo)
    peer = server.connect()
    server.settle()
    [connection] = connections(server)
    connection.loseConnection()
    connection.__dict__.pop("dataReceived", None)
    peer.close()
    server.settle()
    assert connections(server) == []


def test_protocolAfterTheEnd() -> None:
    """Who hands a connection over that is gone does not bring it back."""
    server = hosting(Echo)
    peer = server.connect()
    server.settle()
    [connection] = connections(server)
    peer.close()
    server.settle()
    protocol = Echo()
    connection.protocol = protocol
    assert connection.protocol is None
    connection.dataReceived(b"late")
    connection.readConnectionLost()
    connection.writeConnectionLost()
    connection.messageReceived(b"late")
    connection.unregisterProducer()
    assert connection.checkDeadlines(1e9) == float("inf")
    assert protocol.transport is None
    assert not server.observer.ofType(ProtocolRaised)


def test_logPrefix() -> None:
    """Whatever the class of a connection, log lines name the service."""
    server = hosting(Echo)
    for number in range(3):
        server.connect()
        server.settle()
        connection: Any = max(connections(server), key=lambda each: each.number)
        assert connection.logPrefix() == "factory"
        assert connection.transport.logstr == f"factory,{number},192.0.2.1"
