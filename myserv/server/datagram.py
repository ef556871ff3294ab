"""
A listener of datagrams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol

from myserv.admission.service import Admission
from myserv.events import Event
from myserv.interfaces import IDatagramServerEndpoint, IListenerContext
from myserv.limits import DEFAULT_LIMITS, Limits
from myserv.server.amplification import FACTOR, Amplification
from myserv.server.channel import DatagramChannel
from myserv.server.datagram_gate import DatagramGate
from myserv.server.drain import Drain
from myserv.server.listener import Listener, Penalize
from myserv.server.reflection import (
    LOOPING_PORTS,
    OWN_SOCKETS,
    UNANSWERED_PORTS,
    OwnSockets,
)
from myserv.server.shedding import Shedding
from myserv.server.sources import SourceRules


def _bare(context: IListenerContext, protocol: DatagramProtocol) -> DatagramProtocol:
    return protocol


class DatagramListener(Listener):
    """
    A listener of datagrams.

    @ivar channel: What the datagrams go through.
    @ivar shedding: Keeps out those who send more than can be read.
    """

    def __init__(
        self,
        service: str,
        endpoint: str,
        opener: IDatagramServerEndpoint,
        protocol: DatagramProtocol,
        reactor: Any,
        emit: Callable[[Event], None],
        wrap: Callable[[IListenerContext, DatagramProtocol], DatagramProtocol] = _bare,
        *,
        answersAnything: bool = False,
        amplification: float = FACTOR,
        provesAddress: bool = False,
        ownSockets: OwnSockets = OWN_SOCKETS,
        admission: Admission | None = None,
        penalize: Penalize | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """
        Args:
            service: The service's name.
            endpoint: The endpoint string, for people.
            opener: The endpoint itself.
            protocol: The service's protocol for this endpoint.
            reactor: Tells the time.
            emit: Takes the events.
            wrap: Puts the endpoint's wrappers between the channel and the wire.
            answersAnything: The protocol is one that a forged source could
                talk into a loop.
            amplification: How many times what it sent a source may be sent
                before it has proved its address; 0: any number of times.
            provesAddress: The endpoint's layers have seen to it that a
                datagram is from where it says.
            ownSockets: The datagram sockets of this process.
            admission: Decides whose datagrams are taken; without one, the limits do.
            penalize: Counts misbehaviour.
            limits: Those of a listener that has no admission in common with others.
        """
        super().__init__(service, endpoint, reactor, emit, admission, penalize, limits)
        self._opener = opener
        self._ownSockets = ownSockets
        self._unstarted: Deferred[Any] | None = None
        unanswered = UNANSWERED_PORTS if answersAnything else LOOPING_PORTS
        limit = Amplification(amplification, reactor.seconds) if amplification else None
        self.channel = channel = DatagramChannel(
            self, protocol, unanswered, ownSockets, None if provesAddress else limit, provesAddress
        )
        self._rules = rules = SourceRules(self.admission, channel.drops)
        self._outermost: Any = wrap(self, channel)
        if self._outermost is channel:
            channel.applyRules(rules)
        else:
            self._outermost = DatagramGate(
                self._outermost, service, rules, channel.readingFellBehind
            )
        self.shedding = Shedding(self._outermost, reactor, channel.drops)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many datagrams were not delivered, or not sent, by reason."""
        total = Counter(self.channel.drops.total)
        layer = self._outermost
        while layer is not None and layer is not self.channel:
            total.update(getattr(getattr(layer, "drops", None), "total", ()))
            layer = getattr(layer, "wrappedProtocol", None)
        return total

    def limitsChanged(self) -> None:
        """
        Other limits are in force, for the sources that are known as well.
        """
        self._rules.limitsChanged()
        if not self.admission.limits.shedFloods:
            self.shedding.stop()

    def _pause(self) -> None:
        # Of connections there are too many; datagrams are none.
        pass

    def _resume(self) -> None:
        pass

    def _open(self) -> Deferred[IListeningPort]:
        return self._opener.listen(self._outermost).addCallback(self._checkStart)

    def _checkStart(self, port: IListeningPort) -> Any:
        failure = self.channel.startFailure
        if failure is None:
            return port
        # Twisted would leave the socket to the garbage collector.
        self._unstarted = maybeDeferred(port.stopListening)
        return failure

    def release(self) -> Deferred[None]:
        """
        See L{Listener.release}; there are no connections that could stay.
        """
        return self.stop()

    def reopen(self) -> Deferred[None]:
        """
        See L{Listener.reopen}.
        """
        return self.start()

    def leave(self, drain: Drain) -> Deferred[None]:
        """
        See L{Listener.leave}; waits for the socket of a failed start, too.
        """
        stopped = super().leave(drain)
        unstarted, self._unstarted = self._unstarted, None
        if unstarted is None:
            return stopped
        return unstarted.addBoth(lambda _: stopped)

    def _opened(self, port: IListeningPort) -> None:
        super()._opened(port)
        self._ownSockets.add(self.address)

    def _close(self, drain: Drain) -> None:
        self._ownSockets.remove(self.address)
        # While there still is a socket to say goodbye through.
        self._outermost.drainRequested(0.0)
        super()._close(drain)

    def _finish(self) -> Deferred[None]:
        self.shedding.stop()
        self.channel.drops.report()
        return succeed(None)

    def _traffic(self) -> tuple[int, int, int, int]:
        return 0, 0, self.channel.bytesReceived, self.channel.bytesSent
