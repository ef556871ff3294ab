"""
The pattern of characters (RFC 864, "Data Syntax").

"There are 95 printing characters in the ASCII character set.  Sort the
characters in an ordered sequence and number the characters from 0 through 94.
Think of the sequence as a ring so that character number 0 follows character
number 94.  [...]  On line N, put characters (0+N mod 95) through (71+N mod 95).
End each line with carriage return and line feed."
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LINE_LENGTH: Final = 72
"""Characters in a line, its end not counted."""

MAXIMUM_ANSWER: Final = 512
"""The most characters in an answering datagram (RFC 864, "UDP Based Character
Generator Service")."""

_RING: Final = bytes(range(ord(" "), ord("~") + 1))


def line(number: int) -> bytes:
    """
    Write one line of the pattern.

    Args:
        number: Which, from 0.

    Returns:
        72 printable characters, CR and LF.
    """
    start = number % len(_RING)
    return (_RING + _RING)[start : start + LINE_LENGTH] + b"\r\n"


PATTERN: Final = b"".join(map(line, range(len(_RING))))
"""One turn of the ring, 95 lines: line 95 is line 0 again, so the endless stream
is this block over and over."""


def answer(received: int, randomBelow: Callable[[int], int]) -> bytes:
    """
    Write an answering datagram: of random length, and never more than came in,
    so that a forged source gains nothing by it.

    Args:
        received: The length of the datagram to answer, in bytes.
        randomBelow: Returns a random number from 0 to one below its argument,
            as C{secrets.randbelow} does.

    Returns:
        0 to 512 characters.
    """
    return PATTERN[: randomBelow(min(received, MAXIMUM_ANSWER) + 1)]
