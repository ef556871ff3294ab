"""The character generator (RFC 864)."""

from __future__ import annotations

import pytest

from myserv.plugin import ProtocolPlugin
from myserv.protocols.chargen.codec import PATTERN, answer, line
from myserv.protocols.chargen.plugin import chargen
from myserv.protocols.chargen.protocol import BLOCK, DatagramChargen
from myserv.server.connection import Connection
from myserv.testing import SOCKET_BUFFER, MemoryServer, hostPlugin


def most(limit: int) -> int:
    """The largest of C{randomBelow}'s numbers."""
    return limit - 1


def connectionOf(server: MemoryServer) -> Connection:
    """The one connection of a server."""
    assert server.streamListener is not None
    [connection] = server.streamListener.connections
    return connection


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, rb""" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg"""),
        (1, rb"""!"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefgh"""),
        (24, rb"""89:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~ """),
        (94, rb"""~ !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdef"""),
        (95, rb""" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg"""),
    ],
)
def test_theLinesOfTheRfc(number: int, text: bytes) -> None:
    """
    The RFC's example, where the ring closes, and where it starts again.
    """
    assert line(number) == text + b"\r\n"


def test_everyLineFollowsTheRule() -> None:
    """
    "On line N, put characters (0+N mod 95) through (71+N mod 95)".
    """
    for number, text in enumerate(PATTERN.split(b"\r\n")[:-1]):
        assert list(text) == [32 + (each + number) % 95 for each in range(72)]


def test_anAnswerIsThePatternFromItsStart() -> None:
    """
    The RFC asks for no continuity between datagrams.
    """
    assert answer(512, lambda limit: 100) == PATTERN[:100]


def test_anAnswerHasFromNoneTo512Characters() -> None:
    """
    The random number is asked for in the RFC's range, its bounds included.
    """
    assert answer(65_507, lambda limit: 0) == b""
    assert len(answer(65_507, most)) == 512


@pytest.mark.parametrize("received", [0, 1, 511, 512, 513])
def test_anAnswerIsNeverLongerThanTheDatagram(received: int) -> None:
    """
    The service amplifies nothing.
    """
    assert len(answer(received, most)) == min(received, 512)


def test_aConnectionGetsTheStreamForAsLongAsItIsRead() -> None:
    """
    One block follows another, and they make one pattern.
    """
    server = hostPlugin(chargen)
    peer = server.connect()
    server.settle()
    stream = peer.take()
    server.settle()
    stream += peer.take()
    assert len(stream) > 100 * len(BLOCK)
    lines = stream.split(b"\r\n")[:-1]
    assert lines == [line(number)[:-2] for number in range(len(lines))]


def test_aPeerThatDoesNotReadCostsOneBlock() -> None:
    """
    The transport asks for the next when the last is on its way.
    """
    server = hostPlugin(chargen)
    peer = server.connect()
    peer.pauseReading()
    assert server.settle()
    assert connectionOf(server).bytesSent <= SOCKET_BUFFER + len(BLOCK)
    peer.resumeReading()
    server.settle()
    assert len(peer.received) > SOCKET_BUFFER + len(BLOCK)


def test_whatThePeerSendsIsThrownAway() -> None:
    """
    It is read all the same, and nothing is sent for it.
    """
    server = hostPlugin(chargen)
    peer = server.connect()
    peer.pauseReading()
    server.settle()
    before = connectionOf(server).bytesSent
    peer.send(b"more!\r\n")
    server.settle()
    assert peer.unread == 0
    assert connectionOf(server).bytesSent == before


@pytest.mark.parametrize("leave", ["close", "abort", "closeWrite"])
def test_theStreamEndsWhenThePeerLeaves(leave: str) -> None:
    """
    Which the RFC calls "until the calling user terminates the connection".
    """
    server = hostPlugin(chargen)
    peer = server.connect()
    server.settle()
    getattr(peer, leave)()
    assert server.settle()
    assert server.streamListener is not None
    assert not server.streamListener.connections


def test_aDrainEndsTheStreamAfterTheBlockUnderWay() -> None:
    """
    At once where the peer reads, without waiting for the deadline.
    """
    server = hostPlugin(chargen)
    peer = server.connect()
    server.settle()
    assert server.streamListener is not None
    stopping = server.streamListener.stop(grace=5.0)
    server.settle()
    assert peer.writeClosed
    peer.close()
    server.settle()
    assert stopping.called
    assert len(peer.received) % len(BLOCK) == 0


def test_aDatagramIsAnsweredByChance() -> None:
    """
    By default the length is random, and within bounds.
    """
    server = hostPlugin(chargen)
    peer = server.datagramPeer()
    for _ in range(200):
        peer.sendDatagram(b"x" * 100)
        server.settle()
    assert len(peer.received) == 200
    assert len(set(peer.received)) > 1
    assert all(PATTERN[:100].startswith(each) for each in peer.received)


def test_aDatagramsAnswerCanBeForetold() -> None:
    """
    With a source of numbers of one's own.
    """
    tamed = ProtocolPlugin("tamed", "", datagram=lambda: DatagramChargen(most))
    server = hostPlugin(tamed)
    peer = server.datagramPeer()
    peer.sendDatagram(b"x" * 10)
    server.settle()
    assert peer.received == [PATTERN[:10]]
