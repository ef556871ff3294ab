"""
The one list through which every fact goes.
"""

from __future__ import annotations

from twisted.logger import Logger

from myserv.events import Event
from myserv.interfaces import IEventObserver

_log = Logger()


class Observers:
    """
    Hands each event to each observer that wants it, in the order they were added.
    """

    def __init__(self, *observers: IEventObserver) -> None:
        self._observers = observers
        # Who wants the events of a type: asked for every connection.
        self._wanting: dict[type, tuple[IEventObserver, ...]] = {}

    def add(self, observer: IEventObserver) -> None:
        """
        Let an observer know of every event from now on, but for what it ignores.
        """
        self._observers += (observer,)
        self._wanting = {}

    def remove(self, observer: IEventObserver) -> None:
        """
        Stop telling an observer; one that is not there is no error.
        """
        self._observers = tuple(each for each in self._observers if each is not observer)
        self._wanting = {}

    def wants(self, eventType: type) -> bool:
        """
        Tell whether any observer wants a type of event; who emits many of them need
        not make what nobody wants.
        """
        return bool(self._whoWant(eventType))

    def emit(self, event: Event) -> None:
        """
        Make a fact known.

        Error handling: an observer that raises is logged and keeps nobody
        else from knowing.
        """
        for observer in self._whoWant(type(event)):
            try:
                observer.observe(event)
            except Exception:  # noqa: BLE001 - one observer must not blind the others
                _log.failure("{observer!r} raised on {event!r}", observer=observer, event=event)

    def _whoWant(self, eventType: type) -> tuple[IEventObserver, ...]:
        wanting = self._wanting.get(eventType)
        if wanting is None:
            wanting = self._wanting[eventType] = tuple(
                each for each in self._observers if eventType not in getattr(each, "ignores", ())
            )
        return wanting
