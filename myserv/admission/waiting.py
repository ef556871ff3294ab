"""
Who waits when there is no room: the listeners of a service pause, and resume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.python.failure import Failure

from myserv.events import Event, ProtocolRaised, ServiceFull, ServiceHasRoom

HAS_ROOM_AFTER: Final = 10.0
"""Seconds without being full after which a service is said to have room.  At the
limit one connection goes and another comes, perhaps thousands of times a second:
that is one fact, not thousands."""


class Watcher:
    """
    A listener, as far as it is told to pause and to resume, in turns.
    """

    __slots__ = ("isPaused", "pause", "resume")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """
        Args:
            pause: Accept nothing more.
            resume: Accept again.
        """
        self.pause = pause
        self.resume = resume
        self.isPaused = False


class Waiting:
    """
    Whether the arrivals of one service have to wait.

    No timer is behind it: it is told whenever something may have changed, and only
    then notices that time has passed.

    @ivar full: The key of the limit because of which they wait; C{None}: they do not.
    @ivar isUnsettled: It wants to be told when a connection comes or goes.
    """

    __slots__ = (
        "_emit",
        "_isAnnounced",
        "_roomSince",
        "_seconds",
        "_service",
        "_watchers",
        "full",
        "isUnsettled",
    )

    def __init__(
        self, service: str, seconds: Callable[[], float], emit: Callable[[Event], None]
    ) -> None:
        """
        Args:
            service: Its name.
            seconds: Tells the time.
            emit: Told when it begins and when it is over.
        """
        self._service = service
        self._seconds = seconds
        self._emit = emit
        self._watchers: list[Watcher] = []
        self._roomSince = 0.0
        self._isAnnounced = False
        self.full: str | None = None
        self.isUnsettled = False

    def watch(self, pause: Callable[[], None], resume: Callable[[], None]) -> Callable[[], None]:
        """
        Tell a listener when to pause, at once if need be, and when to resume.

        Returns:
            What ends it.  It may be called again.
        """
        watcher = Watcher(pause, resume)
        self._watchers.append(watcher)
        self._tell()

        def unwatch() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return unwatch

    def settle(self, limit: str | None, connections: int) -> None:
        """
        Something may have changed.

        Args:
            limit: The key of the limit that is reached; C{None}: there is room.
            connections: How many there are.
        """
        if self._hasHadRoom():
            self._isAnnounced = False
            self._emit(ServiceHasRoom(self._service))
        if limit is None and self.full is not None:
            self._roomSince = self._seconds()
        self.full = limit
        if limit is not None and not self._isAnnounced:
            self._isAnnounced = True
            self._emit(ServiceFull(self._service, limit, connections))
        self.isUnsettled = self._isAnnounced
        self._tell()

    def _hasHadRoom(self) -> bool:
        return (
            self._isAnnounced
            and self.full is None
            and self._seconds() - self._roomSince >= HAS_ROOM_AFTER
        )

    def _tell(self) -> None:
        # One that is told may let somebody in or out, and we are here again before
        # it returns: each turn looks anew.
        for watcher in tuple(self._watchers):
            shallPause = self.full is not None
            if watcher.isPaused == shallPause or watcher not in self._watchers:
                continue
            watcher.isPaused = shallPause
            try:
                (watcher.pause if shallPause else watcher.resume)()
            except BaseException:  # noqa: BLE001 - it must not keep an arrival from being counted
                during = "pause" if shallPause else "resume"
                self._emit(ProtocolRaised(self._service, None, during, Failure()))
