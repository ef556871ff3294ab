"""
Quotes over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from myserv.protocols.qotd.codec import Quotes


class Qotd(Protocol):
    """
    Sends a quote to whoever connects, and closes (RFC 865, "TCP Based Quote of
    the Day Service").
    """

    transport: ITransport

    def __init__(self, quotes: Quotes) -> None:
        """
        Args:
            quotes: To choose from.
        """
        self._quotes = quotes

    def connectionMade(self) -> None:
        """
        Send a quote.
        """
        self.transport.write(self._quotes.choose())
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Throw it away.
        """


class DatagramQotd(DatagramProtocol):
    """
    Sends a quote to whoever sends a datagram (RFC 865, "UDP Based Quote of the
    Day Service"), never longer than that datagram.
    """

    transport: IUDPTransport

    def __init__(self, quotes: Quotes) -> None:
        """
        Args:
            quotes: To choose from.
        """
        self._quotes = quotes

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send a quote.
        """
        self.transport.write(self._quotes.chooseWithin(len(datagram)), addr)
