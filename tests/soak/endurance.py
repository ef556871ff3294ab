"""
Everything at once, for long: nothing grows, and nobody is counted who is gone.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Callable
from typing import Final

from attrs import frozen

from tests.soak.garbage import BEGINNINGS
from tests.soak.ground import HONEST, LOOPBACK, Ground, freePort, service, tcp

MOST_GROWTH: Final = 1.0
"""Percent, of memory and descriptors, from the third quarter to the last."""

SLACK: Final = 2
"""Descriptors by which the two may differ: who is connected changes all the time."""

ROOM: Final = 60
"""Connections that the echo takes at once."""

MODULE: Final = '''
from myserv.plugin import DatagramSession, ProtocolPlugin, SessionLimits

class Session(DatagramSession):
    """Echoes."""
    def datagramReceived(self, datagram):
        self.transport.write(datagram)

session = ProtocolPlugin(
    "session", "sessions", session=Session,
    sessionLimits=SessionLimits(idle=1, unproved=1, total=500, perSource=400),
)
'''


@frozen
class Size:
    """
    @ivar minutes: For how long.
    """

    minutes: float


LONG: Final = Size(minutes=10)
QUICK: Final = Size(minutes=0.2)


def run(ground: Ground, size: Size) -> None:
    """
    Each kind of traffic has a thread; the server's memory is looked at each second.
    """
    ground.write("mine.py", MODULE)
    ports = {name: freePort() for name in ("tcp", "tls", "websocket", "udp", "session", "dtls")}
    target = ground.serve(
        "[limits]\nmaxConnectionsPerPeer = 0\nfirstByte = '3s'\n"
        "[penalties]\nexempt = []\nprotocol = '1s'\n"
        + service(
            "echo",
            "echo",
            tcp(ports["tcp"]),
            tcp(ports["tls"], "tls:selfSigned=localhost:handshakeTimeout=2s:"),
            tcp(ports["websocket"], "websocket:handshakeTimeout=2s:"),
            f"udp:{ports['udp']}:{LOOPBACK}",
            f"dtls:selfSigned=localhost:udp:{ports['dtls']}:{LOOPBACK}",
            limits=f"maxConnections = {ROOM}",
        )
        + service("session", "mine:session", f"udp:{ports['session']}:{LOOPBACK}"),
        2,
    )
    isOver = threading.Event()
    counts: dict[str, int] = {}
    kinds: dict[str, Callable[[random.Random], None]] = {
        "echoes": lambda chance: converse(ports["tcp"], chance),
        "TLS": lambda chance: shake(ports["tls"]),
        "WebSocket": lambda chance: nonsense(ports["websocket"], chance, BEGINNINGS[3]),
        "handshakes aborted": lambda chance: nonsense(ports["tls"], chance, BEGINNINGS[1]),
        "datagrams": lambda chance: datagrams(ports["udp"], chance),
        "DTLS nonsense": lambda chance: datagrams(ports["dtls"], chance),
        "sessions": lambda chance: datagrams(ports["session"], chance),
    }

    def drive(name: str, kind: Callable[[random.Random], None]) -> None:
        chance = random.Random(name)
        while not isOver.is_set():
            with contextlib.suppress(OSError):
                kind(chance)
            counts[name] = counts.get(name, 0) + 1

    threads = [threading.Thread(target=drive, args=each, daemon=True) for each in kinds.items()]
    for each in threads:
        each.start()
    memory: list[float] = []
    descriptors: list[int] = []
    end = time.monotonic() + size.minutes * 60
    while time.monotonic() < end:
        time.sleep(1)
        memory.append(target.memory)
        descriptors.append(target.descriptors)
    isOver.set()
    for each in threads:
        each.join(30)
    for name, count in counts.items():
        ground.note(name, count)
    quarter = len(memory) // 4
    before, after = memory[-2 * quarter : -quarter], memory[-quarter:]
    ground.note("memory", after[-1], "MiB")
    grew = (statistics.median(after) / statistics.median(before) - 1) * 100
    ground.atMost("it grew", round(grew, 2), MOST_GROWTH, "%", isTime=size.minutes < 2)
    opened = statistics.median(descriptors[-quarter:]) - statistics.median(
        descriptors[-2 * quarter : -quarter]
    )
    ground.atMost("more descriptors", opened, SLACK, isTime=size.minutes < 2)
    # Those who said nothing yet are cut by then, and sessions are idle.
    time.sleep(5)
    ground.atLeast("connections that fit afterwards", room(ports["tcp"]), ROOM)
    ground.over(target)
    ground.line("endurance")


def room(port: int) -> int:
    """How many are served at once."""
    with contextlib.ExitStack() as stack:
        served = 0
        for _ in range(ROOM):
            client = stack.enter_context(socket.socket())
            client.settimeout(3)
            client.bind((HONEST, 0))
            with contextlib.suppress(OSError):
                client.connect(("127.0.0.1", port))
                client.sendall(b"?")
                served += client.recv(1) == b"?"
        return served


def source(chance: random.Random) -> str:
    """One of many addresses, all of which soon were here: each that ever was is remembered."""
    return f"127.0.{chance.randrange(1, 6)}.{chance.randrange(1, 250)}"


def converse(port: int, chance: random.Random) -> None:
    """A few echoes."""
    with socket.socket() as client:
        client.settimeout(5)
        client.bind((source(chance), 0))
        client.connect(("127.0.0.1", port))
        for _ in range(chance.randrange(1, 20)):
            client.sendall(b"x" * chance.randrange(1, 5000))
            client.recv(65536)


def shake(port: int) -> None:
    """A handshake, and an echo."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 5, (HONEST, 0)) as raw,
        context.wrap_socket(raw) as client,
    ):
        client.sendall(b"hello")
        client.recv(5)


def nonsense(port: int, chance: random.Random, beginning: bytes) -> None:
    """What begins well, and does not go on so; it costs its source a penalty."""
    with socket.socket() as client:
        client.settimeout(0.2)
        client.bind((source(chance), 0))
        client.connect(("127.0.0.1", port))
        client.sendall(beginning)
        if chance.random() < 0.5:
            client.recv(4096)
        if chance.random() < 0.5:
            client.sendall(chance.randbytes(500))
            client.recv(4096)


def datagrams(port: int, chance: random.Random) -> None:
    """A few of them, not too fast."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.05)
        client.bind((source(chance), 0))
        client.connect(("127.0.0.1", port))
        for _ in range(5):
            client.send(chance.choice(BEGINNINGS) + chance.randbytes(chance.randrange(1, 200)))
        client.recv(2000)
