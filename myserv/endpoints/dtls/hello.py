"""
The first two messages of a handshake: ClientHello and HelloVerifyRequest.

RFC 6347, section 4.2.1.  A server that is asked by an address which it knows nothing
of answers with a cookie and forgets; the client asks again and shows the cookie.
So only these two are read and written here; the rest of DTLS is OpenSSL's.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen

from myserv.endpoints.dtls.records import HANDSHAKE, HEADER

SMALLEST_HELLO: Final = HEADER + 12 + 2 + 32 + 1 + 1
"""Bytes of the shortest ClientHello that is answered: up to and with the length
of its cookie.  An answer is shorter, so it amplifies nothing."""

_CLIENT_HELLO: Final = 1
_HELLO_VERIFY_REQUEST: Final = 3
_MESSAGE: Final = HEADER
_BODY: Final = HEADER + 12
_RANDOM_END: Final = _BODY + 2 + 32
_MAXIMUM_SESSION: Final = 32

# The version of a HelloVerifyRequest says nothing of what is negotiated, and is
# DTLS 1.0 for the sake of clients that take it for that (RFC 6347, section 4.2.1).
_VERSION: Final = b"\xfe\xff"


@frozen
class ClientHello:
    """
    As much of a ClientHello as the cookie is about.

    @ivar cookie: What it shows; empty the first time.
    @ivar parameters: What does not change between the first and the second:
        version, random and session.
    @ivar sequence: The number of its record, which the answer repeats.
    """

    cookie: bytes
    parameters: bytes
    sequence: bytes


def readHello(datagram: bytes) -> ClientHello | None:
    """
    Read the ClientHello that a datagram begins with.

    A large one comes in fragments.  The first of them has to hold the cookie, as
    OpenSSL demands too: to put fragments together would take memory for somebody
    who has not shown one.

    Args:
        datagram: Whole records (L{myserv.endpoints.dtls.records.isWhole}).

    Returns:
        It, or C{None} when the datagram begins with anything else.
    """
    if (
        len(datagram) < SMALLEST_HELLO
        or datagram[0] != HANDSHAKE
        or datagram[_MESSAGE] != _CLIENT_HELLO
        # Epoch 0: before there are keys.
        or datagram[3:5] != b"\0\0"
        # It starts where the message starts.
        or datagram[_MESSAGE + 6 : _MESSAGE + 9] != b"\0\0\0"
    ):
        return None
    total = int.from_bytes(datagram[_MESSAGE + 1 : _MESSAGE + 4], "big")
    fragment = int.from_bytes(datagram[_MESSAGE + 9 : _MESSAGE + 12], "big")
    end = _BODY + fragment
    recordEnd = HEADER + int.from_bytes(datagram[11:13], "big")
    session = datagram[_RANDOM_END]
    cookieAt = _RANDOM_END + 1 + session
    if fragment > total or end > recordEnd or session > _MAXIMUM_SESSION or cookieAt >= end:
        return None
    cookieEnd = cookieAt + 1 + datagram[cookieAt]
    if cookieEnd > end:
        return None
    return ClientHello(
        cookie=datagram[cookieAt + 1 : cookieEnd],
        parameters=datagram[_BODY:cookieAt],
        sequence=datagram[5:11],
    )


def writeVerifyRequest(hello: ClientHello, cookie: bytes) -> bytes:
    """
    Write the datagram that asks a client to show a cookie.

    Args:
        hello: What it is the answer to.
        cookie: At most 32 bytes.
    """
    body = _VERSION + bytes((len(cookie),)) + cookie
    length = len(body).to_bytes(3, "big")
    message = bytes((_HELLO_VERIFY_REQUEST,)) + length + bytes(5) + length + body
    header = struct.pack("!B2s2s6sH", HANDSHAKE, _VERSION, b"\0\0", hello.sequence, len(message))
    return header + message
