"""
How many connections there are at once, and may be.

The counts are kept whether or not anything is limited, so that a limit which comes
later holds for those who were there before.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from myserv.admission.reasons import CONNECTIONS, PEER_CONNECTIONS, ROOM
from myserv.admission.rule import Rule
from myserv.admission.tallies import ServiceTally, Tally
from myserv.interfaces import IArrival


class Places(Rule):
    """
    The connections of a peer, of the service and of the server.

    One rule for all three, because nearly always there is room and then one look
    answers for them.
    """

    __slots__ = (
        "_all",
        "_enough",
        "_isShared",
        "_isUnaware",
        "_ofAll",
        "_ofPeer",
        "_ofService",
        "_tally",
    )

    def __init__(
        self,
        tally: ServiceTally,
        everything: Tally,
        ofPeer: float,
        ofService: float,
        ofAll: float,
        isUnaware: Callable[[], bool] | None = None,
    ) -> None:
        """
        Args:
            tally: Of the service.
            everything: Of all services.
            ofPeer: Connections of one peer to the service, at most; infinite: any number.
            ofService: Connections to the service.
            ofAll: Connections to the server.
            isUnaware: Of a service whose arrivals wait: says whether its listeners do
                not know yet that there is no room.
        """
        self._tally = tally
        self._all = everything
        self._ofPeer = ofPeer
        self._ofService = ofService
        self._ofAll = ofAll
        # Nobody has more than there are, and mostly there are few.
        self._enough = min(ofPeer, ofService)
        self._isShared = tally.isShared and min(self._enough, ofAll) < math.inf
        self._isUnaware = isUnaware if tally.isShared else None

    def admit(self, arrival: IArrival) -> str | None:
        """
        Look how many there are, and count one more.
        """
        tally, everything = self._tally, self._all
        if self._isShared:
            tally.look()
            everything.look()
        if tally.total >= self._enough or everything.total >= self._ofAll:
            reason = self._refusalOf(arrival.peer)
            if reason is not None:
                return reason
        tally.add(arrival.peer)
        return None

    def _refusalOf(self, peer: int | None) -> str | None:
        tally = self._tally
        total = tally.total
        if total >= self._ofPeer and peer is not None and tally.ofPeer(peer) >= self._ofPeer:
            return PEER_CONNECTIONS
        # Another process took the last place a moment ago, and this arrival had been
        # accepted when it would have had to wait: to reset it would be worse than to
        # have one more, which is one for each process at most.
        if self._isUnaware is not None and self._isUnaware():
            return None
        if total >= self._ofService:
            return CONNECTIONS
        return ROOM if self._all.total >= self._ofAll else None

    def release(self, arrival: IArrival) -> None:
        """
        There is one less.
        """
        self._tally.remove(arrival.peer)
