"""
What ports have in common: reading that others stop, and that stops by itself.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IDelayedCall


class PausingDescriptor(FileDescriptor):
    """
    A descriptor that is read when its owner wants it, except during a pause.

    The two are kept apart, so that a pause that is over does not read for an
    owner who has stopped meanwhile, nor an owner who starts end a pause.
    """

    _reads = False
    _pause: IDelayedCall | None = None

    def startReading(self) -> None:
        """
        Read, at once or when the pause is over.
        """
        self._reads = True
        if self._pause is None:
            super().startReading()

    def stopReading(self) -> None:
        """
        Read nothing more, not even what is left of the batch at hand.
        """
        self._reads = False
        super().stopReading()

    def pauseReading(self, seconds: float) -> None:
        """
        Read nothing for a while, whatever is asked for meanwhile.

        Args:
            seconds: How long.
        """
        super().stopReading()
        reactor: Any = self.reactor
        self._pause = reactor.callLater(seconds, self._pauseOver)

    def _pauseOver(self) -> None:
        self._pause = None
        if self._reads:
            super().startReading()

    def endPause(self) -> None:
        """
        Leave no delayed call behind: the port closes.
        """
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
