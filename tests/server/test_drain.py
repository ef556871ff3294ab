"""A drain: who is sent away when, and who is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from myserv.admission.server import ServerAdmission
from myserv.endpoints.layer import Layer, LayerFactory
from myserv.events import (
    ConnectionEnded,
    ConnectionRefused,
    DrainEnded,
    DrainProgressed,
    DrainStarted,
    HandshakeFailed,
    ListenerStopped,
    ProtocolRaised,
)
from myserv.interfaces import IDrainable
from myserv.limits import structureLimits
from myserv.server.drain import (
    ABANDON,
    DRAIN_IDLE,
    ENDLESS,
    FIRST_REQUEST,
    PROGRESS,
    RATE,
    STEP,
    Drain,
    drainSeconds,
)
from myserv.server.listener import State
from myserv.server.stream import StreamListener
from myserv.testing import MemoryEndpoint, MemoryPeer, RecordingObserver, SteppedReactor


class Answering(Protocol):
    """Answers at once."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data.upper())


class Slow(Protocol):
    """Answers when it is told to."""

    transport: Any

    def answer(self, data: bytes = b"done") -> None:
        """Answer."""
        self.transport.write(data)


@implementer(IDrainable)
class Polite(Protocol):
    """Notes when it is asked to say goodbye, and takes its time."""

    transport: Any
    asked: list[float]

    def __init__(self) -> None:
        self.asked = []

    def drainRequested(self, deadline: float) -> None:
        """Note it."""
        self.asked.append(deadline)


class Shaking(Layer):
    """Its handshake is one byte, and the rest is for the protocol."""

    name = "shaking"

    def dataReceived(self, data: bytes) -> None:
        """See to the handshake, or hand it on."""
        if self.upper is None:
            self.handshakeDone()
            data = data[1:]
        if data:
            self.upper.dataReceived(data)


class ShakingFactory(LayerFactory):
    """Makes them; their peers have 20 seconds for it."""

    timeout = 20.0

    def buildProtocol(self, addr: Any) -> Any:
        """Make one."""
        return Shaking(self, addr, self.timeout)


def shaking(context: Any, factory: Any, gate: Any) -> Any:
    """Put the layer behind the gate."""
    return gate(ShakingFactory(context, factory))


class Stage:
    """A listener in memory, its clients, and what became known."""

    def __init__(
        self,
        protocol: Callable[[], Any] = Protocol,
        wrap: Callable[..., Any] | None = None,
        limits: dict[str, object] | None = None,
    ) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryEndpoint(self.reactor)
        self.built: list[Any] = []
        admission = ServerAdmission(self.reactor.seconds, self.observer.observe)
        self.listener = StreamListener(
            "hall",
            "memory",
            self.endpoint,
            self._factory(protocol),
            self.reactor,
            self.observer.observe,
            *(() if wrap is None else (wrap,)),
            admission=admission.service("hall", structureLimits(limits or {})),
        )
        self.listener.jitter = lambda: 0.0
        self.listener.start()
        self.over: list[float] = []

    def _factory(self, protocol: Callable[[], Any]) -> Factory:
        factory = Factory()
        factory.noisy = False

        def build(addr: Any) -> Any:
            self.built.append(protocol())
            return self.built[-1]

        factory.buildProtocol = build  # type: ignore[method-assign]
        return factory

    def connect(self, count: int = 1, sending: bytes = b"") -> list[MemoryPeer]:
        """Clients that are connected, and have sent this."""
        peers = [self.endpoint.connect() for _ in range(count)]
        for peer in peers:
            peer.send(sending)
        self.reactor.settle()
        return peers

    def drain(self, deadline: float | None = None) -> None:
        """Drain, and remember when it was over."""

        def isOver(_: object) -> None:
            self.over.append(self.reactor.seconds())

        self.listener.drain(deadline).addCallback(isOver)

    def whenClosed(self, peers: list[MemoryPeer], until: float) -> list[float]:
        """When the server closed each, in whole steps from now on; it moves time."""
        began = self.reactor.seconds()
        closed: dict[int, float] = {}
        while True:
            self.reactor.settle()
            for number, peer in enumerate(peers):
                if peer.closed:
                    closed.setdefault(number, self.reactor.seconds() - began)
            if self.reactor.seconds() - began >= until:
                return [closed.get(number, -1.0) for number in range(len(peers))]
            self.reactor.advance(STEP)

    def drainEvents(self) -> list[Any]:
        """What became known of drains."""
        kinds = (DrainStarted, DrainProgressed, DrainEnded)
        return [each for each in self.observer.events if isinstance(each, kinds)]

    @property
    def cut(self) -> int:
        """How many had to be cut."""
        (ended,) = self.observer.ofType(DrainEnded)
        return ended.cut


class TestIdle:
    """Connections on which nothing is under way."""

    def test_nobody(self) -> None:
        """There is nothing to tell of, and nothing to wait for but the port."""
        stage = Stage()
        stage.drain()
        stage.reactor.settle()
        assert stage.over == [0.0]
        assert stage.drainEvents() == []
        assert stage.reactor.getDelayedCalls() == []

    def test_answered(self) -> None:
        """One that has its answer is closed after a second without a byte."""
        stage = Stage(Answering)
        peers = stage.connect(sending=b"hello")
        stage.drain()
        assert stage.whenClosed(peers, 5) == [DRAIN_IDLE]
        assert stage.over == [DRAIN_IDLE]
        assert stage.drainEvents() == [
            DrainStarted("hall", 1, 30.0),
            DrainEnded("hall", 0, DRAIN_IDLE),
        ]
        assert stage.reactor.getDelayedCalls() == []

    def test_talking(self) -> None:
        """One that goes on is closed when it has paused for a second."""
        stage = Stage(Answering)
        (peer,) = stage.connect(sending=b"hello")
        stage.drain()
        for _ in range(10):
            stage.reactor.advance(0.5)
            peer.send(b"more")
        assert not peer.closed
        stage.reactor.settle()
        stage.reactor.advance(DRAIN_IDLE + STEP)
        assert peer.closed
        assert stage.cut == 0

    def test_silentFromTheStart(self) -> None:
        """One that has just connected has three seconds for its first request."""
        stage = Stage(Answering)
        (silent,) = stage.connect()
        (asking,) = stage.connect()
        stage.drain()
        stage.reactor.advance(FIRST_REQUEST - STEP)
        asking.send(b"hello")
        stage.reactor.advance(STEP)
        assert (silent.closed, asking.closed) == (True, False)
        assert asking.received == b"HELLO"
        stage.reactor.advance(DRAIN_IDLE)
        assert stage.over == [FIRST_REQUEST + DRAIN_IDLE]
        assert stage.cut == 0

    def test_silentForLong(self) -> None:
        """One that has never said anything had its time."""
        stage = Stage(Answering)
        peers = stage.connect()
        stage.reactor.advance(10)
        stage.drain()
        assert stage.whenClosed(peers, 5) == [DRAIN_IDLE]

    def test_pace(self) -> None:
        """A herd leaves at a steady rate: so many a second."""
        stage = Stage(Answering)
        peers = stage.connect(300, sending=b"hello")
        stage.drain()
        closed = stage.whenClosed(peers, 5)
        for second in (1, 2, 3):
            leaving = [when for when in closed if second <= when < second + 1]
            assert len(leaving) == RATE
        # In even bunches.
        assert len([when for when in closed if when == 2.25]) == RATE * STEP

    def test_fasterPace(self) -> None:
        """Where there are too many for that, they leave within half of the deadline."""
        stage = Stage(Answering)
        peers = stage.connect(300, sending=b"hello")
        stage.drain(4.0)
        closed = stage.whenClosed(peers, 4)
        assert min(closed) == 1.0
        assert max(closed) == 1.0 + 2.0 - STEP
        assert stage.cut == 0

    def test_jitter(self) -> None:
        """Who goes with which bunch is left to chance, within one step."""
        stage = Stage(Answering)
        peers = stage.connect(100, sending=b"hello")
        stage.listener.jitter = lambda: 0.999
        stage.drain()
        closed = stage.whenClosed(peers, 5)
        bunches = [len([each for each in closed if each == when]) for when in (1, 1.25, 2)]
        assert bunches == [1, RATE * STEP, RATE * STEP - 1]

    def test_shortDeadline(self) -> None:
        """However short it is, the idle are closed and not cut."""
        stage = Stage(Answering)
        peers = [*stage.connect(10), *stage.connect(10, sending=b"hello")]
        stage.drain(1.0)
        assert max(stage.whenClosed(peers, 1)) < 1.0
        assert stage.cut == 0


class TestBusy:
    """Connections on which something is under way."""

    def test_answerIsAwaited(self) -> None:
        """A request is answered first, however long that takes."""
        stage = Stage(Slow)
        (peer,) = stage.connect(sending=b"question")
        stage.drain()
        stage.reactor.advance(20)
        assert not peer.closed
        stage.built[0].answer()
        stage.reactor.advance(DRAIN_IDLE + STEP)
        assert peer.received == b"done"
        assert peer.closed
        assert stage.cut == 0

    def test_unread(self) -> None:
        """What was written is read first."""
        stage = Stage(Slow)
        (peer,) = stage.connect(sending=b"question")
        peer.pauseReading()
        stage.built[0].answer(bytes(300_000))
        stage.reactor.settle()
        stage.drain()
        stage.reactor.advance(10)
        assert not peer.writeClosed
        peer.resumeReading()
        stage.reactor.advance(DRAIN_IDLE + STEP)
        assert peer.bytesReceived == 300_000
        assert peer.closed
        assert stage.cut == 0

    def test_deadline(self) -> None:
        """Who is not done by then is cut, and nobody else."""
        stage = Stage(Slow, limits={"drain": "2s"})
        peers = stage.connect(3, sending=b"question")
        stage.built[0].answer()
        stage.drain()
        stage.reactor.advance(2 - STEP)
        assert [peer.aborted for peer in peers] == [False] * 3
        stage.reactor.advance(STEP)
        assert [peer.aborted for peer in peers] == [False, True, True]
        assert stage.over == [2.0]
        assert stage.drainEvents() == [
            DrainStarted("hall", 3, 2.0),
            DrainEnded("hall", 2, 2.0),
        ]
        assert stage.reactor.getDelayedCalls() == []

    def test_itLeavesByItself(self) -> None:
        """Nobody says goodbye to one that is closing or gone."""
        stage = Stage(Slow)
        staying, leaving = stage.connect(2, sending=b"question")
        staying.stay()
        for each in stage.built:
            each.answer()
        stage.built[0].transport.loseConnection()
        leaving.close()
        stage.drain()
        stage.reactor.settle()
        assert staying.writeClosed
        assert leaving.closed
        # The farewell of the one that stays.
        stage.reactor.advance(2)
        assert stage.over == [2.0]

    def test_progress(self) -> None:
        """How many are left is told every few seconds."""
        stage = Stage(Slow)
        stage.connect(2, sending=b"question")
        stage.drain(12.0)
        stage.reactor.advance(6)
        stage.built[0].transport.loseConnection()
        stage.reactor.advance(6)
        assert stage.drainEvents() == [
            DrainStarted("hall", 2, 12.0),
            DrainProgressed("hall", 2, 12.0 - PROGRESS),
            DrainProgressed("hall", 1, 12.0 - 2 * PROGRESS),
            DrainEnded("hall", 1, 12.0),
        ]

    def test_oneTimer(self) -> None:
        """Whatever it waits for, it has one delayed call, and none too often."""
        stage = Stage(Polite)
        stage.connect(20, sending=b"hello")
        before = len(stage.reactor.getDelayedCalls())
        stage.drain()
        stage.reactor.settle()
        assert len(stage.reactor.getDelayedCalls()) == before + 1
        # Everybody has been told: until something is due nobody needs to look.
        (timer,) = set(stage.reactor.getDelayedCalls()) - {stage.listener.deadlines._timer}
        assert timer.getTime() == PROGRESS
        stage.listener.stopNow()
        stage.reactor.settle()


class TestDrainable:
    """Protocols that can say goodbye."""

    def test_told(self) -> None:
        """They are told at once, with the time that they have, and left alone."""
        stage = Stage(Polite)
        peers = stage.connect(3, sending=b"hello")
        stage.drain(12.0)
        stage.reactor.settle()
        assert [each.asked for each in stage.built] == [[12.0]] * 3
        stage.built[0].transport.loseConnection()
        stage.reactor.advance(12 - STEP)
        assert [peer.closed for peer in peers] == [True, False, False]
        stage.reactor.advance(STEP)
        assert [peer.aborted for peer in peers] == [False, True, True]
        assert [len(each.asked) for each in stage.built] == [1, 1, 1]

    def test_pace(self) -> None:
        """Of a herd, they are told one after the other."""
        stage = Stage(Polite)
        stage.connect(200, sending=b"hello")
        stage.drain()
        told = []
        for _ in range(9):
            stage.reactor.settle()
            told.append(len([each for each in stage.built if each.asked]))
            stage.reactor.advance(STEP)
        assert told == [25, 50, 75, 100, 125, 150, 175, 200, 200]
        assert max(each.asked[0] for each in stage.built) == 30.0
        assert min(each.asked[0] for each in stage.built) == 30.0 - 7 * STEP

    def test_firstRequest(self) -> None:
        """One that has just connected may say what it came for before that."""
        stage = Stage(Polite)
        asking, silent, greeted = stage.connect(3)
        stage.built[2].transport.write(b"welcome")
        stage.drain()
        stage.reactor.advance(0.5)
        assert [bool(each.asked) for each in stage.built] == [False, False, True]
        asking.send(b"hello")
        stage.reactor.advance(0.5)
        assert [bool(each.asked) for each in stage.built] == [True, False, True]
        stage.reactor.advance(FIRST_REQUEST - 1)
        assert stage.built[1].asked == [30 - FIRST_REQUEST]
        assert not silent.closed
        assert greeted.received == b"welcome"

    def test_raises(self) -> None:
        """A layer's bug is told of, and keeps nobody else from leaving."""
        stage = Stage(Answering)
        peers = stage.connect(2, sending=b"hello")

        def sayGoodbye(deadline: float) -> None:
            raise KeyError("goodbye")

        for connection in stage.listener.connections:
            if connection.number == min(each.number for each in stage.listener.connections):
                connection.sayGoodbye = sayGoodbye  # type: ignore[method-assign]
        stage.drain(4.0)
        stage.reactor.advance(DRAIN_IDLE)
        assert [peer.closed for peer in peers] == [False, True]
        stage.reactor.advance(3)
        assert peers[0].aborted
        (raised,) = stage.observer.ofType(ProtocolRaised)
        assert raised.during == "drainRequested"

    def test_drainsAgainFromWithin(self) -> None:
        """One that has everything stopped when it is asked stops everything."""
        stage = Stage(Polite)

        def drainRequested(deadline: float) -> None:
            stage.listener.stopNow()

        peers = stage.connect(2, sending=b"hello")
        stage.built[0].drainRequested = drainRequested
        stage.drain()
        stage.reactor.advance(STEP)
        assert all(peer.aborted for peer in peers)
        assert len(stage.over) == 1


class TestHandshakes:
    """Clients that were accepted and have no protocol yet."""

    def test_served(self) -> None:
        """One whose handshake ends in time gets a protocol, and its answer."""
        stage = Stage(Answering, shaking)
        (peer,) = stage.connect()
        stage.drain()
        stage.reactor.advance(10)
        assert not peer.aborted
        assert stage.over == []
        peer.send(b"!")
        stage.reactor.advance(FIRST_REQUEST - STEP)
        peer.send(b"hello")
        stage.reactor.settle()
        assert peer.received == b"HELLO"
        stage.reactor.advance(DRAIN_IDLE + STEP)
        assert peer.closed
        assert len(stage.over) == 1
        assert stage.cut == 0
        assert stage.reactor.getDelayedCalls() == []

    def test_servedLater(self) -> None:
        """Two handshakes in a row, as of TLS and WebSocket, are nothing else."""

        def wrap(context: Any, factory: Any, gate: Any) -> Any:
            return gate(ShakingFactory(context, ShakingFactory(context, factory)))

        stage = Stage(Answering, wrap)
        (peer,) = stage.connect()
        stage.drain()
        for _ in range(2):
            stage.reactor.advance(2)
            peer.send(b"!")
        stage.reactor.settle()
        peer.send(b"hello")
        stage.reactor.settle()
        assert peer.received == b"HELLO"

    def test_ownDeadline(self) -> None:
        """The handshake's own deadline holds."""
        stage = Stage(Answering, shaking)
        (peer,) = stage.connect()
        stage.reactor.advance(2)
        stage.drain()
        stage.reactor.advance(18)
        assert peer.aborted
        assert stage.over == [20.0]
        assert stage.drainEvents() == [
            DrainStarted("hall", 1, 30.0),
            *[DrainProgressed("hall", 1, left) for left in (25.0, 20.0, 15.0)],
            DrainEnded("hall", 0, 18.0),
        ]

    def test_deadline(self) -> None:
        """So does the drain's, after which nobody gets a protocol any more."""
        stage = Stage(Answering, shaking)
        (peer,) = stage.connect()
        factory: Any = stage.endpoint.port and stage.endpoint.port._factory
        stage.drain(5.0)
        stage.reactor.advance(5)
        assert peer.aborted
        assert stage.over == [5.0]
        assert stage.cut == 1
        (failed,) = stage.observer.ofType(HandshakeFailed)
        assert failed.reason == "the server closed"
        assert factory is not None

    def test_tooLate(self) -> None:
        """What a layer kept back until then is refused."""
        stage = Stage(Slow)
        stage.connect(sending=b"question")
        factory: Any = stage.endpoint.port and stage.endpoint.port._factory
        (connection,) = stage.listener.connections
        connection.abortConnection = lambda: None  # type: ignore[method-assign]
        stage.drain(0.0)
        stage.reactor.settle()
        factory.buildProtocol(stage.endpoint.address)
        (refused,) = stage.observer.ofType(ConnectionRefused)
        assert refused.reason == "the listener has closed"
        del connection.abortConnection
        connection.abortConnection()
        stage.reactor.settle()
        assert len(stage.over) == 1

    def test_tooLateToBuild(self) -> None:
        """A protocol that was built in time and gets its transport late is cut."""
        stage = Stage(Slow)
        stage.connect(sending=b"question")
        (first,) = stage.listener.connections
        first.abortConnection = lambda: None  # type: ignore[method-assign]
        stage.drain(0.0)
        stage.reactor.settle()
        cut: list[str] = []

        class Late:
            """As much of a connection as is asked."""

            bytesReceived = bytesSent = 0

            def abortConnection(self) -> None:
                """Be gone."""
                cut.append("late")
                stage.listener.connectionEnded(late)

        late: Any = Late()
        stage.listener.connectionStarted(late)
        stage.reactor.settle()
        assert cut == ["late"]
        del first.abortConnection
        first.abortConnection()
        stage.reactor.settle()
        assert stage.cut == 2


class TestShorten:
    """A drain that is asked for again."""

    def test_shorter(self) -> None:
        """The earlier deadline holds, for those as well who have not had their turn."""
        stage = Stage(Answering)
        peers = stage.connect(1000, sending=b"hello")
        stage.drain()
        stage.reactor.advance(1)
        stage.drain(4.0)
        assert stage.drainEvents()[-1] == DrainProgressed("hall", 1000 - 25, 4.0)
        closed = stage.whenClosed(peers, 4)
        assert max(closed) < 4
        assert stage.cut == 0
        assert len(stage.over) == 2

    def test_longer(self) -> None:
        """A later one is ignored."""
        stage = Stage(Slow)
        stage.connect(sending=b"question")
        stage.drain(2.0)
        stage.reactor.advance(1)
        stage.drain(10.0)
        stage.drain()
        assert stage.listener.statistics().deadline == 1.0
        stage.reactor.advance(1)
        assert stage.over == [2.0] * 3
        assert len(stage.drainEvents()) == 2

    def test_beforeItHasBegun(self) -> None:
        """It takes a turn of the reactor to begin."""
        stage = Stage(Slow)
        stage.connect(sending=b"question")
        stage.drain(10.0)
        stage.drain(5.0)
        stage.reactor.advance(5)
        assert stage.over == [5.0] * 2
        assert stage.drainEvents()[0] == DrainStarted("hall", 1, 5.0)

    def test_now(self) -> None:
        """At once is at once."""
        stage = Stage(Slow)
        (peer,) = stage.connect(sending=b"question")
        stage.drain()
        stage.reactor.advance(1)
        stage.drain(0.0)
        stage.reactor.settle()
        assert peer.aborted
        assert stage.over == [1.0] * 2
        assert stage.cut == 1

    def test_afterTheEnd(self) -> None:
        """Nobody can be cut twice."""
        stage = Stage(Slow)
        stage.connect(sending=b"question")
        (connection,) = stage.listener.connections
        cuts: list[None] = []
        connection.abortConnection = lambda: cuts.append(None)  # type: ignore[method-assign]
        stage.drain(1.0)
        stage.reactor.advance(1)
        stage.drain(0.0)
        stage.reactor.settle()
        assert len(cuts) == 1
        stage.reactor.advance(ABANDON)
        assert stage.over == [1.0 + ABANDON] * 2


class TestStuck:
    """What does not end."""

    def test_handshake(self) -> None:
        """A layer that cannot be cut is given up like a connection."""
        stage = Stage(Answering)

        class Stuck:
            """Cannot."""

            def abortConnection(self) -> None:
                """Raise."""
                raise OSError("no")

        stage.listener.handshakeStarted(Stuck())  # type: ignore[arg-type]
        stage.drain(2.0)
        stage.reactor.advance(2 + ABANDON)
        assert stage.over == [2.0 + ABANDON]
        (raised,) = stage.observer.ofType(ProtocolRaised)
        assert (raised.during, raised.peer) == ("abortConnection", None)

    def test_port(self) -> None:
        """A port that never closes is waited for without looking for ever."""
        stage = Stage(Answering)
        port: Any = stage.listener._port
        closed: Deferred[None] = Deferred()
        port.stopListening = lambda: closed
        stage.connect(sending=b"hello")
        stage.drain(2.0)
        stage.reactor.advance(20)
        assert stage.over == []
        assert stage.listener.state is State.STOPPING
        assert stage.reactor.getDelayedCalls() == []
        # Nobody has been left to cut.
        closed.callback(None)
        assert stage.over == [20.0]
        assert stage.cut == 0


class TestTogether:
    """Several listeners in one drain."""

    def test_oneDrain(self) -> None:
        """They are told of together, and their connections take turns together."""
        stage = Stage(Answering)
        others = MemoryEndpoint(stage.reactor)
        other = StreamListener(
            "hall",
            "other",
            others,
            stage._factory(Answering),
            stage.reactor,
            stage.observer.observe,
        )
        other.start()
        peers = stage.connect(50, sending=b"hello")
        for _ in range(50):
            peers.append(others.connect())
            peers[-1].send(b"hello")
        stage.reactor.settle()
        drain = Drain("hall", stage.reactor, stage.observer.observe, 30.0, lambda: 0.0)
        for each in (stage.listener, other):
            each.leave(drain)
        closed = stage.whenClosed(peers, 3)
        assert sorted(set(closed)) == [1.0, 1.25, 1.5, 1.75]
        assert stage.drainEvents() == [
            DrainStarted("hall", 100, 30.0),
            DrainEnded("hall", 0, 1.75),
        ]
        assert len(stage.observer.ofType(ListenerStopped)) == 2
        assert len(stage.observer.ofType(ConnectionEnded)) == 100

    def test_lateComer(self) -> None:
        """A listener that was still opening brings its connections later."""
        stage = Stage(Slow)
        stage.connect(sending=b"question")
        drain = Drain("hall", stage.reactor, stage.observer.observe, 30.0)
        stage.listener.leave(drain)
        stage.reactor.advance(1)
        late = Stage(Answering)
        late.reactor = stage.reactor
        late.listener.reactor = stage.reactor
        drain.add(late.listener)
        stage.built[0].answer()
        stage.reactor.advance(2)
        assert len(stage.observer.ofType(ListenerStopped)) == 1
        assert stage.observer.ofType(DrainEnded) == []
        drain.remove(late.listener)
        drain.remove(late.listener)
        drain.wake()
        assert len(stage.observer.ofType(DrainEnded)) == 1


@pytest.mark.parametrize(("limit", "seconds"), [("30s", 30.0), ("500ms", 0.5), ("0s", ENDLESS)])
def test_seconds(limit: str, seconds: float) -> None:
    """The limit says how long it takes at most; none is a day."""
    assert drainSeconds(structureLimits({"drain": limit})) == seconds


def test_portThatIsClosedAtOnce() -> None:
    """As Twisted's stdio endpoint's is: it need not take a turn of the reactor."""
    stage = Stage(Answering)
    port: Any = stage.listener._port
    port.stopListening = lambda: succeed(None)
    stage.drain()
    assert stage.over == [0.0]
    assert stage.reactor.getDelayedCalls() == []
