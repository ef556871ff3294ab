"""
How long one connection's peer may take over things.

Nothing is recorded when bytes pass: the connection counts them anyway, and a count
that has not changed since the last look says that nothing has passed.  So a
deadline is kept to within an eighth of itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from myserv.events import Offence
from myserv.limits import Limits
from myserv.options.values import Duration
from myserv.server.progress import bytesTaken

if TYPE_CHECKING:
    from myserv.server.connection import Connection

LOOKS: Final = 8
"""Times that a connection is looked at while it is given up for idle."""

RATE_WINDOW: Final = 10.0
"""Seconds over which a minimum data rate is measured: long enough for a lost packet
to be sent again a few times (RFC 6298)."""


def firstLook(limits: Limits) -> float:
    """
    Say how long a connection may be left alone from its start.

    Returns:
        Seconds; infinity: for ever.
    """
    rate = RATE_WINDOW if limits.minimumRate else 0.0
    dues = (limits.firstByte, limits.idle / LOOKS, limits.lifetime, limits.establish, rate)
    return min((due for due in dues if due), default=math.inf)


class Patience:
    """
    The deadlines of one connection.

    Made when they are first looked at: most connections are gone by then.
    """

    __slots__ = (
        "_alive",
        "_connection",
        "_passed",
        "_started",
        "_taken",
        "_window",
        "_windowPassed",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        started = self._started = connection.started
        self._passed = 0
        self._taken: int | None = 0
        #: When something was last seen to have passed.
        self._alive = started
        self._window = started
        self._windowPassed = 0

    def check(self, now: float) -> float:
        """
        Cut the connection if something took too long.

        Args:
            now: Seconds, as the reactor tells the time.

        Returns:
            When to look again; infinity: never.
        """
        connection = self._connection
        self._look(now)
        if connection.disconnecting:
            return self._checkClosing(now)
        return min(
            self._checkLifetime(now),
            self._checkEstablished(now),
            self._checkFirstByte(now),
            self._checkReading(now),
            self._checkIdle(now),
        )

    def _look(self, now: float) -> None:
        connection = self._connection
        passed = connection.bytesReceived + connection.bytesSent
        taken = bytesTaken(connection.transport)
        if passed != self._passed or taken != self._taken:
            self._alive = now
        self._passed = passed
        self._taken = taken

    def _checkClosing(self, now: float) -> float:
        # Its last bytes wait for it: as long as anything else would.
        limit = self._connection.limits.writeTimeout
        if not limit:
            return math.inf
        due = self._alive + limit
        if now >= due:
            self._cut(now, "writeTimeout", "it did not take what was left for it", limit, None)
            return now + limit
        return min(due, now + limit / LOOKS)

    def _checkLifetime(self, now: float) -> float:
        limit = self._connection.limits.lifetime
        return self._check(now, "lifetime", limit, self._started, "it was connected", None)

    def _checkEstablished(self, now: float) -> float:
        connection = self._connection
        if connection.isEstablished:
            return math.inf
        limits = connection.limits
        text = "it was not established"
        due = self._check(now, "establish", limits.establish, self._started, text, Offence.TIMEOUT)
        if not limits.minimumRate or connection.disconnecting:
            return due
        end = self._window + RATE_WINDOW
        if now >= end:
            self._endWindow(now)
            end = now + RATE_WINDOW
        return min(due, end)

    def _endWindow(self, now: float) -> None:
        connection = self._connection
        limit = connection.limits.minimumRate
        passed = connection.bytesReceived + (self._taken or connection.bytesSent)
        rate = (passed - self._windowPassed) / (now - self._window)
        self._window = now
        self._windowPassed = passed
        if rate < limit:
            reason = f"it managed {rate:.0f} B a second, and {limit:d} is the least"
            connection.cut("minimumRate", reason, Offence.TIMEOUT)

    def _checkFirstByte(self, now: float) -> float:
        connection = self._connection
        if self._passed or connection.disconnecting:
            return math.inf
        limit = connection.limits.firstByte
        return self._check(now, "firstByte", limit, self._started, "nothing was said", None)

    def _checkReading(self, now: float) -> float:
        connection = self._connection
        limit = connection.limits.writeTimeout
        if not limit or not connection.outflow.isFull or connection.disconnecting:
            return math.inf
        due = self._alive + limit
        if now >= due:
            self._cut(now, "writeTimeout", "it took nothing of what it was sent", limit, None)
        return min(due, now + limit / LOOKS)

    def _checkIdle(self, now: float) -> float:
        connection = self._connection
        limit = connection.limits.idle
        if not limit or connection.disconnecting:
            return math.inf
        due = self._alive + limit
        if now >= due:
            self._cut(now, "idle", "nothing was said", limit, None, politely=True)
        return min(due, now + limit / LOOKS)

    def _check(
        self,
        now: float,
        key: str,
        limit: Duration,
        since: float,
        text: str,
        offence: Offence | None,
    ) -> float:
        if not limit:
            return math.inf
        if now < since + limit:
            return since + limit
        if not self._connection.disconnecting:
            self._cut(now, key, text, limit, offence, politely=offence is None)
        return now + limit

    def _cut(
        self,
        now: float,
        key: str,
        text: str,
        limit: Duration,
        offence: Offence | None,
        *,
        politely: bool = False,
    ) -> None:
        # From here on it is the end that has to come.
        self._alive = now
        self._connection.cut(key, f"{text} for {limit}", offence, politely=politely)
