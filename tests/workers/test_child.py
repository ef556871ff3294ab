"""A worker's beginnings, in this process."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.application import reactors
from twisted.internet import default

from myserv.errors import ConfigurationError
from myserv.workers.checking import checkNow, readAnswer
from myserv.workers.child import awaitAssignment, installBestReactor
from myserv.workers.examine import examine
from myserv.workers.handed import HandedDatagramEndpoint, HandedEndpoint, Remaining
from myserv.workers.messages import Assignment, Ping, encode
from myserv.workers.process import describeStatus, workerEnvironment

ASSIGNMENT = Assignment(1, 2, 3, "a.toml", "x" * 200_000, [], searchPath=[])


def test_theFirstMessage() -> None:
    """It may come in pieces; what comes after it is left where it is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        whole = encode(ASSIGNMENT)
        ours.send(whole[:70_000])
        ours.setblocking(False)
        sent = 70_000

        class Slowly:
            """A socket that the supervisor writes to while it is read."""

            settimeout = theirs.settimeout

            def recv(self, *arguments: Any) -> bytes:
                """Write some more, then read."""
                nonlocal sent
                rest = whole[sent : sent + 50_000] or encode(Ping())
                sent += ours.send(rest)
                return theirs.recv(*arguments)

        slowly: Any = Slowly()
        assert awaitAssignment(slowly) == ASSIGNMENT
        assert theirs.recv(65536).endswith(encode(Ping()))


def test_aSupervisorThatIsGone() -> None:
    """There is nothing to do then; nor when it says something else first."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.send(encode(Ping()))
        with pytest.raises(EOFError):
            awaitAssignment(theirs)
        ours.close()
        with pytest.raises(EOFError):
            awaitAssignment(theirs)


def test_whichReactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was asked for; else the native one, or Twisted's own choice."""
    installed: list[str] = []
    native: Any = type(sys)("myserv.reactor")
    native.install = lambda: installed.append("native")
    monkeypatch.setitem(sys.modules, "myserv.reactor", native)
    monkeypatch.setattr(default, "install", lambda: installed.append("default"))
    monkeypatch.setattr(reactors, "installReactor", installed.append)
    installBestReactor("poll")
    installBestReactor("")
    monkeypatch.setitem(sys.modules, "myserv.reactor", None)
    installBestReactor("")
    assert installed == ["poll", "native", "default"]


def test_aReactorThatIsNotThere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error that names it."""

    def cannot(name: str) -> None:
        raise ImportError("no gtk")

    with pytest.raises(ConfigurationError, match="there is no reactor 'none'"):
        installBestReactor("none")
    monkeypatch.setattr(reactors, "installReactor", cannot)
    with pytest.raises(ConfigurationError, match="the reactor 'gtk3' cannot be had: no gtk"):
        installBestReactor("gtk3")


def test_whatAWorkerFindsInItsEnvironment() -> None:
    """Nothing that systemd says to the supervisor alone."""
    before = {"PATH": "/bin", "NOTIFY_SOCKET": "/x", "LISTEN_FDS": "1", "WATCHDOG_USEC": "5"}
    assert workerEnvironment(before) == {"PATH": "/bin"}


def test_howAProcessEnded() -> None:
    """In words."""
    assert describeStatus(3) == "exit code 3"
    assert describeStatus(-9) == "killed by SIGKILL"
    assert describeStatus(-63) == "killed by signal 63"


# --- checks ------------------------------------------------------------------------


def test_anAnswer() -> None:
    """Problems come as they were found; what is no answer is told with its last line."""
    with pytest.raises(ConfigurationError) as raised:
        readAnswer("a.toml", json.dumps({"problems": ["one", "two"]}).encode())
    assert [str(each) for each in raised.value.problems] == ["one", "two"]
    for answer in (b"", b"[]", b"{}", b'{"blueprint": {}}'):
        with pytest.raises(ConfigurationError, match=r"a\.toml: the check broke off: boom"):
            readAnswer("a.toml", answer, b"Traceback\nboom\n")
    with pytest.raises(ConfigurationError, match=r"a\.toml: the check broke off$"):
        readAnswer("a.toml", b"")


def test_aCheckThatCannotRun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes too long, or there is no interpreter."""
    with pytest.raises(ConfigurationError, match=r"a.toml: the check took longer than 0.01 sec"):
        checkNow("a.toml", "", str(tmp_path), (), timeLimit=0.01)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(
        ConfigurationError, match=r"the check cannot be run as \w+: /.*none: No such file"
    ):
        checkNow("a.toml", "", str(tmp_path), ())


def test_whatACheckFinds() -> None:
    """What the supervisor has to know, or everything that is wrong."""
    text = """
    [server]
    workers = "3"
    [limits]
    drain = "7s"
    [services.e]
    protocol = "echo"
    listen = ["tcp:7007", "udp:7007"]
    """
    request = {
        "path": "a.toml",
        "text": text,
        "running": None,
        "modules": ["myserv.workers.child"],
    }
    found = examine(request)["blueprint"]
    assert found["changes"] == ()
    assert found["workers"] == 3
    assert found["drain"] == 7
    assert found["services"] == ("e",)
    assert [each["place"] for each in found["places"]] == ["tcp:7007", "udp:7007"]
    other = examine({**request, "text": text.replace("7s", "8s")})["blueprint"]
    assert other["structure"] == found["structure"]
    assert other["fingerprint"] == found["fingerprint"]
    other = examine({**request, "text": text.replace("tcp:7007", "tcp:7008")})["blueprint"]
    assert other["structure"] != found["structure"]
    with pytest.raises(ConfigurationError, match="there is no user 'none-such'"):
        examine({**request, "text": text.replace("[server]", "[server]\nuser = 'none-such'")})
    with pytest.raises(ConfigurationError, match='"stdio" cannot be served by several workers'):
        examine({**request, "text": text.replace("udp:7007", "stdio:")})


def test_whatIsDifferent() -> None:
    """It is told as one process tells it, and what that could not change is no less changed."""
    text = """
    [server]
    workers = "3"
    [services.t]
    protocol = "daytime"
    listen = "tcp:7007"
    """
    request = {"path": "a.toml", "text": text, "running": text, "modules": []}
    assert examine(request)["blueprint"]["changes"] == ()
    other = text.replace("3", "2") + 'limits = {drain = "2s"}\noptions = {zone = "Europe/Berlin"}'
    assert examine({**request, "text": other})["blueprint"]["changes"] == (
        "server.workers: 2 instead of 3",
        "services.t.limits.drain: 2s instead of 30s",
        "services.t.options.zone",
    )
    # Code that was there when it was started may be gone.
    gone = text.replace("daytime", "no-such-protocol")
    assert examine({**request, "running": gone})["blueprint"]["changes"] == ()


# --- sockets -----------------------------------------------------------------------


class Port:
    """A port that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def ask() -> int:
            self.asked.append(name)
            return 5

        return ask


def test_severalSocketsAreOneEndpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of it is asked of all its ports; it is closed when all are."""
    from myserv.workers import handed

    ports = [Port(), Port()]
    closed: list[str] = []
    remaining = Remaining(lambda: closed.append("all"))
    remaining.opened()
    descriptors = os.pipe()
    together = handed.HandedPort(ports, descriptors, remaining)
    together.startListening()
    together.stopReading()
    together.startReading()
    together.doRead()
    assert together.getHost() == together.fileno() == 5
    together.stopListening()
    together.stopListening()
    assert closed == ["all"]
    assert ports[1].asked[:3] == ["stopReading", "startReading", "doRead"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])


def test_theEndpointsAreNotOpenYet() -> None:
    """They are made of descriptors, and open when they are listened on."""
    remaining = Remaining(lambda: None)
    for kind in (HandedEndpoint, HandedDatagramEndpoint):
        failures: list[Any] = []
        kind(None, [9999], remaining).listen(None).addErrback(failures.append)  # type: ignore[arg-type]
        assert "descriptor 9999" in str(failures[0].value)
