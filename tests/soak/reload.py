"""
SIGHUP under load: nobody is refused, and no request is lost.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from attrs import frozen

from tests.soak.ground import HONEST, Ground, Running, Target, freePort, waitUntil
from tests.wire.mutations import mutatedConfigurations, rightConfiguration

MOST_LATENCY: Final = 50.0
"""ms that the slowest connection takes; HAProxy's took 31.8 over eight reloads."""

SECOND: Final = 1.0
"""In which a worker that died has a successor."""

PATIENCE: Final = 60.0
"""Seconds that a reload may take on a busy machine."""


@frozen
class Size:
    """
    @ivar reloads: How many.
    @ivar connections: During them, at least.
    @ivar mutations: Wrong files.
    """

    reloads: int
    connections: int
    mutations: int


LONG: Final = Size(reloads=20, connections=100_000, mutations=100)
QUICK: Final = Size(reloads=3, connections=3_000, mutations=5)

WORKERS: Final = "[server]\nworkers = 2\n"


def run(ground: Ground, size: Size) -> None:
    """
    With workers, then without; then wrong files, and a worker that is killed.
    """
    reloads(ground, size, "workers", WORKERS)
    reloads(ground, size, "one process", "[server]\n")
    wrong(ground, size)
    killed(ground)


def configuration(server: str, port: int, number: int, other: int) -> str:
    """A right file, another one each time."""
    text = (
        f"{server}maxConnections = {1000 + number}\n[limits]\nidle = '{60 + number}s'\ndrain = '5s'\n"
        f"[services.said]\nprotocol = 'echo'\nlisten = ['tcp:{port}:interface=127.0.0.1'"
    )
    # An endpoint comes, and goes.
    return text + (f", 'tcp:{other}:interface=127.0.0.1']\n" if number % 2 else "]\n")


def started(target: Target) -> int:
    """How many workers ever were ready."""
    return target.log.count(" serves (process ")


def reloads(ground: Ground, size: Size, name: str, server: str) -> None:
    """One after another, under load."""
    port, other = freePort(), freePort()
    hasWorkers = server == WORKERS
    target = ground.launch(configuration(server, port, 0, other))
    file = ground.directory / f"server-{len(ground.targets) - 1}.toml"
    waitUntil(lambda: target.log.count(": serving\n") >= 1 + hasWorkers, 20)
    quiet = load(ground, port, 2_000).result()
    attack = load(ground, port, 10_000_000)
    done = 0
    took: list[float] = []
    began = time.monotonic()
    rate = quiet["made"] / quiet["seconds"]
    while done < size.reloads:
        done += 1
        text = configuration(server, port, done, other)
        ground.write("next", text).replace(file)
        if hasWorkers:
            before = started(target)
            target.process.send(signal.SIGHUP)
            # Limits alone would be taken by those that run; an endpoint needs new ones.
            happened = lambda: started(target) >= before + 2  # noqa: B023, E731
        else:
            before = target.log.count(" is applied: ")
            target.process.send(signal.SIGHUP)
            happened = lambda: target.log.count(" is applied: ") > before  # noqa: B023, E731
        took.append(waitUntil(happened, PATIENCE))
    while (time.monotonic() - began) * rate * 0.5 < size.connections:
        time.sleep(0.1)
    result = attack.end()
    lost = result["made"] - result["answered"]
    ground.atLeast("reloads", sum(each < PATIENCE for each in took), size.reloads)
    ground.note("each took", sum(took) / len(took), "s")
    ground.atLeast("connections", result["made"], size.connections)
    ground.atMost("lost", lost, 0)
    for each in ("refused", "reset", "ended", "late", "wrong"):
        ground.atMost(each, result[each], 0)
    ground.note("the slowest without", quiet["worst"], "ms")
    ground.note("99.9 %", result["p999"], "ms")
    ground.atMost("the slowest", result["worst"], MOST_LATENCY, "ms", isTime=True)
    ground.over(target)
    ground.line(f"reload, {name}")


def load(ground: Ground, port: int, connections: int) -> Running:
    """Connections that come and go."""
    return ground.attack(
        *("cycle", "-p", port, "-c", connections, "-t", 600, "-k", 4, "-s", HONEST, "-n", 8),
        *("-b", ground.write("hello", b"hello, world")),
    )


def wrong(ground: Ground, size: Size) -> None:
    """Files with a mistake are refused with its place, and change nothing."""
    ports = (freePort(), freePort())
    right = rightConfiguration(ports)
    target = ground.serve(right, 2)
    file = ground.directory / f"server-{len(ground.targets) - 1}.toml"
    probe = ground.probe("tcp", ports[0], interval=0.02)
    refused = 0
    for mutation in mutatedConfigurations(right, size.mutations, seed=time.time_ns() % 2**32):
        before = len(target.log)
        ground.write("next", mutation.text).replace(file)
        target.process.send(signal.SIGHUP)
        place = f"{file.name}:{mutation.line}:"
        waitUntil(lambda: " is " in target.log[before:] and file.name in target.log[before:], 60)  # noqa: B023
        said = target.log[before:]
        if "is wrong, nothing was changed" in said and place in said:
            refused += 1
        else:
            ground.failures.append(f"{mutation.name}: no {place} in {said!r} of {mutation.text!r}")
    asked = probe.end()
    ground.atLeast("wrong files refused", refused, size.mutations)
    ground.atLeast("answered meanwhile", asked["asked"] - asked["failed"], asked["asked"])
    ground.over(target)
    ground.line("reload, wrong files")


def killed(ground: Ground) -> None:
    """A worker dies under load: its connections are lost, and no other."""
    port = freePort()
    target = ground.launch(configuration(WORKERS, port, 0, freePort()))
    waitUntil(lambda: target.log.count(": serving\n") >= 2, 20)
    victim = target.pids[1]
    probes = [ground.probe("tcp", port, interval=0.02) for _ in range(8)]
    theirs = connections(victim, port)
    attack = load(ground, port, 10_000_000)
    time.sleep(1)
    before = started(target)
    os.kill(victim, signal.SIGKILL)
    took = waitUntil(lambda: started(target) > before, 20, 0.01)
    time.sleep(1)
    result = attack.end()
    asked = [probe.end() for probe in probes]
    lost = result["made"] - result["answered"]
    ground.note("connections", result["made"])
    # Of four threads at most so many were there; and what waited in its backlog.
    ground.atMost("lost", lost, 4)
    ground.atMost("refused", result["refused"], 0)
    ground.note("established ones of the victim", theirs)
    ground.atMost("established ones cut", sum(1 for each in asked if each["failed"]), theirs)
    ground.atMost("successor after", took, SECOND, "s", isTime=True)
    ground.note("the slowest", result["worst"], "ms")
    ground.over(target)
    ground.line("reload, a worker is killed")


def connections(pid: int, port: int) -> int:
    """How many sockets a process has, more than an idle one."""
    count = 0
    for each in os.listdir(f"/proc/{pid}/fd"):
        try:
            name = os.readlink(f"/proc/{pid}/fd/{each}")
        except OSError:
            continue
        count += name in established(pid, port)
    return count


def established(pid: int, port: int) -> set[str]:
    """The sockets of a port that are connected, as descriptors name them."""
    found = set()
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if int(fields[1].partition(":")[2], 16) == port and fields[3] == "01":
                found.add(f"socket:[{fields[9]}]")
    return found
