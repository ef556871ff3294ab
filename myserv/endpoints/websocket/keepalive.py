"""
Who says nothing for long is asked, and who does not answer is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall


class KeepAlive:
    """
    The pings of one connection.

    Its one timer looks at what happened since it was set: nothing is timed per
    message, and a peer that talks is not asked.

    @ivar heard: Set it when anything comes from the peer.
    """

    def __init__(
        self,
        reactor: Any,
        interval: float,
        excused: Callable[[], bool],
        ask: Callable[[], None],
        cut: Callable[[], None],
    ) -> None:
        """
        Args:
            reactor: Tells the time.
            interval: Seconds that a peer may be silent, once before it is asked
                and once after.
            excused: Says whether the peer could not have been heard.
            ask: Sends a ping.
            cut: Ends the connection.
        """
        self._reactor = reactor
        self._interval = interval
        self._excused = excused
        self._ask = ask
        self._cut = cut
        self._asked = False
        self.heard = False
        self._timer: IDelayedCall = reactor.callLater(interval, self._due)

    def _due(self) -> None:
        if self.heard or self._excused():
            self._asked = self.heard = False
        elif self._asked:
            self._cut()
            return
        else:
            self._asked = True
            self._ask()
        self._timer = self._reactor.callLater(self._interval, self._due)

    def stop(self) -> None:
        """
        It no longer matters.
        """
        if self._timer.active():
            self._timer.cancel()
