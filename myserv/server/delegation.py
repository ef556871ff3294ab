"""
Connections that can do whatever their transports can.

As in L{myserv.endpoints.delegation}: the class of a listener's connections is made when
the first of them has its transport, and until then they have a C{__getattr__}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import classImplements, providedBy

from myserv.endpoints.delegation import delegates
from myserv.server.connection import Connection
from myserv.server.provided import beyond, hearsNothing


class GenericConnection(Connection):
    """
    A connection over a transport of any kind.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        # Not for what is looked up before there is one.
        if name == "_transport":
            raise AttributeError(name)
        return getattr(self._transport, name)


def _startTLS(self: Connection, *arguments: Any, **named: Any) -> Any:
    # From here on the transport can do what it could not.
    self.__class__ = GenericConnection
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
    members["kind"] = (type(transport), providedBy(transport), providedBy(protocol))
    members["_halfCloses"] = IHalfCloseableProtocol.providedBy(protocol)
    members["_hearsNothing"] = hearsNothing(protocol, transport)
    made: type[Connection] = type(Connection.__name__, (Connection,), members)
    classImplements(made, *beyond(protocol, transport))  # type: ignore[misc]  # for mypy-zope it is no class
    return made
