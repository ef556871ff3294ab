"""The daytime service (RFC 867)."""

from __future__ import annotations

import locale
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest

from myserv.errors import ConfigurationError, Problem
from myserv.protocols.daytime.codec import MONTHS, WEEKDAYS, formatDaytime
from myserv.protocols.daytime.plugin import daytime
from myserv.testing import hostPlugin

PST = timezone(timedelta(hours=-8), "PST")


@pytest.fixture
def otherLocale() -> Iterator[None]:
    """A locale in which days and months have other names, where there is one."""
    before = locale.setlocale(locale.LC_ALL)
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            locale.setlocale(locale.LC_ALL, name)
            break
        except locale.Error:
            continue
    yield
    locale.setlocale(locale.LC_ALL, before)


def test_theExampleOfTheRfc() -> None:
    """
    "Tuesday, February 22, 1982 17:37:43-PST"; that day was a Monday.
    """
    moment = datetime(1982, 2, 22, 17, 37, 43, tzinfo=PST)
    assert formatDaytime(moment.timestamp(), PST) == b"Monday, February 22, 1982 17:37:43-PST\r\n"


@pytest.mark.parametrize(
    ("moment", "line"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), b"Thursday, January 1, 1970 00:00:00-UTC\r\n"),
        (
            datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC),
            b"Thursday, February 29, 2024 23:59:59-UTC\r\n",
        ),
        (
            datetime(2026, 7, 4, 9, 5, tzinfo=ZoneInfo("Europe/Berlin")),
            b"Saturday, July 4, 2026 09:05:00-CEST\r\n",
        ),
        (
            datetime(2026, 12, 31, 9, 5, tzinfo=ZoneInfo("Europe/Berlin")),
            b"Thursday, December 31, 2026 09:05:00-CET\r\n",
        ),
        (
            datetime(2026, 9, 16, 12, tzinfo=ZoneInfo("America/Sao_Paulo")),
            b"Wednesday, September 16, 2026 12:00:00-03\r\n",
        ),
        (
            datetime(2026, 9, 16, 12, tzinfo=ZoneInfo("Asia/Colombo")),
            b"Wednesday, September 16, 2026 12:00:00+0530\r\n",
        ),
    ],
)
def test_aMomentHasOneLine(moment: datetime, line: bytes) -> None:
    """
    Summer time, numeric zones and leap days are written as they are said.
    """
    assert moment.tzinfo is not None
    assert formatDaytime(moment.timestamp(), moment.tzinfo) == line


@pytest.mark.usefixtures("otherLocale")
def test_theNamesAreThoseOfTheRfcInEveryLocale() -> None:
    """
    The operator's language does not change what peers are told.
    """
    start = datetime(2026, 1, 1, tzinfo=UTC)
    days = [start + timedelta(days=each) for each in range(365)]
    words = [formatDaytime(day.timestamp(), UTC).decode().replace(",", "").split() for day in days]
    assert {weekday for weekday, *_ in words} == set(WEEKDAYS)
    assert list(dict.fromkeys(month for _, month, *_ in words)) == list(MONTHS)


def test_everyZoneIsToldInOneShortLineOfAscii() -> None:
    """
    No zone makes an answer that would amplify an empty datagram threefold.
    """
    headers = 28
    for name in available_timezones():
        for moment in (datetime(2026, 9, 30, 12, tzinfo=UTC), datetime(2025, 1, 29, tzinfo=UTC)):
            line = formatDaytime(moment.timestamp(), ZoneInfo(name))
            assert line.endswith(b"\r\n")
            assert line[:-2].decode("ascii").isprintable()
            assert headers + len(line) < 3 * headers, name


def test_aConnectionIsToldTheTimeAndClosed() -> None:
    """
    The server speaks first, and closes.
    """
    server = hostPlugin(daytime)
    server.advance(86_400)
    peer = server.connect()
    server.settle()
    assert peer.received == b"Friday, January 2, 1970 00:00:00-UTC\r\n"
    assert peer.writeClosed


def test_whatAConnectionSendsIsThrownAway() -> None:
    """
    A client that says something first gets the same line.
    """
    server = hostPlugin(daytime)
    peer = server.connect()
    peer.send(b"\r\n")
    server.settle()
    assert peer.received == b"Thursday, January 1, 1970 00:00:00-UTC\r\n"
    assert peer.writeClosed


@pytest.mark.parametrize("datagram", [b"", b"what time is it?"])
def test_aDatagramIsAnsweredWithTheTime(datagram: bytes) -> None:
    """
    Whatever it holds.
    """
    server = hostPlugin(daytime)
    peer = server.datagramPeer()
    peer.sendDatagram(datagram)
    server.settle()
    assert peer.received == [b"Thursday, January 1, 1970 00:00:00-UTC\r\n"]


def test_theOperatorChoosesTheZone() -> None:
    """
    Over connections and datagrams.
    """
    server = hostPlugin(daytime, {"zone": "Asia/Tokyo"})
    connection, sender = server.connect(), server.datagramPeer()
    sender.sendDatagram(b"")
    server.settle()
    line = b"Thursday, January 1, 1970 09:00:00-JST\r\n"
    assert connection.received == line
    assert sender.received == [line]


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ("Europe/Berln", "'Europe/Berln' is not a time zone; did you mean \"Europe/Berlin\"?"),
        ("?", "'?' is not a time zone; write one such as \"Europe/Berlin\""),
        ("", "'' is not a time zone; write one such as \"Europe/Berlin\""),
        ("/etc/passwd", "'/etc/passwd' is not a time zone; write one such as \"Europe/Berlin\""),
    ],
)
def test_anUnknownZoneIsAProblemAtStartUp(zone: str, problem: str) -> None:
    """
    The operator is told the key, and the nearest name.
    """
    with pytest.raises(ConfigurationError) as caught:
        hostPlugin(daytime, {"zone": zone})
    assert caught.value.problems == (Problem(problem, ("zone",)),)
