"""
A listener of connections, and what puts a L{Connection} between transport and protocol.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import providedBy

from myserv.admission.service import Admission
from myserv.endpoints.outer import OuterFactory
from myserv.events import (
    ConnectionRefused,
    Event,
    ProtocolRaised,
)
from myserv.interfaces import IAbortable, IListenerContext
from myserv.limits import DEFAULT_LIMITS, Limits
from myserv.server.connection import Connection
from myserv.server.deadlines import Deadlines
from myserv.server.delegation import GenericConnection, connectionLike
from myserv.server.drain import Drain
from myserv.server.gate import GateFactory
from myserv.server.listener import Listener, Penalize, State
from myserv.server.patience import firstLook
from myserv.server.refused import REFUSED

LAST_ACCEPTS: Final = 64
"""Times that a port which is about to close is asked to accept whoever waits: each time
it accepts more, so that is a whole backlog of 4096."""

OPENING: Final = 0.01
"""Seconds that are waited, twice, for those who were accepted last: a reactor may hand
them their transports a turn later, and a timer that is late comes before that."""

KINDS: Final = 16
"""Kinds of connections that have a class of their own: a factory may build protocols that
provide one thing or another, and hardly more than a few."""

_numbers = itertools.count(1)

# To look a member of an enumeration up costs more than to compare it.
_STOPPING: Final = State.STOPPING
_STOPPED: Final = State.STOPPED


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


Gate = Callable[[IProtocolFactory], IProtocolFactory]
"""Puts the question of admission in front of a factory."""


def _bare(context: IListenerContext, factory: IProtocolFactory, gate: Gate) -> IProtocolFactory:
    return gate(factory)


class StreamListener(Listener):
    """
    A listener of connections.

    @ivar connections: Those that are open now.
    @ivar connectionTypes: The classes of connections, by what their protocols provide.
    @ivar reportsConnections: Somebody wants to know of each.
    @ivar deadlines: When to look at which of them.
    @ivar firstLook: Seconds after its start when one is first looked at.
    @ivar watchesUnestablished: What one sends before it is established is limited.
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
        self.connectionTypes: dict[Any, type[Connection]] = {}
        self.deadlines = Deadlines(reactor)
        self._takeLimits()
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
        self._takeLimits()
        now = self.reactor.seconds()
        # All of them: there may have been nothing to look at before.
        for connection in list(self.connections):
            self.deadlines.watch(connection, connection.checkDeadlines(now))

    def _takeLimits(self) -> None:
        self.firstLook = firstLook(self.limits)
        self.watchesUnestablished = bool(self.limits.maxUnestablished)

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

    def kindUnknown(self, connection: Connection) -> None:
        """
        A connection's class was not made for its transport.
        """
        if type(connection) is not GenericConnection:
            # It is not of the kind that the first one was.
            connection.__class__ = GenericConnection
            return
        protocol, known = connection.protocol, self.connectionTypes
        spoken = providedBy(protocol)
        if spoken not in known and len(known) < KINDS:
            known[spoken] = connectionLike(connection.transport, protocol)

    def connectionStarted(self, connection: Connection) -> None:
        """
        A connection has its transport.
        """
        self.connections.add(connection)
        self._started += 1
        if self.state is _STOPPED:
            # Its transport came when nobody was waited for any more.
            self.reactor.callLater(0, connection.abortConnection)
        elif self._drain is not None and not self._isOpening:
            self._drain.connectionStarted(connection)

    def connectionEnded(self, connection: Connection) -> None:
        """
        A connection has lost its transport.
        """
        try:
            self.connections.remove(connection)
        except KeyError:
            # It was abandoned.
            pass
        else:
            self._bytesReceived += connection.bytesReceived
            self._bytesSent += connection.bytesSent
        if self._lastGone is not None:
            self.checkGone()

    def _traffic(self) -> tuple[int, int, int, int]:
        received, sent = self._bytesReceived, self._bytesSent
        for each in self.connections:
            received += each.bytesReceived
            sent += each.bytesSent
        return len(self.connections), self._started, received, sent


class ConnectionFactory(OuterFactory):
    """
    Puts a L{Connection} between each transport and its protocol.
    """

    def __init__(self, listener: StreamListener, factory: IProtocolFactory) -> None:
        super().__init__(listener.service, factory)
        self._listener = listener

    def buildProtocol(self, addr: Any) -> Any:
        """
        Build the protocol of an arrival, or turn the arrival away.
        """
        listener = self._listener
        state = listener.state
        if (state is _STOPPING or state is _STOPPED) and not listener.isLeaving:
            # It got in before, and a preamble kept it until now.
            listener.emit(ConnectionRefused(listener.service, addr, "the listener has closed"))
            return REFUSED
        try:
            protocol: IProtocol | None = self.inner.buildProtocol(addr)
        except BaseException:  # noqa: BLE001 - the author's bug, which costs this arrival only
            listener.emit(ProtocolRaised(listener.service, addr, "buildProtocol", Failure()))
            return REFUSED
        if protocol is None:
            reason = "the protocol's factory declined it"
            listener.emit(ConnectionRefused(listener.service, addr, reason))
            return REFUSED
        made = listener.connectionTypes.get(providedBy(protocol), GenericConnection)
        return made(listener, protocol, next(_numbers), addr)
