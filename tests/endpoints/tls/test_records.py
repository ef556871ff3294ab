"""Where records begin and end, however the stream is cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from myserv.endpoints.tls.records import RecordBoundaries

RECORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


def written(contents: list[bytes]) -> bytes:
    """Records with these contents."""
    return b"".join(b"\x17\x03\x03" + len(each).to_bytes(2, "big") + each for each in contents)


@given(RECORDS, st.lists(st.integers(0, 400), max_size=30))
def test_anySegmentation(contents: list[bytes], cuts: list[int]) -> None:
    """It knows at the end of each segment whether a record ends there, and how many did."""
    stream = written(contents)
    ends = {0}
    for each in contents:
        ends.add(max(ends) + 5 + len(each))
    boundaries = RecordBoundaries()
    places = sorted({cut for cut in cuts if cut <= len(stream)} | {0, len(stream)})
    for start, end in itertools.pairwise(places):
        count = boundaries.follow(stream[start:end])
        assert boundaries.between == (end in ends)
        if boundaries.between:
            assert count == sum(start < each <= end for each in ends)
    assert boundaries.between


@given(RECORDS)
def test_byteByByte(contents: list[bytes]) -> None:
    """As slowly as can be."""
    boundaries = RecordBoundaries()
    stream = written(contents)
    for index in range(len(stream)):
        boundaries.follow(stream[index : index + 1])
    assert boundaries.between


def test_longRecords() -> None:
    """Their length has two bytes."""
    boundaries = RecordBoundaries()
    record = written([bytes(0x4142)])
    boundaries.follow(record[:10000])
    assert not boundaries.between
    boundaries.follow(record[10000:])
    assert boundaries.between
