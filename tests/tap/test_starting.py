"""SIGTERM while a server starts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from myserv.tap.mistakes import Refused
from myserv.tap.starting import NUMBER, STOPPED, Starting


class Reactor(Clock):
    """As much of a reactor as a start needs."""

    running = False

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Callable[[], None]] = []
        self.stops = 0

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """Remember it."""
        self.later.append(call)

    def run(self) -> None:
        """Handle the signal, as reactors do, and call what waits for that."""
        signal.signal(NUMBER, self.stop)
        self.later.pop()()
        self.advance(0)

    def stop(self, *_: object) -> None:
        """Count."""
        self.stops += 1


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """One that does not run yet; the signal is as it was when the test is over."""
    before = signal.getsignal(NUMBER)
    yield Reactor()
    signal.signal(NUMBER, before)


def begun(reactor: Reactor) -> Starting:
    """A start in a process where nobody handles the signal."""
    signal.signal(NUMBER, signal.SIG_DFL)
    start = Starting()
    start.begin(reactor)
    return start


def terminate() -> None:
    """Send this process the signal."""
    os.kill(os.getpid(), NUMBER)


def test_nothingHappens(reactor: Reactor) -> None:
    """The reactor has the signal once it runs."""
    start = begun(reactor)
    start.open()
    reactor.run()
    assert reactor.stops == 0
    assert not start.isEnding
    assert signal.getsignal(NUMBER) == reactor.stop


def test_endsWhenItCan(reactor: Reactor) -> None:
    """What came early is for who handles the signal when the reactor runs."""
    start = begun(reactor)
    start.open()
    terminate()
    assert start.isEnding
    reactor.run()
    assert reactor.stops == 1


def test_aSecondOne(reactor: Reactor) -> None:
    """A start that hangs ends as one that was refused."""
    start = begun(reactor)
    start.open()
    terminate()
    with pytest.raises(Refused, match=STOPPED):
        terminate()


def test_nothingIsThereYet(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has opened nothing ends by the signal; a daemon of it is another."""
    start = begun(reactor)
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *words: killed.append(words))
    handler: Any = signal.getsignal(NUMBER)
    handler(NUMBER, None)
    assert killed == [(os.getpid(), NUMBER)]
    assert signal.getsignal(NUMBER) == signal.SIG_DFL
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert not start.isEnding
    handler(NUMBER, None)
    assert len(killed) == 1
    assert start.isEnding


def test_whoHandlesItAlready(reactor: Reactor) -> None:
    """A program that has a handler keeps it; so does one whose reactor runs, and a thread."""
    signal.signal(NUMBER, signal.SIG_DFL)
    start = Starting()
    thread = threading.Thread(target=start.begin, args=(reactor,))
    thread.start()
    thread.join()
    reactor.running = True
    start.begin(reactor)
    assert signal.getsignal(NUMBER) == signal.SIG_DFL
    reactor.running = False
    signal.signal(NUMBER, reactor.stop)
    start.begin(reactor)
    assert signal.getsignal(NUMBER) == reactor.stop
    assert reactor.later == []


def test_aReactorWithoutSignals(reactor: Reactor) -> None:
    """Where the reactor does not handle it, nor does the start any more."""
    start = begun(reactor)
    start.open()
    reactor.later.pop()()
    assert signal.getsignal(NUMBER) == signal.SIG_DFL
