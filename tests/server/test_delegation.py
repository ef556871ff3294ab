"""A connection can do whatever its transport can."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol
from zope.interface import alsoProvides, implementer, providedBy
from zope.interface.interface import InterfaceClass

from myserv.protocols.echo.plugin import echo
from myserv.server.connection import Connection
from myserv.server.delegation import GenericConnection, connectionLike
from myserv.server.stream import KINDS
from myserv.testing import MemoryServer, hostPlugin


class Wire:
    """What is beneath a layer."""

    def __init__(self) -> None:
        self.speed = 7

    def getSpeed(self) -> int:
        """How fast it is."""
        return self.speed


class Layer:
    """A transport over another."""

    colour = "red"

    def __init__(self) -> None:
        self.transport = Wire()
        self.header: str | None = None
        self.secured = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def getPeer(self) -> None:
        """Nobody."""

    def getHost(self) -> str:
        """Here."""
        return "here"

    def startTLS(self, context: object, normal: bool = True) -> str:
        """Be another."""
        self.cipher = "strong"
        alsoProvides(self, ISSLTransport)
        return f"{context} {normal}"


def listenerOf(server: MemoryServer) -> Any:
    """The listener of connections."""
    assert server.streamListener is not None
    return server.streamListener


def kindOf(listener: Any, protocol: Any = Protocol()) -> type[Connection] | None:  # noqa: B008
    """The class of connections to protocols like this one, if there is one."""
    made: type[Connection] | None = listener.connectionTypes.get(providedBy(protocol))
    return made


def connect(listener: Any, transport: Any, protocol: Any = None) -> Connection:
    """A connection of the class that is its, with a transport."""
    protocol = protocol or Protocol()
    made = kindOf(listener, protocol) or GenericConnection
    connection: Connection = made(listener, protocol, 1)
    connection.makeConnection(transport)
    return connection


def test_theFirstShowsTheWay() -> None:
    """From the second on, connections know what their transports have."""
    listener = listenerOf(hostPlugin(echo))
    first, second = connect(listener, Layer()), connect(listener, Layer())
    assert type(first) is GenericConnection
    assert type(second) is kindOf(listener)
    assert not hasattr(type(second), "__getattr__")
    for connection in (first, second):
        each: Any = connection
        assert (each.colour, each.header, each.getSpeed(), each.getHost()) == (
            "red",
            None,
            7,
            "here",
        )
        with pytest.raises(AttributeError):
            _ = each.unheardOf


def test_attributesMayBeSet() -> None:
    """On the connection, as on any object."""
    listener = listenerOf(hostPlugin(echo))
    connect(listener, Layer())
    connection: Any = connect(listener, Layer())
    connection.header = "mine"
    assert (connection.header, connection.transport.header) == ("mine", None)


def test_anotherKind() -> None:
    """A transport of another kind than the first is asked each time."""
    listener = listenerOf(hostPlugin(echo))
    connect(listener, Layer())

    class Other(Layer):
        taste = "sweet"

    connection: Any = connect(listener, Other())
    assert type(connection) is GenericConnection
    assert connection.taste == "sweet"
    assert type(connect(listener, Layer())) is kindOf(listener)


def test_startTLS() -> None:
    """After it a transport has what it had not."""
    listener = listenerOf(hostPlugin(echo))
    connect(listener, Layer())
    connection: Any = connect(listener, Layer())
    assert connection.startTLS("context", normal=False) == "context False"
    assert connection.cipher == "strong"
    assert ISSLTransport.providedBy(connection)


@implementer(IHalfCloseableProtocol)
class HalfClosing(Protocol):
    """Goes on writing when its peer has ended."""

    isEnded = False

    def readConnectionLost(self) -> None:
        """The peer has."""
        self.isEnded = True

    def writeConnectionLost(self) -> None:
        """We have."""


@pytest.mark.parametrize("isSecured", [False, True])
def test_halfClose(isSecured: bool) -> None:
    """Whatever its class, a connection asks a protocol that half-closes."""
    listener = listenerOf(hostPlugin(echo))
    for count in range(2):
        protocol = HalfClosing()
        connection: Any = connect(listener, Layer(), protocol)
        if isSecured:
            connection.startTLS("context")
        connection.readConnectionLost()
        assert protocol.isEnded
        assert (type(connection) is GenericConnection) is (isSecured or count == 0)


@implementer(IHandshakeListener)
class Curious(HalfClosing):
    """Wants to know of a handshake."""

    def handshakeCompleted(self) -> None:
        """It is over."""


def test_kindsOfProtocols() -> None:
    """Each kind of protocols has its class, so that a transport sees what it is for."""
    listener = listenerOf(hostPlugin(echo))
    for _ in range(3):
        for protocol in (Protocol(), HalfClosing(), Curious()):
            connection = connect(listener, Layer(), protocol)
            assert IHandshakeListener.providedBy(connection) is isinstance(protocol, Curious)
        assert type(connection) in (GenericConnection, kindOf(listener, Curious()))
    assert len(listener.connectionTypes) == 3
    assert kindOf(listener, Curious()) is type(connection)


def test_boundedKinds() -> None:
    """Instances that provide a thing of their own each do not make a class each."""
    listener = listenerOf(hostPlugin(echo))
    for number in range(KINDS + 5):
        protocol = Protocol()
        alsoProvides(protocol, InterfaceClass(f"I{number}"))
        assert type(connect(listener, Layer(), protocol)) is GenericConnection
    assert len(listener.connectionTypes) == KINDS


@pytest.mark.parametrize("isFirst", [True, False])
def test_startTLSTellsOfIt(isFirst: bool) -> None:
    """What it provided before it provides after, and during, it, on every connection."""
    listener = listenerOf(hostPlugin(echo))
    if not isFirst:
        connect(listener, Layer(), Curious())
    connection: Any = connect(listener, Layer(), Curious())
    wire = connection.transport
    wire.startTLS = lambda context: IHandshakeListener.providedBy(connection)
    assert connection.startTLS("context")
    assert IHandshakeListener.providedBy(connection)


def test_descriptors() -> None:
    """A port looks for this one before there is a transport."""

    @implementer(IFileDescriptorReceiver)
    class Receiver(Protocol):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            """One more."""

    listener = listenerOf(hostPlugin(echo))
    for _ in range(2):
        made = kindOf(listener, Receiver()) or GenericConnection
        connection = made(listener, Receiver(), 1)
        assert IFileDescriptorReceiver.providedBy(connection)
        connection.makeConnection(Layer())
    assert not IFileDescriptorReceiver.providedBy(connect(listener, Layer()))


def test_itsOwnComeFirst() -> None:
    """What a connection does itself is not passed on."""
    made = connectionLike(Layer(), Protocol())
    assert made.getHost is Connection.getHost
    assert issubclass(made, Connection)
    assert "header" in vars(made)
    assert isinstance(vars(made)["header"], type(vars(made)["colour"]))
    assert made.header is vars(made)["header"]  # type: ignore[attr-defined]


def test_untilThereIsATransport() -> None:
    """There is nothing to ask."""
    listener = listenerOf(hostPlugin(echo))
    for kind in (GenericConnection, connectionLike(Layer(), Protocol())):
        connection: Any = kind(listener, Protocol(), 1)
        with pytest.raises(AttributeError, match="_transport"):
            _ = connection.header
