"""
A worker's log, from the supervisor's end: into the supervisor's own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.errors import shorten
from myserv.workers.lines import MAXIMUM_RECORD

_CHUNK: Final = 65536

_LAST_CHUNKS: Final = 64
"""Chunks that are read of what a process that has ended left behind: all that a pipe holds."""


@implementer(IReadDescriptor)
class LineReader:
    """
    Reads lines from a pipe.

    Resources:
        The pipe is closed by L{finish}.
    """

    def __init__(
        self,
        reactor: Any,
        descriptor: int,
        received: Callable[[bytes], None],
        unread: bytes = b"",
    ) -> None:
        """
        Args:
            reactor: Watches the pipe.
            descriptor: Its end to read from.
            received: Called with each line.
            unread: What came before, of a line that has not ended.
        """
        os.set_blocking(descriptor, False)
        self._reactor = reactor
        self._descriptor = descriptor
        self._received = received
        self._buffer = bytearray(unread)
        self._isOpen = True
        reactor.addReader(self)

    @property
    def unread(self) -> bytes:
        """What has come of a line that has not ended."""
        return bytes(self._buffer)

    def doRead(self) -> None:
        """
        There is something.
        """
        # One chunk: whoever writes without end must not keep the others waiting.
        if self._readChunk() == 0:
            # Its descriptor stays: the next program of this process is told of it.
            self._reactor.removeReader(self)

    def _readChunk(self) -> int:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return -1
        except OSError:
            data = b""
        self._buffer += data
        if b"\n" in data:
            *lines, rest = self._buffer.split(b"\n")
            self._buffer = rest
            for line in lines:
                self._received(bytes(line))
        elif len(self._buffer) > MAXIMUM_RECORD:
            self._received(bytes(self._buffer))
            self._buffer.clear()
        return len(data)

    def finish(self) -> None:
        """
        Read what is left, and close the pipe.
        """
        if not self._isOpen:
            return
        for _ in range(_LAST_CHUNKS):
            if self._readChunk() <= 0:
                break
        self._isOpen = False
        self._reactor.removeReader(self)
        os.close(self._descriptor)
        if self._buffer:
            self._received(bytes(self._buffer))
            self._buffer.clear()

    def fileno(self) -> int:
        """
        The descriptor, for the reactor.
        """
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor gave the pipe up.
        """
        self.finish()

    def logPrefix(self) -> str:
        """
        What the reactor calls it in the log.
        """
        return "workers"


class Relay:
    """
    Writes what one worker says into the log, with its number.

    @ivar last: The last line that the worker printed past its log.
    """

    last = ""

    def __init__(self, worker: int, logger: Logger | None = None) -> None:
        """
        Args:
            worker: Its place, from 1.
            logger: The log.
        """
        self._worker = worker
        self._logger = logger or Logger(namespace="myserv")

    def record(self, line: bytes) -> None:
        """
        Write an event that the worker wrote down.
        """
        try:
            values = json.loads(line)
            level = LogLevel.levelWithName(values["level"])
            fields: dict[str, Any] = {"text": str(values["text"])}
            system = f"worker {self._worker}: {values['system']}"
            moment = values.get("time")
            isError = bool(values.get("isError"))
        except Exception:  # noqa: BLE001 - a half of a record, when it died writing it
            self.line(line)
            return
        if isinstance(moment, (int, float)):
            fields["log_time"] = moment
        if isError:
            fields["isError"] = 1
        self._logger.emit(level, "{text}", log_system=system, worker=self._worker, **fields)

    def line(self, line: bytes) -> None:
        """
        Write what the worker printed past its log.
        """
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self.last = shorten(text)
            self._logger.warn(
                "{text}", text=text, log_system=f"worker {self._worker}", worker=self._worker
            )
