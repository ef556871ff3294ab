"""
The gate of one endpoint: where an arrival is let in, or not.

It stands as near the wire as the peer's true address is known: in front of every
layer, or behind C{proxy}.  Nothing of an arrival has cost anything before it, and
it is not in the way afterwards: bytes do not pass here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
)
from zope.interface import implementer

from myserv.admission.arrival import Arrival
from myserv.admission.service import Admission
from myserv.endpoints.outer import OuterFactory
from myserv.events import AcceptFailed, ConnectionRefused, Peer
from myserv.interfaces import IPeerCredentials
from myserv.server.connection import Connection
from myserv.server.refused import REFUSED

if TYPE_CHECKING:
    from myserv.server.listener import Listener


class GateFactory(OuterFactory):
    """
    Asks for admission, and then for a protocol.

    @ivar wrappedFactory: The factory nearer the protocol.
    """

    def __init__(self, listener: Listener, admission: Admission, factory: IProtocolFactory) -> None:
        """
        Args:
            listener: Whose gate it is.
            admission: Decides.
            factory: Builds for those that are let in.
        """
        super().__init__(listener.service, factory)
        self._listener = listener
        self._admission = admission
        self.wrappedFactory = factory

    def acceptFailed(self, error: OSError, wait: float) -> None:
        """
        The system would not let an arrival in.

        Args:
            error: Why.
            wait: Seconds until the port tries again.
        """
        listener = self._listener
        reason = error.strerror or str(error)
        listener.emit(AcceptFailed(listener.service, listener.endpoint, reason, wait))

    def buildProtocol(self, addr: Any) -> Any:
        """
        Let an arrival in, or turn it away.
        """
        if self._admission.needsCredentials:
            return IdentityCheck(self, addr)
        return self.admit(addr, None)

    def admit(self, addr: Any, credentials: Any) -> Any:
        """
        The same, once it is known who arrives.
        """
        admission = self._admission
        arrival = admission.admit(addr, self._listener.endpoint, credentials)
        if isinstance(arrival, str):
            self.refuse(addr, arrival, identityOf(credentials))
            return REFUSED
        protocol = None
        try:
            protocol = self.wrappedFactory.buildProtocol(addr)
        finally:
            if protocol is None or protocol is REFUSED:
                admission.release(arrival)
        if protocol is None:
            # The server's own factory never says so; a layer from elsewhere may.
            self.refuse(addr, "a layer of the endpoint declined it")
            return REFUSED
        if isinstance(protocol, Connection):
            protocol.arrival = arrival
        elif protocol is not REFUSED:
            made: Any = protocol
            made.connectionLost = Departure(admission, arrival, made.connectionLost)
        return protocol

    def refuse(self, addr: Peer, reason: str, identity: str = "") -> None:
        """
        Make it known that an arrival was turned away.
        """
        self._listener.emit(ConnectionRefused(self._listener.service, addr, reason, identity))


def identityOf(credentials: IPeerCredentials | None) -> str:
    """
    Say who is at the other end of a UNIX socket; empty where that is not known.

    They stay numbers: to look a name up may ask a directory on another machine.
    """
    if credentials is None:
        return ""
    return f"uid {credentials.uid}, gid {credentials.gid}, pid {credentials.pid}"


class Departure:
    """
    What is called instead of the C{connectionLost} of a layer that was let in.

    In its place, so that whatever the connection's end looks like it is seen, and
    no byte has to pass through one more object.
    """

    __slots__ = ("_admission", "_arrival", "_connectionLost")

    def __init__(
        self, admission: Admission, arrival: Arrival, connectionLost: Callable[..., object]
    ) -> None:
        self._admission = admission
        self._arrival: Arrival | None = arrival
        self._connectionLost: Callable[..., object] | None = connectionLost

    def __call__(self, *arguments: Any) -> None:
        """
        The connection is over.
        """
        arrival, lost = self._arrival, self._connectionLost
        # The method refers to the protocol, and the protocol to this.
        self._arrival = self._connectionLost = None
        if arrival is None or lost is None:
            return
        try:
            lost(*arguments)
        finally:
            self._admission.release(arrival)


@implementer(IProtocol, IHalfCloseableProtocol, IFileDescriptorReceiver)
class IdentityCheck:
    """
    Stands in for an arrival's protocol until its socket can say whose it is.

    The protocol may be one that takes descriptors, so it needs a transport that can.
    """

    def __init__(self, gate: GateFactory, address: Any) -> None:
        self._gate = gate
        self._address = address

    def makeConnection(self, transport: Any) -> None:
        """
        There is a socket: ask for admission, and make room for the protocol.
        """
        credentials = getattr(transport, "peerCredentials", None)
        protocol = self._gate.admit(self._address, credentials)
        transport.protocol = protocol
        protocol.makeConnection(transport)

    def connectionMade(self) -> None:
        """
        Never called: there is another protocol by then.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Never called, see L{connectionMade}.
        """

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """
        Never called, see L{connectionMade}.
        """

    def connectionLost(self, reason: object = None) -> None:
        """
        Never called, see L{connectionMade}.
        """

    def readConnectionLost(self) -> None:
        """
        Never called, see L{connectionMade}.
        """

    def writeConnectionLost(self) -> None:
        """
        Never called, see L{connectionMade}.
        """
