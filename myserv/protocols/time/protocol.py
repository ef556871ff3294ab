"""
Time over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime, ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from myserv.protocols.time.codec import formatTime


class Time(Protocol):
    """
    Tells the time to whoever connects, and closes (RFC 868, "When used via TCP
    the time service works as follows").
    """

    transport: ITransport

    def __init__(self, clock: IReactorTime) -> None:
        """
        Args:
            clock: Knows the time.
        """
        self._clock = clock

    def connectionMade(self) -> None:
        """
        Tell the time.
        """
        self.transport.write(formatTime(self._clock.seconds()))
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Throw it away.
        """


class DatagramTime(DatagramProtocol):
    """
    Tells the time to whoever sends a datagram (RFC 868, "When used via UDP the
    time service works as follows").

    The RFC's client sends an empty one; four bytes are too few to be of use to
    whoever forges a source.
    """

    transport: IUDPTransport

    def __init__(self, clock: IReactorTime) -> None:
        """
        Args:
            clock: Knows the time.
        """
        self._clock = clock

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Tell the time.
        """
        self.transport.write(formatTime(self._clock.seconds()), addr)
