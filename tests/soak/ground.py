"""
Where a scenario takes place: its server, its attackers, and what is measured.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from attrs import frozen

from tests.wire.processes import PROGRAMS, Finished, Processes, ServerProcess, freePort

HERE: Final = Path(__file__).parent

MiB: Final = 1024 * 1024

LOOPBACK: Final = "interface=127.0.0.1"

HONEST: Final = "127.0.0.99"
"""Where those come from who do nothing wrong."""

ATTACKER: Final = "127.0.0.2"

TICKS: Final = os.sysconf("SC_CLK_TCK")

_OURS: Final = re.compile(r"Traceback|Unhandled|myserv#critical")
"""What is in a log when something is wrong with the server itself."""


@functools.cache
def program() -> str:
    """
    Compile what attacks.
    """
    directory = tempfile.mkdtemp(prefix="myserv-attack-")
    made = str(Path(directory) / "attack")
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", made]
    subprocess.run([*words, str(HERE / "attack.c")], check=True)
    return made


def waitUntil(happened: Callable[[], bool], patience: float, interval: float = 0.05) -> float:
    """
    Wait for something, or until patience ends.

    Returns:
        How many seconds it took.
    """
    began = time.monotonic()
    while not happened() and time.monotonic() < began + patience:
        time.sleep(interval)
    return time.monotonic() - began


@frozen
class Bound:
    """
    A figure, and what it may be.

    @ivar isTime: A matter of how fast this machine is just now.
    """

    what: str
    value: float
    most: float | None
    least: float | None
    unit: str
    isTime: bool

    @property
    def holds(self) -> bool:
        """Whether it is within its bound."""
        isLow = self.least is not None and self.value < self.least
        isHigh = self.most is not None and self.value > self.most
        return not (isLow or isHigh)

    def __str__(self) -> str:
        value = f"{self.value:,.0f}" if self.value == int(self.value) else f"{self.value:,.2f}"
        text = f"{self.what} {value}{self.unit and ' ' + self.unit}"
        if self.most is not None:
            text += f" (at most {self.most:,g})"
        if self.least is not None:
            text += f" (at least {self.least:,g})"
        return text if self.holds else f"{text} MISSED"


class Target:
    """
    The server that is attacked.
    """

    def __init__(self, process: ServerProcess) -> None:
        self.process = process

    @property
    def pids(self) -> list[int]:
        """Of itself and of its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [pid, *map(int, children.split())]

    def _status(self, key: str) -> float:
        total = 0
        for pid in self.pids:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
            total += int(found.group(1)) if found else 0
        return total / 1024

    @property
    def memory(self) -> float:
        """MiB that are resident."""
        return self._status("VmRSS")

    @property
    def peak(self) -> float:
        """The most that it ever was, in MiB."""
        return self._status("VmHWM")

    @property
    def descriptors(self) -> int:
        """How many are open."""
        total = 0
        for pid in self.pids:
            try:
                total += len(os.listdir(f"/proc/{pid}/fd"))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return total

    @property
    def cpu(self) -> float:
        """Seconds of a processor that it has used."""
        total = 0
        for pid in self.pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    @property
    def waited(self) -> float:
        """Seconds that it could have run, and something else on this machine did."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self.process.output + self.process.errors

    @property
    def isAlive(self) -> bool:
        """Whether it still runs."""
        return Path(f"/proc/{self.process.pid}/fd").exists()


class Running:
    """
    An attack, or a probe, that is under way.
    """

    def __init__(self, words: list[str], processor: int | None) -> None:
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if processor is not None:
            os.sched_setaffinity(self._process.pid, {processor})

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def isUnderWay(self) -> bool:
        """Whether it still is."""
        return self._process.poll() is None

    def ready(self) -> None:
        """
        Wait until it says that everybody is there.
        """
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def result(self) -> dict[str, Any]:
        """
        Wait until it is over; what came of it.
        """
        assert self._process.stdout is not None
        said = self._process.stdout.read()
        code = self._process.wait()
        assert code == 0, f"{self._process.args!r} ended with {code}: {said}"
        result: dict[str, Any] = json.loads(said.splitlines()[-1])
        return result

    def end(self) -> dict[str, Any]:
        """
        End it; what came of it.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.result()

    def kill(self) -> None:
        """
        Let nothing be left of it.
        """
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


class Ground:
    """
    One scenario's place.

    @ivar directory: An empty one, where the server runs.
    @ivar failures: What was not as it has to be.
    @ivar late: What took too long, perhaps because the machine had something else to do.
    @ivar targets: The servers that were started; the configuration of the first is
        C{server-0.toml}.
    """

    def __init__(
        self,
        directory: Path,
        *,
        reactor: str | None = None,
        isTimed: bool = True,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        """
        Args:
            directory: See above.
            reactor: twistd's C{--reactor}.
            isTimed: How long something takes matters: the server has a processor for
                itself, as far as that goes.
            tell: Prints a line.
        """
        self.directory = directory
        self.failures: list[str] = []
        self.late: list[str] = []
        self._reactor = reactor
        self._isTimed = isTimed
        self._tell = tell
        self._processes = Processes(directory)
        self._running: list[Running] = []
        self._bounds: list[Bound] = []
        self.targets: list[Target] = []
        processors = sorted(os.sched_getaffinity(0))
        # One for the server, another for the rest; where speed is not measured, whichever.
        self._serving = processors[0] if isTimed else None
        self._attacking = processors[-1] if isTimed else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self._running:
            each.kill()
        self._processes.__exit__(kind, error, traceback)

    # The server.

    def write(self, name: str, text: str | bytes) -> Path:
        """
        Write a file into the server's directory.
        """
        path = self.directory / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def launch(self, text: str, *, descriptors: int | None = None, **environment: str) -> Target:
        """
        Start a server of this configuration, and do not wait for it.
        """
        name = f"server-{len(self.targets)}.toml"
        self.write(name, text)
        reactor = () if self._reactor is None else ("--reactor", self._reactor)
        words: tuple[str | Path, ...] = (
            *(PROGRAMS / "twistd", "--pidfile=", *reactor),
            *("-n", "myserv", "--config", name),
        )
        if descriptors is not None:
            words = ("/usr/bin/prlimit", f"--nofile={descriptors}:{descriptors}", *words)
        target = Target(self._processes.start(*words, environment=environment))
        self.targets.append(target)
        return target

    def serve(
        self, text: str, services: int = 1, *, descriptors: int | None = None, pinned: bool = True
    ) -> Target:
        """
        Start a server of this configuration.
        """
        target = self.launch(text, descriptors=descriptors)
        target.process.serving(services)
        if self._serving is not None and pinned:
            os.sched_setaffinity(target.process.pid, {self._serving})
        return target

    def settle(self, target: Target, descriptors: int, patience: float = 5.0) -> None:
        """
        Wait until everybody is gone, and see that nothing of them is left.

        Args:
            target: The server.
            descriptors: How many it had before.
            patience: In seconds.
        """
        took = waitUntil(lambda: target.descriptors <= descriptors, patience)
        self.note("at rest after", took, "s")
        self.atMost("descriptors left", target.descriptors - descriptors, 0)

    def echo(self, *listen: str, more: str = "", descriptors: int | None = None) -> Target:
        """
        Start an echo.
        """
        return self.serve(service("echo", "echo", *listen) + more, descriptors=descriptors)

    def over(self, target: Target) -> Finished:
        """
        Stop a server; it has lived until now, and nothing went wrong in it.
        """
        self.atMost("servers lost", not target.isAlive, 0)
        finished = target.process.stop()
        found = _OURS.findall(finished.output + finished.errors)
        self.atMost("tracebacks", len(found), 0)
        if found:
            kept = Path(tempfile.mkdtemp(prefix="myserv-soak-")) / "log"
            kept.write_text(finished.output + finished.errors)
            self._tell(f"    see {kept}")
        return finished

    # Those who use it.

    def attack(self, mode: str, *words: str | float | Path) -> Running:
        """
        Begin an attack; see attack.c.
        """
        return self._run([program(), mode, *map(str, words)])

    def probe(
        self,
        kind: str,
        port: int,
        *,
        seconds: float = 600,
        interval: float = 0.005,
        source: str = HONEST,
    ) -> Running:
        """
        Ask, from when this returns; see probe.py.
        """
        file = str(HERE / "probe.py")
        words = [kind, str(port), source, str(interval), str(seconds)]
        running = self._run([sys.executable, "-IS", file, *words])
        running.ready()
        return running

    def run(self, *words: str | int | Path) -> Running:
        """
        Start another program.
        """
        return self._run([*map(str, words)])

    def _run(self, words: list[str]) -> Running:
        running = Running(words, self._attacking)
        self._running.append(running)
        return running

    # What is measured.

    def atMost(
        self, what: str, value: float, most: float, unit: str = "", *, isTime: bool = False
    ) -> None:
        """
        Note a figure that may not be higher.
        """
        self._bounds.append(Bound(what, value, most, None, unit, isTime))

    def atLeast(
        self, what: str, value: float, least: float, unit: str = "", *, isTime: bool = False
    ) -> None:
        """
        Note a figure that may not be lower.
        """
        self._bounds.append(Bound(what, value, None, least, unit, isTime))

    def note(self, what: str, value: float, unit: str = "") -> None:
        """
        Note a figure.
        """
        self._bounds.append(Bound(what, value, None, None, unit, isTime=False))

    def line(self, name: str) -> None:
        """
        Tell what was noted since the last line.
        """
        bounds, self._bounds = self._bounds, []
        missed = [each for each in bounds if not each.holds]
        self.failures += [f"{name}: {each}" for each in missed if not each.isTime]
        self.late += [f"{name}: {each}" for each in missed if each.isTime]
        # That there were no tracebacks and no losses is said by the rest.
        said = [str(each) for each in bounds if each in missed or each.value or each.most != 0]
        self._tell(f"{'MISSED' if missed else 'ok    '} {name}: {', '.join(said)}")


def service(name: str, protocol: str, *listen: str, limits: str = "", options: str = "") -> str:
    """
    Write a service of a configuration file.
    """
    text = f"[services.{name}]\nprotocol = '{protocol}'\nlisten = {list(listen)}\n"
    if options:
        text += f"[services.{name}.options]\n{options}\n"
    if limits:
        text += f"[services.{name}.limits]\n{limits}\n"
    return text


def tcp(port: int, layers: str = "") -> str:
    """
    An endpoint on loopback.
    """
    return f"{layers}tcp:{port}:{LOOPBACK}"


@contextmanager
def ground(**options: Any) -> Iterator[Ground]:
    """
    A place that is gone afterwards.
    """
    with (
        tempfile.TemporaryDirectory(prefix="myserv-soak-") as name,
        Ground(Path(name), **options) as made,
    ):
        yield made


__all__ = ["Ground", "Running", "Target", "freePort", "ground", "service", "tcp", "waitUntil"]
