"""How long a peer may take over things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from myserv.events import ConnectionCut, ConnectionEnded, Offence, PeerPenalized
from myserv.limits import NO_DEADLINES, Limits, structureLimits
from myserv.plugin import ProtocolPlugin
from myserv.server.deadlines import TICK
from myserv.server.patience import LOOKS, RATE_WINDOW
from myserv.testing import MemoryPeer, MemoryServer, hostPlugin


class Echo(Protocol):
    """Says what it hears; C{login} establishes the client."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        if data == b"login":
            self.transport.clientEstablished()
        self.transport.write(data)


class Stage:
    """An echo service with limits, and one client."""

    def __init__(self, protocol: type[Protocol] = Echo, **limits: object) -> None:
        plugin = ProtocolPlugin("hall", "", stream=protocol, establishesClients=True)
        self.server: MemoryServer = hostPlugin(plugin, limits=_nothingBut(limits))
        self.peer: MemoryPeer = self.server.connect()
        self.server.settle()

    def cuts(self) -> list[tuple[str, str]]:
        """Which limits did what, so far."""
        return [(each.limit, each.reason) for each in self.server.observer.ofType(ConnectionCut)]

    def penalties(self) -> list[Offence]:
        """What the client was penalized for."""
        return [each.offence for each in self.server.observer.ofType(PeerPenalized)]

    def send(self, data: bytes, after: float) -> None:
        """Let time pass, and send."""
        self.server.advance(after)
        self.peer.send(data)
        self.server.settle()

    def change(self, **limits: object) -> None:
        """Put other limits in force."""
        listener = self.server.streamListener
        assert listener is not None
        self.server.admission.apply(structureLimits(_nothingBut(limits)))
        listener.limitsChanged()


def _nothingBut(limits: Mapping[str, object]) -> Mapping[str, object]:
    return {**NO_DEADLINES, **limits}


def test_defaults() -> None:
    """The documented defaults."""
    limits = Limits()
    deadlines = [limits.firstByte, limits.idle, limits.lifetime, limits.establish]
    assert [*map(float, deadlines), float(limits.writeTimeout)] == [60, 600, 0, 0, 60]
    assert [int(limits.maxUnsent), int(limits.minimumRate)] == [1 << 26, 0]


def test_off() -> None:
    """Without deadlines nobody is looked at, and nobody is cut."""
    stage = Stage()
    stage.server.advance(1e6)
    assert stage.cuts() == []
    assert not stage.peer.closed


class TestFirstByte:
    def test_silent(self) -> None:
        """A client that says nothing, and is told nothing, is closed."""
        stage = Stage(firstByte="5s")
        stage.server.advance(4.9)
        assert not stage.peer.closed
        stage.server.advance(0.1)
        assert stage.peer.closed
        assert stage.cuts() == [("firstByte", "nothing was said for 5s")]
        assert stage.penalties() == []

    def test_said(self) -> None:
        """One that has said something is not."""
        stage = Stage(firstByte="5s")
        stage.send(b"x", 4)
        stage.server.advance(100)
        assert not stage.peer.closed

    def test_told(self) -> None:
        """Nor is one to which the protocol speaks first."""

        class Greeting(Echo):
            def connectionMade(self) -> None:
                self.transport.write(b"hello")

        stage = Stage(Greeting, firstByte="5s")
        stage.server.advance(100)
        assert not stage.peer.closed


class TestIdle:
    def test_silent(self) -> None:
        """Whoever says nothing any more is closed: an eighth late at most."""
        stage = Stage(idle="80s")
        stage.send(b"x", 33)
        stage.server.reactor.pump([TICK] * 4 * 79)
        assert not stage.peer.closed
        stage.server.reactor.pump([TICK] * 4 * 12)
        assert stage.peer.closed
        assert stage.cuts() == [("idle", "nothing was said for 80s")]

    def test_talking(self) -> None:
        """A byte now and then is enough."""
        stage = Stage(idle="80s")
        for _ in range(20):
            stage.send(b"x", 69)
        assert not stage.peer.closed

    def test_readsOnly(self) -> None:
        """So is it to read what was sent before, however slowly."""
        stage = Stage(idle="80s")
        stage.peer.pauseReading()
        stage.send(b"x" * 60_000, 1)
        for _ in range(20):
            stage.server.reactor.pump([TICK] * 4 * 69)
            stage.peer.read(1000)
        assert not stage.peer.closed
        stage.server.reactor.pump([TICK] * 4 * 100)
        assert stage.cuts() == [("idle", "nothing was said for 80s")]

    def test_left(self) -> None:
        """One that has left is not looked at."""
        stage = Stage(idle="80s")
        stage.peer.close()
        stage.server.settle()
        assert not stage.server.reactor.getDelayedCalls()


def test_lifetime() -> None:
    """No connection lives longer than it may."""
    stage = Stage(lifetime="1m")
    for _ in range(6):
        stage.send(b"x", 9.9)
    assert not stage.peer.closed
    stage.server.advance(0.75)
    assert stage.peer.closed
    assert stage.cuts() == [("lifetime", "it was connected for 1m")]


class TestEstablish:
    def test_never(self) -> None:
        """Who is not established in time is cut, however busily it talks."""
        stage = Stage(establish="30s")
        for _ in range(3):
            stage.send(b"x", 9)
        assert not stage.peer.aborted
        stage.server.advance(3.25)
        assert stage.peer.aborted
        assert stage.cuts() == [("establish", "it was not established for 30s")]
        assert stage.penalties() == [Offence.TIMEOUT]

    def test_established(self) -> None:
        """Who is may stay."""
        stage = Stage(establish="30s")
        stage.send(b"login", 29)
        stage.server.advance(100)
        assert not stage.peer.aborted

    def test_tooMuch(self) -> None:
        """A stranger may not send without end."""
        stage = Stage(maxUnestablished="1kB")
        stage.send(b"x" * 600, 1)
        assert stage.peer.received == b"x" * 600
        stage.send(b"x" * 401, 1)
        assert stage.peer.aborted
        assert stage.peer.received == b"x" * 600
        assert stage.cuts() == [
            ("maxUnestablished", "it sent more than 1kB before it was established")
        ]
        assert stage.penalties() == [Offence.PROTOCOL]

    def test_enough(self) -> None:
        """A client that is established may."""
        stage = Stage(maxUnestablished="1kB")
        stage.send(b"login", 1)
        stage.send(b"x" * 10_000, 1)
        assert stage.peer.bytesReceived == 10_005

    def test_liftedMeanwhile(self) -> None:
        """Nor is a stranger bound by what no longer holds."""
        stage = Stage(maxUnestablished="1kB")
        stage.change()
        stage.send(b"x" * 10_000, 1)
        assert stage.peer.bytesReceived == 10_000


class TestMinimumRate:
    def test_slow(self) -> None:
        """A byte now and then is not enough where a rate is asked for."""
        stage = Stage(minimumRate="500B")
        for _ in range(3):
            stage.send(b"x" * 4900, 5)
        assert not stage.peer.aborted
        for _ in range(3):
            stage.send(b"x", RATE_WINDOW / 2)
        assert stage.peer.aborted
        [(limit, reason)] = stage.cuts()
        assert limit == "minimumRate"
        assert reason.endswith("and 500 is the least")
        assert stage.penalties() == [Offence.TIMEOUT]

    def test_slowReader(self) -> None:
        """What it takes counts as much as what it sends: 1 MB at 10 kB a second is enough."""
        stage = Stage(minimumRate="500B", idle="20s", writeTimeout="20s")
        stage.peer.pauseReading()
        for _ in range(16):
            stage.peer.send(b"x" * 65_536)
            stage.server.settle()
        for _ in range(100):
            stage.server.reactor.pump([TICK] * 4)
            stage.peer.read(10_000)
            assert not stage.peer.aborted
        assert stage.cuts() == []

    def test_established(self) -> None:
        """It does not hold for whoever is established."""
        stage = Stage(minimumRate="500B")
        stage.send(b"login", 1)
        stage.server.advance(1000)
        assert not stage.peer.aborted


class TestEnd:
    def test_reason(self) -> None:
        """The connection's end says why."""
        stage = Stage(idle="8s")
        stage.server.advance(10)
        [ended] = stage.server.observer.ofType(ConnectionEnded)
        assert ended.reason == "nothing was said for 8s"

    def test_doesNotTakeWhatIsLeft(self) -> None:
        """Who does not read what waits when the connection closes is cut."""
        stage = Stage(lifetime="5s", writeTimeout="20s")
        stage.peer.pauseReading()
        stage.send(b"x" * 65_536, 1)
        stage.send(b"x" * 65_536, 1)
        stage.server.advance(4)
        assert stage.cuts() == [("lifetime", "it was connected for 5s")]
        stage.server.reactor.pump([TICK] * 4 * 25)
        assert stage.peer.aborted
        assert stage.cuts()[1:] == [
            ("writeTimeout", "it did not take what was left for it for 20s")
        ]

    def test_closingWithoutDeadline(self) -> None:
        """Unless it may wait for ever."""
        stage = Stage(lifetime="5s")
        stage.peer.pauseReading()
        stage.send(b"x" * 65_536, 1)
        stage.send(b"x" * 65_536, 1)
        stage.server.advance(1000)
        assert not stage.peer.aborted


@pytest.mark.parametrize("idle", ["10s", "1h"])
def test_changed(idle: str) -> None:
    """Deadlines that change hold for those who are connected."""
    stage = Stage(idle="1m")
    stage.server.advance(20)
    stage.change(idle=idle)
    stage.server.settle()
    stage.server.advance(60)
    assert bool(stage.cuts()) is (idle == "10s")


def test_imposed() -> None:
    """Who was connected when there was no deadline is held to a new one, too."""
    stage = Stage()
    stage.server.advance(20)
    stage.change(idle="10s")
    stage.server.advance(15)
    assert [limit for limit, _ in stage.cuts()] == ["idle"]


def test_looks() -> None:
    """A connection is not looked at more often than it has to be."""
    stage = Stage(idle="1h")
    listener = stage.server.streamListener
    assert listener is not None
    [connection] = listener.connections
    looks = []
    check = connection.checkDeadlines

    def count(now: float) -> float:
        looks.append(now)
        return check(now)

    connection.checkDeadlines = count  # type: ignore[method-assign]
    stage.server.reactor.pump([60.0] * 59)
    assert len(looks) < LOOKS
