"""How fast connections may come."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import UNIXAddress

from myserv.admission.arrival import Arrival
from myserv.admission.rates import RATED_PEERS, SHARED_BUCKETS, PeerAcceptRate
from myserv.admission.reasons import PEER_CONNECTIONS, PEER_RATE, RATE
from myserv.admission.service import Admission
from tests.admission.kit import AT, Hall, letIn, limitsOf, tryIn


def howMany(admission: Admission, peer: str = "192.0.2.1", most: int = 1000) -> int:
    """Connect until it is refused."""
    for count in range(most):
        arrival = tryIn(admission, peer)
        if isinstance(arrival, str):
            return count
        admission.release(arrival)
    return most


@pytest.mark.parametrize("key", ["acceptRate", "acceptRatePerPeer"])
@pytest.mark.parametrize(
    ("rate", "burst", "atOnce"), [(10, 0, 10), (0.1, 0, 1), (0.3, 7, 7), (100, 3, 3), (2.5, 0, 2)]
)
def test_aBurstAndThenTheRate(key: str, rate: float, burst: int, atOnce: int) -> None:
    """One second's worth at once unless something else was said, at least one."""
    hall = Hall()
    keys: dict[str, Any] = {key: rate, key.replace("Rate", "Burst"): burst}
    admission = hall.service(**keys)
    assert howMany(admission) == atOnce
    hall.now += 0.5 / rate
    assert howMany(admission) <= 1
    hall.now += 20 / rate
    before = howMany(admission)
    assert before == atOnce
    for _ in range(50):
        hall.now += 1 / rate
        assert howMany(admission) == 1


def test_eachPeerHasItsOwnRate() -> None:
    """One that is too fast keeps no other out; UNIX sockets have no peers."""
    hall = Hall()
    admission = hall.service(acceptRatePerPeer=1)
    assert howMany(admission, "192.0.2.1") == 1
    assert howMany(admission, "192.0.2.2") == 1
    assert tryIn(admission, "192.0.2.1") == PEER_RATE
    for _ in range(10):
        letIn(admission, UNIXAddress(b"/run/x"))


def test_whatALaterRuleRefusesTakesNoToken() -> None:
    """Neither of the peer's rate nor of the service's."""
    hall = Hall()
    admission = hall.service(acceptRate=2, acceptRatePerPeer=3, maxConnectionsPerPeer=1)
    held = letIn(admission)
    unix = UNIXAddress(b"/run/x")
    for _ in range(5):
        assert tryIn(admission) == PEER_CONNECTIONS
    admission.release(held)
    letIn(admission)
    # The service's two are gone now, and the peer has one of its three.
    assert tryIn(admission) == RATE
    assert tryIn(admission, unix) == RATE
    both = hall.service(acceptRate=1, acceptRatePerPeer=1)
    letIn(both, unix)
    for _ in range(5):
        assert tryIn(both) == RATE
    hall.now += 1
    letIn(both)


def test_aShareOfTheRate() -> None:
    """One of four processes lets a quarter in, and one at least."""
    hall = Hall(share=0.25)
    assert howMany(hall.service(acceptRate=40)) == 10
    admission = hall.service(acceptRatePerPeer=1, acceptBurstPerPeer=2)
    assert howMany(admission) == 1
    hall.now += 3.9
    assert howMany(admission) == 0
    hall.now += 0.2
    assert howMany(admission) == 1


def test_bucketsStayAsEmptyAsTheyAreWhenOtherLimitsChange() -> None:
    """Only another rate begins with a full one."""
    admission = Hall().service(acceptRate=2, acceptRatePerPeer=2)
    assert howMany(admission) == 2
    admission.apply(limitsOf(acceptRate=2, acceptRatePerPeer=2, maxConnections=9))
    assert howMany(admission) == 0
    admission.apply(limitsOf(acceptRate=3, acceptRatePerPeer=2))
    assert tryIn(admission) == PEER_RATE
    admission.apply(limitsOf(acceptRate=3))
    assert howMany(admission) == 3
    admission.apply(limitsOf())
    assert howMany(admission) == 1000


def arrivalOf(peer: int | None) -> Arrival:
    """Somebody who arrives."""
    return Arrival(None, "echo", AT, peer, None)


def test_aFloodFromEverywhereFillsNoMemoryAndPushesNobodyOut() -> None:
    """Who has used up what there was stays so, and newcomers still get something."""
    now = 0.0
    rule = PeerAcceptRate(lambda: now, 1, 10)
    assert [rule.admit(arrivalOf(-1)) for _ in range(12)] == [None] * 10 + [PEER_RATE] * 2
    for peer in range(200_000):
        rule.admit(arrivalOf(peer))
        if peer % 20_000 == 0:
            now += 0.01
    assert len(rule) <= RATED_PEERS + SHARED_BUCKETS
    assert rule.admit(arrivalOf(-1)) == PEER_RATE
    # All of its shared buckets are about used up.
    let = sum(rule.admit(arrivalOf(peer)) is None for peer in range(10**6, 10**6 + 100_000))
    assert let < SHARED_BUCKETS * 10
    # After what a bucket takes to fill, all of it is forgotten.
    now += 11
    assert rule.admit(arrivalOf(10**7)) is None
    assert len(rule) == 1


def test_aTokenOfASharedBucketGoesBack(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a bucket of the peer's own does."""
    monkeypatch.setattr("myserv.admission.rates.RATED_PEERS", 1)
    rule = PeerAcceptRate(lambda: 0.0, 1, 1)
    rule.withdraw(arrivalOf(None))
    # Its bucket is full, and forgotten.
    rule.withdraw(arrivalOf(3))
    for peer in (1, 2):
        for _ in range(3):
            assert rule.admit(arrivalOf(peer)) is None
            rule.withdraw(arrivalOf(peer))
        assert rule.admit(arrivalOf(peer)) is None
        assert rule.admit(arrivalOf(peer)) == PEER_RATE


def test_aBucketThatIsNotFullIsNotForgotten() -> None:
    """Whenever the full ones are looked for."""
    now = 0.0
    rule = PeerAcceptRate(lambda: now, 1, 4)
    for _ in range(4):
        assert rule.admit(arrivalOf(7)) is None
    now = 3.5
    assert [rule.admit(arrivalOf(7)) for _ in range(4)] == [None] * 3 + [PEER_RATE]
    now = 4.1
    assert rule.admit(arrivalOf(8)) is None
    assert [rule.admit(arrivalOf(7)) for _ in range(2)] == [None, PEER_RATE]
    assert len(rule) == 2
