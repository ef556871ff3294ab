"""Who sends more than can be read is kept out, and nobody else."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, cast

import pytest
from twisted.internet.protocol import DatagramProtocol

from myserv.endpoints.drops import REPORT_INTERVAL, Drops
from myserv.events import DatagramsDropped
from myserv.limits import structureLimits
from myserv.server.datagram import DatagramListener
from myserv.server.reflection import OwnSockets
from myserv.server.shedding import (
    CALM,
    COUNTED_SOURCES,
    FORGIVEN,
    HEAVY_RATE,
    LEFTOVERS,
    LONGEST,
    LONGEST_REST,
    OFFENDERS,
    SHED,
    WATCHED,
    WINDOW,
    Shedding,
)
from myserv.testing import MemoryDatagramEndpoint, RecordingObserver, SteppedReactor

FLOODER = "192.0.2.66"
CLIENT = "203.0.113.1"

Shuts = list[tuple[list[str], float]]


class Port:
    """A port that can have the kernel drop, or not."""

    def __init__(self, isAble: bool = True) -> None:
        self.isAble = isAble
        self.shuts: Shuts = []

    def shutOut(self, hosts: Iterable[str], seconds: float) -> bool:
        self.shuts.append((list(hosts), seconds))
        return self.isAble


class Outermost(DatagramProtocol):
    """What a port hands datagrams to."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))


class Context:
    """As much of a listener as is needed."""

    service = "hall"
    endpoint = "udp:7000"

    def __init__(self) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.emit = self.observer.observe


class Stage:
    """The shedding of a port."""

    def __init__(self, isAble: bool = True) -> None:
        self.context: Any = cast(Any, Context())
        self.reactor = self.context.reactor
        self.protocol: Any = cast(Any, Outermost())
        self.port = Port(isAble)
        self.protocol.transport = self.port
        self.drops = Drops(self.context)
        self.shedding = Shedding(self.protocol, self.reactor, self.drops)

    def send(self, host: Any, count: int = 1) -> int:
        """Receive so many datagrams of a host; how many the protocol was given."""
        before = len(self.protocol.received)
        for number in range(count):
            addr = (host, 1024 + number % 50000) if isinstance(host, str) else host
            self.protocol.datagramReceived(b"x", addr)
        return len(self.protocol.received) - before

    def overload(self, *counts: tuple[Any, int]) -> Shuts:
        """Fall behind with these datagrams; who is shut out then."""
        self.shedding.readingFellBehind()
        for host, count in counts:
            self.send(host, count)
        self.reactor.advance(WINDOW)
        shuts, self.port.shuts = self.port.shuts, []
        return shuts

    @property
    def isAside(self) -> bool:
        """Datagrams go to the protocol without a detour."""
        return "datagramReceived" not in vars(self.protocol)


@pytest.fixture
def stage() -> Stage:
    """A port that has the kernel drop."""
    return Stage()


class TestCauses:
    def test_one(self, stage: Stage) -> None:
        """One that sends nearly everything is the cause."""
        assert stage.overload((FLOODER, 5000), (CLIENT, 20)) == [([FLOODER], 1.0)]

    def test_quiet(self, stage: Stage) -> None:
        """As long as the port keeps up, nothing is in the way."""
        assert stage.isAside
        assert stage.send(FLOODER, 5000) == 5000
        assert stage.port.shuts == []

    def test_windowEnds(self, stage: Stage) -> None:
        """Sources are counted for a moment, and the next signal counts anew."""
        assert stage.overload((FLOODER, 99), (CLIENT, 1)) == []
        assert stage.isAside
        assert stage.reactor.getDelayedCalls() == []
        assert stage.overload((FLOODER, 99), (CLIENT, 1)) == []

    def test_countingRests(self, stage: Stage) -> None:
        """A server that is busy with all of them alike counts ever more seldom."""
        began: list[float] = []
        for _ in range(100):
            stage.shedding.readingFellBehind()
            if stage.shedding.isCounting and stage.reactor.getDelayedCalls():
                began.append(stage.reactor.seconds())
                stage.reactor.advance(WINDOW)
            else:
                stage.reactor.advance(0.0625)
        rests = [after - before - WINDOW for before, after in itertools.pairwise(began)]
        assert rests[:3] == pytest.approx([0.25, 0.5, 1.0], abs=0.07)
        assert max(rests) < LONGEST_REST + 0.07

    def test_foundAfterARest(self, stage: Stage) -> None:
        """The rest is short enough, and is over once somebody was found."""
        for _ in range(20):
            assert stage.overload((FLOODER, 99), (CLIENT, 99)) == []
        stage.reactor.advance(LONGEST_REST)
        assert stage.overload((FLOODER, 5000), (CLIENT, 99)) == [([FLOODER], 1.0)]
        assert stage.overload(("another", 5000), (CLIENT, 99)) == [(["another"], 1.0)]

    def test_calmEndsTheRest(self, stage: Stage) -> None:
        """After a calm, the next flood is counted at once."""
        for _ in range(20):
            assert stage.overload((FLOODER, 99), (CLIENT, 99)) == []
        stage.reactor.advance(CALM)
        assert stage.overload((FLOODER, 5000), (CLIENT, 99)) == [([FLOODER], 1.0)]

    def test_signalWithinAWindow(self, stage: Stage) -> None:
        """It is the same flood."""
        stage.shedding.readingFellBehind()
        stage.send(FLOODER, 3000)
        stage.reactor.advance(WINDOW / 2)
        assert stage.overload((CLIENT, 20)) == [([FLOODER], 1.0)]

    def test_slowIsNotHeavy(self, stage: Stage) -> None:
        """A source below the rate is not the cause, however large its share."""
        most = int(HEAVY_RATE * WINDOW)
        assert stage.overload((FLOODER, most), (CLIENT, 1)) == []
        stage.reactor.advance(CALM)
        assert stage.overload((FLOODER, most + 1), (CLIENT, 1)) == [([FLOODER], 1.0)]

    def test_alike(self, stage: Stage) -> None:
        """Where all send about as much, none is the cause."""
        counts = [(f"192.0.2.{number}", 200 + number) for number in range(50)]
        assert stage.overload(*counts) == []

    def test_alone(self, stage: Stage) -> None:
        """One that is alone takes nobody's place; with no datagram there is none."""
        assert stage.overload((FLOODER, 50000)) == []
        assert stage.overload() == []

    def test_several(self, stage: Stage) -> None:
        """The worst are shut out, as many as it takes until half is left."""
        stage.overload(("a", 4000), ("b", 3000), ("c", 2000), ("d", 10))
        assert stage.overload(("e", 1000), ("f", 2500), ("g", 2500), ("h", 1)) == [
            (["f", "g"], 1.0)
        ]

    def test_alikeButForOne(self, stage: Stage) -> None:
        """Several floods are found although the average is theirs."""
        counts = [(f"192.0.2.{number}", 2000) for number in range(9)]
        [(hosts, _)] = stage.overload(*counts, (CLIENT, 20))
        assert hosts == [f"192.0.2.{number}" for number in range(5)]

    def test_forgedFromEverywhere(self, stage: Stage) -> None:
        """Where the flood has no source, an honest heavy one is not blamed for it."""
        flood = [(f"198.51.{number >> 8}.{number & 255}", 1) for number in range(9000)]
        assert stage.overload(*flood, (CLIENT, 200)) == []
        assert len(stage.shedding._counts) <= COUNTED_SOURCES

    def test_forgedBesides(self, stage: Stage) -> None:
        """One is found among however many that are forged."""
        for number in range(9000):
            stage.shedding.readingFellBehind()
            stage.send(f"198.51.{number >> 8}.{number & 255}")
            stage.send(FLOODER)
        stage.reactor.advance(WINDOW)
        assert stage.port.shuts == [([FLOODER], 1.0)]

    def test_unix(self) -> None:
        """A path is a source like any other."""
        stage = Stage(isAble=False)
        stage.shedding.readingFellBehind()
        for _ in range(1000):
            stage.send(b"\0flooder")
        stage.send(b"\0client")
        stage.reactor.advance(WINDOW)
        assert stage.send(b"\0flooder") == 0
        assert stage.send(b"\0client") == 1
        stage.shedding.stop()


class TestShutOut:
    def test_byTheKernel(self, stage: Stage) -> None:
        """What it had queued before is dropped here; then nothing is in the way."""
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        assert stage.send(FLOODER, 100) == 0
        assert stage.send(CLIENT, 10) == 10
        stage.reactor.advance(LEFTOVERS)
        assert stage.isAside
        assert stage.drops.total == {SHED: 100}
        [dropped] = stage.context.observer.ofType(DatagramsDropped)
        assert (dropped.reason, dropped.count, dropped.peer[0]) == (SHED, 100, FLOODER)

    @pytest.mark.parametrize("isWithout", [True, False])
    def test_here(self, isWithout: bool) -> None:
        """Where the kernel cannot, it is done here."""
        stage = Stage(isAble=False)
        if isWithout:
            stage.protocol.transport = object()
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        stage.reactor.advance(0.9)
        assert stage.send(FLOODER, 100) == 0
        assert stage.send(CLIENT, 10) == 10
        stage.reactor.advance(0.1)
        assert stage.send(FLOODER) == 1
        assert stage.drops.total == {SHED: 100}

    def test_isToldMeanwhile(self) -> None:
        """A long flood is not only told of at its end."""
        stage = Stage(isAble=False)
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        for _ in range(5):
            stage.reactor.advance(
                stage.shedding._offenders[FLOODER].until - stage.reactor.seconds()
            )
            stage.send(FLOODER, 300)
        stage.drops.total.clear()
        stage.send(FLOODER, 100)
        stage.reactor.advance(REPORT_INTERVAL)
        assert stage.drops.total[SHED] >= 100
        stage.shedding.stop()

    def test_comesBack(self, stage: Stage) -> None:
        """Who goes on is shut out at once, for twice as long, up to a minute."""
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        seconds = []
        for _ in range(8):
            stage.reactor.advance(
                stage.shedding._offenders[FLOODER].until - stage.reactor.seconds()
            )
            most = int(HEAVY_RATE * WATCHED)
            assert stage.send(FLOODER, most + 5) == most
            [(hosts, time)] = stage.port.shuts
            assert hosts == [FLOODER]
            seconds.append(time)
            stage.port.shuts.clear()
        assert seconds == [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST, LONGEST, LONGEST]

    def test_behavesWhenItComesBack(self, stage: Stage) -> None:
        """It is watched for a moment, and forgiven after a minute."""
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        stage.reactor.advance(1)
        assert stage.send(FLOODER, 200) == 200
        stage.reactor.advance(WATCHED)
        assert stage.isAside
        assert stage.send(FLOODER, 200) == 200
        assert stage.overload((FLOODER, 5000), (CLIENT, 20)) == [([FLOODER], 2.0)]
        stage.reactor.advance(2 + FORGIVEN)
        assert stage.reactor.getDelayedCalls() == []
        assert stage.overload((FLOODER, 5000), (CLIENT, 20)) == [([FLOODER], 1.0)]

    def test_together(self, stage: Stage) -> None:
        """Some for the first time, and some again."""
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        stage.reactor.advance(2)
        shuts = stage.overload((FLOODER, 4000), ("192.0.2.67", 3000), ("192.0.2.68", 2999))
        assert shuts == [([FLOODER], 2.0)]
        shuts = stage.overload(("192.0.2.67", 3000), ("192.0.2.68", 3000), (CLIENT, 20))
        assert shuts == [(["192.0.2.67", "192.0.2.68"], 1.0)]

    def test_bounded(self, stage: Stage) -> None:
        """However many have been shut out, so many are remembered."""
        for number in range(OFFENDERS + 10):
            stage.shedding._offenderOf(number)
        assert len(stage.shedding._offenders) == OFFENDERS
        assert 9 not in stage.shedding._offenders
        assert 10 in stage.shedding._offenders

    def test_stop(self, stage: Stage) -> None:
        """A listener that stops leaves nothing behind, at whatever moment."""
        stage.shedding.stop()
        stage.shedding.readingFellBehind()
        stage.shedding.stop()
        stage.overload((FLOODER, 5000), (CLIENT, 20))
        stage.send(FLOODER, 10)
        stage.shedding.stop()
        assert stage.isAside
        assert stage.reactor.getDelayedCalls() == []
        assert stage.drops.total == {SHED: 10}


class TestListener:
    @pytest.mark.parametrize("hasLayers", [True, False])
    def test_ofAListener(self, hasLayers: bool) -> None:
        """The port's signal comes from what it knows, with layers as without."""

        class Layer(DatagramProtocol):
            noisy = False

            def __init__(self, protocol: Any) -> None:
                self.wrappedProtocol = protocol

            def makeConnection(self, transport: Any) -> None:
                self.wrappedProtocol.makeConnection(transport)

            def doStop(self) -> None:
                self.wrappedProtocol.doStop()

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                self.wrappedProtocol.datagramReceived(datagram, addr)

        reactor, observer, service = SteppedReactor(), RecordingObserver(), Outermost()
        endpoint = MemoryDatagramEndpoint(reactor)
        arguments: Any = {"wrap": lambda context, protocol: Layer(protocol)} if hasLayers else {}
        listener = DatagramListener(
            "hall",
            "udp:7000",
            endpoint,
            service,
            reactor,
            observer.observe,
            ownSockets=OwnSockets(),
            **arguments,
        )
        listener.start()

        def send(host: str, count: int) -> int:
            before = len(service.received)
            peer = endpoint.peer((host, 50000))
            for _ in range(count):
                peer.sendDatagram(b"x")
            reactor.settle()
            return len(service.received) - before

        def flood() -> None:
            port: Any = listener._port
            port.protocol.readingFellBehind()
            send(FLOODER, 1000)
            send(CLIENT, 20)
            reactor.advance(WINDOW)

        flood()
        assert send(FLOODER, 100) == 0
        assert send(CLIENT, 1) == 1
        listener.admission.apply(structureLimits({"shedFloods": False}))
        listener.limitsChanged()
        assert send(FLOODER, 1) == 1
        flood()
        assert send(FLOODER, 1) == 1
        assert listener.dropped == {SHED: 100}
        listener.admission.apply(structureLimits())
        listener.limitsChanged()
        flood()
        listener.stop()
        reactor.settle()
        assert reactor.getDelayedCalls() == []
