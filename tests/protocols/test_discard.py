"""The discard service (RFC 863)."""

from __future__ import annotations

from myserv.protocols.discard.plugin import discard
from myserv.testing import hostPlugin


def test_aConnectionIsReadAndNeverAnswered() -> None:
    """
    All of it is read, and only the peer ends it.
    """
    server = hostPlugin(discard)
    peer = server.connect()
    for _ in range(10):
        peer.send(b"x" * 100_000)
        server.settle()
        assert peer.unread == 0
    assert not peer.writeClosed
    peer.closeWrite()
    server.settle()
    assert peer.closed
    assert peer.received == b""


def test_aDrainDoesNotWaitForAnAnswer() -> None:
    """
    A peer that only sends is told goodbye as soon as the server goes away.
    """
    server = hostPlugin(discard)
    peer = server.connect()
    peer.send(b"x")
    server.settle()
    server.stop(grace=20)
    assert peer.closed


def test_aDatagramIsNeverAnswered() -> None:
    """
    So it cannot be talked into a loop, and any source may send to it.
    """
    server = hostPlugin(discard)
    for source in [("192.0.2.7", 40000), ("192.0.2.7", 53)]:
        server.datagramPeer(source).sendDatagram(b"x")
    server.settle()
    assert server.datagramListener is not None
    assert server.datagramListener.channel.datagramsReceived == 2
    assert server.datagramEndpoint.sent == []
