"""
One source sends datagrams as fast as it can, and the others are answered all the same.
"""

from __future__ import annotations

import time
from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, LOOPBACK, Ground, freePort

ANSWERED: Final = 99.0
"""Percent of another source's requests, once the flood is noticed."""

NOTICED: Final = 0.8
"""Seconds until then: see tests/wire/test_flood.py."""


@frozen
class Size:
    """
    @ivar seconds: How long the flood lasts.
    """

    seconds: float


LONG: Final = Size(seconds=15)
QUICK: Final = Size(seconds=4)


def run(ground: Ground, size: Size) -> None:
    """
    An echo.
    """
    port = freePort()
    target = ground.echo(f"udp:{port}:{LOOPBACK}")
    before = ground.probe("udp", port, seconds=1).result()
    waited = target.waited
    flood = ground.attack("flood", "-p", port, "-t", size.seconds, "-s", ATTACKER)
    time.sleep(NOTICED)
    during = ground.probe("udp", port, seconds=size.seconds - NOTICED - 0.3).result()
    waited = target.waited - waited
    result = flood.result()
    after = ground.probe("udp", port, seconds=1).result()
    share = (1 - during["failed"] / during["asked"]) * 100
    ground.note("datagrams a second", result["made"] / result["seconds"])
    ground.note("kept waiting", waited / size.seconds * 100, "%")
    ground.atLeast("answered during", share, ANSWERED, "%", isTime=True)
    ground.note("p99 before", before["p99"], "ms")
    ground.note("p99 during", during["p99"], "ms")
    ground.note("lost afterwards", after["failed"])
    ground.atMost("memory", target.peak, 300, "MiB")
    ground.over(target)
    ground.line("datagrams")
