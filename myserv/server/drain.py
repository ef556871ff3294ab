"""
A drain: how those who are connected are sent away, politely and by a deadline.

It begins when nobody new is let in.  A protocol that can say goodbye is asked to; any
other connection is closed when nothing is under way on it.  Neither is done to all of
them at once, since clients that lose their connection come back.  Whoever is left at
the deadline is cut.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from myserv.events import DrainEnded, DrainProgressed, DrainStarted, Event, ProtocolRaised
from myserv.interfaces import IDrainable
from myserv.limits import Limits

if TYPE_CHECKING:
    from myserv.server.connection import Connection

DRAIN_IDLE: Final = 1.0
"""Seconds without a byte after which nothing is under way; what TCP lost in between has
been sent again by then (RFC 6298, section 2.4: a timeout is 1 s at least)."""

FIRST_REQUEST: Final = 3.0
"""Seconds that a client has for its first bytes, from when it connected: it may have got
in at the last moment.  TCP sends what is lost again after 1 s and after 3 s (RFC 6298,
section 2.1)."""

RATE: Final = 100.0
"""Connections a second that are sent away while nothing is under way on them, unless
there are too many for half of the deadline; to spread them is what HAProxy's
C{close-spread-time} is for."""

STEP: Final = 0.25
"""Seconds between two looks; whoever may go within one of these goes at once."""

PROGRESS: Final = 5.0
"""Seconds between two C{DrainProgressed}."""

ABANDON: Final = 1.0
"""Seconds that an aborted connection has to be gone; it takes one turn of the
reactor, unless a bug is in the way."""

ENDLESS: Final = 86_400.0
"""Seconds of a drain without a limit: a day.  A protocol is told of it, and infinity is
no number to tell anybody."""


def drainSeconds(limits: Limits) -> float:
    """
    Say how long a drain may take under these limits, in seconds.
    """
    return float(limits.drain) or ENDLESS


class _Drains(Protocol):
    """What drains."""

    def drain(self, deadline: float | None = None) -> Deferred[Any]:
        """Send everybody away."""


class Stops:
    """
    Two more words for a drain, for whatever drains: a listener, a service, a server.
    """

    def stop(self: _Drains, grace: float | None = None) -> Deferred[Any]:
        """
        The same as C{drain}: there is no impolite way but L{stopNow}.

        Args:
            grace: The deadline.
        """
        return self.drain(grace)

    def stopNow(self: _Drains) -> Deferred[Any]:
        """
        Close and cut every connection.
        """
        return self.drain(0.0)


class Draining(Protocol):
    """What a drain asks of a listener, which lets nobody in any more."""

    connections: set[Connection]

    @property
    def left(self) -> int:
        """How many connections there are, those in a handshake too."""

    def checkGone(self) -> None:
        """Stop, if the last is gone."""

    def abortAll(self) -> None:
        """Cut everybody who is there, in a handshake or past it."""

    def abandonAll(self) -> None:
        """Forget whoever is still there."""


class Drain:
    """
    One drain, of a listener or of several that are one service's.

    It does nothing until it has a listener, and has at most one delayed call.

    @ivar end: When those who are left are cut, as the reactor tells the time.
    @ivar isOver: They have been.
    """

    def __init__(
        self,
        service: str,
        reactor: Any,
        emit: Callable[[Event], None],
        deadline: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """
        Args:
            service: The service's name.
            reactor: Tells the time.
            emit: Takes the events.
            deadline: Seconds from now.
            jitter: Returns a number from 0 to 1 at random.
        """
        self._service = service
        self._reactor = reactor
        self._emit = emit
        self._jitter = jitter
        self._started = reactor.seconds()
        self.end = self._started + deadline
        self.isOver = False
        self._cut = 0
        self._isAnnounced = False
        self._progress = math.inf
        self._listeners: dict[Draining, None] = {}
        #: Those whose turn has not come, by when it does.
        self._queue: deque[tuple[float, _Leaving]] = deque()
        #: Those whose turn has come, and who may have something under way.
        self._busy: list[_Leaving] = []
        self._timer: IDelayedCall | None = None
        self._isPlanned = False
        self._isLooking = False

    @property
    def left(self) -> int:
        """How many connections there are, those in a handshake too."""
        return sum(each.left for each in self._listeners)

    # What listeners tell it.

    def add(self, listener: Draining) -> None:
        """
        A listener lets nobody in any more.

        Its connections are looked at in the reactor's next turn, together with those
        of other listeners that are added until then.
        """
        self._listeners[listener] = None
        if self._isPlanned:
            # It took its time.
            self._busy += map(self._leaving, listener.connections)
        self.wake()

    def remove(self, listener: Draining) -> None:
        """
        A listener's last connection is gone; one that was not added is no error.
        """
        if listener not in self._listeners:
            return
        del self._listeners[listener]
        if self._listeners:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._isAnnounced:
            self._isAnnounced = False
            duration = self._reactor.seconds() - self._started
            self._emit(DrainEnded(self._service, self._cut, duration))

    def connectionStarted(self, connection: Connection) -> None:
        """
        Somebody who had been let in has come through a handshake.
        """
        if self._isPlanned:
            self._busy.append(self._leaving(connection))
        self.wake()

    def wake(self) -> None:
        """
        Look soon: somebody may be gone.
        """
        if self._isLooking or not self._listeners:
            return
        if self._timer is None:
            self._timer = self._reactor.callLater(0, self._look)
        else:
            self._timer.reset(0)

    def shorten(self, end: float) -> None:
        """
        Let the deadline be earlier; a later one is ignored.

        Args:
            end: As the reactor tells the time.
        """
        if end >= self.end or self.isOver:
            return
        self.end = end
        if self._isPlanned and not self._isLooking:
            now = self._reactor.seconds()
            self._plan([*self._busy, *(leaving for _, leaving in self._queue)], now)
            if end > now and self._isAnnounced:
                self._emitProgress(now)
        self.wake()

    # What it does.

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        self._isLooking = True
        if not self._isPlanned:
            self._isPlanned = True
            everybody = [each for listener in self._listeners for each in listener.connections]
            self._plan([*map(self._leaving, everybody)], now)
        if self.left and not self._isAnnounced:
            self._isAnnounced = True
            self._progress = now + PROGRESS
            self._emit(DrainStarted(self._service, self.left, self.end - self._started))
        if now < self.end:
            self._sendAway(now)
        else:
            self._cutAll(now)
        for listener in [*self._listeners]:
            listener.checkGone()
        if self._listeners:
            if now >= self._progress and self.left and not self.isOver:
                self._emitProgress(now)
            self._arm(now)
        self._isLooking = False

    def _arm(self, now: float) -> None:
        if self.isOver:
            # An abort takes a turn of the reactor; nobody is looked at any more.
            when = self.end + ABANDON
            if now >= when:
                # A port takes its time to close.
                return
        elif self._busy:
            when = min(now + STEP, self.end)
        else:
            turn = self._queue[0][0] if self._queue else math.inf
            when = min(turn, max(self._progress, now + STEP), self.end)
        self._timer = self._reactor.callLater(max(0.0, when - now), self._look)

    def _emitProgress(self, now: float) -> None:
        self._progress = now + PROGRESS
        self._emit(DrainProgressed(self._service, self.left, self.end - now))

    # How they leave.

    def _leaving(self, connection: Connection) -> _Leaving:
        return _Leaving(connection, self._reactor.seconds())

    def _plan(self, everybody: list[_Leaving], now: float) -> None:
        # Half of a short deadline is for turns, and a quarter for being idle: what is
        # left is for last bytes.
        deadline = max(0.0, self.end - now)
        self._idle = min(DRAIN_IDLE, deadline / 4)
        self._firstRequest = min(FIRST_REQUEST, deadline / 3)
        spread = min(deadline / 2, len(everybody) / RATE)
        self._busy.clear()
        self._queue.clear()
        for place, leaving in enumerate(everybody):
            # Some of each bunch go with the next: those of several servers do not
            # come back in the same order.
            turn = spread * place / len(everybody) + STEP * self._jitter()
            self._queue.append((now + turn // STEP * STEP, leaving))

    def _sendAway(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            leaving = self._queue.popleft()[1]
            leaving.since = now
            self._busy.append(leaving)
        busy, self._busy = self._busy, []
        for leaving in busy:
            if not self._hasLeft(leaving, now):
                self._busy.append(leaving)

    def _hasLeft(self, leaving: _Leaving, now: float) -> bool:
        connection = leaving.connection
        if connection.disconnecting:
            # It leaves by itself, or is gone.
            return True
        isYoung = now < connection.started + self._firstRequest
        if IDrainable.providedBy(connection.protocol):
            mayGo = bool(connection.bytesReceived or connection.bytesSent) or not isYoung
        else:
            mayGo = leaving.isIdle(now, self._idle) and not (
                isYoung and connection.bytesReceived == 0
            )
        if mayGo:
            self._sayGoodbye(connection, now)
        return mayGo

    def _sayGoodbye(self, connection: Connection, now: float) -> None:
        try:
            connection.sayGoodbye(self.end - now)
        except Exception:  # noqa: BLE001 - a layer's bug, which must not keep the others
            self._emit(ProtocolRaised(self._service, connection.peer, "drainRequested", Failure()))

    def _cutAll(self, now: float) -> None:
        if not self.isOver:
            self.isOver = True
            # What is late to look is late to abandon as well.
            self.end = now
            self._cut = self.left
            self._queue.clear()
            self._busy.clear()
            for listener in [*self._listeners]:
                listener.abortAll()
        elif self._busy:
            # They were between two turns of the reactor.
            self._cut += len(self._busy)
            for leaving in self._busy:
                leaving.connection.abortConnection()
            self._busy.clear()
        elif now >= self.end + ABANDON:
            for listener in [*self._listeners]:
                listener.abandonAll()


class _Leaving:
    """
    A connection that is to be closed when it is idle.

    @ivar connection: The connection.
    @ivar since: Since when nothing is known to have passed.
    """

    __slots__ = ("_passed", "connection", "since")

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.since = now
        self._passed = -1

    def isIdle(self, now: float, limit: float) -> bool:
        """
        Say whether nothing is under way.

        Args:
            now: Seconds, as the reactor tells the time.
            limit: Seconds for which nothing has to have passed.
        """
        connection = self.connection
        passed = connection.bytesReceived + connection.bytesSent
        if passed != self._passed:
            self._passed = passed
            self.since = now
        if now < self.since + limit or connection.outflow.isFull:
            return False
        # The protocol has sent nothing since it was last spoken to: it may be about to.
        return not connection.bytesReceived or connection.sentBefore != connection.bytesSent
