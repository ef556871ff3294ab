"""
What a client says and what it must hear, stated once for every check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

Answer = bytes | re.Pattern[bytes] | Callable[[bytes], bool]
"""What must come back: these very bytes, all that a pattern matches, or what a
function says is right."""

MAX_CUTS: Final = 256
"""The most places that one request is cut at: a longer one is cut near its ends
and here and there between."""

_SHOWN: Final = 200


@frozen
class Exchange:
    """
    One thing that a client sends, and the answer.

    @ivar sends: The bytes, or the datagram.  Empty over a connection: the
        server speaks unasked, as with a greeting.
    @ivar expects: The answer; empty when there is none.
    @ivar closes: The server closes the connection after the answer.
    @ivar endless: The answer never ends: C{expects} is about its beginning.
    """

    sends: bytes = b""
    expects: Answer = b""
    closes: bool = False
    endless: bool = False

    def answeredBy(self, received: bytes) -> bool:
        """
        Say whether this is the whole answer.
        """
        if isinstance(self.expects, bytes):
            return received.startswith(self.expects) if self.endless else received == self.expects
        if isinstance(self.expects, re.Pattern):
            match = self.expects.match if self.endless else self.expects.fullmatch
            return match(received) is not None
        return self.expects(received)

    def mayBegin(self, received: bytes) -> bool:
        """
        Say whether the answer may begin like this; only bytes can tell.
        """
        return not isinstance(self.expects, bytes) or self.expects.startswith(received)

    def describe(self, received: object) -> str:
        """
        Say what came instead of the answer.
        """
        expected = self.expects
        if isinstance(expected, re.Pattern):
            wanted = f"what matches {shorten(expected.pattern)}"
        elif isinstance(expected, bytes):
            wanted = shorten(expected)
        else:
            wanted = f"what {getattr(expected, '__name__', expected)!s} accepts"
        return f"sent {shorten(self.sends)}, expected {wanted}, received {shorten(received)}"


def shorten(value: object) -> str:
    """
    Write a value for an error message, the middle left out of a long one.
    """
    text = repr(value)
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]} ... {text[-half:]}"


def caseName(case: Callable[..., object]) -> str:
    """
    What an error calls a check: its docstring, as the end of a sentence.
    """
    said = (case.__doc__ or case.__name__).strip().rstrip(".")
    return said[:1].lower() + said[1:]


def cuts(length: int) -> Iterator[int]:
    """
    Say where to cut so many bytes in two, so that both parts have some.
    """
    if length - 1 <= MAX_CUTS:
        yield from range(1, length)
        return
    third = MAX_CUTS // 3
    yield from range(1, third)
    yield from range(third, length - third, -(-(length - 2 * third) // third))
    yield from range(length - third, length)


def chunkings(data: bytes) -> Iterator[list[bytes]]:
    """
    Break bytes up in the ways that a network may: whole, one at a time, and in
    two at every place.

    For the tests of codecs: whatever a codec makes of one of them it has to
    make of each.
    """
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for cut in cuts(len(data)):
        yield [data[:cut], data[cut:]]
