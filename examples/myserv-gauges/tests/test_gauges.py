"""What is known, for how long, and who is told."""

from __future__ import annotations

import pytest
from myserv_gauges.gauges import FullError, Gauges
from twisted.internet.task import Clock


def test_bound() -> None:
    """A gauge too many is refused; one that is known is not."""
    gauges = Gauges(lambda: 0.0, 2, 60)
    gauges.set("a", 1)
    gauges.set("b", 1)
    with pytest.raises(FullError):
        gauges.set("c", 1)
    gauges.set("a", 2)
    assert list(gauges.list("")) == [("a", 2), ("b", 1)]


def test_expiry() -> None:
    """What is not set again is forgotten, and makes room."""
    clock = Clock()
    gauges = Gauges(clock.seconds, 2, 60)
    gauges.set("a", 1)
    clock.advance(30)
    gauges.set("b", 1)
    gauges.set("a", 2)
    clock.advance(29)
    gauges.set("a", 3)
    clock.advance(31)
    gauges.set("c", 1)
    assert list(gauges.list("")) == [("a", 3), ("c", 1)]
    assert gauges.get("b") is None
    clock.advance(60)
    assert list(gauges.list("")) == []


def test_watch() -> None:
    """A watcher hears what it asked for until it leaves, even while it is told."""
    heard: list[tuple[str, float]] = []
    gauges = Gauges(lambda: 0.0, 10, 60)

    def watcher(name: str, value: float) -> None:
        heard.append((name, value))
        if value == 0:
            gauges.unwatch(watcher)

    gauges.watch("a.", watcher)
    for name, value in (("a.x", 1), ("b.x", 2), ("a.y", 0), ("a.x", 3)):
        gauges.set(name, value)
    assert heard == [("a.x", 1), ("a.y", 0)]
