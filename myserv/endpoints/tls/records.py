"""
Where TLS records begin and end in a stream of segments.

A record is a header of five bytes, the last two of which say how many bytes
follow (RFC 8446, section 5.1).
"""

from __future__ import annotations

from typing import Final

HEADER: Final = 5

MAXIMUM_PLAIN: Final = 16384
"""Bytes that one record carries at most."""


class RecordBoundaries:
    """
    Follows a stream from record to record.

    @ivar between: The next byte begins a record.
    """

    __slots__ = ("_header", "_outstanding", "between")

    def __init__(self) -> None:
        self.between = True
        # Of the record under way: bytes that are still to come, or, where not
        # even its header is complete, what there is of that.
        self._outstanding = 0
        self._header = b""

    def follow(self, segment: bytes) -> int:
        """
        Go on to the end of a segment.

        Returns:
            How many records end at its end or before; one too many if the last does not.
        """
        data = self._header + segment
        position = self._outstanding
        end = len(data)
        count = 1 if position else 0
        while position + HEADER <= end:
            count += 1
            position += HEADER + (data[position + 3] << 8 | data[position + 4])
        self._header = data[position:]
        self._outstanding = max(0, position - end)
        self.between = position == end
        return count
