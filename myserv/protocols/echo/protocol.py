"""
Echo over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol


class Echo(Protocol):
    """
    Sends back every byte of a connection (RFC 862, "TCP Based Echo Service").

    A peer that does not read its echo is not read from either: the server sees
    to that for every protocol.
    """

    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


class DatagramEcho(DatagramProtocol):
    """
    Sends back every datagram (RFC 862, "UDP Based Echo Service").
    """

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send it back.
        """
        self.transport.write(datagram, addr)
