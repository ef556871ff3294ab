"""
What the layers over a stream have in common.

A L{Layer} stands between two others.  To the one nearer the wire it is a protocol,
to the one nearer the service it is a transport.  It begins with a handshake of
some kind: until that is over there is no protocol, and a peer that takes too
long over it is cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer, providedBy
from zope.interface.declarations import Provides

from myserv.endpoints.delegation import layerOver
from myserv.endpoints.farewell import Farewell, closesAbruptly
from myserv.endpoints.outer import OuterFactory
from myserv.events import HandshakeFailed, Offence
from myserv.interfaces import IAbortable, IListenerContext

HANDSHAKE_TIMEOUT: Final = "10s"
"""How long a peer may take over one handshake, unless its key says otherwise.
Ranch allows 5 s, nginx 60 s."""


class LayerFactory(OuterFactory):
    """
    Builds the layers of one listener.

    @ivar wrappedFactory: The factory nearer the protocol.
    """

    def __init__(self, context: IListenerContext, factory: IProtocolFactory) -> None:
        super().__init__(context.service, factory)
        self.context = context
        self.wrappedFactory = factory


@implementer(IProtocol, IHalfCloseableProtocol, ITransport, IAbortable)
class Layer:
    """
    One connection's part in a layer.

    A subclass says in L{connected} how the handshake begins and in
    L{dataReceived} how it goes on; it ends in L{handshakeDone} or
    L{handshakeFailed}.

    @cvar name: The wrapper's prefix.
    @cvar penalizes: Whose handshake fails has misbehaved.
    @ivar transport: The transport nearer the wire.
    @ivar upper: The protocol nearer the service; C{None} before the handshake
        is over, and after the connection is.
    """

    name = ""
    penalizes = True
    closesAtOnce = False

    if TYPE_CHECKING:
        # What its transport can do, it can; see L{layerOver}.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, factory: LayerFactory, address: Any, timeout: float) -> None:
        """
        Args:
            factory: What built it.
            address: Whom the transport says it is connected to.
            timeout: Seconds that the handshake may take.
        """
        self.context = factory.context
        self.transport: Any = None
        self.upper: Any = None
        self._factory = factory.wrappedFactory
        self._address = address
        self._timeout = timeout
        self._deadline: IDelayedCall | None = None
        self._farewell: Farewell | None = None
        self._failed = False
        self._inputEnded = False
        self.peerEnded = False

    # The lower side: what a transport calls.

    def makeConnection(self, transport: Any) -> None:
        """
        The transport is there: the handshake begins.
        """
        self.transport = transport
        # Whatever else the transport can do: producers, TCP options, identities.
        self.__class__ = layerOver(type(self), transport)
        self.__provides__ = _declaration(type(self), transport)
        self.context.handshakeStarted(self)
        self._deadline = self.context.reactor.callLater(self._timeout, self._tookTooLong)
        self.connected()

    def connected(self) -> None:
        """
        The peer is there.
        """

    def transportChanged(self) -> None:
        """
        The transport speaks TLS from now on: what was looked up of it may be another.
        """
        alsoProvides(self, *providedBy(self.transport))

    def handshakeCompleted(self) -> None:
        """
        The TLS beneath, which was begun with C{startTLS}, has shaken hands.
        """
        if self.upper is not None:
            self.upper.handshakeCompleted()

    def connectionMade(self) -> None:
        """
        Never called: see L{connected}.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came from the wire.
        """
        raise NotImplementedError

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """
        The transport is gone: so is everything above.
        """
        if self._farewell is not None:
            self._farewell.over()
        if self.upper is None and not self._failed:
            cut = reason.check(ConnectionAborted)
            # A health check, perhaps, or a scanner: nobody's fault.
            why = "the server closed" if cut else "the peer left"
            self.handshakeFailed(why, abort=False, offence=None)
        self._endHandshake()
        upper, self.upper = self.upper, None
        if upper is not None:
            upper.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """
        The peer will send no more.
        """
        self.peerEnded = True
        if self._farewell is not None:
            self._farewell.readHalfClosed()
        elif self.upper is None:
            self.transport.loseConnection()
        else:
            self.endOfInput()

    def endOfInput(self) -> None:
        """
        Tell what is above, once, that nothing more comes; it closes when it is done.
        """
        if self._inputEnded:
            return
        self._inputEnded = True
        if IHalfCloseableProtocol.providedBy(self.upper):
            self.upper.readConnectionLost()
        elif self.upper is not None:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        The peer was told that no more comes.
        """
        if self._farewell is not None:
            self._farewell.writeHalfClosed()
        elif IHalfCloseableProtocol.providedBy(self.upper):
            self.upper.writeConnectionLost()

    # The handshake.

    def handshakeDone(self, address: Any = None) -> None:
        """
        The peer may have a protocol.

        Args:
            address: Who it turned out to be, if not whom the transport names.
        """
        self._endHandshake()
        upper = self._factory.buildProtocol(self._address if address is None else address)
        if upper is None:
            # The server's own factory never says so; another program's may.
            self._failed = True
            self.abortConnection()
            return
        self.upper = upper
        upper.makeConnection(self)

    def handshakeFailed(
        self,
        reason: str,
        *,
        abort: bool = True,
        offence: Offence | None = Offence.HANDSHAKE,
    ) -> None:
        """
        The peer gets no protocol.

        Args:
            reason: Why, in a few words.
            abort: Cut the connection; otherwise the caller ends it.
            offence: What the peer is penalized for; C{None}: it is not.
        """
        if self._failed:
            return
        self._failed = True
        self._stopTimer()
        self.context.emit(HandshakeFailed(self.context.service, self._address, self.name, reason))
        if offence is not None and self.penalizes:
            self.context.penalize(self._address, reason, offence)
        if abort:
            self.abortConnection()

    def _stopTimer(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _endHandshake(self) -> None:
        # One that failed ends when its peer is gone: until then, a listener that
        # stops has to know of it.
        if self._deadline is not None:
            self._stopTimer()
            self._deadline = None
            self.context.handshakeEnded(self)

    def _tookTooLong(self) -> None:
        self.handshakeFailed("it took too long", offence=Offence.TIMEOUT)

    # The upper side: what a protocol calls.

    def write(self, data: bytes) -> None:
        """
        Send bytes.
        """
        self.transport.write(data)

    def writeSequence(self, iovec: Any) -> None:
        """
        Send several pieces as one.
        """
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """
        Close when what was written has been sent.
        """
        self.closeTransport()

    def closeTransport(self) -> None:
        """
        Close what is nearer the wire, so that the peer gets everything.
        """
        if self._farewell is not None:
            return
        if self.peerEnded or not closesAbruptly(self.transport):
            self.transport.loseConnection()
        else:
            self._farewell = Farewell(self.transport, self.context.reactor)
            self._farewell.begin()

    @property
    def closing(self) -> bool:
        """The connection is coming to its end: what the peer sends is thrown away."""
        return self._farewell is not None

    def abortConnection(self) -> None:
        """
        Close at once.
        """
        # A pipe (stdio) has no way to abort.
        getattr(self.transport, "abortConnection", self.transport.loseConnection)()

    def unregisterProducer(self) -> None:
        """
        Stop asking a producer; if the connection was waiting for it, close.
        """
        self.transport.unregisterProducer()
        if self._farewell is not None:
            self._farewell.producerUnregistered()

    def getPeer(self) -> Any:
        """
        Who is at the other end.
        """
        return self.transport.getPeer()

    def getHost(self) -> Any:
        """
        The address at our end.
        """
        return self.transport.getHost()


_declarations: dict[tuple[type, Any], Any] = {}


def _declaration(layer: type, transport: Any) -> Any:
    # A layer provides what it wraps provides; made once for each kind of transport.
    key = (layer, providedBy(transport))
    known = _declarations.get(key)
    if known is None:
        known = _declarations[key] = Provides(layer, *providedBy(transport))
    return known
