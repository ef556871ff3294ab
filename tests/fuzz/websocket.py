"""
Mutated requests and frame streams against C{websocket:} in memory.

Nothing that a peer sends may raise in the server, keep it from coming to rest, leave
a connection, a timer or a descriptor behind, or hand the protocol more than it may.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Final

from myserv.testing import LoggedFailures
from tests.endpoints.websocket.kit import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Client,
    Echo,
    Half,
    Messages,
    Stage,
    closing,
    frame,
    request,
)

LIMIT: Final = 2000
"""The largest message of these servers, so that the limit is met often."""

_OFFERS: Final = (
    None,
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits=99, x; y=z",
)
_CODES: Final = (None, 0, 999, 1000, 1001, 1005, 1006, 1015, 3000, 4999, 5000, 65535)
_OPCODES: Final = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 3, 7, 0xB, 0xF)
_ENDLESS: Final = 300.0
"""Seconds after which every connection is over by a rule of its own."""


def run(iterations: int, seed: int) -> None:
    """
    Try to break it.

    Args:
        iterations: How many connections to make.
        seed: Where the random numbers start.

    Raises:
        AssertionError: It broke; the text has the number to begin with next time.
    """
    stages = [
        Stage(protocol, maxMessage=LIMIT, compress=compress, frames=frames, ping="20s")
        for protocol in (Echo, Messages, Half)
        for compress in (False, True)
        for frames in ("binary", "text")
    ]
    for number in range(iterations):
        dice = random.Random(f"{seed}:{number}")
        with LoggedFailures() as logged:
            try:
                _connection(dice, dice.choice(stages))
                assert logged.failures == [], logged.failures[0].getTraceback()
            except Exception as error:
                raise AssertionError(f"connection {number} of seed {seed}: {error!r}") from error


def _connection(dice: random.Random, stage: Stage) -> None:
    stage.built.clear()
    stage.observer.take()
    client = stage.connect()
    data = request(sec_websocket_extensions=dice.choice(_OFFERS), x="y" * dice.randrange(100))
    if dice.random() < 0.2:
        data = _mutated(dice, data)
    if dice.random() < 0.1:
        client.peer.pauseReading(window=dice.choice((1, 1000)))
    stream = b"".join(_anyFrame(dice) for _ in range(dice.randrange(12)))
    if dice.random() < 0.3:
        stream = _mutated(dice, stream)
    _send(dice, stage, client, data + stream)
    _end(dice, stage, client)
    for protocol in stage.built:
        assert protocol.log.count("lost") == 1, protocol.log
        for message in protocol.received:
            assert len(message) <= LIMIT


def _mutated(dice: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(changed) + 1)
        what = dice.randrange(4)
        if what == 0:
            changed[place : place + 1] = dice.randbytes(1)
        elif what == 1:
            del changed[place : place + dice.randint(1, 20)]
        elif what == 2:
            changed[place:place] = dice.randbytes(dice.randint(1, 20))
        else:
            changed[place:place] = changed[: dice.randrange(50)]
    return bytes(changed)


def _payload(dice: random.Random) -> bytes:
    size = dice.choice((0, 1, 3, 125, 126, 127, 1000, LIMIT - 1, LIMIT, LIMIT + 1, 5 * LIMIT))
    kind = dice.randrange(4)
    if kind == 0:
        return dice.randbytes(size)
    if kind == 1:
        return ("aß水𝄞" * size).encode()[:size]
    if kind == 2:
        compressor = zlib.compressobj(wbits=-dice.choice((9, 12, 15)))
        return compressor.compress(b"x" * size * 10) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    return b"x" * size


def _anyFrame(dice: random.Random) -> bytes:
    kind = dice.random()
    if kind < 0.05:
        return closing(dice.choice(_CODES), dice.choice(("", "bye", "x" * 200)))
    if kind < 0.15:
        return frame(dice.choice((PING, PONG)), _payload(dice)[: dice.choice((125, 126))])
    return frame(
        dice.choice(_OPCODES if kind < 0.2 else (TEXT, BINARY, BINARY, CONTINUATION)),
        _payload(dice),
        fin=dice.random() < 0.7,
        rsv=dice.choice((0, 0, 0, 4, 4, dice.randrange(8))),
        masked=dice.random() < 0.99,
    )


def _send(dice: random.Random, stage: Stage, client: Client, data: bytes) -> None:
    steps: tuple[Callable[[], object], ...] = (
        lambda: stage.reactor.advance(dice.choice((0.1, 1, 15))),
        client.peer.resumeReading,
        lambda: client.peer.pauseReading(window=1),
        lambda: _act(dice, stage),
    )
    step = dice.choice((1, 7, 100, 1000, len(data) + 1))
    for start in range(0, len(data), max(step, len(data) // 40)):
        client.peer.send(data[start : start + max(step, len(data) // 40)])
        stage.settle()
        if dice.random() < 0.05:
            dice.choice(steps)()


def _act(dice: random.Random, stage: Stage) -> None:
    if not stage.built or stage.protocol.transport is None:
        return
    transport = stage.protocol.transport
    act: Callable[[], object] = dice.choice(
        (
            transport.pauseProducing,
            transport.resumeProducing,
            transport.loseConnection,
            transport.abortConnection,
            lambda: transport.write(dice.choice((b"x" * 100_000, "ß".encode(), b"\xff"))),
            lambda: (
                isinstance(stage.protocol, Messages)
                and transport.sendMessage(dice.choice(("ß", b"\xff", "")))
            ),
        )
    )
    act()


def _end(dice: random.Random, stage: Stage, client: Client) -> None:
    leave: Callable[[], object] = dice.choice(
        (client.peer.close, client.peer.abort, client.peer.closeWrite, client.peer.stay)
    )
    if dice.random() < 0.5:
        client.peer.resumeReading()
    leave()
    stage.settle()
    if not stage.isClean():
        # Whatever it waits for: a slow reader, a protocol that pauses or half-closes.
        client.peer.resumeReading()
        stage.reactor.advance(_ENDLESS / 2)
        for connection in list(stage.listener.connections):
            connection.resumeProducing()
            connection.loseConnection()
        stage.reactor.advance(_ENDLESS / 2)
    assert stage.isClean(), "something is left"
