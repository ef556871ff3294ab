"""The echo service (RFC 862)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from myserv.interfaces import IDrainable
from myserv.protocols.echo.plugin import echo
from myserv.server.context import ServiceContext
from tests.protocols.conftest import ADDRESS, Ask, Connect

FULL = FileDescriptor.bufferSize


class Wire(FileDescriptor):
    """
    Twisted's own buffering and half-closing, above a peer in memory.

    It is its own reactor, and knows what it was asked to wait for.
    """

    connected = True

    def __init__(self, protocol: Any) -> None:
        super().__init__(reactor=self)  # type: ignore[arg-type]
        self.protocol = protocol
        self.reading = True
        self.writing = False
        self.sent = b""
        protocol.makeConnection(self)

    def addReader(self, descriptor: object) -> None:
        self.reading = True

    def removeReader(self, descriptor: object) -> None:
        self.reading = False

    def addWriter(self, descriptor: object) -> None:
        self.writing = True

    def removeWriter(self, descriptor: object) -> None:
        self.writing = False

    def writeSomeData(self, data: bytes) -> int:
        self.sent += data[:10_000]
        return len(data[:10_000])

    def peerReads(self) -> None:
        """The peer reads whatever is there, until nothing is left."""
        while self.writing:
            why = self.doWrite()
            if why is not None:
                self.connectionLost(Failure(why))

    def peerStopsSending(self) -> None:
        """As Twisted's reactors do it."""
        self.removeReader(self)
        self.protocol.readConnectionLost()


@pytest.fixture
def wire(context: ServiceContext) -> Wire:
    """A connection to echo."""
    return Wire(echo.buildFactory(context, None).buildProtocol(ADDRESS))


def test_aConnectionGetsBackWhatItSends(connect: Connect) -> None:
    """
    As it arrives, byte for byte.
    """
    protocol, transport = connect(echo)
    for piece in (b"hello", b"\0", b"\r\n\xff"):
        protocol.dataReceived(piece)
    assert transport.value() == b"hello\0\r\n\xff"
    assert not transport.disconnecting


def test_aPeerThatDoesNotReadIsNotReadFrom(wire: Wire) -> None:
    """
    Reading stops while more waits than the transport wants to keep.
    """
    wire.protocol.dataReceived(b"x" * FULL)
    assert wire.reading
    wire.protocol.dataReceived(b"y")
    assert not wire.reading


def test_aPeerThatReadsAgainIsReadFromAgain(wire: Wire) -> None:
    """
    Nothing is lost by the pause.
    """
    wire.protocol.dataReceived(b"x" * (FULL + 1))
    wire.peerReads()
    assert wire.reading
    wire.protocol.dataReceived(b"y")
    wire.peerReads()
    assert wire.sent == b"x" * (FULL + 1) + b"y"
    assert wire.connected


@pytest.mark.parametrize("size", [0, 1, FULL, FULL + 1, 10 * FULL])
def test_aPeerThatHasSaidEverythingGetsTheRestAndIsClosed(wire: Wire, size: int) -> None:
    """
    Whether or not the transport was paused.
    """
    wire.protocol.dataReceived(b"x" * size)
    wire.peerStopsSending()
    assert not wire.disconnected
    wire.peerReads()
    assert wire.sent == b"x" * size
    assert wire.disconnected


@pytest.mark.parametrize("size", [0, 1, FULL, FULL + 1, 10 * FULL])
def test_aDrainSendsTheRestAndCloses(wire: Wire, size: int) -> None:
    """
    Whether or not the transport was paused.
    """
    wire.protocol.dataReceived(b"x" * size)
    wire.protocol.drainRequested(5.0)
    assert not wire.reading
    wire.peerReads()
    assert wire.sent == b"x" * size
    assert wire.disconnected


def test_aDrainAfterThePeersLastWordChangesNothing(wire: Wire) -> None:
    """
    The rest is on its way already.
    """
    wire.protocol.dataReceived(b"x" * FULL)
    wire.peerStopsSending()
    wire.protocol.drainRequested(5.0)
    wire.peerReads()
    assert wire.sent == b"x" * FULL
    assert wire.disconnected


def test_aPausedTransportReadsAgainWhenDrained(connect: Connect) -> None:
    """
    Over TLS the peer's goodbye is among what is yet to be read.
    """
    protocol, transport = connect(echo)
    transport.pauseProducing()
    protocol.drainRequested(5.0)
    assert transport.producerState == "producing"
    assert transport.producer is None
    assert transport.disconnecting


def test_thePeersGoingEndsIt(wire: Wire) -> None:
    """
    What was still to be sent is forgotten, paused or not.
    """
    wire.protocol.dataReceived(b"x" * (FULL + 1))
    wire.connectionLost(Failure(CONNECTION_DONE))
    assert wire.producer is None
    assert not wire.reading
    assert not wire.writing


def test_itSaysWhatItCanDo(connect: Connect) -> None:
    """
    The transport asks whether it may close one half, the server whether it may
    be drained.
    """
    protocol, _ = connect(echo)
    assert IHalfCloseableProtocol.providedBy(protocol)
    assert IDrainable.providedBy(protocol)
    protocol.writeConnectionLost()


@pytest.mark.parametrize("datagram", [b"", b"hello", b"x" * 65_507])
def test_aDatagramIsSentBack(ask: Ask, datagram: bytes) -> None:
    """
    Empty or as large as any.
    """
    assert ask(echo, datagram) == datagram
