"""Every built-in passes the checks that the kit offers to every plugin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from myserv.protocols.chargen.codec import PATTERN
from myserv.protocols.chargen.plugin import chargen
from myserv.protocols.daytime.plugin import daytime
from myserv.protocols.discard.plugin import discard
from myserv.protocols.echo.plugin import echo
from myserv.protocols.qotd.plugin import qotd
from myserv.protocols.time.plugin import time
from myserv.testing import Exchange, checkDatagramPlugin, checkStreamPlugin

DAYTIME = re.compile(rb"[A-Z][a-z]+day, [A-Z][a-z]+ [0-9]+, [0-9]{4} [0-9:]{8}-UTC\r\n")
TIME = re.compile(rb".{4}", re.DOTALL)
PROVERB = re.compile(rb"([ -~]+\r\n)+")


def startOfThePattern(received: bytes) -> bool:
    """What a datagram to chargen is answered with."""
    return PATTERN.startswith(received)


def check(plugin: Any, *, stream: Sequence[Exchange], datagram: Sequence[Exchange]) -> None:
    """Check both kinds of a plugin."""
    checkStreamPlugin(plugin, stream)
    checkDatagramPlugin(plugin, datagram)


def test_echo() -> None:
    """
    Over both; what was sent twice comes back twice.
    """
    conversation = [Exchange(b"hello", b"hello"), Exchange(b"\0\xff\r\n", b"\0\xff\r\n")]
    check(echo, stream=conversation, datagram=conversation)


def test_discard() -> None:
    """
    Over both; nothing comes back.
    """
    conversation = [Exchange(b"hello"), Exchange(b"hello?")]
    check(discard, stream=conversation, datagram=conversation)


def test_chargen() -> None:
    """
    Over connections unasked and without end, over datagrams by chance.
    """
    check(
        chargen,
        stream=[Exchange(expects=PATTERN, endless=True)],
        datagram=[Exchange(b"hello", startOfThePattern)],
    )


def test_qotd() -> None:
    """
    Over connections unasked, over datagrams no more than what asked.
    """
    check(
        qotd,
        stream=[Exchange(expects=PROVERB, closes=True)],
        datagram=[Exchange(b"x" * 512, PROVERB)],
    )


def test_daytime() -> None:
    """
    Over connections unasked, over datagrams whatever asks.
    """
    check(
        daytime,
        stream=[Exchange(expects=DAYTIME, closes=True)],
        datagram=[Exchange(b"", DAYTIME), Exchange(b"hello", DAYTIME)],
    )


def test_time() -> None:
    """
    Over connections unasked, over datagrams whatever asks.
    """
    check(
        time,
        stream=[Exchange(expects=TIME, closes=True)],
        datagram=[Exchange(b"", TIME), Exchange(b"hello", TIME)],
    )
