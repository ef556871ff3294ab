"""
Discard over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol, Protocol


class Discard(Protocol):
    """
    Reads a connection until the peer closes it, and never answers (RFC 863,
    "TCP Based Discard Service").
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Throw it away.
        """


class DatagramDiscard(DatagramProtocol):
    """
    Reads datagrams, and never answers (RFC 863, "UDP Based Discard Service").
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Throw it away.
        """
