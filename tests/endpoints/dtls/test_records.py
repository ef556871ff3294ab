"""Where records begin and end."""

from __future__ import annotations

import pytest

from myserv.endpoints.dtls.records import (
    HEADER,
    MAXIMUM_DATAGRAM,
    isOneOfData,
    isUnencrypted,
    isWhole,
    pack,
    renumber,
)


def record(kind: int = 23, size: int = 20, *, version: int = 0xFEFD, epoch: int = 1) -> bytes:
    """A record, and nothing in it."""
    head = bytes((kind,)) + version.to_bytes(2, "big") + epoch.to_bytes(2, "big") + bytes(6)
    return head + size.to_bytes(2, "big") + bytes(size)


@pytest.mark.parametrize("kind", [20, 21, 22, 23])
@pytest.mark.parametrize("size", [0, 1, 16384 + 256])
def test_whole(kind: int, size: int) -> None:
    """A record is a datagram; a header alone carries nothing."""
    assert isWhole(record(kind, size)) is (size > 0)
    assert isOneOfData(record(kind, size)) is (kind == 23 and size > 0)


def test_several() -> None:
    """So are several, though not several of data."""
    assert isWhole(record(22) + record(20, 1) + record(22, 0))
    assert isWhole(record() + record())
    assert not isOneOfData(record() + record())


WRONG = {
    "empty": b"",
    "short": record()[: HEADER - 1],
    "header": record()[:HEADER],
    "cut": record()[:-1],
    "trailing": record() + b"\0",
    "half a record more": record() + record()[:HEADER],
    "version": record(version=0x0303),
    "second version": record() + record(version=0x0303),
    "type": record(24),
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "large": record(size=MAXIMUM_DATAGRAM - HEADER + 1),
}


@pytest.mark.parametrize("datagram", WRONG.values(), ids=list(WRONG))
def test_wrong(datagram: bytes) -> None:
    """What is not made of records is neither."""
    assert not isWhole(datagram)
    assert not isOneOfData(datagram) or datagram[0] == 23


@pytest.mark.parametrize("end", range(len(record(22) + record(20, 1))))
def test_everyPrefix(end: int) -> None:
    """Of two records, only the first whole one is a datagram of its own."""
    both = record(22) + record(20, 1)
    assert isWhole(both[:end]) is (end == len(record(22)))


def test_epochs() -> None:
    """What came before there were keys says so."""
    assert isUnencrypted(record(22, epoch=0))
    assert not isUnencrypted(record(22, epoch=1))
    assert not isUnencrypted(record(22, epoch=256))


def test_pack() -> None:
    """Records that ran together go in as few datagrams as hold them."""
    small, large = record(22, 87), record(22, 500)
    assert len(small) == 100
    assert list(pack(b"", 300)) == []
    assert list(pack(small, 300)) == [small]
    assert list(pack(small * 3, 300)) == [small * 3]
    assert list(pack(small * 4, 300)) == [small * 3, small]
    assert list(pack(large, 300)) == [large]
    assert list(pack(small + large + small * 2, 300)) == [small, large, small * 2]


def test_packWhatWasCut() -> None:
    """OpenSSL writes whole records; of anything else nothing is lost."""
    assert b"".join(pack(record()[:-5], 300)) == record()[:-5]


def test_renumber() -> None:
    """Records without keys are counted on from another number, and others are not."""
    records = record(22, 5, epoch=0) + record(20, 1, epoch=0) + record(22, 40, epoch=1)
    moved = renumber(records, 3)
    assert moved[5:11] == moved[23:29] == bytes(5) + b"\3"
    assert moved[32:] == records[32:]
    assert renumber(moved, -3) == records
    assert renumber(record(epoch=0), -1)[5:11] == b"\xff" * 6
    assert renumber(b"", 1) == b""
