"""
Connections that can do whatever their transports can.

As in L{myserv.endpoints.delegation}: a class is made when the first connection of its
kind has its transport, and until then they have a C{__getattr__}.  What a protocol
provides is part of it, because a transport asks the connection for that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IFileDescriptorReceiver, IProtocol
from zope.interface import alsoProvides, classImplements, providedBy

from myserv.endpoints.delegation import delegates
from myserv.server.connection import Connection
from myserv.server.provided import beyond, hearsNothing

if TYPE_CHECKING:
    from myserv.events import Peer
    from myserv.server.stream import StreamListener


class GenericConnection(Connection):
    """
    A connection over a transport of any kind.
    """

    __slots__ = ()

    def __init__(
        self, listener: StreamListener, protocol: IProtocol, number: int, peer: Peer = None
    ) -> None:
        """
        See L{Connection}.
        """
        super().__init__(listener, protocol, number, peer)
        if IFileDescriptorReceiver.providedBy(protocol):
            # A port looks before it makes the transport, which may depend on it.
            alsoProvides(self, IFileDescriptorReceiver)

    def __getattr__(self, name: str) -> Any:
        # Not for what is looked up before there is one.
        if name == "_transport":
            raise AttributeError(name)
        found = getattr(self._transport, name)
        return partial(_startTLS, self) if name == "startTLS" else found


def _startTLS(self: Connection, *arguments: Any, **named: Any) -> Any:
    # From here on the transport can do what it could not.
    self.__class__ = GenericConnection
    self.declare()
    try:
        return self.transport.startTLS(*arguments, **named)
    finally:
        self.declare()


def connectionLike(transport: Any, protocol: Any) -> type[Connection]:
    """
    Make the class of the connections between transports and protocols of one kind.

    Args:
        transport: One of them, connected, on its own layers.
        protocol: One of them.
    """
    members = delegates(Connection, transport)
    if "startTLS" in members:
        members["startTLS"] = _startTLS
    members["__slots__"] = ()
    members["madeFor"] = (type(transport), providedBy(transport))
    members["_hearsNothing"] = hearsNothing(protocol, transport)
    made: type[Connection] = type(Connection.__name__, (Connection,), members)
    classImplements(made, *beyond(protocol, transport))  # type: ignore[misc]  # for mypy-zope it is no class
    return made
