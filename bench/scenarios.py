"""
What is measured of a server: a row for each scenario.

Each takes a running server and gives a sample: figures by the name of their column.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from bench.load import COST, Load, Sample
from bench.roster import (
    COMPARED,
    NATIVE,
    NATIVE_UNLIMITED,
    STOCK,
    STOCK_UNLIMITED,
    TWISTED,
    UVLOOP,
    WORKERS,
    C,
    Service,
)
from bench.server import Server

SIZES: Final = (64, 1_024, 16_384)
"""Bytes of a message."""

CONNECTIONS: Final = (50, 1, 1_000)
"""Connections at once."""

HEADLINE: Final = (64, 50)
"""Bytes and connections that servers are judged by."""

LARGEST_DATAGRAM: Final = 8_192
"""What Twisted reads of one, where nothing else is said (C{maxPacketSize})."""

LARGEST_UDP: Final = 1_024
"""Bytes of a datagram, unless somebody asks for more."""

Cell = tuple[int, int]
"""Bytes of a message, and connections."""


class Weight(enum.Enum):
    """How much of a round a scenario gets."""

    JUDGED = "judged"
    GLIMPSED = "glimpsed"
    PAIRED = "paired"
    ONCE = "once"


@frozen
class Column:
    """
    A figure of a sample, and how tables show it.
    """

    key: str
    heading: str
    digits: int = 0


@frozen
class Baseline:
    """
    What peers are compared with.

    @ivar heading: What tables call it.
    @ivar peer: One for all, or one for each by its name.
    """

    heading: str
    peer: str | Mapping[str, str]

    def of(self, name: str) -> str | None:
        """
        Whom a peer is compared with, by name.
        """
        return self.peer if isinstance(self.peer, str) else self.peer.get(name)


BASELINES: Final = (Baseline("Twisted", TWISTED), Baseline("uvloop", UVLOOP), Baseline("C", C))


@frozen
class Scenario:
    """
    Something to measure.

    @ivar family: What C{--only} calls it and its like.
    @ivar name: Tells it from its like.
    @ivar title: What tables call it.
    @ivar cost: Heading and digits of what peers are compared by.
    @ivar columns: The other figures.
    @ivar run: Takes a sample, for a number of seconds.
    @ivar service: What a server is started for.
    @ivar weight: How often it is measured, and for how long.
    @ivar peers: Of whom, by name.
    @ivar baselines: What they are compared with.
    @ivar compared: The column that is.
    @ivar cell: Of the echo scenarios, which one it is.
    """

    family: str
    name: str
    title: str
    cost: Column
    columns: tuple[Column, ...]
    run: Callable[[Load, Server, float], Sample]
    service: Service = Service.PLAIN
    weight: Weight = Weight.JUDGED
    peers: tuple[str, ...] = COMPARED
    baselines: tuple[Baseline, ...] = BASELINES
    compared: str = COST
    cell: Cell | None = None


def _exchanging(mode: str, size: int, clients: int) -> Callable[[Load, Server, float], Sample]:
    return lambda load, server, seconds: load.exchange(mode, server, clients, size, seconds)


def _idle(load: Load, server: Server, _: float) -> Sample:
    return load.idle(server)


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


def inBytes(size: int) -> str:
    """
    A size as tables write it.
    """
    return f"{size // 1024} KiB" if size % 1024 == 0 else f"{size} B"


def atOnce(count: int, thing: str = "connection") -> str:
    """
    A number of connections as tables write it.
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def echoName(family: str, cell: Cell = HEADLINE) -> str:
    """
    What an echo scenario is called.
    """
    return f"{family}-{cell[0]}-{cell[1]}"


def _echo(family: str, cell: Cell) -> Scenario:
    size, clients = cell
    what = {"tcp": "TCP echo", "tls": "TLS 1.3 echo", "udp": "UDP echo"}[family]
    thing, peer = ("datagram", "peer") if family == "udp" else ("message", "connection")
    columns = _flow(f"{thing}s")
    return Scenario(
        family,
        echoName(family, cell),
        f"{what}: {atOnce(clients, peer)}, {thing}s of {inBytes(size)}, one at a time each",
        _cpuPer(thing, 2),
        (*columns, Column("lost", "lost")) if family == "udp" else columns,
        _exchanging(family, size, clients),
        service=Service.TLS if family == "tls" else Service.PLAIN,
        weight=Weight.JUDGED if cell == HEADLINE else Weight.GLIMPSED,
        cell=cell,
    )


def echoScenarios(sizes: Sequence[int], connections: Sequence[int]) -> Iterator[Scenario]:
    """
    Echo over TCP, TLS and UDP, of these sizes over so many connections.
    """
    for family in ("tcp", "tls", "udp"):
        # The two that are judged come first: tables show them so.
        for clients in connections:
            for size in sizes:
                if family != "udp" or size <= LARGEST_DATAGRAM:
                    yield _echo(family, (size, clients))


CONNECT: Final = Scenario(
    "connect",
    "connect",
    "Connections: connect, one 64-byte echo, close; 20 at a time",
    _cpuPer("connection", 1),
    _flow("connections"),
    _exchanging("connect", 64, 20),
)

MEMORY: Final = Scenario(
    "memory",
    "memory",
    "Memory: idle connections, each after one echo",
    Column(COST, "bytes per connection"),
    (Column("total", "server MiB", 1),),
    _idle,
    weight=Weight.ONCE,
)

COMPUTING: Final = Scenario(
    "workers",
    "workers",
    "Two workers: 50 connections to a protocol that computes for two fifths of a millisecond "
    "before it answers 64 bytes",
    _cpuPer("message", 1),
    _flow("messages"),
    _exchanging("tcp", 64, 50),
    service=Service.COMPUTING,
    weight=Weight.PAIRED,
    peers=(NATIVE, WORKERS),
    baselines=(Baseline("rate of one", NATIVE),),
    compared="rate",
)

RULES_OFF: Final = Baseline("no limits", {STOCK: STOCK_UNLIMITED, NATIVE: NATIVE_UNLIMITED})


def _gate(name: str, what: str, thing: str, mode: str, clients: int) -> Scenario:
    return Scenario(
        "gate",
        f"gate-{name}",
        f"The gate: default limits against none, {what}",
        _cpuPer(thing, 2),
        _flow(f"{thing}s"),
        _exchanging(mode, 64, clients),
        weight=Weight.PAIRED,
        peers=(STOCK, STOCK_UNLIMITED, NATIVE, NATIVE_UNLIMITED),
        baselines=(RULES_OFF,),
    )


GATE: Final = (
    _gate("tcp", "TCP echo of 64 bytes over 50 connections", "message", "tcp", 50),
    _gate("udp", "UDP echo of 64 bytes with 50 peers", "datagram", "udp", 50),
    _gate("connect", "connect, one 64-byte echo, close; 20 at a time", "connection", "connect", 20),
    Scenario(
        "gate",
        "gate-memory",
        "The gate: memory of idle connections",
        MEMORY.cost,
        MEMORY.columns,
        MEMORY.run,
        weight=Weight.ONCE,
        peers=(STOCK, STOCK_UNLIMITED, NATIVE, NATIVE_UNLIMITED, TWISTED),
        baselines=(RULES_OFF, Baseline("Twisted", TWISTED)),
    ),
)

FAMILIES: Final = ("tcp", "tls", "udp", "connect", "memory", "gate", "workers")
"""What C{--only} takes."""

OTHERS: Final = (CONNECT, MEMORY, *GATE, COMPUTING)
"""All but echo."""
