"""
Chargen over connections and over datagrams.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from myserv.interfaces import IDrainable
from myserv.protocols.chargen.codec import PATTERN, answer

BLOCK: Final = PATTERN * 2
"""What is written at a time: 14,060 bytes, which fit one TLS record of 16 KiB."""


@implementer(IPullProducer, IHalfCloseableProtocol, IDrainable)
class Chargen(Protocol):
    """
    Sends the pattern for as long as the peer reads it (RFC 864, "TCP Based
    Character Generator Service").

    The transport asks for the next block when the last one is on its way, so a
    peer that stops reading costs one block of memory.
    """

    transport: Any  # an ITransport that is an IConsumer

    def connectionMade(self) -> None:
        """
        Start the stream.
        """
        self.transport.registerProducer(self, False)

    def dataReceived(self, data: bytes) -> None:
        """
        Throw it away.
        """

    def resumeProducing(self) -> None:
        """
        The transport can take more.
        """
        self.transport.write(BLOCK)

    def stopProducing(self) -> None:
        """
        The transport is gone, and will not ask again.
        """

    def readConnectionLost(self) -> None:
        """
        The peer takes its leave: finish the block under way, and close.
        """
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Never happens: nothing here closes one half.
        """

    def drainRequested(self, deadline: float) -> None:
        """
        Finish the block under way, and close.
        """
        self.readConnectionLost()


class DatagramChargen(DatagramProtocol):
    """
    Answers every datagram with a piece of the pattern (RFC 864, "UDP Based
    Character Generator Service").
    """

    transport: IUDPTransport

    def __init__(self, randomBelow: Callable[[int], int] = secrets.randbelow) -> None:
        """
        Args:
            randomBelow: See L{answer}.
        """
        self._randomBelow = randomBelow

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Answer it.
        """
        self.transport.write(answer(len(datagram), self._randomBelow), addr)
