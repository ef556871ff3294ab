"""Telling a datagram of our own sockets from others."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from myserv.server import reflection
from myserv.server.reflection import (
    LOOPING_PORTS,
    REFLECTOR_PORTS,
    UNANSWERED_PORTS,
    OwnSockets,
)

LOOPBACK = IPv4Address("UDP", "127.0.0.1", 5000)


def test_ports() -> None:
    """Whoever answers anything is kept from every privileged port and reflector."""
    assert LOOPING_PORTS < UNANSWERED_PORTS
    assert set(range(1024)) <= UNANSWERED_PORTS
    assert min(REFLECTOR_PORTS) >= 1024


def test_ownSocket() -> None:
    """A datagram comes from us if port and host are ours."""
    own = OwnSockets()
    assert not own.sent(("127.0.0.1", 5000))
    own.add(LOOPBACK)
    assert own.sent(("127.0.0.1", 5000))
    assert not own.sent(("127.0.0.1", 5001))
    assert not own.sent(("203.0.113.1", 5000))


def test_ipv6() -> None:
    """An IPv6 source is looked up as one."""
    own = OwnSockets()
    own.add(IPv6Address("UDP", "::1", 5000))
    assert own.sent(("::1", 5000))
    assert not own.sent(("2001:db8::1", 5000))


def test_removed() -> None:
    """A port is ours until its last socket is closed."""
    own = OwnSockets()
    own.add(LOOPBACK)
    own.add(IPv6Address("UDP", "::1", 5000))
    own.remove(LOOPBACK)
    assert own.sent(("127.0.0.1", 5000))
    own.remove(LOOPBACK)
    assert not own.ports
    assert not own.sent(("127.0.0.1", 5000))


def test_withoutPort() -> None:
    """A socket without a port is no matter."""
    own = OwnSockets()
    for address in (None, UNIXAddress("/run/socket")):
        own.add(address)
        own.remove(address)
    assert not own.ports


def test_floodOfHosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of hosts is bounded."""
    monkeypatch.setattr(reflection, "_REMEMBERED_HOSTS", 3)
    own = OwnSockets()
    own.add(LOOPBACK)
    for last in range(1, 10):
        assert not own.sent((f"203.0.113.{last}", 5000))
        assert own.sent(("127.0.0.1", 5000))
        assert len(own._local) <= 3
