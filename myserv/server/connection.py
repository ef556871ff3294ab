"""
One accepted stream: what stands between its transport and its protocol.

To the transport a L{Connection} is the protocol, to the protocol it is the
transport.  Every byte of every stream passes here twice, so the two methods it
passes through do nothing but count and hand on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    ILoggingContext,
    IProtocol,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer, providedBy

from myserv.admission.arrival import Arrival
from myserv.endpoints.farewell import Farewell, closesAbruptly
from myserv.events import (
    ConnectionCut,
    ConnectionEnded,
    ConnectionRefused,
    ConnectionStarted,
    Offence,
    Peer,
    ProtocolRaised,
)
from myserv.interfaces import (
    IConnectionTransport,
    IDrainable,
)
from myserv.limits import Limits
from myserv.options.values import Size
from myserv.server.outflow import GuardedProducer, Outflow
from myserv.server.patience import LOOKS, Patience
from myserv.server.provided import declaration, hearsNothing
from myserv.server.refused import RefusedConnection

if TYPE_CHECKING:
    from myserv.server.stream import StreamListener


@implementer(IProtocol, IHalfCloseableProtocol, ITransport, IConnectionTransport, ILoggingContext)
class Connection:
    """
    A peer's connection to a service.

    @ivar number: Counts the connections of this process, from 1.
    @ivar peer: The peer's address.
    @ivar bytesReceived: What the protocol was given so far.
    @ivar bytesSent: What the protocol wrote so far.
    @ivar sentBefore: C{bytesSent} of when something was received last: as long as
        it is the same, the protocol may owe an answer.
    @ivar arrival: What admission let in, if there is nothing between it and the gate.
    @ivar limits: What its peer may do.
    @ivar isEstablished: The protocol has said that its client is.
    @ivar disconnecting: It is about to end, or gone.
    @ivar tick: See L{myserv.server.deadlines.Watched}.
    @cvar madeFor: The class of the transports that it was made for, and what they
        provide; see L{myserv.server.delegation}.
    """

    # What every connection has.  A class without slots has a dictionary for each of its
    # objects, as soon as there are more attributes than its first ones had: 700 bytes.
    # The dictionary is for what few have, and for what a protocol sets.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_farewell",
        "_listener",
        "_patience",
        "_peerEnded",
        "_protocol",
        "_transport",
        "arrival",
        "bytesReceived",
        "bytesSent",
        "disconnecting",
        "isEstablished",
        "number",
        "outflow",
        "peer",
        "sentBefore",
        "started",
        "tick",
    )

    madeFor: tuple[type | None, Any] = (None, None)
    closesAtOnce = False
    _hearsNothing = False
    _isOverridden = False
    _cutFor: str | None = None
    _readingPaused = False
    _readingHeld = False
    _writeEnding = False

    def __init__(
        self, listener: StreamListener, protocol: IProtocol, number: int, peer: Peer = None
    ) -> None:
        """
        Args:
            listener: Whose connection it is.
            protocol: The service's.
            number: Counts the connections of this process.
            peer: Who connects; C{None}: the transport knows.
        """
        self._listener = listener
        self._protocol: Any = protocol
        self.number = number
        self.peer = peer
        self.started = 0.0
        self.disconnecting = False
        self.isEstablished = False
        self.tick: int | None = None
        self.arrival: Arrival | None = None
        self._patience: Patience | None = None
        self._peerEnded = False
        self._farewell: Farewell | None = None
        self.bytesReceived = self.bytesSent = self.sentBefore = 0

    # The protocol side of it: what a transport calls.

    def makeConnection(self, transport: Any) -> None:
        """
        The transport is there: introduce it to the protocol.
        """
        self._transport = transport
        listener = self._listener
        kind, provided = self.madeFor
        if kind is not type(transport) or provided is not providedBy(transport):
            listener.kindUnknown(self)
            self.declare()
        if self.peer is None:
            self.peer = transport.getPeer()
        now = self.started = listener.reactor.seconds()
        self.outflow = Outflow(self, transport)
        listener.connectionStarted(self)
        if listener.watchesUnestablished:
            self._hearWith(self._receivedUnestablished)
        if listener.reportsConnections:
            listener.emit(ConnectionStarted(listener.service, self.number, self.peer))
        if self._hearsNothing:
            self._refuse("the protocol takes messages, and this endpoint has no layer of them")
        try:
            self._protocol.makeConnection(self)
        except BaseException:  # noqa: BLE001 - the author's bug, see raised
            self.raised("makeConnection")
        if not self.disconnecting and self.tick is None:
            listener.deadlines.watch(self, now + listener.firstLook)

    def declare(self) -> None:
        """
        Find out what goes for this protocol and this transport: its class does not know.
        """
        protocol, transport = self._protocol, self._transport
        self.__provides__ = declaration(Connection, protocol, transport)
        self._hearsNothing = hearsNothing(protocol, transport)

    def _hearWith(self, dataReceived: Callable[[bytes], None]) -> None:
        self._isOverridden = True
        self.dataReceived = dataReceived  # type: ignore[method-assign, assignment]

    def _hearAgain(self) -> None:
        self._isOverridden = False
        # An author may have had a hand in it.
        self.__dict__.pop("dataReceived", None)

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.  They add the rest.
        """
        return self._listener.service

    def connectionMade(self) -> None:
        """
        Never called: see L{makeConnection}.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came in: the hot path, see the module's head.
        """
        self.bytesReceived += len(data)
        self.sentBefore = self.bytesSent
        try:
            self._protocol.dataReceived(data)
        except BaseException:  # noqa: BLE001 - the author's bug, see raised
            self.raised("dataReceived")

    def _receivedUnestablished(self, data: bytes) -> None:
        limit = self._listener.limits.maxUnestablished
        if limit and self.bytesReceived + len(data) > limit:
            reason = f"it sent more than {Size(limit)} before it was established"
            self.cut("maxUnestablished", reason, Offence.PROTOCOL)
            return
        Connection.dataReceived(self, data)

    def connectionLost(self, reason: Failure) -> None:
        """
        The transport is gone: tell the protocol, then the listener.
        """
        listener = self._listener
        listener.deadlines.forget(self)
        # From here on the protocol may ask for the end, and there is nothing to do.
        self.disconnecting = True
        if self._farewell is not None:
            self._farewell.over()
            self._farewell = None
        try:
            self._protocol.connectionLost(reason)
        except BaseException:  # noqa: BLE001 - the author's bug, see raised
            self.raised("connectionLost")
        # What refers to it and is its own goes: it needs no garbage collector then.
        self._protocol = _GONE
        self._patience = None
        if self._isOverridden:
            self._hearAgain()
        self.outflow.over()
        if listener.reportsConnections:
            listener.emit(
                ConnectionEnded(
                    service=listener.service,
                    number=self.number,
                    peer=self.peer,
                    reason=self._cutFor or describeEnd(reason),
                    duration=listener.reactor.seconds() - self.started,
                    bytesReceived=self.bytesReceived,
                    bytesSent=self.bytesSent,
                )
            )
        listener.connectionEnded(self)
        arrival, self.arrival = self.arrival, None
        if arrival is not None:
            listener.admission.release(arrival)

    def readConnectionLost(self) -> None:
        """
        The peer will send no more.

        A protocol that does not half-close is closed when what it wrote has
        been sent.  Twisted would end it at once and lose its last answer, the
        only one that C{echo hello | nc -N} waits for.
        """
        self._peerEnded = True
        if self._farewell is not None:
            self._farewell.readHalfClosed()
        elif self._halfCloses():
            self._call("readConnectionLost")
        else:
            self.disconnecting = True
            self.outflow.close()
            self._watchTheEnd()
            self._transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        The peer was told that no more comes.
        """
        if self._farewell is not None:
            self._farewell.writeHalfClosed()
        elif self._halfCloses():
            self._call("writeConnectionLost")

    def _halfCloses(self) -> bool:
        protocol = self._protocol
        if not IHalfCloseableProtocol.providedBy(protocol):
            return False
        # One that wraps another (ProtocolWrapper of Twisted's) says that it provides what
        # its transport does, and has it from there: we would call ourselves.
        method = getattr(protocol, "readConnectionLost", None)
        return getattr(method, "__self__", None) is not self

    def messageReceived(self, message: bytes | str) -> None:
        """
        A whole message came (only where the protocol wants them).
        """
        self.bytesReceived += _sizeOf(message)
        self.sentBefore = self.bytesSent
        self._call("messageReceived", message)

    def handshakeCompleted(self) -> None:
        """
        The TLS handshake is over (only where the protocol wants to know).
        """
        self._call("handshakeCompleted")

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """
        A descriptor came over a UNIX socket (only where the protocol takes them).
        """
        self._call("fileDescriptorReceived", descriptor)

    # The transport side of it: what a protocol calls.

    def write(self, data: bytes) -> None:
        """
        Send bytes: the hot path, see the module's head.
        """
        self.bytesSent += len(data)
        self._transport.write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        Send several pieces as one.
        """
        pieces = list(iovec)
        if self.outflow.isFull:
            self.write(b"".join(pieces))
            return
        self.bytesSent += sum(map(len, pieces))
        self._transport.writeSequence(pieces)

    def sendMessage(self, message: bytes | str) -> None:
        """
        Send a message (only through a layer that has them).
        """
        outflow = self.outflow
        if outflow.isFull:
            outflow.checkBound()
        self._transport.sendMessage(message)
        size = _sizeOf(message)
        self.bytesSent += size
        if outflow.isFull:
            outflow.add(size)

    def loseConnection(self) -> None:
        """
        Close when what was written has been sent.

        A peer that is still sending is heard out, and what it says is thrown
        away; see L{myserv.endpoints.farewell}.
        """
        if self.disconnecting:
            return
        self.disconnecting = True
        self.outflow.close()
        self._watchTheEnd()
        if self._peerEnded or not closesAbruptly(self._transport):
            self._transport.loseConnection()
            return
        self._farewell = Farewell(self._transport, self._listener.reactor)
        # What comes from now on is not for the protocol, and not counted.
        self._hearWith(self._farewell.discard)
        self._farewell.begin()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let the transport tell a producer when there is room.
        """
        if self._protocol is _GONE:
            GuardedProducer(self, producer).stopProducing()
        else:
            self.outflow.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        Stop asking a producer; if the connection was waiting for it, close.
        """
        if self._protocol is _GONE:
            return
        self.outflow.unregister()
        if self.disconnecting or self._writeEnding:
            self.outflow.close()
        if self._farewell is not None:
            self._farewell.producerUnregistered()

    def loseWriteConnection(self) -> None:
        """
        Send no more than what was written, and go on listening.
        """
        self._writeEnding = True
        self.outflow.close()
        self._transport.loseWriteConnection()

    def pauseProducing(self) -> None:
        """
        Read nothing more from the peer for now.
        """
        self._readingPaused = True
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read from the peer again, unless it has to read first.
        """
        self._readingPaused = False
        if not self._readingHeld:
            self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        Close: who produced for somebody else through us is no longer wanted.
        """
        self.loseConnection()

    def clientEstablished(self) -> None:
        """
        The client is who it should be: the limits of strangers hold no longer.
        """
        self.isEstablished = True
        if self._isOverridden and self._farewell is None:
            self._hearAgain()

    def abortConnection(self) -> None:
        """
        Close at once; what was written and not yet sent is lost.
        """
        self.disconnecting = True
        # A pipe (stdio) has no way to abort.
        getattr(self._transport, "abortConnection", self._transport.loseConnection)()

    def getPeer(self) -> Any:
        """
        Who is at the other end.
        """
        return self._transport.getPeer()

    def getHost(self) -> Any:
        """
        The address at our end.
        """
        return self._transport.getHost()

    @property
    def protocol(self) -> Any:
        """
        The protocol, C{None} after the end; assign another to hand the connection over.
        """
        return None if self._protocol is _GONE else self._protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        if self._protocol is not _GONE:
            self._protocol = protocol
            self.declare()

    # What its outflow asks of it.

    def holdReading(self) -> None:
        """
        Read nothing from a peer that does not read.
        """
        if not self._readingHeld and not self.disconnecting:
            self._readingHeld = True
            self._transport.pauseProducing()

    def releaseReading(self) -> None:
        """
        Read from it again, unless the protocol does not want to.
        """
        if self._readingHeld:
            self._readingHeld = False
            if not self._readingPaused:
                self._transport.resumeProducing()

    def lookSoon(self) -> None:
        """
        Look at what waits: it may be due long before anything else would be.
        """
        listener = self._listener
        interval = listener.limits.writeTimeout / LOOKS
        if interval:
            listener.deadlines.advance(self, listener.reactor.seconds() + interval)

    def _watchTheEnd(self) -> None:
        # Otherwise it is looked at already, and soon enough.
        if self.tick is None and self._protocol is not _GONE:
            self.lookSoon()

    # What the listener asks of it.

    def checkDeadlines(self, now: float) -> float:
        """
        Do what is due; see L{myserv.server.deadlines.Watched}.
        """
        if self._protocol is _GONE:
            return math.inf
        if self._patience is None:
            self._patience = Patience(self)
        return self._patience.check(now)

    @property
    def limits(self) -> Limits:
        """What its peer may do."""
        return self._listener.limits

    @property
    def isCut(self) -> bool:
        """A limit has ended it."""
        return self._cutFor is not None

    @property
    def transport(self) -> Any:
        """What is nearer the wire."""
        return self._transport

    def cut(
        self, limit: str, reason: str, offence: Offence | None = None, *, politely: bool = False
    ) -> None:
        """
        End it, because its peer has gone beyond a limit.

        Args:
            limit: The key of the limit.
            reason: What the peer did, in a few words.
            offence: What it is penalized for, if at all.
            politely: Let what waits be sent first.
        """
        listener = self._listener
        listener.emit(ConnectionCut(listener.service, self.number, self.peer, limit, reason))
        self._cutFor = reason
        if offence is not None:
            listener.penalize(self.peer, reason, offence)
        if politely:
            self.loseConnection()
        else:
            self.abortConnection()

    def sayGoodbye(self, deadline: float) -> None:
        """
        End politely.

        Args:
            deadline: Seconds until the listener aborts it.
        """
        if IDrainable.providedBy(self._transport):
            # A layer that tells its peer why it closes.
            self._transport.drainRequested(deadline)
        if IDrainable.providedBy(self._protocol):
            self._call("drainRequested", deadline)
        else:
            self.loseConnection()

    def _refuse(self, reason: str) -> None:
        self._listener.emit(ConnectionRefused(self._listener.service, self.peer, reason))
        self.protocol = RefusedConnection()

    def _call(self, name: str, *arguments: object) -> None:
        try:
            getattr(self._protocol, name)(*arguments)
        except BaseException:  # noqa: BLE001 - the author's bug, see raised
            self.raised(name)

    def raised(self, during: str) -> None:
        """
        The protocol, or a producer of its, raised; called where that is caught.
        """
        # A bug of the protocol's: it costs this peer its connection, nobody else.
        self._listener.emit(ProtocolRaised(self._listener.service, self.peer, during, Failure()))
        if during not in ("connectionLost", "stopProducing"):
            self.abortConnection()


def describeEnd(reason: Failure) -> str:
    """
    Say in a few words why a connection ended.
    """
    if reason.check(ConnectionDone):
        return "closed"
    if reason.check(ConnectionAborted):
        return "aborted"
    if reason.check(ConnectionLost):
        return "lost"
    return reason.getErrorMessage().rstrip(".")


def _sizeOf(message: bytes | str) -> int:
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


class _Gone:
    # In place of the protocol of a connection that is gone.  A layer may not know yet.

    def dataReceived(self, data: bytes) -> None:
        """Bytes that come after the end go nowhere."""

    def messageReceived(self, message: bytes | str) -> None:
        """Nor do messages."""


_GONE: Final = _Gone()
