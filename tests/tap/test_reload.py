"""A server that reads its configuration file again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from myserv.events import (
    ConfigurationApplied,
    ConfigurationRejected,
    Event,
)
from myserv.observe.lines import CONNECTION_EVENTS
from myserv.server.fresh import Verdict
from myserv.server.stream import StreamListener
from myserv.tap import server as tap
from myserv.tap.hangup import INTERVAL
from myserv.tap.reload import currentDirectory, roomFor
from myserv.tap.server import TwistdServer, makeTwistdServer, serveFile
from myserv.testing.logged import LoggedFailures
from tests.server.network import Network
from tests.server.test_transition import TWO, service

APPLIED = Verdict()


class Reactor(Network):
    """A reactor that a signal can reach."""

    running = True

    def callFromThread(self, call: Callable[[], None]) -> None:
        """Call it in the next turn."""
        self.callLater(0, call)

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """It runs."""
        call()


class Notified:
    """What systemd was told."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, reactor: object) -> Notified:
        """Be the notifier of a server."""
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.words.append(name)

    def heard(self) -> list[str]:
        """What it was told since it was last asked."""
        words, self.words = self.words, []
        return [each for each in words if each != "draining"]


class Stage:
    """A server that was made of a file, and a fresh interpreter that says what the test wants."""

    def __init__(self, directory: Path, reactor: Reactor, notified: Notified) -> None:
        self.file = directory / "a.toml"
        self.reactor = reactor
        self.notified = notified
        self.events: list[Event] = []
        self.checks: list[Deferred[Verdict]] = []
        self.asked: list[tuple[str, str | None]] = []
        self.verdict: Verdict | None = APPLIED

    def observe(self, event: Event) -> None:
        """Write it down."""
        self.events.append(event)

    def check(self, reactor: Any, path: str, directory: str | None) -> Deferred[Verdict]:
        """Ask the fresh interpreter."""
        self.asked.append((path, directory))
        if self.verdict is not None:
            return succeed(self.verdict)
        self.checks.append(Deferred())
        return self.checks[-1]

    def start(self, text: str, protocol: str = "echo", **others: Any) -> TwistdServer:
        """Serve a file of this text."""
        self.write(text)
        self.server = serveFile("a.toml", observers=(self,), **others)
        assert self.server.file is not None
        self.server.file._check = self.check
        self.server.privilegedStartService()
        self.server.startService()
        self.happened()
        return self.server

    def write(self, text: str) -> None:
        """Write the file."""
        self.file.write_text(text.replace('"room"', '"echo"'))

    def reload(self) -> None:
        """Have it read again, as a signal would."""
        self.server.reload()
        self.reactor.settle()

    def happened(self) -> list[Event]:
        """What is said of the configuration since the last time."""
        events, self.events = self.events, []
        return [
            each
            for each in events
            if isinstance(each, (ConfigurationApplied, ConfigurationRejected))
        ]

    def end(self) -> None:
        """Stop the server."""
        stopped = self.server.stopService()
        self.reactor.advance(60)
        assert stopped.called
        assert self.reactor.open() == []
        assert self.reactor.getDelayedCalls() == []


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> Reactor:
    """What twistd has installed."""
    installed = Reactor()
    monkeypatch.setattr("twisted.internet.reactor", installed, raising=False)
    return installed


@pytest.fixture
def stage(tmp_path: Path, reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A server in an empty directory; it is stopped when the test ends."""
    notified = Notified()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tap, "Notifier", notified)
    made = Stage(tmp_path, reactor, notified)
    yield made
    made.end()


def endpoints(server: TwistdServer) -> dict[str, list[str]]:
    """The endpoints of each service."""
    return {
        str(each.name): [listener.endpoint for listener in each.listeners]
        for each in server.protocolServices
    }


def test_nothingHasChanged(stage: Stage) -> None:
    """That is told, too; the file is checked where the server was started."""
    stage.start(TWO)
    stage.reload()
    assert stage.happened() == [ConfigurationApplied("a.toml", (), ())]
    assert stage.asked == [("a.toml", os.getcwd())]
    assert stage.notified.heard() == ["ready", "reloading", "ready"]


def test_theSignal(stage: Stage) -> None:
    """SIGHUP is what asks for it; a storm of them is taken together."""
    stage.start(TWO)
    for _ in range(5):
        os.kill(os.getpid(), signal.SIGHUP)
        stage.reactor.settle()
    assert len(stage.asked) == 1
    stage.reactor.advance(INTERVAL)
    assert len(stage.asked) == 2


def test_aChange(stage: Stage) -> None:
    """Services, endpoints and limits are other ones, and the next change is told from there."""
    server = stage.start(TWO)
    changed = service("a", "tcp:3") + service("c", "tcp:2") + "[limits]\nidle = '5s'\n"
    stage.write(changed)
    stage.reload()
    assert stage.happened() == [
        ConfigurationApplied(
            "a.toml",
            (
                "services.b: is gone",
                "services.c: is new",
                "services.a.listen: tcp:1 is gone",
                "services.a.listen: tcp:3 is new",
                "services.a.limits.idle: 5s instead of 10m",
            ),
            (),
        )
    ]
    assert endpoints(server) == {"a": ["tcp:3"], "c": ["tcp:2"]}
    assert stage.reactor.open() == ["tcp:2", "tcp:3"]
    stage.reload()
    assert stage.happened() == [ConfigurationApplied("a.toml", (), ())]
    assert server.describe() == "serving a, c on 2 endpoint(s)"


def test_whatTakesARestart(stage: Stage) -> None:
    """Is told each time, and stays as it is."""
    stage.start(TWO)
    stage.verdict = Verdict(code={"Python": "9.9", "the protocol echo": "myserv 0.0.7"})
    stage.write("[server]\nworkers = 2\nmaxConnections = 9\n" + TWO)
    for words in (("server.maxConnections: 9 instead of 0",), ()):
        stage.reload()
        [applied] = stage.happened()
        assert isinstance(applied, ConfigurationApplied)
        assert applied.changes == words
        assert applied.pending[0] == "server.workers: 2 instead of 1"
        assert applied.pending[1].startswith("Python: 9.9 is installed, ")
        assert applied.pending[2].startswith("the protocol echo: myserv 0.0.7 is installed, ")


def test_roomAndPenalties(stage: Stage) -> None:
    """What holds for all services changes at once."""
    server = stage.start(TWO)
    stage.write("[server]\nmaxConnections = 1\n[penalties]\nenabled = false\n" + TWO)
    stage.reload()
    [one, _] = server.protocolServices
    listener = one.listeners[0]
    arrival = listener.admission.admit(None, "tcp:1")
    assert listener.admission.full == "server.maxConnections"
    assert not isinstance(arrival, str)
    listener.admission.release(arrival)


def reporting(server: TwistdServer) -> set[bool]:
    """Whether listeners tell of their connections."""
    return {
        listener.reportsConnections
        for service in server.protocolServices
        for listener in service.listeners
        if isinstance(listener, StreamListener)
    }


def test_connectionsInTheLog(stage: Stage) -> None:
    """Somebody else who wants to know of connections always does; the log when it is asked to."""
    lines: list[str] = []

    @implementer(ILogObserver)
    def write(event: LogEvent) -> None:
        lines.append(str(event.get("log_format")))

    globalLogPublisher.addObserver(write)
    server = stage.start(TWO)
    assert reporting(server) == {True}
    for wanted in (True, False):
        stage.write(f"[server]\nlogConnections = {str(wanted).lower()}\n" + TWO)
        stage.reload()
        lines.clear()
        client = stage.reactor.connect(1)
        stage.reactor.settle()
        client.close()
        stage.reactor.settle()
        assert any("connection" in line for line in lines) is wanted
    globalLogPublisher.removeObserver(write)


def test_nobodyWantsConnections(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then listeners do not even make the events; new ones neither."""
    monkeypatch.setattr(Stage, "ignores", CONNECTION_EVENTS, raising=False)
    server = stage.start(TWO)
    assert reporting(server) == {False}
    stage.write("[server]\nlogConnections = true\n" + TWO + service("c", "tcp:3"))
    stage.reload()
    assert reporting(server) == {True}
    stage.write(TWO + service("d", "tcp:4"))
    stage.reload()
    assert reporting(server) == {False}


def test_aBadFile(stage: Stage) -> None:
    """Nothing changes, and every mistake is told."""
    server = stage.start(TWO)
    stage.verdict = Verdict(("a.toml:1:1: one", "a.toml:2:2: two"))
    stage.reload()
    assert stage.happened() == [
        ConfigurationRejected("a.toml", ("a.toml:1:1: one", "a.toml:2:2: two"))
    ]
    assert endpoints(server) == {"a": ["tcp:1"], "b": ["tcp:2", "udp:2"]}
    assert stage.notified.heard() == ["ready", "reloading", "ready"]


def test_noCheck(stage: Stage) -> None:
    """Nothing changes either, and nobody says that the file is wrong."""
    stage.start(TWO)
    stage.verdict = Verdict(failure="no interpreter")
    stage.write(TWO + service("c", "tcp:3"))
    stage.reload()
    assert stage.happened() == [
        ConfigurationRejected("a.toml", ("no interpreter",), isChecked=False)
    ]
    assert stage.notified.heard() == ["ready", "reloading", "ready"]


def test_aFileThatOnlyOtherCodeTakes(stage: Stage) -> None:
    """What is installed would serve it, what runs would not: that is told as well."""
    stage.start(TWO)
    stage.verdict = Verdict(code={"Python": "9.9"})
    stage.write(TWO + "options.colour = 'red'\n")
    stage.reload()
    [rejected] = stage.happened()
    assert isinstance(rejected, ConfigurationRejected)
    unknown, older = rejected.reasons
    assert unknown.startswith("a.toml:9:9: services.b.options.colour: unknown option")
    assert older.startswith("a.toml: Python: 9.9 is installed, ")
    assert older.endswith(" runs: it takes a restart")


def test_aPortThatIsInUse(stage: Stage) -> None:
    """Is told where it was asked for; everything else is as it was."""
    server = stage.start(TWO)
    stage.reactor.taken.add(9)
    stage.write(TWO + service("c", "tcp:3", "tcp:9"))
    stage.reload()
    [rejected] = stage.happened()
    assert isinstance(rejected, ConfigurationRejected)
    assert rejected.reasons == (
        (
            "a.toml:11:20: services.c.listen[1]: cannot listen on tcp:9: "
            "the address is in use: another program listens there"
        ),
    )
    assert stage.reactor.open() == ["tcp:1", "tcp:2", "udp:2"]
    assert endpoints(server) == {"a": ["tcp:1"], "b": ["tcp:2", "udp:2"]}


def test_oneAtATime(stage: Stage) -> None:
    """Whoever asks while it lasts has it done once more, and systemd waits for the last."""
    stage.start(TWO)
    stage.verdict = None
    for _ in range(3):
        stage.reload()
    assert len(stage.checks) == 1
    assert stage.notified.heard() == ["ready"] + ["reloading"] * 3
    stage.write(TWO + service("c", "tcp:3"))
    stage.checks[0].callback(APPLIED)
    assert len(stage.checks) == 2
    assert stage.notified.heard() == ["reloading"]
    stage.checks[1].callback(APPLIED)
    assert len(stage.checks) == 2
    assert stage.notified.heard() == ["ready"]
    first, second = stage.happened()
    assert isinstance(first, ConfigurationApplied)
    assert first.changes == ("services.c: is new",)
    assert second == ConfigurationApplied("a.toml", (), ())


def test_theServerStopsMeanwhile(stage: Stage) -> None:
    """The check is given up, and nothing is told or done any more."""
    server = stage.start(TWO)
    stage.verdict = None
    stage.reload()
    stage.reload()
    stopped = server.stopService()
    stage.reactor.settle()
    assert stopped.called
    assert stage.happened() == []
    failures: list[Any] = []
    stage.checks[0].addErrback(failures.append)
    assert len(stage.checks) == 1
    assert stage.notified.heard() == ["ready", "reloading", "reloading", "stopping"]


def test_aCheckThatCannotBeGivenUp(stage: Stage) -> None:
    """What was opened for a server that has stopped is closed again."""
    server = stage.start(TWO)
    stage.verdict = None
    check: Deferred[Verdict] = Deferred(lambda this: this.callback(APPLIED))
    stage.checks.append(check)
    assert server.file is not None
    server.file._check = lambda *arguments: check
    stage.write(TWO + service("c", "tcp:3"))
    stage.reload()
    stage.end()
    assert stage.happened() == []
    stage.server = stage.start(TWO)


def test_theServerStopsWhileOneOpens(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that takes its time is given up, and nobody is told that it failed."""
    monkeypatch.setattr("myserv.endpoints.tcp.execute", maybeDeferred)
    late: list[Deferred[object]] = []

    def listen(port: int, factory: object, **others: Any) -> Any:
        late.append(Deferred())
        return late[0]

    server = stage.start(TWO)
    monkeypatch.setattr(stage.reactor, "listenTCP", listen)
    stage.write(TWO + service("c", "udp:3", "tcp:9"))
    stage.reload()
    assert stage.reactor.open() == ["tcp:1", "tcp:2", "udp:2", "udp:3"]
    stopped = server.stopService()
    stage.reactor.settle()
    assert stopped.called
    assert stage.happened() == []
    assert len(late) == 1


def test_aBug(stage: Stage, loggedErrors: LoggedFailures) -> None:
    """Is in the log with its traceback, and keeps nobody from trying again."""
    server = stage.start(TWO)
    assert server.file is not None
    server.file._check = lambda *arguments: 1 // 0  # type: ignore[assignment]
    stage.reload()
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    server.file._check = stage.check
    stage.reload()
    assert stage.happened() == [ConfigurationApplied("a.toml", (), ())]


def test_anotherDirectory(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twistd may have gone elsewhere; paths in the file are relative to where it was started."""
    stage.start(TWO)
    monkeypatch.chdir("/")
    stage.write(TWO + service("c", "tcp:3", protocol="qotd", more="options.file = 'quotes.txt'"))
    (tmp_path / "quotes.txt").write_text("Less is more.\n")
    stage.reload()
    [applied] = stage.happened()
    assert isinstance(applied, ConfigurationApplied)
    assert applied.changes == ("services.c: is new",)
    assert os.getcwd() == "/"
    assert stage.asked == [("a.toml", str(tmp_path))]


def test_noDirectory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was removed is none."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert currentDirectory() is None


def test_whatWasToldToEnd(stage: Stage) -> None:
    """A server that stops waits for a service that an earlier change has told to end."""
    server = stage.start(TWO)
    client = stage.reactor.connect(1)
    client.stay()
    stage.reactor.settle()
    stage.write(service("b", "tcp:2", "udp:2"))
    stage.reload()
    assert [each.service for each in server.statistics()] == ["b", "a"]
    stopped = server.stopService()
    stage.reactor.settle()
    assert not stopped.called
    server.stopNow()
    stage.reactor.settle()
    assert client.aborted
    assert stopped.called


def test_certificatesOnly(stage: Stage) -> None:
    """A server that was made without a file has only those to read again."""
    reloaded: list[str] = []
    stage.write(TWO)
    made = serveFile("a.toml")
    assert made.file is not None
    plans = made.file.plan.services
    stage.server = server = makeTwistdServer(plans)
    server.startService()
    for each in server.protocolServices:
        each.reload = lambda name=each.name: reloaded.append(name)  # type: ignore[method-assign, misc]
    stage.notified.heard()
    stage.reload()
    assert reloaded == ["a", "b"]
    assert stage.notified.heard() == ["reloading", "ready"]


def test_certificatesAtOnce(stage: Stage) -> None:
    """They do not wait for the check."""
    reloaded: list[str] = []
    server = stage.start(TWO)
    stage.verdict = None
    for each in server.protocolServices:
        each.reload = lambda name=each.name: reloaded.append(name)  # type: ignore[method-assign, misc]
    stage.reload()
    stage.reload()
    assert reloaded == ["a", "b"] * 2


@pytest.mark.parametrize(
    ("maximum", "room", "expected"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (9, 7, 7)]
)
def test_room(maximum: int, room: int, expected: int) -> None:
    """The smaller of what the operator allows and what the system does."""
    assert roomFor(maximum, room) == expected
