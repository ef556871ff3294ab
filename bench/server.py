"""
A server while it is measured: start, wait until it answers, look at it, stop.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from bench.errors import BenchError
from bench.machine import Cores
from bench.roster import Peer
from bench.workshop import Workshop

HOST: Final = "127.0.0.1"

START_TIMEOUT: Final = 20.0
"""Seconds until a server has to answer; Python's take a few on a busy machine."""

STOP_TIMEOUT: Final = 5.0
"""Seconds until a server that was asked to stop is killed."""

SETTLE_TIMEOUT: Final = 5.0
"""Seconds until a server has to have nothing left to do."""

_PORTS: Final = range(20_000, 32_000)
"""Below those that the kernel gives to clients."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@frozen
class Server:
    """
    A server that answers.

    @ivar port: Where, over TCP and UDP.
    @ivar pid: Its first process.
    """

    port: int
    pid: int

    def pids(self) -> list[int]:
        """
        All of its processes, the first one first.
        """
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # The name before the last bracket may hold anything.
                parent = int(entry.read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.parent.name))
        found = [self.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def memory(self) -> int:
        """
        The resident bytes of all of its processes.
        """
        sizes = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.pids())
        return sum(int(size) * _PAGE for size in sizes)

    def settle(self) -> None:
        """
        Wait until it has nothing left to do.

        Raises:
            BenchError: It stays busy.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while time.monotonic() < deadline:
            before = self._cpu()
            time.sleep(0.1)
            if self._cpu() - before < 0.001:
                return
        raise BenchError("the server stays busy with nothing to do")

    def _cpu(self) -> float:
        return sum(time.clock_gettime(_cpuClock(pid)) for pid in self.pids())


def _cpuClock(pid: int) -> int:
    # clock_getcpuclockid(3), which Python has for threads only.
    return (~pid << 3) | 2


@contextlib.contextmanager
def running(peer: Peer, workshop: Workshop, cores: Cores, *, tls: bool = False) -> Iterator[Server]:
    """
    Run a peer on its core for as long as the context lasts.

    Args:
        tls: Run what it serves over TLS.

    Raises:
        BenchError: It does not come to answer.
    """
    port = _freePort()
    said = workshop.directory / "stderr"
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            workshop.command(peer.tls if tls else peer.command, port),
            cwd=workshop.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=lambda: os.sched_setaffinity(0, {cores.server}),  # noqa: PLW1509 - no threads
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        answers = _answersTLS if tls else _answers
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                lines = said.read_text(errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line), "it said nothing")
                raise BenchError(f"it does not serve: {last}")
            time.sleep(0.02)
        yield Server(port, process.pid)
        if process.poll() is not None:
            raise BenchError("it ended while it was measured")
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _freePort() -> int:
    for port in random.sample(_PORTS, 100):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind((HOST, port))
                datagram.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BenchError("there is no free port")


def _answersTLS(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((HOST, port), 0.5) as bare,
            context.wrap_socket(bare) as client,
        ):
            client.send(b"ready?")
            return client.recv(64) == b"ready?"
    except OSError:
        return False


def _answers(port: int) -> bool:
    # Echo over both; whoever does not send back the same is not measured.
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as client:
            client.settimeout(0.5)
            try:
                client.connect((HOST, port))
                client.send(b"ready?")
                if client.recv(64) != b"ready?":
                    return False
            except OSError:
                return False
    return True
