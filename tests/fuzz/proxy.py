"""
PROXY headers, right ones and mutated ones, in pieces of any size.

Each goes through the codec whole and in pieces, which have to agree, and through
a layer in a listener, which has to serve its peer or cut it, and to keep nothing.
"""

from __future__ import annotations

import ipaddress
import random
import time
from typing import Any, Final

from twisted.internet.protocol import Factory, Protocol

from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.proxy.codec import (
    Address,
    Header,
    HeaderError,
    HeaderParser,
    InternetAddress,
    TLVType,
    Transport,
    UNIXPath,
)
from myserv.events import HandshakeFailed
from myserv.server.stream import StreamListener
from myserv.testing import LoggedFailures, MemoryEndpoint, RecordingObserver, SteppedReactor
from tests.endpoints.proxy.writer import writeBinary, writeBlock, writeLine, writeSSL

PATIENCE: Final = 2.0
"""Seconds that one header may take, however busy the machine is."""

BEHIND: Final = b"hello"


def run(iterations: int, seed: int) -> None:
    """
    Feed headers to the codec and to a listener.

    Raises:
        AssertionError: Something else was raised, the pieces mattered, it took
            too long, or something was left behind.
    """
    generator = random.Random(seed)
    with LoggedFailures() as logged:
        stage = _Stage()
        for number in range(iterations):
            data = _mutated(generator, _written(generator))
            told = f"number {number} of seed {seed}: {data!r}"
            started = time.monotonic()
            try:
                outcome = _codec([data])
                assert _codec(_cut(generator, data)) == outcome, "the pieces mattered"
                stage.serve(_cut(generator, data), outcome)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__}: {error}: {told}") from error
            assert time.monotonic() - started < PATIENCE, f"it took too long: {told}"
            assert not logged.failures, f"{logged.failures[0].getTraceback()} {told}"
        stage.stop()
        assert not logged.take(), "a failure that nobody handled"


# --- what is sent -----------------------------------------------------------------


def _written(generator: random.Random) -> bytes:
    choice = generator.random()
    if choice < 0.3:
        family = generator.choice([4, 6])
        return writeLine(_internet(generator, family), _internet(generator, family)) + BEHIND
    if choice < 0.35:
        return b"PROXY UNKNOWN" + generator.choice([b"", b" x"]) + b"\r\n" + BEHIND
    if choice < 0.45:
        block = generator.randbytes(generator.randrange(300))
        nibbles = (generator.randrange(3), generator.randrange(5), generator.randrange(4))
        return writeBlock(*nibbles, block) + BEHIND
    return _binary(generator) + BEHIND


def _binary(generator: random.Random) -> bytes:
    family = generator.choice([0, 4, 6])
    source, destination = (_address(generator, family) for _ in range(2))
    tlvs = [_tlv(generator) for _ in range(generator.randrange(6))]
    transport = generator.choice(list(Transport))
    return writeBinary(source, destination, tlvs, transport, checksum=generator.random() < 0.3)


def _address(generator: random.Random, family: int) -> Address:
    if family == 0:
        return UNIXPath(generator.randbytes(generator.randrange(109)))
    return _internet(generator, family)


def _internet(generator: random.Random, family: int) -> InternetAddress:
    host: Any = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    return InternetAddress(
        host(generator.randbytes(4 if family == 4 else 16)), generator.randrange(65536)
    )


def _tlv(generator: random.Random) -> tuple[int, bytes]:
    kind = generator.choice([*TLVType, generator.randrange(256)])
    if kind == TLVType.SSL and generator.random() < 0.8:
        inner = [(generator.randrange(0x20, 0x28), b"name") for _ in range(generator.randrange(4))]
        return writeSSL(generator.randrange(256), generator.randrange(2), inner)
    value = generator.choice([b"h2", b"example.org", b"", b"\xff"])
    return kind, value * generator.randrange(70)


def _mutated(generator: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice([0, 0, 1, 1, 2, 5])):
        position = generator.randrange(len(changed) + 1)
        what = generator.randrange(6)
        if what == 0:
            changed[position : position + 1] = generator.randbytes(1)
        elif what == 1:
            del changed[position : position + generator.randrange(20)]
        elif what == 2:
            changed[position:position] = generator.randbytes(generator.randrange(20))
        elif what == 3:
            changed[position:position] = changed[: generator.randrange(40)]
        elif what == 4:
            # Most of what can go wrong is near the front.
            near = generator.randrange(17)
            changed[near : near + 1] = bytes([generator.choice([0, 10, 13, 32, 48, 57, 255])])
        else:
            del changed[position:]
    return bytes(changed) or b"\0"


def _cut(generator: random.Random, data: bytes) -> list[bytes]:
    size = generator.choice([1, 1, 2, 7, 100, len(data)])
    return [data[start : start + size] for start in range(0, len(data), size)]


# --- what becomes of it -----------------------------------------------------------


_Outcome = tuple[Header | None, bytes]
"""The header, if it was one, and what came behind it."""


def _codec(pieces: list[bytes]) -> _Outcome | None:
    # None: it is no header.
    parser = HeaderParser()
    waiting = iter(pieces)
    try:
        for piece in waiting:
            header = parser.receiveData(piece)
            if header is not None:
                return header, parser.rest + b"".join(waiting)
    except HeaderError:
        return None
    return None, b""


class _Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class _Quiet(Factory):
    noisy = False
    protocol = _Echo


class _Stage:
    def __init__(self) -> None:
        self._reactor = SteppedReactor()
        self._observer = RecordingObserver()
        self._endpoint = MemoryEndpoint(self._reactor)
        self._listener = StreamListener(
            "fuzz",
            "proxy",
            self._endpoint,
            _Quiet(),
            self._reactor,
            self._observer.observe,
            parseEndpoint("proxy:from=0.0.0.0/0:tcp:1").wrapFactory,
        )
        self._listener.start()

    def serve(self, pieces: list[bytes], outcome: _Outcome | None) -> None:
        self._observer.take()
        peer = self._endpoint.connect()
        for piece in pieces:
            peer.send(piece)
            self._reactor.turn()
        peer.closeWrite()
        self._reactor.settle()
        failures = self._observer.ofType(HandshakeFailed)
        assert all(each.reason.isprintable() for each in failures), "a reason is no line"
        if outcome is None:
            assert peer.aborted, "it was not cut"
            assert len(failures) == 1, "it was told of more than once, or not at all"
        elif outcome[0] is None:
            assert failures, "half a header was not told of"
        else:
            assert not failures, "it was refused"
            assert peer.received == outcome[1], "what came behind it was lost"
        assert peer.aborted or peer.closed, "it was left open"
        assert not self._listener.connections, "a connection was left"
        assert not self._listener._handshaking, "a layer was left"
        assert not self._reactor.getDelayedCalls(), "a timer was left"

    def stop(self) -> None:
        self._listener.stop()
        self._reactor.settle()
        assert not self._reactor.getReaders(), "a descriptor was left"
