"""What misbehaviour costs."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from myserv.admission.penalties import Penalties
from myserv.admission.reasons import NETWORK, PENALIZED
from myserv.events import Offence, PeerPenalized
from tests.admission.kit import Hall, host, letIn, limitsOf, penaltiesOf, tryIn

SINNER = "192.0.2.1"


def penalize(hall: Hall, peer: Any = SINNER, offence: Offence = Offence.AUTHENTICATION) -> float:
    """Penalize a peer, and say for how long it is refused."""
    hall.server.penalize("echo", host(peer) if isinstance(peer, str) else peer, "bad", offence)
    event = hall.events[-1]
    assert isinstance(event, PeerPenalized)
    return event.refusedFor


def test_whoCollectsTooMuchIsRefusedUntilAllHasWornOff() -> None:
    """Not only until it is below the threshold again (OpenSSH)."""
    hall = Hall()
    admission = hall.service()
    other = hall.service("other")
    assert [penalize(hall), penalize(hall)] == [0, 0]
    letIn(admission, SINNER)
    assert penalize(hall) == 15
    assert tryIn(admission, SINNER) == PENALIZED
    assert tryIn(other, f"::ffff:{SINNER}") == PENALIZED
    letIn(admission, "192.0.2.2")
    hall.now += 14.9
    assert tryIn(admission, SINNER) == PENALIZED
    hall.now += 0.2
    letIn(admission, SINNER)
    assert hall.said(PeerPenalized)[-1] == PeerPenalized(
        "echo", host(SINNER), "bad", Offence.AUTHENTICATION, 15
    )


def test_penaltiesWearOff() -> None:
    """One second in each second: who errs seldom is never refused."""
    hall = Hall()
    for _ in range(100):
        assert penalize(hall) == 0
        hall.now += 4
        # Of 4 s between two of 5 s each, 1 s stays; so it comes to an end at 15.
        if hall.said(PeerPenalized)[-1].refusedFor:
            break
        hall.now += 2
    assert penalize(hall) == 0


def test_whoGoesOnIsRefusedForLongerUpToTheMaximum() -> None:
    """Each offence while it is refused adds to it."""
    hall = Hall()
    assert penalize(hall, offence=Offence.ABUSE) == 90
    assert penalize(hall, offence=Offence.ABUSE) == 180
    for _ in range(10):
        penalize(hall, offence=Offence.ABUSE)
    assert penalize(hall, offence=Offence.ABUSE) == 600


def test_aMaximumAtTheThreshold() -> None:
    """Whoever reaches it is refused for that long."""
    hall = Hall(penalties=penaltiesOf(threshold=8.0, maximum=8.0))
    assert penalize(hall) == 0
    assert penalize(hall) == 8


@pytest.mark.parametrize("peer", ["/run/x", b"/run/x", None, ("127.0.0.1", 5), ("::1", 5)])
def test_whoCannotBePenalizedIsToldOfAllTheSame(peer: Any) -> None:
    """Those without an IP address, and those who are exempt."""
    hall = Hall()
    hall.server.penalize("echo", peer, "bad", Offence.ABUSE)
    assert hall.events == [PeerPenalized("echo", peer, "bad", Offence.ABUSE, 0.0)]


def test_anExemptNeighbourOfAPenalizedPeerIsLetIn() -> None:
    """Where a prefix makes one peer of both."""
    hall = Hall(
        penalties=penaltiesOf(peerPrefix4=24, exempt=(ip_network("192.0.2.7/32"),)),
    )
    admission = hall.service()
    assert penalize(hall, offence=Offence.ABUSE) == 90
    assert penalize(hall, "192.0.2.7", Offence.ABUSE) == 0
    assert tryIn(admission, "192.0.2.200") == PENALIZED
    letIn(admission, "192.0.2.7")


def test_penaltiesThatAreOffCostNothing() -> None:
    """And what was collected before is forgotten."""
    hall = Hall(penalties=penaltiesOf(enabled=False))
    admission = hall.service()
    assert penalize(hall, offence=Offence.ABUSE) == 0
    hall.server.learnPenalty(-(1 << 32), 90)
    hall.server.apply(0, penaltiesOf())
    assert penalize(hall, offence=Offence.ABUSE) == 90
    assert tryIn(admission, SINNER) == PENALIZED
    hall.server.apply(0, penaltiesOf(enabled=False))
    letIn(admission, SINNER)
    assert admission.refusalOfSource((SINNER, 5)) is None
    hall.server.apply(0, penaltiesOf())
    letIn(admission, SINNER)


def test_anOffenceThatCostsNothingIsToldOf() -> None:
    """The operator may leave some be."""
    hall = Hall(penalties=penaltiesOf(protocol=0.0, threshold=0.0))
    assert penalize(hall, offence=Offence.PROTOCOL) == 0
    letIn(hall.service(), SINNER)
    assert penalize(hall) == 5


def test_whatWasCollectedStaysUnderOtherLimits() -> None:
    """Also more than is collected from now on; under other prefixes it is nobody's."""
    hall = Hall()
    admission = hall.service()
    for _ in range(3):
        penalize(hall, offence=Offence.ABUSE)
    hall.server.apply(0, penaltiesOf(maximum=100.0))
    assert penalize(hall) == 270
    assert tryIn(admission, SINNER) == PENALIZED
    hall.server.apply(0, penaltiesOf(peerPrefix4=24))
    letIn(admission, SINNER)
    hall.now += 300
    hall.server.apply(0, penaltiesOf())
    letIn(admission, SINNER)


def test_processesTellEachOther() -> None:
    """A peer's penalties are the sum of those of all processes."""
    here, there = Hall(), Hall()
    here.server.penalized = there.server.learnPenalty
    there.server.penalized = here.server.learnPenalty
    admission = there.service()
    for _ in range(3):
        penalize(here)
    assert tryIn(admission, SINNER) == PENALIZED
    assert there.events == []
    assert penalize(there) == 20
    assert penalize(here) == 25


def test_theVersionGoesUpWhenTheVerdictOnASourceMayChange() -> None:
    """When limits are applied, and when a peer becomes refused."""
    hall = Hall()
    admission = hall.service()
    versions = [admission.version]
    penalize(hall)
    assert admission.version == versions[0]
    penalize(hall, offence=Offence.ABUSE)
    versions.append(admission.version)
    penalize(hall, offence=Offence.ABUSE)
    assert admission.version == versions[1]
    hall.server.apply(0, penaltiesOf())
    versions.append(admission.version)
    admission.apply(limitsOf(deny=["10.0.0.0/8"]))
    versions.append(admission.version)
    admission.apply(limitsOf(deny=["10.0.0.0/8"]))
    assert admission.version == versions[3]
    assert versions == sorted(set(versions))


def test_sourcesOfDatagramsAreRefusedForTheirNetworkAndTheirPenalties() -> None:
    """And for nothing else."""
    hall = Hall()
    admission = hall.service(allow=["192.0.2.0/24"], acceptRate=1, maxConnections=1)
    letIn(admission)
    assert admission.refusalOfSource((SINNER, 5)) is None
    assert admission.refusalOfSource(("10.0.0.1", 5)) == NETWORK
    unnamed: Any = None
    assert admission.refusalOfSource(unnamed) is None
    penalize(hall, offence=Offence.ABUSE)
    assert admission.refusalOfSource((SINNER, 5)) == PENALIZED
    assert admission.refusalOfSource(("192.0.2.2", 5)) is None
    assert hall.service("open").refusalOfSource(("192.0.2.2", 5)) is None
    assert not admission.refusals


def test_aFloodOfSinnersFillsNoMemoryAndPushesNoGreaterOneOut() -> None:
    """Those go first whose penalties wear off first."""
    now = 0.0
    penalties = Penalties(lambda: now, penaltiesOf(maxPeers=1000))
    great = penalties.peerOf(SINNER)
    assert great is not None
    penalties.add(great, 90)
    for number in range(200_000):
        peer = penalties.peerOf(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1")
        assert peer is not None
        penalties.add(peer, 10 + number % 5)
        assert len(penalties) <= 1000
    assert penalties.isRefused(SINNER)
    # Of the light ones, none is remembered for longer than its penalty.
    now = 89.0
    penalties.add(-5, 1)
    assert len(penalties) == 2
    now = 90.0
    assert not penalties.isRefused(SINNER)
    assert len(penalties) == 0


def test_ipv6PushesItsOwnKindOut() -> None:
    """However great its penalties are, as long as it is the more numerous one."""
    penalties = Penalties(lambda: 0.0, penaltiesOf(maxPeers=100))
    for number in range(50):
        penalties.add(-1000 - number, 1)
    for number in range(1000):
        penalties.add(1000 + number, 500)
    assert sum(peer < 0 for peer in penalties._until) == 50
    for number in range(100):
        penalties.add(-2000 - number, 2)
    assert sum(peer < 0 for peer in penalties._until) == 50
    penalties.apply(penaltiesOf(maxPeers=10))
    assert sum(peer < 0 for peer in penalties._until) == 5
    assert sum(peer > 0 for peer in penalties._until) == 5


def test_whoSinsAgainIsNotForgottenWithItsFirstSin() -> None:
    """The time that counts is the last one."""
    now = 0.0
    penalties = Penalties(lambda: now, penaltiesOf(maxPeers=2))
    penalties.add(-1, 5)
    penalties.add(-2, 6)
    penalties.add(-1, 5)
    penalties.add(-3, 7)
    assert sorted(penalties._until) == [-3, -1]
    now = 8.0
    penalties.add(-4, 1)
    assert sorted(penalties._until) == [-4, -1]
