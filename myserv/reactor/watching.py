"""
What is watched through C{addReader} and C{addWriter}: Twisted's own descriptors, and
those of others that are made like them.

Twisted makes a logging context for each call, which costs as much as receiving a
small datagram.  Here it is made when something is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import ConnectionFdescWentAway
from twisted.logger import Logger

from myserv.reactor.stream import contextOf

# What Twisted's reactors tell one that has closed its descriptor without a word.
_NO_DESCRIPTOR: Final = ConnectionFdescWentAway("File descriptor lost")

_log: Final = Logger()


class Watch:
    """
    One descriptor object, as the loop calls it.
    """

    __slots__ = ("_reactor", "_whose")

    def __init__(self, whose: Any, reactor: Any) -> None:
        """
        Args:
            whose: An C{IReadDescriptor} or C{IWriteDescriptor}.
            reactor: A L{myserv.reactor.core.UVLoopReactor}.
        """
        self._whose = whose
        self._reactor = reactor

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        What Twisted's log finds in the context of a call: whose call it is.

        Raises:
            KeyError: Something else is looked for.
        """
        return contextOf(self._whose, key)

    def read(self) -> None:
        """
        There is something to read.
        """
        self._call(self._whose.doRead, read=True)

    def write(self) -> None:
        """
        There is room to write.
        """
        self._call(self._whose.doWrite, read=False)

    def _call(self, method: Callable[[], Any], *, read: bool) -> None:
        whose = self._whose
        contexts = self._reactor.contexts
        contexts.append(self)
        try:
            why = _NO_DESCRIPTOR if whose.fileno() == -1 else method()
        except BaseException as raised:  # noqa: BLE001 - a bug of whoever is watched
            _log.failure("{selectable} raised", selectable=whose)
            why = raised
        try:
            if why:
                self._reactor._disconnectSelectable(whose, why, read)
        finally:
            contexts.pop()
