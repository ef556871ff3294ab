"""The echo service (RFC 862)."""

from __future__ import annotations

import pytest

from myserv.protocols.echo.plugin import echo
from myserv.testing import MAX_DATAGRAM, SOCKET_BUFFER, MemoryPeer, MemoryServer, hostPlugin

TOO_MUCH = 10 * SOCKET_BUFFER
"""More than the socket and the transport keep for a peer that does not read."""

SIZES = [0, 1, SOCKET_BUFFER, 2 * SOCKET_BUFFER, 2 * SOCKET_BUFFER + 1, TOO_MUCH]
"""Bytes on both sides of where the socket is full, and the transport paused."""


@pytest.fixture
def server() -> MemoryServer:
    """Echo, served."""
    return hostPlugin(echo)


@pytest.fixture
def peer(server: MemoryServer) -> MemoryPeer:
    """A client of it."""
    connected = server.connect()
    server.settle()
    return connected


def numbered(size: int) -> bytes:
    """Bytes that show when some are lost or swapped."""
    return b"".join(b"%08d" % each for each in range(size // 8 + 1))[:size]


def test_aConnectionGetsBackWhatItSends(server: MemoryServer, peer: MemoryPeer) -> None:
    """
    As it arrives, byte for byte.
    """
    for piece in (b"hello", b"\0", b"\r\n\xff"):
        peer.send(piece)
        server.settle()
        assert peer.take() == piece
    assert not peer.writeClosed


def test_aPeerThatDoesNotReadIsNotReadFrom(server: MemoryServer, peer: MemoryPeer) -> None:
    """
    What waits for it here stays bounded: a full socket, a full transport, and
    what came in the one read that filled it.
    """
    peer.pauseReading()
    peer.send(numbered(TOO_MUCH))
    assert server.settle()
    assert TOO_MUCH - peer.unread <= 3 * SOCKET_BUFFER


def test_aPeerThatReadsAgainLosesNothing(server: MemoryServer, peer: MemoryPeer) -> None:
    """
    The server reads on when there is room.
    """
    peer.pauseReading()
    peer.send(numbered(TOO_MUCH))
    server.settle()
    peer.resumeReading()
    server.settle()
    peer.send(b"and more")
    server.settle()
    assert peer.received == numbered(TOO_MUCH) + b"and more"
    assert not peer.writeClosed


@pytest.mark.parametrize("size", SIZES)
def test_aPeerThatHasSaidEverythingGetsItAllAndIsClosed(
    server: MemoryServer, peer: MemoryPeer, size: int
) -> None:
    """
    However much of it was still to be sent, or to be read.
    """
    peer.pauseReading()
    peer.send(numbered(size))
    peer.closeWrite()
    server.settle()
    peer.resumeReading()
    server.settle()
    assert peer.received == numbered(size)
    assert peer.closed


def test_aPeerThatSpeaksAndEndsAtOnceGetsItAll(server: MemoryServer) -> None:
    """
    Before it was even accepted.
    """
    peer = server.connect()
    peer.send(b"hello")
    peer.closeWrite()
    server.settle()
    assert peer.received == b"hello"
    assert peer.closed


@pytest.mark.parametrize("size", SIZES)
def test_aDrainAnswersWhatWasSentAndCloses(
    server: MemoryServer, peer: MemoryPeer, size: int
) -> None:
    """
    Whether or not the transport was paused, and long before the deadline.
    """
    peer.pauseReading()
    peer.send(numbered(size))
    server.settle()
    assert server.streamListener is not None
    stopping = server.streamListener.stop(grace=20.0)
    server.advance(1.0)
    peer.resumeReading()
    server.settle()
    assert peer.received == numbered(size)
    # Who has not sent anything might be about to.
    server.advance(4.0)
    assert peer.writeClosed
    peer.close()
    server.settle()
    assert stopping.called


def test_aDrainAfterThePeersLastWordChangesNothing(server: MemoryServer, peer: MemoryPeer) -> None:
    """
    The rest is on its way already.
    """
    size = 2 * SOCKET_BUFFER
    peer.pauseReading()
    peer.send(numbered(size))
    peer.closeWrite()
    server.settle()
    assert server.streamListener is not None
    server.streamListener.stop(grace=5.0)
    server.settle()
    peer.resumeReading()
    server.settle()
    assert peer.received == numbered(size)
    assert peer.closed


@pytest.mark.parametrize("leave", ["close", "abort"])
def test_thePeersGoingEndsIt(server: MemoryServer, peer: MemoryPeer, leave: str) -> None:
    """
    Paused or not, and whatever was still to be sent.
    """
    other = server.connect()
    other.send(b"x")
    peer.pauseReading()
    peer.send(numbered(TOO_MUCH))
    server.settle()
    for each in (peer, other):
        getattr(each, leave)()
    assert server.settle()
    assert server.streamListener is not None
    assert not server.streamListener.connections


def test_aTransportThatEndsOurHalfStillHearsThePeer(server: MemoryServer, peer: MemoryPeer) -> None:
    """
    The protocol never closes one half, but a layer below it may.
    """
    assert server.streamListener is not None
    [connection] = server.streamListener.connections
    peer.stay()
    connection.loseWriteConnection()
    server.settle()
    assert peer.writeClosed
    assert not peer.closed
    peer.closeWrite()
    server.settle()
    assert peer.closed


@pytest.mark.parametrize("datagram", [b"", b"hello", b"x" * MAX_DATAGRAM])
def test_aDatagramIsSentBack(server: MemoryServer, datagram: bytes) -> None:
    """
    Empty or as large as any.
    """
    sender = server.datagramPeer()
    sender.sendDatagram(datagram)
    server.settle()
    assert sender.received == [datagram]
