"""
Random bytes to everything that is built in, over every transport.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, LOOPBACK, Ground, freePort, service, tcp

BUILT_IN: Final = ("chargen", "daytime", "discard", "echo", "qotd", "time")

LAYERS: Final = {
    "tcp": "",
    "tls": "tls:selfSigned=localhost:",
    "websocket": "websocket:",
    "wss": "websocket:tls:selfSigned=localhost:",
    "proxy": "proxy:from=127.0.0.0/8:",
}

BEGINNINGS: Final = (
    b"",
    bytes.fromhex("160301020001"),
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ),
    b"PROXY TCP4 1.2.3.4 ",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n",
    bytes.fromhex("16fefd0000000000000000"),
)
"""What gets through the first checks of some of them."""

MOST_GROWTH: Final = 8.0
"""MiB of memory, from after the first tenth on."""


@frozen
class Size:
    """
    @ivar seconds: For how long.
    """

    seconds: float


LONG: Final = Size(seconds=60)
QUICK: Final = Size(seconds=5)


def run(ground: Ground, size: Size) -> None:
    """
    One server has all of it.
    """
    streams: list[int] = []
    datagrams: list[int] = []
    text = "[limits]\nmaxConnectionsPerPeer = 0\nfirstByte = '2s'\nidle = '2s'\n"
    for name in BUILT_IN:
        listen = []
        for layers in LAYERS.values():
            streams.append(freePort())
            listen.append(tcp(streams[-1], layers))
        for layers in ("", "dtls:selfSigned=localhost:"):
            datagrams.append(freePort())
            listen.append(f"{layers}udp:{datagrams[-1]}:{LOOPBACK}")
        text += service(name, name, *listen)
    target = ground.serve(text, len(BUILT_IN))
    chance = random.Random(7)
    # Everything once, so that what is kept for good is there.
    sent = pour(chance, streams, datagrams, size.seconds / 10)
    time.sleep(3)
    memory, descriptors = target.memory, target.descriptors
    sent += pour(chance, streams, datagrams, size.seconds)
    ground.note("conversations", sent)
    ground.settle(target, descriptors, 10)
    ground.atMost("memory grew", target.memory - memory, MOST_GROWTH, "MiB")
    ground.note("log", len(target.log) / 1024, "KiB")
    ground.over(target)
    ground.line("garbage")


def pour(chance: random.Random, streams: list[int], datagrams: list[int], seconds: float) -> int:
    """Talk nonsense for so long; how often."""
    end = time.monotonic() + seconds
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.bind((ATTACKER, 0))
        while time.monotonic() < end:
            sent += 2
            nonsense = chance.choice(BEGINNINGS) + chance.randbytes(chance.choice((0, 1, 9, 2000)))
            with contextlib.suppress(OSError):
                datagram.sendto(nonsense, ("127.0.0.1", chance.choice(datagrams)))
            with contextlib.suppress(OSError):
                say(chance, chance.choice(streams), nonsense)
    return sent


def say(chance: random.Random, port: int, nonsense: bytes) -> None:
    """Say it in a piece or two, and leave in one way or another."""
    with socket.socket() as client:
        client.settimeout(0.05)
        client.bind((ATTACKER, 0))
        client.connect(("127.0.0.1", port))
        middle = chance.randrange(len(nonsense) + 1)
        client.sendall(nonsense[:middle])
        if chance.random() < 0.5:
            client.recv(65536)
        client.sendall(nonsense[middle:])
        ending = chance.randrange(4)
        if ending == 0:
            client.shutdown(socket.SHUT_WR)
            client.recv(65536)
        elif ending == 1:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
