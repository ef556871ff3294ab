"""What seals and opens records: by the shortest way, and by what is public."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from OpenSSL import SSL

from myserv.endpoints.tls import sealing
from myserv.endpoints.tls.records import MAXIMUM_PLAIN
from myserv.endpoints.tls.sealing import PIECE, DirectSeal, Seal, sealOf
from tests.endpoints.certificates import issue
from tests.endpoints.tls.stage import clientContext

VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
KINDS = pytest.mark.parametrize("kind", [Seal, DirectSeal])


def serverContext() -> SSL.Context:
    """A server's TLS."""
    identity = issue("a.example")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(identity.certificate)
    key: Any = identity.key
    context.use_privatekey(key)
    return context


def joined(kind: Callable[[SSL.Connection], Seal], version: int) -> tuple[Seal, Seal]:
    """A server's seal and a client's, after the handshake."""
    server = SSL.Connection(serverContext(), None)
    server.set_accept_state()
    client = SSL.Connection(clientContext(version=version), None)
    client.set_connect_state()
    seals = kind(server), kind(client)
    for _ in range(3):
        for end, (ours, theirs) in ((client, seals[::-1]), (server, seals)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            while flight := ours.waiting():
                theirs.feed(flight)
    return seals


def sealed(seal: Seal, data: bytes) -> bytes:
    """What is sent for some data."""
    seal.seal(data)
    return seal.waiting()


def test_theShortestWayIsKnown() -> None:
    """What is used of pyOpenSSL is still there; without it, TLS needs twice the time."""
    assert isinstance(sealOf(SSL.Connection(serverContext(), None)), DirectSeal)


@pytest.mark.parametrize("missing", sealing.PRIVATE)
@pytest.mark.parametrize("other", [None, sealing._buffer])
def test_anotherConnection(missing: str, other: Any) -> None:
    """One whose insides are others is used by what is public."""
    connection: Any = SSL.Connection(serverContext(), None)
    setattr(connection, missing, other)
    assert type(sealOf(connection)) is Seal


@pytest.mark.parametrize("missing", [*sealing.SIGNATURES, None])
def test_anotherLibrary(missing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is every connection where the functions are others, or where there are none."""
    real: Any = SSL
    functions = {name: getattr(real._lib, name) for name in sealing.SIGNATURES}
    module = SimpleNamespace(_ffi=real._ffi)
    if missing is not None:
        functions[missing] = real._lib.SSL_pending
        module._lib = SimpleNamespace(**functions)
    found = sealing._direct(module)
    assert set(found) == {None}
    monkeypatch.setattr(sealing, "_buffer", found[-1])
    assert type(sealOf(SSL.Connection(serverContext(), None))) is Seal


@KINDS
@VERSIONS
def test_thereAndBack(kind: Any, version: int) -> None:
    """Data of any size that fits into a record; nothing is left behind."""
    server, client = joined(kind, version)
    with pytest.raises(SSL.WantReadError):
        client.open()
    for size in (1, 64, MAXIMUM_PLAIN):
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        record = sealed(server, data)
        assert size < len(record) < PIECE
        assert server.waiting() == b""
        client.feed(record[:-1])
        with pytest.raises(SSL.WantReadError):
            client.open()
        client.feed(record[-1:])
        assert client.open() == data
        with pytest.raises(SSL.WantReadError):
            client.open()


@KINDS
def test_severalRecords(kind: Any) -> None:
    """They are opened one by one."""
    server, client = joined(kind, SSL.TLS1_3_VERSION)
    server.seal(b"one")
    server.seal(b"two")
    client.feed(server.waiting())
    assert [client.open(), client.open()] == [b"one", b"two"]


@KINDS
def test_goodbye(kind: Any) -> None:
    """The peer's is told, however often it is asked for."""
    server, client = joined(kind, SSL.TLS1_3_VERSION)
    server._connection.shutdown()
    client.feed(server.waiting())
    for _ in range(2):
        with pytest.raises(SSL.ZeroReturnError):
            client.open()


@KINDS
def test_aSpoiledRecord(kind: Any) -> None:
    """The error says what is wrong, and there is an alert for the peer."""
    server, client = joined(kind, SSL.TLS1_3_VERSION)
    client.feed(sealed(server, b"x")[:-1] + b"\0")
    with pytest.raises(SSL.Error, match="bad record mac"):
        client.open()
    server.feed(client.waiting())
    with pytest.raises(SSL.Error, match="bad record mac"):
        server.open()
    with pytest.raises(SSL.Error):
        client.seal(b"no more")


@KINDS
def test_beforeTheHandshake(kind: Any) -> None:
    """Nothing can be sealed."""
    server = SSL.Connection(serverContext(), None)
    server.set_accept_state()
    with pytest.raises(SSL.WantReadError):
        kind(server).seal(b"x")


@KINDS
def test_whatIsNotBytes(kind: Any) -> None:
    """A buffer of another type is as good."""
    server, client = joined(kind, SSL.TLS1_3_VERSION)
    others: list[Any] = [bytearray(b"one"), memoryview(b"two")]
    for data in others:
        client.feed(sealed(server, data))
        assert client.open() == bytes(data)


def test_noMemory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenSSL cannot take, pyOpenSSL tries and reports; junk is never sent."""
    server, client = joined(DirectSeal, SSL.TLS1_3_VERSION)
    record = sealed(server, b"one")
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_feed", lambda *arguments: -1)
        client.feed(record)
    assert client.open() == b"one"
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "_take", lambda *arguments: -1)
        assert sealed(server, b"two") == b""
    client.feed(server.waiting())
    assert client.open() == b"two"
