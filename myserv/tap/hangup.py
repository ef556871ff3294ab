"""
SIGHUP: read again what may have changed on disk.

twistd leaves this signal alone, and a process has one handler for it however
many servers a C{.tac} file makes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final


class HangUp:
    """
    Those who want to know of SIGHUP.
    """

    def __init__(self) -> None:
        self._listening: list[tuple[Any, Callable[[], None]]] = []
        self._before: Any = None

    def add(self, reactor: Any, reload: Callable[[], None]) -> None:
        """
        Have something called, in the reactor, whenever the signal comes.

        Args:
            reactor: Where to call it.
            reload: What to call.
        """
        if not self._listening:
            self._before = signal.signal(signal.SIGHUP, self._received)
        self._listening.append((reactor, reload))

    def remove(self, reload: Callable[[], None]) -> None:
        """
        Have it called no longer; one that was not added is no error.
        """
        kept = [each for each in self._listening if each[1] != reload]
        if self._listening and not kept:
            signal.signal(signal.SIGHUP, self._before)
        self._listening = kept

    def _received(self, number: int, frame: object) -> None:
        for reactor, reload in self._listening:
            # A signal comes at any moment, in the middle of anything.
            reactor.callFromThread(reload)


HANG_UP: Final = HangUp()
"""That of this process."""
