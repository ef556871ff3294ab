"""Counts that several processes share."""

from __future__ import annotations

import math
from mmap import mmap

import pytest
from twisted.internet.address import UNIXAddress

from myserv.admission.local import LocalTallies
from myserv.admission.reasons import CONNECTIONS, PEER_CONNECTIONS, ROOM
from myserv.admission.sketch import COLUMNS, MAXIMUM_COLUMNS
from myserv.admission.tallies import (
    SharedTallies,
    clearWorker,
    prepareSharedTallies,
    sizeOfSharedTallies,
)
from tests.admission.kit import Hall, letIn, tryIn

NAMES = ("echo", "time")


def memory(workers: int, columns: int = COLUMNS) -> bytearray:
    """What processes share."""
    buffer = bytearray(sizeOfSharedTallies(workers, len(NAMES), columns))
    prepareSharedTallies(buffer, workers, len(NAMES), columns)
    return buffer


def halls(workers: int, room: int = 0) -> list[Hall]:
    """A server of several processes."""
    buffer = memory(workers)
    return [
        Hall(room=room, tallies=SharedTallies(buffer, worker, workers, NAMES))
        for worker in range(workers)
    ]


def test_aLimitHoldsOverAllProcesses() -> None:
    """Of a service, whichever process somebody comes to."""
    first, second = (hall.service("echo", maxConnections=3, whenFull="refuse") for hall in halls(2))
    one = letIn(first, "192.0.2.1")
    letIn(second, "192.0.2.2")
    letIn(first, "192.0.2.3")
    assert tryIn(second, "192.0.2.4") == CONNECTIONS
    assert (first.connections, second.connections) == (2, 1)
    first.release(one)
    letIn(second, "192.0.2.4")


@pytest.mark.parametrize("limits", [{"maxConnections": 2}, {}])
def test_whoWasAcceptedBeforeItWasKnownIsLetIn(limits: dict[str, object]) -> None:
    """Where arrivals wait nobody is reset: one for each process is too many, at most."""
    first, second = (
        hall.service("echo", maxConnectionsPerPeer=0, **limits)
        for hall in halls(2, room=0 if limits else 2)
    )
    letIn(first, "192.0.2.1")
    letIn(first, "192.0.2.2")
    letIn(second, "192.0.2.3")
    assert second.full is not None
    assert isinstance(tryIn(second, "192.0.2.4"), str)
    assert isinstance(tryIn(first, "192.0.2.4"), str)


def test_theRoomOfAServerIsThatOfAllProcesses() -> None:
    """And of all services."""
    first, second = halls(2, room=2)
    letIn(first.service("echo", maxConnectionsPerPeer=0))
    letIn(second.service("time", maxConnectionsPerPeer=0))
    assert tryIn(first.service("time", whenFull="refuse"), "192.0.2.2") == ROOM
    assert first.server.connections == 1


def test_aPeerIsCountedOverAllProcesses() -> None:
    """In each service apart; those without an address in none."""
    first, second, third = halls(3)
    here, there = first.service(maxConnectionsPerPeer=2), second.service(maxConnectionsPerPeer=2)
    one = letIn(here)
    letIn(there)
    unix = letIn(there, UNIXAddress(b"/run/x"))
    assert tryIn(third.service(maxConnectionsPerPeer=2)) == PEER_CONNECTIONS
    letIn(third.service(maxConnectionsPerPeer=2), "192.0.2.2")
    letIn(third.service("time", maxConnectionsPerPeer=1))
    here.release(one)
    there.release(unix)
    two = letIn(here)
    three = tryIn(here)
    assert three == PEER_CONNECTIONS
    here.release(two)
    letIn(there)


def test_roomThatAnotherProcessMakesIsFoundByLooking() -> None:
    """A process with no connection of its own hears of nothing otherwise."""
    first, second = halls(2, room=1)
    here, there = first.service(maxConnectionsPerPeer=0), second.service(maxConnectionsPerPeer=0)
    told: list[str] = []
    there.watch(lambda: told.append("pause"), lambda: told.append("resume"))
    arrival = letIn(here)
    second.server.lookAgain()
    assert tryIn(there) == ROOM
    assert told == ["pause"]
    here.release(arrival)
    assert told == ["pause"]
    second.server.lookAgain()
    assert told == ["pause", "resume"]
    letIn(there)
    first.server.lookAgain()
    assert here.full == "server.maxConnections"


def test_theLimitOfAServiceIsLookedAtToo() -> None:
    """As the room of the server is."""
    first, second = halls(2)
    here, there = first.service(maxConnections=1), second.service(maxConnections=1)
    arrival = letIn(here)
    second.server.lookAgain()
    assert there.full == "maxConnections"
    here.release(arrival)
    second.server.lookAgain()
    assert there.full is None


def test_whatADeadProcessHeldIsCleared() -> None:
    """By the supervisor, or by the one that takes its place."""
    buffer = memory(2)
    admissions = [
        Hall(tallies=SharedTallies(buffer, worker, 2, NAMES)).service(maxConnectionsPerPeer=1)
        for worker in range(2)
    ]
    letIn(admissions[0], "192.0.2.1")
    letIn(admissions[1], "192.0.2.2")
    clearWorker(buffer, 0)
    letIn(admissions[1], "192.0.2.1")
    again = Hall(tallies=SharedTallies(buffer, 1, 2, NAMES)).service(maxConnectionsPerPeer=1)
    assert again.connections == 0
    letIn(again, "192.0.2.2")
    assert tryIn(admissions[0], "192.0.2.2") == PEER_CONNECTIONS
    last = SharedTallies(buffer, 0, 2, NAMES)
    last.look()
    assert last.total == 1


def test_aSketchNeverSaysTooFewAndSeldomTooMany() -> None:
    """As seldom as the module's head promises."""
    columns = 1024
    buffer = memory(2, columns)
    here, there = (SharedTallies(buffer, worker, 2, NAMES).service("echo") for worker in range(2))
    peers = columns // 4
    for number in range(peers):
        for _ in range(1 + number % 3):
            there.add((1 << 64) + (number << 8))
    assert all(here.ofPeer((1 << 64) + (n << 8)) >= 1 + n % 3 for n in range(peers))
    strangers = 20_000
    wrong = sum(here.ofPeer(-(1 << 32) - number) > 0 for number in range(strangers))
    expected = (1 - math.exp(-peers / columns)) ** 3
    assert wrong / strangers < 3 * expected + 0.005
    for number in range(peers):
        for _ in range(1 + number % 3):
            there.remove((1 << 64) + (number << 8))
    assert not any(buffer[4 * 8 :])


def test_memoryOfOtherSizesIsRefused() -> None:
    """Rather than counted in the wrong places."""
    with pytest.raises(ValueError, match="too few"):
        prepareSharedTallies(bytearray(100), 2, 2)
    for columns in (0, 3, 2 * MAXIMUM_COLUMNS):
        with pytest.raises(ValueError, match="power of two"):
            prepareSharedTallies(bytearray(100), 2, 2, columns)
    buffer = memory(2)
    for worker, workers, names in ((0, 3, NAMES), (0, 2, ("echo",)), (2, 2, NAMES), (-1, 2, NAMES)):
        with pytest.raises(ValueError, match="not prepared"):
            SharedTallies(buffer, worker, workers, names)
    with pytest.raises(ValueError, match="not prepared"):
        SharedTallies(bytearray(len(buffer)), 0, 2, NAMES)
    with pytest.raises(ValueError, match='service "nobody"'):
        SharedTallies(buffer, 0, 2, NAMES).service("nobody")


def test_theMemoryMayBeAMap() -> None:
    """Which can be closed once it is let go of."""
    shared = mmap(-1, sizeOfSharedTallies(4, len(NAMES)))
    prepareSharedTallies(shared, 4, len(NAMES))
    tallies = SharedTallies(shared, 3, 4, NAMES)
    tallies.service("time").add(5)
    assert (tallies.here, tallies.total) == (1, 1)
    tallies.close()
    shared.close()


def test_tallyOfAProcessAloneIsAlwaysUpToDate() -> None:
    """To look changes nothing."""
    tallies = LocalTallies()
    service = tallies.service("echo")
    service.add(7)
    service.add(None)
    tallies.look()
    service.look()
    assert (tallies.here, tallies.total, service.here, service.total) == (2, 2, 2, 2)
    assert (service.ofPeer(7), service.ofPeer(8)) == (1, 0)
