"""Signals while servers drain."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from myserv.server.statistics import ListenerStatistics, ServiceStatistics
from myserv.tap.notify import Notifier
from myserv.tap.stopping import SIGNALS, SOON, Stopping


class Reactor(Clock):
    """As much of a reactor as a signal needs; it stops already, unless it runs."""

    running = False

    def callFromThread(self, call: Callable[..., None], *arguments: object) -> None:
        """Call it in the reactor's next turn."""
        self.callLater(0, call, *arguments)

    def stop(self) -> None:
        """Stop."""
        if not self.running:
            raise ReactorNotRunning
        self.running = False


class Patient(Notifier):
    """Remembers for how long systemd is to be patient."""

    def __init__(self) -> None:
        super().__init__(Clock(), {})
        self.told: list[tuple[int, float]] = []

    def draining(self, connections: int, seconds: float) -> None:
        """Remember it."""
        self.told.append((connections, seconds))


class Server:
    """One that drains until the test says that it has, or it is to stop at once."""

    def __init__(self, *deadlines: float | None) -> None:
        self.deadlines = deadlines
        self.stopped: Deferred[str] = Deferred()
        self.cuts = 0

    def stopNow(self) -> Deferred[Any]:
        """Be told to, and do it."""
        self.cuts += 1
        self.stopped.callback("stopped")
        return succeed(None)

    def statistics(self) -> tuple[ServiceStatistics, ...]:
        """Say how long each of its services drains."""
        return tuple(self._service(each) for each in self.deadlines)

    def _service(self, deadline: float | None) -> ServiceStatistics:
        listener = ListenerStatistics(
            service="hall",
            endpoint="tcp:7000",
            state="stopping",
            address=None,
            connections=2,
            handshakes=1,
            started=0,
            refused={},
            bytesReceived=0,
            bytesSent=0,
            deadline=deadline,
        )
        return ServiceStatistics("hall", False, (listener,))


class Stage:
    """What stops, and what becomes known of it."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.notifier = Patient()
        self.stopping = Stopping()
        self.lines: list[str] = []
        #: What handled the signals before any server drained.
        self.before: list[Any] = []

    def begin(self, server: Server) -> Deferred[Any]:
        """A server begins to drain."""
        self.before = self.before or [signal.getsignal(each) for each in SIGNALS]
        return self.stopping.begin(server, self.reactor, self.notifier, server.stopped)

    def send(self, number: signal.Signals) -> None:
        """Send this process a signal."""
        os.kill(os.getpid(), number)

    def observe(self, event: Any) -> None:
        """Remember a line of the log."""
        if event.get("log_namespace") == "myserv":
            self.lines.append(event["log_format"].format(**event))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage that leaves the signals as they were."""
    stage = Stage()
    observe: Any = stage.observe
    globalLogPublisher.addObserver(observe)
    yield stage
    globalLogPublisher.removeObserver(observe)
    assert [signal.getsignal(each) for each in SIGNALS] == stage.before


def test_drainsToItsEnd(stage: Stage) -> None:
    """The log says how long it takes at most and how to end it; systemd is told as well."""
    server = Server(30.0, None, 12.5)
    results: list[str] = []
    stage.begin(server).addCallback(results.append)
    assert stage.lines == []
    stage.reactor.advance(SOON)
    [line] = stage.lines
    assert line.startswith("server: draining for 30 s at most (9 connected); a second SIGTERM or ")
    assert line.endswith(" SIGINT ends it at once")
    assert stage.notifier.told == [(9, 30.0)]
    server.stopped.callback("stopped")
    assert results == ["stopped"]
    assert server.cuts == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_second(stage: Stage, number: signal.Signals) -> None:
    """A second signal, of either kind, cuts everybody, in the reactor."""
    server = Server(30.0)
    stage.begin(server)
    stage.send(number)
    assert server.cuts == 0
    stage.reactor.advance(0)
    assert server.cuts == 1
    assert stage.lines == [f"server: {number.name} again, ending at once"]


def test_several(stage: Stage) -> None:
    """Of several servers in one process, each that is left is cut."""
    servers = [Server(30.0), Server(20.0), Server(10.0)]
    for server in servers:
        stage.begin(server)
    servers[0].stopped.callback("stopped")
    stage.send(signal.SIGTERM)
    stage.send(signal.SIGINT)
    stage.reactor.advance(0)
    assert [server.cuts for server in servers] == [0, 1, 1]


def test_nothingToWaitFor(stage: Stage) -> None:
    """A server that stops at once changes nothing, and nobody is told."""
    server = Server(30.0)
    server.stopped.callback("stopped")
    before = signal.getsignal(signal.SIGTERM)
    stage.begin(server)
    assert signal.getsignal(signal.SIGTERM) is before
    assert stage.lines == []


def test_soon(stage: Stage) -> None:
    """One that stops in a moment has nothing to say of it."""
    server = Server(30.0)
    stage.begin(server)
    server.stopped.callback("stopped")
    stage.reactor.advance(SOON)
    assert stage.lines == []
    assert stage.reactor.getDelayedCalls() == []


def test_aServerThatWasStoppedByItself(stage: Stage) -> None:
    """Where the reactor runs on, the first signal is the first: it stops the reactor."""
    stage.reactor.running = True
    server = Server(30.0)
    stage.begin(server)
    stage.send(signal.SIGTERM)
    stage.reactor.advance(0)
    assert not stage.reactor.running
    assert server.cuts == 0
    stage.send(signal.SIGTERM)
    stage.reactor.advance(0)
    assert server.cuts == 1


def test_failure(stage: Stage) -> None:
    """A server that stops badly gives the signals back, and its failure is not ours."""
    server = Server(30.0)
    outcome: list[Any] = []
    stage.begin(server).addErrback(outcome.append)
    server.stopped.errback(OSError("no"))
    assert outcome[0].check(OSError)
