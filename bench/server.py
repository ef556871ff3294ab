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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from bench.errors import BenchError
from bench.machine import Cores
from bench.roster import Peer, Service
from bench.workshop import HERE, Workshop

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
    @ivar loadCores: Where its load generator runs.
    """

    port: int
    pid: int
    loadCores: frozenset[int] = frozenset()

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

    def settle(self, look: float = 0.1) -> None:
        """
        Wait until it has nothing left to do.

        Args:
            look: Seconds in which it does nothing.

        Raises:
            BenchError: It stays busy.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while time.monotonic() < deadline:
            before = self._cpu()
            time.sleep(look)
            if self._cpu() - before < look / 100:
                return
        raise BenchError("the server stays busy with nothing to do")

    def _cpu(self) -> float:
        return sum(time.clock_gettime(_cpuClock(pid)) for pid in self.pids())


def _cpuClock(pid: int) -> int:
    # clock_getcpuclockid(3), which Python has for threads only.
    return (~pid << 3) | 2


@contextlib.contextmanager
def running(
    peer: Peer, service: Service, workshop: Workshop, cores: Cores
) -> Iterator[tuple[Server, Callable[[], None]]]:
    """
    Run a peer on its cores for as long as the context lasts.

    Returns:
        The server, and what raises L{BenchError} if it has ended.

    Raises:
        BenchError: It does not come to answer.
    """
    port = _freePort()
    said = workshop.directory / f"{port}.stderr"
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            workshop.start(peer, service, port),
            cwd=workshop.directory,
            env={**os.environ, "PYTHONPATH": str(HERE / "peers")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=lambda: os.sched_setaffinity(0, cores.ofServer(peer.workers)),  # noqa: PLW1509 - no threads
        )

    def stillRuns() -> None:
        if process.poll() is not None:
            raise BenchError(f"it ended: {_lastLine(said)}")

    try:
        server = Server(port, process.pid, frozenset(cores.ofLoad(peer.workers)))
        _waitUntil(lambda: _ANSWERS[service](port), stillRuns, said)
        if peer.workers > 1:
            _waitForWorkers(server, peer.workers)
        yield server, stillRuns
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _waitUntil(answers: Callable[[], bool], stillRuns: Callable[[], None], said: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not answers():
        stillRuns()
        if time.monotonic() > deadline:
            raise BenchError(f"it does not answer: {_lastLine(said)}")
        time.sleep(0.02)


def _waitForWorkers(server: Server, workers: int) -> None:
    # One may answer before another has started.
    server.settle()
    serving = max(1, len(server.pids()) - 1)
    if serving < workers:
        raise BenchError(f"{workers} workers are configured and {serving} serves")


def _lastLine(said: Path) -> str:
    lines = said.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line), "it said nothing")


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


def _answersStream(port: int) -> bool:
    return _echoes(port, socket.SOCK_STREAM)


def _answers(port: int) -> bool:
    # Whoever does not send back the same is not measured.
    return _echoes(port, socket.SOCK_STREAM) and _echoes(port, socket.SOCK_DGRAM)


def _echoes(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(type=kind) as client:
        client.settimeout(0.5)
        try:
            client.connect((HOST, port))
            client.send(b"ready?")
            return client.recv(64) == b"ready?"
        except OSError:
            return False


_ANSWERS: Final = {
    Service.PLAIN: _answers,
    Service.TLS: _answersTLS,
    Service.COMPUTING: _answersStream,
}
