"""Workers without processes: what tests of the supervisor play with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import Clock

from myserv.events import Event
from myserv.workers.blueprint import Blueprint
from myserv.workers.messages import Assignment, Message, Ready
from myserv.workers.privileges import Identity
from myserv.workers.process import Owner
from myserv.workers.supervisor import Supervisor


class WatchingClock(Clock):
    """A clock that is as much of a reactor as something with a descriptor needs."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """Watch it."""
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Do not."""
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        """Watch it."""
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        """Do not."""
        if writer in self.writers:
            self.writers.remove(writer)

    def callFromThread(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call it in the next turn."""
        self.callLater(0, call, *arguments)


class FakeProcess:
    """A worker that does what the test says."""

    def __init__(self, owner: Owner, assignment: Assignment | None, pid: int) -> None:
        self.owner = owner
        self.assignment = assignment
        self.pid = pid
        self.told: list[Message] = []
        self.isKilled = False

    def send(self, message: Message, *, needed: bool = True) -> None:
        """Remember what it is told."""
        self.told.append(message)

    def kill(self) -> None:
        """Remember that it was killed; it ends when the test says so."""
        self.isKilled = True

    def describe(self) -> dict[str, Any]:
        """What the next program would be told."""
        return {"pid": self.pid, "channel": 0, "log": 0, "output": 0}

    def said(self, *kinds: type) -> list[Message]:
        """What it was told, of some kinds."""
        return [each for each in self.told if isinstance(each, kinds)]


class FakeSpawner:
    """
    Starts workers that are only remembered.

    @ivar processes: All of them, in order.
    @ivar errors: What the next attempts fail with.
    """

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.errors: list[OSError] = []

    def spawn(self, owner: Owner, worker: int, assignment: Assignment) -> FakeProcess:
        """Start one."""
        if self.errors:
            raise self.errors.pop(0)
        process = FakeProcess(owner, assignment, 1000 + len(self.processes))
        self.processes.append(process)
        return process

    def adopt(self, owner: Owner, worker: int, described: Mapping[str, Any]) -> FakeProcess:
        """Take one over."""
        process = FakeProcess(owner, None, described["pid"])
        self.processes.append(process)
        return process

    def take(self, count: int) -> list[FakeProcess]:
        """The last that were started."""
        assert len(self.processes) >= count
        return self.processes[-count:]


def blueprint(text: str = "a", workers: int = 2, **others: Any) -> Blueprint:
    """A configuration that listens nowhere."""
    values: dict[str, Any] = {
        "path": "a.toml",
        "text": text,
        "workers": workers,
        "places": (),
        "services": ("echo",),
        "drain": 5.0,
        "structure": "same",
        "maximumPenalty": 600.0,
        "identity": Identity(),
        "fingerprint": "1",
    }
    return Blueprint(**{**values, **others})


class Stage:
    """
    A supervisor whose workers are fake.

    @ivar events: What became known.
    """

    def __init__(self, first: Blueprint | None = None) -> None:
        self.clock = WatchingClock()
        self.spawner = FakeSpawner()
        self.events: list[Event] = []
        self.supervisor = Supervisor(
            self.clock,
            self.spawner,
            self.events.append,
            first or blueprint(),
            directory=os.getcwd,
        )

    def started(self) -> list[FakeProcess]:
        """Start it, and let its workers be ready."""
        self.supervisor.open()
        self.supervisor.start()
        processes = self.spawner.take(self.supervisor.blueprint.workers)
        ready(*processes)
        return processes


def ready(*processes: FakeProcess) -> None:
    """Let workers say that they serve."""
    for each in processes:
        each.owner.received(Ready())
