"""
Mutated records against C{tls:} in memory, in the handshake and after it.

Nothing that a peer sends may raise in the server, keep it from coming to rest, leave
a connection, a timer or a descriptor behind, or hand the protocol what the client
did not encrypt.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import tempfile
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL

from myserv.events import HandshakeFailed, ProtocolRaised
from myserv.testing import LoggedFailures
from tests.endpoints.certificates import authority, issue
from tests.endpoints.tls.stage import (
    Client,
    Echo,
    Logged,
    Stage,
    certificate,
    clientCA,
    clientContext,
)

_ENDLESS: Final = 15.0
"""Seconds after which every connection is over: the handshake may take ten, the
farewell two."""

_STRAYS: Final = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x15\x03\x03\x00\x02\x01\x00",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x14\x03\x03\x00\x01\x01",
    b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
    b"\x16\x03\x01\x00\x00",
    b"\x17\x03\x03\x00\x00",
    b"\x17\x03\x03\xff\xff",
    b"\x80\x2e\x01\x03\x01",
    b"\x18\x03\x03\x00\x03\x01\x40\x00",
)
"""What may come between: other protocols, alerts, empty and endless records, a
heartbeat that asks for more than it brought."""


class Closes(Logged):
    """A protocol that answers once, and closes."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        super().dataReceived(data)
        self.transport.write(b"bye" * 10000)
        self.transport.loseConnection()


class Aborts(Logged):
    """A protocol that has heard enough."""

    def dataReceived(self, data: bytes) -> None:
        """Leave."""
        super().dataReceived(data)
        self.transport.abortConnection()


def run(iterations: int, seed: int) -> None:
    """
    Try to break it.

    Args:
        iterations: How many connections to make.
        seed: Where the random numbers start.

    Raises:
        AssertionError: It broke; the text has the number to begin with next time.
    """
    with tempfile.TemporaryDirectory() as directory:
        stages = _stages(Path(directory))
        for number in range(iterations):
            dice = random.Random(f"{seed}:{number}")
            with LoggedFailures() as logged:
                try:
                    _connection(dice, dice.choice(stages))
                    assert logged.failures == [], logged.failures[0].getTraceback()
                except Exception as error:
                    raise AssertionError(
                        f"connection {number} of seed {seed}: {error!r}"
                    ) from error
        for stage in stages:
            stage.stop()


def _stages(directory: Path) -> list[Stage]:
    certs = directory / "certs"
    certificate(certs, "a.example")
    certificate(certs, "b.example")
    authorities = str(clientCA(directory))
    return [
        Stage(protocol, {"certs": str(certs), **options})
        for protocol in (Echo, Closes, Aborts)
        for options in (
            {"unknownName": "refuse"},
            {"clientCA": authorities, "clientAuth": "optional"},
        )
    ]


_IDENTITY: Final = issue("a client", by=authority())


def _connection(dice: random.Random, stage: Stage) -> None:
    stage.protocols.clear()
    stage.layers.clear()
    stage.observer.take()
    timers = len(stage.reactor.getDelayedCalls())
    version = dice.choice((SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION))
    context = clientContext(dice.choice((None, _IDENTITY)), version=version)
    client = stage.client(
        dice.choice((None, "a.example", "b.example", "c.example")), context=context
    )
    if dice.random() < 0.1:
        client.peer.stay()
    if dice.random() < 0.05:
        client.peer.pauseReading(window=dice.choice((1, 1000)))
    said = _converse(dice, stage, client)
    _end(dice, client)
    stage.reactor.advance(_ENDLESS)
    # A slow reader is not taken for a dead one, nor does a protocol that does not
    # read hear of an end.
    client.peer.abort()
    if stage.listener.connections:
        stage.protocol.transport.resumeProducing()
    stage.reactor.settle()
    assert len(stage.reactor.getDelayedCalls()) == timers, stage.reactor.getDelayedCalls()
    assert len(stage.reactor.getReaders()) == 1, stage.reactor.getReaders()
    assert stage.reactor.getWriters() == []
    assert not stage.listener._handshaking
    assert not stage.listener.connections
    assert stage.events(ProtocolRaised) == []
    assert len(stage.events(HandshakeFailed)) + len(stage.protocols) == 1
    for protocol in stage.protocols:
        assert protocol.log == ["made", "lost"]
        assert said.startswith(protocol.received)


def _converse(dice: random.Random, stage: Stage, client: Client) -> bytes:
    spoiling = dice.choice((0.0, 0.3))
    for _ in range(4):
        if client.error is None:
            client.think()
        _send(dice, stage, client, _perhaps(dice, client.flight(), spoiling))
        client.hear()
        if client.isOpen:
            break
    said = b""
    for _ in range(dice.randrange(6)):
        if client.isOpen and client.error is None:
            data = dice.randbytes(dice.choice((1, 64, 1000, 16384, 20000)))
            with contextlib.suppress(SSL.Error):
                records = client.encrypted(data)
                said += data
                _send(dice, stage, client, _perhaps(dice, records, 0.3))
        elif dice.random() < 0.5:
            _send(dice, stage, client, dice.choice(_STRAYS))
        if stage.protocols and dice.random() < 0.1:
            _act(dice, stage.protocol.transport)
        client.hear()
    return said


def _act(dice: random.Random, transport: Any) -> None:
    what = dice.randrange(6)
    if what == 0:
        transport.write(bytes(dice.choice((1, 100_000))))
    elif what == 1:
        transport.loseConnection()
    elif what == 2:
        transport.abortConnection()
    elif what == 3:
        transport.loseWriteConnection()
    elif what == 4:
        transport.pauseProducing()
    else:
        transport.resumeProducing()


def _perhaps(dice: random.Random, data: bytes, chance: float) -> bytes:
    return _mutated(dice, data) if data and dice.random() < chance else data


def _mutated(dice: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(changed) + 1)
        what = dice.randrange(6)
        if what == 0:
            changed[place : place + 1] = dice.randbytes(1)
        elif what == 1:
            del changed[place : place + dice.randint(1, 40)]
        elif what == 2:
            changed[place:place] = dice.randbytes(dice.randint(1, 20))
        elif what == 3:
            # A whole record once more.
            changed += changed[:]
        elif what == 4:
            end = dice.choice((0, len(changed)))
            changed[end:end] = dice.choice(_STRAYS)
        else:
            del changed[place:]
    return bytes(changed)


def _send(dice: random.Random, stage: Stage, client: Client, data: bytes) -> None:
    pieces = dice.choice((1, 1, 1, 2, 5))
    cuts = sorted({0, len(data), *(dice.randrange(len(data) + 1) for _ in range(pieces - 1))})
    for start, end in itertools.pairwise(cuts):
        client.peer.send(data[start:end])
        stage.reactor.settle()


def _end(dice: random.Random, client: Client) -> None:
    what = dice.randrange(4)
    if what == 0:
        client.peer.abort()
        return
    if what == 1 and client.isOpen:
        with contextlib.suppress(SSL.Error):
            client.peer.send(client.goodbye())
    if what != 2:
        client.peer.closeWrite()
