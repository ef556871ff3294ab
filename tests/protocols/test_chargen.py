"""The character generator (RFC 864)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from twisted.internet.testing import FakeDatagramTransport

from myserv.protocols.chargen.codec import PATTERN, answer, line
from myserv.protocols.chargen.plugin import chargen
from myserv.protocols.chargen.protocol import DatagramChargen
from tests.protocols.conftest import CLIENT, Ask, Connect


def most(limit: int) -> int:
    """The largest of C{randomBelow}'s numbers."""
    return limit - 1


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


def test_aConnectionGetsTheStreamForAsLongAsItIsRead(connect: Connect) -> None:
    """
    The transport pulls one block after another, and they make one pattern.
    """
    protocol, transport = connect(chargen)
    assert (transport.producer, transport.streaming) == (protocol, False)
    for _ in range(5):
        protocol.resumeProducing()
    stream = transport.value()
    expected = b"".join(map(line, itertools.islice(itertools.count(), 1000)))
    assert len(stream) < len(expected)
    assert expected.startswith(stream)


def test_nothingIsSentUnasked(connect: Connect) -> None:
    """
    A peer that does not read, but writes, is sent nothing for it.
    """
    protocol, transport = connect(chargen)
    protocol.dataReceived(b"more!\r\n")
    assert transport.value() == b""


def test_theStreamEndsWithTheConnection(connect: Connect) -> None:
    """
    The transport stops the producer when the peer is gone.
    """
    _, transport = connect(chargen)
    assert transport.producer is not None
    transport.producer.stopProducing()
    assert transport.value() == b""


def test_aDrainEndsTheStream(connect: Connect) -> None:
    """
    A transport with a producer would never close.
    """
    protocol, transport = connect(chargen)
    protocol.drainRequested(5.0)
    assert transport.producer is None
    assert transport.disconnecting


def test_aDatagramIsAnsweredByChance(ask: Ask) -> None:
    """
    By default the length is random, and within bounds.
    """
    lengths = {len(ask(chargen, b"x" * 100)) for _ in range(200)}
    assert len(lengths) > 1
    assert max(lengths) <= 100


def test_aDatagramsAnswerCanBeForetold() -> None:
    """
    With a source of numbers of one's own.
    """
    protocol: Any = DatagramChargen(most)
    transport = FakeDatagramTransport()
    protocol.makeConnection(transport)
    protocol.datagramReceived(b"x" * 10, CLIENT)
    assert transport.written == [(PATTERN[:10], CLIENT)]
