"""
What a refused peer is handed instead of a protocol.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IProtocol
from zope.interface import implementer


@implementer(IProtocol)
class RefusedConnection:
    """
    Aborts its connection as soon as it has one.

    C{buildProtocol} could return C{None} instead, but under any wrapping
    factory that leaves the socket open.
    """

    closesAtOnce = True
    """A port that knows this need not make a transport first."""

    def makeConnection(self, transport: Any) -> None:
        """
        Turn the peer away.
        """
        getattr(transport, "abortConnection", transport.loseConnection)()

    def connectionMade(self) -> None:
        """
        Never called: the peer is gone by then.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes of a refused peer go nowhere.
        """

    def connectionLost(self, reason: object) -> None:
        """
        There is nothing to clean up.
        """


REFUSED: Final = RefusedConnection()
"""One serves for all: there is nothing to remember."""
