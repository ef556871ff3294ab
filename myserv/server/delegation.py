"""
Connections that can do whatever their transports can.

A C{__getattr__} would do, and does where nothing is known yet: but a class that has one
pays for it at every look-up of any attribute, a third of a microsecond for each message.
So the class of a listener's connections is made when the first of them has its
transport, and passes on, name by name, what that transport has.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import classImplements, providedBy

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


class _OfTransport:
    """
    Passes the look-up of one attribute on.  It may be set on the connection itself.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, connection: Connection | None, owner: type[Connection]) -> Any:
        return self if connection is None else getattr(connection.transport, self._name)


def _startTLS(self: Connection, *arguments: Any, **named: Any) -> Any:
    # From here on the transport can do what it could not.
    self.__class__ = GenericConnection
    return self.transport.startTLS(*arguments, **named)


def connectionLike(transport: Any, protocol: Any) -> type[Connection]:
    """
    Make the class of the connections between transports and protocols of one kind.

    Args:
        transport: One of them, connected, on its own layers.
        protocol: One of them.
    """
    names: set[str] = set()
    lower = transport
    # A layer has what is beneath it by a __getattr__ of its own.
    while lower is not None:
        names.update(dir(lower))
        lower = getattr(lower, "__dict__", {}).get("transport")
    members: dict[str, Any] = {
        name: _OfTransport(name)
        for name in names
        if not name.startswith("_") and not hasattr(Connection, name)
    }
    if "startTLS" in members:
        members["startTLS"] = _startTLS
    members["__slots__"] = ()
    members["kind"] = (type(transport), providedBy(transport), providedBy(protocol))
    members["_halfCloses"] = IHalfCloseableProtocol.providedBy(protocol)
    members["_hearsNothing"] = hearsNothing(protocol, transport)
    made: type[Connection] = type(Connection.__name__, (Connection,), members)
    classImplements(made, *beyond(protocol, transport))  # type: ignore[misc]  # for mypy-zope it is no class
    return made
