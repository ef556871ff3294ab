"""A daemon that cannot start tells it on the terminal that it was started from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from myserv.errors import ListenError
from myserv.tap import mistakes
from myserv.tap.mistakes import Refused, Terminal, oneLinePerMistake, refusing


class IdleReactor:
    """A reactor that does not run."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        self.later.append(call)


@contextmanager
def standardErrorPiped() -> Iterator[Callable[[], bytes]]:
    """Standard error is a pipe: what was written there."""
    before = os.dup(2)
    ours, theirs = os.pipe()
    os.dup2(theirs, 2)
    os.close(theirs)

    def read() -> bytes:
        data = os.read(ours, 65536)
        if not data:
            raise EOFError
        return data

    try:
        yield read
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(ours)


def test_theTerminalOfADaemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hears why it could not start, in one line, whole and once, and is then let go."""
    reactor, terminal = IdleReactor(), Terminal()
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
    monkeypatch.setattr(mistakes, "TERMINAL", terminal)
    reason = "é" * 100
    with standardErrorPiped() as written:
        for _ in range(2):
            with oneLinePerMistake():
                pass
        [release] = reactor.later
        with pytest.raises(Refused) as raised, refusing():
            raise ListenError(reason)
        assert written() == reason.encode() + b"\n"
        assert str(raised.value) == reason
        # What twistd does to become a daemon.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)
        with pytest.raises(Refused) as raised, refusing():
            raise ListenError(reason)
        assert written() == reason.encode() + b"\n"
        assert str(raised.value) == "the line above says why"
        assert raised.value.reason == reason
        release()
        release()
        # Nobody holds the pipe's other end any more.
        with pytest.raises(EOFError):
            written()
        assert not terminal.say("late")


def test_noTerminal() -> None:
    """There is none where standard error was closed, nor without a reactor to run."""
    reactor, terminal = IdleReactor(), Terminal()
    with standardErrorPiped() as written:
        terminal.keep(None)
        os.close(2)
        terminal.keep(reactor)
        assert not terminal.say("nothing")
        assert reactor.later == []
        with pytest.raises(EOFError):
            written()
