"""
A set of workers that serve one configuration.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from myserv.events import Event, WorkerEnded, WorkerStarted
from myserv.workers.backoff import Backoff
from myserv.workers.bank import Group
from myserv.workers.blueprint import Blueprint
from myserv.workers.messages import (
    Assignment,
    Deaf,
    Drain,
    Failed,
    Message,
    Penalties,
    Ping,
    Pong,
    Ready,
)
from myserv.workers.process import Process, Spawner
from myserv.workers.tallying import TallyMemory

START_LIMIT: Final = 60.0
"""Seconds that a worker has to be ready."""

SILENCE: Final = 30.0
"""Seconds without an answer after which a worker is taken to hang."""

MERCY: Final = 10.0
"""Seconds beyond its drain that a worker has to end."""


FULL: Final = 1.0
"""Seconds until the next try when workers that leave have all of the shared memory."""


class State(enum.Enum):
    """Where a generation is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    ENDED = "ended"


class Surroundings(Protocol):
    """
    What generations share: the supervisor.

    @ivar reactor: Tells the time.
    @ivar spawner: Starts processes.
    @ivar emit: Takes the events.
    """

    reactor: Any
    spawner: Spawner
    emit: Callable[[Event], None]

    def assign(self, generation: Generation, worker: int, slot: int) -> Assignment:
        """Say what a worker is to do."""

    def penalized(self, member: Member, penalties: Penalties) -> None:
        """A worker penalized peers."""

    def welcome(self, member: Member) -> None:
        """A worker is ready."""


@define(eq=False)
class Member:
    """
    A worker in its place.

    @ivar generation: Whose it is.
    @ivar worker: Its place, from 1.
    @ivar slot: Its part of the shared memory.
    @ivar started: When, as the reactor tells the time.
    @ivar process: Its process.
    @ivar heard: When it last said something.
    @ivar isReady: It serves.
    @ivar isDeaf: It has closed its sockets.
    @ivar reason: Why it could not serve, as far as it said.
    @ivar connections: How many it has.
    """

    generation: Generation
    worker: int
    slot: int
    started: float
    heard: float
    process: Process = field(init=False)
    isReady: bool = False
    isDeaf: bool = False
    reason: str = ""
    connections: int = 0

    def received(self, message: Message) -> None:
        """
        It said something.
        """
        self.heard = self.generation.surroundings.reactor.seconds()
        if isinstance(message, Pong):
            self.connections = message.connections
        elif isinstance(message, Penalties):
            self.generation.surroundings.penalized(self, message)
        elif isinstance(message, Failed):
            self.reason = message.reason
        elif isinstance(message, Ready):
            self.generation.memberReady(self, message.reactor)
        elif isinstance(message, Deaf):
            self.isDeaf = True
            self.generation.memberDeaf(self)

    def ended(self, reason: str) -> None:
        """
        Its process is gone.
        """
        self.generation.memberEnded(self, reason)


class Generation:
    """
    A set of workers.

    @ivar number: Counts them, from 1.
    @ivar state: A L{State}.
    @ivar members: Those whose process is there, by place.
    @ivar ready: Fires when all are ready for the first time; fails with a
        C{GenerationFailed}.
    @ivar deaf: Fires when none of them listens any more.
    @ivar gone: Fires when the last is gone.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        number: int,
        blueprint: Blueprint,
        groups: Mapping[tuple[str, int], Group],
        memory: TallyMemory,
        tolerance: int = 0,
    ) -> None:
        """
        Args:
            surroundings: The supervisor.
            number: Which generation it is.
            blueprint: What is served.
            groups: The sockets.
            memory: Where connections are counted.
            tolerance: How many may die before they are all ready.
        """
        self.surroundings = surroundings
        self.number = number
        self.blueprint = blueprint
        self.groups = groups
        self.memory = memory
        self.state = State.STARTING
        self.members: dict[int, Member] = {}
        self._retired: list[Member] = []
        self.ready: Deferred[None] = Deferred()
        self.deaf: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self._tolerance = tolerance
        self._backoffs = {worker: Backoff() for worker in self.places}
        self._waiting: dict[int, IDelayedCall] = {}
        self._patience: IDelayedCall | None = None

    @property
    def places(self) -> range:
        """The numbers of its workers."""
        return range(1, self.blueprint.workers + 1)

    @property
    def everybody(self) -> list[Member]:
        """Its members, and those that left by themselves and are still there."""
        return [*self.members.values(), *self._retired]

    def start(self) -> None:
        """
        Start a worker in each place.
        """
        for worker in self.places:
            if self.state is State.STARTING:
                self._spawn(worker)

    def adopt(self, described: Mapping[str, Any]) -> None:
        """
        Take over the workers of the supervisor's last program.

        Args:
            described: What L{describe} wrote down.
        """
        now = self.surroundings.reactor.seconds()
        self.state = State(described["state"])
        for each in described["members"]:
            member = Member(self, each["worker"], each["slot"], now, now)
            member.isReady, member.isDeaf = each["isReady"], each["isDeaf"]
            self.memory.take(member.slot)
            if each["isRetired"]:
                self._retired.append(member)
            else:
                self.members[member.worker] = member
            member.process = self.surroundings.spawner.adopt(member, member.worker, each["process"])
        if self.state is State.SERVING:
            for worker in self.places:
                if worker not in self.members:
                    self._spawn(worker)
        else:
            self._beginDrain(described["left"])

    def describe(self) -> dict[str, Any]:
        """
        Write down what the supervisor's next program has to know.
        """
        left = None
        if self._patience is not None and self._patience.active():
            left = self._patience.getTime() - self.surroundings.reactor.seconds()
        return {
            "state": self.state.value,
            "left": left,
            "members": [
                {
                    "worker": each.worker,
                    "slot": each.slot,
                    "isReady": each.isReady,
                    "isDeaf": each.isDeaf,
                    "isRetired": each in self._retired,
                    "process": each.process.describe(),
                }
                for each in self.everybody
            ],
        }

    def _spawn(self, worker: int) -> None:
        self._waiting.pop(worker, None)
        surroundings = self.surroundings
        now = surroundings.reactor.seconds()
        slot = self.memory.take()
        if slot is None:
            # Too many that have retired are still there.
            self._later(worker, FULL)
            return
        member = Member(self, worker, slot, now, now)
        assignment = surroundings.assign(self, worker, slot)
        try:
            member.process = surroundings.spawner.spawn(member, worker, assignment)
        except OSError as error:
            self.memory.free(slot)
            wait = self._tolerate(worker, 0.0, f"it cannot be started: {error.strerror}", 0)
            if wait is not None:
                self._later(worker, max(wait, 1.0))
            return
        self.members[worker] = member

    def _later(self, worker: int, wait: float) -> None:
        self._waiting[worker] = self.surroundings.reactor.callLater(wait, self._spawn, worker)

    # What its members tell it.

    def memberReady(self, member: Member, reactor: str) -> None:
        """
        A worker serves.

        Args:
            member: The worker.
            reactor: What its reactor is called.
        """
        member.isReady = True
        if self.state not in (State.STARTING, State.SERVING):
            return
        self.surroundings.emit(
            WorkerStarted(member.worker, self.number, member.process.pid, reactor)
        )
        self.surroundings.welcome(member)
        if self.state is State.STARTING and all(
            worker in self.members and self.members[worker].isReady for worker in self.places
        ):
            self.state = State.SERVING
            self.ready.callback(None)

    def memberEnded(self, member: Member, reason: str) -> None:
        """
        A worker's process is gone.
        """
        isRetired = member in self._retired
        if isRetired:
            self._retired.remove(member)
        else:
            del self.members[member.worker]
        self.memory.free(member.slot)
        age = self.surroundings.reactor.seconds() - member.started
        wait = None
        if self.state in (State.STARTING, State.SERVING) and not isRetired:
            wait = self._tolerate(member.worker, age, member.reason or reason, member.process.pid)
        else:
            self.surroundings.emit(
                WorkerEnded(member.worker, self.number, member.process.pid, reason, True, None)
            )
        if wait is not None:
            self._later(member.worker, wait)
        self.checkDeaf()
        self._checkGone()

    def _tolerate(self, worker: int, age: float, reason: str, pid: int) -> float | None:
        # A death that nobody asked for: seconds until it is replaced, or the end of all.
        wait: float | None = self._backoffs[worker].died(age)
        isTooMuch = False
        if self.state is State.STARTING:
            isTooMuch = self._tolerance == 0
            self._tolerance -= 1
        if isTooMuch:
            wait = None
        self.surroundings.emit(WorkerEnded(worker, self.number, pid, reason, False, wait))
        if isTooMuch:
            self.state = State.DRAINING
            self.kill()
            self.ready.errback(GenerationFailed(reason))
        return wait

    def memberDeaf(self, member: Member) -> None:
        """
        A worker has closed its sockets.
        """
        if self.state is State.SERVING and self.members.get(member.worker) is member:
            # Somebody else has told it to go. Its place must not wait for that.
            del self.members[member.worker]
            self._retired.append(member)
            age = self.surroundings.reactor.seconds() - member.started
            self._later(member.worker, self._backoffs[member.worker].died(age))
        self.checkDeaf()

    def checkDeaf(self) -> None:
        """
        See whether all have closed their sockets.
        """
        if (
            self.state in (State.DRAINING, State.ENDED)
            and not self.deaf.called
            and all(each.isDeaf for each in self.everybody)
        ):
            self.deaf.callback(None)

    def _checkGone(self) -> None:
        if self.state is not State.DRAINING or self.everybody:
            return
        self.state = State.ENDED
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self.checkDeaf()
        self.gone.callback(None)

    # What the supervisor asks of it.

    def send(self, message: Message, *, needed: bool = True) -> None:
        """
        Tell all of them something.
        """
        for member in self.everybody:
            member.process.send(message, needed=needed)

    def lookAfter(self) -> None:
        """
        Ask each whether it is there, and end those that are not.
        """
        now = self.surroundings.reactor.seconds()
        for member in self.everybody:
            limit = SILENCE if member.isReady else START_LIMIT
            if now - member.heard > limit:
                what = "did not answer for" if member.isReady else "was not ready after"
                member.reason = member.reason or f"it {what} {limit:g} seconds"
                member.process.kill()
            elif member.isReady:
                member.process.send(Ping(), needed=False)

    def drain(self) -> None:
        """
        Have all of them accept nothing more, and go when their connections have ended.
        """
        if self.state in (State.STARTING, State.SERVING):
            self.state = State.DRAINING
            self.send(Drain())
            self._beginDrain(None)

    def _beginDrain(self, left: float | None) -> None:
        for each in self._waiting.values():
            each.cancel()
        self._waiting.clear()
        if left is None and self.blueprint.drain:
            left = self.blueprint.drain + MERCY
        if left is not None:
            self._patience = self.surroundings.reactor.callLater(left, self.kill)
        self.checkDeaf()
        self._checkGone()

    def kill(self) -> None:
        """
        End all of them at once.
        """
        self.state = State.DRAINING if self.state is not State.ENDED else self.state
        for each in self._waiting.values():
            each.cancel()
        self._waiting.clear()
        for member in self.everybody:
            member.process.kill()
        self.surroundings.reactor.callLater(0, self._checkGone)


class GenerationFailed(Exception):
    """
    Workers died before all were ready.

    @ivar reason: Why, a line for each problem.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
