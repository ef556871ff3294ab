"""
The log under attack: what peers cause is written rarely, and counted always.

A line of a kind that was written often enough is left out.  How many were is said
by the next one that is written, or by a line of its own when none comes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import ceil
from typing import Any, Final

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogLevel

from myserv.observe.allowance import MAXIMUM_KINDS, Allowance

TRAILING_INTERVAL: Final = 10.0
"""Seconds after which what was left out is said, if no line of its kind has said it:
twice the window of Linux's printk_ratelimit, which says it only with the next."""

Write = Callable[[LogLevel, str, Any], None]
"""Writes a line: its level, its text, and the event, C{None} of a line about several."""


class Restraint:
    """
    Leaves lines out, and says how many.

    Resources: while something is left out that no line has told of, there is one
    delayed call; L{flush} ends that.
    """

    def __init__(self, clock: IReactorTime, write: Write, most: int = MAXIMUM_KINDS) -> None:
        """
        Args:
            clock: Tells the time, and calls later.
            write: Writes what is not left out.
            most: Kinds of which what was left out is counted apart; those beyond
                are counted together.
        """
        self._clock = clock
        self._write = write
        self._most = most
        self._untold: dict[Hashable, _Untold] = {}
        self._call: IDelayedCall | None = None

    def offer(
        self,
        allowance: Allowance,
        kind: Hashable,
        level: LogLevel,
        text: str,
        event: object,
        amount: int = 1,
    ) -> None:
        """
        Write a line, or leave it out.

        Args:
            allowance: How often.
            kind: The lines that it is one of; no other allowance has one like it.
            level: See L{Write}.
            text: See L{Write}.
            event: See L{Write}.  It is not kept.
            amount: How many things the line tells of.
        """
        now = self._clock.seconds()
        if not allowance.take(kind, now):
            self._leaveOut(allowance, kind, level, text, amount, now)
            return
        if self._untold:
            untold = self._untold.pop(kind, None)
            if untold is not None:
                text = f"{text} (and {untold.amount:,} more {_inTheLast(now - untold.since)})"
            self._schedule()
        self._write(level, text, event)

    def flush(self) -> None:
        """
        Say all that was left out, however much there is.
        """
        now = self._clock.seconds()
        untold, self._untold = self._untold, {}
        for each in untold.values():
            self._tell(each, now)
        self._schedule()

    def _leaveOut(
        self,
        allowance: Allowance,
        kind: Hashable,
        level: LogLevel,
        text: str,
        amount: int,
        now: float,
    ) -> None:
        if kind not in self._untold and len(self._untold) >= self._most:
            kind = allowance
        untold = self._untold.get(kind)
        if untold is None:
            self._untold[kind] = _Untold(allowance, level, text, amount, now)
            self._schedule()
        else:
            untold.level = level
            untold.text = text
            untold.amount += amount

    def _schedule(self) -> None:
        if self._untold and self._call is None:
            self._call = self._clock.callLater(TRAILING_INTERVAL, self._tellOfAll)
        elif not self._untold and self._call is not None:
            self._call.cancel()
            self._call = None

    def _tellOfAll(self) -> None:
        self._call = None
        now = self._clock.seconds()
        # The lines are part of what is allowed: what does not fit waits.
        told = [kind for kind, each in self._untold.items() if each.allowance.take(kind, now)]
        for kind in told:
            self._tell(self._untold.pop(kind), now)
        self._schedule()

    def _tell(self, untold: _Untold, now: float) -> None:
        ago = _inTheLast(now - untold.since)
        self._write(untold.level, f"{untold.text} (the last of {untold.amount:,} {ago})", None)


@define
class _Untold:
    """
    What was left out of one kind since a line last told of it.

    @ivar level: That of the last line.
    @ivar text: That of the last line.
    @ivar amount: What all of them tell of.
    @ivar since: When the first was left out.
    """

    allowance: Allowance
    level: LogLevel
    text: str
    amount: int
    since: float


def _inTheLast(seconds: float) -> str:
    return f"in the last {max(1, ceil(seconds)):,} s"
