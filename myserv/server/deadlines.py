"""
One timer for the deadlines of many connections.

A connection is looked at when something may be due for it, and says when to look
again.  What happens to it in between costs nothing here: it leaves counts behind,
and whoever looks compares them with those of the last time.
"""

from __future__ import annotations

import heapq
import math
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

TICK: Final = 0.25
"""Seconds.  Whatever is due within one of these is looked at together."""


class Watched(Protocol):
    """Something that has deadlines."""

    tick: int | None
    """When it will be looked at; its own L{Deadlines} writes this."""

    def checkDeadlines(self, now: float) -> float:
        """
        Do what is due.

        Returns:
            When to look again; infinity: never.
        """


class Deadlines:
    """
    Those who are to be looked at, by when.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        """
        Args:
            reactor: Tells the time, and is armed once at most.
        """
        self._reactor = reactor
        self._ticks: dict[int, dict[Any, None]] = {}
        self._order: list[int] = []
        self._timer: IDelayedCall | None = None
        self._timerTick = 0
        self._count = 0
        self._isChecking = False
        self._passed = 0
        #: The last one that something was watched for, and its time.
        self._lastTick = 0
        self._lastDue = -math.inf
        self._lastThere: dict[Any, None] = {}

    def watch(self, watched: Watched, due: float) -> None:
        """
        Look at something when it is due, and no longer when it would have been.

        Args:
            watched: What to look at.
            due: When, as the reactor tells the time.
        """
        if watched.tick is not None:
            self.forget(watched)
        # Most are watched when they begin, and those who begin together for the same time.
        if self._lastDue - TICK < due <= self._lastDue:
            watched.tick = self._lastTick
            self._lastThere[watched] = None
            self._count += 1
            return
        if due == math.inf:
            return
        # Never into the one that is being looked at.
        tick = watched.tick = max(math.ceil(due / TICK), self._passed + 1)
        there = self._ticks.get(tick)
        if there is None:
            there = self._ticks[tick] = {}
            heapq.heappush(self._order, tick)
        there[watched] = None
        self._count += 1
        self._lastTick, self._lastDue, self._lastThere = tick, tick * TICK, there
        if not self._isChecking and (self._timer is None or tick < self._timerTick):
            self._arm(tick)

    def advance(self, watched: Watched, due: float) -> None:
        """
        Look at something earlier than it would have been, and no later.
        """
        if watched.tick is None or due < watched.tick * TICK:
            self.watch(watched, due)

    def forget(self, watched: Watched) -> None:
        """
        Look at something no longer; one that is not watched is no error.
        """
        tick = watched.tick
        if tick is None:
            return
        watched.tick = None
        self._count -= 1
        there = self._ticks.get(tick)
        if there is not None:
            there.pop(watched, None)
        if not self._count and not self._isChecking:
            self._clear()

    def _forgetLast(self) -> None:
        # Not only its time: whoever was in it is not to be kept.
        self._lastDue = -math.inf
        self._lastThere = {}

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timerTick = tick
        wait = max(0.0, tick * TICK - self._reactor.seconds())
        self._timer = self._reactor.callLater(wait, self._check)

    def _check(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        self._isChecking = True
        # A clock's sum of floats may be a hair short of the tick.
        while self._order and self._order[0] * TICK <= now + TICK / 100:
            tick = self._passed = heapq.heappop(self._order)
            self._forgetLast()
            for watched in self._ticks.pop(tick):
                # What was done to one before it may have ended it.
                if watched.tick == tick:
                    self.watch(watched, watched.checkDeadlines(now))
        self._isChecking = False
        self._forgetLast()
        # Ticks whose last connection is gone.
        while self._order and not self._ticks[self._order[0]]:
            del self._ticks[heapq.heappop(self._order)]
        if self._order:
            self._arm(self._order[0])

    def _clear(self) -> None:
        # Nobody is left to look at.
        self._forgetLast()
        self._ticks.clear()
        self._order.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._passed = 0
