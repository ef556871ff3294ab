"""Who waits when there is no room."""

from __future__ import annotations

import pytest

from myserv.admission.reasons import CONNECTIONS, ROOM
from myserv.admission.waiting import HAS_ROOM_AFTER
from myserv.events import ProtocolRaised, ServiceFull, ServiceHasRoom
from tests.admission.kit import Hall, letIn, limitsOf, penaltiesOf, tryIn


class Door:
    """A listener that is told to pause and to resume."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


def door(admission: object) -> Door:
    """Watch a service."""
    watching = Door()
    admission.watch(watching.pause, watching.resume)  # type: ignore[attr-defined]
    return watching


def test_listenersPauseAtTheLimitAndResumeWhenSomebodyLeaves() -> None:
    """All of them, from within the admission that fills the service."""
    hall = Hall()
    admission = hall.service(maxConnections=2)
    doors = [door(admission), door(admission)]
    first = letIn(admission)
    assert admission.full is None
    second = letIn(admission, "192.0.2.2")
    assert admission.full == "maxConnections"
    assert [each.told for each in doors] == [["pause"], ["pause"]]
    late = door(admission)
    assert late.told == ["pause"]
    # One that was accepted in the same batch.
    assert tryIn(admission, "192.0.2.3") == CONNECTIONS
    admission.release(first)
    assert admission.full is None
    assert [each.told for each in (*doors, late)] == [["pause", "resume"]] * 3
    admission.release(second)
    assert hall.events == [ServiceFull("echo", "maxConnections", 2)]


def test_whereArrivalsAreRefusedNobodyWaits() -> None:
    """Neither for the service nor for the server."""
    hall = Hall(room=3)
    admission = hall.service(maxConnections=2, whenFull="refuse", maxConnectionsPerPeer=0)
    watching = door(admission)
    letIn(admission)
    letIn(admission)
    assert tryIn(admission) == CONNECTIONS
    letIn(hall.service("other"))
    admission.apply(limitsOf(whenFull="refuse", maxConnectionsPerPeer=0))
    assert tryIn(admission) == ROOM
    assert (admission.full, watching.told) == (None, [])


def test_whenTheServerIsFullAllServicesWait() -> None:
    """Whoever leaves makes room for all."""
    hall = Hall(room=2)
    echo, time = hall.service("echo"), hall.service("time")
    refusing = hall.service("refusing", whenFull="refuse")
    doors = door(echo), door(time)
    letIn(echo)
    assert hall.server.connections == 1
    other = letIn(refusing, "192.0.2.2")
    assert (echo.full, time.full, refusing.full) == (
        "server.maxConnections",
        "server.maxConnections",
        None,
    )
    assert tryIn(refusing, "192.0.2.3") == ROOM
    refusing.release(other)
    assert (echo.full, time.full) == (None, None)
    assert [each.told for each in doors] == [["pause", "resume"]] * 2
    assert hall.events == [
        ServiceFull("echo", "server.maxConnections", 2),
        ServiceFull("time", "server.maxConnections", 2),
    ]


def test_flappingAtTheLimitIsOneEvent() -> None:
    """It is over when there has been room for a while, and somebody looks."""
    hall = Hall()
    admission = hall.service(maxConnections=1)
    for _ in range(1000):
        admission.release(letIn(admission))
        hall.now += 0.9 * HAS_ROOM_AFTER
    assert hall.events == [ServiceFull("echo", "maxConnections", 1)]
    hall.now += 0.2 * HAS_ROOM_AFTER
    admission.release(letIn(admission))
    assert hall.events[1:] == [
        ServiceHasRoom("echo"),
        ServiceFull("echo", "maxConnections", 1),
    ]
    hall.now += HAS_ROOM_AFTER
    hall.server.lookAgain()
    hall.server.lookAgain()
    assert hall.events[3:] == [ServiceHasRoom("echo")]


def test_otherLimitsMakeRoomOrTakeIt() -> None:
    """Connections that are over a lower limit stay."""
    hall = Hall()
    admission = hall.service(maxConnectionsPerPeer=0)
    watching = door(admission)
    arrivals = [letIn(admission) for _ in range(3)]
    changed = admission.apply(limitsOf(maxConnectionsPerPeer=0, maxConnections=2))
    assert changed == ("maxConnections",)
    assert (admission.connections, admission.full) == (3, "maxConnections")
    admission.release(arrivals.pop())
    assert admission.full == "maxConnections"
    hall.server.apply(1, penaltiesOf())
    admission.apply(limitsOf(maxConnectionsPerPeer=0))
    assert admission.full == "server.maxConnections"
    assert watching.told == ["pause"]
    hall.server.apply(0, penaltiesOf())
    assert watching.told == ["pause", "resume"]
    hall.server.apply(2, penaltiesOf())
    admission.apply(limitsOf(maxConnectionsPerPeer=0, whenFull="refuse"))
    assert watching.told == ["pause", "resume"] * 2
    assert len(hall.said(ServiceFull)) == 1


def test_whoNoLongerWatchesIsNotTold() -> None:
    """To say so again is no error."""
    admission = Hall().service(maxConnections=1)
    watching = Door()
    unwatch = admission.watch(watching.pause, watching.resume)
    unwatch()
    unwatch()
    letIn(admission)
    assert watching.told == []


def test_whoIsToldMayLetSomebodyInAtOnce() -> None:
    """Everybody is then told to pause again, and nobody twice."""
    hall = Hall()
    admission = hall.service(maxConnections=1)
    eager, lazy, gone = Door(), Door(), Door()
    backlog = ["192.0.2.7"]

    def resume() -> None:
        eager.resume()
        unwatch()
        if backlog:
            letIn(admission, backlog.pop())

    admission.watch(eager.pause, resume)
    admission.watch(lazy.pause, lazy.resume)
    unwatch = admission.watch(gone.pause, gone.resume)
    admission.release(letIn(admission))
    assert eager.told == ["pause", "resume", "pause"]
    assert lazy.told == ["pause"]
    assert gone.told == ["pause"]
    assert admission.connections == 1


@pytest.mark.parametrize("during", ["pause", "resume"])
def test_aListenerThatRaisesKeepsNobodyFromBeingCounted(during: str) -> None:
    """It is told of, and the next one is told."""
    hall = Hall()
    admission = hall.service(maxConnections=1)
    broken = {"pause": Door().pause, "resume": Door().resume}
    broken[during] = lambda: 1 // 0  # type: ignore[assignment]
    admission.watch(broken["pause"], broken["resume"])
    watching = door(admission)
    admission.release(letIn(admission))
    assert watching.told == ["pause", "resume"]
    [raised] = hall.said(ProtocolRaised)
    assert (raised.service, raised.during) == ("echo", during)
    assert admission.connections == 0
