"""What is left out of the log is counted, and said."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from myserv.observe.allowance import Allowance, Rate
from myserv.observe.restraint import TRAILING_INTERVAL, Restraint

PLENTY = Rate(1000, 1000.0)


class Stage:
    """A restraint whose lines are kept: one of each kind is allowed in 100 s."""

    def __init__(self, together: Rate = PLENTY, most: int = 256, perSecond: float = 0.01) -> None:
        self.clock = Clock()
        self.written: list[tuple[LogLevel, str, Any]] = []
        self.allowance = Allowance(Rate(1, perSecond), together)
        self.restraint = Restraint(self.clock, self._write, most)

    def _write(self, level: LogLevel, text: str, event: Any) -> None:
        self.written.append((level, text, event))

    def offer(self, text: str, kind: str = "kind", amount: int = 1) -> None:
        """Offer one line."""
        self.restraint.offer(self.allowance, kind, LogLevel.warn, text, f"e-{text}", amount)

    def take(self) -> list[str]:
        """The texts since the last time."""
        texts = [text for _, text, _ in self.written]
        self.written.clear()
        return texts


def test_allowed() -> None:
    """A line that is allowed is written as it is, with its event, and nothing is armed."""
    stage = Stage()
    stage.offer("a")
    assert stage.written == [(LogLevel.warn, "a", "e-a")]
    assert not stage.clock.getDelayedCalls()


def test_nextLineTells() -> None:
    """The next line of the kind says how many were left out, and since when; the next not."""
    stage = Stage(perSecond=1.0)
    for text in ("a", "b", "c"):
        stage.offer(text)
    stage.clock.advance(1.2)
    stage.offer("d")
    stage.clock.advance(1.0)
    stage.offer("e")
    assert stage.take() == ["a", "d (and 2 more in the last 2 s)", "e"]
    assert not stage.clock.getDelayedCalls()


def test_otherLinesDoNotTell() -> None:
    """A line of another kind says nothing of it, and the delayed call stays."""
    stage = Stage()
    for text in ("a", "b"):
        stage.offer(text)
    stage.offer("x", kind="other")
    assert stage.take() == ["a", "x"]
    assert len(stage.clock.getDelayedCalls()) == 1


def test_trailing() -> None:
    """When no line comes, a line of its own says what was left out, without an event."""
    stage = Stage(perSecond=0.1)
    for _ in range(1235):
        stage.offer("a")
    assert stage.take() == ["a"]
    assert len(stage.clock.getDelayedCalls()) == 1
    stage.clock.advance(TRAILING_INTERVAL)
    assert stage.written == [(LogLevel.warn, "a (the last of 1,234 in the last 10 s)", None)]
    assert not stage.clock.getDelayedCalls()


def test_trailingIsALineToo() -> None:
    """A line about what was left out waits until it is allowed; there is one delayed call."""
    stage = Stage(together=Rate(2, 0.1), perSecond=1.0)
    for kind in ("one", "two", "three"):
        stage.offer("a", kind)
        stage.offer("b", kind)
    assert stage.take() == ["a", "a"]
    told = []
    for _ in range(3):
        assert len(stage.clock.getDelayedCalls()) == 1
        stage.clock.advance(TRAILING_INTERVAL)
        told.append(stage.take())
    assert told == [
        ["b (the last of 1 in the last 10 s)"],
        ["b (the last of 1 in the last 20 s)"],
        ["b (the last of 2 in the last 30 s)"],
    ]
    assert not stage.clock.getDelayedCalls()


def test_amounts() -> None:
    """Lines that tell of several things are counted by those."""
    stage = Stage()
    for amount in (5, 6, 7):
        stage.offer(f"dropped {amount}", amount=amount)
    stage.restraint.flush()
    assert stage.take() == ["dropped 5", "dropped 7 (the last of 13 in the last 1 s)"]


def test_flush() -> None:
    """A flush says everything at once, whatever is allowed, and leaves no delayed call."""
    stage = Stage(together=Rate(1, 0.001))
    for kind in ("one", "two"):
        for text in ("a", "b"):
            stage.offer(text, kind)
    stage.clock.advance(3)
    stage.restraint.flush()
    stage.restraint.flush()
    assert stage.take() == [
        "a",
        "b (the last of 1 in the last 3 s)",
        "b (the last of 2 in the last 3 s)",
    ]
    assert not stage.clock.getDelayedCalls()


def test_kindsBeyondAreCountedTogether() -> None:
    """Kinds for which there is no room are counted together, and none is lost."""
    stage = Stage(together=Rate(1, 0.001), most=2)
    for number in range(10):
        stage.offer(f"line {number}", kind=f"kind {number}")
    assert len(stage.restraint._untold) == 3
    stage.restraint.flush()
    assert stage.take() == [
        "line 0",
        "line 1 (the last of 1 in the last 1 s)",
        "line 2 (the last of 1 in the last 1 s)",
        "line 9 (the last of 7 in the last 1 s)",
    ]


@pytest.mark.parametrize("pause", [0.0, 0.003, 0.4, 2.5])
def test_noCountIsLost(pause: float) -> None:
    """Whatever the pace, lines that are written and lines that are told of are all."""
    stage = Stage(perSecond=1.0, together=Rate(5, 2.0))
    for number in range(500):
        stage.offer("a", kind=f"kind {number % 7}")
        stage.clock.advance(pause)
    stage.restraint.flush()
    total = 0
    for _, text, event in stage.written:
        words = text.replace(",", "").split()
        total += event is not None
        total += int(words[2]) if "(and" in words else 0
        total += int(words[4]) if "(the" in words else 0
    assert total == 500
