"""What all layers over a stream have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocolNegotiationFactory,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from myserv.endpoints.farewell import LINGER
from myserv.endpoints.layer import Layer, LayerFactory
from myserv.events import HandshakeFailed, Offence, PeerPenalized
from myserv.server.stream import StreamListener
from myserv.testing import MemoryEndpoint, RecordingObserver, SteppedReactor


class Logged(Protocol):
    """Writes down what happens to it."""

    transport: Any

    def __init__(self) -> None:
        self.log: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        """Data came."""
        self.log.append(data.decode())

    def connectionLost(self, reason: object = None) -> None:
        """It is over."""
        self.log.append("lost")


@implementer(IHalfCloseableProtocol)
class HalfClosing(Logged):
    """Goes on when its peer has ended."""

    def readConnectionLost(self) -> None:
        """The peer will send no more."""
        self.log.append("no more in")

    def writeConnectionLost(self) -> None:
        """We will send no more."""
        self.log.append("no more out")


class Password(Layer):
    """A layer whose handshake is a word of four bytes."""

    name = "password"

    def dataReceived(self, data: bytes) -> None:
        """The word, or what comes after it."""
        if self.upper is not None:
            if not self.closing:
                self.upper.dataReceived(data)
        elif data == b"open":
            self.handshakeDone()
        elif data == b"soft":
            self.write(b"no")
            self.handshakeFailed("it was polite", abort=False)
            self.handshakeFailed("and once is enough")
            self.closeTransport()
            self.closeTransport()
        else:
            self.handshakeFailed("it guessed")


class PasswordFactory(LayerFactory):
    """Builds them."""

    layers: list[Any]

    def buildProtocol(self, addr: Any) -> Layer:
        """One more."""
        layer = Password(self, addr, 10.0)
        self.layers.append(layer)
        return layer


class Stage:
    """A service behind a password."""

    def __init__(self, factory: Any) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryEndpoint(self.reactor)
        self.protocols: list[Any] = []
        self.layers: list[Any] = []

        def wrap(context: Any, inner: Any, gate: Any) -> Any:
            self.factory = PasswordFactory(context, inner)
            self.factory.layers = self.layers
            return gate(self.factory)

        self.listener = StreamListener(
            "locked", "memory", self.endpoint, factory, self.reactor, self.observer.observe, wrap
        )
        self.listener.start()
        self.reactor.settle()

    def connect(self, *words: bytes) -> Any:
        """Connect, and send some words."""
        peer = self.endpoint.connect()
        self.reactor.settle()
        for word in words:
            peer.send(word)
            self.reactor.settle()
        return peer

    def reasons(self) -> list[str]:
        """Why handshakes failed."""
        return [event.reason for event in self.observer.ofType(HandshakeFailed)]


def serve(protocol: Any) -> Stage:
    """Serve a protocol class."""
    built: list[Any] = []

    def build() -> Any:
        built.append(protocol())
        return built[-1]

    stage = Stage(Factory.forProtocol(build))
    stage.protocols = built
    return stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A service that half-closes."""
    served = serve(HalfClosing)
    yield served
    served.listener.stop(1.0)
    served.reactor.advance(5)
    assert served.reactor.getDelayedCalls() == []
    assert served.listener._handshaking == set()


def test_thereAndBack(stage: Stage) -> None:
    """After the handshake, what is above and what is below talk through it."""
    peer = stage.connect(b"open", b"hello")
    [protocol] = stage.protocols
    protocol.transport.writeSequence([b"a", b"b"])
    stage.layers[0].write(b"c")
    protocol.transport.setTcpNoDelay(True)
    assert ITCPTransport.providedBy(stage.layers[0])
    stage.reactor.settle()
    assert peer.received == b"abc"
    assert protocol.log == ["hello"]
    assert stage.factory.logPrefix() == "locked"
    assert stage.layers[0].getHost() == stage.endpoint.address


def test_wrong(stage: Stage) -> None:
    """A handshake that fails costs the connection and is told of."""
    peer = stage.connect(b"shut")
    assert peer.aborted
    assert stage.reasons() == ["it guessed"]


def test_politely(stage: Stage) -> None:
    """A layer may have something to say first; its listener knows of it until it is gone."""
    peer = stage.endpoint.connect()
    peer.stay()
    peer.send(b"soft")
    stage.reactor.settle()
    assert peer.received == b"no"
    assert stage.reasons() == ["it was polite"]
    assert stage.listener._handshaking
    stage.reactor.advance(LINGER)
    assert peer.closed
    assert not stage.listener._handshaking


def test_late(stage: Stage) -> None:
    """A peer that does not come to it is cut off."""
    peer = stage.connect(b"")
    stage.reactor.advance(10.1)
    assert peer.aborted
    assert stage.reasons() == ["it took too long"]


def test_thePeerLeaves(stage: Stage) -> None:
    """Before its handshake is done."""
    peer = stage.connect()
    peer.closeWrite()
    stage.reactor.settle()
    assert peer.closed
    assert stage.reasons() == ["the peer left"]


def test_theServerLeaves(stage: Stage) -> None:
    """Before the peer's handshake is done."""
    peer = stage.connect()
    stage.listener.stopNow()
    stage.reactor.settle()
    assert peer.aborted
    assert stage.reasons() == ["the server closed"]


def test_halves(stage: Stage) -> None:
    """Both ends of the connection's halves are told, each once."""
    peer = stage.connect(b"open")
    peer.stay()
    [protocol] = stage.protocols
    protocol.transport.loseWriteConnection()
    stage.reactor.settle()
    assert protocol.log == ["no more out"]
    peer.closeWrite()
    stage.reactor.settle()
    stage.layers[0].endOfInput()
    assert protocol.log == ["no more out", "no more in"]
    protocol.transport.loseConnection()
    stage.reactor.settle()
    assert protocol.log[-1] == "lost"


def test_closing(stage: Stage) -> None:
    """What was written arrives, what comes meanwhile goes nowhere."""
    peer = stage.connect(b"open")
    peer.stay()
    [protocol] = stage.protocols
    protocol.transport.write(b"bye")
    protocol.transport.loseConnection()
    peer.send(b"unheard")
    stage.reactor.settle()
    assert peer.received == b"bye"
    assert peer.writeClosed
    assert not peer.closed
    stage.reactor.advance(LINGER)
    assert peer.closed
    assert protocol.log == ["lost"]


def test_closingWithAProducer(stage: Stage) -> None:
    """Whoever still writes is waited for."""
    peer = stage.connect(b"open")
    [protocol] = stage.protocols

    class Producer:
        pieces = 3

        def resumeProducing(self) -> None:
            """Write a piece."""
            self.pieces -= 1
            protocol.transport.write(b"more")
            if not self.pieces:
                protocol.transport.unregisterProducer()

    protocol.transport.registerProducer(Producer(), False)
    protocol.transport.loseConnection()
    stage.reactor.settle()
    assert peer.received == b"more" * 3
    assert peer.closed


def test_closingWithAProducerThatWaits(stage: Stage) -> None:
    """One that was paused because the peer is slow is waited for, too."""
    peer = stage.connect(b"open")
    peer.pauseReading()
    [protocol] = stage.protocols

    class Producer:
        def pauseProducing(self) -> None:
            """Enough for now."""

        def resumeProducing(self) -> None:
            """Asked for more, it has no more."""
            protocol.transport.unregisterProducer()

    protocol.transport.registerProducer(Producer(), True)
    protocol.transport.write(bytes(200_000))
    protocol.transport.loseConnection()
    stage.reactor.settle()
    assert not peer.writeClosed
    peer.resumeReading()
    stage.reactor.settle()
    assert peer.bytesReceived == 200_000
    assert peer.closed


def test_aBareProtocolThatDoesNotHalfClose() -> None:
    """Is closed when its peer has ended, after what it wrote."""
    reactor = SteppedReactor()
    endpoint = MemoryEndpoint(reactor)
    built: list[Any] = []

    def build() -> Any:
        built.append(Logged())
        return built[-1]

    from myserv.endpoints.bare import BareContext

    factory = PasswordFactory(BareContext(reactor, "memory"), Factory.forProtocol(build))
    factory.layers = []
    endpoint.listen(factory)
    peer = endpoint.connect()
    peer.send(b"open")
    reactor.settle()
    built[0].transport.write(b"answer")
    peer.closeWrite()
    reactor.settle()
    assert peer.received == b"answer"
    assert peer.closed
    assert built[0].log == ["lost"]
    another = endpoint.connect()
    another.send(b"open")
    reactor.settle()
    built[1].transport.loseWriteConnection()
    reactor.settle()
    assert another.writeClosed
    built[1].transport.loseConnection()
    reactor.settle()
    assert endpoint.port is not None
    endpoint.port.stopListening()
    reactor.advance(5)
    assert reactor.getDelayedCalls() == []


def test_whatIsAskedTooEarly() -> None:
    """A layer without a transport has none of its powers, and one of none reads nothing."""
    factory = Stage(Factory.forProtocol(Logged)).factory
    layer = Layer(factory, None, 1.0)
    with pytest.raises(AttributeError):
        layer.setTcpNoDelay(True)
    with pytest.raises(NotImplementedError):
        layer.dataReceived(b"")
    layer.endOfInput()
    layer.connectionMade()
    layer.connected()


def test_applicationProtocols() -> None:
    """A layer nearer the wire finds the ALPN names of the service."""

    @implementer(IProtocolNegotiationFactory)
    class Speaks(Factory):
        protocol = Logged

        def acceptableProtocols(self) -> list[bytes]:
            """What it speaks."""
            return [b"word"]

    factory: Any = Stage(Speaks()).factory
    assert IProtocolNegotiationFactory.providedBy(factory)
    assert factory.acceptableProtocols() == [b"word"]


class TestPenalties:
    def test_wrongWord(self, stage: Stage) -> None:
        """A handshake that fails counts against the peer."""
        peer = stage.connect(b"shut")
        [penalized] = stage.observer.ofType(PeerPenalized)
        assert (penalized.peer, penalized.offence) == (peer.address, Offence.HANDSHAKE)

    def test_late(self, stage: Stage) -> None:
        """One that takes too long counts as that."""
        stage.connect()
        stage.reactor.advance(3600)
        [penalized] = stage.observer.ofType(PeerPenalized)
        assert penalized.offence is Offence.TIMEOUT

    def test_leaves(self, stage: Stage) -> None:
        """To leave is no offence: health checks do that."""
        stage.connect().close()
        stage.reactor.settle()
        assert stage.observer.ofType(PeerPenalized) == []

    def test_notItsFault(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor does a layer penalize whom it must not."""
        monkeypatch.setattr(Password, "penalizes", False)
        stage.connect(b"shut")
        assert stage.observer.ofType(PeerPenalized) == []
