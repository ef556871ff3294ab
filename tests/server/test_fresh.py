"""A fresh interpreter's verdict, and everything that may become of it instead."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from myserv.server import inquiry
from myserv.server.fresh import (
    MAXIMUM_OUTPUT,
    TIME_LIMIT,
    Verdict,
    checkFreshly,
    readVerdict,
    writeVerdict,
)


class Process:
    """Something that runs, and is killed."""

    pid = 77

    def __init__(self) -> None:
        self.done: list[str] = []
        self.hasExited = False

    def loseConnection(self) -> None:
        """Close what it is heard by."""
        self.done.append("closed")

    def signalProcess(self, name: str) -> None:
        """Kill it."""
        if self.hasExited:
            raise ProcessExitedAlready
        self.done.append(name)


class Reactor(Clock):
    """Starts one process."""

    error: OSError | None = None

    def spawnProcess(self, protocol: Any, *arguments: Any, **others: Any) -> Process:
        """Start it."""
        if self.error is not None:
            raise self.error
        self.protocol = protocol
        self.arguments, self.others = arguments, others
        # It must be open when the process is made.
        os.fstat(others["childFDs"][0])
        self.process = Process()
        return self.process


def check(reactor: Reactor) -> tuple[Deferred[Verdict], list[Any]]:
    """Have a file checked."""
    verdicts: list[Any] = []
    done = checkFreshly(reactor, "a.toml", "/srv")
    done.addBoth(verdicts.append)
    return done, verdicts


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Those that were ended."""
    ended: list[int] = []
    monkeypatch.setattr(inquiry, "endSession", ended.append)
    return ended


DONE = Failure(ProcessDone(0))
GOOD = Verdict((), {"Python": "3.11"})


def test_aGoodFile() -> None:
    """The command, where it runs, and what it said last."""
    reactor = Reactor()
    _, verdicts = check(reactor)
    assert reactor.arguments == (
        sys.executable,
        [sys.executable, "-m", "myserv.cli", "check", "--json", "a.toml"],
    )
    assert reactor.others["path"] == "/srv"
    assert reactor.others["env"] == dict(os.environ)
    reactor.protocol.outReceived(b"a plugin talks\n")
    for byte in writeVerdict(GOOD).encode():
        reactor.protocol.outReceived(bytes([byte]))
    reactor.protocol.outReceived(b"\n")
    reactor.protocol.errReceived(b"warning: something\n")
    assert verdicts == []
    reactor.protocol.processEnded(DONE)
    assert verdicts == [GOOD]
    assert reactor.getDelayedCalls() == []
    assert reactor.process.done == []


@pytest.mark.parametrize(
    ("output", "errors", "reason", "said"),
    [
        (b"", b"", DONE, ""),
        (b"{}", b"", DONE, ""),
        (b"[]", b"one\n\n", DONE, ": one"),
        (b'{"reasons": 3, "code": 4}', b"", DONE, ""),
        (
            b"",
            b"Traceback\n  File\nImportError: n\xff\n",
            Failure(ProcessTerminated(1)),
            (
                " (A process has ended with a probable error condition: process ended with "
                "exit code 1.): ImportError: n\N{REPLACEMENT CHARACTER}"
            ),
        ),
    ],
)
def test_aCheckThatBreaksOff(output: bytes, errors: bytes, reason: Failure, said: str) -> None:
    """Code that does not even load is told of by its last line."""
    reactor = Reactor()
    _, verdicts = check(reactor)
    reactor.protocol.outReceived(output)
    reactor.protocol.errReceived(errors)
    reactor.protocol.processEnded(reason)
    assert verdicts == [Verdict(failure=f"the check broke off{said}")]
    assert reactor.getDelayedCalls() == []


def test_aCheckThatTakesTooLong() -> None:
    """It is killed; that it ends then is nothing new."""
    reactor = Reactor()
    _, verdicts = check(reactor)
    reactor.advance(TIME_LIMIT - 1)
    assert verdicts == []
    reactor.advance(1)
    assert verdicts == [Verdict(failure="the check took longer than 60 seconds")]
    assert reactor.process.done == ["closed", "KILL"]
    reactor.protocol.processEnded(Failure(ProcessTerminated(None, 9)))
    assert len(verdicts) == 1


def test_aCheckThatNobodyWaitsFor() -> None:
    """It is killed as well."""
    reactor = Reactor()
    done, verdicts = check(reactor)
    done.cancel()
    [failure] = verdicts
    assert failure.check(CancelledError)
    assert reactor.process.done == ["closed", "KILL"]
    assert reactor.getDelayedCalls() == []
    reactor.protocol.processEnded(Failure(ProcessTerminated(None, 9)))


def test_noProcess() -> None:
    """The system may be out of them."""
    reactor = Reactor()
    reactor.error = OSError(11, "Resource temporarily unavailable")
    _, verdicts = check(reactor)
    me = pwd.getpwuid(os.geteuid()).pw_name
    failure = f"the check cannot be run as {me}: {sys.executable}: Resource temporarily unavailable"
    assert verdicts == [Verdict(failure=failure)]
    assert reactor.getDelayedCalls() == []


def test_noInterpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who cannot run it is named, also one without a name; nothing is tried."""
    program = tmp_path / "python"
    program.touch(0o644)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(os, "geteuid", lambda: 3999999)
    reactor = Reactor()
    _, verdicts = check(reactor)
    failure = f"the check cannot be run as user 3999999: {program}: Permission denied"
    assert verdicts == [Verdict(failure=failure)]
    program.unlink()
    _, verdicts = check(reactor)
    assert "No such file" in verdicts[0].failure
    assert not hasattr(reactor, "protocol")


def test_aCheckThatTalks() -> None:
    """It may say what it likes: no more is kept than a verdict may have."""
    reactor = Reactor()
    _, verdicts = check(reactor)
    for _ in range(3):
        reactor.protocol.outReceived(b"x" * MAXIMUM_OUTPUT)
        reactor.protocol.errReceived(b"x" * MAXIMUM_OUTPUT)
    reactor.protocol.outReceived(b"\n" + writeVerdict(GOOD).encode())
    reactor.protocol.processEnded(DONE)
    assert verdicts == [GOOD]


def test_theLine() -> None:
    """A verdict is one line, whatever it quotes."""
    verdict = Verdict(("one\ntwo", "é"), {"a": "b"})
    written = writeVerdict(verdict)
    assert "\n" not in written
    assert readVerdict(written.encode()) == verdict


def test_whatTheCheckHasStarted(sessions: list[int]) -> None:
    """It ends with the check, and holds nobody up if it cannot be ended."""
    reactor = Reactor()
    done, verdicts = check(reactor)
    reactor.protocol.outReceived(writeVerdict(GOOD).encode() + b"\nbye\n")
    reactor.process.hasExited = True
    reactor.protocol.processExited(DONE)
    assert sessions == [77]
    assert verdicts == []
    reactor.advance(inquiry.GRACE)
    assert verdicts == [GOOD]
    assert reactor.process.done == ["closed"]
    assert reactor.getDelayedCalls() == []
    reactor.protocol.processEnded(DONE)
    done.cancel()
    assert verdicts == [GOOD]


def test_aCheckThatHasJustEnded() -> None:
    """It cannot be killed any more when nobody waits for it."""
    reactor = Reactor()
    done, verdicts = check(reactor)
    reactor.process.hasExited = True
    reactor.protocol.processExited(DONE)
    done.cancel()
    reactor.protocol.processEnded(DONE)
    assert len(verdicts) == 1
    assert reactor.getDelayedCalls() == []


def test_exitedAfterItsTime(sessions: list[int]) -> None:
    """One that was killed exits, which ends no second wait."""
    reactor = Reactor()
    _, verdicts = check(reactor)
    reactor.advance(TIME_LIMIT)
    reactor.protocol.processExited(DONE)
    assert len(verdicts) == 1
    assert sessions == [77, 77]
    assert reactor.getDelayedCalls() == []
