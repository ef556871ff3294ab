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
    Hands each event to each observer, in the order they were added.
    """

    def __init__(self, *observers: IEventObserver) -> None:
        self._observers = observers

    def add(self, observer: IEventObserver) -> None:
        """
        Let an observer know of every event from now on.
        """
        self._observers += (observer,)

    def remove(self, observer: IEventObserver) -> None:
        """
        Stop telling an observer; one that is not there is no error.
        """
        self._observers = tuple(each for each in self._observers if each is not observer)

    def emit(self, event: Event) -> None:
        """
        Make a fact known.

        Error handling: an observer that raises is logged and keeps nobody
        else from knowing.
        """
        for observer in self._observers:
            try:
                observer.observe(event)
            except Exception:  # noqa: BLE001 - one observer must not blind the others
                _log.failure("{observer!r} raised on {event!r}", observer=observer, event=event)
