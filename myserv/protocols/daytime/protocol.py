"""
Daytime over connections and over datagrams.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from twisted.internet.interfaces import IReactorTime, ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from myserv.protocols.daytime.codec import formatDaytime


class Daytime(Protocol):
    """
    Tells the time to whoever connects, and closes (RFC 867, "TCP Based Daytime
    Service").
    """

    transport: ITransport

    def __init__(self, clock: IReactorTime, zone: tzinfo) -> None:
        """
        Args:
            clock: Knows the time.
            zone: Where to tell it for.
        """
        self._clock = clock
        self._zone = zone

    def connectionMade(self) -> None:
        """
        Tell the time.
        """
        self.transport.write(formatDaytime(self._clock.seconds(), self._zone))
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Throw it away.
        """


class DatagramDaytime(DatagramProtocol):
    """
    Tells the time to whoever sends a datagram (RFC 867, "UDP Based Daytime
    Service").

    The answer to an empty datagram is larger than it: with their UDP and IPv4
    headers, 28 bytes bring at most 76, which is less than the three times that
    RFC 9000, section 8.1, allows to an address that has not proved itself.
    """

    transport: IUDPTransport

    def __init__(self, clock: IReactorTime, zone: tzinfo) -> None:
        """
        Args:
            clock: Knows the time.
            zone: Where to tell it for.
        """
        self._clock = clock
        self._zone = zone

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Tell the time.
        """
        self.transport.write(formatDaytime(self._clock.seconds(), self._zone), addr)
