"""
Connections that come and go as fast as the kernel makes them.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, Ground, freePort, tcp

RATE: Final = 20_000
"""Connections a second."""

MOST_LATENCY: Final = 10
"""ms, in which 99 of 100 answers to a client come that is connected."""


@frozen
class Size:
    """
    @ivar seconds: For how long.
    """

    seconds: float


LONG: Final = Size(seconds=10)
QUICK: Final = Size(seconds=2)


def run(ground: Ground, size: Size) -> None:
    """
    Closed politely, and with a reset.
    """
    for name, words in (("closed", ()), ("reset", ("-R",))):
        port = freePort()
        target = ground.echo(tcp(port))
        before = ground.probe("tcp", port, seconds=1).result()
        descriptors = target.descriptors
        probe = ground.probe("tcp", port)
        cpu, waited = target.cpu, target.waited
        storm = ground.attack(
            "storm", "-p", port, "-t", size.seconds, "-s", ATTACKER, "-n", 8, "-r", RATE, *words
        ).result()
        cpu = target.cpu - cpu
        waited = target.waited - waited
        during = probe.end()
        ground.note("connections a second", storm["made"] / storm["seconds"])
        ground.note("that found the backlog full", storm["unanswered"])
        ground.note("server CPU each", cpu / max(1, storm["made"]) * 1e6, "us")
        ground.note("p99 of a client before", before["p99"], "ms")
        ground.note("the server was kept waiting", waited / size.seconds * 100, "%")
        ground.note("p50 during", during["p50"], "ms")
        ground.atMost("p99", during["p99"], MOST_LATENCY, "ms", isTime=True)
        ground.atMost("its failures", during["failed"], 0)
        ground.settle(target, descriptors, 10)
        ground.atMost("memory", target.peak, 300, "MiB")
        ground.over(target)
        ground.line(f"storm, {name}")
