"""
Discard over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from myserv.interfaces import IDrainable


@implementer(IDrainable)
class Discard(Protocol):
    """
    Reads a connection until the peer closes it, and never answers (RFC 863,
    "TCP Based Discard Service").
    """

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """
        Throw it away.
        """

    def drainRequested(self, deadline: float) -> None:
        """
        Close: nobody waits for an answer, which a server could not know.
        """
        self.transport.loseConnection()


class DatagramDiscard(DatagramProtocol):
    """
    Reads datagrams, and never answers (RFC 863, "UDP Based Discard Service").
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Throw it away.
        """
