"""
An endpoint, and the verbs of its life: start, suspend, resume, stop.
"""

from __future__ import annotations

import enum
import itertools
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
from myserv.server.gate import GateFactory
from myserv.server.refused import REFUSED

STOP_GRACE: Final = 5.0
"""Seconds that connections have to end by themselves once a listener stops;
Ranch's default for the same is 5 s."""

ABANDON: Final = 1.0
"""Seconds that an aborted connection has to be gone; it takes one turn of the
reactor, unless a bug is in the way."""

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
        self.emit = emit
        self.state = State.STOPPED
        self.address: IAddress | None = None
        self._port: IListeningPort | None = None
        self._grace = STOP_GRACE
        self._stopping: list[Deferred[None]] = []
        self._handshaking: set[IAbortable] = set()
        #: What the endpoint is opened with: the layers, around our own part.
        self._outermost: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service} {self.endpoint} {self.state.value}>"

    # What the endpoint's layers ask of it.

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

    def _finish(self, grace: float) -> Deferred[None]:
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
        if self._stopping:
            self._close(self._grace)

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

    def stop(self, grace: float = STOP_GRACE) -> Deferred[None]:
        """
        Close the endpoint and end its connections.

        Args:
            grace: Seconds that connections have to flush and close before
                they are aborted.

        Returns:
            Fires when the socket is closed and the last connection is gone.
            Stopping a stopped listener fires at once; calling it again while
            it stops joins the wait.
        """
        if self.state is State.STOPPED:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._stopping.append(waiting)
        if self.state is State.STARTING:
            self._grace = grace
        elif self.state is not State.STOPPING:
            self._close(grace)
        return waiting

    def _close(self, grace: float) -> None:
        self.state = State.STOPPING
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._isFull = False
        port, self._port = self._port, None
        stopListening = getattr(port, "stopListening", lambda: None)
        closing = maybeDeferred(stopListening)
        closing.addErrback(self._closeFailed)
        closing.addCallback(self._abortHandshakes)
        closing.addCallback(lambda _: self._finish(grace))
        closing.addCallback(lambda _: self.emit(ListenerStopped(self.service, self.endpoint)))
        closing.addBoth(lambda _: self._closed())

    def _abortHandshakes(self, result: object) -> None:
        for layer in list(self._handshaking):
            layer.abortConnection()

    def _closeFailed(self, failure: Failure) -> None:
        # The connections have to end all the same.
        self.emit(ProtocolRaised(self.service, None, "stopListening", failure))

    def _closed(self) -> None:
        self.state = State.STOPPED
        self.address = None
        waiting, self._stopping = self._stopping, []
        for each in waiting:
            each.callback(None)


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
        self._outermost = wrap(self, ConnectionFactory(self, factory), self._gate)
        self._lastGone: Deferred[None] | None = None

    @property
    def limits(self) -> Limits:
        """What the peers may do, at this moment."""
        return self.admission.limits

    def limitsChanged(self) -> None:
        """
        Other limits are in force.
        """
        self.deadlines.checkAll()

    def _gate(self, factory: IProtocolFactory) -> IProtocolFactory:
        return GateFactory(self, self.admission, factory)

    def _open(self) -> Deferred[IListeningPort]:
        return self._opener.listen(self._outermost)

    def _finish(self, grace: float) -> Deferred[None]:
        if not self.connections:
            return succeed(None)
        gone = self._lastGone = Deferred()
        later = self.reactor.callLater
        timers = [later(grace, self._abortAll), later(grace + ABANDON, self._abandonAll)]
        for connection in list(self.connections):
            connection.sayGoodbye(grace)

        def cancel(result: None) -> None:
            for timer in timers:
                if timer.active():
                    timer.cancel()

        return gone.addCallback(cancel)

    def _abortAll(self) -> None:
        for connection in list(self.connections):
            try:
                connection.abortConnection()
            except Exception:  # noqa: BLE001 - one that cannot be cut must not keep the others
                self.emit(
                    ProtocolRaised(self.service, connection.peer, "abortConnection", Failure())
                )

    def _abandonAll(self) -> None:
        # Something keeps them from ending, and nobody waits for that for ever.
        for connection in list(self.connections):
            self.connectionEnded(connection)

    def connectionStarted(self, connection: Connection) -> None:
        """
        A connection has its transport.
        """
        self.connections.add(connection)

    def connectionEnded(self, connection: Connection) -> None:
        """
        A connection has lost its transport.
        """
        self.connections.discard(connection)
        if not self.connections and self._lastGone is not None:
            gone, self._lastGone = self._lastGone, None
            gone.callback(None)


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
        if listener.state in (State.STOPPING, State.STOPPED):
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
        return Connection(listener, protocol, next(_numbers))
