"""SIGHUP."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from myserv.tap.hangup import HangUp


class Queue:
    """As much of a reactor as a signal needs."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def callFromThread(self, call: Callable[[], None]) -> None:
        """Remember it."""
        self.waiting.append(call)


@pytest.fixture
def reactor() -> Queue:
    """Where calls wait."""
    return Queue()


def hello() -> None:
    """Be called."""


def bye() -> None:
    """Be called, too."""


def test_theSignalCallsInTheReactor(reactor: Queue) -> None:
    """What is added is called for each signal, and not in the signal's handler."""
    before = signal.getsignal(signal.SIGHUP)
    hangUp = HangUp()
    hangUp.add(reactor, hello)
    hangUp.add(reactor, bye)
    os.kill(os.getpid(), signal.SIGHUP)
    assert reactor.waiting == [hello, bye]
    hangUp.remove(hello)
    os.kill(os.getpid(), signal.SIGHUP)
    assert reactor.waiting == [hello, bye, bye]
    hangUp.remove(bye)
    assert signal.getsignal(signal.SIGHUP) is before


def test_removingWhatIsNotThere(reactor: Queue) -> None:
    """Is no error, and leaves the signal alone."""
    before = signal.getsignal(signal.SIGHUP)
    hangUp = HangUp()
    hangUp.remove(hello)
    assert signal.getsignal(signal.SIGHUP) is before
    hangUp.add(reactor, hello)
    hangUp.remove(bye)
    assert signal.getsignal(signal.SIGHUP) is not before
    hangUp.remove(hello)
    assert signal.getsignal(signal.SIGHUP) is before
