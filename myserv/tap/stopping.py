"""
SIGTERM and SIGINT: the first one drains, a second one ends that at once.

The first is Twisted's: it stops the reactor, which waits for its services.  Twisted's
handler cannot be called again, since a reactor that stops cannot be stopped; so while
servers drain, the process has another one.
"""

from __future__ import annotations

import signal
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from myserv.server.statistics import ServiceStatistics
from myserv.tap.notify import Notifier

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What stops a server."""

SOON: Final = 0.05
"""Seconds; a server that stops sooner has nothing to say of it.  Who was accepted last
is counted by then."""

_log: Final = Logger(namespace="myserv")


class Stoppable(Protocol):
    """A server, as far as its end goes."""

    def stopNow(self) -> Deferred[Any]:
        """Cut every connection."""

    def statistics(self) -> tuple[ServiceStatistics, ...]:
        """Say what each service is doing."""


class Stopping:
    """
    The servers of this process that are on their way out.
    """

    def __init__(self) -> None:
        self._servers: list[Stoppable] = []
        self._before: dict[signal.Signals, Any] = {}
        self._reactor: Any = None

    def begin(
        self, server: Stoppable, reactor: Any, notifier: Notifier, stopped: Deferred[Any]
    ) -> Deferred[Any]:
        """
        A server has begun to drain: from now on a signal ends that at once.

        Args:
            server: The server.
            reactor: Its reactor.
            notifier: Tells systemd to be patient.
            stopped: Fires when it has stopped.

        Returns:
            That.
        """
        if stopped.called:
            return stopped
        notifier.draining(*_outlook(server))
        if not self._servers:
            self._reactor = reactor
            self._before = {each: signal.signal(each, self._received) for each in SIGNALS}
        self._servers.append(server)
        saying = reactor.callLater(SOON, _say, server)
        return stopped.addBoth(self._ended, server, saying)

    def _ended(self, result: Any, server: Stoppable, saying: IDelayedCall) -> Any:
        if saying.active():
            saying.cancel()
        self._servers.remove(server)
        if not self._servers:
            for each, before in self._before.items():
                signal.signal(each, before)
        return result

    def _received(self, number: int, frame: object) -> None:
        # A signal comes at any moment, in the middle of anything.
        self._reactor.callFromThread(self._signalled, signal.Signals(number).name)

    def _signalled(self, name: str) -> None:
        try:
            # If that works, it was the first: the program had stopped a server itself.
            self._reactor.stop()
        except ReactorNotRunning:
            _log.info("server: {name} again, ending at once", name=name)
            for server in [*self._servers]:
                server.stopNow()


def _outlook(server: Stoppable) -> tuple[int, float]:
    # How many are left, and for how many seconds at most.
    services = server.statistics()
    deadlines = [each.deadline or 0.0 for each in services]
    return sum(each.left for each in services), max(deadlines, default=0.0)


def _say(server: Stoppable) -> None:
    left, seconds = _outlook(server)
    _log.info(
        "server: draining for {seconds} s at most ({left} connected);"
        " a second SIGTERM or SIGINT ends it at once",
        seconds=f"{seconds:.3g}",
        left=left,
    )


STOPPING: Final = Stopping()
"""Those of this process."""
