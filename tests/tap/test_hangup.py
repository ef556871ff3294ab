"""SIGHUP."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from twisted.internet.task import Clock

from myserv.tap.hangup import INTERVAL, HangUp


class Reactor(Clock):
    """As much of a reactor as a signal needs."""

    def callFromThread(self, call: Callable[[], None]) -> None:
        """Call it in the reactor's next turn."""
        self.callLater(0, call)


@pytest.fixture
def reactor() -> Reactor:
    """A fake one."""
    return Reactor()


@pytest.fixture(autouse=True)
def before() -> Iterator[list[int]]:
    """Some program's handler, and how often it was called; afterwards all is as it was."""
    calls: list[int] = []
    found = signal.signal(signal.SIGHUP, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGHUP, found)


def hangUpNow() -> None:
    """Send this process the signal."""
    os.kill(os.getpid(), signal.SIGHUP)


def test_theSignalCallsInTheReactor(reactor: Reactor) -> None:
    """What is added is called, and not in the signal's handler."""
    before = signal.getsignal(signal.SIGHUP)
    called: list[str] = []
    hello = lambda: called.append("hello")  # noqa: E731 - it is told from others by identity
    bye = lambda: called.append("bye")  # noqa: E731
    hangUp = HangUp()
    hangUp.add(reactor, hello)
    hangUp.add(reactor, bye)
    hangUpNow()
    assert called == []
    reactor.advance(0)
    assert called == ["hello", "bye"]
    hangUp.remove(hello)
    reactor.advance(INTERVAL)
    hangUpNow()
    reactor.advance(0)
    assert called == ["hello", "bye", "bye"]
    hangUp.remove(bye)
    assert signal.getsignal(signal.SIGHUP) is before


def test_aStormIsOneReloadASecond(reactor: Reactor) -> None:
    """Signals that come fast are taken together, and the last is not lost."""
    called: list[float] = []
    reload = lambda: called.append(reactor.seconds())  # noqa: E731
    hangUp = HangUp()
    hangUp.add(reactor, reload)
    for _ in range(25):
        hangUpNow()
        reactor.advance(0.1)
    assert len(called) == 3
    reactor.advance(INTERVAL)
    assert len(called) == 4
    assert reactor.getDelayedCalls() == []
    hangUp.remove(reload)


def test_removedBeforeItsTurn(reactor: Reactor) -> None:
    """A server that stops does not reload any more."""
    called: list[str] = []
    reload = lambda: called.append("reload")  # noqa: E731
    hangUp = HangUp()
    hangUp.add(reactor, reload)
    hangUpNow()
    reactor.advance(0)
    hangUpNow()
    reactor.advance(0)
    hangUp.remove(reload)
    reactor.advance(INTERVAL)
    assert called == ["reload"]
    hangUp.add(reactor, reload)
    hangUpNow()
    hangUp.remove(reload)
    reactor.advance(INTERVAL)
    assert called == ["reload"]
    assert reactor.getDelayedCalls() == []


def test_removingWhatIsNotThere(reactor: Reactor) -> None:
    """Is no error, and leaves the signal alone."""
    before = signal.getsignal(signal.SIGHUP)
    reload = lambda: None  # noqa: E731
    hangUp = HangUp()
    hangUp.remove(reload)
    assert signal.getsignal(signal.SIGHUP) is before
    hangUp.add(reactor, reload)
    hangUp.remove(lambda: None)
    assert signal.getsignal(signal.SIGHUP) is not before
    hangUp.remove(reload)
    assert signal.getsignal(signal.SIGHUP) is before


def test_neverDeadlyAgain(reactor: Reactor) -> None:
    """Where nobody handled the signal before, nothing happens while a server drains."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    called: list[str] = []
    reload = lambda: called.append("reload")  # noqa: E731
    hangUp = HangUp()
    for count in (1, 2):
        hangUp.add(reactor, reload)
        hangUp.remove(reload)
        hangUpNow()
        reactor.advance(INTERVAL)
        hangUp.add(reactor, reload)
        hangUpNow()
        reactor.advance(INTERVAL)
        assert len(called) == count
        hangUp.remove(reload)


def test_backToAProgram(reactor: Reactor, before: list[int]) -> None:
    """A program that stops a server and goes on has its own handler again."""
    reload = lambda: None  # noqa: E731
    hangUp = HangUp()
    hangUp.expect()
    hangUp.add(reactor, reload)
    hangUpNow()
    assert before == []
    hangUp.remove(reload)
    hangUpNow()
    assert before == [signal.SIGHUP]


def test_beforeThereIsAServer(reactor: Reactor) -> None:
    """A signal that comes too early is kept for the first server, and told once."""
    called: list[str] = []
    first = lambda: called.append("first")  # noqa: E731
    second = lambda: called.append("second")  # noqa: E731
    hangUp = HangUp()
    hangUp.expect()
    hangUpNow()
    hangUpNow()
    hangUp.add(reactor, first)
    hangUp.add(reactor, second)
    assert called == []
    reactor.advance(INTERVAL)
    assert called == ["first"]
    hangUp.remove(first)
    hangUp.remove(second)
    hangUp.add(reactor, second)
    reactor.advance(INTERVAL)
    assert called == ["first"]
    hangUp.remove(second)


def test_expectedInAThread() -> None:
    """Where signals cannot be handled, they are left alone."""
    handler = signal.getsignal(signal.SIGHUP)
    thread = threading.Thread(target=HangUp().expect)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGHUP) is handler
