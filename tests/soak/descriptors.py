"""
More clients than the system has descriptors for: nobody else notices.
"""

from __future__ import annotations

import time
from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, HONEST, Ground, Target, freePort, service, tcp

DESCRIPTORS: Final = 256

MOST_CPU: Final = 2.0
"""Percent of a processor, once all is as it will stay."""

PROBE_CPU: Final = 1.0
"""Percent of a processor that 50 answers a second cost."""

MODULE: Final = '''
from pathlib import Path
from twisted.internet.protocol import Factory, Protocol

class Reader(Protocol):
    """Answers with what a file holds."""
    def dataReceived(self, data):
        self.transport.write(Path(__file__).read_bytes()[:4])

class Hoarder(Protocol):
    """Opens a file for as long as it is connected, and one only if there is room."""
    file = None
    def connectionMade(self):
        try:
            self.file = open(__file__)
        except OSError:
            pass
    def dataReceived(self, data):
        self.transport.write(data)
    def connectionLost(self, reason):
        if self.file is not None:
            self.file.close()
'''


@frozen
class Size:
    """
    @ivar clients: How many come.
    @ivar seconds: How long the server is watched while they wait.
    """

    clients: int
    seconds: float


LONG: Final = Size(clients=600, seconds=5)
QUICK: Final = Size(clients=400, seconds=1.5)


def run(ground: Ground, size: Size) -> None:
    """
    With the limits that are worked out from the descriptors; without the one for each
    peer; and with a protocol that needs more of them, so that the system runs out.
    """
    measure(ground, size, "limited", "echo", "")
    measure(ground, size, "from one peer", "echo", "maxConnectionsPerPeer = 0")
    measure(ground, size, "used up", "mine:Hoarder", "maxConnectionsPerPeer = 0")


def measure(ground: Ground, size: Size, name: str, protocol: str, limits: str) -> None:
    """One kind of limit."""
    port, other = freePort(), freePort()
    ground.write("mine.py", MODULE)
    target = ground.serve(
        f"[limits]\n{limits}\n"
        + service("echo", protocol, tcp(port))
        + service("reader", "mine:Reader", tcp(other)),
        2,
        descriptors=DESCRIPTORS,
    )
    # Those who are there already.
    probe = ground.probe("tcp", port, interval=0.02)
    reading = ground.attack(
        "cycle", "-p", other, "-c", 20, "-t", 5, "-k", 1, "-b", ground.write("q", "ask?")
    ).result()
    descriptors = target.descriptors
    hold = ground.attack("hold", "-p", port, "-c", size.clients, "-t", 60, "-s", ATTACKER)
    hold.ready()
    time.sleep(min(2.0, size.seconds))
    lines, cpu = len(told(target)), target.cpu
    before = time.monotonic()
    time.sleep(size.seconds)
    took = time.monotonic() - before
    used = (target.cpu - cpu) / took * 100
    said = (len(told(target)) - lines) / took
    ground.atMost("open", target.descriptors, DESCRIPTORS)
    if name == "limited":
        # Another source has its room, and the protocol its file.
        during = ground.attack(
            *("cycle", "-p", other, "-c", 100, "-t", 10, "-k", 1, "-s", HONEST),
            *("-b", ground.directory / "q"),
        ).result()
        ground.atLeast("others served", during["answered"], 100)
    result = hold.end()
    while target.descriptors > descriptors + 1 and time.monotonic() < before + 30:
        time.sleep(0.05)
    after = ground.attack(
        *("cycle", "-p", other, "-c", 20, "-t", 15, "-k", 1, "-b", ground.directory / "q")
    ).result()
    asked = probe.end()
    ground.atMost("files not read", 20 - reading["answered"], 0)
    ground.note("held", result["held"])
    ground.note("lines that say so", len(told(target)))
    ground.note("refused or waiting", result["started"] - result["held"])
    # The probe costs something as well.
    ground.atMost("server CPU", used, MOST_CPU + PROBE_CPU, "%", isTime=True)
    ground.atMost("log lines a second", round(said, 2), 1.0)
    ground.note("p99 of a client", asked["p99"], "ms")
    ground.atMost("its failures", asked["failed"], 0)
    ground.atLeast("served afterwards", after["answered"], 20)
    ground.atMost("descriptors left", max(0, target.descriptors - descriptors), 0)
    ground.over(target)
    ground.line(f"descriptors, {name}")


def told(target: Target) -> list[str]:
    """What the log says of it."""
    return [line for line in target.log.splitlines() if "listening on" not in line]
