"""
Clients that say a byte now and then, and never get anywhere.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, HONEST, Ground, freePort, service, tcp

MODULE: Final = '''
from twisted.internet.protocol import Protocol
from myserv.plugin import ProtocolPlugin

class Login(Protocol):
    """Wants a line; then echoes, or sends as much as it is asked for."""
    line = b""
    def dataReceived(self, data):
        if self.line.endswith(b"\\n"):
            self.transport.write(data)
            return
        self.line += data
        if self.line.endswith(b"\\n"):
            self.transport.clientEstablished()
            self.transport.write(b"m" * int(self.line.split()[-1]))

login = ProtocolPlugin(
    "login", "a login", stream=Login, establishesClients=True, limits={"establish": "%s"}
)
'''

LATE: Final = 0.125
"""Part of a deadline by which it may be late."""

PIECE: Final = 1000
"""Bytes that the slow reader takes at a time."""


@frozen
class Size:
    """
    @ivar clients: Half-open ones.
    @ivar establish: Seconds that they have.
    @ivar interval: Milliseconds between their bytes.
    @ivar bytes: That the slow reader fetches, at 10 KB/s.
    """

    clients: int
    establish: float
    interval: int
    bytes: int


LONG: Final = Size(clients=10_000, establish=10, interval=3000, bytes=1_000_000)
QUICK: Final = Size(clients=200, establish=2, interval=500, bytes=40_000)


def run(ground: Ground, size: Size) -> None:
    """
    Beside them one that is honest, and one that is honest and slow.
    """
    port = freePort()
    ground.write("mine.py", MODULE % f"{size.establish:g}s")
    target = ground.serve(
        "[limits]\nmaxConnectionsPerPeer = 0\n" + service("login", "mine:login", tcp(port))
    )
    # They log in at once, and stay for as long as it lasts.
    slow = SlowReader(port, size.bytes)
    honest = Honest(port)
    time.sleep(0.5)
    descriptors, memory = target.descriptors, target.memory
    patience = size.establish * (1 + LATE) + 1
    hold = ground.attack(
        *("hold", "-p", port, "-c", size.clients, "-i", size.interval, "-s", ATTACKER, "-n", 100),
        *("-t", patience + 20, "-b", ground.write("first", b"u")),
    )
    hold.ready()
    each = (target.memory - memory) / size.clients * 1024
    result = hold.result()
    ground.settle(target, descriptors)
    asked = honest.end()
    ground.note("half-open", result["started"])
    ground.atLeast("gone", result["cut"] + result["refused"], size.clients)
    ground.note("refused", result["refused"])
    ground.note("the first after", result["firstCut"], "s")
    ground.atMost("the last", result["lastCut"], patience, "s", isTime=True)
    ground.note("memory each", each, "KiB")
    ground.atLeast("the honest one was answered", asked, 5)
    ground.atMost("its failures", honest.failures, 0)
    ground.atLeast("the slow one fetched", slow.end(), size.bytes, "bytes")
    ground.over(target)
    ground.line("slowloris")


class Honest:
    """
    Logs in, and talks now and then.
    """

    def __init__(self, port: int) -> None:
        self.failures = 0
        self._answers = 0
        self._isOver = threading.Event()
        self._client = connected(port, 0)
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        try:
            while not self._isOver.wait(0.1):
                self._client.sendall(b"?")
                if self._client.recv(1) != b"?":
                    raise ConnectionError
                self._answers += 1
        except OSError:
            self.failures += 1

    def end(self) -> int:
        """How often it was answered."""
        self._isOver.set()
        self._thread.join()
        self._client.close()
        return self._answers


class SlowReader:
    """
    Fetches a lot, slowly.
    """

    def __init__(self, port: int, total: int) -> None:
        self._total = total
        self._fetched = 0
        self._client = connected(port, total)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        began = time.monotonic()
        while self._fetched < self._total:
            try:
                piece = self._client.recv(PIECE)
            except OSError:
                return
            if not piece:
                return
            self._fetched += len(piece)
            # 10 KB a second.
            time.sleep(max(0.0, began + self._fetched / 10_000 - time.monotonic()))

    def end(self) -> int:
        """How many bytes it got."""
        self._thread.join()
        self._client.close()
        return self._fetched


def connected(port: int, wanted: int) -> socket.socket:
    """Connect, and log in."""
    client = socket.socket()
    # Its kernel shall not fetch it all at once.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.bind((HONEST, 0))
    client.connect(("127.0.0.1", port))
    client.sendall(b"me %d\n" % wanted)
    return client
