"""Generations of workers, with a fake spawner and a clock."""

from __future__ import annotations

import errno

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from myserv.errors import ListenError
from myserv.events import WorkerEnded, WorkerStarted
from myserv.workers.blueprint import WantedPlace
from myserv.workers.generation import MERCY, SILENCE, START_LIMIT, GenerationFailed, State
from myserv.workers.messages import (
    ChangeLimits,
    Deaf,
    Drain,
    Failed,
    Penalties,
    Ping,
    Pong,
)
from myserv.workers.supervisor import HEARTBEAT
from tests.workers.stage import Stage, blueprint, ready


@pytest.fixture
def stage() -> Stage:
    """A supervisor whose workers are fake."""
    return Stage()


def failureOf(deferred: Deferred[None]) -> BaseException:
    """What it failed with."""
    caught: list[BaseException] = []

    def catch(failure: Failure) -> None:
        assert failure.value is not None
        caught.append(failure.value)

    deferred.addErrback(catch)
    [error] = caught
    return error


def ended(stage: Stage) -> list[WorkerEnded]:
    """The deaths that became known."""
    return [each for each in stage.events if isinstance(each, WorkerEnded)]


# --- the start ---------------------------------------------------------------------


def test_theFirstStart(stage: Stage) -> None:
    """A worker in each place; when all are ready, the server is."""
    stage.supervisor.open()
    starting = stage.supervisor.start()
    first, second = stage.spawner.processes
    assert [each.assignment and each.assignment.worker for each in (first, second)] == [1, 2]
    assert {each.assignment and each.assignment.slot for each in (first, second)} == {0, 1}
    ready(first)
    assert not starting.called
    assert not stage.supervisor.isServing
    ready(second)
    assert starting.called
    assert stage.supervisor.isServing
    assert stage.events == [WorkerStarted(1, 1, 1000), WorkerStarted(2, 1, 1001)]
    assert stage.supervisor.describe() == "serving echo on 0 endpoint(s) with 2 worker(s)"


def test_oneMayDieAtTheStart(stage: Stage) -> None:
    """One death may be chance; with the second the server gives up, and says why."""
    stage.supervisor.open()
    starting = stage.supervisor.start()
    first, second = stage.spawner.processes
    first.owner.ended("exit code 1")
    stage.clock.advance(0)
    third = stage.spawner.processes[2]
    third.owner.received(Failed("a.toml:1:1: no luck"))
    third.owner.ended("exit code 1")
    assert str(failureOf(starting)) == "a.toml:1:1: no luck"
    assert second.isKilled
    assert [each.wait for each in ended(stage)] == [0, None]
    second.owner.ended("killed by SIGKILL")
    assert stage.supervisor.current is not None
    assert stage.supervisor.current.state is State.ENDED


def test_thereMayBeNoProcess(stage: Stage) -> None:
    """Starting one may fail; that counts like a death."""
    stage.spawner.errors = [OSError(errno.EAGAIN, "no more"), OSError(errno.EAGAIN, "no more")]
    stage.supervisor.open()
    starting = stage.supervisor.start()
    assert str(failureOf(starting)) == "it cannot be started: no more"
    assert stage.spawner.processes == []


def test_aWorkerThatIsNeverReady(stage: Stage) -> None:
    """It is killed when its time is over."""
    stage.supervisor.open()
    stage.supervisor.start()
    first, second = stage.spawner.processes
    ready(first)
    for _ in range(int(START_LIMIT / HEARTBEAT) + 1):
        first.owner.received(Pong(0))
        stage.clock.advance(HEARTBEAT)
    assert second.isKilled
    assert not first.isKilled
    second.owner.ended("killed by SIGKILL")
    assert ended(stage)[0].reason == "it was not ready after 60 seconds"


# --- death -------------------------------------------------------------------------


def test_aDeadWorkerIsReplaced(stage: Stage) -> None:
    """At once the first time, then later and later; what it counted is forgotten."""
    first, _ = stage.started()
    first.owner.ended("killed by SIGKILL")
    stage.clock.advance(0)
    again = stage.spawner.processes[-1]
    assert again.assignment is not None
    assert first.assignment is not None
    assert again.assignment.slot == first.assignment.slot
    again.owner.ended("exit code 1")
    assert ended(stage) == [
        WorkerEnded(1, 1, 1000, "killed by SIGKILL", False, 0.0),
        WorkerEnded(1, 1, 1002, "exit code 1", False, 0.1),
    ]
    stage.clock.advance(0.05)
    assert len(stage.spawner.processes) == 3
    stage.clock.advance(0.05)
    assert len(stage.spawner.processes) == 4
    ready(stage.spawner.processes[-1])
    assert stage.supervisor.isServing


def test_aProcessThatCannotBeReplaced(stage: Stage) -> None:
    """It is tried again, not too fast."""
    first, _ = stage.started()
    stage.spawner.errors = [OSError(errno.EAGAIN, "no more")]
    first.owner.ended("exit code 1")
    stage.clock.advance(0)
    assert len(stage.spawner.processes) == 2
    stage.clock.advance(1)
    assert len(stage.spawner.processes) == 3


def test_aWorkerThatHangs(stage: Stage) -> None:
    """One that answers nothing is killed; the other is asked on."""
    first, second = stage.started()
    for _ in range(int(SILENCE / HEARTBEAT) + 1):
        second.owner.received(Pong(7))
        stage.clock.advance(HEARTBEAT)
    assert first.isKilled
    assert not second.isKilled
    assert len(second.said(Ping)) == 7
    assert stage.supervisor.connections == 7
    first.owner.ended("killed by SIGKILL")
    assert ended(stage)[0].reason == "it did not answer for 30 seconds"


def test_aWorkerThatSomebodyElseTellsToGo(stage: Stage) -> None:
    """Its place is taken as soon as it is deaf; it has its time all the same."""
    first, _ = stage.started()
    first.owner.received(Deaf())
    stage.clock.advance(0)
    third = stage.spawner.processes[2]
    assert third.assignment
    assert third.assignment.worker == 1
    ready(third)
    packed = stage.supervisor.pack()["generations"][0]["workers"]["members"]
    assert [each["isRetired"] for each in packed] == [False, False, True]
    again = Stage()
    again.supervisor.adopt(stage.supervisor.pack())
    assert len(again.spawner.processes) == 3
    first.owner.ended("exit code 0")
    assert ended(stage) == [WorkerEnded(1, 1, 1000, "exit code 0", True, None)]
    stage.clock.advance(1)
    assert len(stage.spawner.processes) == 3
    # With too many of them there is no slot for another.
    for _ in range(2):
        for each in stage.spawner.take(2):
            each.owner.received(Deaf())
        stage.clock.advance(0.1)
    assert len(stage.spawner.processes) == 5
    stage.spawner.processes[1].owner.ended("exit code 0")
    stage.clock.advance(1)
    assert len(stage.spawner.processes) == 6
    stopping = stage.supervisor.stop()
    for each in stage.spawner.processes[2:]:
        assert each.said(Drain) == [Drain()]
        each.owner.ended("exit code 0")
    assert stopping.called


# --- penalties ---------------------------------------------------------------------


def test_penaltiesAreShared(stage: Stage) -> None:
    """All others hear of them, and who comes later hears what is left."""
    first, second = stage.started()
    first.owner.received(Penalties([[5, 10.0], [6, 1.0]]))
    assert first.said(Penalties) == []
    assert second.said(Penalties) == [Penalties([[5, 10.0], [6, 1.0]])]
    stage.clock.advance(4)
    second.owner.ended("exit code 1")
    stage.clock.advance(0)
    third = stage.spawner.processes[-1]
    ready(third)
    assert third.said(Penalties) == [Penalties([(5, 6.0)])]


# --- another configuration ---------------------------------------------------------


def test_anotherGeneration(stage: Stage) -> None:
    """When all of the new are ready, those before drain; it is over when they are deaf."""
    old = stage.started()
    over: list[None] = []
    stage.supervisor.change(blueprint("b", workers=3)).addCallback(over.append)
    new = stage.spawner.take(3)
    assert [each.assignment and each.assignment.text for each in new] == ["b"] * 3
    ready(*new[:2])
    assert old[0].said(Drain) == []
    ready(new[2])
    assert old[0].said(Drain) == old[1].said(Drain) == [Drain()]
    assert stage.supervisor.blueprint.text == "b"
    old[0].owner.received(Deaf())
    assert over == []
    old[1].owner.ended("exit code 0")
    assert over == [None]
    assert ended(stage) == [WorkerEnded(2, 1, 1001, "exit code 0", True, None)]
    # It is late, and not waited for without end.
    stage.clock.advance(5 + MERCY)
    assert old[0].isKilled
    old[0].owner.ended("killed by SIGKILL")
    assert not any(each.isKilled for each in new)


def test_theMemoryIsKeptWhereItCan(stage: Stage) -> None:
    """Connections of those that drain are counted, where there is room for both."""
    old = stage.started()
    stage.supervisor.change(blueprint("b"))
    new = stage.spawner.take(2)
    ready(*new)
    slots = {each.assignment.slot for each in (*old, *new) if each.assignment}
    assert slots == {0, 1, 2, 3}
    # A third generation while the first still drains has memory of its own.
    stage.supervisor.change(blueprint("c"))
    third = stage.spawner.take(2)
    assert {each.assignment.slot for each in third if each.assignment} == {0, 1}
    assert third[0].assignment
    assert new[0].assignment
    assert third[0].assignment.tallies != new[0].assignment.tallies
    ready(*third)
    for each in (*old, *new):
        each.owner.ended("exit code 0")
    assert len(stage.supervisor.pack()["memories"]) == 1


def test_aGenerationThatFails(stage: Stage) -> None:
    """A single death ends it, and those before go on."""
    old = stage.started()
    changing = stage.supervisor.change(blueprint("b"))
    first, second = stage.spawner.take(2)
    ready(first)
    second.owner.received(Failed("no luck"))
    second.owner.ended("exit code 1")
    error = failureOf(changing)
    assert isinstance(error, GenerationFailed)
    assert error.reason == "no luck"
    assert first.isKilled
    first.owner.ended("killed by SIGKILL")
    stage.clock.advance(60)
    assert stage.supervisor.blueprint.text == "a"
    assert old[0].said(Drain) == []
    assert len(stage.spawner.processes) == 4


def test_aPlaceThatCannotBeHad(stage: Stage) -> None:
    """Nothing is started when a socket cannot be opened."""
    stage.started()
    place = WantedPlace("echo", 0, "fd:999", "fd:999", "common", "a.toml:1:1", ("x",))
    changing = stage.supervisor.change(blueprint("b", places=(place,)))
    assert isinstance(failureOf(changing), ListenError)
    assert len(stage.spawner.processes) == 2


def test_otherLimits(stage: Stage) -> None:
    """Those that run are told; those that come are given the new text."""
    first, _ = stage.started()
    stage.supervisor.changeLimits(blueprint("b"))
    assert first.said(ChangeLimits) == [ChangeLimits("b")]
    first.owner.ended("exit code 1")
    stage.clock.advance(0)
    again = stage.spawner.processes[-1].assignment
    assert again is not None
    assert again.text == "b"


# --- the end -----------------------------------------------------------------------


def test_theEnd(stage: Stage) -> None:
    """All drain; when the last is gone, it is over."""
    old = stage.started()
    old[0].owner.ended("exit code 1")
    stopping = stage.supervisor.stop()
    assert old[1].said(Drain) == [Drain()]
    old[1].owner.received(Deaf())
    assert not stopping.called
    old[1].owner.ended("exit code 0")
    assert stopping.called
    # The one that died is not replaced any more.
    stage.clock.advance(60)
    assert len(stage.spawner.processes) == 2
    assert stage.clock.getDelayedCalls() == []


def test_inAHurry(stage: Stage) -> None:
    """All are killed."""
    old = stage.started()
    stopping = stage.supervisor.stop()
    stage.supervisor.hurry()
    assert all(each.isKilled for each in old)
    for each in old:
        each.owner.ended("killed by SIGKILL")
    assert stopping.called


def test_theEndDuringAChange(stage: Stage) -> None:
    """Those that have not served yet drain as well."""
    stage.started()
    stage.supervisor.change(blueprint("b"))
    everybody = list(stage.spawner.processes)
    stopping = stage.supervisor.stop()
    ready(everybody[2])
    for each in everybody:
        assert each.said(Drain) == [Drain()]
        each.owner.ended("exit code 0")
    assert stopping.called


def test_withoutALimitOnTheDrain() -> None:
    """They are waited for as long as it takes."""
    stage = Stage(blueprint(drain=0.0))
    old = stage.started()
    stage.supervisor.stop()
    for _ in range(100):
        for each in old:
            each.owner.received(Pong(1))
        stage.clock.advance(HEARTBEAT)
    assert not any(each.isKilled for each in old)


# --- the next program --------------------------------------------------------------


def test_theNextProgram(stage: Stage) -> None:
    """Another supervisor goes on with the workers of the one before it."""
    old = stage.started()
    old[0].owner.received(Penalties([[5, 10.0]]))
    stage.supervisor.change(blueprint("b"))
    ready(*stage.spawner.take(2))
    old[1].owner.ended("exit code 0")
    stage.spawner.take(2)[0].owner.ended("exit code 1")
    packed = stage.supervisor.pack()

    next_ = Stage()
    next_.supervisor.adopt(packed)
    assert next_.supervisor.blueprint.text == "b"
    assert next_.supervisor.isServing
    # The one that drains, the one that serves, and one in the place of the dead.
    draining, serves, replaced = next_.spawner.processes
    assert draining.assignment is serves.assignment is None
    assert replaced.assignment is not None
    assert replaced.assignment.slot == 1
    ready(replaced)
    assert replaced.said(Penalties) == [Penalties([(5, 10.0)])]
    changing = next_.supervisor.change(blueprint("c"))
    ready(*next_.spawner.take(2))
    assert next_.supervisor.current is not None
    assert next_.supervisor.current.number == 3
    for each in (serves, replaced):
        assert each.said(Drain) == [Drain()]
        each.owner.received(Deaf())
    assert changing.called
    next_.clock.advance(5 + MERCY)
    assert draining.isKilled


def test_whatStaysOpen(stage: Stage) -> None:
    """Each descriptor that the next program needs is among those that are handed on."""
    stage.started()
    packed = stage.supervisor.pack()
    memory = packed["memories"][0]["descriptor"]
    assert memory in stage.supervisor.descriptors()
    assert len(stage.supervisor.descriptors()) == 1 + 2 * 3
