"""A listener's life: start, suspend, resume, stop, in every state."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from myserv.events import (
    ConnectionEnded,
    ConnectionRefused,
    ConnectionStarted,
    DrainEnded,
    DrainStarted,
    ListenerResumed,
    ListenerStarted,
    ListenerStopped,
    ListenerSuspended,
    ProtocolRaised,
)
from myserv.interfaces import IDrainable
from myserv.limits import DEFAULT_LIMITS
from myserv.server.drain import ABANDON, DRAIN_IDLE, FIRST_REQUEST, STEP
from myserv.server.listener import COUNTED_REASONS, OTHER, Listener, State
from myserv.server.statistics import ListenerStatistics
from myserv.server.stream import LAST_ACCEPTS, ConnectionFactory, StreamListener, hasArrivals
from myserv.testing import MemoryEndpoint, MemoryPeer, RecordingObserver, SteppedReactor


class Quiet(Factory):
    """Builds one kind of protocol and says nothing."""

    noisy = False
    protocol = Protocol


class HeldEndpoint:
    """An endpoint that opens when it is told to."""

    def __init__(self, endpoint: MemoryEndpoint) -> None:
        self._endpoint = endpoint
        self.opening: Deferred[Any] = Deferred()

    def listen(self, factory: Any) -> Deferred[Any]:
        return self.opening.addCallback(lambda _: self._endpoint.listen(factory))


class Stage:
    """A listener on a memory endpoint."""

    def __init__(
        self, factory: Any = None, wrapEndpoint: Callable[[Any], Any] = lambda each: each
    ) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryEndpoint(self.reactor)
        self.opener = wrapEndpoint(self.endpoint)
        self.listener = StreamListener(
            "hall",
            "tcp:7000",
            self.opener,
            Quiet() if factory is None else factory,
            self.reactor,
            self.observer.observe,
        )

    def start(self) -> None:
        assert result(self.listener.start()) is None

    def connect(self) -> MemoryPeer:
        peer = self.endpoint.connect()
        self.reactor.settle()
        return peer


NOTHING = object()


def result(deferred: Deferred[Any]) -> Any:
    """What a Deferred has fired with, a Failure too; NOTHING when it has not."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    return results[0] if results else NOTHING


def state(listener: Listener) -> State:
    """The state now; mypy would take the one asserted before for it."""
    return listener.state


@pytest.fixture
def stage() -> Stage:
    """A listener that is open."""
    stage = Stage()
    stage.start()
    return stage


class TestStart:
    def test_open(self, stage: Stage) -> None:
        """An open listener has an address, and it is known."""
        address = IPv4Address("TCP", "198.51.100.1", 7000)
        assert state(stage.listener) is State.LISTENING
        assert stage.listener.address == address
        assert stage.observer.events == [ListenerStarted("hall", "tcp:7000", address)]
        assert repr(stage.listener) == "<StreamListener hall tcp:7000 listening>"

    def test_twice(self, stage: Stage) -> None:
        """An open listener does not start."""
        with pytest.raises(RuntimeError, match="cannot start"):
            stage.listener.start()

    def test_whileStarting(self) -> None:
        """Neither does one that is about to be open."""
        stage = Stage(wrapEndpoint=HeldEndpoint)
        started = stage.listener.start()
        assert state(stage.listener) is State.STARTING
        assert result(started) is NOTHING
        with pytest.raises(RuntimeError):
            stage.listener.start()
        stage.opener.opening.callback(None)
        assert state(stage.listener) is State.LISTENING

    @pytest.mark.parametrize("synchronously", [True, False])
    def test_fails(self, synchronously: bool) -> None:
        """A listener that could not open is stopped, and can try again."""
        stage = Stage()
        error = CannotListenError("", 7000, OSError("in use"))

        class Broken:
            def listen(self, factory: Any) -> Deferred[Any]:
                if synchronously:
                    raise error
                return fail(error)

        working = stage.listener._opener
        stage.listener._opener = Broken()  # type: ignore[assignment]
        assert result(stage.listener.start()).value is error
        assert state(stage.listener) is State.STOPPED
        assert stage.observer.events == []
        stage.listener._opener = working
        stage.start()
        stage.connect()
        assert len(stage.listener.connections) == 1

    def test_portWithoutAddress(self) -> None:
        """Twisted's stdio endpoint returns something that is not a port."""

        class Stdio:
            def listen(self, factory: Any) -> Deferred[Any]:
                return succeed(object())

        stage = Stage(wrapEndpoint=lambda endpoint: Stdio())
        stage.start()
        assert stage.observer.events == [ListenerStarted("hall", "tcp:7000", None)]
        with pytest.raises(RuntimeError, match="cannot suspend"):
            stage.listener.suspend()
        assert result(stage.listener.stop()) is None
        assert state(stage.listener) is State.STOPPED


class TestSuspend:
    def test_arrivalsWait(self, stage: Stage) -> None:
        """A suspended listener keeps its connections and takes no others."""
        inside = stage.connect()
        stage.listener.suspend()
        outside = stage.connect()
        outside.send(b"knock")
        assert state(stage.listener) is State.SUSPENDED
        assert len(stage.listener.connections) == 1
        assert not inside.closed
        stage.listener.resume()
        stage.reactor.settle()
        assert state(stage.listener) is State.LISTENING
        assert len(stage.listener.connections) == 2
        assert outside.unread == 0

    def test_events(self, stage: Stage) -> None:
        """Each change is known once, however often it is asked for."""
        stage.observer.take()
        stage.listener.resume()
        stage.listener.suspend()
        stage.listener.suspend()
        stage.listener.resume()
        stage.listener.resume()
        assert stage.observer.events == [
            ListenerSuspended("hall", "tcp:7000"),
            ListenerResumed("hall", "tcp:7000"),
        ]

    def test_full(self, stage: Stage) -> None:
        """A suspended listener accepts neither when there is no room nor when there is again."""
        stage.listener.suspend()
        waiting = stage.endpoint.connect()
        waiting.send(b"knock")
        for change in (stage.listener._pause, stage.listener._resume):
            change()
            stage.reactor.settle()
            assert waiting.unread == 5
        stage.listener._pause()
        stage.listener.resume()
        stage.reactor.settle()
        assert waiting.unread == 5
        stage.listener._resume()
        stage.reactor.settle()
        assert waiting.unread == 0

    def test_releasedWhileFull(self, stage: Stage) -> None:
        """There is no room for a last arrival, and nothing to suspend any more."""
        stage.listener._pause()
        waiting = stage.endpoint.connect()
        released = stage.listener.release()
        stage.reactor.settle()
        assert result(released) is None
        assert waiting.aborted
        assert not stage.listener.canPause
        assert result(stage.listener.release()) is None

    def test_stopped(self) -> None:
        """A stopped listener can do neither."""
        stage = Stage()
        with pytest.raises(RuntimeError, match="cannot suspend"):
            stage.listener.suspend()
        with pytest.raises(RuntimeError, match="cannot resume"):
            stage.listener.resume()

    def test_stop(self, stage: Stage) -> None:
        """A suspended listener stops, and starts open."""
        stage.listener.suspend()
        waiting = stage.connect()
        stopped = stage.listener.stop()
        stage.reactor.settle()
        assert result(stopped) is None
        assert waiting.aborted
        stage.start()
        assert state(stage.listener) is State.LISTENING
        stage.connect()
        assert len(stage.listener.connections) == 1


class TestStop:
    def test_stopped(self) -> None:
        """There is nothing to wait for."""
        stage = Stage()
        assert result(stage.listener.stop()) is None
        assert stage.observer.events == []

    def test_idle(self, stage: Stage) -> None:
        """It waits for the port to close."""
        stopped = stage.listener.stop()
        assert state(stage.listener) is State.STOPPING
        assert result(stopped) is NOTHING
        stage.reactor.settle()
        assert state(stage.listener) is State.STOPPED
        assert stage.listener.address is None
        assert stage.observer.events[-1:] == [ListenerStopped("hall", "tcp:7000")]
        assert stage.reactor.getDelayedCalls() == []

    def test_connectionsClose(self, stage: Stage) -> None:
        """It waits for the connections too, which are closed when they are idle."""
        peers = [stage.connect(), stage.connect()]
        stopped = stage.listener.stop()
        stage.reactor.advance(FIRST_REQUEST - STEP)
        assert result(stopped) is NOTHING
        assert not any(peer.closed for peer in peers)
        stage.reactor.advance(STEP)
        assert result(stopped) is None
        assert all(peer.closed for peer in peers)
        assert [type(event) for event in stage.observer.events[-5:]] == [
            DrainStarted,
            ConnectionEnded,
            ConnectionEnded,
            DrainEnded,
            ListenerStopped,
        ]
        assert stage.reactor.getDelayedCalls() == []

    def test_grace(self, stage: Stage) -> None:
        """A connection that is not gone in time is aborted."""
        slow, other = stage.connect(), stage.connect()
        slow.pauseReading(window=1)
        for connection in stage.listener.connections:
            connection.write(b"much")
        stopped = stage.listener.stop(grace=3)
        stage.reactor.advance(2.9)
        assert result(stopped) is NOTHING
        assert other.closed
        assert not slow.aborted
        stage.reactor.advance(0.1)
        assert slow.aborted
        assert state(stage.listener) is State.STOPPED
        assert {each.reason for each in stage.observer.ofType(ConnectionEnded)} == {
            "closed",
            "aborted",
        }

    def test_defaultGrace(self, stage: Stage) -> None:
        """The limit for a drain holds when none is given."""
        stage.connect().pauseReading(window=1)
        [connection] = stage.listener.connections
        connection.write(b"much")
        stopped = stage.listener.stop()
        stage.reactor.advance(DEFAULT_LIMITS.drain)
        assert result(stopped) is None

    def test_drain(self) -> None:
        """A protocol that can say goodbye is asked to, and told until when."""

        @implementer(IDrainable)
        class Polite(Protocol):
            transport: Any

            def drainRequested(self, deadline: float) -> None:
                self.transport.write(b"bye in %d" % deadline)
                self.transport.loseConnection()

        stage = Stage(Quiet.forProtocol(Polite))
        stage.start()
        peer = stage.connect()
        peer.send(b"hello")
        stage.reactor.settle()
        stopped = stage.listener.stop(grace=30)
        stage.reactor.settle()
        assert peer.received == b"bye in 30"
        assert result(stopped) is None

    def test_drainThatRaises(self) -> None:
        """A protocol whose goodbye goes wrong loses its connection."""

        @implementer(IDrainable)
        class Broken(Protocol):
            def drainRequested(self, deadline: float) -> None:
                raise KeyError("goodbye")

        stage = Stage(Quiet.forProtocol(Broken))
        stage.start()
        peer = stage.connect()
        peer.send(b"hello")
        stage.reactor.settle()
        stopped = stage.listener.stop(grace=30)
        stage.reactor.settle()
        assert peer.aborted
        assert result(stopped) is None
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert raised.during == "drainRequested"

    def test_now(self, stage: Stage) -> None:
        """Nobody is spared, and nobody is waited for."""
        peer = stage.connect()
        stopped = stage.listener.stopNow()
        stage.reactor.settle()
        assert peer.aborted
        assert result(stopped) is None
        assert stage.observer.ofType(DrainEnded) == [DrainEnded("hall", 1, 0.0)]
        assert stage.reactor.getDelayedCalls() == []

    def test_nowWhileItDrains(self, stage: Stage) -> None:
        """A drain is over at once, and the first to ask hears of it, too."""
        peer = stage.connect()
        stopped = [stage.listener.drain()]
        stage.reactor.advance(1)
        stopped.append(stage.listener.stopNow())
        stage.reactor.settle()
        assert peer.aborted
        assert [result(each) for each in stopped] == [None, None]

    def test_suspendWhileItDrains(self, stage: Stage) -> None:
        """There is nothing to suspend, nor to resume."""
        stage.connect()
        stage.listener.drain()
        assert not stage.listener.canPause
        for verb in (stage.listener.suspend, stage.listener.resume):
            with pytest.raises(RuntimeError, match="cannot"):
                verb()
        stage.reactor.advance(FIRST_REQUEST)

    def test_twice(self, stage: Stage) -> None:
        """Whoever asks while it stops waits with the first."""
        stage.connect()
        stopped = [stage.listener.stop(), stage.listener.stop()]
        assert [result(each) for each in stopped] == [NOTHING, NOTHING]
        stopped.append(stage.listener.stop())
        stage.reactor.advance(FIRST_REQUEST)
        assert state(stage.listener) is State.STOPPED
        assert [result(each) for each in stopped[2:]] == [None]
        assert len(stage.observer.ofType(ListenerStopped)) == 1

    def test_startWhileStopping(self, stage: Stage) -> None:
        """It starts again when it has stopped."""
        stage.connect()
        stopped = stage.listener.stop()
        started = stage.listener.start()
        with pytest.raises(RuntimeError):
            stage.listener.suspend()
        assert (result(stopped), result(started)) == (NOTHING, NOTHING)
        stage.reactor.advance(FIRST_REQUEST)
        assert result(started) is None
        assert state(stage.listener) is State.LISTENING
        assert not stage.connect().closed

    def test_startTwice(self, stage: Stage) -> None:
        """What is open is not opened again."""
        with pytest.raises(RuntimeError, match="cannot start"):
            stage.listener.start()

    def test_producerThatRaises(self) -> None:
        """A bug in whoever writes keeps no connection, and no stop waits for it."""

        class Stuck(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.registerProducer(self, True)

            def stopProducing(self) -> None:
                raise ValueError("not now")

        stage = Stage(Quiet.forProtocol(Stuck))
        stage.start()
        peers = [stage.connect(), stage.connect()]
        peers[0].close()
        stage.reactor.settle()
        assert len(stage.listener.connections) == 1
        stopped = stage.listener.stop()
        stage.reactor.advance(DEFAULT_LIMITS.drain)
        assert result(stopped) is None
        during = [each.during for each in stage.observer.ofType(ProtocolRaised)]
        assert during == ["stopProducing"] * 2
        assert peers[1].closed

    def test_connectionThatCannotBeCut(self, stage: Stage) -> None:
        """Is given up, and the others are cut all the same."""
        for _ in range(2):
            stage.connect().pauseReading(window=1)
        broken, other = stage.listener.connections
        for connection in (broken, other):
            connection.write(b"much")

        def refuse() -> None:
            raise OSError("no")

        broken.abortConnection = refuse  # type: ignore[method-assign]
        stopped = stage.listener.stop()
        stage.reactor.advance(DEFAULT_LIMITS.drain)
        assert list(stage.listener.connections) == [broken]
        assert result(stopped) is NOTHING
        stage.reactor.advance(ABANDON)
        assert result(stopped) is None
        assert [each.during for each in stage.observer.ofType(ProtocolRaised)] == [
            "abortConnection"
        ]
        del broken.abortConnection
        broken.abortConnection()
        stage.reactor.settle()

    def test_protocolThatExits(self) -> None:
        """An exit is a bug like any other."""

        class Quitter(Protocol):
            def connectionLost(self, reason: object = None) -> None:
                raise SystemExit(1)

        stage = Stage(Quiet.forProtocol(Quitter))
        stage.start()
        stage.connect().close()
        stage.reactor.settle()
        assert not stage.listener.connections
        assert [each.during for each in stage.observer.ofType(ProtocolRaised)] == ["connectionLost"]

    def test_whileStarting(self) -> None:
        """A listener that is about to open closes as soon as it is open."""
        stage = Stage(wrapEndpoint=HeldEndpoint)
        stage.listener.start()
        stopped = stage.listener.stop()
        stage.reactor.settle()
        assert result(stopped) is NOTHING
        stage.opener.opening.callback(None)
        assert state(stage.listener) is State.STOPPING
        stage.reactor.settle()
        assert state(stage.listener) is State.STOPPED
        assert stage.endpoint.port is None
        assert [type(event) for event in stage.observer.events] == [
            ListenerStarted,
            ListenerStopped,
        ]

    def test_twiceWhileStarting(self) -> None:
        """Both wait until it is really closed, and it is closed once."""
        stage = Stage(wrapEndpoint=HeldEndpoint)
        stage.listener.start()
        fired: list[str] = []
        for name in ("first", "second"):
            stopped = stage.listener.stop()
            stopped.addCallback(lambda _, name: fired.append(name), name)
        stage.opener.opening.callback(None)
        assert fired == []
        stage.reactor.settle()
        assert fired == ["first", "second"]
        assert len(stage.observer.ofType(ListenerStopped)) == 1

    def test_whileStartingFails(self) -> None:
        """A listener that does not open is stopped."""
        stage = Stage(wrapEndpoint=HeldEndpoint)
        started = stage.listener.start()
        outcome: list[Any] = []
        started.addErrback(outcome.append)
        stopped = [stage.listener.stop(), stage.listener.stop()]
        stage.opener.opening.errback(KeyError("no"))
        assert [result(each) for each in stopped] == [None, None]
        assert outcome[0].check(KeyError)
        assert state(stage.listener) is State.STOPPED
        assert stage.observer.events == []

    def test_portThatFailsToClose(self, stage: Stage) -> None:
        """The connections end all the same, and it is said."""
        peer = stage.connect()
        port: Any = stage.listener._port

        def stopListening() -> None:
            raise OSError("stuck")

        port.stopListening = stopListening
        stopped = stage.listener.stop()
        stage.reactor.advance(FIRST_REQUEST)
        assert peer.closed
        assert result(stopped) is None
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert raised.during == "stopListening"

    def test_restart(self, stage: Stage) -> None:
        """A stopped listener starts again and serves."""
        for _ in range(3):
            peer = stage.connect()
            assert len(stage.listener.connections) == 1
            stage.listener.stop()
            stage.reactor.advance(FIRST_REQUEST)
            assert peer.closed
            assert stage.listener.connections == set()
            stage.start()

    def test_lateArrival(self, stage: Stage) -> None:
        """A wrapper that delays an arrival delivers it to a closed door."""
        factory: Any = stage.endpoint.port and stage.endpoint.port._factory
        stage.listener.stop()
        stage.reactor.settle()
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 50000))
        aborted: list[bool] = []

        class Transport:
            loseConnection = write = None

            def abortConnection(self) -> None:
                aborted.append(True)

        protocol.makeConnection(Transport())
        assert aborted == [True]
        assert stage.listener.connections == set()
        assert len(stage.observer.ofType(ConnectionRefused)) == 1


class TestLastArrivals:
    """Who waits in the backlog of a port that is about to close."""

    @pytest.fixture(autouse=True)
    def _backlog(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The kernel knows nothing of a backlog in memory.
        monkeypatch.setattr("myserv.server.stream.hasArrivals", lambda port: port.socket.readable)

    @pytest.mark.parametrize("suspended", [True, False])
    def test_served(self, suspended: bool) -> None:
        """They are let in, and get their answer."""

        class Shout(Protocol):
            transport: Any

            def dataReceived(self, data: bytes) -> None:
                self.transport.write(data.upper())

        stage = Stage(Quiet.forProtocol(Shout))
        stage.start()
        if suspended:
            stage.listener.suspend()
        peers = [stage.endpoint.connect() for _ in range(3)]
        for peer in peers:
            peer.send(b"hello")
        stopped = stage.listener.drain()
        stage.reactor.settle()
        assert [peer.received for peer in peers] == [b"HELLO"] * 3
        stage.reactor.advance(DRAIN_IDLE + STEP)
        assert result(stopped) is None
        assert all(peer.closed for peer in peers)

    def test_now(self, stage: Stage) -> None:
        """There is no time for them when everybody is cut."""
        peer = stage.endpoint.connect()
        stage.listener.stopNow()
        stage.reactor.settle()
        assert peer.aborted
        assert stage.observer.ofType(ConnectionStarted) == []

    def test_full(self, stage: Stage) -> None:
        """No more than there is room for."""
        port: Any = stage.listener._port
        accept = port.doRead

        def doRead() -> None:
            accept()
            stage.endpoint.connect()
            if len(stage.listener.connections) == 2:
                stage.listener._pause()

        port.doRead = doRead
        stage.endpoint.connect()
        stage.listener.drain()
        assert len(stage.listener.connections) == 2
        stage.reactor.advance(FIRST_REQUEST)

    def test_openedLater(self, stage: Stage) -> None:
        """A reactor may take some turns to make a connection of who was accepted."""
        port: Any = stage.listener._port
        port.fileno = lambda: 7
        accept = port.doRead

        def acceptLater() -> None:
            waiting, port.socket.backlog = port.socket.backlog, deque()
            stage.reactor.callLater(0, stage.reactor.callLater, 0, acceptNow, waiting)

        def acceptNow(waiting: Any) -> None:
            port.socket.backlog, port._isAccepting = waiting, True
            accept()

        port.doRead = acceptLater
        peers = [stage.endpoint.connect() for _ in range(3)]
        stopped = stage.listener.drain()
        stage.reactor.settle()
        assert len(stage.listener.connections) == 3
        assert result(stopped) is NOTHING
        assert stage.observer.ofType(DrainStarted) == []
        stage.reactor.advance(FIRST_REQUEST + STEP)
        assert result(stopped) is None
        assert all(peer.closed for peer in peers)
        assert stage.observer.ofType(DrainStarted) == [DrainStarted("hall", 3, 30.0)]

    def test_openedTooLate(self, stage: Stage) -> None:
        """Who gets a transport when the listener has stopped is cut."""
        peer = stage.connect()
        (connection,) = stage.listener.connections
        stage.listener.abandonAll()
        stage.listener.stop()
        stage.reactor.settle()
        assert state(stage.listener) is State.STOPPED
        stage.listener.connectionStarted(connection)
        stage.reactor.settle()
        assert peer.aborted
        assert stage.listener.connections == set()

    def test_endless(self, stage: Stage) -> None:
        """They cannot keep a listener from closing."""
        port: Any = stage.listener._port
        reads: list[None] = []
        port.doRead = lambda: reads.append(None)
        stage.endpoint.connect()
        stage.listener.drain()
        stage.reactor.settle()
        assert len(reads) == LAST_ACCEPTS
        assert state(stage.listener) is State.STOPPED

    def test_portOfAnotherKind(self, stage: Stage) -> None:
        """One that cannot be asked to accept is closed as it is."""

        class Port:
            """Pauses, and that is all."""

            def stopReading(self) -> None:
                """Do nothing."""

            def fileno(self) -> int:
                """Have no socket."""
                return -1

        stage.listener._port = Port()  # type: ignore[assignment]
        assert result(stage.listener.drain()) is None


def test_hasArrivals() -> None:
    """The kernel knows; without a socket nobody waits."""
    listening, connecting = socket.socket(), socket.socket()
    with listening, connecting:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert not hasArrivals(listening)
        connecting.connect(listening.getsockname())
        assert hasArrivals(listening)
    assert not hasArrivals(listening)


class TestStatistics:
    def test_life(self, stage: Stage) -> None:
        """What a listener did and does, at any moment."""
        first = stage.connect()
        stage.connect()
        first.send(b"hello")
        stage.reactor.settle()
        for connection in stage.listener.connections:
            connection.write(b"hi")
        first.close()
        stage.reactor.settle()
        assert stage.listener.statistics() == ListenerStatistics(
            service="hall",
            endpoint="tcp:7000",
            state="listening",
            address=IPv4Address("TCP", "198.51.100.1", 7000),
            connections=1,
            handshakes=0,
            started=2,
            refused={},
            bytesReceived=5,
            bytesSent=4,
            deadline=None,
        )
        stage.listener.drain(10)
        stage.reactor.advance(1)
        during = stage.listener.statistics()
        assert (during.state, during.deadline, during.left) == ("stopping", 9.0, 1)
        stage.reactor.advance(9)
        after = stage.listener.statistics()
        assert (after.state, after.deadline, after.left) == ("stopped", None, 0)
        assert (after.started, after.bytesReceived, after.bytesSent) == (2, 5, 4)

    def test_refused(self, stage: Stage) -> None:
        """Refusals are counted by their reason, and not by ever more of them."""
        for reason in ("full", "full", *map(str, range(2 * COUNTED_REASONS))):
            stage.listener.emit(ConnectionRefused("hall", None, reason))
        refused = stage.listener.statistics().refused
        assert refused["full"] == 2
        assert refused[OTHER] == COUNTED_REASONS + 1
        assert len(refused) == COUNTED_REASONS + 1


class TestFactory:
    def test_startsAndStops(self) -> None:
        """The service's factory hears when the endpoint opens and closes."""
        factory = Quiet()
        stage = Stage(factory)
        stage.start()
        assert factory.numPorts == 1
        stage.listener.stop()
        stage.reactor.settle()
        assert factory.numPorts == 0

    def test_declines(self) -> None:
        """A factory that builds nothing turns the arrival away."""
        factory = Quiet()
        factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        stage = Stage(factory)
        stage.start()
        peer = stage.connect()
        peer.send(b"hello?")
        stage.reactor.settle()
        assert peer.aborted
        assert stage.listener.connections == set()
        [refused] = stage.observer.ofType(ConnectionRefused)
        assert refused.peer == peer.address
        assert refused.reason == "the protocol's factory declined it"

    def test_raises(self) -> None:
        """A factory that raises loses this arrival, and the listener lives."""
        built: list[Any] = []

        class Sometimes(Quiet):
            def buildProtocol(self, addr: Any) -> Any:
                built.append(addr)
                if len(built) == 1:
                    raise KeyError("oops")
                return super().buildProtocol(addr)

        stage = Stage(Sometimes())
        stage.start()
        first, second = stage.connect(), stage.connect()
        assert first.aborted
        assert not second.aborted
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert (raised.during, raised.peer) == ("buildProtocol", first.address)
        assert raised.failure.check(KeyError)
        assert len(stage.observer.ofType(ConnectionStarted)) == 1

    def test_refusedOnPipe(self) -> None:
        """A transport that cannot abort is closed."""
        factory = Quiet()
        factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        stage = Stage(factory)
        closed: list[bool] = []

        class Pipe:
            def loseConnection(self) -> None:
                closed.append(True)

        refused = ConnectionFactory(stage.listener, factory).buildProtocol(None)
        refused.makeConnection(Pipe())
        refused.connectionMade()
        refused.dataReceived(b"ignored")
        refused.connectionLost(None)
        assert closed == [True]

    def test_negotiation(self) -> None:
        """TLS finds the names that the service's factory accepts."""

        @implementer(IProtocolNegotiationFactory)
        class Negotiates(Quiet):
            def acceptableProtocols(self) -> list[bytes]:
                return [b"h2"]

        listener = Stage().listener
        negotiating = ConnectionFactory(listener, Negotiates())
        assert IProtocolNegotiationFactory.providedBy(negotiating)
        assert negotiating.acceptableProtocols() == [b"h2"]
        assert not IProtocolNegotiationFactory.providedBy(ConnectionFactory(listener, Quiet()))

    def test_logPrefix(self) -> None:
        """Twisted's own lines name the service."""
        assert ConnectionFactory(Stage().listener, Quiet()).logPrefix() == "hall"

    def test_numbers(self) -> None:
        """Connections are numbered through, whichever listener has them."""
        first, second = Stage(), Stage()
        numbers = []
        for stage in (first, second):
            stage.start()
            stage.connect()
            numbers += [each.number for each in stage.observer.ofType(ConnectionStarted)]
        assert numbers[1] == numbers[0] + 1


def test_abstract() -> None:
    """The common half cannot open anything by itself."""
    listener = Listener("hall", "nowhere", SteppedReactor(), print)
    assert result(listener.start()).check(NotImplementedError)
    with pytest.raises(NotImplementedError):
        listener._finish()
    with pytest.raises(NotImplementedError):
        listener.statistics()
