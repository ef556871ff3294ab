"""
A worker's log, from the worker's end: records that are never torn and never waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

MAXIMUM_TEXT: Final = 65536
"""Characters of one record; a traceback has a few thousand."""

MAXIMUM_RECORD: Final = 2**20
"""Bytes of one record: each character may be six."""

MOST: Final = 2**20
"""Bytes that wait for the supervisor, at most: what comes then is counted and lost."""


def describeEvent(event: LogEvent) -> dict[str, Any]:
    """
    Write down a log event, its traceback too.
    """
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if len(text) > MAXIMUM_TEXT:
        text = f"{text[:MAXIMUM_TEXT]}… ({len(text) - MAXIMUM_TEXT} more characters)"
    level = event.get("log_level") or LogLevel.info
    system = event.get("log_system") or f"{event.get('log_namespace', '')}#{level.name}"
    return {
        "time": event.get("log_time"),
        "level": level.name,
        "system": str(system),
        "text": text,
        "isError": bool(event.get("isError")) or "log_failure" in event,
    }


@implementer(ILogObserver, IReadWriteDescriptor)
class RecordWriter:
    """
    Writes log events to a pipe, as JSON, a line each.
    """

    def __init__(self, descriptor: int, write: Callable[[int, bytes], int] = os.write) -> None:
        """
        Args:
            descriptor: The pipe.
            write: C{os.write}.
        """
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._write = write
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._reactor: Any = None

    def __call__(self, event: LogEvent) -> None:
        """
        Write an event, or keep it until there is room.
        """
        if self._size > MOST:
            self._lost += 1
            return
        self._append(describeEvent(event))
        self.doWrite()

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        self._waiting.append(line)
        self._size += len(line)

    def writeFrom(self, reactor: Any) -> None:
        """
        Let a reactor say when there is room.
        """
        self._reactor = reactor
        if self._waiting:
            reactor.addWriter(self)

    def doWrite(self) -> None:
        """
        Write what there is room for.
        """
        while self._waiting:
            line = self._waiting[0]
            try:
                sent = self._write(self._descriptor, line)
            except BlockingIOError:
                break
            except OSError:
                # Nobody reads it any more.
                self._waiting.clear()
                self._size = 0
                break
            self._size -= sent
            if sent < len(line):
                self._waiting[0] = line[sent:]
                break
            self._waiting.popleft()
        if not self._waiting and self._lost:
            lost, self._lost = self._lost, 0
            text = f"{lost} log line(s) were lost: they came faster than they could be written"
            self._append({"time": None, "level": "warn", "system": "myserv#warn", "text": text})
            self.doWrite()
        elif self._reactor is not None:
            (self._reactor.addWriter if self._waiting else self._reactor.removeWriter)(self)

    def finish(self) -> None:
        """
        Write what waits, if it is taken now: the process ends.
        """
        with contextlib.suppress(OSError):
            self.doWrite()

    def doRead(self) -> None:
        """
        Never called: nothing is read.
        """

    def fileno(self) -> int:
        """
        The descriptor, for the reactor.
        """
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """
        Nobody reads it any more.
        """
        self._waiting.clear()

    def logPrefix(self) -> str:
        """
        What the reactor calls it in the log.
        """
        return "log"
