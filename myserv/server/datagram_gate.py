"""
The gate of a datagram endpoint with layers: what admission lets through to them.

A layer may do a good deal of work before the service's own part sees a datagram, so
there the rules stand nearest the wire.  Without layers there is no such object: the
L{myserv.server.channel.DatagramChannel} sees to it by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.interfaces import IDrainable
from myserv.server.sources import SourceRules


@implementer(IDrainable)
class DatagramGate(DatagramProtocol):
    """
    Hands a layer what is let in.

    What is written does not pass here: the layer has the port for its transport.

    @ivar wrappedProtocol: The layer.
    """

    noisy = False

    def __init__(
        self,
        protocol: DatagramProtocol,
        service: str,
        rules: SourceRules,
        readingFellBehind: Callable[[], None],
    ) -> None:
        """
        Args:
            protocol: The layer.
            service: The service's name.
            rules: Say what is let in.
            readingFellBehind: Called when the port cannot keep up.
        """
        self.wrappedProtocol = protocol
        self._service = service
        self._rules = rules
        self.readingFellBehind = readingFellBehind

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.
        """
        return self._service

    def makeConnection(self, transport: Any) -> None:
        """
        The port is open.
        """
        super().makeConnection(transport)
        self.wrappedProtocol.makeConnection(transport)

    def doStop(self) -> None:
        """
        The port is closed.
        """
        super().doStop()
        self.wrappedProtocol.doStop()

    def connectionRefused(self) -> None:
        """
        The peer of a connected port has no socket.
        """
        self.wrappedProtocol.connectionRefused()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        A datagram came in: hand it on if it is let in.
        """
        if self._rules.takes(addr, len(datagram)):
            self.wrappedProtocol.datagramReceived(datagram, addr)

    def drainRequested(self, deadline: float) -> None:
        """
        The port is about to be closed.
        """
        if IDrainable.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.drainRequested(deadline)
