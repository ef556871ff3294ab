"""A server of several processes as twistd sees it, with fake workers."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from myserv.errors import ConfigurationError
from myserv.observe.observers import Observers
from myserv.tap import workers
from myserv.tap.hangup import HANG_UP
from myserv.tap.log import ServerLog
from myserv.tap.mistakes import Refused
from myserv.tap.notify import Notifier
from myserv.tap.program import inheritedBySystemd, readFlags
from myserv.tap.server import exitWithFailure
from myserv.tap.workers import (
    REACTOR_VARIABLE,
    SupervisedServer,
    makeServer,
    workersReactor,
)
from myserv.workers.blueprint import Blueprint, packBlueprint
from myserv.workers.messages import Deaf, Drain, Failed
from myserv.workers.upgrade import VARIABLE
from tests.workers.stage import Stage, blueprint, ready


class Told(Notifier):
    """What systemd was told."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def _send(self, *assignments: str) -> None:
        self.words.append(assignments[0].partition("=")[0])

    _watchdog = None
    _address = ""


class Served:
    """A server that was made."""

    def __init__(self, tmp_path: Path, flags: dict[str, Any] | None) -> None:
        self.stage = Stage()
        clock: Any = self.stage.clock
        self.clock = clock
        self.running: list[Any] = []
        self.stops = 0
        self.clock.callWhenRunning = self.running.append
        self.clock.stop = self.stop
        self.clock.running = True
        self.file = tmp_path / "a.toml"
        self.file.write_text("a")
        self.told = Told()
        log = ServerLog(Observers(), self.clock, connections=False)
        self.server = SupervisedServer(
            self.clock, self.stage.supervisor, self.file, str(tmp_path), log, flags, self.told
        )

    def stop(self) -> None:
        """The reactor stops, the first time."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning

    def start(self) -> None:
        """As twistd does."""
        self.server.privilegedStartService()
        self.server.startService()
        self.running.pop()()


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """As they were."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP, signal.SIGTERM])


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, Any]:
    """Those of a server in the foreground."""
    made = readFlags(["-n", "--pidfile", str(tmp_path / "twistd.pid"), "myserv", "--config", "x"])
    assert made is not None
    return made


@pytest.fixture
def served(tmp_path: Path, flags: dict[str, Any]) -> Iterator[Served]:
    """A server."""
    made = Served(tmp_path, flags)
    yield made
    HANG_UP.remove(made.server.reload)


def test_readyAndDone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd is told; a signal stops the reactor, and the workers drain."""
    monkeypatch.setattr(workers, "check", lambda *_: Deferred())
    served.start()
    assert served.told.words == []
    served.server.reload()
    ready(*served.stage.spawner.processes)
    # It was asked to reload before it was ready.
    assert served.told.words == ["READY", "RELOADING"]
    os.kill(os.getpid(), signal.SIGTERM)
    served.clock.advance(0)
    assert served.stops == 1
    stopping = served.server.stopService()
    assert served.told.words[2:] == ["STOPPING", "EXTEND_TIMEOUT_USEC"]
    first, second = served.stage.spawner.processes
    assert first.said(Drain) == [Drain()]
    first.owner.ended("exit code 0")
    os.kill(os.getpid(), signal.SIGTERM)
    served.clock.advance(0)
    assert second.isKilled
    second.owner.ended("killed by SIGKILL")
    assert stopping.called


def test_itCannotStart(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker said is on the terminal, and the reactor stops."""
    said: list[str] = []
    registered: list[Any] = []
    monkeypatch.setattr(workers, "sayOnTerminal", said.append)
    monkeypatch.setattr(atexit, "register", registered.append)
    served.start()
    first, second = served.stage.spawner.processes
    first.owner.ended("exit code 1")
    second.owner.received(Failed("no luck"))
    second.owner.ended("exit code 1")
    assert said == ["no luck"]
    assert served.stops == 1
    assert registered == [exitWithFailure]
    served.server.stopService()


def test_theNextProgram(served: Served, tmp_path: Path, flags: dict[str, Any]) -> None:
    """It goes on with the workers there are, and begins with a reload."""
    served.start()
    old = served.stage.spawner.processes
    ready(*old)
    state = {
        "supervisor": served.stage.supervisor.pack(),
        "next": packBlueprint(blueprint("b")),
    }
    again = Served(tmp_path, flags)
    again.server.state = state
    again.start()
    adopted, new = again.stage.spawner.processes[:2], again.stage.spawner.processes[2:]
    ready(*new)
    for each in adopted:
        assert each.said(Drain) == [Drain()]
        each.owner.received(Deaf())
    assert again.told.words == ["READY"]
    again.server.stopService()
    HANG_UP.remove(again.server.reload)


class Replaced(BaseException):
    """The program was replaced."""


def upgrade(served: Served, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[Any]:
    """Reload with other code; what the next program would be started with."""
    given: list[Any] = []

    def replace(*arguments: Any) -> None:
        given.extend(arguments)
        assert not (served.file.parent / "twistd.pid").exists()
        raise error

    def check(reactor: Any, path: str, text: str, *_: Any) -> Deferred[Blueprint]:
        checking: Deferred[Blueprint] = Deferred()
        checking.callback(blueprint(text, fingerprint="2"))
        return checking

    monkeypatch.setattr(workers, "replaceProgram", replace)
    monkeypatch.setattr(workers, "check", check)
    (served.file.parent / "twistd.pid").write_text(str(os.getpid()))
    served.server.reload()
    return given


def test_replacingADaemonsProgram(
    tmp_path: Path, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It starts before it has detached.  The next program must not become a daemon again,
    nor lose its log, nor find its own pid file.
    """
    served = Served(tmp_path, {**flags, "nodaemon": False})
    served.clock.iterate = lambda _: ready(*served.stage.spawner.processes)
    monkeypatch.setattr(sys, "orig_argv", ["python", "twistd", "myserv", "x"])
    monkeypatch.setattr(sys, "argv", ["twistd", "myserv", "x"])
    served.start()
    given = upgrade(served, monkeypatch, OSError(2, "gone"))
    command, directory, state, descriptors, _ = given
    assert command[1:] == ["twistd", "--nodaemon", "--logfile=twistd.log", "myserv", "x"]
    assert directory == str(tmp_path)
    assert state["next"]["text"] == "a"
    assert descriptors
    # It could not be: the workers are new, and the pid file is there again.
    assert (tmp_path / "twistd.pid").read_text() == str(os.getpid())
    assert len(served.stage.spawner.processes) == 4
    served.server.stopService()
    HANG_UP.remove(served.server.reload)


def test_aDaemonThatCannotStart(tmp_path: Path, flags: dict[str, Any]) -> None:
    """Its parent hears of it before it has detached."""
    served = Served(tmp_path, {**flags, "nodaemon": False})

    def die(_: float) -> None:
        process = served.stage.spawner.processes[-1]
        process.owner.received(Failed("no luck\nat all"))
        process.owner.ended("exit code 1")
        served.clock.advance(0)

    served.clock.iterate = die
    with pytest.raises(Refused, match="no luck"):
        served.start()
    assert all(each.isKilled for each in served.stage.spawner.processes[:1])
    HANG_UP.remove(served.server.reload)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "it was not started by twistd"),
        ({"uid": 5}, "it has no rights any more to start as it did (--uid)"),
    ],
)
def test_aProgramThatCannotBeReplaced(
    tmp_path: Path,
    flags: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any] | None,
    reason: str,
) -> None:
    """The workers are new all the same."""
    served = Served(tmp_path, None if given is None else {**flags, **given})
    served.start()
    ready(*served.stage.spawner.processes)
    assert upgrade(served, monkeypatch, Replaced()) == []
    new = served.stage.spawner.take(2)
    ready(*new)
    for each in served.stage.spawner.processes[:2]:
        each.owner.received(Deaf())
    assert reason in str(served.stage.events[-1])
    served.server.stopService()
    HANG_UP.remove(served.server.reload)


def test_twistdsFlags() -> None:
    """As twistd reads them, without doing anything."""
    made = readFlags(["-bn", "--reactor", "poll", "--spew", "myserv", "--config", "x"])
    assert made is not None
    assert made["reactor"] == "poll"
    assert made["debug"]
    assert readFlags(["--no-such-flag"]) is None


def test_whatSystemdSaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said again, to the next program."""
    from twisted.plugins.twisted_core import systemdEndpointParser
    from twisted.python.systemd import ListenFDs

    assert inheritedBySystemd() == ({}, [])
    monkeypatch.setattr(systemdEndpointParser, "_sddaemon", ListenFDs([3, 4], ["a", "b"]))
    pid = str(os.getpid())
    assert inheritedBySystemd() == (
        {"LISTEN_PID": pid, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"},
        [3, 4],
    )


def test_objectsOfATacFile(tmp_path: Path) -> None:
    """They are of one process, and cannot be another's."""
    file = tmp_path / "a.toml"
    file.write_text("[server]\nworkers = 2\n[services.e]\nprotocol='echo'\nlisten='tcp:0'\n")
    with pytest.raises(ConfigurationError, match=r"a.toml:2:1: server.workers: .*portal"):
        makeServer(file, portal=object())


def test_makingOne(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process where one is asked for; several; or a program that was another before."""
    file = tmp_path / "a.toml"
    file.write_text("[services.e]\nprotocol='echo'\nlisten='tcp:0'\n")
    assert not isinstance(makeServer(file), SupervisedServer)
    file.write_text("[server]\nworkers = 2\n" + file.read_text())
    made = makeServer(file)
    assert isinstance(made, SupervisedServer)
    assert made.supervisor.blueprint.workers == 2
    assert made.state is None
    memory = os.memfd_create("state")
    os.write(memory, b'{"next": %s}' % _json(made.supervisor.blueprint))
    monkeypatch.setenv(VARIABLE, str(memory))
    again = makeServer(file)
    assert isinstance(again, SupervisedServer)
    assert again.state is not None
    assert again.supervisor.blueprint == made.supervisor.blueprint


def _json(made: Blueprint) -> bytes:
    import json

    return json.dumps(packBlueprint(made)).encode()


class TestReactor:
    def test_whoChooses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What twistd is told comes first, then the environment."""
        monkeypatch.delenv(REACTOR_VARIABLE, raising=False)
        assert workersReactor("") == ""
        assert workersReactor("poll") == "poll"
        monkeypatch.setenv(REACTOR_VARIABLE, "epoll")
        assert workersReactor("") == "epoll"
        assert workersReactor("poll") == "poll"
        monkeypatch.setenv(REACTOR_VARIABLE, "")
        assert workersReactor("") == ""

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("pol", r'^MYSERV_REACTOR: there is no reactor "pol"; these are known: .*epoll, .*'),
            ("kqueue", r'^MYSERV_REACTOR: the reactor "kqueue" cannot be had: .*KQ_EV_ADD'),
        ],
    )
    def test_noneSuch(self, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
        """One line, before any process starts."""
        monkeypatch.setenv(REACTOR_VARIABLE, name)
        with pytest.raises(ConfigurationError, match=message):
            workersReactor("")
