"""
What is watched through C{addReader} and C{addWriter}: Twisted's own descriptors, and
those of others that are made like them.

Twisted makes a logging context for each call, which costs as much as receiving a
small datagram.  Here it is made when something is logged.

libuv ends the process (C{abort}) when the kernel does not know a descriptor that it is to
watch, or to watch in another way: somebody has closed it and not said so.  So each is
looked at when that is asked for, and again before the loop tells the kernel.
"""

from __future__ import annotations

import asyncio
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


def _fileOf(descriptor: int) -> tuple[int, int]:
    # Another file may have the number by now.
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


class Watching:
    """
    Which descriptors the loop watches, and whether they are what they were.

    @ivar readers: What is read from, and its descriptor.
    @ivar writers: What is written to.
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
        self._files: dict[int, tuple[int, int]] = {}
        #: In how many ways a descriptor is watched: one or two.
        self._ways: dict[int, int] = {}
        self._new: set[int] = set()

    def addReader(self, reader: Any) -> None:
        """
        Watch what is read from; what is watched already is no error.

        Raises:
            PermissionError: It is a file, which is always ready.
            OSError: It has no open descriptor.
        """
        if reader not in self.readers:
            call = Watch(reader, self._reactor).read
            self._watch(reader, self._loop.add_reader, call, self.readers)

    def addWriter(self, writer: Any) -> None:
        """
        Watch what is written to; as L{addReader}.
        """
        if writer not in self.writers:
            call = Watch(writer, self._reactor).write
            self._watch(writer, self._loop.add_writer, call, self.writers)

    def removeReader(self, reader: Any) -> None:
        """
        Watch it no more; what is not watched is no error.
        """
        number = self.readers.pop(reader, None)
        if number is not None:
            self._ignore(number, self._loop.remove_reader)

    def removeWriter(self, writer: Any) -> None:
        """
        Watch it no more; as L{removeReader}.
        """
        number = self.writers.pop(writer, None)
        if number is not None:
            self._ignore(number, self._loop.remove_writer)

    def _watch(
        self,
        whose: Any,
        add: Callable[..., Any],
        call: Callable[[], None],
        watched: dict[Any, int],
    ) -> None:
        number: int = whose.fileno()
        file = _fileOf(number)
        if self._files.get(number, file) != file:
            self._drop(number)
        add(number, self._reactor.callInBase, call)
        watched[whose] = number
        self._files[number] = file
        self._ways[number] = self._ways.get(number, 0) + 1
        if not self._new:
            self._loop.call_soon(self._checkNew)
        self._new.add(number)

    def _checkNew(self) -> None:
        # The kernel hears of them next.
        new, self._new = self._new, set()
        for number in new:
            if not self._isSame(number):
                self._drop(number)

    def _ignore(self, number: int, remove: Callable[[int], object]) -> None:
        if not self._isSame(number):
            self._drop(number)
        elif number in self._ways:
            remove(number)
            self._ways[number] -= 1
            if not self._ways[number]:
                del self._files[number], self._ways[number]

    def _isSame(self, number: int) -> bool:
        file = self._files.get(number)
        try:
            return file is None or _fileOf(number) == file
        except OSError:
            return False

    def _drop(self, number: int) -> None:
        # Both at once: to end one of them only would be another way to watch.
        self._loop.remove_reader(number)
        self._loop.remove_writer(number)
        del self._files[number], self._ways[number]
        for watched in (self.readers, self.writers):
            for each in [each for each, theirs in watched.items() if theirs == number]:
                del watched[each]
                _log.error("{each!r} has closed its descriptor while it was watched", each=each)
