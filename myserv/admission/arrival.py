"""
A connection that asks to be let in.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from myserv.interfaces import IArrival, IPeerCredentials

Release = Callable[["Arrival"], None]
"""Gives back what an arrival was given."""


@implementer(IArrival)
class Arrival:
    """
    What the rules know of a connection, for as long as it is there.

    There is one for each connection: about 80 bytes, and as much again for a number
    of the peer's.

    @ivar held: Gives back what it holds; C{None} while it is not admitted, and again
        when it is gone.
    """

    __slots__ = ("address", "credentials", "endpoint", "held", "peer", "service")

    def __init__(
        self,
        address: IAddress | None,
        service: str,
        endpoint: str,
        peer: int | None,
        credentials: IPeerCredentials | None,
    ) -> None:
        """
        Args: as L{IArrival} has them.
        """
        self.address = address
        self.service = service
        self.endpoint = endpoint
        self.peer = peer
        self.credentials = credentials
        self.held: tuple[Release, ...] | None = None

    def __repr__(self) -> str:
        return f"<Arrival of {self.address} at {self.service} {self.endpoint}>"
