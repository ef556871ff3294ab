"""
One source connects as often as it can; the others notice little of it.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, Ground, freePort, tcp

MOST_ADDED: Final = 20.0
"""ms that 99 of 100 connections of another source may take longer."""

ROOM: Final = 9_000
"""Half of it, 20,000 descriptors less 1,024, is what one peer may have."""


@frozen
class Size:
    """
    @ivar clients: Connections that are made and held.
    @ivar seconds: For how long.
    @ivar descriptors: Of the server, C{None}: as many as there are.
    """

    clients: int
    seconds: float
    descriptors: int | None = None


LONG: Final = Size(clients=15_000, seconds=10)
QUICK: Final = Size(clients=400, seconds=2, descriptors=400)


def run(ground: Ground, size: Size) -> None:
    """
    It stays, and then it comes and goes.
    """
    for name in ("held", "closed"):
        port = freePort()
        target = ground.echo(tcp(port), descriptors=size.descriptors)
        before = ground.probe("connect", port, seconds=1.5).result()
        descriptors = target.descriptors
        waited = target.waited
        if name == "held":
            mode, words = "hold", ["-c", str(size.clients)]
        else:
            mode, words = "storm", ["-R"]
        attack = ground.attack(mode, *words, "-p", port, "-t", size.seconds, "-s", ATTACKER)
        probe = ground.probe("connect", port, seconds=size.seconds - 0.2)
        result, during = attack.result(), probe.result()
        waited = target.waited - waited
        ground.note("connections a second", result.get("made", 0) / result["seconds"])
        ground.note("held", result.get("held", 0))
        ground.note("refused", result.get("refused", 0) + result.get("cut", 0))
        ground.note("kept waiting", waited / size.seconds * 100, "%")
        for key in ("p50", "p99"):
            ground.note(f"another's {key} before", before[key], "ms")
            ground.note("during", during[key], "ms")
        ground.atMost("added", during["p99"] - before["p99"], MOST_ADDED, "ms", isTime=True)
        ground.atMost("its failures", during["failed"], 0)
        ground.settle(target, descriptors, 10)
        ground.over(target)
        ground.line(f"flood, {name}")
