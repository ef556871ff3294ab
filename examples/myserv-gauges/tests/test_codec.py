"""The language: every request, everything that is none, however it arrives."""

from __future__ import annotations

import pytest
from myserv_gauges.codec import (
    Get,
    LineTooLongError,
    List,
    Request,
    RequestError,
    RequestReader,
    Set,
    Watch,
    formatReading,
    parseRequest_untrusted,
)

from myserv.testing import chunkings


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (b"set a.b-c_1 81.5", Set("a.b-c_1", 81.5)),
        (b"  set\ta   -3\r", Set("a", -3.0)),
        (b"set a +0.25", Set("a", 0.25)),
        (b"get boiler", Get("boiler")),
        (b"list", List("")),
        (b"list boiler.", List("boiler.")),
        (b"watch", Watch("")),
        (b"watch boiler.", Watch("boiler.")),
    ],
)
def test_request(line: bytes, request_: Request) -> None:
    """Words are told apart by white space."""
    assert parseRequest_untrusted(line) == request_


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"set",
        b"set a",
        b"set a b",
        b"set a nan",
        b"set a inf",
        b"set a 1e9",
        b"set a 1.",
        b"set a 1 2",
        b"set a/b 1",
        b"set \xff 1",
        b"set a " + b"9" * 16,
        b"SET a 1",
        b"get",
        b"get a b",
        b"get " + b"a" * 65,
        b"list a b",
        b"watch \x00",
        b"delete a",
    ],
)
def test_no_request(line: bytes) -> None:
    """Whatever else it is, it is refused in one way."""
    with pytest.raises(RequestError, match=r"^use: set NAME NUMBER, get NAME"):
        parseRequest_untrusted(line)


def test_reader_however_bytes_arrive() -> None:
    """The same requests come out of the same bytes, and the rest waits."""
    for pieces in chunkings(b"set a 1\r\nget a\nlist\nwatch b"):
        reader = RequestReader(80)
        requests = []
        for piece in pieces:
            reader.receive_data(piece)
            while (request := reader.next_event()) is not None:
                requests.append(request)
        assert requests == [Set("a", 1.0), Get("a"), List("")]
        reader.receive_data(b"\n")
        assert reader.next_event() == Watch("b")


def test_reader_goes_on_after_an_error() -> None:
    """What is no request costs one line."""
    reader = RequestReader(80)
    reader.receive_data(b"nonsense\nget a\n")
    with pytest.raises(RequestError):
        reader.next_event()
    assert reader.next_event() == Get("a")


@pytest.mark.parametrize("data", [b"x" * 81, b"x" * 81 + b"\n", b"get a\n" + b"x" * 81])
def test_line_too_long(data: bytes) -> None:
    """A line that would fill the memory ends the reading, with its end or without."""
    reader = RequestReader(80)
    reader.receive_data(data)
    if data.startswith(b"get"):
        assert reader.next_event() == Get("a")
    with pytest.raises(LineTooLongError, match=r"^a line may have 80 bytes$"):
        reader.next_event()


@pytest.mark.parametrize(
    ("value", "line"), [(81.5, b"a 81.5\n"), (3.0, b"a 3\n"), (-0.125, b"a -0.125\n")]
)
def test_reading(value: float, line: bytes) -> None:
    """Numbers are written as short as they may be."""
    assert formatReading("a", value) == line
