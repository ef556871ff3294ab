"""A reactor in memory on which endpoint strings can be opened."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import DatagramProtocol

from myserv.testing import MemoryDatagramEndpoint, MemoryEndpoint, MemoryPeer, SteppedReactor


class Network(SteppedReactor):
    """
    A reactor whose ports are in memory.

    @ivar tcp: What there is at each TCP port.
    @ivar udp: What there is at each UDP port.
    @ivar taken: Ports that others have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tcp: dict[int, MemoryEndpoint] = {}
        self.udp: dict[int, MemoryDatagramEndpoint] = {}
        self.taken: set[int] = set()

    def atTCP(self, port: int) -> MemoryEndpoint:
        """The endpoint of a port, open or not."""
        address = IPv4Address("TCP", "127.0.0.1", port)
        return self.tcp.setdefault(port, MemoryEndpoint(self, address))

    def atUDP(self, port: int) -> MemoryDatagramEndpoint:
        """The same for datagrams."""
        return self.udp.setdefault(port, MemoryDatagramEndpoint(self, ("127.0.0.1", port)))

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int, interface: str
    ) -> IListeningPort:
        """Open a port."""
        self._checkTaken(port)
        return opened(self.atTCP(port or 40000 + len(self.tcp)).listen(factory))

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str, maxPacketSize: int
    ) -> IListeningPort:
        """Open one for datagrams."""
        self._checkTaken(port)
        return opened(self.atUDP(port).listen(protocol))

    def _checkTaken(self, port: int) -> None:
        if port in self.taken:
            raise CannotListenError("127.0.0.1", port, OSError(errno.EADDRINUSE, "in use"))

    def open(self) -> list[str]:
        """The ports that are open."""
        return [
            *(f"tcp:{number}" for number, each in sorted(self.tcp.items()) if each.port),
            *(f"udp:{number}" for number, each in sorted(self.udp.items()) if each.socket),
        ]

    def connect(self, port: int) -> MemoryPeer:
        """Connect a client."""
        return self.tcp[port].connect()


def opened(listening: Deferred[IListeningPort]) -> IListeningPort:
    """What a Deferred has fired with already."""
    outcome: list[Any] = []
    listening.addBoth(outcome.append)
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    port: IListeningPort = outcome[0]
    return port
