"""
What stands over a transport and can do whatever that can.

A C{__getattr__} would do.  But a class that has one pays for it at every look-up of any
attribute, a third of a microsecond for each message.  So a class is made for each kind of
transport, and passes on, name by name, what a transport of that kind has.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHandshakeListener
from zope.interface import alsoProvides


class OfTransport:
    """
    Passes the look-up of one attribute on to C{transport}.

    It may be set on the object itself.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """
        Args:
            name: The attribute.
        """
        self._name = name

    def __get__(self, upper: Any, owner: type) -> Any:
        return self if upper is None else getattr(upper.transport, self._name)


def delegates(upper: type, transport: Any) -> dict[str, Any]:
    """
    Make what a class lacks of what a transport has.

    Args:
        upper: The class.
        transport: Connected, on its own layers.

    Returns:
        Its members to be, by name.
    """
    names: set[str] = set()
    lower = transport
    while lower is not None:
        names.update(dir(lower))
        # A layer from elsewhere has what is beneath it by a __getattr__ of its own.
        lower = getattr(lower, "__dict__", {}).get("transport")
    return {
        name: OfTransport(name)
        for name in names
        if not name.startswith("_") and not hasattr(upper, name)
    }


_kinds: dict[tuple[type, type], type] = {}

_asking: dict[type, type] = {}


def layerOver(layer: type, transport: Any) -> type:
    """
    Make the class of a kind of layers over a kind of transports; always the same one.

    Args:
        layer: The class as it was written.
        transport: One of the transports.
    """
    key = (layer, type(transport))
    made = _kinds.get(key)
    if made is None:
        members = delegates(layer, transport)
        if "startTLS" in members:
            members["startTLS"] = _startTLS
        made = _kinds[key] = type(layer.__name__, (layer,), members)
    return made


def _startTLS(self: Any, *arguments: Any, **named: Any) -> Any:
    # From here on the transport can do what its kind cannot.
    made = type(self)
    asking = _asking.get(made)
    if asking is None:
        asking = _asking[made] = type(made.__name__, (made,), {"__getattr__": _lookUp})
    self.__class__ = asking
    if IHandshakeListener.providedBy(self.upper):
        # Whose protocol we are from now on asks us.
        alsoProvides(self, IHandshakeListener)
    try:
        return self.transport.startTLS(*arguments, **named)
    finally:
        self.transportChanged()


def _lookUp(self: Any, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(self.transport, name)
