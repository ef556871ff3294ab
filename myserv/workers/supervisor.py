"""
The supervisor: it owns the sockets, has workers serve them, and touches no traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from myserv.errors import ListenError
from myserv.events import Event
from myserv.workers.bank import Bank, Group, adoptGroups, describeGroups
from myserv.workers.blueprint import Blueprint, packBlueprint, unpackBlueprint
from myserv.workers.generation import Generation, Member, State
from myserv.workers.messages import BATCH, Assignment, ChangeLimits, Penalties
from myserv.workers.penaltybook import PenaltyBook
from myserv.workers.process import Spawner
from myserv.workers.tallying import TallyMemory

HEARTBEAT: Final = 5.0
"""Seconds between two questions whether a worker is there."""

ATTEMPTS: Final = 2
"""Workers that may die at the first start until the server gives up."""


@frozen
class Conditions:
    """
    What is the same for all workers.

    @ivar reactor: twistd's name of the reactor they have; empty: the best there is.
    @ivar searchPath: Where modules are found.
    """

    reactor: str = ""
    searchPath: tuple[str, ...] = ()


class Supervisor:
    """
    Generations of workers on sockets that outlive them.

    @ivar blueprint: What is served.
    @ivar current: The generation that serves.
    @ivar isStopping: It is on its way out.
    """

    def __init__(
        self,
        reactor: Any,
        spawner: Spawner,
        emit: Callable[[Event], None],
        blueprint: Blueprint,
        conditions: Conditions = Conditions(),
        directory: Callable[[], str] = lambda: "",
    ) -> None:
        """
        Args:
            reactor: Tells the time.
            spawner: Starts processes.
            emit: Takes the events.
            blueprint: What is to be served.
            conditions: What is the same for all workers.
            directory: Tells where workers run.
        """
        self.reactor = reactor
        self.spawner = spawner
        self.emit = emit
        self.blueprint = blueprint
        self.current: Generation | None = None
        self.isStopping = False
        self._conditions = conditions
        self._directory = directory
        self._bank = Bank()
        self._groups: Mapping[tuple[str, int], Group] = {}
        self._generations: list[Generation] = []
        self._number = 0
        self._memory: TallyMemory | None = None
        self._memories: list[TallyMemory] = []
        self._book = PenaltyBook(blueprint.maximumPenalty)
        self._heartbeat = LoopingCall(self._lookAfter)
        self._heartbeat.clock = reactor

    # What generations ask of it.

    def assign(self, generation: Generation, worker: int, slot: int) -> Assignment:
        """
        Say what a worker is to do.
        """
        blueprint = generation.blueprint
        sockets = []
        for (service, index), group in generation.groups.items():
            descriptors = group.descriptorsFor(worker, blueprint.workers)
            if descriptors:
                sockets.append((service, index, descriptors))
        return Assignment(
            worker=worker,
            workers=blueprint.workers,
            generation=generation.number,
            path=blueprint.path,
            text=blueprint.text,
            sockets=sockets,
            tallies=generation.memory.descriptor,
            slot=slot,
            slots=generation.memory.slots,
            uid=blueprint.identity.uid,
            gid=blueprint.identity.gid,
            user=blueprint.identity.name,
            reactor=self._conditions.reactor,
            searchPath=self._conditions.searchPath,
            directory=self._directory(),
        )

    def penalized(self, member: Member, penalties: Penalties) -> None:
        """
        A worker penalized peers: the others have to know.
        """
        now = self.reactor.seconds()
        for key, seconds in penalties.penalties:
            self._book.add(key, seconds, now)
        for generation in self._generations:
            for other in generation.everybody:
                if other is not member and other.isReady:
                    other.process.send(penalties, needed=False)

    def welcome(self, member: Member) -> None:
        """
        A worker is ready: tell it what the others know.
        """
        left = self._book.left(self.reactor.seconds())
        for start in range(0, len(left), BATCH):
            member.process.send(Penalties(left[start : start + BATCH]))

    def _lookAfter(self) -> None:
        for generation in list(self._generations):
            generation.lookAfter()

    # What is asked of it.

    def open(self) -> None:
        """
        Open every socket.

        Raises:
            ListenError: With a problem for each that cannot be opened.
        """
        opening = self._bank.open(self.blueprint.places, self.blueprint.workers)
        self._groups = opening.groups
        opening.keep()

    def start(self) -> Deferred[None]:
        """
        Start the first workers.

        Returns:
            Fires when all are ready; fails with L{GenerationFailed}.
        """
        self._heartbeat.start(HEARTBEAT, now=False)
        generation = self.current = self._make(self.blueprint, self._groups, ATTEMPTS - 1)
        generation.start()
        return generation.ready

    def _make(
        self,
        blueprint: Blueprint,
        groups: Mapping[tuple[str, int], Group],
        tolerance: int = 0,
    ) -> Generation:
        self._number += 1
        memory = self._memoryFor(blueprint)
        generation = Generation(self, self._number, blueprint, groups, memory, tolerance)
        self._add(generation)
        return generation

    def _add(self, generation: Generation) -> None:
        self._generations.append(generation)

        def gone(result: None) -> None:
            self._generations.remove(generation)
            self._closeUnused()

        generation.gone.addCallback(gone)

    def _memoryFor(self, blueprint: Blueprint) -> TallyMemory:
        # Connections of workers that drain stay counted where there is room for that:
        # two generations of this size.
        memory = self._memory
        if memory is None or not memory.suits(blueprint.services, blueprint.workers):
            memory = self._memory = TallyMemory(2 * blueprint.workers, blueprint.services)
            self._memories.append(memory)
        return memory

    def _closeUnused(self) -> None:
        needed = [self._memory, *(each.memory for each in self._generations)]
        for memory in [each for each in self._memories if each not in needed]:
            memory.close()
            self._memories.remove(memory)

    def change(self, blueprint: Blueprint) -> Deferred[None]:
        """
        Let new workers serve another configuration, or the same one with other code.

        Args:
            blueprint: The configuration.

        Returns:
            Fires when they do, and the workers before them have closed their sockets.
            Fails with a L{ListenError} or a L{GenerationFailed}; then everything is
            as it was.
        """
        try:
            opening = self._bank.open(blueprint.places, blueprint.workers)
        except ListenError:
            return _failed()
        before = self.current
        generation = self._make(blueprint, opening.groups)

        def serves(_: None) -> Deferred[None]:
            self.current = generation
            self.blueprint = blueprint
            self._book.maximum = blueprint.maximumPenalty
            dropped = opening.keep()
            if before is None:
                return succeed(None)
            before.drain()
            return before.deaf.addCallback(lambda _: _closeAll(dropped))

        def failed(failure: Failure) -> Failure:
            opening.undo()
            return failure

        changing = generation.ready.addErrback(failed)
        changing.addCallback(serves)
        generation.start()
        return changing

    def changeLimits(self, blueprint: Blueprint) -> None:
        """
        Let other limits be in force.

        Args:
            blueprint: A configuration that differs in nothing else.
        """
        self.blueprint = blueprint
        self._book.maximum = blueprint.maximumPenalty
        if self.current is not None:
            self.current.blueprint = blueprint
            self.current.send(ChangeLimits(blueprint.text))

    def describe(self) -> str:
        """
        Say in one line what is served.
        """
        current = self.current
        members = (
            [] if current is None else [each for each in current.members.values() if each.isReady]
        )
        return (
            f"serving {', '.join(self.blueprint.services)} on {len(self.blueprint.places)} "
            f"endpoint(s) with {len(members)} worker(s)"
        )

    @property
    def connections(self) -> int:
        """How many there are, as far as the workers have told."""
        return sum(
            member.connections
            for generation in self._generations
            for member in generation.everybody
        )

    @property
    def isServing(self) -> bool:
        """Every worker of the current generation was ready once."""
        return self.current is not None and self.current.state is State.SERVING

    def stop(self) -> Deferred[None]:
        """
        Let all workers drain.

        Returns:
            Fires when the last is gone.
        """
        self.isStopping = True
        generations = list(self._generations)
        for generation in generations:
            generation.drain()
        deaf = DeferredList([each.deaf for each in generations])
        # Whoever starts the server again may have the places now.
        deaf.addCallback(lambda _: self._bank.close())
        gone: Deferred[None] = DeferredList([each.gone for each in generations]).addCallback(
            self._stopped
        )
        return gone

    def _stopped(self, _: object) -> None:
        if self._heartbeat.running:
            self._heartbeat.stop()
        self._bank.close()

    def abandon(self) -> None:
        """
        End all workers and close every socket, without waiting for anything.
        """
        self.hurry()
        self._stopped(None)

    def hurry(self) -> None:
        """
        End all workers at once.
        """
        for generation in list(self._generations):
            generation.kill()

    # What outlives this program.

    def pack(self) -> dict[str, Any]:
        """
        Write down what the next program of this process has to know.
        """
        memories = self._memories
        return {
            "bank": describeGroups(self._bank.groups),
            "number": self._number,
            "book": self._book.left(self.reactor.seconds()),
            "memories": [
                {"slots": each.slots, "services": each.services, "descriptor": each.descriptor}
                for each in memories
            ],
            "generations": [
                {
                    "number": each.number,
                    "blueprint": packBlueprint(each.blueprint),
                    "isCurrent": each is self.current,
                    "memory": memories.index(each.memory),
                    "groups": [
                        [service, index, list(group.key)]
                        for (service, index), group in each.groups.items()
                        if group.key in self._bank.groups
                    ],
                    "workers": each.describe(),
                }
                for each in self._generations
            ],
        }

    def descriptors(self) -> list[int]:
        """
        List the descriptors that the next program of this process has to have.
        """
        packed = self.pack()
        processes = [
            member["process"]
            for generation in packed["generations"]
            for member in generation["workers"]["members"]
        ]
        return [
            *(number for group in packed["bank"] for number in group["descriptors"]),
            *(memory["descriptor"] for memory in packed["memories"]),
            *(each[name] for each in processes for name in ("channel", "log", "output")),
        ]

    def adopt(self, packed: Mapping[str, Any]) -> None:
        """
        Go on where the last program of this process ended.

        Args:
            packed: What L{pack} wrote down.
        """
        self._bank = adoptGroups(packed["bank"])
        self._number = packed["number"]
        self._book.restore(packed["book"], self.reactor.seconds())
        self._memories = [
            TallyMemory(each["slots"], each["services"], each["descriptor"])
            for each in packed["memories"]
        ]
        self._memory = self._memories[-1] if self._memories else None
        for each in packed["generations"]:
            groups = {
                (service, index): self._bank.groups[tuple(key)]
                for service, index, key in each["groups"]
            }
            blueprint = unpackBlueprint(each["blueprint"])
            memory = self._memories[each["memory"]]
            generation = Generation(self, each["number"], blueprint, groups, memory)
            self._add(generation)
            if each["isCurrent"]:
                self.current = generation
                self.blueprint = blueprint
                self._groups = groups
            generation.adopt(each["workers"])
        self._heartbeat.start(HEARTBEAT, now=False)


def _failed() -> Deferred[None]:
    failure = Failure()
    failing: Deferred[None] = Deferred()
    failing.errback(failure)
    return failing


def _closeAll(groups: list[Group]) -> None:
    for group in groups:
        group.close()
