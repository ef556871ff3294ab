"""How the rules of a service go together."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myserv.admission.arrival import Arrival
from myserv.admission.reasons import OTHER, PEER_CONNECTIONS, RAISED
from myserv.admission.rule import Rule
from myserv.admission.service import COUNTED_REASONS
from myserv.events import ProtocolRaised, ServiceFull
from myserv.interfaces import IAdmissionRule, IArrival
from tests.admission.kit import AT, Hall, host, letIn, limitsOf, penaltiesOf, tryIn


@implementer(IAdmissionRule)
class Guest:
    """A third party's rule that does as it is told."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.holds: list[Any] = []

    def admit(self, arrival: Any) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is None:
            self.holds.append(arrival)
        return self.answer

    def release(self, arrival: Any) -> None:
        self.holds.remove(arrival)


def test_anArrivalSaysWhoItIs() -> None:
    """And is small, because there is one for each connection."""
    credentials: Any = object()
    admission = Hall().service(peerPrefix4=24)
    arrival = letIn(admission, "192.0.2.1", credentials)
    assert verifyObject(IArrival, arrival)
    assert verifyObject(IAdmissionRule, Rule())
    assert Rule().admit(arrival) is None
    assert (arrival.address, arrival.service, arrival.endpoint) == (host("192.0.2.1"), "echo", AT)
    assert arrival.credentials is credentials
    assert letIn(admission, "192.0.2.2").peer == arrival.peer
    assert letIn(admission, UNIXAddress(b"/run/x")).peer is None
    assert repr(arrival) == f"<Arrival of {arrival.address} at echo {AT}>"
    assert sys.getsizeof(arrival) + sys.getsizeof(arrival.peer) <= 120
    assert not hasattr(arrival, "__dict__")


def test_releasingTwiceDoesNothing() -> None:
    """Each arrival is released once, on whichever path comes first."""
    hall = Hall()
    admission = hall.service()
    first, second = letIn(admission), letIn(admission)
    for _ in range(3):
        admission.release(first)
    assert (admission.connections, hall.server.connections) == (1, 1)
    admission.release(second)
    assert (admission.connections, hall.server.connections) == (0, 0)


@pytest.mark.parametrize(
    ("room", "keys", "most"),
    [
        (0, {}, None),
        (0, {"maxConnections": 7}, 4),
        (10, {}, 5),
        (10, {"maxConnections": 7}, 4),
        (4, {"maxConnections": 7}, 2),
        (1, {}, 1),
        (10, {"maxConnectionsPerPeer": 3}, 3),
        (0, {"maxConnectionsPerPeer": 3}, 3),
        (10, {"maxConnectionsPerPeer": 0}, None),
    ],
)
def test_onePeerHasHalfOfTheRoomUnlessTheOperatorSaysOtherwise(
    room: int, keys: dict[str, Any], most: int | None
) -> None:
    """Half of the smaller of what the service and the server may have, rounded up."""
    admission = Hall(room=room).service(**keys)
    let = 0
    while let < 20 and isinstance(answer := tryIn(admission), Arrival):
        let += 1
    if most is None:
        assert answer != PEER_CONNECTIONS
    else:
        assert (let, answer) == (most, PEER_CONNECTIONS if room != 1 else answer)


def test_unixPeersAreNotCountedByPeer() -> None:
    """They have no address to count them by."""
    admission = Hall().service(maxConnectionsPerPeer=1)
    for _ in range(5):
        letIn(admission, UNIXAddress(b"/run/x"))
    assert admission.connections == 5


def test_aLimitThatComesLaterKnowsThoseWhoAreThere() -> None:
    """They were counted all along."""
    admission = Hall().service()
    held = [letIn(admission) for _ in range(3)]
    admission.apply(limitsOf(maxConnectionsPerPeer=3))
    assert tryIn(admission) == PEER_CONNECTIONS
    admission.release(held.pop())
    letIn(admission)
    # Under another prefix it is another peer; what was counted is taken back right.
    admission.apply(limitsOf(maxConnectionsPerPeer=3, peerPrefix4=24))
    more = [letIn(admission) for _ in range(3)]
    assert tryIn(admission, "192.0.2.77") == PEER_CONNECTIONS
    for arrival in held + more:
        admission.release(arrival)
    assert admission.connections == 1


def test_applyingSaysWhatChanged() -> None:
    """Every key, and those of other subjects, too."""
    admission = Hall().service()
    assert admission.apply(limitsOf()) == ()
    assert admission.apply(limitsOf(maxConnections=3, idle="1h")) == ("maxConnections", "idle")
    assert admission.limits == limitsOf(maxConnections=3, idle="1h")


def test_guestsAreAskedLastAndReleasedOnce() -> None:
    """Whatever refuses, those before it give back what they took."""
    guests = [Guest(), Guest("because")]
    admission = Hall().service(extra=guests, maxConnectionsPerPeer=1, acceptRate=1)
    for _ in range(3):
        assert tryIn(admission) == "because"
        assert guests[0].holds == []
        assert admission.connections == 0
    guests[1].answer = None
    arrival = letIn(admission)
    assert guests[0].holds == guests[1].holds == [arrival]
    assert isinstance(tryIn(admission), str)
    admission.apply(limitsOf())
    admission.release(arrival)
    assert guests[0].holds == guests[1].holds == []
    assert admission.connections == 0


def test_sameGuestTwiceIsAskedTwice() -> None:
    """And released as often."""
    guest = Guest()
    last = Guest("no")
    admission = Hall().service(extra=[guest, guest, last])
    assert tryIn(admission) == "no"
    assert guest.holds == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_aGuestThatRaisesRefuses(error: BaseException) -> None:
    """It is told of, and what the others took is given back."""
    guests = [Guest(), Guest(error)]
    hall = Hall()
    admission = hall.service(extra=guests)
    assert tryIn(admission) == RAISED
    assert (admission.connections, guests[0].holds) == (0, [])
    [raised] = hall.said(ProtocolRaised)
    assert (raised.service, raised.peer, raised.during) == ("echo", host("192.0.2.1"), "admit")
    assert raised.failure.value is error
    assert admission.refusals == {RAISED: 1}


def test_aGuestThatRaisesWhenReleasedKeepsNoOtherFromIt() -> None:
    """The counts are right all the same."""
    guests = [Guest(), Guest()]
    hall = Hall()
    admission = hall.service(extra=guests)
    arrival = letIn(admission)
    guests[1].holds.clear()
    admission.release(arrival)
    assert guests[0].holds == []
    assert admission.connections == 0
    [raised] = hall.said(ProtocolRaised)
    assert raised.during == "release"


def test_aGuestMayApplyLimitsAndLetOthersIn() -> None:
    """The arrival at hand is decided by the rules that it met."""

    @implementer(IAdmissionRule)
    class Meddler(Guest):
        def admit(self, arrival: Any) -> Any:
            if arrival.address == host("192.0.2.9"):
                admission.apply(limitsOf(maxConnectionsPerPeer=5, acceptRate=100))
                letIn(admission)
                return "meddled"
            return super().admit(arrival)

    first, meddler = Guest(), Meddler()
    admission = Hall().service(extra=[first, meddler])
    assert tryIn(admission, "192.0.2.9") == "meddled"
    assert admission.connections == len(first.holds) == len(meddler.holds) == 1


def test_aGuestsManyReasonsAreCountedAsOne() -> None:
    """Those beyond what is counted each on its own."""
    guest = Guest()
    admission = Hall().service(extra=[guest])
    for number in range(200):
        guest.answer = f"reason {number}"
        assert tryIn(admission) == guest.answer
    guest.answer = "reason 0"
    tryIn(admission)
    assert len(admission.refusals) == COUNTED_REASONS + 1
    assert admission.refusals[OTHER] == 200 - COUNTED_REASONS
    assert admission.refusals["reason 0"] == 2


def test_aServiceThatIsMadeAnewGoesOnWithItsCounts() -> None:
    """Those of the one before it are released as they were admitted."""
    hall = Hall()
    before = hall.service()
    arrival = letIn(before)
    after = hall.service(maxConnectionsPerPeer=1)
    assert (after.connections, tryIn(after)) == (1, PEER_CONNECTIONS)
    before.release(arrival)
    letIn(after)
    assert hall.server.connections == 1


def test_aServiceThatIsGoneIsToldOfNothing() -> None:
    """What is left of it stays counted."""
    hall = Hall(room=2)
    gone = hall.service("gone")
    arrival = letIn(gone)
    hall.server.forget("gone")
    hall.server.forget("gone")
    staying = hall.service()
    letIn(staying, "192.0.2.2")
    assert (gone.full, staying.full) == (None, "server.maxConnections")
    hall.server.apply(1, penaltiesOf())
    gone.release(arrival)
    assert [event.service for event in hall.said(ServiceFull)] == ["echo"]
    assert hall.server.connections == 1
