"""
TLS clients that never get through, and those who do nothing but get through.
"""

from __future__ import annotations

import math
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, Ground, freePort, tcp

TIMEOUT: Final = 10.0
"""Seconds that a handshake may take: the default of C{handshakeTimeout}."""

LATE: Final = 1.0
"""Seconds that a deadline may be late."""

MOST_LATENCY: Final = 50.0
"""ms, in which 99 of 100 answers to a client come that is through, while another has the
server do handshakes all the time: each takes it about a millisecond of one core."""

HELLO: Final = bytes.fromhex("160301020001")
"""The beginning of a ClientHello."""


CLIENTS: Final = 3
"""That do handshakes one after another, so that the server always has one to do."""


@frozen
class Size:
    """
    @ivar clients: That never finish.
    @ivar timeout: Of their handshakes, in seconds.
    @ivar seconds: How long the others are at it.
    """

    clients: int
    timeout: float
    seconds: float


LONG: Final = Size(clients=300, timeout=TIMEOUT, seconds=10)
QUICK: Final = Size(clients=50, timeout=2, seconds=2)


def run(ground: Ground, size: Size) -> None:
    """
    Both, one after the other.
    """
    unfinished(ground, size, "silent", b"")
    unfinished(ground, size, "half a hello", HELLO)
    finished(ground, size)


def unfinished(ground: Ground, size: Size, name: str, said: bytes) -> None:
    """Clients that stop in their handshake are cut."""
    port = freePort()
    limit = "" if size.timeout == TIMEOUT else f"handshakeTimeout={size.timeout:g}s:"
    target = ground.echo(tcp(port, f"tls:selfSigned=localhost:{limit}"))
    ground.probe("tls", port, seconds=0.5).result()
    descriptors, memory = target.descriptors, target.memory
    probe = ground.probe("tls", port, interval=0.02)
    hold = ground.attack(
        *("hold", "-p", port, "-c", size.clients, "-t", size.timeout + 6, "-s", ATTACKER),
        *("-b", ground.write("hello", said)),
    )
    hold.ready()
    each = (target.memory - memory) / size.clients * 1024
    result = hold.result()
    asked = probe.end()
    ground.atLeast("cut", result["cut"], size.clients)
    ground.note("the first after", result["firstCut"], "s")
    ground.atMost("the last", result["lastCut"], size.timeout + LATE, "s", isTime=True)
    ground.note("memory each", each, "KiB")
    ground.atMost("another client's failures", asked["failed"], 0)
    ground.settle(target, descriptors)
    ground.over(target)
    ground.line(f"handshakes, {name}")


def finished(ground: Ground, size: Size) -> None:
    """Full handshakes, as fast as they can be had."""
    port = freePort()
    target = ground.echo(tcp(port, "tls:selfSigned=localhost:"))
    before = ground.probe("tls", port, seconds=1).result()
    descriptors = target.descriptors
    probe = ground.probe("tls", port)
    cpu, waited = target.cpu, target.waited
    began = time.monotonic()
    made = sum(shaken(port, math.ceil(size.seconds)))
    took = time.monotonic() - began
    cpu, waited = target.cpu - cpu, target.waited - waited
    during = probe.end()
    ground.note("handshakes a second", made / took)
    ground.note("server CPU", cpu / took * 100, "%")
    ground.note("kept waiting", waited / took * 100, "%")
    ground.note("a client's p99 before", before["p99"], "ms")
    ground.note("p50 during", during["p50"], "ms")
    ground.atMost("p99", during["p99"], MOST_LATENCY, "ms", isTime=True)
    ground.atMost("its failures", during["failed"], 0)
    ground.settle(target, descriptors)
    ground.over(target)
    ground.line("handshakes, flood")


def shaken(port: int, seconds: int) -> Iterator[int]:
    """How many handshakes each of several clients got done."""
    words = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", str(seconds)]
    clients = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(CLIENTS)
    ]
    for client in clients:
        said, _ = client.communicate(timeout=seconds + 20)
        found = re.search(r"(\d+) connections in \d+ real seconds", said)
        assert found is not None, said
        yield int(found.group(1))
