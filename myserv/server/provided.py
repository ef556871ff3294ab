"""
What a connection provides, to its protocol and to its transport.

A transport asks what its protocol provides, and a protocol what its transport does:
C{ISSLTransport(self.transport, None)}.  A connection stands for either, and provides
what they do.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IFileDescriptorReceiver, IHandshakeListener
from twisted.internet.protocol import Protocol
from zope.interface import providedBy
from zope.interface.declarations import Provides

from myserv.interfaces import IMessageProtocol, IMessageTransport

_PROTOCOL_EXTRAS: Final = (IHandshakeListener, IFileDescriptorReceiver, IMessageProtocol)
"""What a transport asks of a protocol beside IProtocol itself."""

_declarations: dict[tuple[type, Any, Any], Any] = {}


def declaration(connection: type, protocol: Any, transport: Any) -> Any:
    """
    Say what a connection between these two provides: its C{__provides__}.

    The answer is the same for all connections of a kind, so it is made once for
    each kind.
    """
    key = (connection, providedBy(protocol), providedBy(transport))
    known = _declarations.get(key)
    if known is None:
        known = _declarations[key] = Provides(connection, *beyond(protocol, transport))
    return known


def beyond(protocol: Any, transport: Any) -> tuple[Any, ...]:
    """
    List what a connection between these two provides beyond what every one does.
    """
    extras = [each for each in _PROTOCOL_EXTRAS if each.providedBy(protocol)]
    return (*extras, *providedBy(transport))


def hearsNothing(protocol: Any, transport: Any) -> bool:
    """
    Say whether a protocol wants messages only, and its transport has none.
    """
    return (
        IMessageProtocol.providedBy(protocol)
        and not IMessageTransport.providedBy(transport)
        # Twisted's own throws them away.
        and getattr(type(protocol), "dataReceived", None) is Protocol.dataReceived
    )
