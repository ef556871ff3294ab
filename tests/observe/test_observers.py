"""Every fact goes to every observer."""

from __future__ import annotations

import pytest
from twisted.logger import Logger
from zope.interface import implementer

from myserv.events import ConnectionStarted, Event, ServiceStarted, ServiceStopped
from myserv.interfaces import IEventObserver
from myserv.observe import observers as module
from myserv.observe.observers import Observers
from myserv.testing import RecordingObserver

EVENT = ServiceStarted("echo")


def test_order() -> None:
    """Observers hear in the order they were added."""
    heard: list[str] = []

    @implementer(IEventObserver)
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def observe(self, event: Event) -> None:
            heard.append(self.name)

    observers = Observers(Named("first"))
    observers.add(Named("second"))
    observers.emit(EVENT)
    assert heard == ["first", "second"]


def test_remove() -> None:
    """An observer that was removed hears no more; an unknown one is no error."""
    observer = RecordingObserver()
    observers = Observers(observer)
    observers.emit(EVENT)
    observers.remove(observer)
    observers.remove(observer)
    observers.emit(EVENT)
    assert observer.events == [EVENT]


def test_removeWhileHearing() -> None:
    """Who leaves because of an event keeps nobody from hearing it."""
    last = RecordingObserver()

    @implementer(IEventObserver)
    class Leaves:
        def observe(self, event: Event) -> None:
            observers.remove(self)

    observers = Observers(Leaves(), last)
    observers.emit(EVENT)
    assert last.events == [EVENT]


def test_raising(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that raises is logged, and the others hear all the same."""
    logged: list[dict[str, object]] = []
    monkeypatch.setattr(module, "_log", Logger(observer=logged.append))  # type: ignore[arg-type]
    last = RecordingObserver()

    @implementer(IEventObserver)
    class Raises:
        def observe(self, event: Event) -> None:
            raise KeyError("oops")

    Observers(Raises(), last).emit(EVENT)
    assert last.events == [EVENT]
    [entry] = logged
    assert entry["event"] == EVENT
    assert "KeyError" in str(entry["log_failure"])


@implementer(IEventObserver)
class Choosy:
    """Wants no more than it says."""

    def __init__(self, *ignores: type) -> None:
        self.ignores = frozenset(ignores)
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


def test_ignores() -> None:
    """An observer is not told of what it ignores; the others are."""
    choosy, other = Choosy(ServiceStarted), RecordingObserver()
    observers = Observers(choosy, other)
    stopped = ServiceStopped("echo")
    for event in (EVENT, stopped, EVENT, stopped):
        observers.emit(event)
    assert choosy.events == [stopped, stopped]
    assert other.events == [EVENT, stopped, EVENT, stopped]


def test_wants() -> None:
    """A type of event is wanted while one observer is there that does not ignore it."""
    observers = Observers()
    assert not observers.wants(ServiceStarted)
    choosy, other = Choosy(ConnectionStarted), RecordingObserver()
    observers.add(choosy)
    assert observers.wants(ServiceStarted)
    assert not observers.wants(ConnectionStarted)
    observers.add(other)
    assert observers.wants(ConnectionStarted)
    observers.remove(other)
    assert not observers.wants(ConnectionStarted)
    observers.remove(choosy)
    assert not observers.wants(ServiceStarted)
