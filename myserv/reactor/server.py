"""
The connections that a port accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IFileDescriptorReceiver, IUNIXTransport
from zope.interface import implementer

from myserv.reactor.credentials import Credentialed
from myserv.reactor.descriptors import DescriptorQueue
from myserv.reactor.sockets import Descriptor
from myserv.reactor.stream import Stream


class ServerStream(Stream):
    """
    A connection to one of our ports.

    @ivar server: The port, C{None} for an adopted socket.
    @ivar sessionno: Counts the port's connections.
    """

    __slots__ = ("_peer", "server", "sessionno")

    def __init__(
        self,
        descriptor: Descriptor,
        protocol: Any,
        peer: Any,
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        """
        Args:
            descriptor: The socket's.
            protocol: What reads it.
            peer: The other end, see the subclasses.
            server: The port, if one accepted it.
            sessionno: Counts the port's connections.
            reactor: See L{myserv.reactor.outflow.Outflow}.
        """
        Stream.__init__(self, descriptor, protocol, reactor)
        self._peer = peer
        self.server = server
        self.sessionno = sessionno

    def __repr__(self) -> str:
        return f"<{self.protocolType.__name__} #{self.sessionno} on {self._on}>"

    @property
    def logstr(self) -> str:
        """
        What log lines call it.
        """
        return f"{self._protocolName()},{self.sessionno},{self.hostname}"

    @property
    def hostname(self) -> Any:
        """The peer's host."""
        return self._peer.host

    @property
    def _on(self) -> Any:
        if self.server is None:
            return self.getHost().port if self.connected else "a closed socket"
        return self.server._realPortNumber


class TCPServerStream(ServerStream):
    """
    A TCP connection to one of our ports; its peer is Twisted's address.
    """

    __slots__ = ()

    @property
    def client(self) -> tuple[Any, ...]:
        """The peer's address, as the kernel has it."""
        peer = self._peer
        if isinstance(peer, IPv4Address):
            return peer.host, peer.port
        return peer.host, peer.port, peer.flowInfo, peer.scopeID

    def getPeer(self) -> IPv4Address | IPv6Address:
        """
        The client's address, after the end, too.
        """
        peer: IPv4Address | IPv6Address = self._peer
        return peer


@implementer(IUNIXTransport)
class UNIXServerStream(Credentialed, DescriptorQueue, ServerStream):
    """
    A connection to one of our UNIX sockets; its peer is the path that the kernel gave.
    """

    @property
    def client(self) -> Any:
        """The path that the peer has bound, empty if it has none."""
        return self._peer

    @property
    def hostname(self) -> Any:
        """The path that the peer has bound, which most have not."""
        # As Twisted's, of an adopted socket it is our end's.
        return self._on if self.server is None else self._peer

    @property
    def _on(self) -> Any:
        if self.server is None:
            return self.socket.getsockname() if self.connected else "a closed socket"
        return self.server.port

    def getHost(self) -> UNIXAddress:
        """
        The path at our end.
        """
        return UNIXAddress(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress:
        """
        The path at the other end.
        """
        return UNIXAddress(self._peer or None)

    def getTcpNoDelay(self) -> bool:
        """
        Not said of UNIX sockets.
        """
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing: what knows TCP only may ask for it all the same.
        """


class _Receiving(Credentialed, unix.Server):
    """
    Twisted's own, for those who take descriptors.
    """


def unixServerStream(
    descriptor: Descriptor,
    protocol: Any,
    peer: Any,
    server: Any,
    sessionno: int,
    reactor: Any,
    open_: Callable[[UNIXServerStream], None],
) -> Any:
    """
    Make a connection of an accepted UNIX socket, which C{open_} opens.

    A protocol that takes descriptors gets Twisted's own transport, because uvloop's
    read bytes only.

    Returns:
        Its transport.
    """
    if not IFileDescriptorReceiver.providedBy(protocol):
        stream = UNIXServerStream(descriptor, protocol, peer, server, sessionno, reactor)
        open_(stream)
        return stream
    stock: Any = _Receiving(descriptor.socket, protocol, peer, server, sessionno, reactor)
    if server is None:
        stock.repstr = f"<{type(protocol).__name__} #{sessionno}>"
    accepted: Any = protocol
    accepted.makeConnection(stock)
    return stock
