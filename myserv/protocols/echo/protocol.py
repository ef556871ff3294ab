"""
Echo over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from myserv.interfaces import IDrainable


@implementer(IHalfCloseableProtocol, IDrainable)
class Echo(Protocol):
    """
    Sends back every byte of a connection (RFC 862, "TCP Based Echo Service").

    A peer that does not read its echo is not read from either: what waits for
    it here stays bounded, and its own C{send} comes to block.
    """

    transport: Any  # an ITransport that is an IConsumer and an IPushProducer

    def connectionMade(self) -> None:
        """
        Tie reading to writing: the transport pauses itself while it is full.
        """
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        """
        The peer has said everything: send what is left of its echo, and close.
        """
        # A transport with a producer waits for more to write, and never closes.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Never happens: nothing here closes one half.
        """

    def drainRequested(self, deadline: float) -> None:
        """
        Send what is left of the echo, and close.
        """
        self.transport.unregisterProducer()
        # If it was paused: TLS has to hear the peer's goodbye to end.
        self.transport.resumeProducing()
        self.transport.loseConnection()


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
