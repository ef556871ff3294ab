"""
Clients that send and never read an echo: the server does not keep it all for them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import resource
import selectors
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.soak.ground import Ground, MiB, Running, Target, freePort, tcp

MOST_MEMORY: Final = 300
"""MiB; stock Twisted needs 3.5 GiB."""

MOST_LATENCY: Final = 50
"""ms, in which 99 of 100 answers to another client come."""

WRITE_TIMEOUT: Final = 2.0
"""Seconds, where it is that clients are cut."""

FRAME: Final = 16384
"""Bytes of a WebSocket message."""


@frozen
class Size:
    """
    @ivar clients: How many of them.
    @ivar seconds: For how long.
    @ivar kinds: Over what.
    """

    clients: int
    seconds: float
    kinds: tuple[str, ...] = ("tcp", "tls", "websocket")


LONG: Final = Size(clients=200, seconds=12)
QUICK: Final = Size(clients=50, seconds=3, kinds=("tcp", "tls"))


def run(ground: Ground, size: Size) -> None:
    """
    Over TCP, TLS and WebSocket; then with a short C{writeTimeout}.
    """
    for kind in size.kinds:
        port, plain = freePort(), freePort()
        layers = {"tcp": "", "tls": "tls:selfSigned=localhost:", "websocket": "websocket:"}[kind]
        target = ground.echo(tcp(port, layers), tcp(plain))
        before = ground.probe("tcp", plain, seconds=1).result()
        waited, kernels = target.waited, kernelMemory()
        probe = ground.probe("tcp", plain, seconds=size.seconds)
        attack = begin(ground, kind, port, size.clients, size.seconds)
        time.sleep(size.seconds - 0.5)
        kernels = kernelMemory() - kernels
        result = attack.result()
        during = probe.result()
        waited = target.waited - waited
        ground.note("sent", result["sent"] / 2**20, "MiB")
        ground.note("the kernel keeps of both ends", kernels, "MiB")
        ground.note("kept waiting", waited / size.seconds * 100, "%")
        ground.atLeast("clients served", size.clients - result["refused"], size.clients)
        judge(ground, target, before["p99"], during)
        ground.over(target)
        ground.line(f"readers over {kind}")
    cutReaders(ground, size)


def kernelMemory() -> float:
    """MiB that the buffers of all TCP sockets have."""
    found = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found.group(1)) * resource.getpagesize() / MiB if found else 0.0


def judge(ground: Ground, target: Target, before: float, during: dict[str, float]) -> None:
    """Note what every kind has to keep."""
    ground.atMost("memory", target.peak, MOST_MEMORY, "MiB")
    ground.note("another client's p99 before", before, "ms")
    ground.atMost("during", during["p99"], MOST_LATENCY, "ms", isTime=True)
    ground.atMost("another client's failures", during["failed"], 0)


def begin(
    ground: Ground, kind: str, port: int, clients: int, seconds: float
) -> Running | TLSReaders:
    """Begin an attack."""
    words: tuple[str | int | float, ...] = ("-p", port, "-c", clients, "-t", seconds)
    if kind == "tls":
        return TLSReaders(port, clients, seconds)
    if kind == "tcp":
        return ground.attack("readers", *words, "-B", ground.write("chunk", b"x" * 65536))
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    # A binary message, masked with zeros.
    frame = b"\x82\xfe" + FRAME.to_bytes(2, "big") + bytes(4) + b"x" * FRAME
    first, chunk = ground.write("request", request), ground.write("chunk", frame)
    return ground.attack("readers", *words, "-b", first, "-B", chunk)


class TLSReaders:
    """
    The same over TLS, where encrypting takes longer than sending.
    """

    def __init__(self, port: int, clients: int, seconds: float) -> None:
        self._port = port
        self._clients = clients
        self._end = time.monotonic() + seconds
        self._result = {"sent": 0, "refused": 0, "cut": 0}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> dict[str, int]:
        """What came of it."""
        self._thread.join()
        return self._result

    def _run(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        chunk = b"x" * 16384
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            for _ in range(self._clients):
                try:
                    raw = socket.create_connection(("127.0.0.1", self._port), 10)
                    client = stack.enter_context(context.wrap_socket(raw))
                except OSError:
                    self._result["refused"] += 1
                    continue
                client.setblocking(False)
                selector.register(client, selectors.EVENT_WRITE)
            while time.monotonic() < self._end:
                for key, _ in selector.select(0.1):
                    try:
                        self._result["sent"] += key.fileobj.send(chunk)  # type: ignore[union-attr]
                    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                        continue
                    except OSError:
                        self._result["cut"] += 1
                        selector.unregister(key.fileobj)


def cutReaders(ground: Ground, size: Size) -> None:
    """Who takes nothing for so long is cut."""
    port = freePort()
    limits = f"[services.echo.limits]\nwriteTimeout = '{WRITE_TIMEOUT:g}s'\n"
    target = ground.echo(tcp(port), more=limits)
    ground.probe("tcp", port, seconds=0.5).result()
    descriptors = target.descriptors
    seconds = 3 * WRITE_TIMEOUT + 4
    result = begin(ground, "tcp", port, size.clients, seconds).result()
    ground.atLeast("cut", result["cut"], size.clients)
    # An eighth late, a tick of the clock, and the first bytes that its kernel took.
    ground.atMost("the last after", result["lastCut"], WRITE_TIMEOUT * 1.5 + 2, "s", isTime=True)
    ground.settle(target, descriptors)
    ground.atMost("memory", target.peak, MOST_MEMORY, "MiB")
    ground.over(target)
    ground.line("readers, cut")
