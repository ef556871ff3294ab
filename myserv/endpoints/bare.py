"""
The context of an endpoint that is used outside of a server.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from myserv.events import Event, Offence, Peer
from myserv.interfaces import IAbortable, IListenerContext


@implementer(IListenerContext)
class BareContext:
    """
    A listener without a server: nobody is told of anything.
    """

    service = "an endpoint"

    def __init__(self, reactor: Any, endpoint: str) -> None:
        self.reactor = reactor
        self.endpoint = endpoint

    def emit(self, event: Event) -> None:
        """
        Nobody wants to know.
        """

    def penalize(self, peer: Peer, reason: str, offence: Offence = Offence.PROTOCOL) -> None:
        """
        Nobody counts.
        """

    def handshakeStarted(self, layer: IAbortable) -> None:
        """
        Whoever stops the port does not wait for its connections.
        """

    def handshakeEnded(self, layer: IAbortable) -> None:
        """
        See L{handshakeStarted}.
        """
