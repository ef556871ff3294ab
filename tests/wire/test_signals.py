"""Signals at moments that do not suit: real processes, on both reactors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.wire.processes import Processes, ServerProcess, freePort, isAlive, waitFor

pytestmark = pytest.mark.wire

FILES: Final = ("--pidfile=t.pid", "--logfile=t.log")

SILENT: Final = """
from twisted.internet.protocol import Protocol

class Silent(Protocol):
    pass
"""
"""A module with a protocol that never answers, so that its connections are there to stay."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    (tmp_path / "mine.py").write_text(SILENT)
    with Processes(tmp_path) as started:
        yield started


def configure(directory: Path, listen: str, workers: int = 1, name: str = "silent") -> None:
    """Write a file with a service of the module."""
    (directory / "a.toml").write_text(
        f"[server]\nworkers = {workers}\n[limits]\ndrain = '60s'\n"
        f"[services.{name}]\nprotocol = 'mine:Silent'\nlisten = '{listen}'\n"
    )


def log(directory: Path) -> str:
    """What the server has said."""
    file = directory / "t.log"
    return file.read_text() if file.exists() else ""


def started(directory: Path) -> int:
    """Wait for the pid file."""
    file = directory / "t.pid"
    waitFor(lambda: file.exists() and file.read_text() != "", "the pid file")
    return int(file.read_text())


def isServing(directory: Path, workers: int) -> bool:
    """Whether everything serves."""
    said = log(directory)
    return said.count(" serves (process ") == workers if workers > 1 else ": serving" in said


def ended(pid: int) -> None:
    """Wait for the end of a process."""
    waitFor(lambda: not isAlive(pid), f"the end of {pid}")


def nothingLeft(directory: Path) -> None:
    """There is no trace of a server that ended."""
    assert not (directory / "t.pid").exists()
    assert not (directory / "a.sock").exists()
    assert "Traceback" not in log(directory)


def childrenOf(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in found.split()]


@pytest.mark.parametrize("reactor", ["epoll", "uvloop"])
@pytest.mark.parametrize("workers", [1, 2])
def test_hangUpWhileItDrains(processes: Processes, workers: int, reactor: str) -> None:
    """SIGHUP means nothing to a server that is on its way out; another SIGTERM does."""
    here, port = processes.directory, freePort()
    configure(here, f"tcp:{port}:interface=127.0.0.1", workers)
    server = processes.start("twistd", "-n", "-r", reactor, *FILES, "myserv", "--config", "a.toml")
    waitFor(lambda: isServing(here, workers), "the server to serve")
    children = childrenOf(server.pid)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        # Who waits for an answer is waited for, as soon as the server has read that.
        client.sendall(b"?")
        time.sleep(0.3)
        server.send(signal.SIGTERM)
        waitFor(lambda: "server: draining for" in log(here), "the drain")
        for _ in range(3):
            server.send(signal.SIGHUP)
            time.sleep(0.1)
        assert isAlive(server.pid)
        server.send(signal.SIGTERM)
        assert server.ended().code in (0, -signal.SIGTERM)
    for each in children:
        ended(each)
    nothingLeft(here)


@pytest.mark.parametrize("wait", [0.0, 0.1])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("foreground", [True, False])
def test_terminatedWhileItStarts(
    processes: Processes, foreground: bool, workers: int, wait: float
) -> None:
    """Nothing is left of it, and the twistd that was typed ends too."""
    here = processes.directory
    configure(here, f"unix:{here}/a.sock", workers)
    server = start(processes, foreground)
    pid = started(here)
    time.sleep(wait)
    os.kill(pid, signal.SIGTERM)
    server.ended()
    ended(pid)
    nothingLeft(here)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("foreground", [True, False])
def test_hangUpWhileItStarts(processes: Processes, foreground: bool, workers: int) -> None:
    """A file that changed when the server had just read it is read again."""
    here = processes.directory
    configure(here, f"unix:{here}/a.sock", workers)
    server = start(processes, foreground)
    pid = started(here)
    os.kill(pid, signal.SIGHUP)
    waitFor(lambda: "a.toml is applied" in log(here), "the file to be read again")
    os.kill(pid, signal.SIGTERM)
    server.ended()
    ended(pid)
    nothingLeft(here)


STARTS: Final = """
import os, subprocess, sys
if os.path.exists("later"):
    started = subprocess.Popen(["sleep", "400"])
    with open("started", "w") as file:
        file.write(str(started.pid))
    print("no end of the line", end="")
"""
"""What a plugin does that has a helper; at the first start it has none yet."""


@pytest.mark.parametrize("workers", [1, 2])
def test_aCheckThatStartsAProcess(processes: Processes, workers: int) -> None:
    """A reload neither waits for it nor leaves it behind."""
    here = processes.directory
    (here / "mine.py").write_text(SILENT + (STARTS if workers == 1 else ""))
    configure(here, f"unix:{here}/a.sock", workers)
    server = start(processes, foreground=True)
    waitFor(lambda: isServing(here, workers), "the server to serve")
    (here / "later").touch()
    if workers > 1:
        # Workers may keep what they start.
        text = STARTS.replace("if ", "if 'myserv.workers.examine' in sys.orig_argv and ")
        (here / "mine.py").write_text(SILENT + text)
    server.send(signal.SIGHUP)
    waitFor(lambda: "a.toml is applied" in log(here), "the file to be read again")
    helper = int((here / "started").read_text())
    ended(helper)
    server.stop()
    nothingLeft(here)


@pytest.mark.parametrize("workers", [1, 2])
def test_stoppedDuringACheck(processes: Processes, workers: int) -> None:
    """The check ends with the server."""
    here = processes.directory
    configure(here, f"unix:{here}/a.sock", workers)
    server = start(processes, foreground=True)
    waitFor(lambda: isServing(here, workers), "the server to serve")
    before = set(childrenOf(server.pid))
    (here / "mine.py").write_text(
        SILENT + "import os, time\nopen('started', 'w').close()\ntime.sleep(100)\n"
    )
    server.send(signal.SIGHUP)
    waitFor((here / "started").exists, "the check")
    checks = set(childrenOf(server.pid)) - before
    server.stop()
    assert checks
    for each in checks:
        ended(each)
    nothingLeft(here)


def start(processes: Processes, foreground: bool) -> ServerProcess:
    """Start a server that has a pid file and a log."""
    flags = ["-n"] if foreground else []
    server = processes.start("twistd", *flags, *FILES, "myserv", "--config", "a.toml")
    if not foreground:
        with contextlib.suppress(AssertionError):
            processes.adopt(started(processes.directory))
    return server
