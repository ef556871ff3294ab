"""
The language: lines of words, in and out.

No I/O and no clock.  Every function on a peer's bytes raises RequestError and
nothing else.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

NAME: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
"""A gauge's name, such as boiler.temperature; a prefix of one is the same, or empty."""

NUMBER: Final = re.compile(rb"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?")


class RequestError(Exception):
    """What a peer sent is no request; the text may be sent back."""


class LineTooLongError(RequestError):
    """Nor will it become one: there is no telling where the next line begins."""


@frozen
class Set:
    """A sensor reports: ``set boiler.temperature 81.5``."""

    name: str
    value: float


@frozen
class Get:
    """The latest value of one gauge: ``get boiler.temperature``."""

    name: str


@frozen
class List:
    """The latest values of many: ``list boiler.``, or ``list`` alone."""

    prefix: str


@frozen
class Watch:
    """Every value from now on: ``watch boiler.``, or ``watch`` alone."""

    prefix: str


Request = Set | Get | List | Watch


def parseRequest_untrusted(line: bytes) -> Request:
    """
    Read one line, without its end.

    Raises:
        RequestError: It is not a request.
    """
    match line.split():
        case [b"set", name, value] if NAME.fullmatch(name) and NUMBER.fullmatch(value):
            return Set(name.decode("ascii"), float(value))
        case [b"get", name] if NAME.fullmatch(name):
            return Get(name.decode("ascii"))
        case [b"list", *prefix] if _isPrefix(prefix):
            return List(b"".join(prefix).decode("ascii"))
        case [b"watch", *prefix] if _isPrefix(prefix):
            return Watch(b"".join(prefix).decode("ascii"))
    raise RequestError("use: set NAME NUMBER, get NAME, list [PREFIX], watch [PREFIX]")


def _isPrefix(words: list[bytes]) -> bool:
    return not words or (len(words) == 1 and NAME.fullmatch(words[0]) is not None)


class RequestReader:
    """
    Bytes in, requests out, at the pace of whoever takes them.
    """

    def __init__(self, maxLine: int) -> None:
        self._maxLine = maxLine
        self._buffer = bytearray()
        self._searched = 0

    def receive_data(self, data: bytes) -> None:
        """
        Take what arrived.
        """
        self._buffer += data

    def next_event(self) -> Request | None:
        """
        The next request; None when more bytes are needed.

        Raises:
            RequestError: The next line is none, and is gone.
            LineTooLongError: The stream cannot be read any further.
        """
        end = self._buffer.find(b"\n", self._searched)
        if (len(self._buffer) if end < 0 else end) > self._maxLine:
            raise LineTooLongError(f"a line may have {self._maxLine:d} bytes")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return parseRequest_untrusted(line)


def formatReading(name: str, value: float) -> bytes:
    """
    Write the line that tells of a gauge: ``boiler.temperature 81.5``.
    """
    return f"{name} {value:.15g}\n".encode("ascii")
