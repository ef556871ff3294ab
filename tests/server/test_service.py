"""Services: what opens when, what closes again, and who is told."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from myserv.endpoints.farewell import LINGER
from myserv.errors import EndpointError, ListenError
from myserv.events import (
    DrainEnded,
    DrainStarted,
    ListenerFailed,
    ListenerStarted,
    ListenerStopped,
    ProtocolRaised,
    ServiceStarted,
    ServiceStopped,
)
from myserv.interfaces import IReloadable
from myserv.limits import DEFAULT_LIMITS
from myserv.server.datagram import DatagramListener
from myserv.server.drain import FIRST_REQUEST
from myserv.server.listener import Listener, State
from myserv.server.reflection import OwnSockets
from myserv.server.service import ProtocolService, Server, settle
from myserv.server.stream import StreamListener
from myserv.testing import (
    MemoryDatagramEndpoint,
    MemoryEndpoint,
    MemoryPeer,
    RecordingObserver,
    SteppedReactor,
)


class UnstartedReactor(SteppedReactor):
    """A reactor before it runs, as twistd's is while services open."""

    running = False

    def iterate(self, delay: float) -> None:
        """Let happen what is due."""
        self.turn()


@implementer(IStreamServerEndpoint)
class LateEndpoint:
    """An endpoint that opens, or fails, when the test says so."""

    def __init__(self, inner: MemoryEndpoint) -> None:
        self.inner = inner
        self.asked: Deferred[None] = Deferred()

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Promise to."""
        self.asked = Deferred()
        return self.asked.addCallback(lambda _: self.inner.listen(factory))


@implementer(IStreamServerEndpoint)
class BrokenEndpoint:
    """An endpoint that cannot be opened."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fail."""
        return fail(self.error)


IN_USE = CannotListenError("127.0.0.1", 7, OSError(errno.EADDRINUSE, "in use"))

REASON = "the address is in use: another program listens there"


class Stage:
    """A reactor, what became known, and services on it."""

    def __init__(self, reactor: SteppedReactor | None = None) -> None:
        self.reactor = reactor or SteppedReactor()
        self.observer = RecordingObserver()
        self.late: list[ListenError] = []

    def endpoint(self) -> MemoryEndpoint:
        """An endpoint of its own."""
        return MemoryEndpoint(self.reactor)

    def listener(self, endpoint: Any, name: str, factory: Any = None) -> Listener:
        """A listener on it."""
        return StreamListener(
            "echo",
            name,
            endpoint,
            factory or Factory.forProtocol(Protocol),
            self.reactor,
            self.observer.observe,
        )

    def service(self, *endpoints: Any, name: str = "echo") -> ProtocolService:
        """A service on endpoints that are called one, two and so on."""
        names = ("one", "two", "three")
        return ProtocolService(
            name,
            [self.listener(*each) for each in zip(endpoints, names, strict=False)],
            self.reactor,
            self.observer.observe,
            failedLate=self.late.append,
        )

    def happened(self) -> list[str]:
        """The names of the events since the last time, with their endpoint."""
        self.reactor.settle()
        return [
            " ".join([type(event).__name__, getattr(event, "endpoint", "")]).strip()
            for event in self.observer.take()
        ]


@pytest.fixture
def stage() -> Stage:
    """A stage of its own."""
    return Stage()


def test_opensInOrder(stage: Stage) -> None:
    """Endpoints open in the order asked for, and the service starts after the last."""
    service = stage.service(stage.endpoint(), stage.endpoint())
    service.startService()
    assert service.running
    assert stage.happened() == ["ListenerStarted one", "ListenerStarted two", "ServiceStarted"]


def test_startAfterPrivilegedOpensOnce(stage: Stage) -> None:
    """What was opened with privileges is not opened again without."""
    service = stage.service(stage.endpoint())
    service.privilegedStartService()
    assert not service.running
    service.startService()
    assert service.running
    assert stage.happened() == ["ListenerStarted one", "ServiceStarted"]


def test_stopAndStartAgain(stage: Stage) -> None:
    """A stopped service starts again, with privileges or without."""
    endpoint = stage.endpoint()
    service = stage.service(endpoint)
    for start in (service.startService, service.privilegedStartService, service.startService):
        start()
        assert endpoint.port is not None
        stopped = service.stopService()
        assert stage.happened() == [
            *("ListenerStarted one", "ServiceStarted"),
            *("ListenerStopped one", "ServiceStopped"),
        ]
        assert stopped.called
        assert endpoint.port is None
        assert not service.running


def test_stopTwice(stage: Stage) -> None:
    """Stopping what is stopped is nothing, and tells nobody."""
    service = stage.service(stage.endpoint())
    assert service.stopService().called
    service.startService()
    service.stopService()
    stage.happened()
    assert service.stopService().called
    assert stage.happened() == []


def test_stopWaitsForConnections(stage: Stage) -> None:
    """A service has stopped when its last connection is gone."""
    endpoint = stage.endpoint()
    service = stage.service(endpoint)
    service.startService()
    peer = endpoint.connect()
    # It hears the server's goodbye and does not leave.
    peer.stay()
    stage.reactor.settle()
    stopped = service.stopService()
    stage.reactor.settle()
    assert not stopped.called
    assert not stage.observer.ofType(ServiceStopped)
    # It might have asked for something, and then have gone.
    stage.reactor.advance(FIRST_REQUEST + LINGER)
    assert stopped.called
    assert stage.observer.ofType(ServiceStopped)


def busy(stage: Stage, endpoint: MemoryEndpoint) -> MemoryPeer:
    """A client that waits for an answer which does not come."""
    peer = endpoint.connect()
    peer.send(b"question")
    stage.reactor.settle()
    return peer


def test_drain(stage: Stage) -> None:
    """The connections of all endpoints leave in one drain, by one deadline."""
    one, two = stage.endpoint(), stage.endpoint()
    service = stage.service(one, two)
    service.startService()
    peers = [busy(stage, one), busy(stage, two)]
    stage.observer.take()
    drained = service.drain(2.0)
    stage.reactor.advance(1)
    assert not service.running
    assert service.statistics().deadline == 1.0
    assert service.statistics().left == 2
    stage.reactor.advance(1)
    assert drained.called
    assert all(peer.aborted for peer in peers)
    kinds = (DrainStarted, DrainEnded, ServiceStopped)
    assert [each for each in stage.observer.take() if isinstance(each, kinds)] == [
        DrainStarted("echo", 2, 2.0),
        DrainEnded("echo", 2, 2.0),
        ServiceStopped("echo"),
    ]


def test_drainLimit(stage: Stage) -> None:
    """A service that is stopped has as long as its limit says."""
    endpoint = stage.endpoint()
    service = stage.service(endpoint)
    service.startService()
    busy(stage, endpoint)
    service.stopService()
    assert service.statistics().deadline == DEFAULT_LIMITS.drain
    assert stage.service().drain().called


@pytest.mark.parametrize(("verb", "patience"), [("drain", 2.0), ("stop", 2.0), ("stopNow", 0.0)])
@pytest.mark.parametrize("ofServer", [True, False])
def test_drainAgain(stage: Stage, verb: str, patience: float, ofServer: bool) -> None:
    """A service that drains is done sooner when it is asked to; both who asked are told."""
    endpoint = stage.endpoint()
    service = stage.service(endpoint)
    whole = server(stage, service)
    whole.startService()
    peer = busy(stage, endpoint)
    drained = [whole.stopService()]
    stage.reactor.advance(1)
    ask = getattr(whole if ofServer else service, verb)
    drained.append(ask(patience) if patience else ask())
    stage.reactor.settle()
    if patience:
        stage.reactor.advance(patience - 0.1)
        assert not peer.aborted
        stage.reactor.advance(0.1)
    assert peer.aborted
    assert [each.called for each in drained] == [True, True]


def test_startWhileItDrains(stage: Stage) -> None:
    """A service that is started before the last has gone opens when the last has."""
    endpoint = stage.endpoint()
    service = stage.service(endpoint)
    service.startService()
    busy(stage, endpoint)
    service.drain(2.0)
    stage.reactor.advance(1)
    service.startService()
    stage.observer.take()
    stage.reactor.advance(1)
    assert service.running
    assert [type(each) for each in stage.observer.take()][-3:] == [
        ServiceStopped,
        ListenerStarted,
        ServiceStarted,
    ]


def test_suspendAndResume(stage: Stage) -> None:
    """All endpoints of all services, or none."""
    one, two = stage.endpoint(), stage.endpoint()
    first, second = stage.service(one, name="a"), stage.service(two, name="b")
    both = server(stage, first, second)
    both.startService()
    stage.reactor.settle()
    both.suspend()
    peers = [each.connect() for each in (one, two)]
    stage.reactor.settle()
    assert [each.left for each in both.statistics()] == [0, 0]
    assert [each.listeners[0].state for each in both.statistics()] == ["suspended"] * 2
    both.resume()
    stage.reactor.settle()
    assert [each.left for each in both.statistics()] == [1, 1]
    first.suspend()
    second.stopNow()
    stage.reactor.settle()
    for verb in ("suspend", "resume"):
        with pytest.raises(RuntimeError, match=f"cannot {verb}$"):
            getattr(both, verb)()
    assert first.listeners[0].state is State.SUSPENDED
    first.resume()
    assert not peers[0].closed
    assert peers[1].aborted


def test_statistics(stage: Stage) -> None:
    """A service says what it does, endpoint by endpoint."""
    service = stage.service(stage.endpoint(), stage.endpoint())
    assert (service.statistics().isRunning, service.statistics().deadline) == (False, None)
    service.startService()
    statistics = service.statistics()
    assert statistics.isRunning
    assert [each.endpoint for each in statistics.listeners] == ["one", "two"]
    assert [each.state for each in statistics.listeners] == ["listening"] * 2
    datagrams = DatagramListener(
        "echo",
        "three",
        MemoryDatagramEndpoint(stage.reactor),
        DatagramProtocol(),
        stage.reactor,
        stage.observer.observe,
        ownSockets=OwnSockets(),
    )
    datagrams.channel.bytesReceived = 5
    assert datagrams.statistics().bytesReceived == 5


@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
def test_failureClosesTheEarlierOnes(stage: Stage, method: str) -> None:
    """When one cannot be opened, those before it are closed and those after it left alone."""
    first, last = stage.endpoint(), stage.endpoint()
    service = stage.service(first, BrokenEndpoint(IN_USE), last)
    with pytest.raises(ListenError) as raised:
        getattr(service, method)()
    assert str(raised.value) == f"cannot listen on two: {REASON}"
    assert raised.value.__cause__ is IN_USE
    assert stage.happened() == ["ListenerStarted one", "ListenerFailed two", "ListenerStopped one"]
    assert first.port is last.port is None
    assert not service.running
    assert stage.late == []


def test_failureMayBeTriedAgain(stage: Stage) -> None:
    """A service that could not start starts when what kept it from that is gone."""
    endpoint = stage.endpoint()
    rival = stage.listener(endpoint, "rival")
    rival.start()
    service = stage.service(stage.endpoint(), endpoint)
    with pytest.raises(ListenError):
        service.startService()
    rival.stop()
    stage.happened()
    service.startService()
    assert service.running
    assert stage.happened() == ["ListenerStarted one", "ListenerStarted two", "ServiceStarted"]


def test_failureIsExplained(stage: Stage) -> None:
    """Whoever knows where an endpoint was asked for puts the error into words."""
    broken = stage.listener(BrokenEndpoint(IN_USE), "one")
    service = ProtocolService(
        "echo",
        [broken],
        stage.reactor,
        stage.observer.observe,
        lambda listener, text: ListenError(f"{listener.endpoint} at line 4: {text}"),
    )
    with pytest.raises(ListenError, match=f"^one at line 4: cannot listen on one: {REASON}$"):
        service.startService()


def test_failureBeforeTheReactorRuns() -> None:
    """Ports are closed when the error is raised, although no reactor runs yet."""
    stage = Stage(UnstartedReactor())
    first = stage.endpoint()
    service = stage.service(first, BrokenEndpoint(IN_USE))
    with pytest.raises(ListenError):
        service.privilegedStartService()
    assert first.port is None
    assert len(stage.observer.ofType(ListenerStopped)) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError: ValueError"),
        (OSError(errno.EACCES, "no"), "permission denied"),
        (EndpointError("no certificate"), "no certificate"),
    ],
)
def test_unexpectedFailureNamesItself(stage: Stage, error: Exception, reason: str) -> None:
    """An exception that nobody foresaw is told by its type, as its text may say nothing."""
    with pytest.raises(ListenError, match=f"^cannot listen on one: {reason}$"):
        stage.service(BrokenEndpoint(error)).startService()
    assert stage.observer.take() == [ListenerFailed("echo", "one", reason)]


class Forgetful(Factory):
    """A factory with a bug."""

    def startFactory(self) -> None:
        """Raise."""
        raise KeyError("rooms")


class ForgetfulDatagrams(DatagramProtocol):
    """A protocol with the same bug."""

    def startProtocol(self) -> None:
        """Raise."""
        raise KeyError("rooms")


def test_bugOfAFactoryIsShown(stage: Stage) -> None:
    """What raises in startFactory is the author's, who gets the traceback."""
    listener = stage.listener(stage.endpoint(), "one", Forgetful())
    service = ProtocolService("echo", [listener], stage.reactor, stage.observer.observe)
    with pytest.raises(ListenError, match=r"^cannot listen on one: KeyError: 'rooms'$"):
        service.startService()
    [raised] = stage.observer.ofType(ProtocolRaised)
    assert (raised.during, raised.peer) == ("startFactory", None)
    assert 'raise KeyError("rooms")' in raised.failure.getTraceback()
    assert stage.happened() == ["ProtocolRaised", "ListenerFailed one"]


def test_bugOfADatagramProtocolIsShown(stage: Stage) -> None:
    """What raises in startProtocol likewise."""
    listener = DatagramListener(
        "echo",
        "one",
        MemoryDatagramEndpoint(stage.reactor),
        ForgetfulDatagrams(),
        stage.reactor,
        stage.observer.observe,
        ownSockets=OwnSockets(),
    )
    service = ProtocolService("echo", [listener], stage.reactor, stage.observer.observe)
    with pytest.raises(ListenError, match=r"^cannot listen on one: KeyError: 'rooms'$"):
        service.startService()
    [raised] = stage.observer.ofType(ProtocolRaised)
    assert raised.during == "startProtocol"


# --- endpoints that take their time ------------------------------------------------


def test_lateOpening(stage: Stage) -> None:
    """A service starts when its last endpoint is open; start does not wait for it."""
    late = LateEndpoint(stage.endpoint())
    service = stage.service(late, stage.endpoint())
    service.privilegedStartService()
    service.startService()
    assert service.running
    assert stage.happened() == []
    late.asked.callback(None)
    assert stage.happened() == ["ListenerStarted one", "ListenerStarted two", "ServiceStarted"]
    assert stage.late == []


def test_lateFailure(stage: Stage) -> None:
    """A failure that nobody is left to be raised to is told to whoever asked for it."""
    first, late = stage.endpoint(), LateEndpoint(stage.endpoint())
    service = stage.service(first, late)
    service.startService()
    late.asked.errback(IN_USE)
    [error] = stage.late
    assert str(error) == f"cannot listen on two: {REASON}"
    assert stage.happened() == ["ListenerStarted one", "ListenerFailed two", "ListenerStopped one"]
    assert first.port is None
    assert service.stopService().called
    assert stage.happened() == []


def test_lateFailureOfWhomNobodyAsked(stage: Stage) -> None:
    """Without anybody to tell, the event is all there is."""
    late = LateEndpoint(stage.endpoint())
    service = ProtocolService(
        "echo", [stage.listener(late, "one")], stage.reactor, stage.observer.observe
    )
    service.startService()
    late.asked.errback(IN_USE)
    assert stage.observer.take() == [ListenerFailed("echo", "one", REASON)]


def test_stopWhileOpening(stage: Stage) -> None:
    """A service that is stopped while it opens opens nothing more, and never starts."""
    late, last = LateEndpoint(stage.endpoint()), stage.endpoint()
    service = stage.service(late, last)
    service.startService()
    stopped = service.stopService()
    assert not stopped.called
    late.asked.callback(None)
    assert stage.happened() == ["ListenerStarted one", "ListenerStopped one"]
    assert stopped.called
    assert not stage.reactor.getDelayedCalls()
    assert late.inner.port is last.port is None
    assert not service.running


def test_stopWhileOpeningThatThenFails(stage: Stage) -> None:
    """A failure after the stop ends nothing that has not ended."""
    late, last = LateEndpoint(stage.endpoint()), stage.endpoint()
    service = stage.service(late, last)
    service.startService()
    stopped = service.stopService()
    late.asked.errback(IN_USE)
    assert stage.happened() == ["ListenerFailed one"]
    assert stopped.called
    assert stage.late == []
    assert last.port is None
    assert all(each.state is State.STOPPED for each in service.listeners)


def test_endpointThatNeverOpens(stage: Stage) -> None:
    """An endpoint that takes for ever is given up when the grace of a stop is over."""
    late, last = LateEndpoint(stage.endpoint()), stage.endpoint()
    service = stage.service(late, last)
    service.startService()
    stopped = service.stopService()
    stage.reactor.advance(4.9)
    assert not stopped.called
    stage.reactor.advance(0.1)
    assert stopped.called
    assert stage.late == []
    assert stage.observer.take() == [
        ListenerFailed("echo", "one", "it was still opening when the service stopped")
    ]
    assert last.port is None
    assert not stage.reactor.getDelayedCalls()


def test_endpointThatNeverOpensAndNobodyWaits(stage: Stage) -> None:
    """It is given up by the deadline of the drain, if that is sooner."""
    service = stage.service(LateEndpoint(stage.endpoint()))
    service.startService()
    stopped = service.stopNow()
    stage.reactor.settle()
    assert stopped.called


def test_startAgainAfterStopWhileOpening(stage: Stage) -> None:
    """The attempt that was given up does not disturb the next."""
    late = LateEndpoint(stage.endpoint())
    service = stage.service(late)
    service.startService()
    service.stopService()
    late.asked.callback(None)
    stage.happened()
    service.startService()
    late.asked.callback(None)
    assert stage.happened() == ["ListenerStarted one", "ServiceStarted"]
    service.stopService()
    assert stage.happened() == ["ListenerStopped one", "ServiceStopped"]


# --- several services ------------------------------------------------------------------


def server(stage: Stage, *services: ProtocolService) -> Server:
    """A server of these."""
    made = Server(stage.reactor)
    for service in services:
        service.setServiceParent(made)
    return made


def test_serverOpensAllAndStopsAll(stage: Stage) -> None:
    """Every service opens with privileges, starts, and stops."""
    one, two = stage.endpoint(), stage.endpoint()
    both = server(stage, stage.service(one, name="a"), stage.service(two, name="b"))
    both.privilegedStartService()
    assert len(stage.observer.ofType(ServiceStarted)) == 2
    both.startService()
    assert len(stage.observer.ofType(ListenerStarted)) == 2
    assert both.getServiceNamed("a").running
    both.stopService()
    stage.reactor.settle()
    assert len(stage.observer.ofType(ServiceStopped)) == 2
    assert one.port is two.port is None


@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
@pytest.mark.parametrize("running", [True, False])
def test_failureOfOneServiceClosesTheOthers(method: str, running: bool) -> None:
    """When the second service cannot open, the first is closed again before anybody hears."""
    stage = Stage(None if running else UnstartedReactor())
    first, last = stage.endpoint(), stage.endpoint()
    three = server(
        stage,
        stage.service(first, name="a"),
        stage.service(BrokenEndpoint(IN_USE), name="b"),
        stage.service(last, name="c"),
    )
    with pytest.raises(ListenError, match="cannot listen on one"):
        getattr(three, method)()
    if running:
        stage.reactor.settle()
    assert first.port is last.port is None
    assert not three.running
    assert not any(service.running for service in three)
    assert [event.service for event in stage.observer.ofType(ServiceStopped)] == ["a"]


def test_settleGivesUp() -> None:
    """What never fires keeps no program from ending."""
    turns: list[float] = []

    class Endless:
        running = False

        def iterate(self, delay: float) -> None:
            turns.append(delay)

    settle(Deferred(), Endless())
    assert set(turns) == {0}
    assert len(turns) == 1000


def test_reloadReachesTheLayers(stage: Stage) -> None:
    """What may have changed is read again in every layer that reads anything."""
    reloaded: list[str] = []

    @implementer(IReloadable)
    class Fresh(Factory):
        """A layer that reads files."""

        def __init__(self, name: str, wrapped: IProtocolFactory) -> None:
            self.name = name
            self.wrappedFactory = wrapped

        def reload(self) -> None:
            """Read them."""
            reloaded.append(self.name)

    class Stale(Factory):
        """A layer that reads none."""

        def __init__(self, wrapped: IProtocolFactory) -> None:
            self.wrappedFactory = wrapped

    listener = StreamListener(
        "echo",
        "one",
        MemoryEndpoint(stage.reactor),
        Factory(),
        stage.reactor,
        stage.observer.observe,
        lambda context, factory, gate: gate(Fresh("outer", Stale(Fresh("inner", factory)))),
    )
    server = Server(stage.reactor)
    service = ProtocolService("echo", [listener], stage.reactor, stage.observer.observe)
    service.setServiceParent(server)
    Service().setServiceParent(server)
    server.reload()
    assert reloaded == ["outer", "inner"]
    assert server.describe() == "serving echo on 1 endpoint(s)"


def test_limitsWithoutAdmission(stage: Stage) -> None:
    """A service whose listeners decide each on their own has none to change."""
    service = stage.service(stage.endpoint())
    service.applyLimits(DEFAULT_LIMITS)
    assert stage.observer.take() == []
