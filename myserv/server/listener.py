"""
An endpoint, and the verbs of its life: start, suspend, resume, drain, stop.
"""

from __future__ import annotations

import enum
import itertools
import random
import select
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from myserv.admission.server import ServerAdmission
from myserv.admission.service import Admission
from myserv.events import (
    ConnectionRefused,
    Event,
    ListenerResumed,
    ListenerStarted,
    ListenerStopped,
    ListenerSuspended,
    Offence,
    Peer,
    ProtocolRaised,
)
from myserv.interfaces import IAbortable, IListenerContext, IReloadable
from myserv.limits import DEFAULT_LIMITS, Limits
from myserv.server.connection import Connection
from myserv.server.deadlines import Deadlines
from myserv.server.drain import Drain, drainSeconds
from myserv.server.gate import GateFactory
from myserv.server.patience import firstLook
from myserv.server.refused import REFUSED
from myserv.server.statistics import ListenerStatistics

STOP_GRACE: Final = 5.0
"""Seconds that what is in the way of a start, or of a test's end, is waited for: an
endpoint that is still opening, or a connection.  Ranch's default for the latter is 5 s."""

LAST_ACCEPTS: Final = 64
"""Times that a port which is about to close is asked to accept whoever waits: each time
it accepts more, so that is a whole backlog of 4096."""

OPENING: Final = 0.01
"""Seconds that are waited, twice, for those who were accepted last: a reactor may hand
them their transports a turn later, and a timer that is late comes before that."""

COUNTED_REASONS: Final = 64
"""Reasons of refusals that are counted each on its own; ours are a dozen, and a third
party's may have an address in each."""

OTHER: Final = "another reason"
"""What the rest is counted as."""

Penalize = Callable[[str, Peer, str, Offence], None]
"""Counts misbehaviour: of whose service, of whom, what, and of which kind."""

_numbers = itertools.count(1)


class State(enum.Enum):
    """Where a listener is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    LISTENING = "listening"
    SUSPENDED = "suspended"
    STOPPING = "stopping"


class PausablePort(Protocol):
    """What the ports of Twisted's reactors can do beside C{IListeningPort}."""

    def stopReading(self) -> None:
        """Accept nothing more; what arrives waits in the kernel."""

    def startReading(self) -> None:
        """Accept again."""


def hasArrivals(port: Any) -> bool:
    """
    Say whether somebody waits in the backlog of a port.
    """
    descriptor = port.fileno()
    if descriptor < 0:
        # It has no socket, so there is no kernel that lets anybody wait.
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


@implementer(IListenerContext)
class Listener:
    """
    One endpoint of one service, open or not.

    This half knows the states; L{StreamListener} and
    L{myserv.server.datagram.DatagramListener} know what comes through.

    @ivar service: The service's name.
    @ivar endpoint: The endpoint string, in its canonical form.
    @ivar state: A L{State}.
    @ivar address: What the socket is bound to while it is open.
    @ivar jitter: Returns a number from 0 to 1 at random, for the turns of a drain.
    """

    def __init__(
        self,
        service: str,
        endpoint: str,
        reactor: Any,
        emit: Callable[[Event], None],
        admission: Admission | None = None,
        penalize: Penalize | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if admission is None:
            alone = ServerAdmission(reactor.seconds, emit)
            admission, penalize = alone.service(service, limits), alone.penalize
        self.admission = admission
        self._penalize = penalize
        self._unwatch: Callable[[], None] | None = None
        self._isFull = False
        self.service = service
        self.endpoint = endpoint
        self.reactor = reactor
        self._emit = emit
        self._refused: Counter[str] = Counter()
        self.state = State.STOPPED
        self.address: IAddress | None = None
        self.jitter: Callable[[], float] = random.random
        self._port: IListeningPort | None = None
        #: How it stops, from when it is asked to.
        self._drain: Drain | None = None
        self._stopping: list[Deferred[None]] = []
        self._handshaking: set[IAbortable] = set()
        #: What the endpoint is opened with: the layers, around our own part.
        self._outermost: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service} {self.endpoint} {self.state.value}>"

    # What the endpoint's layers ask of it.

    def emit(self, event: Event) -> None:
        """
        Make a fact known to logs, metrics and consoles.
        """
        if type(event) is ConnectionRefused:
            reason = event.reason
            if reason not in self._refused and len(self._refused) >= COUNTED_REASONS:
                reason = OTHER
            self._refused[reason] += 1
        self._emit(event)

    def penalize(self, peer: Peer, reason: str, offence: Offence = Offence.PROTOCOL) -> None:
        """
        Count misbehaviour against a peer.
        """
        if self._penalize is not None:
            self._penalize(self.service, peer, reason, offence)

    def handshakeStarted(self, layer: IAbortable) -> None:
        """
        A peer is connected and has no protocol yet.
        """
        self._handshaking.add(layer)

    def handshakeEnded(self, layer: IAbortable) -> None:
        """
        The peer has a protocol now, or is gone.
        """
        self._handshaking.discard(layer)

    # What the two kinds differ in.

    def limitsChanged(self) -> None:
        """
        Other limits are in force.
        """

    def _open(self) -> Deferred[IListeningPort]:
        raise NotImplementedError

    def _finish(self) -> Deferred[None]:
        raise NotImplementedError

    def _traffic(self) -> tuple[int, int, int, int]:
        # Connections now, connections ever, bytes received, bytes sent.
        raise NotImplementedError

    # The verbs.

    def start(self) -> Deferred[None]:
        """
        Open the endpoint.

        Returns:
            Fires when it is open, or fails with what kept it from opening; the
            listener is then stopped, and may be started again.

        One that is stopping starts when it has stopped.

        Raises:
            RuntimeError: It is open already.
        """
        if self.state is State.STOPPING:
            stopped: Deferred[None] = Deferred()
            self._stopping.append(stopped)
            return stopped.addCallback(lambda _: self.start())
        if self.state is not State.STOPPED:
            raise RuntimeError(f"{self!r} cannot start")
        self.state = State.STARTING
        opening = maybeDeferred(self._open).addCallbacks(self._opened, self._notOpened)
        return opening.addCallback(self._stopIfAsked)

    def _opened(self, port: IListeningPort) -> None:
        self._port = port
        self.state = State.LISTENING
        # Twisted's stdio "port" is a connection and has no address of its own.
        getHost = getattr(port, "getHost", None)
        self.address = getHost() if getHost is not None else None
        self._unwatch = self.admission.watch(self._pause, self._resume)
        self.emit(ListenerStarted(self.service, self.endpoint, self.address))

    def _notOpened(self, failure: Failure) -> Failure:
        self._closed()
        return failure

    def _stopIfAsked(self, _: None) -> None:
        # Somebody did while the endpoint was opening.
        if self._drain is not None:
            self._close(self._drain)

    def suspend(self) -> None:
        """
        Accept nothing new until L{resume}; connections live on.

        What arrives waits in the kernel's backlog, so pressure reaches the
        peers.  A listener that is already suspended stays so.

        Raises:
            RuntimeError: It is not open, or its port cannot pause.
        """
        if self.state is State.SUSPENDED:
            return
        port = self._pausable(State.LISTENING, "suspend")
        if not self._isFull:
            port.stopReading()
        self.state = State.SUSPENDED
        self.emit(ListenerSuspended(self.service, self.endpoint))

    def resume(self) -> None:
        """
        Accept again, what waited in the backlog first.

        Raises:
            RuntimeError: It was not suspended.
        """
        if self.state is State.LISTENING:
            return
        port = self._pausable(State.SUSPENDED, "resume")
        if not self._isFull:
            port.startReading()
        self.state = State.LISTENING
        self.emit(ListenerResumed(self.service, self.endpoint))

    def _pause(self) -> None:
        # There is no room: what arrives waits in the kernel.
        self._isFull = True
        if self.state is State.LISTENING and hasattr(self._port, "stopReading"):
            cast(PausablePort, self._port).stopReading()

    def _resume(self) -> None:
        self._isFull = False
        if self.state is State.LISTENING and hasattr(self._port, "startReading"):
            cast(PausablePort, self._port).startReading()

    def _pausable(self, expected: State, verb: str) -> PausablePort:
        if self.state is not expected or not hasattr(self._port, "stopReading"):
            raise RuntimeError(f"{self!r} cannot {verb}")
        return cast(PausablePort, self._port)

    def reload(self) -> None:
        """
        Let the endpoint's layers read again what may have changed.
        """
        layer = self._outermost
        while layer is not None:
            if IReloadable.providedBy(layer):
                layer.reload()
            inner = getattr(layer, "wrappedProtocol", None)
            layer = getattr(layer, "wrappedFactory", inner)

    def release(self) -> Deferred[None]:
        """
        Close the socket, because another endpoint wants its place; who is connected
        stays.  L{reopen} opens it again, and L{stop} goes on from here.

        Returns:
            Fires when it is closed.
        """
        port, self._port = self._port, None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._isFull = False
        return maybeDeferred(getattr(port, "stopListening", lambda: None))

    def reopen(self) -> Deferred[None]:
        """
        Open the socket again after L{release}.

        Returns:
            Fires when it is open, or fails with what kept it from opening.
        """
        return maybeDeferred(self._open).addCallback(self._opened)

    @property
    def canPause(self) -> bool:
        """It is open, and its port can L{suspend}."""
        isOpen = self.state in (State.LISTENING, State.SUSPENDED)
        return isOpen and hasattr(self._port, "stopReading")

    def drain(self, deadline: float | None = None) -> Deferred[None]:
        """
        Close the endpoint, and send those who are connected away politely.

        Whoever waits in the backlog is let in first; then nobody is.  A protocol that
        is L{IDrainable} is asked to say goodbye, any other connection is closed when
        nothing is under way on it, and who is left at the deadline is cut.  See
        L{myserv.server.drain}.

        Args:
            deadline: Seconds until whoever is left is cut; 0: everybody is, at once.
                C{None}: what the limit C{drain} says.

        Returns:
            Fires when the socket is closed and the last connection is gone, at once
            where nothing is open.  When it drains already, this joins the wait, and
            the earlier of the deadlines holds.
        """
        seconds = drainSeconds(self.admission.limits) if deadline is None else deadline
        return self.leave(Drain(self.service, self.reactor, self._emit, seconds, self.jitter))

    def stop(self, grace: float | None = None) -> Deferred[None]:
        """
        The same as L{drain}: there is no impolite way but L{stopNow}.

        Args:
            grace: The deadline.
        """
        return self.drain(grace)

    def stopNow(self) -> Deferred[None]:
        """
        Close the endpoint and cut every connection.
        """
        return self.drain(0.0)

    def leave(self, drain: Drain) -> Deferred[None]:
        """
        Stop by taking part in a drain.

        Args:
            drain: One that several listeners may share.

        Returns:
            See L{drain}.
        """
        if self.state is State.STOPPED:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._stopping.append(waiting)
        if self._drain is not None:
            self._drain.shorten(drain.end)
        else:
            self._drain = drain
            if self.state is not State.STARTING:
                self._close(drain)
        return waiting

    def _close(self, drain: Drain) -> None:
        self.state = State.STOPPING
        port, self._port = self._port, None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._isFull = False
        stopListening = getattr(port, "stopListening", lambda: None)
        closing = maybeDeferred(stopListening)
        closing.addErrback(self._closeFailed)
        closing.addCallback(lambda _: self._finish())
        closing.addCallback(self._ended)
        closing.addBoth(lambda _: self._closed())

    def _ended(self, _: None) -> None:
        self.emit(ListenerStopped(self.service, self.endpoint))

    def _closeFailed(self, failure: Failure) -> None:
        # The connections have to end all the same.
        self.emit(ProtocolRaised(self.service, None, "stopListening", failure))

    def _closed(self) -> None:
        self.state = State.STOPPED
        self.address = None
        self._drain = None
        waiting, self._stopping = self._stopping, []
        for each in waiting:
            each.callback(None)

    def statistics(self) -> ListenerStatistics:
        """
        Say what it is doing at this moment.
        """
        connections, started, bytesReceived, bytesSent = self._traffic()
        drain = self._drain
        return ListenerStatistics(
            service=self.service,
            endpoint=self.endpoint,
            state=self.state.value,
            address=self.address,
            connections=connections,
            handshakes=len(self._handshaking),
            started=started,
            refused=dict(self._refused),
            bytesReceived=bytesReceived,
            bytesSent=bytesSent,
            deadline=None if drain is None else max(0.0, drain.end - self.reactor.seconds()),
        )


Gate = Callable[[IProtocolFactory], IProtocolFactory]
"""Puts the question of admission in front of a factory."""


def _bare(context: IListenerContext, factory: IProtocolFactory, gate: Gate) -> IProtocolFactory:
    return gate(factory)


class StreamListener(Listener):
    """
    A listener of connections.

    @ivar connections: Those that are open now.
    @ivar reportsConnections: Somebody wants to know of each.
    @ivar deadlines: When to look at which of them.
    @ivar firstLook: Seconds after its start when one is first looked at.
    """

    def __init__(
        self,
        service: str,
        endpoint: str,
        opener: IStreamServerEndpoint,
        factory: IProtocolFactory,
        reactor: Any,
        emit: Callable[[Event], None],
        wrap: Callable[[IListenerContext, IProtocolFactory, Gate], IProtocolFactory] = _bare,
        *,
        admission: Admission | None = None,
        penalize: Penalize | None = None,
        reportsConnections: bool = True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            service: The service's name.
            endpoint: The endpoint string, for people.
            opener: The endpoint itself.
            factory: Builds the service's protocols.
            reactor: Tells the time.
            emit: Takes the events.
            wrap: Puts the endpoint's wrappers, and the gate, between the
                connections and the wire.
            admission: Decides who may connect; without one, the limits do.
            penalize: Counts misbehaviour.
            reportsConnections: Somebody wants to know of each connection.
            limits: Those of a listener that has no admission in common with others.
        """
        super().__init__(service, endpoint, reactor, emit, admission, penalize, limits)
        self._opener = opener
        self.connections: set[Connection] = set()
        self.reportsConnections = reportsConnections
        self.deadlines = Deadlines(reactor)
        self.firstLook = firstLook(self.limits)
        self._outermost = wrap(self, ConnectionFactory(self, factory), self._gate)
        self._lastGone: Deferred[None] | None = None
        self._started = 0
        #: Some were accepted last, and perhaps have no transport yet.
        self._isOpening = False
        #: Of those that are gone.
        self._bytesReceived = 0
        self._bytesSent = 0

    @property
    def limits(self) -> Limits:
        """What the peers may do, at this moment."""
        return self.admission.limits

    def limitsChanged(self) -> None:
        """
        Other limits are in force.
        """
        self.firstLook = firstLook(self.limits)
        now = self.reactor.seconds()
        # All of them: there may have been nothing to look at before.
        for connection in list(self.connections):
            self.deadlines.watch(connection, connection.checkDeadlines(now))

    def _gate(self, factory: IProtocolFactory) -> IProtocolFactory:
        return GateFactory(self, self.admission, factory)

    def _open(self) -> Deferred[IListeningPort]:
        return self._opener.listen(self._outermost)

    # How it ends.

    def _close(self, drain: Drain) -> None:
        port: Any = self._port
        isHasty = drain.end <= self.reactor.seconds() or not self.canPause
        if not isHasty and not self._isFull:
            self._acceptLast(port)
        if isHasty or not self._mayBeOpening(port):
            drain.add(self)
        else:
            self._isOpening = True
            self.reactor.callLater(OPENING, self.reactor.callLater, OPENING, self._haveOpened)
        super()._close(drain)

    def _mayBeOpening(self, port: Any) -> bool:
        # Only a socket has somebody without a transport, and only while the reactor
        # runs does it get one.
        return port.fileno() >= 0 and getattr(self.reactor, "running", True)

    def _haveOpened(self) -> None:
        self._isOpening = False
        assert self._drain is not None
        self._drain.add(self)

    def release(self) -> Deferred[None]:
        """
        See L{Listener.release}; whoever waits in the backlog is let in first.
        """
        if self.canPause and not self._isFull:
            self._acceptLast(self._port)
        return super().release()

    def _acceptLast(self, port: Any) -> None:
        # The kernel resets whoever waits in the backlog of a socket that closes; a
        # suspended listener has made them wait, and one that listens may not have
        # had its turn yet.  A port that accepts in another way has no doRead.
        if not hasattr(port, "doRead"):
            return
        port.startReading()
        for _ in range(LAST_ACCEPTS):
            # Admission may have found that there is no room for more.
            if self._isFull or not hasArrivals(port):
                return
            port.doRead()

    def _ended(self, _: None) -> None:
        assert self._drain is not None
        self._drain.remove(self)
        super()._ended(None)

    def _finish(self) -> Deferred[None]:
        gone = self._lastGone = Deferred()
        self.checkGone()
        return gone

    @property
    def isLeaving(self) -> bool:
        """Those who are there are being sent away, and there is time for it."""
        drain = self._drain
        return self.state is State.STOPPING and drain is not None and not drain.isOver

    @property
    def left(self) -> int:
        """How many are connected, those in a handshake too."""
        return len(self.connections) + len(self._handshaking)

    def checkGone(self) -> None:
        """
        Stop, if the port is closed and the last connection gone.
        """
        if self._lastGone is not None and not self.left and not self._isOpening:
            gone, self._lastGone = self._lastGone, None
            gone.callback(None)

    def abortAll(self) -> None:
        """
        Cut everybody who is there, in a handshake or past it.
        """
        everybody: list[Any] = [*self._handshaking, *self.connections]
        for each in everybody:
            try:
                each.abortConnection()
            except Exception:  # noqa: BLE001 - one that cannot be cut must not keep the others
                peer = getattr(each, "peer", None)
                self.emit(ProtocolRaised(self.service, peer, "abortConnection", Failure()))

    def abandonAll(self) -> None:
        """
        Forget whoever is still there.
        """
        # Something keeps them from ending, and nobody waits for that for ever.
        self._handshaking.clear()
        for connection in list(self.connections):
            self.connectionEnded(connection)

    # What comes and goes.

    def handshakeEnded(self, layer: IAbortable) -> None:
        """
        The peer has a protocol now, or is gone.
        """
        super().handshakeEnded(layer)
        if self._drain is not None:
            # Later: it may be about to have its protocol.
            self._drain.wake()

    def connectionStarted(self, connection: Connection) -> None:
        """
        A connection has its transport.
        """
        self.connections.add(connection)
        self._started += 1
        if self.state is State.STOPPED:
            # Its transport came when nobody was waited for any more.
            self.reactor.callLater(0, connection.abortConnection)
        elif self._drain is not None and not self._isOpening:
            self._drain.connectionStarted(connection)

    def connectionEnded(self, connection: Connection) -> None:
        """
        A connection has lost its transport.
        """
        if connection in self.connections:
            self.connections.remove(connection)
            self._bytesReceived += connection.bytesReceived
            self._bytesSent += connection.bytesSent
        self.checkGone()

    def _traffic(self) -> tuple[int, int, int, int]:
        received, sent = self._bytesReceived, self._bytesSent
        for each in self.connections:
            received += each.bytesReceived
            sent += each.bytesSent
        return len(self.connections), self._started, received, sent


class ConnectionFactory(Factory):
    """
    Puts a L{Connection} between each transport and its protocol.
    """

    noisy = False

    def __init__(self, listener: StreamListener, factory: IProtocolFactory) -> None:
        self._listener = listener
        self._factory = factory
        if IProtocolNegotiationFactory.providedBy(factory):
            # TLS asks for the ALPN names here.
            alsoProvides(self, IProtocolNegotiationFactory)
            self.acceptableProtocols = factory.acceptableProtocols

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.
        """
        return self._listener.service

    def startFactory(self) -> None:
        """
        The endpoint opens.
        """
        self._factory.doStart()

    def stopFactory(self) -> None:
        """
        The endpoint closes.
        """
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """
        Build the protocol of an arrival, or turn the arrival away.
        """
        listener = self._listener
        isClosed = listener.state in (State.STOPPING, State.STOPPED)
        if isClosed and not listener.isLeaving:
            # It got in before, and a preamble kept it until now.
            listener.emit(ConnectionRefused(listener.service, addr, "the listener has closed"))
            return REFUSED
        try:
            protocol: IProtocol | None = self._factory.buildProtocol(addr)
        except BaseException:  # noqa: BLE001 - the author's bug, which costs this arrival only
            listener.emit(ProtocolRaised(listener.service, addr, "buildProtocol", Failure()))
            return REFUSED
        if protocol is None:
            reason = "the protocol's factory declined it"
            listener.emit(ConnectionRefused(listener.service, addr, reason))
            return REFUSED
        return Connection(listener, protocol, next(_numbers), addr)
