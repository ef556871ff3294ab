"""
What is known: the latest value of each gauge, and who watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen


class FullError(Exception):
    """There are as many gauges as there may be."""


@frozen
class Reading:
    """A value, and when it came, in seconds of the server's clock."""

    value: float
    time: float


class Gauges:
    """
    The gauges of one service, shared by its connections and its datagrams.

    What peers can make it remember is bounded by the number of gauges.
    """

    def __init__(self, seconds: Callable[[], float], maximum: int, expiry: float) -> None:
        self._seconds = seconds
        self._maximum = maximum
        self._expiry = expiry
        self._readings: dict[str, Reading] = {}
        self._watchers: dict[Callable[[str, float], None], str] = {}

    def set(self, name: str, value: float) -> None:
        """
        A sensor reported: remember it and tell those who watch.

        Raises:
            FullError: It is a new gauge, and there is no room for it.
        """
        if name not in self._readings and len(self._readings) >= self._maximum:
            self._forget()
            if len(self._readings) >= self._maximum:
                raise FullError
        # Removed first, so that the oldest reading is the first of the dict.
        self._readings.pop(name, None)
        self._readings[name] = Reading(value, self._seconds())
        # A watcher may leave while it is told.
        for watcher, prefix in list(self._watchers.items()):
            if name.startswith(prefix):
                watcher(name, value)

    def get(self, name: str) -> float | None:
        """
        The latest value of a gauge, None when there is none.
        """
        self._forget()
        reading = self._readings.get(name)
        return None if reading is None else reading.value

    def list(self, prefix: str) -> Iterator[tuple[str, float]]:
        """
        Names and values of gauges, in the order of names.
        """
        self._forget()
        for name, reading in sorted(self._readings.items()):
            if name.startswith(prefix):
                yield name, reading.value

    def watch(self, prefix: str, watcher: Callable[[str, float], None]) -> None:
        """
        Call a watcher with every name and value from now on.
        """
        self._watchers[watcher] = prefix

    def unwatch(self, watcher: Callable[[str, float], None]) -> None:
        """
        Call it no more, if it was.
        """
        self._watchers.pop(watcher, None)

    def _forget(self) -> None:
        # Looked at when somebody asks: no timer, and nothing done twice.
        oldest = self._seconds() - self._expiry
        for name, reading in list(self._readings.items()):
            if reading.time > oldest:
                return
            del self._readings[name]
