"""
Datagrams of one endpoint: what stands between its socket and its protocol.

To the port a L{DatagramChannel} is the protocol, to the protocol it is the
transport, as a L{myserv.server.connection.Connection} is for a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.events import DatagramsDropped, Event, Peer, ProtocolRaised
from myserv.interfaces import IDatagramServerEndpoint, IListenerContext
from myserv.server.listener import STOP_GRACE, Listener
from myserv.server.reflection import (
    LOOPING_PORTS,
    OWN_SOCKETS,
    UNANSWERED_PORTS,
    OwnSockets,
)

DROP_REPORT_INTERVAL: Final = 10.0
"""Seconds between two events about datagrams dropped for one reason: a flood
must not become a flood of events."""


def _bare(context: IListenerContext, protocol: DatagramProtocol) -> DatagramProtocol:
    return protocol


class DatagramListener(Listener):
    """
    A listener of datagrams.

    @ivar channel: What the datagrams go through.
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
        ownSockets: OwnSockets = OWN_SOCKETS,
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
            ownSockets: The datagram sockets of this process.
        """
        super().__init__(service, endpoint, reactor, emit)
        self._opener = opener
        self._ownSockets = ownSockets
        self._unstarted: Deferred[Any] | None = None
        unanswered = UNANSWERED_PORTS if answersAnything else LOOPING_PORTS
        self.channel = DatagramChannel(self, protocol, unanswered, ownSockets)
        self._outermost = wrap(self, self.channel)

    def _open(self) -> Deferred[IListeningPort]:
        return self._opener.listen(self._outermost).addCallback(self._checkStart)

    def _checkStart(self, port: IListeningPort) -> Any:
        failure = self.channel.startFailure
        if failure is None:
            return port
        # Twisted would leave the socket to the garbage collector.
        self._unstarted = maybeDeferred(port.stopListening)
        return failure

    def stop(self, grace: float = STOP_GRACE) -> Deferred[None]:
        """
        See L{Listener.stop}; waits for the socket of a failed start, too.
        """
        stopped = super().stop(grace)
        unstarted, self._unstarted = self._unstarted, None
        if unstarted is None:
            return stopped
        return unstarted.addBoth(lambda _: stopped)

    def _opened(self, port: IListeningPort) -> None:
        super()._opened(port)
        self._ownSockets.add(self.address)

    def _close(self, grace: float) -> None:
        self._ownSockets.remove(self.address)
        super()._close(grace)

    def _finish(self, grace: float) -> Deferred[None]:
        self.channel.reportDrops()
        return succeed(None)


@implementer(IUDPTransport)
class DatagramChannel(DatagramProtocol):
    """
    Counts datagrams, keeps unanswerable ones from the protocol, and sends.

    @ivar startFailure: What the protocol raised when it was to start.
    @ivar datagramsReceived: Handed to the protocol so far.
    @ivar datagramsSent: Written by the protocol so far.
    @ivar bytesReceived: The bytes of the former.
    @ivar bytesSent: The bytes of the latter.
    """

    noisy = False

    def __init__(
        self,
        listener: DatagramListener,
        protocol: DatagramProtocol,
        unanswered: frozenset[int],
        ownSockets: OwnSockets,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._unanswered = unanswered
        self._ownSockets = ownSockets
        self._connected = False
        self.startFailure: Failure | None = None
        self._drops: dict[str, _Drops] = {}
        self.datagramsReceived = 0
        self.datagramsSent = 0
        self.bytesReceived = 0
        self.bytesSent = 0

    # The protocol side of it: what a port calls.

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.
        """
        return self._listener.service

    def makeConnection(self, transport: Any) -> None:
        """
        The port is open: introduce ourselves to the protocol.
        """
        self._port = transport
        self._connected = False
        super().makeConnection(transport)
        # Twisted would log that the protocol starts; our own event says it.
        self._protocol.noisy = False
        self.startFailure = None
        try:
            self._protocol.makeConnection(self)
        except Exception:  # noqa: BLE001 - the author's bug, which keeps the listener closed
            self.startFailure = Failure()
            # It never started, so it is not stopped; it may be tried again.
            self._protocol.transport = None

    def doStop(self) -> None:
        """
        The port is closed.
        """
        super().doStop()
        if self.startFailure is None:
            # One that raises here would leave the socket open.
            self._call("doStop")

    def connectionRefused(self) -> None:
        """
        The peer of a connected port has no socket.
        """
        self._call("connectionRefused")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        A datagram came in: hand it on, unless an answer would start a loop.

        Args:
            datagram: What was sent.
            addr: C{(host, port)}, or the path of a UNIX socket, C{None} or
                empty where the sender bound none.
        """
        if type(addr) is tuple:
            port = addr[1]
            if port in self._unanswered:
                self._dropped("it came from a port that services answer from", addr)
                return
            if port in self._ownSockets.ports and self._ownSockets.sent(addr):
                self._dropped("it came from a socket of this server", addr)
                return
        self.datagramsReceived += 1
        self.bytesReceived += len(datagram)
        try:
            self._protocol.datagramReceived(datagram, addr)
        except Exception:  # noqa: BLE001 - the author's bug, which costs this datagram only
            self._raised("datagramReceived", addr)

    def _call(self, name: str) -> None:
        try:
            getattr(self._protocol, name)()
        except Exception:  # noqa: BLE001 - the author's bug, which costs nobody anything
            self._raised(name, None)

    def _raised(self, during: str, peer: Peer) -> None:
        listener = self._listener
        listener.emit(ProtocolRaised(listener.service, peer, during, Failure()))

    # The transport side of it: what a protocol calls.

    def write(self, packet: bytes, addr: Any = None) -> None:
        """
        Send a datagram; one that the system will not take is counted.

        Args:
            packet: The whole datagram.
            addr: Where to, in the form it was received from.

        Raises:
            MessageLengthError: It is larger than any datagram can be.
        """
        if not addr and not self._connected:
            self._dropped("the sender left no address to answer to", addr)
            return
        try:
            self._port.write(packet, addr)
        except OSError as error:
            self._dropped(f"it could not be sent: {error.strerror}", addr)
        else:
            self.datagramsSent += 1
            self.bytesSent += len(packet)

    def connect(self, host: str, port: int) -> None:
        """
        Exchange datagrams with one peer only; C{write} then needs no address.
        """
        self._connected = True
        self._port.connect(host, port)

    def writeSequence(self, iovec: Iterable[bytes], addr: Any = None) -> None:
        """
        Send several pieces as one datagram.
        """
        self.write(b"".join(iovec), addr)

    def __getattr__(self, name: str) -> Any:
        # getHost, stopListening, setBroadcastAllowed, joinGroup and the rest.
        if name == "_port":
            raise AttributeError(name)
        return getattr(self._port, name)

    # Counting what is lost.

    def _dropped(self, reason: str, peer: Peer) -> None:
        drops = self._drops.setdefault(reason, _Drops())
        drops.count += 1
        drops.peer = peer
        now = self._listener.reactor.seconds()
        if drops.reported is None or now - drops.reported >= DROP_REPORT_INTERVAL:
            drops.reported = now
            self._report(reason, drops)

    def reportDrops(self) -> None:
        """
        Tell of what was dropped since the last report.
        """
        for reason, drops in self._drops.items():
            if drops.count:
                self._report(reason, drops)

    def _report(self, reason: str, drops: _Drops) -> None:
        listener = self._listener
        listener.emit(
            DatagramsDropped(listener.service, listener.endpoint, reason, drops.count, drops.peer)
        )
        drops.count = 0


class _Drops:
    """Datagrams dropped for one reason since the last report of it."""

    def __init__(self) -> None:
        self.count = 0
        self.peer: Peer = None
        self.reported: float | None = None
