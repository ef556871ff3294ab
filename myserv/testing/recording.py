"""
An observer that remembers, for tests that ask what became known.
"""

from __future__ import annotations

from typing import TypeVar

from zope.interface import implementer

from myserv.events import Event
from myserv.interfaces import IEventObserver

E = TypeVar("E")


@implementer(IEventObserver)
class RecordingObserver:
    """
    Remembers every event.

    @ivar events: The events, oldest first.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """
        An event became known.
        """
        self.events.append(event)

    def ofType(self, kind: type[E]) -> list[E]:
        """
        The events of one kind, oldest first.
        """
        return [event for event in self.events if isinstance(event, kind)]

    def take(self) -> list[Event]:
        """
        The events since the last time this was called.
        """
        taken, self.events = self.events, []
        return taken
