"""What the supervisor and its workers say to each other."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from myserv.workers.messages import (
    MAXIMUM_MESSAGE,
    Assignment,
    ChangeLimits,
    Deaf,
    Drain,
    Failed,
    Message,
    MessageError,
    MessageReader,
    Penalties,
    Ping,
    Pong,
    Ready,
    decode,
    encode,
)

ASSIGNMENT = Assignment(1, 2, 3, "a.toml", "[server]\n", [["echo", 0, [5, 6]]], searchPath=[])

messages = some.one_of(
    some.sampled_from([Drain(), Ping(), Ready(), Deaf(), ASSIGNMENT]),
    some.builds(ChangeLimits, some.text()),
    some.builds(Failed, some.text()),
    some.builds(Pong, some.integers()),
    some.builds(
        Penalties,
        some.lists(
            some.tuples(some.integers(), some.floats(allow_nan=False, allow_infinity=False)).map(
                list
            )
        ),
    ),
)


@given(some.lists(messages), some.lists(some.integers(0, 200)), some.binary().filter(len))
def test_whateverIsSentArrives(sent: list[Message], cuts: list[int], rest: bytes) -> None:
    """Messages arrive whole and in order, however their bytes are cut."""
    stream = b"".join(map(encode, sent))
    reader = MessageReader()
    received: list[Message] = []
    for cut in cuts:
        received += reader.receiveData(stream[:cut])
        stream = stream[cut:]
    received += reader.receiveData(stream)
    assert received == sent
    assert reader.buffer == b""
    unfinished = rest.replace(b"\n", b"")
    assert reader.receiveData(unfinished) == []
    assert reader.buffer == unfinished


def test_byteByByte() -> None:
    """A message is there with its last byte."""
    reader = MessageReader()
    for byte in encode(ASSIGNMENT)[:-1]:
        assert reader.receiveData(bytes([byte])) == []
    assert reader.receiveData(b"\n") == [ASSIGNMENT]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'{"kind": "Ping"',
        b'{"kind": "Unknown"}',
        b'{"kind": ["Ping"]}',
        b'{"kind": "Pong"}',
        b'{"kind": "Pong", "connections": "many"}',
        b'{"kind": "Penalties", "penalties": [[1]]}',
        b'{"kind": "Penalties", "penalties": [[1, "x"]]}',
        b'{"kind": "Penalties", "penalties": 5}',
        json.dumps({**json.loads(encode(ASSIGNMENT)), "sockets": [[1, 2, 3]]}).encode(),
        json.dumps({**json.loads(encode(ASSIGNMENT)), "sockets": 7}).encode(),
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_whatIsNoMessage(line: bytes) -> None:
    """Anything else is refused, with one kind of error."""
    with pytest.raises(MessageError):
        decode(line)


@given(some.binary())
def test_anyBytes(data: bytes) -> None:
    """Nothing but a C{MessageError} comes of bytes."""
    reader = MessageReader()
    with contextlib.suppress(MessageError):
        reader.receiveData(data)


def test_fieldsOfANewerVersion() -> None:
    """A field that is not known is left out."""
    assert decode(b'{"kind": "Pong", "connections": 3, "new": 1}') == Pong(3)


def test_aLineWithoutEnd() -> None:
    """There is a bound."""
    reader = MessageReader(b"x" * MAXIMUM_MESSAGE)
    with pytest.raises(MessageError):
        reader.receiveData(b"x")
