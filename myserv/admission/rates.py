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

    A bucket that is full again is forgotten, which changes nothing, and no other is:
    nobody who has used up what there was can be pushed out by others.  When there are
    as many peers as there is room for, new ones share a fixed number of buckets: a
    flood from everywhere finds its end there, and those who were there before it do
    not notice.
    """

    __slots__ = (
        "_buckets",
        "_interval",
        "_look",
        "_seconds",
        "_secret",
        "_shared",
        "_slack",
        "_window",
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
        #: When to look for full buckets again.  An empty one takes a window to fill, so
        #: each is looked at a few times only, however many there are.
        self._look = seconds() + self._window
        #: By peer, when its bucket will be full.
        self._buckets: dict[int, float] = {}
        self._shared: dict[int, float] = {}
        self._secret = secrets.randbits(60)

    def __len__(self) -> int:
        return len(self._buckets) + len(self._shared)

    def admit(self, arrival: IArrival) -> str | None:
        """
        Take a token of the peer's.
        """
        peer = arrival.peer
        if peer is None:
            return None
        now = self._seconds()
        buckets = self._buckets
        full = buckets.get(peer)
        if full is None:
            buckets, peer = self._place(peer, now)
            full = buckets.get(peer, now)
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
        for buckets, key in ((self._buckets, peer), (self._shared, self._placeOf(peer))):
            if key in buckets:
                buckets[key] -= self._interval
                return

    def _place(self, peer: int, now: float) -> tuple[dict[int, float], int]:
        # Where to keep the bucket of a peer that has none: the dictionary and the key.
        if now >= self._look:
            self._look = now + self._window
            self._buckets = _notFull(self._buckets, now)
            self._shared = _notFull(self._shared, now)
        if len(self._buckets) < RATED_PEERS:
            return self._buckets, peer
        return self._shared, self._placeOf(peer)

    def _placeOf(self, peer: int) -> int:
        # With a secret, so that nobody can choose with whom to share.
        return hash((self._secret, peer, self._secret)) % SHARED_BUCKETS


def _notFull(buckets: dict[int, float], now: float) -> dict[int, float]:
    return {key: full for key, full in buckets.items() if full > now}
