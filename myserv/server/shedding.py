"""
When datagrams come faster than they are read: whose they are, and what becomes of them.

A socket's queue takes whatever comes first, so whoever sends the most has nearly all
of it, and everybody else's datagrams are lost in the kernel.  As long as the port keeps
up, nothing here is in the way of a datagram.  When it tells that it has fallen behind,
the datagrams of a short while are counted by their source, and again after a while that
doubles as long as there is nobody to blame.  Whoever sends more than its
share, and more than C{HEAVY_RATE}, is shut out: by the kernel, before the queue, where
the port can have it do so, or else here, before anybody has spent time on it.

It comes back after a second, and then is watched: the next time it is shut out at
once, and for twice as long.

A source may be forged.  Who forges one shuts out another's address, for as long as the
flood lasts and at most as long again, or a minute; who forges many is not found here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol

from myserv.endpoints.drops import REPORT_INTERVAL, Drops

SHED: Final = "it sent more than its share while the server could not keep up"
"""Why a datagram was dropped."""

HEAVY_RATE: Final = 1_000.0
"""Datagrams a second, read of one source, below which it is not the cause: Unbound's
manual suggests as much for the queries of a zone, NSD's has 200 for those of a source."""

WINDOW: Final = 0.1
"""Seconds for which the sources are counted; at C{HEAVY_RATE} that is 100 datagrams."""

LONGEST_REST: Final = 1.0
"""Seconds between two times of counting, at most, as long as nobody was found: a server
that is busy with what all of them send together is not to be busy with counting, too.
They begin with a quarter, and double."""

CALM: Final = 1.0
"""Seconds without having fallen behind, after which what was counted before says nothing
any more."""

CHANCE: Final = 4.0
"""Standard deviations by which a source has to be above the average: sources that are
all alike differ by chance, and none of them is the cause."""

WORTHWHILE: Final = 0.1
"""Part of all datagrams that the heavy sources have to have sent together: if it is
less, things would be no better without them."""

RELIEF: Final = 0.5
"""Part of the datagrams that may remain: the worst are shut out until it is no more."""

SHORTEST: Final = 1.0
"""Seconds for which a source is shut out the first time; each further time it is twice
as long as the time before."""

LONGEST: Final = 60.0
"""Seconds for which it is at most: as long as dnsdist blocks one in its manual."""

LEFTOVERS: Final = 0.25
"""Seconds for which what the kernel had queued before may still be read."""

WATCHED: Final = 0.25
"""Seconds for which one that was shut out is watched when it comes back.  When it sends
more than C{HEAVY_RATE} allows for this time, it is shut out again at once."""

FORGIVEN: Final = 60.0
"""Seconds after which one that has come back starts with C{SHORTEST} again."""

COUNTED_SOURCES: Final = 1_024
"""Sources that are counted at a time.  Whoever sends more than a thousandth of all
datagrams is among them, however many there are (Misra and Gries, 1982)."""

OFFENDERS: Final = 1_024
"""Sources that were shut out and are remembered."""


class Offender:
    """
    A source that was shut out.

    @ivar host: Its host, or the path of a UNIX socket.
    @ivar seconds: For how long it is shut out the next time.
    @ivar until: When it comes back.
    @ivar here: Until when its datagrams are dropped here, because the kernel does not,
        or has some left.
    @ivar seen: How many were received of it since it came back.
    """

    __slots__ = ("here", "host", "seconds", "seen", "until")

    def __init__(self, host: Any) -> None:
        self.host = host
        self.seconds = SHORTEST
        self.until = 0.0
        self.here = 0.0
        self.seen = 0


class Shedding:
    """
    Finds the sources that cause a flood, and keeps them out.

    @ivar isCounting: Datagrams are being counted by source.
    """

    def __init__(self, protocol: DatagramProtocol, reactor: Any, drops: Drops) -> None:
        """
        Args:
            protocol: What the port hands datagrams to; its C{datagramReceived} is
                replaced where and as long as that is necessary.
            reactor: Tells the time.
            drops: Counts what is thrown away.
        """
        self._protocol: Any = protocol
        self._reactor = reactor
        self._drops = drops
        self._deliver: Any = protocol.datagramReceived
        self._timer: IDelayedCall | None = None
        self.isCounting = False
        self._began = 0.0
        #: Of the counting, while nobody is found.
        self._rest = 0.0
        self._notBefore = 0.0
        self._toldLast = -math.inf
        self._total = 0
        self._counts: dict[Any, int] = {}
        self._offenders: dict[Any, Offender] = {}
        #: Those whose datagrams are dropped here.
        self._out: dict[Any, Offender] = {}
        #: Those that have come back a moment ago.
        self._watched: dict[Any, Offender] = {}
        self._shed = 0
        self._shedPeer: Any = None

    def readingFellBehind(self) -> None:
        """
        The port cannot keep up.
        """
        now = self._reactor.seconds()
        if now - self._toldLast >= CALM:
            self._rest = self._notBefore = 0.0
        self._toldLast = now
        if not self.isCounting and now >= self._notBefore:
            self.isCounting = True
            self._began = now
            self._total = 0
            self._counts.clear()
            self._look()

    def stop(self) -> None:
        """
        Be in nobody's way any more; what the kernel was told wears off by itself.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.isCounting = False
        self._offenders.clear()
        self._out.clear()
        self._watched.clear()
        self._stepAside()

    # The way of the datagrams, as long as there is something to do.

    def _received(self, datagram: bytes, addr: Any) -> None:
        host = addr[0] if type(addr) is tuple else addr
        if host in self._out:
            self._shed += 1
            self._shedPeer = addr
            return
        offender = self._watched.get(host)
        if offender is not None:
            offender.seen += 1
            if offender.seen > HEAVY_RATE * WATCHED:
                self._shutOut([offender])
                self._shed += 1
                self._shedPeer = addr
                self._look()
                return
        if self.isCounting:
            self._count(host)
        self._deliver(datagram, addr)

    def _count(self, host: Any) -> None:
        counts = self._counts
        self._total += 1
        if host in counts:
            counts[host] += 1
        elif len(counts) < COUNTED_SOURCES:
            counts[host] = 1
        else:
            # Each loses one that it has sent, so this costs no more than they did.
            self._counts = {each: count - 1 for each, count in counts.items() if count > 1}

    # Time.

    def _look(self) -> None:
        # Do what is due, and see to it that this is called for what is due next.
        now = self._reactor.seconds()
        if self.isCounting and now >= self._began + WINDOW:
            self.isCounting = False
            causes = self._findCauses(now - self._began)
            self._shutOut(causes)
            self._rest = 0.0 if causes else min(LONGEST_REST, 2 * self._rest or LONGEST_REST / 4)
            self._notBefore = now + self._rest
        self._tell()
        due = self._began + WINDOW if self.isCounting else math.inf
        self._out.clear()
        self._watched.clear()
        for offender in tuple(self._offenders.values()):
            due = min(due, self._place(offender, now))
        if self._out:
            due = min(due, now + REPORT_INTERVAL)
        if self._out or self._watched or self.isCounting:
            self._protocol.datagramReceived = self._received
        else:
            self._stepAside()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if due < math.inf:
            self._timer = self._reactor.callLater(max(0.0, due - now), self._look)

    def _place(self, offender: Offender, now: float) -> float:
        # Where it belongs, and until when.
        if now < offender.here:
            self._out[offender.host] = offender
            return offender.here
        if now < offender.until:
            return offender.until
        if now < offender.until + WATCHED:
            self._watched[offender.host] = offender
            return offender.until + WATCHED
        if now < offender.until + FORGIVEN:
            return offender.until + FORGIVEN
        del self._offenders[offender.host]
        return math.inf

    def _stepAside(self) -> None:
        self._protocol.__dict__.pop("datagramReceived", None)
        self._tell()

    def _tell(self) -> None:
        if self._shed:
            shed, self._shed = self._shed, 0
            self._drops.add(SHED, self._shedPeer, shed)

    # Whose fault it is.

    def _findCauses(self, elapsed: float) -> list[Offender]:
        counts = self._counts
        # One that is alone takes nobody's place.
        average = self._total / len(counts) if len(counts) > 1 else math.inf
        heavy = max(HEAVY_RATE * elapsed, average + CHANCE * math.sqrt(average))
        worst = sorted(
            ((count, host) for host, count in counts.items() if count > heavy),
            key=lambda each: each[0],
            reverse=True,
        )
        if sum(count for count, _ in worst) < WORTHWHILE * self._total:
            return []
        causes = []
        remaining = self._total
        for count, host in worst:
            if remaining <= RELIEF * self._total:
                break
            remaining -= count
            causes.append(self._offenderOf(host))
        return causes

    def _offenderOf(self, host: Any) -> Offender:
        offender = self._offenders.get(host)
        if offender is None:
            if len(self._offenders) >= OFFENDERS:
                # The one that was the first to be remembered.
                del self._offenders[next(iter(self._offenders))]
            offender = self._offenders[host] = Offender(host)
        return offender

    def _shutOut(self, offenders: Iterable[Offender]) -> None:
        now = self._reactor.seconds()
        byTime: dict[float, list[Offender]] = {}
        for offender in offenders:
            offender.seen = 0
            offender.until = now + offender.seconds
            byTime.setdefault(offender.seconds, []).append(offender)
            offender.seconds = min(LONGEST, 2 * offender.seconds)
        # Not every port can, and none for the paths of UNIX sockets.
        shutOut = getattr(self._protocol.transport, "shutOut", None)
        for seconds, each in byTime.items():
            isDone = shutOut is not None and shutOut([one.host for one in each], seconds)
            for offender in each:
                offender.here = now + (min(seconds, LEFTOVERS) if isDone else seconds)
