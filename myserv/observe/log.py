"""
The log: each event as one readable line.
"""

from __future__ import annotations

from collections.abc import Hashable
from time import time
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.errors import MAXIMUM_LINE, printable, shorten
from myserv.events import AcceptFailed, Event, Offence, PeerPenalized, ProtocolRaised
from myserv.interfaces import IEventObserver
from myserv.observe.allowance import Allowance, Rate
from myserv.observe.lines import CONNECTION_EVENTS, LINES, cut
from myserv.observe.restraint import Restraint

EACH_KIND: Final = Rate(burst=10, perSecond=1.0)
"""Lines of one kind that peers may cause: at once, what Linux's printk_ratelimit lets
through (10 in 5 s); after that half as many."""

ALL_KINDS: Final = Rate(burst=50, perSecond=10.0)
"""Lines of all those kinds together: some 1 KB a second, where systemd-journald throws
away what is beyond 10,000 lines in 30 s, whosever they are."""

ATTEMPTS: Final = Rate(burst=1, perSecond=1.0)
"""Lines about ports that cannot accept, of all of them together: each tries again twice a
second for as long as it lasts, and they all fail for the same reason."""

CONNECTIONS: Final = Rate(burst=1000, perSecond=50.0)
"""Lines of connections and associations, if they are wanted: of one kind and together,
half a MiB a minute.  They take nothing from the others."""

EACH_TRACEBACK: Final = Rate(burst=3, perSecond=0.1)
"""Tracebacks of one exception raised in one place of the code: the second says hardly
more than the first."""

ALL_TRACEBACKS: Final = Rate(burst=20, perSecond=1.0)
"""Tracebacks together: 80 in a minute are at most 320 kB."""

MAXIMUM_TRACEBACK: Final = 4000
"""Characters of a traceback: some 30 calls.  Python's own may have a thousand."""


@implementer(IEventObserver)
class LogObserver:
    """
    Writes events to Twisted's log, which twistd sends where it was told to.

    Every line starts with the service's name, or C{server}, and carries the event
    itself, as C{event}, for observers that want more than text.  Lines that peers
    cause are left out when there are too many, and counted; what is said of several
    carries C{None}.

    An exception's own words are in its traceback, cut: a protocol that puts a
    password into an exception puts it into the log.

    @ivar ignores: See L{IEventObserver}.
    """

    def __init__(
        self,
        logger: Logger | None = None,
        *,
        connections: bool = True,
        clock: IReactorTime | None = None,
    ) -> None:
        """
        Args:
            logger: Where to write.
            connections: Write of each connection and association that it began and
                ended.
            clock: The reactor, which tells how often lines come; without it none is
                left out.
        """
        self._logger = logger or Logger(namespace="myserv")
        self.ignores: frozenset[type] = frozenset() if connections else CONNECTION_EVENTS
        self._clock = clock
        self._restraint = None if clock is None else Restraint(clock, self._write)
        self._peers = Allowance(EACH_KIND, ALL_KINDS)
        self._connections = Allowance(CONNECTIONS, CONNECTIONS)
        self._attempts = Allowance(ATTEMPTS, ATTEMPTS)
        self._tracebacks = Allowance(EACH_TRACEBACK, ALL_TRACEBACKS)

    def observe(self, event: Event) -> None:
        """
        Write what there is to say; of a protocol's bug, its traceback too.
        """
        eventType = type(event)
        if eventType in self.ignores or _isToldOtherwise(event):
            return
        line = LINES.get(eventType)
        if line is None:
            raise TypeError(f"not an event: {event!r}")
        service = getattr(event, "service", "server")
        text = line.text(event)
        level = line.level(event)
        if isinstance(text, tuple):
            for each in text:
                self._write(level, f"{service}: {each}", event)
        elif line.kind is None or self._restraint is None:
            self._write(level, f"{service}: {text}", event)
        else:
            self._restraint.offer(
                self._allowanceOf(eventType),
                (eventType, service, line.kind(event)),
                level,
                f"{service}: {text}",
                event,
                1 if line.amount is None else line.amount(event),
            )

    def _allowanceOf(self, eventType: type) -> Allowance:
        if eventType in CONNECTION_EVENTS:
            return self._connections
        return self._attempts if eventType is AcceptFailed else self._peers

    def flush(self) -> None:
        """
        Write what was left out and has not been told of.

        To be called when the server has stopped: no delayed call is left then.
        """
        if self._restraint is not None:
            self._restraint.flush()

    def _write(self, level: LogLevel, text: str, event: Event | None) -> None:
        text = cut(text, MAXIMUM_LINE)
        if "{" in text or "}" in text:
            text = text.replace("{", "{{").replace("}", "}}")
        logger = self._logger
        # What Logger.emit would make of it, with two shortcuts that halve what is ours
        # of a line's cost: the format is the text, so there is nothing to look up, which
        # log_flattened says; and the file's observer need not put log_system together.
        logged: LogEvent = {
            "log_logger": logger,
            "log_level": level,
            "log_namespace": logger.namespace,
            "log_source": logger.source,
            "log_format": text,
            "log_flattened": {},
            "log_system": f"{logger.namespace}#{level.name}",
            "log_time": time(),
            "event": event,
        }
        if isinstance(event, ProtocolRaised) and self._wantsTraceback(event.failure):
            logged["log_failure"] = _Cut(event.failure)
        logger.observer(logged)

    def _wantsTraceback(self, failure: Failure) -> bool:
        if self._clock is None:
            return True
        place: Hashable = failure.frames[-1][1:3] if failure.frames else None
        return self._tracebacks.take((failure.type, place), self._clock.seconds())


def _isToldOtherwise(event: Event) -> bool:
    # The event of what failed, or of the limit, says the same.
    return (
        isinstance(event, PeerPenalized)
        and event.offence in (Offence.HANDSHAKE, Offence.TIMEOUT)
        and not event.refusedFor
    )


class _Cut(Failure):
    """
    A failure whose traceback is not too long, and moves no cursor.
    """

    def getTraceback(self, elideFrameworkCode: int = 0, detail: str = "default") -> str:
        """
        See C{Failure}: what is too long is cut in its middle.
        """
        text: Any = super().getTraceback(elideFrameworkCode, detail)
        return "\n".join(map(printable, shorten(text, MAXIMUM_TRACEBACK).split("\n")))
