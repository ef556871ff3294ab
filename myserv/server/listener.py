"""
An endpoint, and the verbs of its life: start, suspend, resume, drain, stop.
"""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
)
from twisted.python.failure import Failure
from zope.interface import implementer

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
from myserv.server.drain import Drain, Stops, drainSeconds
from myserv.server.statistics import ListenerStatistics

STOP_GRACE: Final = 5.0
"""Seconds that what is in the way of a start, or of a test's end, is waited for: an
endpoint that is still opening, or a connection.  Ranch's default for the latter is 5 s."""

COUNTED_REASONS: Final = 64
"""Reasons of refusals that are counted each on its own; ours are a dozen, and a third
party's may have an address in each."""

OTHER: Final = "another reason"
"""What the rest is counted as."""

Penalize = Callable[[str, Peer, str, Offence], None]
"""Counts misbehaviour: of whose service, of whom, what, and of which kind."""


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
class Listener(Stops):
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
