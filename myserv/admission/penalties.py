"""
What misbehaviour costs: OpenSSH's PerSourcePenalties, for any protocol.

A penalty is a number of seconds, and a peer's penalties add up.  They wear off as
time passes, one second in each second.  When they come to the threshold, the peer is
refused, and stays refused until all of them have worn off: not only until they are
below the threshold again, which would be the next moment.

The table is bounded.  When it is full, whoever would be forgotten first anyway is
forgotten at once (OpenSSH's overflow mode "permissive"): to push a peer out, an attacker
has to collect more penalties than it on every one of as many addresses.  IPv6
addresses are so much easier to come by that they push out their own kind as long as
they are the more numerous one; OpenSSH has two tables for that.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from myserv.admission.access import Networks
from myserv.admission.addresses import PeerNumbers, hostOf
from myserv.admission.reasons import PENALIZED
from myserv.admission.rule import Rule
from myserv.interfaces import IArrival
from myserv.limits import PenaltyLimits

ROUNDING: Final = 1e-6
"""Seconds by which sums of penalties are wrong at most."""


class Penalties:
    """
    Those of all peers, in all services.

    @ivar refused: The peers that are refused, until their penalties have worn off;
        always the same dictionary.
    """

    def __init__(self, seconds: Callable[[], float], limits: PenaltyLimits) -> None:
        """
        Args:
            seconds: Tells the time.
            limits: As the operator wants them.
        """
        self._seconds = seconds
        #: By peer, when its penalties will have worn off.
        self._until: dict[int, float] = {}
        self.refused: dict[int, None] = {}
        # A heap for IPv4 and one for IPv6.  A peer is in one of them once, with a
        # time that is not after its true one: it is corrected when it comes up.
        self._heaps: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
        self.apply(limits)

    def __len__(self) -> int:
        return len(self._until)

    def apply(self, limits: PenaltyLimits) -> None:
        """
        Let other limits be in force.

        What was collected stays, except where other prefixes make other peers, and
        where penalties are no longer wanted.
        """
        self.limits = limits
        self._exempt = Networks(limits.exempt).find
        self._numbers = PeerNumbers(limits.peerPrefix4, limits.peerPrefix6).of
        self._threshold = min(limits.threshold, limits.maximum) - ROUNDING
        if not limits.enabled:
            self._until.clear()
            self.refused.clear()
            for heap in self._heaps:
                heap.clear()
        self._shrink()

    def peerOf(self, host: str | None) -> int | None:
        """
        Find the number of a peer that can be penalized; C{None}: this one cannot.
        """
        return None if self._exempt[host] else self._numbers[host]

    def add(self, peer: int, cost: float) -> float:
        """
        Penalize a peer.

        Args:
            peer: Its number.
            cost: In seconds.

        Returns:
            For how many seconds it is refused from now on; 0: it is not.
        """
        now = self._seconds()
        self._forgetWornOff(now)
        known = self._until.get(peer)
        until = min((now if known is None else known) + cost, now + self.limits.maximum)
        if known is not None:
            # It may have collected more under other limits.
            until = max(until, known)
        if until <= now:
            return 0.0
        self._until[peer] = until
        if known is None:
            heapq.heappush(self._heaps[peer > 0], (until, peer))
        if until - now >= self._threshold:
            self.refused[peer] = None
        self._shrink()
        return until - now if peer in self.refused else 0.0

    def isRefused(self, host: str | None) -> bool:
        """
        Say whether a host is refused.
        """
        peer = self._numbers[host]
        if peer not in self.refused or self._exempt[host]:
            return False
        if self._until[peer] > self._seconds():
            return True
        self._forgetWornOff(self._seconds())
        return False

    def _forgetWornOff(self, now: float) -> None:
        for heap in self._heaps:
            while heap and heap[0][0] <= now:
                self._settleFirst(heap, now)

    def _shrink(self) -> None:
        while len(self._until) > self.limits.maxPeers:
            heap = self._heaps[len(self._heaps[1]) >= len(self._heaps[0])]
            while not self._settleFirst(heap, heap[0][0]):
                pass

    def _settleFirst(self, heap: list[tuple[float, int]], now: float) -> bool:
        # Forget the first of a heap if its time is not after `now`, or correct it.
        peer = heap[0][1]
        until = self._until[peer]
        if until > now:
            heapq.heapreplace(heap, (until, peer))
            return False
        heapq.heappop(heap)
        del self._until[peer]
        self.refused.pop(peer, None)
        return True


class PenaltyRule(Rule):
    """
    Refuses those who have collected too many penalties.
    """

    __slots__ = ("_isRefused", "_refused")

    def __init__(self, penalties: Penalties) -> None:
        """
        Args:
            penalties: Those of all peers.
        """
        self._refused = penalties.refused
        self._isRefused = penalties.isRefused

    def admit(self, arrival: IArrival) -> str | None:
        """
        Look whether it is one of them.
        """
        if self._refused and self._isRefused(hostOf(arrival.address)):
            return PENALIZED
        return None
