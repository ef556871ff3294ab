"""
Connections that can do whatever their transports can.

A C{__getattr__} would do, and does where nothing is known yet: but a class that has one
pays for it at every look-up of any attribute, a third of a microsecond for each message.
So the class of a listener's connections is made when the first of them has its
transport, and passes on, name by name, what that transport has.
"""

from __future__ import annotations

from typing import Any

from myserv.server.connection import Connection


class GenericConnection(Connection):
    """
    A connection over a transport of any kind.
    """

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


def connectionLike(transport: Any) -> type[Connection]:
    """
    Make the class of the connections over transports of one kind.

    Args:
        transport: One of them, connected, on its own layers.
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
    members["kind"] = type(transport)
    return type(Connection.__name__, (Connection,), members)
