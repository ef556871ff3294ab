"""Whatever happens in whatever order, the counts are those of a simple model."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from twisted.internet.address import UNIXAddress
from zope.interface import implementer

from myserv.admission.arrival import Arrival
from myserv.admission.reasons import CONNECTIONS, PEER_CONNECTIONS, ROOM
from myserv.admission.service import Admission
from myserv.admission.tallies import SharedTallies, prepareSharedTallies, sizeOfSharedTallies
from myserv.events import Offence, ServiceFull, ServiceHasRoom
from myserv.interfaces import IAdmissionRule
from tests.admission.kit import Hall, host, limitsOf, penaltiesOf, tryIn

NAMES = ("echo", "time")

PEERS = st.sampled_from([*(f"192.0.2.{number}" for number in range(4)), "2001:db8::1", None])

LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "maxConnections": st.integers(0, 5),
        "maxConnectionsPerPeer": st.integers(0, 3),
        "whenFull": st.sampled_from(["wait", "refuse"]),
        "acceptRate": st.sampled_from([0, 1]),
        "acceptRatePerPeer": st.sampled_from([0, 1]),
        "acceptBurstPerPeer": st.integers(0, 3),
        "peerPrefix4": st.sampled_from([31, 32]),
        "deny": st.sampled_from([[], ["192.0.2.3/32"]]),
    },
)


@implementer(IAdmissionRule)
class Moody:
    """A third party's rule that lets in, refuses or raises, as it is told."""

    def __init__(self) -> None:
        self.mood = "good"
        self.holds: list[Any] = []

    def admit(self, arrival: Any) -> Any:
        if self.mood == "raising":
            raise ValueError(self.mood)
        if self.mood == "refusing":
            return "in no mood"
        self.holds.append(arrival)
        return None

    def release(self, arrival: Any) -> None:
        self.holds.remove(arrival)
        if self.mood == "raising":
            raise ValueError(self.mood)


class Life(RuleBasedStateMachine):
    """Two services, their listeners, and whoever comes and goes."""

    def tallies(self) -> Any:
        """Of a process that serves alone."""
        return None

    @initialize()
    def begin(self) -> None:
        self.hall = Hall(tallies=self.tallies())
        self.guests = {name: (Moody(), Moody()) for name in NAMES}
        self.services: dict[str, Admission] = {
            name: self.hall.service(name, self.guests[name]) for name in NAMES
        }
        self.present: list[tuple[str, Arrival]] = []
        self.gone: list[tuple[str, Arrival]] = []
        self.refused: Counter[str] = Counter()
        self.paused = dict.fromkeys(NAMES, False)
        self.room = 0
        for name in NAMES:
            self.watch(name)

    def watch(self, name: str) -> None:
        """Be a listener that is never told the same twice."""

        def pause() -> None:
            assert not self.paused[name]
            self.paused[name] = True

        def resume() -> None:
            assert self.paused[name]
            self.paused[name] = False

        self.services[name].watch(pause, resume)

    @rule(name=st.sampled_from(NAMES), peer=PEERS)
    def arrives(self, name: str, peer: str | None) -> None:
        service = self.services[name]
        limits, before = service.limits, service.connections
        address = UNIXAddress(b"/run/x") if peer is None else host(peer)
        answer = tryIn(service, address)
        if isinstance(answer, Arrival):
            self.present.append((name, answer))
            assert not limits.maxConnections or before < limits.maxConnections
            assert not self.room or len(self.present) <= self.room
            if limits.maxConnectionsPerPeer and answer.peer is not None:
                same = sum(at == name and each.peer == answer.peer for at, each in self.present)
                assert same <= limits.maxConnectionsPerPeer
        else:
            self.refused[name] += 1
            if answer == CONNECTIONS:
                assert before >= limits.maxConnections > 0
            if answer == ROOM:
                assert len(self.present) >= self.room > 0
            if answer == PEER_CONNECTIONS:
                assert limits.maxConnectionsPerPeer != 0

    @precondition(lambda self: self.present)
    @rule(place=st.integers(0, 1000))
    def leaves(self, place: int) -> None:
        name, arrival = self.present.pop(place % len(self.present))
        self.services[name].release(arrival)
        self.gone.append((name, arrival))

    @precondition(lambda self: self.gone)
    @rule(place=st.integers(0, 1000))
    def leavesOnceMore(self, place: int) -> None:
        name, arrival = self.gone[place % len(self.gone)]
        self.services[name].release(arrival)

    @rule(name=st.sampled_from(NAMES), keys=LIMITS)
    def limitsChange(self, name: str, keys: dict[str, object]) -> None:
        self.services[name].apply(limitsOf(**keys))

    @rule(room=st.integers(0, 6), enabled=st.booleans())
    def serverChanges(self, room: int, enabled: bool) -> None:
        self.room = room
        self.hall.server.apply(room, penaltiesOf(enabled=enabled))

    @rule(
        name=st.sampled_from(NAMES),
        which=st.integers(0, 1),
        mood=st.sampled_from(["good", "good", "refusing", "raising"]),
    )
    def moodChanges(self, name: str, which: int, mood: str) -> None:
        self.guests[name][which].mood = mood

    @rule(peer=PEERS)
    def misbehaves(self, peer: str | None) -> None:
        self.hall.server.penalize("echo", peer and host(peer), "bad", Offence.AUTHENTICATION)

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0]))
    def timePasses(self, seconds: float) -> None:
        self.hall.now += seconds

    @rule()
    def serverLooksAgain(self) -> None:
        self.hall.server.lookAgain()

    @invariant()
    def theCountsAreRight(self) -> None:
        present = Counter(name for name, _ in self.present)
        assert self.hall.server.connections == len(self.present)
        for name, service in self.services.items():
            assert service.connections == present[name]
            assert service.refusals.total() == self.refused[name]
            peers = Counter(
                arrival.peer for at, arrival in self.present if at == name and arrival.peer
            )
            assert service._tally._peers == peers  # type: ignore[attr-defined]
            here = [id(arrival) for at, arrival in self.present if at == name]
            for guest in self.guests[name]:
                assert sorted(map(id, guest.holds)) == sorted(here)

    @invariant()
    def whoWaitsHasReason(self) -> None:
        for name, service in self.services.items():
            limits = service.limits
            isFull = 0 < limits.maxConnections <= service.connections
            isRoomFull = 0 < self.room <= len(self.present)
            shallWait = limits.whenFull.value == "wait" and (isFull or isRoomFull)
            assert (service.full is not None) == shallWait == self.paused[name]
            said = [
                type(event)
                for event in self.hall.events
                if isinstance(event, ServiceFull | ServiceHasRoom) and event.service == name
            ]
            assert (
                said
                == [ServiceFull, ServiceHasRoom] * (len(said) // 2) + said[len(said) // 2 * 2 :]
            )
            assert not shallWait or said[-1] is ServiceFull

    def teardown(self) -> None:
        for name, arrival in getattr(self, "present", []):
            self.services[name].release(arrival)
        if hasattr(self, "present"):
            self.present = []
            self.theCountsAreRight()


class SharedLife(Life):
    """The same, in one process of three."""

    def tallies(self) -> Any:
        """Of one that would serve with two others, who do nothing."""
        self.buffer = bytearray(sizeOfSharedTallies(3, len(NAMES), 64))
        prepareSharedTallies(self.buffer, 3, len(NAMES), 64)
        return SharedTallies(self.buffer, 1, 3, NAMES)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "buffer"):
            assert not any(self.buffer[8 * 4 :])


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSharedLife = SharedLife.TestCase
TestSharedLife.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
