"""
How many connections the server has room for, in all of its services.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from myserv.admission.tallies import Tallies

KEY: Final = "server.maxConnections"
"""Where an operator says it."""


class Room:
    """
    What all services share.

    @ivar tallies: How many connections there are.
    @ivar limit: How many there may be; infinite where nothing was said.
    @ivar isFull: No more can be let in, as of the last L{settle}.
    @ivar settlers: Of each service, what is to be called when that changes.
    """

    __slots__ = ("isFull", "limit", "settlers", "tallies")

    def __init__(self, tallies: Tallies, room: int) -> None:
        """
        Args:
            tallies: How many connections there are.
            room: How many there may be; 0: any number.
        """
        self.tallies = tallies
        self.isFull = False
        self.settlers: dict[str, Callable[[], None]] = {}
        self.setLimit(room)

    def setLimit(self, room: int) -> None:
        """
        Let there be another limit; 0: none.
        """
        self.limit: float = room or math.inf

    def settle(self) -> None:
        """
        Something may have changed: if it has, tell all services.
        """
        tallies = self.tallies
        if tallies.isShared and self.limit < math.inf:
            tallies.look()
        isFull = tallies.total >= self.limit
        if isFull != self.isFull:
            self.isFull = isFull
            for settle in tuple(self.settlers.values()):
                settle()
