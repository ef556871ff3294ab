"""permessage-deflate: what is agreed on, and that nothing inflates beyond the limit."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from myserv.endpoints.websocket.deflate import Deflate
from tests.endpoints.websocket.kit import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Messages,
    Said,
    Stage,
    closing,
    frame,
)

LIMIT = 100_000
NAME = "permessage-deflate"


def deflate(data: bytes) -> bytes:
    """A message as a sender compresses it."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\0"


def agreed(offer: str, limit: int = LIMIT) -> Deflate:
    """What is agreed on."""
    made = Deflate.negotiate([offer], limit)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("offer", "response"),
    [
        (NAME, NAME),
        (f"{NAME}; client_max_window_bits", f"{NAME}; client_max_window_bits=12"),
        (f"{NAME}; client_max_window_bits=15", f"{NAME}; client_max_window_bits=12"),
        (f"{NAME};client_max_window_bits=9", f"{NAME}; client_max_window_bits=9"),
        (f'{NAME}; server_max_window_bits="10"', f"{NAME}; server_max_window_bits=10"),
        (f"{NAME}; server_max_window_bits=15", f"{NAME}; server_max_window_bits=12"),
        (
            f"{NAME}; client_no_context_takeover; server_no_context_takeover",
            f"{NAME}; server_no_context_takeover; client_no_context_takeover",
        ),
        (f"x-webkit-deflate-frame, {NAME}", NAME),
        (f"{NAME}; server_max_window_bits=8, {NAME}", NAME),
        (f"{NAME}; unknown, {NAME}", NAME),
    ],
)
def test_offersThatAreTaken(offer: str, response: str) -> None:
    """The first that can be, with windows no larger than ours."""
    assert agreed(offer).response == response


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x",
        f"{NAME}x",
        f"{NAME}; unknown",
        f"{NAME}; server_max_window_bits",
        f"{NAME}; server_max_window_bits=8",
        f"{NAME}; server_max_window_bits=16",
        f"{NAME}; client_max_window_bits=x",
        f"{NAME}; client_max_window_bits=",
        f"{NAME}; client_max_window_bits=012",
        f"{NAME}; server_no_context_takeover=1",
        f"{NAME}; client_max_window_bits=9; client_max_window_bits=9",
    ],
)
def test_offersThatAreDeclined(offer: str) -> None:
    """RFC 7692, section 7.1: the connection goes on without."""
    assert Deflate.negotiate([offer], LIMIT) is None
    client = Stage(compress=True).open(sec_websocket_extensions=offer)
    assert b"Extensions" not in client.head
    assert client.send(frame(TEXT, b"plain")) == [Said(BINARY, b"plain")]


def test_itHasToBeAskedFor() -> None:
    """Unless the operator says so, nothing is compressed."""
    assert b"Extensions" not in Stage().open(sec_websocket_extensions=NAME).head


OFFERS = (
    NAME,
    f"{NAME}; client_max_window_bits; server_max_window_bits=9",
    f"{NAME}; client_no_context_takeover; server_no_context_takeover",
)


@settings(max_examples=100, deadline=None)
@given(
    offer=st.sampled_from(OFFERS),
    messages=st.lists(st.binary(max_size=3000) | st.text(max_size=100), max_size=8),
)
def test_bothWays(offer: str, messages: list[bytes | str]) -> None:
    """What wsproto's own client sends arrives, and what we send arrives there."""
    ours = agreed(offer)
    theirs = PerMessageDeflate()
    theirs.finalize(ours.response)
    server, client = FrameProtocol(False, [ours]), FrameProtocol(True, [theirs])
    for message in messages:
        data = message.encode() if isinstance(message, str) else message
        if data:
            # wsproto sends an empty message as no bytes at all, which is not one.
            server.receive_bytes(bytes(client.send_data(message)))
            assert [each.payload for each in server.received_frames()] == [message]
        client.receive_bytes(bytes(server.send_data(message)))
        received = [each.payload for each in client.received_frames()]
        assert type(message)().join(received) == message  # type: ignore[arg-type]  # of one type


def test_theExamplesOfTheSpecification() -> None:
    """RFC 7692, section 7.2.3."""
    hello = "f2 48 cd c9 c9 07 00"
    for sent, expected in {
        hello: b"Hello",
        "00 05 00 fa ff 48 65 6c 6c 6f 00": b"Hello",
        "f3 48 cd c9 c9 07 00 00": b"Hello",
        "f2 48 05 00 00 00 ff ff ca c9 c9 07 00": b"Hello",
        "00": b"",
    }.items():
        stage = Stage(Messages, compress=True)
        client = stage.open(sec_websocket_extensions=NAME)
        data = bytes.fromhex(sent)
        client.send(frame(BINARY, data, rsv=4))
        # One that ended its stream begins another.
        client.send(frame(BINARY, bytes.fromhex(hello), rsv=4))
        assert stage.protocol.received == [expected, b"Hello"]
    stage = Stage(Messages, compress=True)
    client = stage.open(sec_websocket_extensions=NAME)
    client.send(frame(BINARY, bytes.fromhex(hello), rsv=4))
    client.send(frame(BINARY, bytes.fromhex("f2 00 11 00 00"), rsv=4))
    assert stage.protocol.received == [b"Hello", b"Hello"]


def test_whatWeSend() -> None:
    """Is compressed, with a window that lasts."""
    stage = Stage(Messages, compress=True)
    client = stage.open(sec_websocket_extensions=NAME)
    inflater = zlib.decompressobj(-12)
    sizes = []
    for _ in range(2):
        client.peer.send(frame(BINARY, b"hello, world, hello"))
        stage.settle()
        said = client.peer.take()
        assert said[0] == 0xC2
        sizes.append(len(said))
        assert inflater.decompress(said[2:] + b"\0\0\xff\xff") == b"hello, world, hello"
    assert sizes[1] < sizes[0] - 5
    stage.protocol.transport.sendMessage("")
    stage.settle()
    assert client.peer.take() == b"\xc1\x01\x00"


def test_uncompressedMessagesBetween() -> None:
    """Each message says whether it is compressed."""
    stage = Stage(Messages, compress=True)
    client = stage.open(sec_websocket_extensions=NAME)
    for payload, rsv in ((deflate(b"one"), 4), (b"two", 0), (deflate(b"three"), 4)):
        client.send(frame(BINARY, payload, rsv=rsv))
    assert stage.protocol.received == [b"one", b"two", b"three"]


@pytest.mark.parametrize("split", [0, 1, 5, 50])
def test_controlFramesBetweenFragments(split: int) -> None:
    """Neither a ping nor a pong is part of a compressed message."""
    stage = Stage(Messages, compress=True)
    client = stage.open(sec_websocket_extensions=NAME)
    message = random.Random(1).randbytes(100)
    data = deflate(message)
    client.peer.send(
        frame(BINARY, data[:split], fin=False, rsv=4)
        + frame(PING, b"a")
        + frame(PONG, b"b")
        + frame(CONTINUATION, data[split:])
    )
    stage.settle()
    assert client.peer.take().startswith(b"\x8a\x01a")
    assert stage.protocol.received == [message]


def test_byteByByte() -> None:
    """A header that comes in pieces does not begin a message twice."""
    stage = Stage(Messages, compress=True)
    client = stage.open(sec_websocket_extensions=NAME)
    stream = frame(BINARY, deflate(b"x" * 1000)[:7], fin=False, rsv=4)
    stream += frame(CONTINUATION, deflate(b"x" * 1000)[7:])
    for each in stream:
        client.peer.send(bytes([each]))
        stage.settle()
    assert stage.protocol.received == [b"x" * 1000]


# --- what is refused -------------------------------------------------------------


def failure(offer: str, *frames: bytes, limit: int = LIMIT) -> CloseReason:
    """How wsproto ends, with the extension below it."""
    server = FrameProtocol(False, [agreed(offer, limit)])

    def receive() -> None:
        for each in frames:
            server.receive_bytes(each)
            list(server.received_frames())

    with pytest.raises(ParseFailed) as caught:
        receive()
    return caught.value.code


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 100])
def test_bombs(size: int) -> None:
    """What inflates to more than the limit ends there, in one frame or many."""
    data = deflate(b"\0" * size)
    assert failure(NAME, frame(BINARY, data, rsv=4)) == CloseReason.MESSAGE_TOO_BIG
    pieces = [data[i : i + 3] for i in range(0, len(data), 3)]
    frames = [frame(BINARY, pieces[0], fin=False, rsv=4)]
    frames += [frame(CONTINUATION, each, fin=False) for each in pieces[1:-1]]
    frames += [frame(CONTINUATION, pieces[-1])]
    assert failure(NAME, *frames) == CloseReason.MESSAGE_TOO_BIG


def test_theLargestMessage() -> None:
    """Is taken, however well it compresses; and so is the next."""
    server = FrameProtocol(False, [agreed(NAME)])
    for _ in range(3):
        server.receive_bytes(frame(BINARY, deflate(b"\0" * LIMIT), rsv=4))
        assert b"".join(each.payload for each in server.received_frames()) == b"\0" * LIMIT  # type: ignore[misc]  # bytes


def test_aBombOverTheWire() -> None:
    """Closes with 1009, and costs the memory of one message."""
    stage = Stage(Messages, compress=True, maxMessage="1MiB")
    client = stage.open(sec_websocket_extensions=NAME)
    bomb = deflate(b"\0" * 50_000_000)
    [said] = client.send(frame(BINARY, bomb, rsv=4))
    assert said.opcode == CLOSE
    assert said.payload[0] == CloseReason.MESSAGE_TOO_BIG
    assert client.peer.closed
    assert stage.protocol.received == []
    assert stage.isClean()


@pytest.mark.parametrize("where", [(b"\xff" * 10,), (b"\x07", b"\xff")])
def test_whatCannotBeInflated(where: tuple[bytes, ...]) -> None:
    """1007."""
    frames = [frame(BINARY, where[0], fin=len(where) == 1, rsv=4)]
    frames += [frame(CONTINUATION, each) for each in where[1:]]
    assert failure(NAME, *frames) == CloseReason.INVALID_FRAME_PAYLOAD_DATA


@pytest.mark.parametrize(
    "frames",
    [
        (frame(BINARY, b"x", rsv=2),),
        (frame(BINARY, b"x", rsv=5),),
        (frame(PING, b"x", rsv=4),),
        (frame(BINARY, b"x", fin=False), frame(CONTINUATION, b"x", rsv=4)),
        (frame(CLOSE, b"", rsv=4),),
    ],
)
def test_reservedBits(frames: tuple[bytes, ...]) -> None:
    """The bit of compression is for the first frame of a message, and no other bit is for anything."""
    assert failure(NAME, *frames) == CloseReason.PROTOCOL_ERROR


def test_controlFramesOfOursStayAsTheyAre() -> None:
    """Only messages are compressed."""
    stage = Stage(Messages, compress=True)
    client = stage.open(sec_websocket_extensions=NAME)
    assert client.send(frame(PING, b"x")) == [Said(PONG, b"x")]
    assert client.send(closing())[0].opcode == CLOSE


def test_whatItOffers() -> None:
    """Nothing: it is a server's."""
    assert agreed(NAME).offer() is False
    assert agreed(NAME).enabled()
    assert Opcode.BINARY == BINARY
