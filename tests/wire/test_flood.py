"""One source sends as fast as it can, and the others are served all the same."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from myserv.server.shedding import SHED
from tests.wire.processes import Processes, freePort

pytestmark = pytest.mark.wire

FLOODER: Final = "127.0.0.2"
CLIENT: Final = "127.0.0.3"

FLOOD: Final = 10.0
"""Seconds that the flood lasts at most; it is stopped earlier."""

ASKING: Final = 3.0
"""Seconds for which requests are sent: the source of the flood comes back once or twice."""

INTERVAL: Final = 0.005
"""Seconds between two requests."""

PATIENCE: Final = 0.2
"""Seconds within which an answer has to come."""

ANSWERED: Final = 0.99
"""Part of the requests that has to be answered."""

PROGRAM: Final = """
import socket, sys, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.bind((sys.argv[1], 0))
flood.connect(("127.0.0.1", int(sys.argv[2])))
send, clock = flood.send, time.monotonic
end = clock() + float(sys.argv[3])
print("now", flush=True)
while clock() < end:
    for _ in range(100):
        try:
            send(b"x" * 32)
        except ConnectionRefusedError:
            pass
"""


@contextmanager
def flooding(port: int, *, on: set[int]) -> Iterator[None]:
    """Send as fast as one process can, from a processor of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, FLOODER, str(port), str(FLOOD)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        os.sched_setaffinity(process.pid, on)
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def ask(port: int, seconds: float) -> float:
    """Send a request at each interval; say which part of them is answered in time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((CLIENT, 0))
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        asked: dict[bytes, float] = {}
        answered = 0
        number = round(seconds / INTERVAL)
        begin = time.monotonic()
        while True:
            now = time.monotonic()
            while len(asked) < number and begin + len(asked) * INTERVAL <= now:
                request = b"request %d" % len(asked)
                asked[request] = now
                client.send(request)
            if now > begin + seconds + PATIENCE:
                return answered / number
            if select.select([client], [], [], INTERVAL / 5)[0]:
                answer = client.recv(100)
                answered += time.monotonic() - asked[answer] <= PATIENCE


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.mark.parametrize("reactor", ["default", "uvloop"])
def test_flood(processes: Processes, reactor: str) -> None:
    """Whoever floods is shut out within a moment, and is not let in again as long as it goes on."""
    port = freePort()
    server = processes.start(
        *("twistd", "-n", "--reactor", reactor, "myserv", "echo"),
        *("--listen", f"udp:{port}:interface=127.0.0.1"),
    ).serving()
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(server.pid, {processors[0]})
    assert ask(port, 0.2) == 1
    with flooding(port, on={processors[-1]}):
        end = time.monotonic() + FLOOD / 2
        while SHED not in server.output:
            # As long as nobody else is there, nobody's place is taken.
            ask(port, 0.3)
            assert time.monotonic() < end, server.output
        answered = ask(port, ASKING)
    assert answered >= ANSWERED
