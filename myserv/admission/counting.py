"""
How many connections there are at once, and may be.

The counts are kept whether or not anything is limited, so that a limit which comes
later holds for those who were there before.
"""

from __future__ import annotations

from collections.abc import Callable

from myserv.admission.reasons import CONNECTIONS, PEER_CONNECTIONS, ROOM
from myserv.admission.rule import Rule
from myserv.admission.tallies import ServiceTally, Tally
from myserv.interfaces import IArrival


class PeerConnections(Rule):
    """
    C{maxConnectionsPerPeer}.
    """

    __slots__ = ("_isShared", "_limit", "_tally")

    def __init__(self, tally: ServiceTally, limit: int) -> None:
        """
        Args:
            tally: Of the service.
            limit: Connections at once of one peer; at least 1.
        """
        self._tally = tally
        self._isShared = tally.isShared
        self._limit = limit

    def admit(self, arrival: IArrival) -> str | None:
        """
        Look how many the peer has.
        """
        tally = self._tally
        if self._isShared:
            tally.look()
        # Nobody has more than there are, and mostly there are few.
        if tally.total < self._limit or arrival.peer is None:
            return None
        return PEER_CONNECTIONS if tally.ofPeer(arrival.peer) >= self._limit else None


class Connections(Rule):
    """
    C{maxConnections}, of a service or of the server.
    """

    __slots__ = ("_isShared", "_isUnaware", "_limit", "_reason", "_tally")

    def __init__(
        self, tally: Tally, limit: int, reason: str, isUnaware: Callable[[], bool] | None = None
    ) -> None:
        """
        Args:
            tally: What is counted.
            limit: Connections at once; at least 1.
            reason: Why an arrival is refused.
            isUnaware: Of a service whose arrivals wait: says whether its listeners do
                not know yet that there is no room.
        """
        self._isUnaware = isUnaware if tally.isShared else None
        self._tally = tally
        self._isShared = tally.isShared
        self._limit = limit
        self._reason = reason

    def admit(self, arrival: IArrival) -> str | None:
        """
        Look how many there are.
        """
        tally = self._tally
        if self._isShared:
            tally.look()
        if tally.total < self._limit:
            return None
        # Another process took the last place a moment ago, and this arrival had been
        # accepted when it would have had to wait: to reset it would be worse than to
        # have one more, which is one for each process at most.
        return None if self._isUnaware is not None and self._isUnaware() else self._reason


def serviceConnections(
    tally: ServiceTally, limit: int, isUnaware: Callable[[], bool] | None = None
) -> Rule:
    """
    Limit the connections of a service; see L{Connections}.
    """
    return Connections(tally, limit, CONNECTIONS, isUnaware)


def serverConnections(
    tally: Tally, limit: int, isUnaware: Callable[[], bool] | None = None
) -> Rule:
    """
    Limit the connections of all services; see L{Connections}.
    """
    return Connections(tally, limit, ROOM, isUnaware)


class Counted(Rule):
    """
    Counts those who are there; refuses nobody.
    """

    __slots__ = ("_tally",)

    def __init__(self, tally: ServiceTally) -> None:
        """
        Args:
            tally: Of the service.
        """
        self._tally = tally

    def admit(self, arrival: IArrival) -> str | None:
        """
        There is one more.
        """
        self._tally.add(arrival.peer)
        return None

    def release(self, arrival: IArrival) -> None:
        """
        There is one less.
        """
        self._tally.remove(arrival.peer)
