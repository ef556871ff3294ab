"""
The log of a server that twistd runs.
"""

from __future__ import annotations

from typing import Any

from myserv.events import ConnectionEnded, ConnectionStarted
from myserv.observe.log import LogObserver
from myserv.observe.observers import Observers


class ServerLog:
    """
    Writes what happens to twistd's log; of each connection only if that is wanted.
    """

    def __init__(self, observers: Observers, reactor: Any, connections: bool) -> None:
        """
        Args:
            observers: Where facts become known.
            reactor: Tells how often lines come.
            connections: Write a line for each connection that starts or ends.
        """
        self._observers = observers
        self._reactor = reactor
        self._observer = self._begin(connections)

    def _begin(self, connections: bool) -> LogObserver:
        observer = LogObserver(connections=connections, clock=self._reactor)
        self._observers.add(observer)
        return observer

    @property
    def reportsConnections(self) -> bool:
        """Somebody wants to know of each connection: the log, or whoever else."""
        return any(map(self._observers.wants, (ConnectionStarted, ConnectionEnded)))

    def change(self, connections: bool) -> None:
        """
        Write of each connection from now on, or no longer.
        """
        self.flush()
        self._observers.remove(self._observer)
        self._observer = self._begin(connections)

    def flush(self) -> None:
        """
        Write what was held back, when the server stops.
        """
        self._observer.flush()
