"""
Server processes for tests: started as an operator would, waited for, and always stopped.

What they print goes to files, so that none ever waits for a reader.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from attrs import frozen

PROGRAMS: Final = Path(sys.executable).parent
"""Where C{twistd} and C{myserv} are."""

PATIENCE: Final = 20.0
"""Seconds that a process has for what takes it less than one when it is alone."""

_PORTS: Final = range(20000, 32000)
"""Below those that the system gives to clients."""


def freePort(ports: range = _PORTS) -> int:
    """
    Find a port of 127.0.0.1 that nobody has, for TCP and UDP both.
    """
    for port in random.sample(ports, len(ports)):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
            contextlib.suppress(OSError),
        ):
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port of {ports} is free")


def waitFor(happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """
    Wait until something has happened.

    Raises:
        AssertionError: It has not, in C{patience} seconds.
    """
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end, f"after {patience} seconds still waiting for {what}"
        time.sleep(0.01)


def isAlive(pid: int) -> bool:
    """
    Say whether a process runs; one that is dead and not yet buried does not.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _environment() -> dict[str, str]:
    # What changes how a program finds its modules, or wraps its help.
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLUMNS")}


@frozen
class Finished:
    """
    How a process ended.

    @ivar code: Its exit code; negative for a signal.
    @ivar output: What it printed.
    @ivar errors: What it printed on standard error.
    """

    code: int
    output: str
    errors: str


class ServerProcess:
    """
    A process that a test has started.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self._process = process
        self._output = output
        self._errors = errors

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """What it has printed on standard error so far."""
        return self._errors.read_text()

    def serving(self, services: int = 1) -> Self:
        """
        Wait until it says that its services serve, which is after their sockets are open.
        """

        def settled() -> bool:
            assert self._process.poll() is None, f"it ended: {self.output}{self.errors}"
            return self.output.count(": serving\n") == services

        waitFor(settled, f"{services} service(s) to serve")
        return self

    def send(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        self._process.send_signal(number)

    def ended(self, patience: float = PATIENCE) -> Finished:
        """
        Wait until it ends by itself.
        """
        code = self._process.wait(patience)
        return Finished(code, self.output, self.errors)

    def stop(self) -> Finished:
        """
        Stop it as an operator would, with SIGTERM.
        """
        self.send(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """
        End it whatever it does; one that has ended is no error.
        """
        self._process.kill()
        self._process.wait(PATIENCE)


class Processes:
    """
    The processes of one test; those left when it ends are killed.
    """

    def __init__(self, directory: Path) -> None:
        """
        Args:
            directory: Where they run, unless they are told otherwise.
        """
        self.directory = directory
        self._started: list[ServerProcess] = []
        self._adopted: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._started:
            process.kill()
        for pid in self._adopted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start(
        self,
        *words: str | Path | int,
        environment: Mapping[str, str] | None = None,
        withoutRights: bool = False,
        directory: Path | None = None,
    ) -> ServerProcess:
        """
        Start a program.

        Args:
            words: The command; its first is a program of this installation.
            environment: What is to be different in the environment.
            withoutRights: Run it without the capabilities that root has.
            directory: Where to run it.
        """
        program, *arguments = map(str, words)
        # Another user could perhaps not even reach this installation.
        drop = withoutRights and os.geteuid() == 0
        prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if drop else ()
        place = self.directory / f"process-{len(self._started)}"
        output, errors = place.with_suffix(".out"), place.with_suffix(".err")
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                [*prefix, str(PROGRAMS / program), *arguments],
                cwd=directory or self.directory,
                env={**_environment(), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        started = ServerProcess(process, output, errors)
        self._started.append(started)
        return started

    def run(
        self,
        *words: str | Path | int,
        environment: Mapping[str, str] | None = None,
        withoutRights: bool = False,
        directory: Path | None = None,
    ) -> Finished:
        """
        Run a program to its end; the arguments are those of L{start}.
        """
        return self.start(
            *words, environment=environment, withoutRights=withoutRights, directory=directory
        ).ended()

    def adopt(self, pid: int) -> None:
        """
        Look after a process that another one has started, a daemon.
        """
        self._adopted.append(pid)
