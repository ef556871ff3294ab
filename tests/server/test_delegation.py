"""A connection can do whatever its transport can."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Protocol
from zope.interface import alsoProvides, implementer

from myserv.protocols.echo.plugin import echo
from myserv.server.connection import Connection
from myserv.server.delegation import GenericConnection, connectionLike
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


def connect(listener: Any, transport: Any) -> Connection:
    """A connection of the class that is next, with a transport."""
    connection: Connection = listener.connectionType(listener, Protocol(), 1)
    connection.makeConnection(transport)
    return connection


def test_theFirstShowsTheWay() -> None:
    """From the second on, connections know what their transports have."""
    listener = listenerOf(hostPlugin(echo))
    first, second = connect(listener, Layer()), connect(listener, Layer())
    assert type(first) is GenericConnection
    assert type(second) is listener.connectionType
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
    assert type(connect(listener, Layer())) is listener.connectionType


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
    """Whatever its class, a connection knows whether its protocol half-closes."""
    listener = listenerOf(hostPlugin(echo))
    for _ in range(2):
        connection = listener.connectionType(listener, HalfClosing(), 1)
        connection.makeConnection(Layer())
        if isSecured:
            connection.startTLS("context")
        connection.readConnectionLost()
        assert connection.protocol.isEnded
        assert IHalfCloseableProtocol.providedBy(connection)
    assert (type(connection) is GenericConnection) is isSecured


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
