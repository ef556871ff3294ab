"""How addresses are written for people."""

from __future__ import annotations

import pytest
from twisted.internet._posixstdio import PipeAddress
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress

from myserv.events import Peer
from myserv.observe.addresses import formatAddress


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 7), "127.0.0.1:7"),
        (IPv4Address("UDP", "127.0.0.1", 7), "127.0.0.1:7"),
        (IPv6Address("TCP", "::1", 7), "[::1]:7"),
        (("127.0.0.1", 7), "127.0.0.1:7"),
        (("fe80::1%eth0", 7), "[fe80::1%eth0]:7"),
        (UNIXAddress(b"/run/echo.sock"), "/run/echo.sock"),
        (UNIXAddress(None), "an unnamed peer"),
        (UNIXAddress(b""), "an unnamed peer"),
        ("/run/echo.sock", "/run/echo.sock"),
        (b"/run/echo.sock", "/run/echo.sock"),
        (b"/run/\xff.sock", "/run/\N{REPLACEMENT CHARACTER}.sock"),
        ("/run/é.sock", "/run/é.sock"),
        (PipeAddress(), "standard input"),
        (None, "an unnamed peer"),
        ("", "an unnamed peer"),
        (b"", "an unnamed peer"),
    ],
)
def test_address(address: Peer, text: str) -> None:
    """Each kind of address is written as people write it."""
    assert formatAddress(address) == text


def test_otherAddress() -> None:
    """An address of a kind that we do not know says what it is itself."""
    assert formatAddress(HostnameAddress(b"host", 7)) == str(HostnameAddress(b"host", 7))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"\0echo", "@echo"),
        (b"\0a\0b", "@a\\x00b"),
        (b"/tmp/a\n2026-11-20 all is well", "/tmp/a\\n2026-11-20 all is well"),
        ("/tmp/\x1b[2J", "/tmp/\\x1b[2J"),
        ("/tmp/\N{RIGHT-TO-LEFT OVERRIDE}x", "/tmp/\\u202ex"),
    ],
)
def test_nameThatAPeerChose(name: Peer, text: str) -> None:
    """A peer's name for its socket can neither end a line nor move a terminal's cursor."""
    assert formatAddress(name) == text
