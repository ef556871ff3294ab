"""
How fast connections may come: token buckets.

A bucket is one number, the time at which it will be full again (GCRA, as in ATM's
traffic management): it needs no timer, and a bucket whose time has passed is full
and need not be remembered.

An arrival that a later rule refuses gets its token back (as in nginx's limit_req,
which takes none before all of its zones agree): a peer that is turned away for
another reason does not use up what it was not given.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from myserv.admission.reasons import PEER_RATE, RATE
from myserv.admission.rule import Rule
from myserv.interfaces import IArrival

RATED_PEERS: Final = 65_536
"""Peers with a bucket of their own; OpenSSH tracks as many for its penalties.
About 150 bytes each, 10 MB when it is full."""

SHARED_BUCKETS: Final = 4_096
"""Buckets for all others, who share them by chance."""

ROUNDING: Final = 1e-6
"""Seconds by which sums of times are wrong at most."""


class AcceptRate(Rule):
    """
    C{acceptRate}: new connections a second, of all peers together.
    """

    __slots__ = ("_full", "_interval", "_seconds", "_slack")

    def __init__(self, seconds: Callable[[], float], rate: float, burst: float) -> None:
        """
        Args:
            seconds: Tells the time.
            rate: Connections a second; more than 0.
            burst: As many at once; at least 1.
        """
        self._seconds = seconds
        self._interval = 1 / rate
        self._slack = (burst - 1) / rate + ROUNDING
        #: When the bucket will be full.
        self._full = 0.0

    def admit(self, arrival: IArrival) -> str | None:
        """
        Take a token.
        """
        now = self._seconds()
        full = self._full
        if full <= now:
            full = now
        elif full - now > self._slack:
            return RATE
        self._full = full + self._interval
        return None

    def withdraw(self, arrival: IArrival) -> None:
        """
        Put the token back.
        """
        self._full -= self._interval


class PeerAcceptRate(Rule):
    """
    C{acceptRatePerPeer}: new connections a second of one peer.

    Peers are remembered in two generations, each of which lasts as long as an empty
    bucket takes to fill: whoever was not there for a whole one has a full bucket,
    and to forget it changes nothing.  So nobody who has used up what there was can
    be pushed out by others.  When there are as many peers as there is room for, new
    ones share a fixed number of buckets: a flood from everywhere finds its end
    there, and those who were there before it do not notice.
    """

    __slots__ = (
        "_began",
        "_interval",
        "_old",
        "_seconds",
        "_secret",
        "_shared",
        "_slack",
        "_window",
        "_young",
    )

    def __init__(self, seconds: Callable[[], float], rate: float, burst: float) -> None:
        """
        Args:
            seconds: Tells the time.
            rate: Connections a second; more than 0.
            burst: As many at once; at least 1.
        """
        self._seconds = seconds
        self._interval = 1 / rate
        self._slack = (burst - 1) / rate + ROUNDING
        self._window = burst / rate + ROUNDING
        self._began = seconds()
        #: By peer, when its bucket will be full.
        self._young: dict[int, float] = {}
        self._old: dict[int, float] = {}
        self._shared: dict[int, float] = {}
        self._secret = secrets.randbits(60)

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self._shared)

    def admit(self, arrival: IArrival) -> str | None:
        """
        Take a token of the peer's.
        """
        peer = arrival.peer
        if peer is None:
            return None
        now = self._seconds()
        buckets = self._young
        full = buckets.get(peer)
        if full is None:
            buckets, peer, full = self._find(peer, now)
        if full <= now:
            full = now
        elif full - now > self._slack:
            return PEER_RATE
        buckets[peer] = full + self._interval
        return None

    def withdraw(self, arrival: IArrival) -> None:
        """
        Put the token back.
        """
        peer = arrival.peer
        if peer is None:
            return
        if peer in self._young:
            self._young[peer] -= self._interval
        else:
            self._shared[self._placeOf(peer)] -= self._interval

    def _find(self, peer: int, now: float) -> tuple[dict[int, float], int, float]:
        # Of a peer that is not among the young: the dictionary and the key under
        # which its bucket is kept, and when that is full.
        if now - self._began >= self._window:
            self._began = now
            self._old = self._young
            self._young = {}
            self._shared = {place: full for place, full in self._shared.items() if full > now}
        full = self._old.pop(peer, None)
        if full is None:
            if len(self._young) + len(self._old) >= RATED_PEERS:
                place = self._placeOf(peer)
                return self._shared, place, self._shared.get(place, now)
            full = now
        # At once: one that is refused is still to be found there.
        self._young[peer] = full
        return self._young, peer, full

    def _placeOf(self, peer: int) -> int:
        # With a secret, so that nobody can choose with whom to share.
        return hash((self._secret, peer, self._secret)) % SHARED_BUCKETS
