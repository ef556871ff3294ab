"""
DTLS: spoiled datagrams in every state of an association, and from strangers.

None may raise, take a stranger's memory, end an association that is open, or
leave a timer behind.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any, Final

from myserv.events import ProtocolRaised
from myserv.testing.logged import LoggedFailures
from tests.endpoints.dtls.openssl_clock import opensslClock
from tests.endpoints.dtls.stage import Client, Stage

PEERS: Final = 50
"""Iterations for each client."""

HOSTS: Final = 200


def run(iterations: int, seed: int) -> None:
    """
    Send so many spoiled datagrams.

    Raises:
        AssertionError: The server did something that it must not do.
    """
    with tempfile.TemporaryDirectory() as directory, LoggedFailures() as logged:
        stage = Stage(Path(directory))
        with opensslClock(stage.seconds):
            _Fuzzer(stage, random.Random(seed)).run(iterations)
            stage.stop()
        assert stage.reactor.getDelayedCalls() == [], "timers are left"
        assert logged.take() == [], "failures were logged"


class _Fuzzer:
    """
    Spoils the datagrams of clients.

    @ivar corpus: Datagrams as clients send them, and servers.
    """

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self._stage = stage
        self._rng = rng
        self._left = 0
        self.corpus: list[bytes] = [b"hello"]

    def run(self, iterations: int) -> None:
        """Send so many."""
        self._left = iterations
        client = 0
        while self._left > 0:
            client += 1
            self._converse((f"192.0.2.{client % HOSTS}", 1024 + client % 60000))
            self._check()
        self._stage.advance(15)
        assert self._stage.layer.handshakes == 0, "a handshake has no end"
        self._stage.reactor.advance(2 * self._stage.options.idle)
        self._stage.assertNothingHeld()

    def _converse(self, address: Any) -> None:
        stage, rng = self._stage, self._rng
        client = Client(stage.endpoint.peer(address), mtu=rng.choice((300, 1200)))
        spoilHandshake = rng.random() < 0.5
        client.begin()
        for _ in range(40):
            if spoilHandshake:
                self._spoil(address, rng.randrange(PEERS // 5))
            stage.reactor.settle()
            client.pump()
            self._learn(client)
            if client.isOpen or client.error is not None:
                break
            if spoilHandshake:
                # What was spoiled may have to be sent again.
                stage.advance(0.2)
        if not client.isOpen:
            assert spoilHandshake, "an honest handshake failed"
            self._spoil(address, rng.randrange(PEERS))
            return
        stage.reactor.settle()
        for number in range(3):
            self._spoil(address, rng.randrange(PEERS))
            client.peer.take()
            word = b"%d" % number
            client.write(word)
            stage.reactor.settle()
            client.pump()
            assert client.received[-1:] == [word], "an open association was lost"
            self._learn(client)
        if rng.random() < 0.5:
            client.close()
            stage.reactor.settle()
        self._spoil(address, rng.randrange(PEERS))

    def _learn(self, client: Client) -> None:
        if client.sent and len(self.corpus) < 500:
            self.corpus += client.sent
        elif client.sent:
            self.corpus[self._rng.randrange(500)] = self._rng.choice(client.sent)
        # A ClientHello with this peer's own cookie goes furthest.
        self._own = [each for each in client.sent if each[:1] == b"\x16"]
        client.sent = client.sent[-20:]

    def _spoil(self, address: Any, count: int) -> None:
        rng, layer = self._rng, self._stage.layer
        own = getattr(self, "_own", [])
        for _ in range(count):
            self._left -= 1
            original = rng.choice(own if own and rng.random() < 0.3 else self.corpus)
            datagram = self._changed(original)
            if rng.random() < 0.2:
                stranger = (f"198.51.100.{rng.randrange(250)}", rng.randrange(1024, 65536))
                held = layer.associations, layer.handshakes, dict(layer.hosts)
                layer.datagramReceived(datagram, stranger)
                now = layer.associations, layer.handshakes, dict(layer.hosts)
                assert now == held, "a stranger takes memory"
            else:
                layer.datagramReceived(datagram, address)

    def _changed(self, original: bytes) -> bytes:
        rng = self._rng
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            kind = rng.randrange(7)
            at = rng.randrange(len(data) + 1)
            if kind == 0:
                del data[at:]
            elif kind == 1:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
            elif kind == 2:
                data += rng.choice(self.corpus)
            elif kind == 3 and data:
                data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            elif kind == 4 and len(data) > 25:
                # The fields of the headers.
                data[rng.randrange(25)] ^= 1 << rng.randrange(8)
            elif kind == 5 and data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            elif kind == 6:
                del data[at : at + rng.randrange(1, 20)]
        if len(data) > 13 and rng.random() < 0.7:
            # A length that is true again, to get past the first look.
            data[11:13] = min(len(data) - 13, 65535).to_bytes(2, "big")
        return bytes(data)

    def _check(self) -> None:
        stage = self._stage
        raised = stage.observer.ofType(ProtocolRaised)
        assert not raised, raised[0].failure.getTraceback()
        stage.observer.take()
        stage.endpoint.sent.clear()
        stage.protocol.received.clear()
        layer = stage.layer
        timers = len(stage.reactor.getDelayedCalls())
        assert timers <= layer.associations + layer.handshakes + 1, "a timer too many"
        assert sum(layer.hosts.values()) == layer.associations + layer.handshakes
