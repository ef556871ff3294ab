"""
How many lines of a kind, and of all kinds together, are written.

A token bucket for each kind and one for all, in the form that ATM calls the
generic cell rate algorithm: of a bucket only the time is kept at which it is
full again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from attrs import frozen

MAXIMUM_KINDS: Final = 256
"""Kinds of line that are told apart at once, beyond which they share one: what
tells them apart may be a peer's words."""


@frozen
class Rate:
    """
    How often something may happen.

    @ivar burst: As many at once.
    @ivar perSecond: As many a second after that.
    """

    burst: int
    perSecond: float


class Allowance:
    """
    What each kind, and all of them together, may have.
    """

    def __init__(self, each: Rate, together: Rate, most: int = MAXIMUM_KINDS) -> None:
        """
        Args:
            each: What each kind may have.
            together: What all of them may.
            most: Kinds that are told apart; those beyond are taken for one.
        """
        self._each = _Bucket(each)
        self._together = _Bucket(together)
        self._most = most
        # When the bucket of each kind is full again.  One that is full needs not be
        # known, and is forgotten when there is no room.
        self._full: dict[Hashable, float] = {}
        self._allFull = 0.0

    def take(self, kind: Hashable, now: float) -> bool:
        """
        Ask for one.

        Args:
            kind: What it is one of.
            now: The time, in seconds.

        Returns:
            Whether it is granted.
        """
        if kind not in self._full and len(self._full) >= self._most:
            kind = self._makeRoom(kind, now)
        full = max(self._full.get(kind, now), now)
        allFull = max(self._allFull, now)
        if full - now > self._each.slack or allFull - now > self._together.slack:
            return False
        self._full[kind] = full + self._each.interval
        self._allFull = allFull + self._together.interval
        return True

    def _makeRoom(self, kind: Hashable, now: float) -> Hashable:
        self._full = {each: full for each, full in self._full.items() if full > now}
        # The allowance itself stands for the kinds that share.
        return kind if len(self._full) < self._most else self


class _Bucket:
    """
    @ivar interval: Seconds that one thing takes to be made good.
    @ivar slack: Seconds until full at which there is one more to have, and a
        hundredth of an interval, so that it is no matter of rounding.
    """

    def __init__(self, rate: Rate) -> None:
        self.interval = 1 / rate.perSecond
        self.slack = (rate.burst - 0.99) * self.interval
