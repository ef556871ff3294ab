"""
How many connections there are at once, and may be.

The counts are kept whether or not anything is limited, so that a limit which comes
later holds for those who were there before.
"""

from __future__ import annotations

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

    __slots__ = ("_isShared", "_limit", "_reason", "_tally")

    def __init__(self, tally: Tally, limit: int, reason: str) -> None:
        """
        Args:
            tally: What is counted.
            limit: Connections at once; at least 1.
            reason: Why an arrival is refused.
        """
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
        return self._reason if tally.total >= self._limit else None


def serviceConnections(tally: ServiceTally, limit: int) -> Rule:
    """
    Limit the connections of a service.
    """
    return Connections(tally, limit, CONNECTIONS)


def serverConnections(tally: Tally, limit: int) -> Rule:
    """
    Limit the connections of all services.
    """
    return Connections(tally, limit, ROOM)


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
