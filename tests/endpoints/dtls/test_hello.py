"""The two messages that are read and written before there is an association."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from myserv.endpoints.dtls.hello import (
    SMALLEST_HELLO,
    ClientHello,
    readHello,
    writeVerifyRequest,
)
from myserv.endpoints.dtls.records import isWhole
from tests.endpoints.dtls.stage import Client, clientContext


class Nobody:
    """A socket of a client that talks to nobody."""

    def sendDatagram(self, data: bytes) -> None:
        """Nobody listens."""


def hello(
    cookie: bytes = b"",
    session: bytes = b"",
    *,
    rest: bytes = b"\0\2\xc0\x2b\1\0",
    fragment: int | None = None,
    sequence: int = 0,
) -> bytes:
    """A ClientHello, or the first fragment of one."""
    body = (
        b"\xfe\xfd"
        + bytes(range(32))
        + bytes((len(session),))
        + session
        + bytes((len(cookie),))
        + cookie
        + rest
    )
    part = body if fragment is None else body[:fragment]
    message = b"\1" + len(body).to_bytes(3, "big") + bytes(5) + len(part).to_bytes(3, "big") + part
    head = b"\x16\xfe\xff\0\0" + sequence.to_bytes(6, "big")
    return head + len(message).to_bytes(2, "big") + message


def test_openSSLs() -> None:
    """A real one is read, and what is answered makes the client show the cookie."""
    client = Client(Nobody())  # type: ignore[arg-type]
    client.begin()
    [first] = client.sent
    asked = readHello(first)
    assert asked is not None
    assert asked.cookie == b""
    answer = writeVerifyRequest(asked, b"c" * 16)
    assert isWhole(answer)
    assert len(answer) == 44
    client.take([answer])
    [again] = client.datagrams()
    shown = readHello(again)
    assert shown is not None
    assert shown.cookie == b"c" * 16
    assert shown.parameters == asked.parameters
    assert shown.sequence != asked.sequence


@pytest.mark.parametrize("cookie", [b"", b"c", b"c" * 255])
@pytest.mark.parametrize("session", [b"", b"s" * 32])
def test_read(cookie: bytes, session: bytes) -> None:
    """What the cookie is about is found."""
    assert readHello(hello(cookie, session, sequence=7)) == ClientHello(
        cookie, b"\xfe\xfd" + bytes(range(32)) + bytes((len(session),)) + session, bytes(5) + b"\7"
    )


def test_firstFragment() -> None:
    """It is enough that the first fragment holds the cookie."""
    whole = readHello(hello(b"c" * 16))
    assert readHello(hello(b"c" * 16, fragment=2 + 32 + 1 + 1 + 16)) == whole
    assert readHello(hello(b"c" * 16, fragment=2 + 32 + 1 + 1 + 15)) is None


def test_trailing() -> None:
    """A second record behind it changes nothing."""
    assert readHello(hello(b"c") + hello()) == readHello(hello(b"c"))


@pytest.mark.parametrize("end", range(SMALLEST_HELLO))
def test_everyPrefix(end: int) -> None:
    """A part of one is none, and nothing is raised."""
    assert readHello(hello(rest=b"")[:end]) is None


def changed(at: int, value: int, original: bytes = hello()) -> bytes:
    """One with a byte changed."""
    return original[:at] + bytes((value,)) + original[at + 1 :]


OTHERS = {
    "an alert": changed(0, 21),
    "data": changed(0, 23),
    "a ServerHello": changed(13, 2),
    "epoch 1": changed(4, 1),
    "a second fragment": changed(13 + 8, 1),
    "a fragment that is more than the message": changed(13 + 3, 10),
    "a fragment that is more than the record": changed(12, 40),
    "a session of 33 bytes": hello(session=b"s" * 33),
    "a session that is longer than the message": changed(13 + 12 + 34, 32, hello(rest=b"")),
    "a cookie that is longer than the message": changed(13 + 12 + 35, 200),
}


@pytest.mark.parametrize("datagram", OTHERS.values(), ids=list(OTHERS))
def test_others(datagram: bytes) -> None:
    """What is not a ClientHello, or broken, is not read."""
    assert readHello(datagram) is None


def test_noAmplification() -> None:
    """The least that is answered is more than the answer."""
    smallest = hello(rest=b"")
    assert len(smallest) == SMALLEST_HELLO
    asked = readHello(smallest)
    assert asked is not None
    assert len(writeVerifyRequest(asked, b"c" * 16)) < SMALLEST_HELLO


def test_theAnswerRepeatsTheNumber() -> None:
    """The record of the answer has the number of the question (RFC 6347, 4.2.1)."""
    asked = readHello(hello(sequence=0x010203040506))
    assert asked is not None
    assert writeVerifyRequest(asked, b"")[5:11] == bytes((1, 2, 3, 4, 5, 6))


def test_clientsOfOtherVersions() -> None:
    """A client of DTLS 1.0 shows its cookie too; OpenSSL is who refuses it."""
    context = clientContext()
    context.set_min_proto_version(0xFEFF)
    context.set_max_proto_version(0xFEFF)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    client = Client(Nobody(), context)  # type: ignore[arg-type]
    try:
        client.connection.do_handshake()
    except SSL.WantReadError:
        [first] = client.datagrams()
        assert readHello(first) is not None
