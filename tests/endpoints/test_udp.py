"""C{udp:} and C{udp6:}."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.protocol import DatagramProtocol

from myserv.endpoints.parse import parseEndpoint
from myserv.errors import EndpointError

DATAGRAM = 65507
"""The most that fits in UDP over IPv4."""


@define
class UDPReactor:
    """Remembers what it was asked for."""

    asked: list[Any] = field(factory=list)

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> str:
        """As C{IReactorUDP.listenUDP}."""
        self.asked.append((port, protocol, interface))
        assert maxPacketSize >= DATAGRAM
        return "a port"


@pytest.mark.parametrize(
    ("text", "port", "interface"),
    [
        ("udp:53", 53, ""),
        ("udp:53:127.0.0.1", 53, "127.0.0.1"),
        ("udp:[::1]:53", 53, "::1"),
        ("udp6:53", 53, "::"),
        ("udp6:53:[::1]", 53, "::1"),
    ],
)
def test_listening(text: str, port: int, interface: str) -> None:
    """The reactor gets the address without brackets, and reads datagrams of any size."""
    reactor = UDPReactor()
    protocol = DatagramProtocol()
    opened = parseEndpoint(text).openDatagram(reactor).listen(protocol)
    assert opened.result == "a port"
    assert reactor.asked == [(port, protocol, interface)]


@pytest.mark.parametrize("text", ["udp:53:amplification=0.0", "udp6:53:amplification=1.5"])
def test_amplification(text: str) -> None:
    """An operator may set the limit, or do without."""
    assert str(parseEndpoint(text)) == text


def test_amplificationBelowNothing() -> None:
    """A negative limit is none."""
    with pytest.raises(EndpointError, match=r"amplification: .*the least is 0"):
        parseEndpoint("udp:53:amplification=-1")
