"""
What is watched through C{addReader} and C{addWriter}: Twisted's own descriptors, and
those of others that are made like them.

Twisted makes a logging context for each call, which costs as much as receiving a
small datagram.  Here it is made when something is logged.

libuv ends the process (C{abort}) when the kernel does not know a descriptor that it is to
watch: somebody has closed it and not said so.  So it is given a duplicate of each, which
nobody else can close.
"""

from __future__ import annotations

import asyncio
import errno
import os
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


class Watching:
    """
    Which descriptors the loop watches for others.

    @ivar readers: What is read from, and the duplicate of its descriptor.
    @ivar writers: What is written to, likewise.
    """

    def __init__(self, reactor: Any) -> None:
        """
        Args:
            reactor: A L{myserv.reactor.core.UVLoopReactor}.
        """
        self._reactor = reactor
        self._loop: asyncio.AbstractEventLoop = reactor.eventLoop
        self.readers: dict[Any, int] = {}
        self.writers: dict[Any, int] = {}
        #: Those that are no duplicates, because there was no room for one.
        self._theirs: set[int] = set()

    def addReader(self, reader: Any) -> None:
        """
        Watch what is read from; what is watched already is no error.

        Raises:
            PermissionError: It is a file, which is always ready.
            OSError: It has no open descriptor.
        """
        if reader not in self.readers:
            call = Watch(reader, self._reactor).read
            self._add(reader, self._loop.add_reader, call, self.readers, self.writers)

    def addWriter(self, writer: Any) -> None:
        """
        Watch what is written to; as L{addReader}.
        """
        if writer not in self.writers:
            call = Watch(writer, self._reactor).write
            self._add(writer, self._loop.add_writer, call, self.writers, self.readers)

    def removeReader(self, reader: Any) -> None:
        """
        Watch it no more; what is not watched is no error.
        """
        number = self.readers.pop(reader, None)
        if number is not None:
            self._loop.remove_reader(number)
            if reader not in self.writers:
                self._close(number)

    def removeWriter(self, writer: Any) -> None:
        """
        Watch it no more; as L{removeReader}.
        """
        number = self.writers.pop(writer, None)
        if number is not None:
            self._loop.remove_writer(number)
            if writer not in self.readers:
                self._close(number)

    def _add(
        self,
        whose: Any,
        add: Callable[..., Any],
        call: Callable[[], None],
        these: dict[Any, int],
        others: dict[Any, int],
    ) -> None:
        known = others.get(whose)
        number = self._duplicate(whose.fileno()) if known is None else known
        try:
            self._reactor.watch(add, number, call)
        except BaseException:
            if known is None:
                self._close(number)
            raise
        these[whose] = number

    def _duplicate(self, number: int) -> int:
        try:
            return os.dup(number)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        self._theirs.add(number)
        return number

    def _close(self, number: int) -> None:
        if number in self._theirs:
            self._theirs.remove(number)
        else:
            os.close(number)
