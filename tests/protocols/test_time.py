"""The time service (RFC 868)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from myserv.protocols.time.codec import formatTime
from myserv.protocols.time.plugin import time
from myserv.testing import hostPlugin


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (2_208_988_800, datetime(1970, 1, 1, tzinfo=UTC)),
        (2_398_291_200, datetime(1976, 1, 1, tzinfo=UTC)),
        (2_524_521_600, datetime(1980, 1, 1, tzinfo=UTC)),
        (2_629_584_000, datetime(1983, 5, 1, tzinfo=UTC)),
        (-1_297_728_000, datetime(1858, 11, 17, tzinfo=UTC)),
    ],
)
def test_theExamplesOfTheRfc(number: int, moment: datetime) -> None:
    """
    Each of the RFC's examples has its number, the negative one modulo 2**32.
    """
    assert formatTime(moment.timestamp()) == struct.pack(">I", number % 2**32)


def test_theTimeOneIsOneSecondIntoTheCentury() -> None:
    """
    "The time 1 is 12:00:01 am on 1 January 1900 GMT".
    """
    assert formatTime(datetime(1900, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()) == b"\0\0\0\1"


def test_itStartsAgainIn2036() -> None:
    """
    The largest number is followed by 0.
    """
    last = datetime(2036, 2, 7, 6, 28, 15, tzinfo=UTC).timestamp()
    assert formatTime(last) == b"\xff\xff\xff\xff"
    assert formatTime(last + 1) == b"\0\0\0\0"


@pytest.mark.parametrize("seconds", [7.0, 7.2, 7.999999])
def test_aSecondLastsUntilTheNext(seconds: float) -> None:
    """
    Fractions of a second are cut off, before 1970 too.
    """
    assert formatTime(seconds) == formatTime(7)
    assert formatTime(seconds - 10) == formatTime(-3)


def test_aConnectionIsToldTheTimeAndClosed() -> None:
    """
    The server speaks first, and closes.
    """
    server = hostPlugin(time)
    server.advance(189_302_400)
    peer = server.connect()
    server.settle()
    assert peer.received == struct.pack(">I", 2_398_291_200)
    assert peer.writeClosed


def test_aConnectionIsToldTheTimeOfItsOwnMoment() -> None:
    """
    The time is read for each connection, not for each service.
    """
    server = hostPlugin(time)
    first = server.connect()
    server.advance(1)
    second = server.connect()
    server.settle()
    assert first.received == struct.pack(">I", 2_208_988_800)
    assert second.received == struct.pack(">I", 2_208_988_801)


def test_whatAConnectionSendsIsThrownAway() -> None:
    """
    A client that says something first gets the same four bytes.
    """
    server = hostPlugin(time)
    peer = server.connect()
    peer.send(b"what time is it?\r\n")
    server.settle()
    assert peer.received == struct.pack(">I", 2_208_988_800)
    assert peer.writeClosed


@pytest.mark.parametrize("datagram", [b"", b"what time is it?"])
def test_aDatagramIsAnsweredWithTheTime(datagram: bytes) -> None:
    """
    The RFC's client sends an empty datagram; any other is answered alike.
    """
    server = hostPlugin(time)
    server.advance(315_532_800)
    peer = server.datagramPeer()
    peer.sendDatagram(datagram)
    server.settle()
    assert peer.received == [struct.pack(">I", 2_524_521_600)]
