"""
DTLS records: where one ends in a datagram, and how many a datagram may hold.

RFC 6347, section 4.1.  Nothing here decrypts, and nothing raises: what a peer sent
is well formed or it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

HEADER: Final = 13
"""Bytes before a record's own: type, version, epoch, sequence number, length."""

MAXIMUM_PLAIN: Final = 2**14
"""Bytes of the application's that one record holds (section 4.1)."""

MAXIMUM_DATAGRAM: Final = HEADER + MAXIMUM_PLAIN + 256
"""Bytes of a datagram that OpenSSL reads whole: a record as large as they get,
with what the accepted ciphers add to it."""

HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23

_TYPES: Final = frozenset({20, 21, HANDSHAKE, APPLICATION_DATA})
_MAJOR: Final = 0xFE


def isOneOfData(datagram: bytes) -> bool:
    """
    Say whether a datagram is a single record of application data.

    This is what nearly every datagram is, so it is asked first.
    """
    length = len(datagram)
    return (
        HEADER < length <= MAXIMUM_DATAGRAM
        and datagram[0] == APPLICATION_DATA
        and datagram[1] == _MAJOR
        and datagram[11] << 8 | datagram[12] == length - HEADER
    )


def isWhole(datagram: bytes) -> bool:
    """
    Say whether a datagram is made of whole records and nothing else.
    """
    length = len(datagram)
    if not HEADER < length <= MAXIMUM_DATAGRAM:
        return False
    position = 0
    while position < length:
        if position + HEADER > length or datagram[position] not in _TYPES:
            return False
        if datagram[position + 1] != _MAJOR:
            return False
        position += HEADER + _lengthAt(datagram, position)
    return position == length


def isUnencrypted(datagram: bytes) -> bool:
    """
    Say whether a datagram begins with a record from before there are keys, epoch 0.
    """
    return datagram[3:5] == b"\0\0"


def pack(records: bytes, maximum: int) -> Iterator[bytes]:
    """
    Make datagrams of the records that OpenSSL wrote, which has run them together.

    Args:
        records: Whole records, one after the other.
        maximum: Bytes that a datagram may have.  A record that is larger by
            itself is sent by itself.
    """
    start = position = 0
    while position < len(records):
        end = position + HEADER + _lengthAt(records, position)
        if end - start > maximum and position > start:
            yield records[start:position]
            start = position
        position = end
    if position > start:
        yield records[start:position]


def renumber(records: bytes, offset: int) -> bytes:
    """
    Raise the sequence numbers of records from before there are keys.

    Nothing but their own header depends on them; later ones are authenticated
    and left alone.

    Args:
        records: Whole records, one after the other.
        offset: What is added to each number.
    """
    renumbered = bytearray(records)
    position = 0
    while position + HEADER <= len(records):
        if records[position + 3 : position + 5] == b"\0\0":
            place = slice(position + 5, position + 11)
            number = int.from_bytes(records[place], "big") + offset
            renumbered[place] = (number % 2**48).to_bytes(6, "big")
        position += HEADER + _lengthAt(records, position)
    return bytes(renumbered)


def _lengthAt(data: bytes, position: int) -> int:
    return data[position + 11] << 8 | data[position + 12]
