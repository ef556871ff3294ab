"""
What is measured of a server: a row for each scenario.

Each takes a running server and gives a sample: figures by the name of their column.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Final

from attrs import frozen

from bench.errors import BenchError
from bench.machine import Cores
from bench.server import Server
from bench.workshop import Workshop

Sample = dict[str, float]

COST: Final = "cost"
"""The column that peers are compared by."""

LOAD_TIMEOUT: Final = 30.0
"""Seconds beyond its own time until a load generator is taken for stuck."""

SATURATED: Final = 0.9
"""The part of its core from which on a load generator may be what limits a server."""


@frozen
class Scale:
    """
    How much is measured.

    @ivar seconds: For how long each time.
    @ivar idle: How many idle connections.
    """

    seconds: float
    idle: int


@frozen
class Bench:
    """
    What a scenario measures with.
    """

    workshop: Workshop
    cores: Cores
    scale: Scale

    def start(self, mode: str, server: Server, *options: str) -> subprocess.Popen[str]:
        """
        Start the load generator.
        """
        command = [self.workshop.load, mode, f"-p{server.port}", *options]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cores.load}),  # noqa: PLW1509 - no threads
        )

    def measure(self, mode: str, server: Server, clients: int, size: int, depth: int) -> Sample:
        """
        Have a server answer for a while.

        Raises:
            BenchError: It stopped answering.
        """
        pids = map(str, server.pids())
        options = (f"-c{clients}", f"-s{size}", f"-d{depth}", f"-t{self.scale.seconds}", *pids)
        with self.start(mode, server, *options) as load:
            try:
                out, complaints = load.communicate(timeout=self.scale.seconds + LOAD_TIMEOUT)
            except subprocess.TimeoutExpired:
                load.kill()
                raise BenchError("the load generator is stuck") from None
        if load.returncode:
            raise BenchError(complaints.strip())
        result = json.loads(out)
        completed = result["completed"]
        if not completed:
            raise BenchError("the server answered nothing")
        return {
            COST: result["serverCpu"] / completed * 1e6,
            "rate": completed / result["seconds"],
            "p50": result["p50"],
            "p99": result["p99"],
            "lost": result["lost"],
            "serverBusy": result["serverCpu"] / result["seconds"] * 100,
            "loadBusy": result["ownCpu"] / result["seconds"] * 100,
        }


@frozen
class Column:
    """
    A figure of a sample, and how tables show it.
    """

    key: str
    heading: str
    digits: int = 0


@frozen
class Scenario:
    """
    Something to measure.

    @ivar name: What C{--only} calls it.
    @ivar title: What tables call it.
    @ivar cost: Heading and digits of what peers are compared by.
    @ivar columns: The other figures.
    @ivar run: Takes a sample.
    @ivar tls: What peers serve over TLS is measured, of those that do.
    @ivar steady: Hardly differs from round to round, so two of them do.
    """

    name: str
    title: str
    cost: Column
    columns: tuple[Column, ...]
    run: Callable[[Bench, Server], Sample]
    steady: bool = False
    tls: bool = False


def _exchanging(
    mode: str, clients: int, size: int, depth: int = 1
) -> Callable[[Bench, Server], Sample]:
    def run(bench: Bench, server: Server) -> Sample:
        return bench.measure(mode, server, clients, size, depth)

    return run


def _idle(bench: Bench, server: Server) -> Sample:
    # What the first connections bring into memory is not theirs.
    _hold(bench, server, 8)
    before = server.memory()
    after = _hold(bench, server, bench.scale.idle)
    return {COST: (after - before) / bench.scale.idle, "total": after / 2**20}


def _hold(bench: Bench, server: Server, connections: int) -> int:
    with bench.start("idle", server, f"-c{connections}") as load:
        assert load.stdin is not None
        assert load.stdout is not None
        assert load.stderr is not None
        try:
            if not load.stdout.readline():
                raise BenchError(load.stderr.read().strip())
            server.settle()
            memory = server.memory()
        finally:
            load.stdin.close()
    server.settle()
    return memory


def _cpuPer(thing: str, digits: int) -> Column:
    return Column(COST, f"CPU µs per {thing}", digits)


def _flow(things: str) -> tuple[Column, ...]:
    return (
        Column("rate", f"{things}/s"),
        Column("p50", "p50 µs"),
        Column("p99", "p99 µs"),
        Column("serverBusy", "server busy %"),
        Column("loadBusy", "load busy %"),
    )


SCENARIOS: Final = (
    Scenario(
        "tcp",
        "TCP echo: 50 connections, 64-byte messages, one at a time each",
        _cpuPer("message", 2),
        _flow("messages"),
        _exchanging("tcp", clients=50, size=64),
    ),
    Scenario(
        "tls",
        "TLS echo: 50 connections, 64-byte messages, one at a time each, TLS 1.3",
        _cpuPer("message", 2),
        _flow("messages"),
        _exchanging("tls", clients=50, size=64),
        tls=True,
    ),
    Scenario(
        "udp",
        "UDP echo: 50 peers, 64-byte datagrams, one at a time each",
        _cpuPer("datagram", 2),
        (*_flow("datagrams"), Column("lost", "lost")),
        _exchanging("udp", clients=50, size=64),
    ),
    Scenario(
        "connect",
        "Connections: connect, one 64-byte echo, close; 20 at a time",
        _cpuPer("connection", 1),
        _flow("connections"),
        _exchanging("connect", clients=20, size=64),
    ),
    Scenario(
        "memory",
        "Memory: idle connections, each after one echo",
        Column(COST, "bytes per connection"),
        (Column("total", "server MiB", 1),),
        _idle,
        steady=True,
    ),
)
