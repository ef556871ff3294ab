"""The places of a peer, of a service and of a server, in one process and in several."""

from __future__ import annotations

import pytest

from myserv.admission.reasons import CONNECTIONS, PEER_CONNECTIONS, ROOM
from myserv.admission.tallies import SharedTallies, prepareSharedTallies, sizeOfSharedTallies
from tests.admission.kit import Hall, letIn, limitsOf, tryIn

NAMES = ("echo", "talk")


def halls(workers: int) -> list[Hall]:
    """Processes with room for four, all in all; one of them alone has no shared memory."""
    if workers == 1:
        return [Hall(room=4)]
    buffer = bytearray(sizeOfSharedTallies(workers, len(NAMES)))
    prepareSharedTallies(buffer, workers, len(NAMES))
    return [
        Hall(room=4, tallies=SharedTallies(buffer, number, workers, NAMES))
        for number in range(workers)
    ]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_whichLimit(workers: int) -> None:
    """Each refuses at its own number, whichever process is asked, and gives back."""
    processes = halls(workers)
    first, last = processes[0], processes[-1]
    keys = {"maxConnections": 3, "maxConnectionsPerPeer": 2, "whenFull": "refuse"}
    here = first.service("echo", **keys)
    there = here if workers == 1 else last.service("echo", **keys)
    talk = last.service("talk", maxConnectionsPerPeer=0, whenFull="refuse")

    held = [letIn(here), letIn(there)]
    assert tryIn(here) == tryIn(there) == PEER_CONNECTIONS
    third = letIn(there, "192.0.2.2")
    assert tryIn(here, "192.0.2.3") == tryIn(there, "192.0.2.3") == CONNECTIONS
    # Whoever has too many hears of that, and not that the service has.
    assert tryIn(there) == PEER_CONNECTIONS
    fourth = letIn(talk, "192.0.2.4")
    assert tryIn(talk, "192.0.2.4") == ROOM
    there.release(third)
    fifth = letIn(talk, "192.0.2.4")
    assert tryIn(there, "192.0.2.5") == ROOM
    here.release(held[0])
    letIn(there, "192.0.2.5")
    talk.release(fourth)
    talk.release(fifth)
    letIn(there)


@pytest.mark.parametrize("workers", [1, 3])
def test_noLimit(workers: int) -> None:
    """They are counted all the same, for a limit that comes later."""
    service = halls(workers)[0].service("echo", maxConnectionsPerPeer=0, whenFull="refuse")
    for _ in range(3):
        letIn(service)
    assert service.connections == 3
    service.apply(limitsOf(maxConnectionsPerPeer=3, whenFull="refuse"))
    assert tryIn(service) == PEER_CONNECTIONS
