"""Whose datagrams are taken, and how many."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.admission.reasons import DATAGRAM_PEER_RATE, DATAGRAM_RATE, NETWORK, PENALIZED
from myserv.admission.server import ServerAdmission
from myserv.events import DatagramsDropped, Offence
from myserv.interfaces import IDrainable, IReloadable
from myserv.limits import structureLimits
from myserv.options.values import Size
from myserv.server.datagram import DatagramListener
from myserv.server.reflection import OwnSockets
from myserv.server.sources import REMEMBERED_HOSTS, TOO_LARGE
from myserv.testing import MemoryDatagramEndpoint, RecordingObserver, SteppedReactor

HERE = ("192.0.2.1", 50000)
NEXT_DOOR = ("192.0.2.1", 50001)
THERE = ("198.51.100.9", 50000)
UNIX = "/run/client"


class Silent(DatagramProtocol):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))


class Layer(DatagramProtocol):
    """Hands on, and writes down its life."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self.wrappedProtocol = protocol
        self.log: list[str] = []

    def makeConnection(self, transport: Any) -> None:
        self.log.append("makeConnection")
        self.wrappedProtocol.makeConnection(transport)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.log.append("datagramReceived")
        self.wrappedProtocol.datagramReceived(datagram, addr)

    def connectionRefused(self) -> None:
        self.log.append("connectionRefused")

    def doStop(self) -> None:
        self.log.append("doStop")
        self.wrappedProtocol.doStop()


@implementer(IDrainable, IReloadable)
class PoliteLayer(Layer):
    """Says goodbye."""

    def drainRequested(self, deadline: float) -> None:
        self.log.append("drainRequested")

    def reload(self) -> None:
        self.log.append("reload")


WAYS: Any = {
    "counted": {},
    "uncounted": {"amplification": 0},
    "layers": {"wrap": lambda context, protocol: Layer(protocol)},
    "proving layers": {
        "wrap": lambda context, protocol: Layer(protocol),
        "provesAddress": True,
    },
}
"""Where the rules are asked: by the channel, with accounts or without, or by a gate."""


class Stage:
    """A protocol on a memory endpoint, with limits."""

    def __init__(self, arguments: Any, **limits: object) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryDatagramEndpoint(self.reactor)
        self.protocol = Silent()
        self.server = ServerAdmission(self.reactor.seconds, self.observer.observe)
        self.admission = self.server.service("hall", structureLimits(limits))
        self.listener = DatagramListener(
            "hall",
            "udp:7000",
            self.endpoint,
            self.protocol,
            self.reactor,
            self.observer.observe,
            ownSockets=OwnSockets(),
            admission=self.admission,
            penalize=self.server.penalize,
            **arguments,
        )
        self.listener.start()

    def hear(self, source: Any = HERE, size: int = 4) -> bool:
        """Receive a datagram; whether the protocol was given it."""
        before = len(self.protocol.received)
        self.endpoint.peer(source).sendDatagram(bytes(size))
        self.reactor.settle()
        return len(self.protocol.received) > before

    def apply(self, **limits: object) -> None:
        """Let other limits be in force."""
        self.admission.apply(structureLimits(limits))
        self.listener.limitsChanged()


@pytest.mark.parametrize("way", WAYS)
class TestEveryWay:
    def test_networks(self, way: str) -> None:
        """Who is not let in is not heard; that is counted, and told of."""
        stage = Stage(WAYS[way], deny=["192.0.2.0/24"])
        assert not stage.hear()
        assert not stage.hear()
        assert stage.hear(THERE)
        assert stage.hear(UNIX)
        assert stage.listener.dropped == {NETWORK: 2}
        [dropped] = stage.observer.ofType(DatagramsDropped)
        assert (dropped.reason, dropped.peer) == (NETWORK, HERE)

    def test_networksChange(self, way: str) -> None:
        """Other networks hold at once for sources that are known."""
        stage = Stage(WAYS[way])
        assert stage.hear()
        assert stage.hear()
        stage.apply(deny=["192.0.2.1"])
        assert not stage.hear()
        assert stage.hear(THERE)
        stage.apply()
        assert stage.hear()

    def test_penalties(self, way: str) -> None:
        """Who has misbehaved is not heard until that has worn off."""
        stage = Stage(WAYS[way])
        assert stage.hear()
        stage.server.penalize("hall", HERE, "it was rude", Offence.ABUSE)
        assert not stage.hear()
        assert stage.hear(THERE)
        assert stage.listener.dropped == {PENALIZED: 1}
        stage.reactor.advance(90.1)
        assert stage.hear()

    def test_ratePerPeer(self, way: str) -> None:
        """A peer is a host, whatever its port; each has its own."""
        stage = Stage(WAYS[way], datagramRatePerPeer=10, datagramBurstPerPeer=3)
        assert [stage.hear(each) for each in (HERE, NEXT_DOOR, HERE, NEXT_DOOR)] == [
            True,
            True,
            True,
            False,
        ]
        assert stage.hear(THERE)
        assert all(stage.hear(UNIX) for _ in range(20))
        stage.reactor.advance(0.1)
        assert [stage.hear() for _ in range(2)] == [True, False]
        assert stage.listener.dropped == {DATAGRAM_PEER_RATE: 2}

    def test_ratePerPrefix(self, way: str) -> None:
        """Or as many hosts as the operator says."""
        stage = Stage(WAYS[way], datagramRatePerPeer=1, peerPrefix4=24)
        assert stage.hear()
        assert not stage.hear(("192.0.2.200", 50000))

    def test_rate(self, way: str) -> None:
        """All together have one, too; who is over it keeps what is its own."""
        stage = Stage(WAYS[way], datagramRate=2, datagramRatePerPeer=2)
        sources = (HERE, UNIX, THERE)
        assert [stage.hear(each) for each in sources] == [True, True, False]
        assert stage.listener.dropped == {DATAGRAM_RATE: 1}
        stage.reactor.advance(1)
        assert [stage.hear(THERE) for _ in range(3)] == [True, True, False]
        assert stage.listener.dropped == {DATAGRAM_RATE: 1, DATAGRAM_PEER_RATE: 1}

    def test_rateAlone(self, way: str) -> None:
        """There may be one of all, and none of each."""
        stage = Stage(WAYS[way], datagramRate=2)
        assert [stage.hear() for _ in range(3)] == [True, True, False]

    def test_rateChanges(self, way: str) -> None:
        """Another rate holds at once for sources that are known."""
        stage = Stage(WAYS[way])
        assert all(stage.hear() for _ in range(10))
        stage.apply(datagramRatePerPeer=1)
        assert [stage.hear() for _ in range(2)] == [True, False]
        # What is the same goes on as it is.
        stage.apply(datagramRatePerPeer=1, maxDatagram=1000)
        assert not stage.hear()
        stage.apply()
        assert all(stage.hear() for _ in range(10))

    def test_size(self, way: str) -> None:
        """One that is larger than it may be is dropped, whoever sent it."""
        stage = Stage(WAYS[way], maxDatagram=100)
        for source in (HERE, UNIX):
            assert [stage.hear(source, size) for size in (100, 101)] == [True, False]
        assert stage.listener.dropped == {TOO_LARGE: 2}
        stage.apply(maxDatagram=0)
        assert stage.hear(HERE, 65507)


class TestRules:
    def test_boundedUnderAFlood(self) -> None:
        """However many hosts there are, so many are remembered."""
        stage = Stage(WAYS["layers"], deny=["203.0.113.1"])
        takes = stage.listener._rules.takes
        for number in range(REMEMBERED_HOSTS + 10):
            assert takes((f"198.51.{number >> 8}.{number & 255}", 1), 0)
        assert len(stage.listener._rules._passed) == 10

    def test_whoIsRefusedIsNotRemembered(self) -> None:
        """Sources that are not let in push nobody's account out."""
        stage = Stage({}, deny=["192.0.2.0/24"])
        stage.hear()
        amplification: Any = stage.listener.channel._amplification
        assert len(amplification.accounts) == 0

    def test_whoIsRefusedKeepsItsAccount(self) -> None:
        """What a source may be sent is no more when it is not let in any longer."""
        stage = Stage({})
        stage.hear()
        stage.apply(deny=["192.0.2.0/24"])
        stage.hear()
        channel = stage.listener.channel
        channel.write(bytes(1000), HERE)
        assert stage.endpoint.sent == []

    def test_full(self) -> None:
        """Datagrams are no connections: they do not wait until there is room for some."""
        stage = Stage({}, maxConnections=1)
        arrival = stage.admission.admit(None, "tcp:7000")
        assert stage.admission.full == "maxConnections"
        assert stage.hear()
        assert not isinstance(arrival, str)
        stage.admission.release(arrival)
        assert stage.hear()

    def test_alone(self) -> None:
        """A listener may be given limits of its own."""
        observer = RecordingObserver()
        listener = DatagramListener(
            "hall",
            "udp:7000",
            MemoryDatagramEndpoint(SteppedReactor()),
            Silent(),
            SteppedReactor(),
            observer.observe,
            limits=evolve(structureLimits(), maxDatagram=Size(1)),
        )
        assert listener.admission.limits.maxDatagram == 1


class TestGate:
    def test_life(self) -> None:
        """The layer hears of all that a port says."""
        stage = Stage({"wrap": lambda context, protocol: PoliteLayer(protocol)})
        gate = stage.listener._outermost
        assert gate.logPrefix() == "hall"
        gate.connectionRefused()
        stage.hear()
        stage.listener.reload()
        stage.listener.stop()
        stage.reactor.settle()
        assert gate.wrappedProtocol.log == [
            "makeConnection",
            "connectionRefused",
            "datagramReceived",
            "reload",
            "drainRequested",
            "doStop",
        ]

    def test_impolite(self) -> None:
        """One that cannot say goodbye does not have to."""
        stage = Stage(WAYS["layers"])
        stage.listener.stop()
        stage.reactor.settle()
        assert stage.listener._outermost.wrappedProtocol.log == ["makeConnection", "doStop"]

    def test_layersDoNoWork(self) -> None:
        """What is not let in does not come to a layer."""
        stage = Stage(WAYS["layers"], deny=["192.0.2.0/24"])
        stage.hear()
        assert stage.listener._outermost.wrappedProtocol.log == ["makeConnection"]
