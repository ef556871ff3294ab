"""A peer that says in pieces that its keys are new, and what is written meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from myserv.events import PeerPenalized
from tests.endpoints.tls.stage import Client, Logged, Stage, certificate, clientContext, staged

HANDSHAKE = 22
DATA = 23

KEY_UPDATE = b"\x18\0\0\1\0"
"""It does not ask for one in return (RFC 8446, section 4.6.3)."""


class Sealer:
    """
    Seals a client's records, and what no client's OpenSSL would send.

    @ivar client: The client, which must not send by itself meanwhile.
    """

    def __init__(self, stage: Stage) -> None:
        self._secret = b""
        self._number = 0
        self._stage = stage
        context = clientContext()
        context.set_keylog_callback(self._learn)
        self.client: Client = stage.client(context=context).go()
        assert self.client.ssl.get_cipher_name() == "TLS_AES_256_GCM_SHA384"

    def _learn(self, connection: SSL.Connection, line: bytes) -> None:
        name, _, secret = line.split()
        if name == b"CLIENT_TRAFFIC_SECRET_0":
            self._secret = bytes.fromhex(secret.decode())

    def _expand(self, label: bytes, size: int) -> bytes:
        # RFC 8446, section 7.1.
        info = size.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
        return HKDFExpand(SHA384(), size, info).derive(self._secret)

    def send(self, kind: int, content: bytes) -> None:
        """Send a record."""
        key, start = self._expand(b"key", 32), self._expand(b"iv", 12)
        nonce = int.from_bytes(start, "big") ^ self._number
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        sealed = AESGCM(key).encrypt(nonce.to_bytes(12, "big"), inner, head)
        self._number += 1
        self.client.peer.send(head + sealed)
        self._stage.reactor.settle()

    def renew(self) -> None:
        """Seal with the next keys from now on."""
        self._secret = self._expand(b"traffic upd", 48)
        self._number = 0


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    """What is shown."""
    return certificate(tmp_path)


@pytest.mark.parametrize("size", [1, 20_000], ids=["short", "long"])
@pytest.mark.parametrize("split", range(6))
def test_halfAMessage(split: int, size: int, cert: Path) -> None:
    """What is written in the midst of it is sent after it, in its order."""
    with staged(Logged, cert=cert) as stage:
        sealer = Sealer(stage)
        transport: Any = stage.protocol.transport
        for piece in (KEY_UPDATE[:split], KEY_UPDATE[split:]):
            if piece:
                sealer.send(HANDSHAKE, piece)
            transport.write(b"a" * size)
            transport.write(b"b" * size)
        sealer.renew()
        sealer.send(DATA, b"hello")
        sealer.client.go()
        assert sealer.client.received == (b"a" * size + b"b" * size) * 2
        assert stage.protocol.received == b"hello"
        assert stage.protocol.log == ["made"]


def test_itNeverEnds(cert: Path) -> None:
    """What waits is bounded, and then the peer has broken the rules."""
    with staged(Logged, cert=cert) as stage:
        sealer = Sealer(stage)
        sealer.send(HANDSHAKE, KEY_UPDATE[:4])
        for _ in range(65):
            assert stage.protocol.log == ["made"]
            stage.protocol.transport.write(bytes(1024))
        stage.reactor.advance(3)
        assert stage.protocol.log == ["made", "lost"]
        [told] = stage.events(PeerPenalized)
        assert told.reason == "broke TLS: the peer stopped half-way through a message about keys"
