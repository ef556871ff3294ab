"""
What a quote may be, how a file holds many, and which one to send.

RFC 865, "Quote Syntax": "It is recommended that it be limited to the ASCII
printing characters, space, carriage return, and line feed.  The quote may be
just one or up to several lines, but it should be less than 512 characters."
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from myserv.errors import ConfigurationError, Problem

MAXIMUM_QUOTE: Final = 511
"""Characters in a quote, with the CR LF of each line: less than 512."""

SEPARATOR: Final = b"%"
"""The line between two quotes, as in the files of fortune(6)."""

_PRINTABLE: Final = bytes(range(ord(" "), ord("~") + 1))


class Quotes:
    """
    Quotes to choose from.
    """

    def __init__(self, quotes: Iterable[bytes], randomBelow: Callable[[int], int]) -> None:
        """
        Args:
            quotes: One at least.
            randomBelow: Returns a random number from 0 to one below its
                argument, as C{secrets.randbelow} does.
        """
        self._quotes = sorted(quotes, key=len)
        self._randomBelow = randomBelow

    def choose(self) -> bytes:
        """
        Choose any quote.
        """
        return self._quotes[self._randomBelow(len(self._quotes))]

    def chooseWithin(self, size: int) -> bytes:
        """
        Choose a quote that is no longer than what asked for it, so that a
        forged source gains nothing by it.

        Args:
            size: The most bytes that it may have.

        Returns:
            A quote that fits; where none does, the start of one, which is
            nothing at all when C{size} is 0.
        """
        fitting = bisect_right(self._quotes, size, key=len)
        if fitting:
            return self._quotes[self._randomBelow(fitting)]
        return self.choose()[:size]


def parseQuotes(data: bytes, source: str) -> list[bytes]:
    """
    Read a file of quotes.

    Args:
        data: Quotes with a line C{%} between each two, and perhaps after the
            last; lines end with LF or CR LF.
        source: What to call the file in a problem.

    Returns:
        One quote at least, in the order of the file, each line ended by CR LF.

    Raises:
        ConfigurationError: With a problem for each quote that is missing, is too
            long, or has what is not printable ASCII.
    """
    quotes = []
    problems: list[Problem] = []
    for first, lines in _split(data):
        quotes.append(b"".join(line + b"\r\n" for line in lines))
        problems += _check(first, lines, source)
    if problems:
        raise ConfigurationError(problems)
    return quotes


def _split(data: bytes) -> Iterator[tuple[int, list[bytes]]]:
    # Each quote, with the number of its first line.
    lines = [line.removesuffix(b"\r") for line in data.rstrip().split(b"\n")]
    if lines[-1] != SEPARATOR:
        lines.append(SEPARATOR)
    first = 1
    for number, line in enumerate(lines, 1):
        if line == SEPARATOR:
            yield first, lines[first - 1 : number - 1]
            first = number + 1


def _check(first: int, lines: list[bytes], source: str) -> Iterator[Problem]:
    # A file that is not one of quotes should not yield a problem for each line:
    # one is told of each quote.
    for number, line in enumerate(lines, first):
        if wrong := line.translate(None, _PRINTABLE):
            message = f"byte 0x{wrong[0]:02x} is not printable ASCII, as a quote has to be"
            yield Problem(message, where=f"{source}:{number}")
            return
    length = sum(len(line) + len(b"\r\n") for line in lines)
    if not b"".join(lines).strip():
        yield Problem("there should be a quote here", where=f"{source}:{first}")
    elif length > MAXIMUM_QUOTE:
        message = f"this quote has {length} characters; the most is {MAXIMUM_QUOTE}"
        yield Problem(message, where=f"{source}:{first}")
